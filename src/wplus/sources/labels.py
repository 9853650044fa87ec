"""Label maps: class numbers or colors in image files, as one channel per class."""

from __future__ import annotations

import colorsys
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from wplus import images
from wplus.errors import ConfigError, ImageError
from wplus.faces.labels import LABELS, ORDERS
from wplus.image_files import naming, read_stored
from wplus.sources.kind import File, Kind, Pixels, SourceOptions, check_size
from wplus.sources.label_colors import (
    PALETTE,
    PREPARE,
    colors_to_labels,
    on_background,
    palette_to_labels,
)
from wplus.sources.whitening import is_drawing

_LEVELS = 32  # label maps have at most this many different numbers, or one for each class
_SMALLEST_CHECKED = 64  # pixels a side; in smaller maps every part is thin
_BLURRED = 0.3  # share of steps between classes that are followed by another step
_PAPER = 200  # brightness of most of a drawing …
_SOFT_LINES = 4  # … and the least number of levels on the edges of its lines


class Labels(Kind):
    """A label map: one channel per class, 1 where the pixel is of the class."""

    def read(self, file: File) -> Image.Image:
        """See `Kind.read`: class numbers as they are stored. Lossy compression is refused."""
        image = read_stored(file)
        if image.info["lossy"]:
            with naming(file) as name:
                raise ImageError(
                    f"{name}: lossy compression changes the class numbers of a label map; store it"
                    " as PNG"
                )
        return image

    def tensor(self, image: Image.Image, options: SourceOptions) -> Tensor:
        """See `Kind.tensor`."""
        classes = _classes(options)
        numbers = class_numbers(image, classes, options.label_order)
        return one_hot_labels(numbers, classes, options.size, bilinear=options.bilinear)

    def preview(self, source: Tensor) -> Image.Image:
        """See `Kind.preview`: every pixel in the color of its class."""
        numbers = source.argmax(0).cpu()
        if len(source) == len(LABELS):
            return colored(numbers).convert("RGB")
        return images.to_picture(_wheel(len(source))[:, numbers])

    def pixels(self, file: File, options: SourceOptions) -> Pixels:
        """See `Kind.pixels`: (size, size) class numbers."""
        numbers = self.tensor(self.read(file), options)[0].argmax(0).numpy()
        return numbers.astype(np.min_scalar_type(_classes(options) - 1))

    def mirror(self, pixels: Pixels, options: SourceOptions) -> Pixels:
        """See `Kind.mirror`; face labels with a side exchange left and right too."""
        pixels = pixels[:, ::-1]
        if _classes(options) == len(LABELS):
            return np.array(_OTHER_SIDE, pixels.dtype)[pixels]
        return pixels

    def paired(self, source: Pixels, target: Pixels, options: SourceOptions) -> Tensor:
        """See `Kind.paired`."""
        numbers = torch.from_numpy(source.astype(np.int64))[None]
        return one_hot_labels(numbers, _classes(options), options.size)[0]


def _classes(options: SourceOptions) -> int:
    return options.channels or len(LABELS)


def _other_side(label: str) -> str:
    """l_eye for r_eye and back; labels without a partner stay (l_lip is the lower lip)."""
    swapped = {"l_": "r_", "r_": "l_"}.get(label[:2], label[:2]) + label[2:]
    return swapped if swapped in LABELS else label


_OTHER_SIDE = [LABELS.index(_other_side(label)) for label in LABELS]


def _wheel(count: int) -> Tensor:
    """(3, count) in [-1, 1]: black, then hues around the wheel at alternating brightness."""
    colors = [(0.0, 0.0, 0.0)]
    for i in range(count - 1):
        hue = i * 0.618 % 1  # the golden ratio keeps neighbors apart
        colors.append(colorsys.hsv_to_rgb(hue, 0.8, (1.0, 0.8, 0.6)[i % 3]))
    return torch.tensor(colors).t() * 2 - 1


def one_hot_labels(
    labels: Tensor, num_classes: int = len(LABELS), size: int = 256, *, bilinear: bool = False
) -> Tensor:
    """Label maps as one channel per class.

    Args:
        labels: (N, H, W) integers, each the number of a class; an index into `LABELS` for faces.
        num_classes: C.
        size: side of the result. Maps of another size are resized by nearest neighbor.
        bilinear: resize the numbers themselves, as if they were gray levels. This puts wrong
            classes on outlines (any between hair, 13, and background, 0), but the published
            checkpoints were trained on it.

    Returns:
        (N, C, size, size) float32 of zeros and ones.

    Raises:
        ImageError: a label out of range, or a tensor that is not (N, H, W) integers.
        ConfigError: a size or a number of classes out of range.
    """
    check_size(size)
    if num_classes < 1 or (bilinear and num_classes > 256):
        raise ConfigError(f"{num_classes} classes of labels cannot be represented; use 1 to 256")
    if labels.ndim != 3 or labels.is_floating_point() or labels.is_complex() or 0 in labels.shape:
        raise ImageError(
            f"label maps are integers (N, H, W), not {labels.dtype} {tuple(labels.shape)}"
        )
    labels = labels.long()
    for value in (int(labels.min()), int(labels.max())):
        if not 0 <= value < num_classes:
            raise ImageError(
                f"label {value} is out of range: with {num_classes} classes labels are 0 to"
                f" {num_classes - 1}; renumber the map"
            )
    if labels.shape[1:] != (size, size):
        labels = _as_gray_levels(labels, size) if bilinear else _nearest(labels, size)
    channels = labels.new_zeros((len(labels), num_classes, size, size), dtype=torch.float32)
    return channels.scatter_(1, labels[:, None], 1.0)


def _nearest(labels: Tensor, size: int) -> Tensor:
    """The label under the center of every new pixel: floor((i + 1/2)·H/size)."""
    centers = 2 * torch.arange(size, device=labels.device) + 1
    rows, columns = (centers * side // (2 * size) for side in labels.shape[1:])
    return labels[:, rows[:, None], columns]


def _as_gray_levels(labels: Tensor, size: int) -> Tensor:
    """Pillow's bilinear filter, which antialiases when it shrinks and rounds to whole numbers."""
    maps = labels.to("cpu", torch.uint8).numpy()
    resized = [
        np.array(Image.fromarray(each).resize((size, size), Image.Resampling.BILINEAR))
        for each in maps
    ]
    return torch.from_numpy(np.stack(resized)).to(labels)


def class_numbers(image: Image.Image, num_classes: int = len(LABELS), order: str = "") -> Tensor:
    """(1, H, W) int64 of an image in the mode of its file.

    Gray levels and palette indices are class numbers. With the 19 classes of faces, images in the
    colors of `PALETTE` are looked up there; so are images with a palette of their own that uses
    only these colors, as drawing programs write them.

    Args:
        image: as stored.
        num_classes: C.
        order: what the numbers mean, one of `faces.labels.ORDERS`; empty for that of `LABELS`.

    Raises:
        ImageError: the image holds neither; the message names other colors and their nearest class.
            Or its outlines are blurred, or it has a number that the order lacks.
        ConfigError: there is no such order.
    """
    if order:
        return _reordered(class_numbers(image, num_classes), order, num_classes)
    named = num_classes == len(LABELS)
    if named and image.mode in {"RGBA", "LA"}:
        image = on_background(image)
    if image.mode == "P" and named:
        table = palette_to_labels(image)
        if table is not None:
            return torch.from_numpy(table[np.asarray(image)])[None]
    values = np.asarray(image)
    if image.mode in {"LA", "PA"}:
        values = values[..., 0]
    elif image.mode in {"RGB", "RGBA"}:
        colors = values[..., :3]
        if (colors != colors[..., :1]).any():
            if not named:
                raise ImageError(
                    "is in color; a label map holds class numbers, as gray levels or as a palette"
                )
            return torch.from_numpy(colors_to_labels(colors))[None]
        values = values[..., 0]
    elif image.mode not in {"1", "L", "P", "I"} and not image.mode.startswith("I;16"):
        raise ImageError(f"holds no class numbers (mode {image.mode}); store them as gray levels")
    if values.max() >= num_classes:
        _check_numbers(values, num_classes)
    _check_outlines(values)
    return torch.from_numpy(values.astype(np.int64))[None]


def _reordered(numbers: Tensor, order: str, num_classes: int) -> Tensor:
    """Numbers of another order as indices of `LABELS`."""
    if order not in ORDERS or num_classes != len(LABELS):
        raise ConfigError(
            f"label order {order!r} is none of: {', '.join(ORDERS)} (for the {len(LABELS)} classes"
            " of faces)"
        )
    table = torch.tensor([LABELS.index(label) for label in ORDERS[order]])
    if int(numbers.max()) >= len(table):
        raise ImageError(
            f"label {int(numbers.max())} is out of range: the order {order} has"
            f" {len(table)} classes"
        )
    return table[numbers]


def _check_outlines(values: NDArray[Any]) -> None:
    """Refuse maps that were resized or compressed as if they were photographs.

    Between two regions, such a map has pixels of other classes, so that most steps from one class
    to another are followed by a further one.
    """
    if min(values.shape) < _SMALLEST_CHECKED:
        return
    numbers = values.astype(np.int64)
    steps = np.diff(numbers, axis=1) != 0
    after = steps[:, :-1] | steps[:, 1:]
    both = steps[:, :-1] & steps[:, 1:]
    if after.sum() > values.shape[0] and both.sum() > _BLURRED * after.sum():
        raise ImageError(
            "has blurred outlines: it was resized or compressed like a photograph, which makes"
            " false classes; store it as PNG and resize it by nearest neighbor"
        )


def colored(labels: Tensor) -> Image.Image:
    """A label map (H, W) as an image: its pixels are the numbers, its palette has the colors.

    Raises:
        ImageError: a label out of range, or a tensor that is not (H, W) integers.
    """
    one_hot_labels(labels[None], size=1)  # checks the labels
    image = Image.fromarray(labels.to("cpu", torch.uint8).numpy())
    image.putpalette([value for color in PALETTE for value in color])
    return image


def _check_numbers(values: NDArray[Any], num_classes: int) -> None:
    """Raise ImageError if numbers out of range show that this is a drawing or a photograph."""
    levels = len(np.unique(values))
    soft = len(np.unique(values[values >= num_classes])) >= _SOFT_LINES
    white = values.dtype == np.uint8 and float(np.median(values)) >= _PAPER
    if soft and white and is_drawing(Image.fromarray(values)):
        raise ImageError("looks like a drawing, not like a label map; use --task sketch for it")
    if levels > max(_LEVELS, num_classes):
        raise ImageError(
            f"looks like a photograph: {levels} different levels, which are no class numbers"
            f" (0 to {num_classes - 1}); {PREPARE}"
        )
