"""Directions of other tools by FILE, FILE:NAME and as the file of names."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import published
import pytest
import torch

from wplus.config import ModelConfig, Part
from wplus.editing.lookup import find_direction, moves
from wplus.errors import ConfigError, FormatError
from wplus.psp import PSP


@pytest.fixture
def model() -> PSP:
    return PSP(None, published.generator(8), ModelConfig(generator=Part("stylegan2", {})))


def test_of_w(model: PSP, tmp_path: Path) -> None:
    vector = torch.randn(1, published.STYLE_DIM)
    torch.save(vector, tmp_path / "age.pt")
    np.save(tmp_path / "smile_boundary.npy", vector.numpy())
    for name in (f"{tmp_path}/age.pt", f"{tmp_path}/age.pt:age", f"{tmp_path}/smile_boundary.npy"):
        ((direction, amount),) = moves(model, {name: 2.0})
        assert amount == 2
        assert torch.equal(direction.vector, vector.expand(model.num_styles, -1))
    assert find_direction(model, "smile", file=tmp_path / "smile_boundary.npy").name == "smile"
    only = find_direction(model, f"{tmp_path}/age.pt", layers="0-1")
    assert only.layers == [0, 1]


def test_of_every_style(model: PSP, tmp_path: Path) -> None:
    vector = torch.randn(1, model.num_styles, published.STYLE_DIM)
    torch.save(vector, tmp_path / "pose")
    assert torch.equal(find_direction(model, str(tmp_path / "pose")).vector, vector[0])
    torch.save({"comp": torch.eye(published.STYLE_DIM)[:3, None]}, tmp_path / "pca.pt")
    with pytest.raises(ConfigError, match=r"holds several directions; name one, as .*pca.pt:comp0"):
        find_direction(model, str(tmp_path / "pca.pt"))
    assert find_direction(model, f"{tmp_path / 'pca.pt'}:comp2").vector[0, 2] == 1


def test_a_path_is_never_taken_for_a_name(
    model: PSP, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("missing.pt", "no/where", f"{tmp_path}/x.safetensors"):
        with pytest.raises(FormatError, match="no such file"):
            find_direction(model, name)
    (tmp_path / "smile").write_text("nonsense, nonsense, nonsense")
    with pytest.raises(FormatError, match=r"^smile: not a safetensors file"):
        find_direction(model, "smile")
    torch.save(torch.randn(5, 7), tmp_path / "other.pt")
    with pytest.raises(ConfigError, match="found for another generator"):
        find_direction(model, "other.pt")
