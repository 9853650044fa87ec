"""Swapped and blended generators: which layers come from where, seen in features and pictures."""

from __future__ import annotations

import pytest
import torch
from swapping import blend, resolution_of, swap
from torch import Tensor

import tiny
from wplus.errors import ConfigError
from wplus.generators import Generator, MobileStyleGAN, StyleGAN2, can_truncate

KINDS = ("mobilestylegan", "stylegan2")


def pair(kind: str) -> tuple[Generator, Generator]:
    """Two of the same layers and other weights, mapping and mean code included."""
    first = tiny.model(kind, None).generator
    second = tiny.model(kind, None).generator
    tiny.unusual(second, seed=5)
    return first, second


def codes_for(generator: Generator) -> Tensor:
    rng = torch.Generator().manual_seed(1)
    return torch.randn(2, generator.num_styles, generator.style_dim, generator=rng)


@pytest.mark.parametrize("kind", KINDS)
def test_the_ends_are_the_two_generators(kind: str) -> None:
    first, second = pair(kind)
    codes = codes_for(first)
    assert not torch.equal(first(codes), second(codes))
    for made in (swap(first, second, first.resolution), blend(first, second, 0.0)):
        assert torch.equal(made(codes), first(codes))
    for made in (swap(first, second, 0), blend(first, second, 1.0)):
        assert torch.equal(made(codes), second(codes))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("resolution", [4, 8])
def test_layers_come_from_either_side_of_the_cut(kind: str, resolution: int) -> None:
    first, second = pair(kind)
    ours, theirs = first.state_dict(), second.state_dict()
    early = {"constant", "stem", "stem_rgb"}
    seen = set()
    for name, value in swap(first, second, resolution).state_dict().items():
        head = name.split(".")[0]
        if head in ("mapping", "mean_w"):
            from_first = True
        elif resolution == 4:
            from_first = head in early
        else:
            from_first = head in early or name.startswith("blocks.0.")
        assert torch.equal(value, (ours if from_first else theirs)[name]), name
        assert not torch.equal(ours[name], theirs[name]), name
        seen.add(from_first)
    assert seen == {True, False}


def test_features_below_the_cut_are_the_first_ones_and_those_above_are_neither() -> None:
    first, second = pair("mobilestylegan")
    made = swap(first, second, 8)
    assert isinstance(first, MobileStyleGAN) and isinstance(made, MobileStyleGAN)
    codes = codes_for(first)
    assert torch.equal(made.features(codes, 8), first.features(codes, 8))
    picture = made(codes)
    assert not torch.allclose(picture, first(codes)) and not torch.allclose(picture, second(codes))


def test_a_blend_is_not_known_as_the_shipped_generator() -> None:
    first, second = pair("mobilestylegan")
    assert blend(first, second, 0.5).weights_id == ""
    first.weights_id, second.weights_id = "mobilestylegan-ffhq", "mobilestylegan-ffhq/other"
    for made in (blend(first, second, 0.5), swap(first, second, 8)):
        assert made.weights_id == "mobilestylegan-ffhq/blend"
        assert not can_truncate(made)
    assert first.weights_id == "mobilestylegan-ffhq"  # still the shipped one
    assert blend(second, first, 0.5).latent_space == "mobilestylegan-ffhq"


@pytest.mark.parametrize("kind", KINDS)
def test_a_blend_lies_on_the_line(kind: str) -> None:
    first, second = pair(kind)
    ours, theirs = first.state_dict(), second.state_dict()
    for name, value in blend(first, second, 0.25, above=8).state_dict().items():
        size = resolution_of(first, name)
        share = 0.25 if size is not None and size > 8 else 0.0
        torch.testing.assert_close(value, (1 - share) * ours[name] + share * theirs[name])
    beyond = blend(first, second, 1.5).state_dict()
    name = "blocks.0.conv1.pointwise" if kind == "mobilestylegan" else "blocks.0.conv.weight"
    torch.testing.assert_close(beyond[name], 1.5 * theirs[name] - 0.5 * ours[name])


@pytest.mark.parametrize("kind", KINDS)
def test_neither_is_changed_and_the_new_one_is_its_own(kind: str) -> None:
    first, second = pair(kind)
    before = [
        {name: value.clone() for name, value in one.state_dict().items()} for one in (first, second)
    ]
    made = swap(first, second, 4)
    for value in made.state_dict().values():
        value.fill_(3.0)
    for one, old in zip((first, second), before):
        assert all(torch.equal(value, old[name]) for name, value in one.state_dict().items())
    assert not any(parameter.requires_grad for parameter in made.parameters())


def test_precision_is_that_of_the_first() -> None:
    first, second = pair("mobilestylegan")
    first = first.at_precision(torch.bfloat16)
    made = swap(first, second, 4)
    types = {name: value.dtype for name, value in made.state_dict().items()}
    assert types == {name: value.dtype for name, value in first.state_dict().items()}


@pytest.mark.parametrize("kind", KINDS)
def test_every_tensor_has_its_resolution(kind: str) -> None:
    first, _ = pair(kind)
    found = {name: resolution_of(first, name) for name in first.state_dict()}
    assert {size for size in found.values() if size} == {first.resolution, *first.style_resolutions}
    makes_codes = {name for name, size in found.items() if size is None}
    assert makes_codes == {n for n in found if n.startswith("mapping.") or n == "mean_w"}
    for name, buffer in first.named_buffers():
        if name.endswith(".noise"):
            assert found[name] == buffer.shape[-1]


def test_what_does_not_fit_is_refused() -> None:
    mobile, style = pair("mobilestylegan")[0], pair("stylegan2")[0]
    with pytest.raises(ConfigError, match=r"MobileStyleGAN of .* cannot be blended"):
        swap(mobile, style, 8)
    other = MobileStyleGAN(style_dim=12, mapping_layers=2, stem_channels=8, channels=(8, 8))
    with pytest.raises(ConfigError, match="same layers"):
        blend(mobile, other, 0.5)
    with pytest.raises(ConfigError, match=r"no layers at 12².* 4, 8, 16, 32"):
        swap(mobile, mobile, 12)
    for amount in (float("nan"), float("inf")):
        with pytest.raises(ConfigError, match="finite"):
            blend(mobile, mobile, amount)
    assert isinstance(style, StyleGAN2)
    with pytest.raises(ConfigError, match="cannot determine"):
        resolution_of(style, "elsewhere.weight")
