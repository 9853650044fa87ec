"""Learning curves as one picture, drawn from the log with Pillow: no plotting library is needed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont

from wplus import images
from wplus.training import log

FILE = "curves.png"
WIDTH, HEIGHT = 480, 300  # of a panel
LEFT, RIGHT, TOP, BOTTOM = 64, 28, 34, 30  # margins in it
COLORS = {"train": (120, 170, 220), "validation": (200, 60, 30)}
POINTS = 400  # of a curve; more are averaged
FINE = 2  # drawn so many times larger, for smooth lines
FEW = 60  # points up to which a curve has marks
NOT_LOSSES = {"step", "event", "rate", "images_per_second", "skipped", "images"}

Curve = list[tuple[float, float]]


def draw(folder: Path) -> Path | None:
    """Draw `curves.png` of a run: a panel for each loss, training and validation in it.

    Returns:
        Its path; None if the log has no losses yet.

    Raises:
        ConfigError: the log cannot be read.
    """
    entries = log.read(folder / log.FILE)
    names = [name for name in dict.fromkeys(name for entry in entries for name in entry)
             if name not in NOT_LOSSES]  # fmt: skip
    if not names:
        return None
    names.sort(key=lambda name: name != "loss")
    panels = [_panel(name, {kind: curve(entries, kind, name) for kind in COLORS}) for name in names]
    path = folder / FILE
    images.save(images.grid(panels, columns=min(3, len(panels)), gap=0), path)
    return path


def curve(entries: Sequence[dict[str, Any]], event: str, name: str) -> Curve:
    """(step, value) of one loss, neighbors averaged to at most `POINTS`; only finite values."""
    found = [
        (float(entry["step"]), float(entry[name]))
        for entry in entries
        if entry["event"] == event and math.isfinite(entry.get(name, math.nan))
    ]
    size = math.ceil(len(found) / POINTS) or 1
    parts = [found[i : i + size] for i in range(0, len(found), size)]
    return [(sum(x for x, _ in p) / len(p), sum(y for _, y in p) / len(p)) for p in parts]


def ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Round numbers within [low, high]: multiples of 1, 2 or 5 times a power of ten."""
    rough = (high - low) / count
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(m * power for m in (1, 2, 5, 10) if m * power >= rough)
    first = math.ceil(low / step - 1e-9)
    return [i * step for i in range(first, math.floor(high / step + 1e-9) + 1)]


def _panel(name: str, lines: dict[str, Curve]) -> Image.Image:
    page = Image.new("RGB", (FINE * WIDTH, FINE * HEIGHT), "white")
    pen = ImageDraw.Draw(page)
    font, small = ImageFont.load_default(15 * FINE), ImageFont.load_default(12 * FINE)
    points = [point for line in lines.values() for point in line]
    if not points:
        return page.reduce(FINE)
    right = max(x for x, _ in points) or 1.0
    values = sorted(y for _, y in points)
    # The first steps of a run can be far off; they must not press everything else flat.
    low, high = values[0], values[math.ceil(0.98 * (len(values) - 1))]
    room = 0.06 * (high - low) or 0.1 * abs(high) or 1.0
    low, high = low - room, high + room

    def place(x: float, y: float) -> tuple[float, float]:
        across = LEFT + (WIDTH - LEFT - RIGHT) * x / right
        y = min(max(y, low), high)
        down = HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * (y - low) / (high - low)
        return FINE * across, FINE * down

    def write(x: float, y: float, text: str, anchor: str, color: Any = "black") -> None:
        pen.text((FINE * x, FINE * y), text, color, small, anchor=anchor)

    for y in ticks(low, high):
        pen.line([place(0, y), place(right, y)], fill=(225, 225, 225), width=FINE)
        write(LEFT - 6, place(0, y)[1] / FINE, f"{y:.3g}", "rm")
    for x in ticks(0, right):
        write(place(x, low)[0] / FINE, HEIGHT - BOTTOM + 6, f"{x:g}", "mt")
    pen.rectangle([place(0, high), place(right, low)], outline=(150, 150, 150), width=FINE)
    pen.text((FINE * LEFT, FINE * TOP / 2), name, "black", font, anchor="lm")
    across: float = WIDTH - RIGHT
    for kind in reversed(lines):
        if lines[kind]:
            write(across, TOP / 2, kind, "rm", COLORS[kind])
            across -= 12 + small.getlength(kind) / FINE
    for kind, line in lines.items():
        dots = [place(x, y) for x, y in line]
        if len(dots) > 1:
            pen.line(dots, fill=COLORS[kind], width=2 * FINE, joint="curve")
        if len(dots) <= FEW:
            for x, y in dots:
                mark = [x - 2 * FINE, y - 2 * FINE, x + 2 * FINE, y + 2 * FINE]
                pen.ellipse(mark, fill=COLORS[kind])
    return page.reduce(FINE)
