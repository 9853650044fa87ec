"""W+ codes on disk: safetensors with the key `codes`, and what belongs to them in the metadata.

Codes of other tools are read too, see `formats.latent_files`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from torch import Tensor

from wplus.errors import FormatError
from wplus.files import parse_json, save_tensors
from wplus.formats import latent_files
from wplus.formats.opening import line

SUFFIX = ".codes.safetensors"
KEY = "codes"
FOREIGN_SUFFIXES = (".safetensors", ".pt", ".pth", ".npy", ".npz")


def save(
    codes: Tensor, path: str | os.PathLike[str], metadata: Mapping[str, Any] | None = None
) -> None:
    """Write the code of one image, whole or not at all.

    Args:
        codes: (L, style_dim); stored as float32.
        path: where; `SUFFIX` is the customary ending.
        metadata: anything that JSON has: the model's name, the crop's geometry, ….

    Raises:
        FormatError: not the code of one image.
        OSError: the file cannot be written.
    """
    if codes.ndim != 2:
        raise FormatError(f"{path}: a code is (L, style_dim), not {tuple(codes.shape)}")
    texts = {name: json.dumps(value) for name, value in (metadata or {}).items()}
    if not bool(codes.isfinite().all()):
        raise FormatError(f"{path}: the code holds values that are not finite")
    save_tensors({KEY: codes.detach().float().cpu().contiguous()}, path, texts)


def load(path: str | os.PathLike[str]) -> tuple[Tensor, dict[str, Any]]:
    """Read a code: (L, style_dim) float32, and its metadata; the first of several.

    Raises:
        FormatError: missing, damaged, without codes, or with values that are not finite.
    """
    _, code, metadata = load_all(path)[0]
    return code, metadata


def load_all(path: str | os.PathLike[str]) -> list[tuple[str, Tensor, dict[str, Any]]]:
    """Read all codes of a file of ours or of another tool.

    Returns:
        Name, (L, style_dim) float32 and metadata of each. Names are empty in files of one code. L
        is 1 for codes of W, of one style for all layers.

    Raises:
        FormatError: see `load`.
    """
    if latent_files.is_foreign(path):
        return [(name, code, {}) for name, code in latent_files.read_codes(path)]
    path = Path(path)
    if not path.is_file():
        raise FormatError(f"{path}: {'is a folder' if path.is_dir() else 'no such file'}")
    try:
        with safe_open(path, framework="pt") as file:
            if KEY not in file.keys():  # noqa: SIM118 (not a dict)
                raise FormatError(f"{path}: holds no codes (no tensor named {KEY!r})")
            codes: Tensor = file.get_tensor(KEY)
            texts = file.metadata() or {}
    except (SafetensorError, OSError, ValueError) as error:
        raise FormatError(f"{path}: not a safetensors file, or damaged ({line(error)})") from None
    if codes.ndim != 2 or not codes.is_floating_point():
        raise FormatError(f"{path}: {KEY!r} must be (L, style_dim), not {tuple(codes.shape)}")
    if not bool(codes.float().isfinite().all()):
        raise FormatError(f"{path}: holds values that are not finite")
    return [("", codes.float(), parse_metadata(texts))]


def is_codes(path: str | os.PathLike[str]) -> bool:
    """Whether a file may hold codes, by its first bytes: ours, .pt, .npy, .npz, whatever its name.

    A missing file counts by its suffix, so that the message about it is the right one.
    """
    try:
        with open(path, "rb") as file:  # noqa: PTH123 (paths of every kind)
            head = file.read(9)
    except (OSError, ValueError):
        return os.fsdecode(path).lower().endswith(FOREIGN_SUFFIXES)
    ours = head[8:] == b"{" and int.from_bytes(head[:8], "little") < 1 << 32
    return ours or latent_files.is_foreign(path)


def parse_metadata(texts: Mapping[str, str]) -> dict[str, Any]:
    """The metadata of a safetensors file: JSON, or text of another program."""
    try:
        return {name: parse_json(text) for name, text in texts.items()}
    except ValueError:
        return dict(texts)
