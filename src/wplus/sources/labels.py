"""Label maps: class numbers or colors of files, as one channel per class."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from wplus.errors import ConfigError, ImageError
from wplus.sources.sizes import check_size
from wplus.sources.sketches import is_drawing

# CelebAMask-HQ's order; a label is an index into it.
LABELS = (
    "background",
    "skin",
    "nose",
    "glasses",
    "l_eye",
    "r_eye",
    "l_brow",
    "r_brow",
    "l_ear",
    "r_ear",
    "mouth",
    "u_lip",
    "l_lip",
    "hair",
    "hat",
    "earring",
    "necklace",
    "neck",
    "cloth",
)

PALETTE = (
    (0, 0, 0),
    (204, 0, 0),
    (76, 153, 0),
    (204, 204, 0),
    (51, 51, 255),
    (204, 0, 204),
    (0, 255, 255),
    (255, 204, 204),
    (102, 51, 0),
    (255, 0, 0),
    (102, 204, 0),
    (255, 255, 0),
    (0, 0, 153),
    (0, 0, 204),
    (255, 51, 153),
    (0, 204, 204),
    (0, 51, 0),
    (255, 153, 51),
    (0, 204, 0),
)
"""The color in which CelebAMask-HQ shows each label, RGB."""

_NAMED = 3  # so many unknown colors are named in a message; the rest are counted
_LEVELS = 32  # label maps have fewer different numbers than that, unless they have so many classes
_PAPER = 200  # the brightness of most of a drawing
_SOFT_LINES = 4  # and the levels on the edges of its lines, at least
_COLORS = 1000  # soft edges make fewer colors than that, photographs more
_PREPARE = "wplus prepare labels makes label maps of photographs"


def one_hot_labels(
    labels: Tensor, num_classes: int = len(LABELS), size: int = 256, *, bilinear: bool = False
) -> Tensor:
    """Label maps as one channel per class.

    Args:
        labels: (N, H, W) integers, each the number of a class; an index into `LABELS` for faces.
        num_classes: C.
        size: side of the result. Maps of another size are resized by nearest neighbor.
        bilinear: resize the numbers themselves, as if they were gray levels. This puts false
            classes on outlines (between hair, 13, and background, 0, lies everything), but
            published checkpoints were trained so and expect it.

    Returns:
        (N, C, size, size) float32 of zeros and ones.

    Raises:
        ImageError: a label out of range, or a tensor that is not (N, H, W) integers.
        ConfigError: a size or a number of classes out of range.
    """
    check_size(size)
    if num_classes < 1 or (bilinear and num_classes > 256):
        raise ConfigError(f"{num_classes} classes of labels cannot be told apart; use 1 to 256")
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
    """Pillow's bilinear filter, which widens when it shrinks and rounds to whole numbers."""
    maps = labels.to("cpu", torch.uint8).numpy()
    resized = [
        np.array(Image.fromarray(each).resize((size, size), Image.Resampling.BILINEAR))
        for each in maps
    ]
    return torch.from_numpy(np.stack(resized)).to(labels)


def class_numbers(picture: Image.Image, num_classes: int = len(LABELS)) -> Tensor:
    """(1, H, W) int64 of a picture that stands as it does in its file.

    Gray levels and the indices of a palette are class numbers. Pictures in the colors of `PALETTE`
    are looked up there, if there are as many classes; also those with a palette of their own that
    holds nothing but these colors, as drawing programs write them.

    Raises:
        ImageError: the picture holds neither; unknown colors are named with the nearest class.
    """
    named = num_classes == len(LABELS)
    if named and picture.mode in {"RGBA", "LA"}:
        picture = _on_background(picture)
    if picture.mode == "P" and named:
        table = _in_palette_colors(picture)
        if table is not None:
            return torch.from_numpy(table[np.asarray(picture)])[None]
    values = np.asarray(picture)
    if picture.mode in {"LA", "PA"}:
        values = values[..., 0]
    elif picture.mode in {"RGB", "RGBA"}:
        colors = values[..., :3]
        if (colors != colors[..., :1]).any():
            if not named:
                raise ImageError(
                    "is in color; a label map holds class numbers, as gray levels or as a palette"
                )
            return torch.from_numpy(_looked_up(colors))[None]
        values = values[..., 0]
    elif picture.mode not in {"1", "L", "P", "I"} and not picture.mode.startswith("I;16"):
        raise ImageError(f"holds no class numbers (mode {picture.mode}); store them as gray levels")
    if values.max() >= num_classes:
        _check_numbers(values, num_classes)
    return torch.from_numpy(values.astype(np.int64))[None]


def colored(labels: Tensor) -> Image.Image:
    """A label map (H, W) as a picture whose pixels are the numbers and whose palette the colors.

    Raises:
        ImageError: a label out of range, or a tensor that is not (H, W) integers.
    """
    one_hot_labels(labels[None], size=1)  # for what it refuses
    picture = Image.fromarray(labels.to("cpu", torch.uint8).numpy()).convert("P")
    picture.putpalette([value for color in PALETTE for value in color])
    picture.putdata(labels.flatten().tolist())
    return picture


def _check_numbers(values: NDArray[Any], num_classes: int) -> None:
    """Say what numbers out of range are, where they are something else than a wrong class."""
    levels = len(np.unique(values))
    soft = len(np.unique(values[values >= num_classes])) >= _SOFT_LINES
    white = values.dtype == np.uint8 and float(np.median(values)) >= _PAPER
    if soft and white and is_drawing(Image.fromarray(values)):
        raise ImageError("looks like a drawing, not like a label map; use --task sketch for it")
    if levels > max(_LEVELS, num_classes):
        raise ImageError(
            f"looks like a photograph: {levels} different levels, which are no class numbers"
            f" (0 to {num_classes - 1}); {_PREPARE}"
        )


def _on_background(picture: Image.Image) -> Image.Image:
    """Without transparency: what is erased is background."""
    alpha = np.asarray(picture.convert("RGBA").getchannel("A"))
    opaque = picture.convert("L" if picture.mode == "LA" else "RGB")
    if alpha.min() == 255:
        return opaque
    pixels = np.array(opaque)
    pixels[alpha < 128] = 0  # the number and the color of background
    return Image.fromarray(pixels)


def _looked_up(colors: NDArray[np.uint8]) -> NDArray[np.int64]:
    """(H, W) class numbers of colors (H, W, 3) that are all in `PALETTE`."""
    codes = _codes(colors)
    known = _codes(np.array(PALETTE))
    order = np.argsort(known)
    places = np.clip(np.searchsorted(known[order], codes), 0, len(known) - 1)
    labels = order[places]
    strange = known[labels] != codes
    if strange.any():
        raise ImageError(_strange_colors(codes[strange], codes.size))
    return labels.astype(np.int64)


def _codes(colors: NDArray[np.generic]) -> NDArray[np.int64]:
    parts = colors.astype(np.int64)
    code: NDArray[np.int64] = (parts[..., 0] << 16) | (parts[..., 1] << 8) | parts[..., 2]
    return code


def _strange_colors(codes: NDArray[np.int64], pixels: int) -> str:
    found, counts = np.unique(codes, return_counts=True)
    if len(found) > _COLORS:
        what = f"is in color and looks like a photograph, {len(found)} colors mean no class"
        return f"{what}; {_PREPARE}"
    most = np.argsort(-counts, kind="stable")[:_NAMED]
    parts = []
    for code, count in zip(found[most].tolist(), counts[most].tolist()):
        color = ((code >> 16) & 255, (code >> 8) & 255, code & 255)
        distances = np.square(np.array(PALETTE) - color).sum(axis=1)
        nearest = int(distances.argmin())
        parts.append(f"{color} on {count} pixels, nearest to {LABELS[nearest]} {PALETTE[nearest]}")
    white = 0xFFFFFF in found[most]
    advice = "paint without soft edges"
    if white or len(found) <= _NAMED:
        advice = "paint these in the color of a class" + (
            f", background in {PALETTE[0]}" if white else ""
        )
    more = f"; and {len(found) - _NAMED} more" if len(found) > _NAMED else ""
    return (
        f"is in color, and {len(codes)} of {pixels} pixels are in none of the {len(PALETTE)} colors"
        f" of CelebAMask-HQ: {'; '.join(parts)}{more}; {advice}"
    )


def _in_palette_colors(picture: Image.Image) -> NDArray[np.int64] | None:
    """Index to label, if the palette's used colors are two or more and all in `PALETTE`.

    Raises:
        ImageError: most of them are, each at another index than its label, but some are not.
    """
    palette = np.array(picture.getpalette("RGB") or [], np.int64).reshape(-1, 3)
    used = np.unique(np.asarray(picture))
    if len(used) < 2 or used[-1] >= len(palette):
        return None
    known = {color: label for label, color in enumerate(PALETTE)}
    colors = [tuple(color) for color in palette[used].tolist()]
    if len(set(colors)) < len(colors):
        return None
    if not set(colors) <= set(known):
        elsewhere = [known[color] != index for index, color in zip(used, colors) if color in known]
        if 2 * len(elsewhere) > len(colors) and any(elsewhere):  # colors are meant, not indices
            _looked_up(palette[np.asarray(picture)])
        return None
    table = np.zeros(256, np.int64)
    table[used] = [known[color] for color in colors]
    return table
