"""Render the drawings of this folder: every N.svg to N.png, 512 pixels a side.

Usage: python render.py [N.svg ...]

Only what these drawings are made of is read: paths of M, C and Z with a width, a color and perhaps
a fill. Any other program that renders SVG does as well.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from xml.etree import ElementTree

from PIL import Image, ImageDraw

SIDE = 512
FINE = 4  # drawn so many times as large, and shrunk
STEPS = 12  # straight pieces of each curve
SVG = "{http://www.w3.org/2000/svg}"
Point = tuple[float, float]


def points_of(path: str) -> list[Point]:
    """The points along a path."""
    numbers = [float(number) for number in re.findall(r"-?\d+(?:\.\d+)?", path)]
    given = list(zip(numbers[::2], numbers[1::2]))
    points = given[:1]
    for first in range(1, len(given), 3):
        start, one, two, end = points[-1], *given[first : first + 3]
        for step in range(1, STEPS + 1):
            t = step / STEPS
            weights = ((1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t * t * (1 - t), t**3)
            parts = (start, one, two, end)
            points.append(
                (
                    sum(weight * x for weight, (x, _) in zip(weights, parts)),
                    sum(weight * y for weight, (_, y) in zip(weights, parts)),
                )
            )
    return points


def render(file: Path) -> Image.Image:
    """The drawing as gray levels, black on white."""
    group = ElementTree.parse(file).getroot().find(f"{SVG}g")
    assert group is not None, f"{file}: holds no group of paths"
    page = Image.new("L", (SIDE * FINE, SIDE * FINE), "white")
    draw = ImageDraw.Draw(page)
    for path in group.iter(f"{SVG}path"):
        points = [(x * FINE, y * FINE) for x, y in points_of(path.attrib["d"])]
        if "fill" in path.attrib:
            draw.polygon(points, fill=path.attrib["fill"])
        width = float(path.get("stroke-width", group.attrib["stroke-width"])) * FINE
        ink, radius = group.attrib["stroke"], width / 2
        draw.line(points, fill=ink, width=round(width), joint="curve")
        for x, y in (points[0], points[-1]):  # round ends
            draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=ink)
    return page.reduce(FINE)


def main() -> None:
    """Render the files that are named, or all that lie beside this one."""
    files = [Path(name) for name in sys.argv[1:]] or sorted(Path(__file__).parent.glob("*.svg"))
    for file in files:
        render(file).save(file.with_suffix(".png"), optimize=True)
        print(file.with_suffix(".png"))


if __name__ == "__main__":
    main()
