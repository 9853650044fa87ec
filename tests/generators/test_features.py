"""Features of every generator, and corrections that are added to them."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from wplus.errors import ConfigError
from wplus.generators import Generator, MobileStyleGAN, StyleGAN2, banded

KINDS = ["mobilestylegan", "stylegan2"]


def tiny(kind: str) -> Generator:
    """A frozen generator of 64² in float64."""
    torch.manual_seed(0)
    generator: Generator
    if kind == "stylegan2":
        generator = StyleGAN2(64, 10, 2, channel_base=512, channel_max=16)
    else:
        generator = MobileStyleGAN(10, 2, 12, (16, 12, 8))
    return generator.double().eval().requires_grad_(False)


def codes_for(generator: Generator, count: int = 2) -> Tensor:
    shape = (count, generator.num_styles, generator.style_dim)
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def corrections_for(generator: Generator, *sizes: int, count: int = 2) -> dict[int, Tensor]:
    rng = torch.Generator().manual_seed(2)
    channels = generator.feature_channels
    return {
        size: torch.randn((count, channels[size], size, size), dtype=torch.float64, generator=rng)
        for size in sizes
    }


def blocks_of(generator: Generator) -> nn.ModuleList:
    blocks = generator.blocks
    assert isinstance(blocks, nn.ModuleList)
    return blocks


@pytest.mark.parametrize("kind", KINDS)
def test_features_are_the_outputs_of_the_blocks(kind: str) -> None:
    generator = tiny(kind)
    codes = codes_for(generator)
    outputs: dict[int, list[Tensor]] = {}

    def keep(block: nn.Module, _: object, out: Tensor | tuple[Tensor, ...]) -> None:
        outputs.setdefault(block.resolution, []).append(out if isinstance(out, Tensor) else out[0])  # type: ignore[arg-type]

    for block in blocks_of(generator):
        block.register_forward_hook(keep)
    generator.synthesize(codes)
    expected = {size: torch.cat(parts) for size, parts in outputs.items()}
    found = generator.pyramid(codes, generator.feature_channels)
    assert list(found) == sorted(generator.feature_channels)
    for size, features in found.items():
        assert features.shape == (2, generator.feature_channels[size], size, size)
        assert torch.equal(features, expected[size])
        assert torch.equal(features, generator.features(codes, size))


@pytest.mark.parametrize("trains", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_corrections_are_added_to_the_features(kind: str, trains: bool) -> None:
    generator = tiny(kind).requires_grad_(trains)
    codes = codes_for(generator)
    corrections = corrections_for(generator, 8, 16)
    added: list[int] = []

    def add(block: nn.Module, _: object, out: Tensor | tuple[Tensor, ...]) -> object:
        extra = corrections.get(block.resolution)  # type: ignore[arg-type]
        if extra is None:
            return out
        x = out if isinstance(out, Tensor) else out[0]
        if len(x) == 1:  # sample by sample
            extra = extra[added.count(x.shape[-1])][None]
        added.append(x.shape[-1])
        return x + extra if isinstance(out, Tensor) else (x + extra, *out[1:])

    found = generator.synthesize(codes, corrections=corrections)
    features = generator.pyramid(codes, (8, 16), corrections=corrections)
    handles = [block.register_forward_hook(add) for block in blocks_of(generator)]
    expected = generator.synthesize(codes)
    added.clear()
    corrected = generator.pyramid(codes, (8, 16))
    for handle in handles:
        handle.remove()
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
    for size in (8, 16):
        torch.testing.assert_close(features[size], corrected[size], rtol=0, atol=1e-12)
    assert not torch.allclose(found, generator.synthesize(codes))


@pytest.mark.parametrize("kind", KINDS)
def test_bands_take_corrections(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    generator = tiny(kind)
    codes = codes_for(generator)
    corrections = corrections_for(generator, *generator.feature_channels)
    whole = generator.synthesize(codes, corrections=corrections)
    for limit in ("STYLEGAN2_BYTES", "MOBILE_BYTES"):
        monkeypatch.setattr(banded, limit, 0)
    found = generator.synthesize(codes, corrections=corrections)
    torch.testing.assert_close(found, whole, rtol=0, atol=1e-10)


@pytest.mark.parametrize("kind", KINDS)
def test_no_corrections_change_nothing(kind: str) -> None:
    generator = tiny(kind)
    codes = codes_for(generator)
    zeros = {8: torch.zeros_like(generator.features(codes, 8))}
    plain = generator.synthesize(codes)
    assert torch.equal(generator.synthesize(codes, corrections={}), plain)
    assert torch.equal(generator.synthesize(codes, corrections=zeros), plain)


@pytest.mark.parametrize("kind", KINDS)
def test_features_and_corrections_that_do_not_exist(kind: str) -> None:
    generator = tiny(kind)
    codes = codes_for(generator)
    with pytest.raises(ConfigError, match="no layers at 48²"):
        generator.pyramid(codes, (8, 48))
    with pytest.raises(ConfigError, match="no layers at 48²"):
        generator.synthesize(codes, corrections={48: torch.zeros(2, 8, 48, 48)})
    wrong = corrections_for(generator, 8, count=1)
    with pytest.raises(ConfigError, match="do not fit"):
        generator.synthesize(codes, corrections=wrong)
