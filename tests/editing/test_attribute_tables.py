"""Tables of attributes as CelebA and Kaggle have them."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from wplus.editing.attributes import read_attributes
from wplus.errors import FormatError

TABLES = {
    "CelebA": "3\nSmiling Young \n000001.jpg  1 -1\n000002.jpg -1  1\n000003.jpg  1  1\n",
    "Kaggle": "image_id,Smiling,Young\n000001.jpg,1,-1\n000002.jpg,-1,1\n000003.jpg,1,1\n",
    "ours": "image,Smiling,Young\n000001,1,0\n000002,0,1\n000003,1,1\n",
    "Windows": "3\r\nSmiling Young\r\n000001.png 1 -1\r\n000002.PNG -1 1\r\n000003.webp 1 1\r\n",
}


@pytest.mark.parametrize("name", TABLES)
def test_tables(tmp_path: Path, name: str) -> None:
    (tmp_path / "a").write_bytes(TABLES[name].encode())
    found = read_attributes(tmp_path / "a")
    assert found.ids == ("000001", "000002", "000003")
    assert found.names == ("Smiling", "Young")
    assert torch.equal(found.values, torch.tensor([[1.0, 0], [0, 1], [1, 1]]))


def test_names_with_dots_and_other_numbers_stay(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("image,age\nv1.2,-1\nb.c,1\nd,2\ne,\n")
    found = read_attributes(tmp_path / "a")
    assert found.ids == ("v1.2", "b.c", "d", "e")
    assert found.values[:3, 0].tolist() == [-1, 1, 2]
    assert math.isnan(found.values[3, 0])


@pytest.mark.parametrize("text", ["", "3\n", "3\nSmiling\n1.jpg 1 1\n", "12\n\n\n"])
def test_what_is_no_table(tmp_path: Path, text: str) -> None:
    (tmp_path / "a").write_text(text)
    with pytest.raises(FormatError) as error:
        read_attributes(tmp_path / "a")
    assert "\n" not in str(error.value)
