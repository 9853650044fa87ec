"""Photographs to codes and reconstructions: load once, then files in, files out."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
from PIL import Image
from torch import Tensor

from wplus import codes as code_files
from wplus import faces, images
from wplus.data.listing import files_of
from wplus.errors import FaceError, ImageError, WplusError
from wplus.faces.batch import about, unused
from wplus.losses import LossNetworks
from wplus.optimize import phases_for, photograph_task, refine
from wplus.progress import Progress, silent
from wplus.psp import PSP

SIZE = 256  # of the picture that is encoded and compared
SHOWN = 512  # side of the pictures in a comparison
STEPS_WITHOUT_ENCODER = 100


@dataclass(frozen=True)
class Inversion:
    """What became of one face, or of one input that could not be used.

    Attributes:
        input: the file as it was named.
        face: number of the face in the picture, from 1.
        reconstruction: G(codes) as a PNG of the generator's resolution.
        codes: the codes file, with the crop's geometry in its metadata.
        comparison: input and reconstruction side by side.
        mse: mean squared error in [-1, 1], at 256².
        lpips: LPIPS (AlexNet) at 256²; None where it was not needed.
        steps: steps of refinement made.
        seconds: for this face, reading and writing included.
        error: why there is no result; everything else is empty then.
    """

    input: str
    face: int = 1
    reconstruction: str | None = None
    codes: str | None = None
    comparison: str | None = None
    mse: float | None = None
    lpips: float | None = None
    steps: int = 0
    seconds: float | None = None
    error: str | None = None


@dataclass(frozen=True)
class Options:
    """How to invert.

    Attributes:
        steps: of refinement; None for none with an encoder and 100 without one.
        align: find the face and crop it the FFHQ way; else take the middle square as it is.
        all_faces: every face of a picture, not only the largest.
        precision: of the convolutions during refinement; None for the model's own.
    """

    steps: int | None = None
    align: bool = True
    all_faces: bool = False
    precision: torch.dtype | None = None


def invert_files(
    paths: Iterable[str],
    folder: Path,
    model: PSP,
    model_name: str,
    options: Options,
    progress: Callable[[str, int, int], None] | None = None,
) -> Iterator[Inversion]:
    """Invert photographs one after the other and write the results.

    A file that cannot be used gives an `Inversion` with its error, and the others go on.

    Args:
        paths: the photographs; of a folder, all pictures in it.
        folder: results go here; it is made.
        model: see `wplus.load`.
        model_name: written into the codes files.
        options: how.
        progress: called with the input's name, the step and the number of steps.

    Yields:
        One `Inversion` for each face, in the order of the files.

    Raises:
        WeightsError: a network that is needed cannot be fetched.
    """
    steps = options.steps
    if steps is None:
        steps = 0 if model.encoder is not None else STEPS_WITHOUT_ENCODER
    networks = LossNetworks(model.device) if steps else None
    taken: set[str] = set()
    for path, problem in files_of(paths):
        started = time.perf_counter()
        if problem:
            yield Inversion(path, error=about(path, problem))
            continue
        try:
            found = find_faces(path, options)
        except (FaceError, ImageError) as error:
            yield Inversion(path, error=about(path, error))
            continue
        for number, face in enumerate(found, start=1):
            stem = Path(path).stem + (f"-face{number}" if len(found) > 1 else "")
            name = unused(stem, taken)
            report = partial(progress, path) if progress else None
            try:
                done = invert_face(face.picture, model, steps, networks, options.precision, report)
                metadata = {
                    "model": model_name,
                    "source": Path(path).name,
                    "crop": face.geometry.to_dict(),
                }
                files = write(folder / name, face, done, metadata)
            except (WplusError, OSError) as error:
                yield Inversion(path, number, error=about(path, error))
                continue
            finished = time.perf_counter()
            yield Inversion(
                path,
                number,
                *files,
                mse=done.mse,
                lpips=done.lpips,
                steps=done.steps,
                seconds=finished - started,
            )
            started = finished


@dataclass(frozen=True, eq=False)
class FoundFace:
    """A face to be inverted.

    Attributes:
        picture: the crop at 256².
        shown: the same crop, larger, for the comparison.
        geometry: where it was in the photograph.
    """

    picture: Image.Image
    shown: Image.Image
    geometry: faces.CropGeometry


def find_faces(path: str, options: Options) -> list[FoundFace]:
    """The faces of a photograph, largest first; without alignment, its middle square.

    Raises:
        ImageError: the file cannot be read as a picture.
        FaceError: no face is found.
    """
    picture = images.read(path)
    if options.align:
        which: Literal["all", "largest"] = "all" if options.all_faces else "largest"
        return [
            FoundFace(
                face.picture,
                faces.crop(
                    picture,
                    replace(face.geometry, output_size=SHOWN),
                    transform_size=2 * SHOWN,  # smoother than at once
                ),
                face.geometry,
            )
            for face in faces.align(picture, which, SIZE)
        ]
    width, height = picture.size
    side = min(width, height)
    left, top = (width - side) // 2, (height - side) // 2
    middle = picture.crop((left, top, left + side, top + side))
    corners = [(left, top), (left, top + side), (left + side, top + side), (left + side, top)]
    quad = tuple((x - 0.5, y - 0.5) for x, y in corners)
    geometry = faces.CropGeometry(quad, picture.size, SIZE)  # type: ignore[arg-type]
    small, large = (
        middle if side == size else middle.resize((size, size), Image.Resampling.BILINEAR)
        for size in (SIZE, SHOWN)
    )
    return [FoundFace(small, large, geometry)]


@dataclass(frozen=True, eq=False)
class InvertedFace:
    """Code (L, style_dim) and image (3, S, S) in [-1, 1] of a face, and how near they came."""

    codes: Tensor
    image: Tensor
    mse: float
    lpips: float | None
    steps: int


@torch.no_grad()
def invert_face(
    picture: Image.Image,
    model: PSP,
    steps: int,
    networks: LossNetworks | None = None,
    precision: torch.dtype | None = None,
    progress: Progress | None = None,
) -> InvertedFace:
    """Invert one aligned face.

    Args:
        picture: the crop, 256².
        model: its encoder gives the start; without one, the mean code is the start.
        steps: of refinement.
        networks: needed for refinement.
        precision: of the convolutions during refinement, see `refine`.
        progress: called with the step and the number of steps.
    """
    target = images.to_tensor(picture).to(model.device)
    start = model.mean_codes[None] if model.encoder is None else model.encode(target)
    made = 0
    if steps:
        networks = networks or LossNetworks(model.device)
        refined = refine(
            model,
            target,
            start,
            phases=phases_for(model, photograph_task(model), steps),
            networks=networks,
            precision=precision,
            progress=progress or silent,
        )
        start, made = refined.codes, refined.steps
    image = model.decode(start)
    small = images.resize(image, SIZE)
    distance = float(networks.lpips(small, target)) if networks is not None else None
    mse = float((small - target).square().mean())
    return InvertedFace(start[0], image[0], mse, distance, made)


def write(
    place: Path, face: FoundFace, done: InvertedFace, metadata: dict[str, Any]
) -> tuple[str, str, str]:
    """Write reconstruction, codes and comparison; each whole or not at all.

    Returns:
        Their paths.
    """
    reconstruction = place.with_name(f"{place.name}.png")
    codes = place.with_name(place.name + code_files.SUFFIX)
    comparison = place.with_name(f"{place.name}.compare.png")
    result = images.to_picture(done.image)
    images.save(result, reconstruction)
    code_files.save(done.codes, codes, metadata)
    pictures = [face.shown, result.resize((SHOWN, SHOWN), Image.Resampling.LANCZOS)]
    images.save(images.side_by_side(pictures, ["input", "reconstruction"]), comparison)
    return str(reconstruction), str(codes), str(comparison)
