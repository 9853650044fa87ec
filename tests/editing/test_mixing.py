from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

import tiny
from wplus import images
from wplus.editing.mixing import mixed, mixing_table
from wplus.editing.sheets import sheet
from wplus.errors import ConfigError, ImageError


def test_every_pair_has_the_styles_of_its_column_at_the_layers() -> None:
    rows, tops = torch.randn(2, 6, 4), torch.randn(3, 6, 4)
    found = mixed(rows, tops, [1, 5], alpha=0.25)
    assert found.shape == (2, 3, 6, 4)
    for i in range(2):
        for k in range(3):
            for layer in range(6):
                share = 0.25 if layer in (1, 5) else 0.0
                expected = share * tops[k, layer] + (1 - share) * rows[i, layer]
                torch.testing.assert_close(found[i, k, layer], expected)


def test_mixing_nothing_is_refused() -> None:
    with pytest.raises(ConfigError, match="at least one layer"):
        mixed(torch.randn(1, 6, 4), torch.randn(1, 6, 4), [])
    with pytest.raises(ConfigError, match="layer 6"):
        mixed(torch.randn(1, 6, 4), torch.randn(1, 6, 4), [6])


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
