"""Files of photographs, codes and seeds to files of images: the commands align, decode, sample."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from wplus import codes as code_files
from wplus import faces, images
from wplus.errors import FaceError, ImageError, WplusError
from wplus.inference import inputs as sampling
from wplus.inference.destination import Code, Content, Destination
from wplus.inference.results import Result, describe
from wplus.psp import PSP


@dataclass(frozen=True)
class CropResult:
    """One crop (`crop` is its file, `geometry` where it was), or an input and its error."""

    input: str
    face: int = 1
    crop: str | None = None
    geometry: dict[str, Any] | None = None
    error: str | None = None


def align_files(
    inputs: Iterable[str], folder: Path, size: int, all_faces: bool, overwrite: bool = False
) -> Iterator[CropResult]:
    """Write the FFHQ crops of the faces in photographs, as PNG files of `size` pixels a side.

    Raises:
        ConfigError: a crop would replace a photograph; nothing is written then.
        WeightsError: the detector cannot be fetched.
    """
    paths = sampling.expand(inputs)
    destination = Destination(folder, paths, overwrite)
    destination.check(map(sampling.stem_of, paths), [".png"])
    for path in paths:
        name, stem = sampling.name_of(path), sampling.stem_of(path)
        try:
            image = images.to_rgb(sampling.stored_image(path, images.read))
            aligned = faces.align(image, "all" if all_faces else "largest", size)
            for number, face in enumerate(aligned, start=1):
                end = f"-face{number}" if len(aligned) > 1 else ""
                contents: dict[str, Content] = {".png": face.image}
                files = destination.write(stem + end, sampling.origin_of(path), contents)
                yield CropResult(name, number, files[".png"], face.geometry.to_dict())
        except (FaceError, ImageError, OSError) as error:
            yield CropResult(name, error=describe(name, error))


@torch.no_grad()
def decode_files(
    inputs: Iterable[str], folder: Path, model: PSP, overwrite: bool = False
) -> Iterator[Result]:
    """Write the images of codes files as PNG files.

    Raises:
        ConfigError: an image would replace a codes file.
    """
    paths = list(inputs)
    destination = Destination(folder, paths, overwrite)
    for path in paths:
        try:
            shape = (model.num_styles, model.generator.style_dim)
            for sample in sampling.read_codes(path, shape):
                assert sample.codes is not None
                image = model.decode(sample.codes[None])[0]
                files = destination.write(sample.stem, sample.origin, {".png": image})
                yield Result(sample.name, images=(files[".png"],))
        except (WplusError, OSError) as error:
            yield Result(path, error=describe(path, error))


@torch.no_grad()
def sample_files(
    folder: Path, model: PSP, name: str, count: int, truncation: float, seed: int
) -> Iterator[Result]:
    """Write random images as seedS-N.png and their codes as seedS-N.codes.safetensors.

    Args:
        folder: it is made.
        model: whose generator.
        name: of the model, for the codes files.
        count: how many.
        truncation: ψ of `PSP.sample`.
        seed: of `PSP.sample`.
    """
    destination = Destination(folder)
    for index, code in enumerate(model.sample(count, truncation, seed)):
        metadata = {"model": name, "seed": seed, "index": index, "truncation": truncation}
        origin = hashlib.sha256(repr(metadata).encode()).hexdigest()[:16]
        contents: dict[str, Content] = {
            ".png": model.decode(code[None])[0],
            code_files.SUFFIX: Code(code, metadata),
        }
        stem = f"seed{seed}-{index:0{len(str(count - 1))}d}"
        files = destination.write(stem, origin, contents)
        yield Result(stem, images=(files[".png"],), codes=(files[code_files.SUFFIX],))
