from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

import tiny
from wplus import images
from wplus.editing.rendering import sheet
from wplus.editing.tables import mixing_table
from wplus.errors import ConfigError, ImageError


def test_every_pair_has_the_styles_of_its_column_at_the_layers() -> None:
    model = tiny.model("stylegan2", None)
    rows, tops = torch.randn(2, 6, 12), torch.randn(3, 6, 12)
    page = np.asarray(mixing_table(rows, tops, model, [1, 5], alpha=0.25, size=16))
    for i in range(2):
        for k in range(3):
            expected = rows[i].clone()
            for layer in (1, 5):
                expected[layer] = 0.25 * tops[k, layer] + 0.75 * rows[i, layer]
            image = np.asarray(images.to_picture(model.decode(expected[None]))).astype(int)
            cell = page[20 * (i + 1) : 20 * (i + 1) + 16, 20 * (k + 1) : 20 * (k + 1) + 16]
            assert abs(cell - image).max() <= 1


def test_mixing_nothing_is_refused() -> None:
    model, codes = tiny.model("stylegan2", None), torch.randn(1, 6, 12)
    with pytest.raises(ConfigError, match="at least one layer"):
        mixing_table(codes, codes, model, [])
    with pytest.raises(ConfigError, match="layer 6"):
        mixing_table(codes, codes, model, [6])


def test_the_table_shows_the_pictures_in_their_places() -> None:
    model = tiny.model("stylegan2", None)
    rows, tops = torch.randn(2, 6, 12), torch.randn(1, 6, 12)
    seen: list[tuple[int, int]] = []
    page = mixing_table(
        rows, tops, model, [2, 3], size=16, progress=lambda i, n: seen.append((i, n))
    )
    assert seen == [(i, 5) for i in range(1, 6)]
    assert page.size == (36, 56)
    pixels = np.asarray(page)
    assert (pixels[:16, :16] == 255).all()
    for box, code in {
        (20, 0): tops[0],
        (0, 20): rows[0],
        (0, 40): rows[1],
        (20, 40): torch.where((torch.arange(6) // 2 == 1)[:, None], tops[0], rows[1]),
    }.items():
        picture = np.asarray(images.to_picture(model.decode(code[None])))
        place = pixels[box[1] : box[1] + 16, box[0] : box[0] + 16]
        assert np.array_equal(place, picture)


def test_a_sheet_with_labels() -> None:
    red = Image.new("RGB", (8, 8), "red")
    page = np.asarray(sheet([[red, None], [red, red]], ["a", "b"], ["one", "two"], size=32))
    assert (page[-10, -10] == (255, 0, 0)).all()
    assert (page < 100).all(-1).any(), "labels are dark"
    plain = sheet([[red]], size=8)
    assert plain.size == (8, 8)


@pytest.mark.parametrize(
    "wrong",
    [
        {"rows": []},
        {"rows": [[None], [None, None]]},
        {"rows": [[None]], "columns": ["a", "b"]},
        {"rows": [[None]], "labels": ["a", "b"]},
    ],
)
def test_sheets_that_cannot_be(wrong: dict[str, list[str]]) -> None:
    with pytest.raises(ImageError):
        sheet(**wrong)  # type: ignore[arg-type]
