"""How each kind of source becomes samples; kinds without a row are cropped or taken whole."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from wplus import images
from wplus.errors import ImageError
from wplus.faces.labels import LABELS, impossible
from wplus.image_files import read_stored
from wplus.images import WORKING_SIZE
from wplus.inference import inpainting
from wplus.inference.crops import PREVIEW_SIZE, cut, find_crops
from wplus.inference.inputs import Input, Sample, name_of, stem_of, stored_image
from wplus.inference.low_resolution import SMALLEST, read_small, shrink
from wplus.inference.options import Options
from wplus.inference.results import describe
from wplus.optimize import Constraint
from wplus.registry import Registry
from wplus.sources import SOURCES, Source
from wplus.sources.drawing import clean_drawing
from wplus.sources.kind import SourceOptions
from wplus.sources.masked import find_hole, remove_region
from wplus.sources.sketch import sketch_input

LEAST_SHARE = 0.75  # of the pixels that a factor promises; with fewer, the output is blurred
BLACK = -0.95  # the rings that resampling leaves around a hole are darker

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Request:
    """One input, and how it is read.

    Attributes:
        given: the input.
        source: its kind.
        options: of the user.
        source_options: of the model's encoder.
    """

    given: Input
    source: Source
    options: Options
    source_options: SourceOptions


@dataclass(frozen=True)
class Reader:
    """How one kind of source becomes samples.

    Attributes:
        name: of the kind, in `sources.SOURCES`.
        read: gives one sample for each face.
    """

    name: str
    read: Callable[[Request], Iterator[Sample]]


def read_samples(request: Request) -> list[Sample]:
    """An input as its kind is read: one sample, or one for each face.

    Raises:
        ImageError: the input cannot be read, or is not of this kind; the message names it.
        FaceError: no face is found in a photograph, or the hole is not on it.
        WeightsError: the detector cannot be fetched.
    """
    source, name = request.source, name_of(request.given)
    reader = READERS.get(source.name)
    read = reader.read if reader else _photographs if source.is_photograph else _whole
    try:
        return list(read(request))
    except ImageError as error:
        raise ImageError(describe(name, error)) from error


def read_photographs(given: Input, align: bool, all_faces: bool = False) -> list[Sample]:
    """The faces of a photograph as an inversion encoder reads them, or its middle square.

    Raises: see `read_samples`.
    """
    options = Options(align=align, all_faces=all_faces)
    return read_samples(Request(given, SOURCES["photo"], options, SourceOptions()))


def _photographs(request: Request) -> Iterator[Sample]:
    image = images.to_rgb(stored_image(request.given, images.read))
    options = request.options
    for geometry in find_crops(image, options.align is not False, options.all_faces):
        square = cut(image, geometry)
        photo = images.to_tensor(square)
        yield Sample(
            request.source.kind.tensor(square, request.source_options),
            partial(cut, image, geometry, PREVIEW_SIZE, oversampling=2),
            photo,
            Constraint(photo),
            image,
            geometry,
        )


def _whole(request: Request) -> Iterator[Sample]:
    kind = request.source.kind
    source = kind.tensor(stored_image(request.given, kind.read), request.source_options)
    yield Sample(source, partial(kind.preview, source[0]))


def _labels(request: Request) -> Iterator[Sample]:
    for sample in _whole(request):
        assert sample.source is not None
        numbers = sample.source.argmax(dim=1)[0]
        if sample.source.shape[1] == len(LABELS) and bool((numbers == numbers[0, 0]).all()):
            only = LABELS[int(numbers[0, 0])]
            raise ImageError(f"holds nothing but {only}; paint the parts of a face")
        if sample.source.shape[1] == len(LABELS) and (reason := impossible(numbers)):
            logger.warning(
                "%s: %s; if its classes are in another order, name it with --label-order",
                name_of(request.given),
                reason,
            )
        yield sample


def _sketch(request: Request) -> Iterator[Sample]:
    stored = stored_image(request.given, read_stored)
    page = clean_drawing(stored, request.options.align, name_of(request.given))
    yield Sample(sketch_input(page, WORKING_SIZE), partial(images.to_rgb, page))


def _low_resolution(request: Request) -> Iterator[Sample]:
    image = stored_image(request.given, read_small)
    align, factor = request.options.align, request.options.factor
    if align is None:  # a small square image is most often a crop already
        align = image.width != image.height or image.width > WORKING_SIZE
    for geometry in find_crops(image, align, request.options.all_faces):
        size = _size_of(geometry.side, factor)
        if factor is not None and factor > 1 and geometry.side >= 1.5 * size:
            # Larger than the factor says: a sharp photograph, or a small one that was enlarged.
            low = shrink(images.to_tensor(cut(image, geometry)), size)
        else:
            low = images.to_tensor(cut(image, geometry, size))
        source = images.resize(low, WORKING_SIZE)
        yield Sample(
            source,
            partial(images.to_picture, source),
            source,
            Constraint(low, partial(shrink, size=size)),
            image,
            geometry,
            factor=WORKING_SIZE / size,
        )


def _size_of(side: float, factor: int | None) -> int:
    """Pixels a side of the low-resolution face, of one of `side` pixels in the photograph."""
    if factor is None:
        return min(WORKING_SIZE, max(SMALLEST, round(side)))
    size = WORKING_SIZE // factor
    if side < LEAST_SHARE * size:
        raise ImageError(
            f"--factor {factor} means a face of {size} pixels, this one has {side:.0f}; leave"
            " --factor out, or take a larger one"
        )
    return size


def read_hole(request: Request) -> tuple[Image.Image, inpainting.Hole]:
    """A photograph (RGB), and (H, W) bool, True where something is missing.

    Raises:
        ImageError: it or its mask cannot be read or do not fit, or nothing or all is missing.
    """
    stored = stored_image(request.given, read_stored)
    hole = np.asarray(find_hole(stored, _mask(request, stored.size))) > 0
    if hole.all():
        raise ImageError("everything is missing, nothing is left to go by")
    return images.to_rgb(stored), hole


def _masked(request: Request) -> Iterator[Sample]:
    image, hole = read_hole(request)
    filled = inpainting.fill_smoothly(image, hole)  # no network may see what lies in the hole
    [geometry] = find_crops(filled, request.options.align is not False)
    inpainting.check_inside(hole, geometry)
    photo = images.to_tensor(cut(filled, geometry))
    # Black where the crop leaves the image: there is no target there either.
    layer = Image.fromarray(hole).convert("RGB")
    missing = images.to_tensor(cut(layer, geometry, padding=False))[:, :1] > BLACK
    yield Sample(
        remove_region(photo, missing.float()),
        lambda: cut(inpainting.hatched(image, hole), geometry, PREVIEW_SIZE, oversampling=2),
        photo,
        Constraint(photo, pixel_weights=(~missing).float()),
        image,
        geometry,
        finish=partial(inpainting.fill, image, hole, geometry),
    )


def _mask(request: Request, size: tuple[int, int]) -> Path | Image.Image | None:
    """The mask of --mask or --box, if any; `find_hole` adds what is painted or erased."""
    box = request.options.box
    if isinstance(box, tuple):
        return inpainting.mask_of_box(box, size)
    mask: Path | Image.Image | None = request.options.mask
    if mask is None or not isinstance(mask, str | os.PathLike) or not Path(mask).is_dir():
        return mask
    stem = stem_of(request.given)
    found = sorted(file for file in Path(mask).iterdir() if file.stem == stem)
    if len(found) != 1:
        count = "no mask" if not found else f"{len(found)} masks"
        raise ImageError(f"{mask}: has {count} named {stem}, as {name_of(request.given)} is")
    return found[0]


READERS: Registry[Reader] = Registry(
    "reader",
    (
        Reader("sketch", _sketch),
        Reader("labels", _labels),
        Reader("low_resolution", _low_resolution),
        Reader("masked", _masked),
    ),
)
"""Kinds of source that need more than to be cropped or taken whole."""
