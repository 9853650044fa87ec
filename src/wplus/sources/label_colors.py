"""The colors of CelebAMask-HQ, and label maps stored in them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from wplus.errors import ImageError
from wplus.faces.labels import LABELS

PALETTE = (
    (0, 0, 0), (204, 0, 0), (76, 153, 0), (204, 204, 0), (51, 51, 255),
    (204, 0, 204), (0, 255, 255), (255, 204, 204), (102, 51, 0), (255, 0, 0),
    (102, 204, 0), (255, 255, 0), (0, 0, 153), (0, 0, 204), (255, 51, 153),
    (0, 204, 204), (0, 51, 0), (255, 153, 51), (0, 204, 0),
)  # fmt: skip
"""The color in which CelebAMask-HQ shows each label, RGB."""

PREPARE = "wplus prepare labels makes label maps from photographs"
_LABEL_OF = {color: label for label, color in enumerate(PALETTE)}
_NAMED = 3  # unknown colors that a message names; the others are counted
_COLORS = 1000  # soft edges make fewer colors, photographs more


def on_background(image: Image.Image) -> Image.Image:
    """An image without its transparency: erased pixels become background."""
    alpha = np.asarray(image.convert("RGBA").getchannel("A"))
    pixels = np.array(image.convert("L" if image.mode == "LA" else "RGB"))
    if alpha.min() < 255:
        pixels[alpha < 128] = 0  # the number and the color of background
    return Image.fromarray(pixels)


def colors_to_labels(colors: NDArray[np.uint8]) -> NDArray[np.int64]:
    """(H, W) class numbers of colors (H, W, 3).

    Raises:
        ImageError: some are not in `PALETTE`; the message names them with the nearest class.
    """
    parts = colors.astype(np.int64)
    codes = (parts[..., 0] << 16) | (parts[..., 1] << 8) | parts[..., 2]
    found, places, counts = np.unique(codes, return_inverse=True, return_counts=True)
    palette = np.stack([found >> 16, (found >> 8) & 255, found & 255], axis=1).tolist()
    labels = np.array([_LABEL_OF.get(tuple(color), -1) for color in palette])
    unknown = {tuple(palette[i]): int(counts[i]) for i in np.flatnonzero(labels < 0)}
    if unknown:
        raise ImageError(_about_unknown(unknown, codes.size))
    return labels[places].reshape(codes.shape)


def _about_unknown(unknown: dict[tuple[int, ...], int], pixels: int) -> str:
    """The message about colors of no class, given the number of pixels of each."""
    if len(unknown) > _COLORS:
        return (
            f"is in color and looks like a photograph, {len(unknown)} colors are of no class;"
            f" {PREPARE}"
        )
    most = sorted(unknown, key=lambda color: -unknown[color])[:_NAMED]
    parts = []
    for color in most:
        nearest = int(np.square(np.array(PALETTE) - color).sum(axis=1).argmin())
        parts.append(
            f"{color} on {unknown[color]} pixels, nearest to {LABELS[nearest]} {PALETTE[nearest]}"
        )
    white = (255, 255, 255) in most
    advice = "paint without soft edges"
    if white or len(unknown) <= _NAMED:
        advice = "paint these in the color of a class"
        advice += f", background in {PALETTE[0]}" if white else ""
    more = f"; and {len(unknown) - _NAMED} more" if len(unknown) > _NAMED else ""
    return (
        f"is in color, and {sum(unknown.values())} of {pixels} pixels are in none of the"
        f" {len(PALETTE)} colors of CelebAMask-HQ: {'; '.join(parts)}{more}; {advice}"
    )


def palette_to_labels(image: Image.Image) -> NDArray[np.int64] | None:
    """Index to label; None unless the palette's used colors are two or more, all in `PALETTE`.

    Raises:
        ImageError: most used colors are in `PALETTE` at other indices than their labels, but some
            are in none.
    """
    palette = np.array(image.getpalette("RGB") or [], np.int64).reshape(-1, 3)
    used = np.unique(np.asarray(image))
    if (
        len(used) < 2
        or used[-1] >= len(palette)
        or len(np.unique(palette[used], axis=0)) < len(used)
    ):
        return None
    labels = [_LABEL_OF.get(tuple(color), -1) for color in palette[used].tolist()]
    if -1 in labels:
        elsewhere = [label != index for index, label in zip(used, labels) if label >= 0]
        if 2 * len(elsewhere) > len(labels) and any(elsewhere):  # it holds colors, not numbers
            colors_to_labels(palette[np.asarray(image)].astype(np.uint8))
        return None
    table = np.zeros(256, np.int64)
    table[used] = labels
    return table
