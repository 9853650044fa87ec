"""Inputs of any type to samples: what a model's encoder reads, and the constraint on the output."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from wplus import codes as code_files
from wplus import images
from wplus.data.listing import images_in
from wplus.errors import ConfigError, ImageError
from wplus.faces import CropGeometry
from wplus.optimize import Constraint

Input = str | os.PathLike[str] | bytes | Image.Image | NDArray[Any] | Tensor
"""A file, its content, an image of any mode, levels (H, W, 3) or (H, W) of 8 bits, an image tensor
(3, H, W) in [-1, 1], or a code (L, style_dim)."""


@dataclass(frozen=True, eq=False)
class Sample:
    """One face of one input, ready for a model.

    Attributes:
        source: (1, C, 256, 256) for an encoder of the task; None for a code.
        photo: (1, 3, 256, 256) in [-1, 1] for an encoder of photographs; None if it is none.
        preview: makes the image of the input for comparison sheets.
        constraint: what the output must satisfy; None for no constraint.
        image: the photograph it was cut out of.
        geometry: where in it.
        factor: super-resolution: by how much the face is smaller than 256 pixels.
        finish: makes the final image of the generator's; None leaves it.
        codes: (L, style_dim) of a codes file, which needs no encoder.
        metadata: of the codes file.
        name: of the input, for messages.
        stem: of the files of its results.
        face: number of the face in the photograph, from 1.
        origin: digest of the input, by which results of one input are recognized.
    """

    source: Tensor | None
    preview: Callable[[], Image.Image]
    photo: Tensor | None = None
    constraint: Constraint | None = None
    image: Image.Image | None = None
    geometry: CropGeometry | None = None
    factor: float | None = None
    finish: Callable[[Image.Image], Image.Image] | None = None
    codes: Tensor | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    name: str = ""
    stem: str = "image"
    face: int = 1
    origin: str = ""


def is_file(given: Input) -> bool:
    """Whether an input is the name of a file."""
    return isinstance(given, str | os.PathLike)


def is_code(given: Input) -> bool:
    """Whether an input is a code or a codes file."""
    if isinstance(given, Tensor):
        return given.ndim == 2
    return is_file(given) and code_files.is_codes(given)  # type: ignore[arg-type]


def name_of(given: Input) -> str:
    """What an input is called in messages."""
    return os.fsdecode(given) if is_file(given) else f"<{type(given).__name__}>"  # type: ignore[arg-type]


def stem_of(given: Input) -> str:
    """What the results of an input are called."""
    if not is_file(given):
        return "image"
    name = Path(os.fsdecode(given)).name  # type: ignore[arg-type]
    if is_code(given):
        return name.removesuffix(code_files.SUFFIX).removesuffix(Path(name).suffix)
    return Path(name).stem


def origin_of(given: Input) -> str:
    """Digest of an input's content; empty if its file cannot be read."""
    digest = hashlib.sha256()
    if is_file(given):
        try:
            with Path(given).open("rb") as file:  # type: ignore[arg-type]
                while block := file.read(1 << 20):
                    digest.update(block)
        except OSError:
            return ""
    elif isinstance(given, bytes):
        digest.update(given)
    else:
        values = np.asarray(given.detach().cpu() if isinstance(given, Tensor) else given)
        digest.update(f"{values.dtype} {values.shape}".encode() + values.tobytes())
    return digest.hexdigest()[:16]


def stored_image(given: Input, read: Callable[[Any], Image.Image]) -> Image.Image:
    """An input as an image: of files and bytes by `read`, the others as they are.

    Raises:
        ImageError: it cannot be read, or is an array that is no image.
    """
    if isinstance(given, Image.Image):
        return given
    if isinstance(given, Tensor):
        return images.to_picture(given)
    if isinstance(given, np.ndarray):
        if given.dtype != np.uint8 or given.shape[2:] not in ((), (3,), (4,)) or given.ndim < 2:
            raise ImageError(
                f"an array of {given.dtype} {given.shape} is no image; use levels of 8 bits,"
                " (H, W, 3) or (H, W), or a tensor (3, H, W) in [-1, 1]"
            )
        return Image.fromarray(given)
    if is_file(given) and Path(given).is_dir():  # type: ignore[arg-type]
        images_in(given)  # type: ignore[arg-type]  # says what is wrong with it
    return read(given)


def read_codes(given: Input, shape: tuple[int, int]) -> list[Sample]:
    """A code, or all codes of a file; those of W, of one style, take it for all layers.

    Raises:
        FormatError: the file cannot be read.
        ConfigError: a code is not of the shape that the model takes, or not finite.
    """
    if isinstance(given, Tensor):
        found = [("", given.detach().float(), dict[str, Any]())]
    else:
        found = code_files.load_all(given)  # type: ignore[arg-type]
    name, stem, origin = name_of(given), stem_of(given), origin_of(given)
    samples: list[Sample] = []
    for label, code, metadata in found:
        called = f"{name}: {label}" if label else name
        if tuple(code.shape) not in (shape, (1, shape[1])):
            raise ConfigError(
                f"{called}: holds a code of {tuple(code.shape)}, and this model takes {shape}"
            )
        if not bool(code.isfinite().all()):
            raise ConfigError(f"{called}: holds values that are not finite")
        crop = metadata.get("crop")
        sample = Sample(
            None,
            _no_preview,
            geometry=CropGeometry.from_dict(crop) if isinstance(crop, dict) else None,
            codes=code.expand(shape).contiguous(),
            metadata=metadata,
            name=called,
            stem=f"{stem}-{label}" if label else stem,
            face=len(samples) + 1,
            origin=origin,
        )
        samples.append(sample)
    return samples


def named(samples: Iterable[Sample], given: Input) -> list[Sample]:
    """Samples with the name, stem, origin and face number of the input that they were read from."""
    samples = list(samples)
    name, stem, origin = name_of(given), stem_of(given), origin_of(given)
    several = len(samples) > 1
    return [
        replace(
            sample,
            name=name,
            stem=f"{stem}-face{number}" if several else stem,
            face=number,
            origin=origin,
        )
        for number, sample in enumerate(samples, start=1)
    ]


def expand(inputs: Iterable[Input]) -> list[Input]:
    """Replace every folder by the images in it; a folder without images stays, and fails later."""
    found: list[Input] = []
    for each in inputs:
        item = os.fsdecode(each) if is_file(each) else each  # type: ignore[arg-type]
        try:
            is_folder = isinstance(item, str) and Path(item).is_dir()
            found += [path for _, path in images_in(item)] if is_folder else [item]  # type: ignore[arg-type]
        except ConfigError:
            found.append(item)
    return found


def _no_preview() -> Image.Image:
    raise ConfigError("a code has no image to be compared with; leave --compare out")
