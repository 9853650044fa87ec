"""StyleGAN2 against a plain reading of the paper, along every way through it."""

from __future__ import annotations

from typing import Any

import numpy as np
import plain
import pytest
import torch
from torch import Tensor

from wplus.errors import ConfigError
from wplus.generators import StyleGAN2, banded, stylegan2
from wplus.nn import rows

WIDE = 1 << 40
TINY: dict[str, Any] = {
    "resolution": 32,
    "style_dim": 12,
    "mapping_layers": 3,
    "channel_base": 128,
    "channel_max": 10,
}


def tiny(**options: Any) -> StyleGAN2:
    """A frozen generator in float64 with nothing at its neutral value."""
    torch.manual_seed(0)
    generator = StyleGAN2(**{**TINY, **options}).double().eval().requires_grad_(False)
    for name, value in generator.named_parameters():
        if name.endswith("noise_strength"):
            value.fill_(torch.randn(()).item() / 2)
        elif name.endswith("bias") and "mapping" not in name:
            value.add_(torch.randn_like(value) / 3)
    generator.mean_w.normal_()
    return generator


def codes_for(generator: StyleGAN2, count: int, seed: int = 1) -> Tensor:
    rng = torch.Generator().manual_seed(seed)
    shape = (count, generator.num_styles, generator.style_dim)
    return torch.randn(shape, dtype=torch.float64, generator=rng)


def close(found: Tensor, expected: Tensor, tolerance: float = 1e-10) -> None:
    np.testing.assert_allclose(
        found.detach(), expected.detach(), rtol=0, atol=tolerance * expected.abs().max().item()
    )


# ---------------------------------------------------------------- the same images


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("resolution", [8, 32])
def test_equals_the_plain_reading(resolution: int, count: int) -> None:
    generator = tiny(resolution=resolution)
    codes = codes_for(generator, count)
    expected = plain.stylegan2(generator.state_dict(), codes)
    assert expected.shape == (count, 3, resolution, resolution)
    close(generator.synthesize(codes), expected)
    generator.requires_grad_(True)  # the other way through: all samples at once
    assert generator.trains
    close(generator.synthesize(codes), expected)
    close(generator(codes), expected)


def test_gradients_equal_those_of_the_plain_reading() -> None:
    generator = tiny()
    codes = codes_for(generator, 3).requires_grad_()
    pattern = torch.randn(3, 3, 32, 32, dtype=torch.float64)
    image = plain.stylegan2(generator.state_dict(), codes)
    (expected,) = torch.autograd.grad(image, codes, pattern)
    assert (expected.abs().amax((0, 2)) > 1e-3).all(), "every style must matter"
    (found,) = torch.autograd.grad(generator.synthesize(codes), codes, pattern)
    close(found, expected)
    generator.requires_grad_(True)
    (found,) = torch.autograd.grad(generator.synthesize(codes), codes, pattern)
    close(found, expected)


def test_gradients_of_the_weights() -> None:
    generator = tiny(resolution=16).requires_grad_(True)
    parameters = {n: p for n, p in generator.named_parameters() if not n.startswith("mapping")}
    codes = codes_for(generator, 2)
    pattern = torch.randn(2, 3, 16, 16, dtype=torch.float64)
    image = plain.stylegan2(dict(generator.state_dict(keep_vars=True)), codes)
    expected = torch.autograd.grad(image, list(parameters.values()), pattern)
    found = torch.autograd.grad(generator.synthesize(codes), list(parameters.values()), pattern)
    for name, one, other in zip(parameters, found, expected):
        assert other.abs().max() > 0, name
        close(one, other)


@pytest.mark.parametrize("fewest", [1, 3, 5, 7, 8, 11, 64])
@pytest.mark.parametrize(("clamp", "kept"), [(None, 0), (0.8, 0), (None, WIDE), (0.8, WIDE)])
def test_bands_equal_the_whole(
    fewest: int, clamp: float | None, kept: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(banded, "KEPT_BYTES", kept)
    generator = tiny(clamp=clamp)
    codes = codes_for(generator, 2).requires_grad_()
    pattern = torch.randn(2, 3, 32, 32, dtype=torch.float64)
    monkeypatch.setattr(banded, "STYLEGAN2_BYTES", WIDE)
    whole = generator.synthesize(codes)
    (expected,) = torch.autograd.grad(whole, codes, pattern)
    monkeypatch.setattr(banded, "STYLEGAN2_BYTES", 0)
    monkeypatch.setattr(rows, "BAND_BYTES", 1)
    monkeypatch.setattr(rows, "FEWEST_ROWS", fewest)
    found = generator.synthesize(codes)
    close(found, whole)
    close(torch.autograd.grad(found, codes, pattern)[0], expected)
    with torch.no_grad():
        close(generator.synthesize(codes), whole)
    with torch.inference_mode():
        close(generator.synthesize(codes, "none"), plain_without_noise(generator, codes))


def plain_without_noise(generator: StyleGAN2, codes: Tensor) -> Tensor:
    clamp = generator.stem.clamp or float("inf")
    silent = [torch.zeros(1, dtype=torch.float64)] * (2 * len(generator.blocks) + 1)
    return plain.stylegan2(generator.state_dict(), codes, silent, clamp)


def test_only_large_layers_run_in_bands(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = tiny()
    codes = codes_for(generator, 1)
    expected = plain.stylegan2(generator.state_dict(), codes)
    seen: list[int] = []
    in_bands = banded.stylegan2_block

    def spy(block: stylegan2.Block, *args: Any) -> Any:
        seen.append(block.resolution)
        return in_bands(block, *args)

    monkeypatch.setattr(banded, "stylegan2_block", spy)
    for limit, sizes in (
        (4 * 32 * 32 * 8, []),
        (4 * 32 * 32 * 8 - 1, [32]),
        (0, [8, 16, 32]),
    ):
        monkeypatch.setattr(banded, "STYLEGAN2_BYTES", limit)
        seen.clear()
        close(generator.synthesize(codes), expected)
        assert seen == sizes


@pytest.mark.parametrize("in_bands", [False, True])
def test_clamp(in_bands: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    generator = tiny(clamp=0.8)
    codes = codes_for(generator, 2).requires_grad_()
    monkeypatch.setattr(banded, "STYLEGAN2_BYTES", 0 if in_bands else WIDE)
    expected = plain.stylegan2(generator.state_dict(), codes, clamp=0.8)
    free = plain.stylegan2(generator.state_dict(), codes)
    assert (free - expected).abs().max() > 0.1, "the clamp must matter"
    found = generator.synthesize(codes)
    close(found, expected)
    pattern = torch.randn_like(found)
    close(
        torch.autograd.grad(found, codes, pattern)[0],
        torch.autograd.grad(expected, codes, pattern)[0],
    )


# ---------------------------------------------------------------- noise


def test_without_noise() -> None:
    generator = tiny()
    codes = codes_for(generator, 2)
    close(generator.synthesize(codes, "none"), plain_without_noise(generator, codes))


def random_maps(rng: torch.Generator, count: int) -> list[Tensor]:
    """What `tiny` draws: all layers of a sample, then the next sample."""
    sizes = [4, 8, 8, 16, 16, 32, 32]
    samples = [[torch.randn(1, 1, s, s, generator=rng) for s in sizes] for _ in range(count)]
    return [torch.cat(maps).double() for maps in zip(*samples)]


@pytest.mark.parametrize("limit", [0, WIDE])
@pytest.mark.parametrize("trains", [False, True])
def test_random_noise_belongs_to_its_seed(
    trains: bool, limit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(banded, "STYLEGAN2_BYTES", limit)
    generator = tiny().requires_grad_(trains)
    codes = codes_for(generator, 3)

    def run(codes: Tensor, rng: torch.Generator) -> Tensor:
        return generator.synthesize(codes, "random", rng)

    seeded = torch.Generator().manual_seed
    expected = plain.stylegan2(generator.state_dict(), codes, random_maps(seeded(5), 3))
    close(run(codes, seeded(5)), expected)
    rng = seeded(5)
    close(torch.cat([run(code[None], rng) for code in codes]), expected)
    assert (run(codes, seeded(6)) - expected).abs().max() > 0.1
    assert (generator.synthesize(codes) - expected).abs().max() > 0.1


def test_random_noise_without_a_source_is_fresh_and_follows_the_global_one() -> None:
    generator = tiny()
    codes = codes_for(generator, 1)
    torch.manual_seed(3)
    first, second = (generator.synthesize(codes, "random") for _ in range(2))
    assert not torch.equal(first, second)
    torch.manual_seed(3)
    assert torch.equal(generator.synthesize(codes, "random"), first)


def test_unknown_noise_is_refused() -> None:
    generator = tiny()
    with pytest.raises(ConfigError, match=r"^noise 'loud' is none of: fixed, random, none$"):
        generator.synthesize(codes_for(generator, 2), "loud")  # type: ignore[arg-type]


# ---------------------------------------------------------------- codes


def test_one_w_serves_every_layer() -> None:
    generator = tiny()
    w = torch.randn(2, 12, dtype=torch.float64)
    close(generator.synthesize(w), generator.synthesize(w[:, None].repeat(1, 8, 1)))


@pytest.mark.parametrize("shape", [(12,), (2, 7, 12), (2, 8, 11), (2, 11), (1, 2, 8, 12)])
def test_codes_that_do_not_fit_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ConfigError, match=r"it takes \(N, 8, 12\)$"):
        tiny().synthesize(torch.zeros(shape))


@pytest.mark.parametrize("limit", [0, WIDE])
def test_no_codes_give_no_images(limit: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(banded, "STYLEGAN2_BYTES", limit)
    assert tiny().synthesize(torch.zeros(0, 8, 12)).shape == (0, 3, 32, 32)


def test_codes_and_weights_are_left_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(banded, "STYLEGAN2_BYTES", 0)
    generator = tiny(clamp=0.5)
    before = {name: value.clone() for name, value in generator.state_dict().items()}
    codes = codes_for(generator, 1)
    kept = codes.clone()
    first = generator.synthesize(codes)
    assert torch.equal(generator.synthesize(codes), first)
    assert torch.equal(codes, kept)
    assert all(torch.equal(value, before[name]) for name, value in generator.state_dict().items())


# ---------------------------------------------------------------- types and sizes


def test_single_precision() -> None:
    generator = tiny()
    codes = codes_for(generator, 2)
    expected = generator.synthesize(codes)
    found = generator.float().synthesize(codes)
    assert found.dtype == torch.float32
    close(found.double(), expected, 1e-5)


@pytest.mark.parametrize("limit", [0, WIDE])
@pytest.mark.parametrize("trains", [False, True])
@pytest.mark.parametrize("whole", [False, True])
def test_half_precision_is_close(
    whole: bool, trains: bool, limit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(banded, "STYLEGAN2_BYTES", limit)
    generator = tiny(channel_base=1024, channel_max=32).float().requires_grad_(trains)
    codes = codes_for(generator, 2).float().requires_grad_()
    expected = generator.synthesize(codes)
    pattern = torch.randn_like(expected)
    (slope,) = torch.autograd.grad(expected, codes, pattern)
    if whole:
        generator.to(torch.bfloat16)
    else:
        generator = generator.at_precision(torch.bfloat16)
    found = generator.synthesize(codes)
    assert found.dtype == torch.float32
    # bfloat16 keeps 8 bits; errors of some layers add up to a few of them.
    assert (found - expected).square().mean().sqrt() < 0.02 * expected.std()
    (rough,) = torch.autograd.grad(found, codes, pattern)
    assert rough.dtype == torch.float32
    assert (rough - slope).square().mean().sqrt() < 0.2 * slope.std()
    noisy = generator.synthesize(codes, "random", torch.Generator().manual_seed(0))
    assert noisy.dtype == torch.float32


def test_codes_keep_their_precision_when_the_convolutions_lose_theirs() -> None:
    generator = tiny().float()
    z = torch.randn(2, generator.style_dim)
    w, mean = generator.map(z, 0.5), generator.mean_w.clone()
    generator = generator.at_precision(torch.bfloat16)
    assert torch.equal(generator.map(z, 0.5), w)
    assert torch.equal(generator.mean_w, mean)
    kept = {name for name, value in generator.state_dict().items() if value.dtype == torch.float32}
    lost = {name for name, value in generator.state_dict().items() if value.dtype == torch.bfloat16}
    assert kept | lost == set(generator.state_dict())
    assert all("affine" in n or n.startswith("mapping") or n == "mean_w" for n in kept)
    assert "constant" in lost and "stem.noise" in lost and "stem.affine.bias" in kept


@pytest.mark.parametrize(
    ("resolution", "base", "styles", "widths"),
    [
        (32, 32768, 8, [512, 512, 512, 512]),
        (64, 16384, 10, [512, 512, 512, 512, 256]),
        (256, 16384, 14, [512, 512, 512, 512, 256, 128, 64]),
        (1024, 32768, 18, [512, 512, 512, 512, 512, 256, 128, 64, 32]),
    ],
)
def test_sizes(resolution: int, base: int, styles: int, widths: list[int]) -> None:
    with torch.device("meta"):
        generator = StyleGAN2(resolution, channel_base=base)
    assert (generator.resolution, generator.num_styles) == (resolution, styles)
    assert [generator.constant.shape[1], *(b.out_channels for b in generator.blocks)] == widths
    sizes = [4, 4]
    for block in generator.blocks:
        assert block.up.noise.shape[-1] == block.resolution
        sizes += [block.resolution] * 2
    assert generator.style_resolutions == tuple(sizes)
    if resolution == 1024:  # config-f
        assert sum(p.numel() for p in generator.parameters()) == 30_370_060


def test_256() -> None:
    generator = tiny(resolution=256, channel_base=512, channel_max=8).float()
    found = generator.synthesize(codes_for(generator, 1))
    assert found.shape == (1, 3, 256, 256)
    state = {name: value.double() for name, value in generator.state_dict().items()}
    close(found.double(), plain.stylegan2(state, codes_for(generator, 1)), 1e-4)


@pytest.mark.parametrize("resolution", [4, 0, -8, 48, 1000])
def test_resolutions_that_do_not_exist(resolution: int) -> None:
    with pytest.raises(ConfigError, match="not a power of two from 8 up"):
        StyleGAN2(resolution)


@pytest.mark.parametrize(
    "options",
    [{"style_dim": 0}, {"mapping_layers": 0}, {"channel_max": 0}, {"channel_base": 31}],
)
def test_counts_below_one_are_refused(options: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match="at least 1"):
        StyleGAN2(**{**TINY, **options})


def test_a_new_generator_starts_as_published() -> None:
    torch.manual_seed(0)
    generator = StyleGAN2(64, 32, 4, channel_base=4096, channel_max=64)
    for name, value in generator.named_parameters():
        if name.endswith("affine.bias"):
            assert (value == 1).all(), name  # a style scales by one
        elif name.endswith(("bias", "noise_strength")):
            assert (value == 0).all(), name
        elif name.startswith("mapping"):
            assert value.std().item() == pytest.approx(100, rel=0.1), name
        else:
            assert value.std().item() == pytest.approx(1, rel=0.1), name
    images = generator.synthesize(generator.map(torch.randn(4, 32)))
    assert 0.5 < images.std() < 5


# ---------------------------------------------------------------- z to w


def test_mapping_equals_the_plain_reading() -> None:
    generator = tiny()
    z = torch.randn(3, 12, dtype=torch.float64)
    close(generator.map(z), plain.mapping(generator.state_dict(), z))
    close(generator.map(3 * z), generator.map(z), 1e-7)  # z counts as a direction


def test_truncation() -> None:
    generator = tiny()
    z = torch.randn(3, 12, dtype=torch.float64)
    w, mean = generator.map(z), generator.mean_w
    close(generator.map(z, 0.7), mean + 0.7 * (w - mean))
    close(generator.map(z, 0.0), mean.expand(3, 12))
    close(generator.map(z, -1.0), 2 * mean - w)


@pytest.mark.parametrize("shape", [(12,), (2, 11), (1, 2, 12)])
def test_z_that_does_not_fit_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ConfigError, match=r"^z must be \(N, 12\), not "):
        tiny().map(torch.zeros(shape, dtype=torch.float64))


def test_mean_code_is_estimated() -> None:
    generator = tiny()
    found = generator.estimate_mean_w(5000, seed=3)
    rng = torch.Generator().manual_seed(3)
    z = torch.cat([torch.randn(n, 12, generator=rng) for n in (4096, 904)]).double()
    close(found, plain.mapping(generator.state_dict(), z).mean(0))
    assert torch.equal(generator.estimate_mean_w(5000, seed=3), found)
    assert not torch.equal(generator.estimate_mean_w(5000, seed=4), found)
    assert generator.to(torch.bfloat16).estimate_mean_w(100).dtype == torch.bfloat16


def test_a_copy_at_another_precision_shares_nothing() -> None:
    generator = tiny().float().requires_grad_(True)
    generator.mean_w.requires_grad_(False)
    before = {name: value.clone() for name, value in generator.state_dict().items()}
    lowered = generator.at_precision(torch.bfloat16)
    assert type(lowered) is type(generator)
    assert all(parameter.requires_grad for parameter in lowered.parameters())
    for value in lowered.state_dict().values():
        value.zero_()
    assert all(torch.equal(value, before[n]) for n, value in generator.state_dict().items())
