"""Masks for pasting: parts of faces, of photograph and result together, in one piece."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from wplus import faces
from wplus.errors import ConfigError
from wplus.faces.labels import LABELS
from wplus.faces.parser import FaceParser
from wplus.faces.paste import ellipse
from wplus.faces.regions import FACE, HEAD, REGIONS, connected, paste_mask, region

SIZE = 256
SKIN, HAIR = LABELS.index("skin"), LABELS.index("hair")


class Painted(nn.Module):
    """Takes red for skin and blue for hair."""

    def forward(self, x: Tensor) -> Tensor:
        scores = torch.zeros(len(x), len(LABELS), *x.shape[2:])
        scores[:, SKIN], scores[:, HAIR] = x[:, 0] - 0.5, x[:, 2] - 0.5
        return scores


PARSER = FaceParser(Painted(), SIZE)


def picture(*boxes: tuple[int, int, int, int, str]) -> Image.Image:
    page = Image.new("RGB", (SIZE, SIZE), "black")
    for left, top, right, bottom, color in boxes:
        page.paste(color, (left, top, right, bottom))
    return page


def area(*boxes: tuple[int, int, int, int]) -> np.ndarray:
    mask = np.zeros((SIZE, SIZE), bool)
    for left, top, right, bottom in boxes:
        mask[top:bottom, left:right] = True
    return mask


def test_region() -> None:
    labels = torch.arange(19).view(1, 1, 19)
    face = [LABELS[i] for i in torch.where(region(labels)[0, 0])[0].tolist()]
    assert set(face) == set(FACE)
    assert set(HEAD) - set(FACE) == {"l_ear", "r_ear", "hair", "hat", "earring"}
    assert region(labels, ["neck"]).sum() == 1
    with pytest.raises(ConfigError, match="no parts beard; there are: background"):
        region(labels, ["beard"])


def test_the_face_of_both_and_nothing_apart_from_it() -> None:
    before = picture((90, 100, 150, 200, "red"), (90, 60, 150, 100, "blue"), (0, 0, 20, 20, "red"))
    after = picture((100, 110, 170, 190, "red"))
    geometry = faces.middle_square((SIZE, SIZE))
    found = paste_mask("face", before, after, geometry, PARSER)
    expected = area((90, 100, 150, 200), (100, 110, 170, 190))
    assert found.shape == (SIZE, SIZE) and found.dtype == np.bool_
    assert (found != expected).mean() < 0.01  # resampling moves borders a little
    assert not found[:20, :20].any()
    head = paste_mask("head", before, after, geometry, PARSER)
    assert (head != expected | area((90, 60, 150, 100))).mean() < 0.01


def test_without_a_face_the_ellipse_and_other_regions() -> None:
    nothing, geometry = picture(), faces.middle_square((SIZE, SIZE))
    oval = np.asarray(ellipse(SIZE)) > 127
    assert np.array_equal(paste_mask("face", nothing, nothing, geometry, PARSER), oval)
    assert np.array_equal(paste_mask("ellipse", nothing, nothing, geometry), oval)
    assert paste_mask("square", nothing, nothing, geometry).all()
    assert set(REGIONS) == {"face", "head", "ellipse", "square"}
    with pytest.raises(ConfigError, match="no region 'nose'; there are: face"):
        paste_mask("nose", nothing, nothing, geometry)


def test_connected_is_flood_fill() -> None:
    rng = np.random.default_rng(0)
    seen, core = rng.random((40, 50)) < 0.62, np.zeros((40, 50), bool)
    core[20, 25] = seen[20, 25] = True
    reached, todo = set(), [(20, 25)]
    while todo:
        spot = todo.pop()
        if spot in reached or not (0 <= spot[0] < 40 and 0 <= spot[1] < 50) or not seen[spot]:
            continue
        reached.add(spot)
        todo += [(spot[0] + a, spot[1] + b) for a, b in ((0, 1), (1, 0), (0, -1), (-1, 0))]
    expected = np.zeros_like(seen)
    expected[tuple(np.array(sorted(reached)).T)] = True
    found = connected(seen, core)
    assert 10 < expected.sum() < seen.sum()
    # Corners count as well as edges, so no less than by edges alone is reached.
    assert (found & expected).sum() == expected.sum() and not (found & ~seen).any()
