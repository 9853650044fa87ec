"""Random masks for training inpainting: brush strokes and boxes.

Free-form strokes follow Yu et al. 2019 (arXiv 1806.03589): a brush that turns at random. Some make
wide holes like those of Suvorov et al. 2021 (arXiv 2109.07161).
"""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np
from PIL import Image, ImageDraw

from wplus.errors import ConfigError

Kind = Literal["strokes", "boxes", "mixed"]
KINDS: tuple[Kind, ...] = ("strokes", "boxes", "mixed")
COVERAGE = (0.05, 0.5)
"""Least and largest share of the image that is removed."""

_BOXES = 0.35  # share of masks that are boxes, where both are drawn
_ATTEMPTS = 200  # strokes or boxes tried for one mask; far fewer suffice

Mask = np.ndarray[Any, np.dtype[np.uint8]]


def draw_mask(
    size: int,
    rng: np.random.Generator,
    kind: Kind = "mixed",
    coverage: tuple[float, float] = COVERAGE,
) -> Mask:
    """A mask (size, size) uint8: 255 where the image is removed, else 0.

    Args:
        size: side in pixels.
        rng: source of everything random.
        kind: "strokes" of a brush, "boxes" (a few, upright), or "mixed": one of the two.
        coverage: least and largest share that is removed. The share is drawn uniformly in between
            and met as closely as whole strokes allow, never exceeding the largest.

    Raises:
        ConfigError: the kind is unknown, or the shares are no range within 0 to 1.
    """
    low, high = coverage
    if kind not in KINDS:
        raise ConfigError(f"masks are {', '.join(KINDS)}, not {kind!r}")
    if not 0 < low <= high < 1 or size < 8:
        raise ConfigError(f"a mask of {size} pixels a side cannot cover {low} to {high} of them")
    if kind == "mixed":
        kind = "boxes" if rng.random() < _BOXES else "strokes"
    wanted = float(rng.uniform(low, high))
    mask = Image.new("L", (size, size), 0)
    covered = 0.0
    for attempt in range(_ATTEMPTS):
        # Strokes get smaller with the share that is still missing.
        room = min(1.0, (wanted - covered) / wanted) * (0.97**attempt)
        tried = mask.copy()
        if kind == "boxes":
            _box(tried, wanted * room, rng)
        else:
            _stroke(tried, max(0.1, math.sqrt(wanted * room)), rng)
        share = tried.histogram()[255] / size**2
        if share <= min(high, 1.2 * wanted):
            mask, covered = tried, share
        if covered >= max(low, 0.9 * wanted):
            break
    return np.asarray(mask).copy()


def _box(mask: Image.Image, area: float, rng: np.random.Generator) -> None:
    """Draw a box of about this share of the image, or half of it."""
    size = mask.width
    area *= float(rng.choice([1.0, 0.5]))
    aspect = math.exp(rng.uniform(-0.7, 0.7))
    sides = [min(size, max(2, round(size * math.sqrt(area * a)))) for a in (aspect, 1 / aspect)]
    left, top = (int(rng.integers(0, size - side + 1)) for side in sides)
    box = (left, top, left + sides[0] - 1, top + sides[1] - 1)
    ImageDraw.Draw(mask).rectangle(box, fill=255)


def _stroke(mask: Image.Image, strength: float, rng: np.random.Generator) -> None:
    """Draw a stroke of a round brush in straight pieces, each turned a little from the last."""
    size = mask.width
    width = max(2, round(size * strength * rng.uniform(0.04, 0.3)))
    x, y = rng.uniform(0, size, 2)
    angle = rng.uniform(0, 2 * math.pi)
    points = [(float(x), float(y))]
    for piece in range(int(rng.integers(2, 7))):
        angle += rng.uniform(0.2, 1.2) * (1 if piece % 2 else -1)
        length = size * strength * rng.uniform(0.1, 0.45)
        x = float(np.clip(x + length * math.cos(angle), 0, size - 1))
        y = float(np.clip(y + length * math.sin(angle), 0, size - 1))
        points.append((x, y))
    draw = ImageDraw.Draw(mask)
    draw.line(points, fill=255, width=width, joint="curve")
    half = width / 2
    for x, y in points:
        draw.ellipse((x - half, y - half, x + half, y + half), fill=255)
