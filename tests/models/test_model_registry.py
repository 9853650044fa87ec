"""The registry builds every kind, and says in one line what it cannot build."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import tiny
from wplus import models
from wplus.config import Part
from wplus.encoders import Encoder, PyramidEncoder
from wplus.errors import ConfigError
from wplus.generators import Generator, MobileStyleGAN, StyleGAN2
from wplus.models.registry import ENCODERS, GENERATORS, NETWORKS, Network

PARTS = tiny.GENERATORS | tiny.encoders(6) | tiny.FROZEN


def test_every_kind_is_known_here() -> None:
    assert set(tiny.GENERATORS) == set(GENERATORS)
    assert set(tiny.encoders(6)) == set(ENCODERS)
    assert set(tiny.FROZEN) == set(NETWORKS)
    for table in (GENERATORS, ENCODERS, NETWORKS):
        assert all(name == row.name for name, row in table.items())


def test_a_row_that_a_user_adds() -> None:
    part = Part("mine", {"num_styles": 6, "style_dim": 12})
    ENCODERS.register(Network("mine", "wplus.encoders:SingleWEncoder", {"input_size": 64}))
    try:
        assert models.build(part).input_size == 64
        assert models.build(part, ENCODERS).num_styles == 6
        with pytest.raises(ConfigError, match="no generator 'mine'; there are: stylegan2"):
            models.build(part, GENERATORS)
    finally:
        ENCODERS.unregister("mine")
    with pytest.raises(ConfigError, match="no network 'mine'"):
        models.build(part)


@pytest.mark.parametrize("kind", tiny.GENERATORS)
def test_generators(kind: str) -> None:
    network = models.build(PARTS[kind])
    assert isinstance(network, Generator)
    assert type(network) is {"stylegan2": StyleGAN2, "mobilestylegan": MobileStyleGAN}[kind]
    assert (network.num_styles, network.style_dim) == (tiny.STYLES[kind], 12)


@pytest.mark.parametrize("kind", tiny.encoders(6))
def test_encoders(kind: str) -> None:
    network = models.build(PARTS[kind])
    assert isinstance(network, Encoder)
    images = [torch.zeros(1, 3, 64, 64)] * (2 if kind == "iterative" else 1)
    assert network.eval()(*images).shape == (1, 6, 12)


def test_the_two_other_pyramids_read_one_level() -> None:
    for kind, level in (("all_from_largest", 2), ("all_from_smallest", 0)):
        network = models.build(PARTS[kind])
        assert isinstance(network, PyramidEncoder)
        assert list(network.level_of) == [level] * 6


@pytest.mark.parametrize("kind", tiny.FROZEN)
def test_frozen_networks(kind: str) -> None:
    network = models.build(PARTS[kind]).eval()
    shape = (2, 3, 32, 32) if kind == "mobilefacenet" else (2, 3, 16, 16)
    if kind == "lpips":
        x = torch.rand(2, 3, 64, 64)
        assert network(x, x.flip(0)).shape == (2,)
    else:
        assert network(torch.rand(shape)).shape[0] == 2


@pytest.mark.parametrize("kind", PARTS)
@pytest.mark.parametrize(
    "change",
    [
        {"unknown": 1},
        {"style_dim": -1},
        {"style_dim": 8.5},
        {"style_dim": "many"},
        {"stages": "abc"},
        {"stages": ((0, 0),) * 3},
        {"channels": 5},
        {"channels": [None]},
        {"width": -3, "blocks": ()},
        {"trunk": 3},
        {"net": "resnet"},
        {"input_channels": -1},
        {"resolution": 48},
        {"resolution": [16]},
    ],
)
def test_options_that_make_no_sense(kind: str, change: dict[str, Any]) -> None:
    """An option that a kind does not have is as wrong as a bad value."""
    with pytest.raises(ConfigError) as error:
        models.build(Part(kind, {**PARTS[kind].options, **change}))
    assert str(error.value).startswith(f"network {kind!r}: ")
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 200


@pytest.mark.parametrize("kind", ["", "StyleGAN2", "stylegan3"])
def test_unknown_kinds(kind: str) -> None:
    expected = rf"^no network '{kind}'; (did you mean .*\? )?there are: arcface, "
    with pytest.raises(ConfigError, match=expected):
        models.build(Part(kind))
