"""W+ codes on disk: safetensors with the key `codes`, and what belongs to them in the metadata."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from wplus.errors import FormatError
from wplus.files import atomic

SUFFIX = ".codes.safetensors"
KEY = "codes"


def save(
    codes: Tensor, path: str | os.PathLike[str], metadata: Mapping[str, Any] | None = None
) -> None:
    """Write the code of one picture, whole or not at all.

    Args:
        codes: (L, style_dim); stored as float32.
        path: where; `SUFFIX` is the customary ending.
        metadata: anything that JSON has: the model's name, the crop's geometry, ….

    Raises:
        FormatError: not the code of one picture.
        OSError: the file cannot be written.
    """
    if codes.ndim != 2:
        raise FormatError(f"{path}: a code is (L, style_dim), not {tuple(codes.shape)}")
    texts = {name: json.dumps(value) for name, value in (metadata or {}).items()}
    with atomic(path) as temporary:
        save_file({KEY: codes.detach().float().cpu().contiguous()}, temporary, metadata=texts)


def load(path: str | os.PathLike[str]) -> tuple[Tensor, dict[str, Any]]:
    """Read a code: (L, style_dim) float32, and its metadata.

    Raises:
        FormatError: missing, damaged, or without codes.
    """
    path = Path(path)
    if not path.is_file():
        raise FormatError(f"{path}: {'is a folder' if path.is_dir() else 'no such file'}")
    try:
        with safe_open(path, framework="pt") as file:
            if KEY not in file.keys():  # noqa: SIM118 (not a dict)
                raise FormatError(f"{path}: holds no codes (no tensor named {KEY!r})")
            codes: Tensor = file.get_tensor(KEY)
            texts = file.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise FormatError(f"{path}: not a safetensors file, or damaged ({error})") from None
    if codes.ndim != 2 or not codes.is_floating_point():
        raise FormatError(f"{path}: {KEY!r} must be (L, style_dim), not {tuple(codes.shape)}")
    try:
        return codes.float(), {name: json.loads(text) for name, text in texts.items()}
    except ValueError:
        return codes.float(), dict(texts)  # metadata of somebody else's
