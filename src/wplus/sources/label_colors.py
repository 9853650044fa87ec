"""The colors of CelebAMask-HQ, and label maps stored in them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from wplus.errors import ImageError
from wplus.faces.labels import LABELS

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

PREPARE = "wplus prepare labels makes label maps of photographs"
_NAMED = 3  # unknown colors that a message names; the rest are counted
_COLORS = 1000  # soft edges make fewer colors than that, photographs more


def on_background(picture: Image.Image) -> Image.Image:
    """Without transparency: what is erased is background."""
    alpha = np.asarray(picture.convert("RGBA").getchannel("A"))
    opaque = picture.convert("L" if picture.mode == "LA" else "RGB")
    if alpha.min() == 255:
        return opaque
    pixels = np.array(opaque)
    pixels[alpha < 128] = 0  # the number and the color of background
    return Image.fromarray(pixels)


def colors_to_labels(colors: NDArray[np.uint8]) -> NDArray[np.int64]:
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
        return f"{what}; {PREPARE}"
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


def palette_to_labels(picture: Image.Image) -> NDArray[np.int64] | None:
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
            colors_to_labels(palette[np.asarray(picture)])
        return None
    table = np.zeros(256, np.int64)
    table[used] = [known[color] for color in colors]
    return table
