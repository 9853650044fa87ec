"""Codes to images, and images to a labeled table."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from wplus import images
from wplus.errors import ImageError
from wplus.psp import PSP

GAP = 4


def rendered(codes: Iterable[Tensor], model: PSP, size: int) -> Iterator[Tensor]:
    """The images of codes, each (L, style_dim), one by one: (1, 3, size, size) in [-1, 1]."""
    for code in codes:
        with torch.no_grad():
            image = images.resize(model.decode(code[None]), size).clamp(-1, 1)
        yield image


def shown(codes: Iterable[Tensor], model: PSP, size: int) -> Iterator[Image.Image]:
    """The same as RGB images, of the generator's resolution at most."""
    return map(images.to_picture, rendered(codes, model, min(size, model.resolution)))


def sheet(
    rows: Sequence[Sequence[Image.Image | None]],
    columns: Sequence[str] = (),
    labels: Sequence[str] = (),
    size: int = 256,
) -> Image.Image:
    """Rows of images on white, each fitted into a square.

    Args:
        rows: equally many images each; None leaves a cell empty.
        columns: a label above each column, or none.
        labels: a label at the left of each row, or none.
        size: side of a cell in pixels.

    Raises:
        ImageError: no images, rows of different lengths, or not one label for each.
    """
    width = len(rows[0]) if rows else 0
    if not width or any(len(row) != width for row in rows) or size < 1:
        raise ImageError("a sheet needs rows of equally many images")
    if len(columns) not in (0, width) or len(labels) not in (0, len(rows)):
        raise ImageError("a sheet needs a label for every row or column, or none at all")
    line = max(10, size // 12)
    font = ImageFont.load_default(line)
    top = 2 * line if columns else 0
    left = round(max(font.getlength(text) for text in labels)) + line if labels else 0
    sides = (left + width * (size + GAP) - GAP, top + len(rows) * (size + GAP) - GAP)
    page = Image.new("RGB", sides, "white")
    draw = ImageDraw.Draw(page)
    for k, text in enumerate(columns):
        place = (left + k * (size + GAP) + size / 2, top / 2)
        draw.text(place, text, fill="black", font=font, anchor="mm")
    for i, row in enumerate(rows):
        y = top + i * (size + GAP)
        if labels:
            draw.text((left - line / 2, y + size / 2), labels[i], "black", font, anchor="rm")
        for k, image in enumerate(row):
            if image is not None:
                fitted = images.to_rgb(image).resize((size, size), Image.Resampling.LANCZOS)
                page.paste(fitted, (left + k * (size + GAP), y))
    return page
