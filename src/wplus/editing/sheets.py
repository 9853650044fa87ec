"""Pictures in a table, with labels above and at the left."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

from wplus import images
from wplus.errors import ImageError

GAP = 4


def sheet(
    rows: Sequence[Sequence[Image.Image | None]],
    columns: Sequence[str] = (),
    labels: Sequence[str] = (),
    size: int = 256,
) -> Image.Image:
    """Rows of pictures on white, each fitted into a square.

    Args:
        rows: as many pictures each; None leaves a place empty.
        columns: a label above each column, or none.
        labels: a label at the left of each row, or none.
        size: side of a place in pixels.

    Raises:
        ImageError: no pictures, rows of different lengths, or not one label for each.
    """
    width = len(rows[0]) if rows else 0
    if not width or any(len(row) != width for row in rows) or size < 1:
        raise ImageError("a sheet needs rows of as many pictures each")
    if len(columns) not in (0, width) or len(labels) not in (0, len(rows)):
        raise ImageError("a sheet needs a label for every row or column, or none at all")
    line = max(10, size // 12)
    font = ImageFont.load_default(line)
    top = 2 * line if columns else 0
    left = round(max(font.getlength(text) for text in labels)) + line if labels else 0
    page = Image.new(
        "RGB",
        (left + width * (size + GAP) - GAP, top + len(rows) * (size + GAP) - GAP),
        "white",
    )
    draw = ImageDraw.Draw(page)
    for k, text in enumerate(columns):
        place = (left + k * (size + GAP) + size / 2, top / 2)
        draw.text(place, text, fill="black", font=font, anchor="mm")
    for i, row in enumerate(rows):
        y = top + i * (size + GAP)
        if labels:
            draw.text((left - line / 2, y + size / 2), labels[i], "black", font, anchor="rm")
        for k, picture in enumerate(row):
            if picture is not None:
                page.paste(fitted(picture, size), (left + k * (size + GAP), y))
    return page


def fitted(picture: Image.Image, size: int) -> Image.Image:
    """RGB, size × size; a picture that is not square is squeezed."""
    picture = images.to_rgb(picture)
    if picture.size == (size, size):
        return picture
    return picture.resize((size, size), Image.Resampling.LANCZOS)
