"""Label maps of other tools: their order, their impossible faces, their blurred outlines."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from wplus.errors import ConfigError, ImageError
from wplus.faces.labels import LABELS, ORDERS, impossible
from wplus.sources.labels import class_numbers

EXAMPLE = Path(__file__).parents[2] / "examples" / "labels.png"


@pytest.fixture(scope="module")
def face() -> torch.Tensor:
    return class_numbers(Image.open(EXAMPLE))[0]


def in_order(face: torch.Tensor, order: str) -> Image.Image:
    names = ORDERS[order]
    table = [names.index(label) if label in names else 0 for label in LABELS]
    return Image.fromarray(torch.tensor(table)[face].to(torch.uint8).numpy())


@pytest.mark.parametrize("order", ORDERS)
def test_orders(face: torch.Tensor, order: str) -> None:
    found = class_numbers(in_order(face, order), order=order)[0]
    known = torch.isin(face, torch.tensor([LABELS.index(name) for name in ORDERS[order]]))
    assert torch.equal(found[known], face[known])
    assert (found[~known] == 0).all()


def test_orders_are_complete() -> None:
    assert sorted(ORDERS["bisenet"]) == sorted(LABELS)
    assert set(ORDERS["lapa"]) < set(LABELS) and len(ORDERS["lapa"]) == 11
    from wplus.formats.bisenet import ORDER

    assert [ORDERS["bisenet"][i] for i in ORDER] == list(LABELS)


def test_orders_that_do_not_fit(face: torch.Tensor) -> None:
    with pytest.raises(ConfigError, match="label order 'helen' is none of: celebamask"):
        class_numbers(in_order(face, "bisenet"), order="helen")
    with pytest.raises(ImageError, match="the order lapa has 11 classes"):
        class_numbers(in_order(face, "bisenet"), order="lapa")


def test_anatomy(face: torch.Tensor) -> None:
    assert impossible(face) == ""
    assert impossible(face.flip(1)) == ""
    for order in ("bisenet", "lapa"):
        wrong = torch.from_numpy(np.array(in_order(face, order))).long()
        assert "stands above its" in impossible(wrong)
    assert "stands above its" in impossible(face.flip(0))
    assert impossible(torch.zeros(64, 64, dtype=torch.int64)) == ""


def test_blurred_outlines(face: torch.Tensor) -> None:
    sharp = in_order(face, "celebamask")
    for size in (200, 700):
        class_numbers(sharp.resize((size, size), Image.Resampling.NEAREST))
        for way in (Image.Resampling.BILINEAR, Image.Resampling.BICUBIC):
            blurred = np.asarray(sharp.resize((size, size), way)).clip(0, 18)
            with pytest.raises(ImageError, match="blurred outlines"):
                class_numbers(Image.fromarray(blurred))
