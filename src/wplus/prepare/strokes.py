"""Strokes of a pen: lines of an image to chains of points, and chains to drawings.

A chain is one stroke, drawn without lifting the pen. Drawing chains instead of pixels allows
thickness, gaps and wobble to vary from stroke to stroke.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

Plane = NDArray[np.floating[Any]]
Mask = NDArray[np.bool_]
Chain = NDArray[np.float64]
"""(n, 2) points x, y in pixels, the center of the first pixel at 0, 0."""

_FINE = 4  # oversampling of strokes, for widths of a quarter pixel
# The eight neighbors, clockwise from the one above: row, column.
_AROUND = ((-1, 0), (-1, 1), (0, 1), (1, 1), (1, 0), (1, -1), (0, -1), (-1, -1))


def blur(plane: Plane, sigma: float) -> Plane:
    """Gaussian blur, truncated at 3 sigma, with the plane mirrored at its edges."""
    radius = max(1, int(3 * sigma + 0.5))
    weights = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2).astype(np.float32)
    weights /= weights.sum()
    for _ in range(2):  # columns, then rows as the columns of the transpose
        padded = np.pad(plane, ((radius, radius), (0, 0)), "symmetric")
        total = np.zeros_like(plane)
        for offset, weight in enumerate(weights):
            total += weight * padded[offset : offset + len(plane)]
        plane = np.ascontiguousarray(total.T)
    return plane


def thin(lines: Mask) -> Mask:
    """Lines of one pixel's width along the middle of thick ones (Zhang and Suen 1984)."""
    lines = np.pad(lines, 1)
    inner = lines[1:-1, 1:-1]
    while True:
        removed = 0
        for table in _removable():
            code = np.zeros(inner.shape, np.uint8)
            for bit, (down, right) in enumerate(_AROUND):
                rows = slice(1 + down, lines.shape[0] - 1 + down)
                columns = slice(1 + right, lines.shape[1] - 1 + right)
                code |= lines[rows, columns].view(np.uint8) << bit
            gone = inner & table[code]
            removed += int(gone.sum())
            inner &= ~gone
        if not removed:
            return inner.copy()


@cache
def _removable() -> tuple[Mask, Mask]:
    """Removability of a pixel by the bits of its neighbors, for each of the two half steps."""
    codes = np.arange(256)
    n = [(codes >> bit) & 1 for bit in range(8)]  # above, …, clockwise
    count = sum(n)
    rises = sum((n[i] == 0) & (n[(i + 1) % 8] == 1) for i in range(8))
    common = (count >= 2) & (count <= 6) & (rises == 1)
    up, right, down, left = n[0], n[2], n[4], n[6]
    first = common & (up * right * down == 0) & (right * down * left == 0)
    second = common & (up * right * left == 0) & (up * down * left == 0)
    return first, second


def trace(thin_lines: Mask) -> list[Chain]:
    """Chains that cover thin lines; at crossings they continue as straight as possible."""
    rows, columns = np.nonzero(thin_lines)
    free = set(zip(rows.tolist(), columns.tolist()))
    ends = [
        spot for spot in free if sum((spot[0] + a, spot[1] + b) in free for a, b in _AROUND) == 1
    ]
    chains = []
    for start in [*sorted(ends), *sorted(free)]:
        if start not in free:
            continue
        free.discard(start)
        forward = _walk(start, free)
        backward = _walk(start, free, forward[1] if len(forward) > 1 else None)
        spots = np.array(backward[:0:-1] + forward, np.float64)
        chains.append(spots[:, ::-1])
    return chains


def _walk(
    start: tuple[int, int], free: set[tuple[int, int]], away_from: tuple[int, int] | None = None
) -> list[tuple[int, int]]:
    """A walk along free pixels, always to the neighbor that turns least; it removes them."""
    spots = [start]
    back = away_from
    while True:
        row, column = spots[-1]
        near = [(row + a, column + b) for a, b in _AROUND if (row + a, column + b) in free]
        if not near:
            return spots
        if back is not None:
            ahead = (row - back[0], column - back[1])
            near.sort(key=lambda spot: -_cosine(ahead, (spot[0] - row, spot[1] - column)))
            if len(spots) == 1 and _cosine(ahead, (near[0][0] - row, near[0][1] - column)) < 0:
                return spots  # another branch, not the other half of this stroke
        free.discard(near[0])
        spots.append(near[0])
        back = spots[-5] if len(spots) > 4 else spots[0]


def _cosine(a: tuple[int, int], b: tuple[int, int]) -> float:
    lengths = (a[0] ** 2 + a[1] ** 2) * (b[0] ** 2 + b[1] ** 2)
    dot: int = a[0] * b[0] + a[1] * b[1]
    return float(dot / lengths**0.5)


def smooth(chain: Chain, sigma: float) -> Chain:
    """The chain without the staircase of its pixels; its ends are kept."""
    if len(chain) < 3:
        return chain
    reach = min(len(chain) - 1, max(1, int(3 * sigma)))
    # Point reflection about the ends continues the chain smoothly and keeps the ends fixed.
    before, after = 2 * chain[0] - chain[reach:0:-1], 2 * chain[-1] - chain[-2 : -reach - 2 : -1]
    long = np.concatenate([before, chain, after])
    weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    weights /= weights.sum()
    return np.stack([np.convolve(long[:, axis], weights, "valid") for axis in (0, 1)], axis=1)


class Paper:
    """A white page on which chains are drawn.

    Args:
        size: width and height.
    """

    def __init__(self, size: tuple[int, int]) -> None:
        self.size = size
        self._page = Image.new("L", (size[0] * _FINE, size[1] * _FINE), 255)
        self._draw = ImageDraw.Draw(self._page)

    def stroke(self, chain: Chain, width: float, gray: int) -> None:
        """Draw one: round ends, a little thinner where the pen touches down and leaves.

        Args:
            chain: at least one point.
            width: in pixels.
            gray: 0 is black.
        """
        points = (chain + 0.5) * _FINE - 0.5
        count = len(points)
        taper = min(count // 4, 8)
        parts = [
            (0, taper, 0.7),
            (taper, count - 1 - taper, 1.0),
            (count - 1 - taper, count - 1, 0.7),
        ]
        for first, last, share in parts:
            if last <= first and count > 1:
                continue
            thick = max(1, round(width * share * _FINE))
            line = [(float(x), float(y)) for x, y in points[first : last + 1]]
            if len(line) > 1:
                self._draw.line(line, fill=gray, width=thick, joint="curve")
            radius = thick / 2
            for x, y in (line[0], line[-1]):
                self._draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=gray)

    def image(self) -> Image.Image:
        """The page, mode L."""
        return self._page.reduce(_FINE)
