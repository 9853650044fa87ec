"""One input file as a question to the model: what its encoder reads, and what is known already."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from PIL import Image
from torch import Tensor

from wplus import images
from wplus.errors import FaceError, ImageError
from wplus.faces import CropGeometry
from wplus.faces.labels import LABELS
from wplus.images import WORKING_SIZE as SIZE
from wplus.inference import blending
from wplus.inference.crops import cut, square_of
from wplus.inference.holes import Hole, read_with_hole
from wplus.inference.low_resolution import SMALLEST, read_small, shrink
from wplus.inference.options import Options
from wplus.optimize import Constraint
from wplus.sources.drawing import read_drawing
from wplus.sources.files import from_file
from wplus.sources.labels import colored
from wplus.sources.masked import remove_region
from wplus.sources.sketch import sketch_input
from wplus.tasks import Task

TOO_SMALL = 0.75  # share of the pixels that a factor promises; with fewer, the output is blurred
BLACK = -0.95  # the rings that resampling leaves around a hole are darker


@dataclass(frozen=True, eq=False)
class Question:
    """One input, ready for a model.

    Attributes:
        source: (1, C, 256, 256) for an encoder of the task.
        photo: (1, 3, 256, 256) in [-1, 1] for an encoder of photographs; None if the input is none.
        shown: the input as people see it.
        known: what is known of the output; None if nothing is.
        factor: by how much the face is smaller than 256 pixels (super-resolution).
        picture: the photograph it was cut out of.
        geometry: where in it.
        finish: the generator's picture to the one that is written; None writes it as it is.
    """

    source: Tensor
    photo: Tensor | None
    shown: Image.Image
    known: Constraint | None = None
    factor: float | None = None
    picture: Image.Image | None = None
    geometry: CropGeometry | None = None
    finish: Callable[[Image.Image], Image.Image] | None = None


def ask(path: str, task: Task, options: Options) -> Question:
    """Read a file as the task wants it.

    Raises:
        ImageError: the file cannot be read, or is not what the task reads.
        FaceError: no face is found in a photograph, or the hole is not on it.
    """
    return _READERS[task.source](path, task, options)


def _photograph(path: str, task: Task, options: Options) -> Question:
    picture = images.read(path)
    geometry = square_of(picture, options.align is not False)
    seen = images.to_tensor(cut(picture, geometry))
    shown = cut(picture, geometry, 2 * SIZE)
    return Question(seen, seen, shown, Constraint(seen), picture=picture, geometry=geometry)


def _sketch(path: str, task: Task, options: Options) -> Question:
    page = read_drawing(path, options.align)
    return Question(sketch_input(page, SIZE), None, images.to_rgb(page))


def _labels(path: str, task: Task, options: Options) -> Question:
    source = from_file(
        path, "labels", SIZE, channels=task.input_channels, bilinear=bool(options.bilinear)
    )
    numbers = source.argmax(dim=1)[0]
    named = task.input_channels == len(LABELS)  # others have no colors of their own
    if named and bool((numbers == numbers[0, 0]).all()):
        only = LABELS[int(numbers[0, 0])]
        raise ImageError(f"{path}: holds nothing but {only}; paint the parts of a face")
    shown = colored(numbers) if named else images.read(path)
    return Question(source, None, shown)


def _small(path: str, task: Task, options: Options) -> Question:
    picture = read_small(path)
    align = options.align
    if align is None:  # a small square picture is most often a crop already
        align = picture.width != picture.height or picture.width > SIZE
    geometry = square_of(picture, align)
    side = geometry.side
    if options.factor is None:
        size = min(SIZE, max(SMALLEST, round(side)))
    else:
        size = SIZE // options.factor
        if side < TOO_SMALL * size:
            raise ImageError(
                f"{path}: --factor {options.factor} means a face of {size} pixels, this one has"
                f" {side:.0f}; leave --factor out, or take a larger one"
            )
    if options.factor is not None and options.factor > 1 and side >= 1.5 * size:
        # Larger than it claims to be: a sharp photograph, or a small one that was enlarged.
        low = shrink(images.to_tensor(cut(picture, geometry)), size)
    else:
        low = images.to_tensor(cut(picture, geometry, size))
    source = images.resize(low, SIZE)
    return Question(
        source,
        source,
        images.to_picture(source),
        Constraint(low, partial(shrink, size=size)),
        factor=SIZE / size,
        picture=picture,
        geometry=geometry,
    )


def _with_hole(path: str, task: Task, options: Options) -> Question:
    picture, hole = read_with_hole(path, options)
    whole = blending.without(picture, hole)  # what lies in the hole must not be seen by any net
    geometry = square_of(whole, options.align is not False)
    _check_inside(hole, geometry)
    seen = images.to_tensor(cut(whole, geometry))
    # Gray where the crop leaves the picture: nothing is known there either.
    layer = Image.fromarray(hole).convert("RGB")
    missing = images.to_tensor(cut(layer, geometry, padding=False))[:, :1] > BLACK
    shown = blending.hatched(picture, hole)
    return Question(
        remove_region(seen, missing.float()),
        seen,
        cut(shown, geometry, 2 * SIZE),
        Constraint(seen, pixel_weights=(~missing).float()),
        picture=picture,
        geometry=geometry,
        finish=partial(_filled, picture, hole, geometry),
    )


_READERS: dict[str, Callable[[str, Task, Options], Question]] = {
    "photo": _photograph,
    "sketch": _sketch,
    "labels": _labels,
    "low_resolution": _small,
    "masked": _with_hole,
}


def _filled(
    picture: Image.Image, hole: Hole, geometry: CropGeometry, made: Image.Image
) -> Image.Image:
    return blending.fill(picture, hole, made, geometry)


def _check_inside(hole: Hole, geometry: CropGeometry) -> None:
    """Refuse a hole that the generator's picture does not cover."""
    rows, columns = np.nonzero(hole)
    places = geometry.from_picture(np.stack([columns, rows], axis=1))
    if places.min() < -0.5 or places.max() > geometry.output_size - 0.5:
        raise FaceError(
            "the hole reaches out of the square around the face, where nothing can be made up;"
            " keep it near the face, or crop the photograph and use --no-align"
        )
