"""MobileStyleGAN against a plain reading of its layers, along every way through it."""

from __future__ import annotations

from typing import Any

import numpy as np
import plain
import pytest
import torch
from torch import Tensor

from wplus.errors import ConfigError
from wplus.generators import MobileStyleGAN, banded, mobile
from wplus.nn import rows

WIDE = 1 << 40
TINY: dict[str, Any] = {
    "style_dim": 10,
    "mapping_layers": 2,
    "stem_channels": 12,
    "channels": (16, 12, 8),
}


def tiny(**options: Any) -> MobileStyleGAN:
    """A frozen generator of 64² in float64 with nothing at its neutral value."""
    torch.manual_seed(0)
    generator = MobileStyleGAN(**{**TINY, **options}).double().eval().requires_grad_(False)
    for name, value in generator.named_parameters():
        if "affine.bias" in name:
            value.add_(1)  # styles around one, as trained
        elif name.endswith("bias"):
            value.add_(torch.randn_like(value) / 3)
    generator.mean_w.normal_()
    return generator


def codes_for(generator: MobileStyleGAN, count: int, seed: int = 1) -> Tensor:
    rng = torch.Generator().manual_seed(seed)
    shape = (count, generator.num_styles, generator.style_dim)
    return torch.randn(shape, dtype=torch.float64, generator=rng)


def close(found: Tensor, expected: Tensor, tolerance: float = 1e-10) -> None:
    np.testing.assert_allclose(
        found.detach(), expected.detach(), rtol=0, atol=tolerance * expected.abs().max().item()
    )


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("channels", [(8,), (16, 12, 8), (8, 8, 20, 4)])
def test_equals_the_plain_reading(channels: tuple[int, ...], count: int) -> None:
    generator = tiny(channels=channels)
    codes = codes_for(generator, count)
    expected = plain.mobilestylegan(generator.state_dict(), codes)
    size = 8 << len(channels)
    assert expected.shape == (count, 3, size, size)
    close(generator.synthesize(codes), expected)
    generator.requires_grad_(True)
    close(generator.synthesize(codes), expected)
    close(generator(codes), expected)


def test_gradients_equal_those_of_the_plain_reading() -> None:
    generator = tiny()
    codes = codes_for(generator, 3).requires_grad_()
    image = plain.mobilestylegan(generator.state_dict(), codes)
    pattern = torch.randn_like(image)
    (expected,) = torch.autograd.grad(image, codes, pattern)
    assert (expected.abs().amax((0, 2)) > 1e-3).all(), "every style must matter"
    close(torch.autograd.grad(generator.synthesize(codes), codes, pattern)[0], expected)
    generator.requires_grad_(True)
    close(torch.autograd.grad(generator.synthesize(codes), codes, pattern)[0], expected)


def test_gradients_of_the_weights() -> None:
    generator = tiny().requires_grad_(True)
    parameters = {n: p for n, p in generator.named_parameters() if not n.startswith("mapping")}
    codes = codes_for(generator, 2)
    image = plain.mobilestylegan(dict(generator.state_dict(keep_vars=True)), codes)
    pattern = torch.randn_like(image)
    expected = torch.autograd.grad(image, list(parameters.values()), pattern)
    found = torch.autograd.grad(generator.synthesize(codes), list(parameters.values()), pattern)
    for name, one, other in zip(parameters, found, expected):
        assert other.abs().max() > 0, name
        close(one, other)


@pytest.mark.parametrize("fewest", [1, 3, 5, 7, 8, 11, 64])
def test_bands_equal_the_whole(fewest: int, monkeypatch: pytest.MonkeyPatch) -> None:
    generator = tiny()
    codes = codes_for(generator, 2).requires_grad_()
    monkeypatch.setattr(banded, "MOBILE_BYTES", WIDE)
    whole = generator.synthesize(codes)
    pattern = torch.randn_like(whole)
    (expected,) = torch.autograd.grad(whole, codes, pattern)
    monkeypatch.setattr(banded, "MOBILE_BYTES", 0)
    monkeypatch.setattr(rows, "BAND_BYTES", 1)
    monkeypatch.setattr(rows, "FEWEST_ROWS", fewest)
    found = generator.synthesize(codes)
    close(found, whole)
    close(torch.autograd.grad(found, codes, pattern)[0], expected)
    silent = [torch.zeros(1, dtype=torch.float64)] * 7
    with torch.no_grad():
        close(generator.synthesize(codes), whole)
        quiet = generator.synthesize(codes, "none")
    close(quiet, plain.mobilestylegan(generator.state_dict(), codes, silent))


def test_only_large_layers_run_in_bands(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = tiny()
    codes = codes_for(generator, 1)
    expected = plain.mobilestylegan(generator.state_dict(), codes)
    seen: list[int] = []
    in_bands = banded.mobile_block

    def spy(block: mobile.Block, *args: Any) -> Any:
        seen.append(block.resolution)
        return in_bands(block, *args)

    monkeypatch.setattr(banded, "mobile_block", spy)
    largest = 8 * 32 * 32 * 8
    for limit, sizes in ((largest, []), (largest - 1, [32]), (0, [8, 16, 32])):
        monkeypatch.setattr(banded, "MOBILE_BYTES", limit)
        seen.clear()
        close(generator.synthesize(codes), expected)
        assert seen == sizes


@pytest.mark.parametrize("limit", [0, WIDE])
@pytest.mark.parametrize("trains", [False, True])
def test_random_noise_has_the_strength_of_the_stored_and_belongs_to_its_seed(
    trains: bool, limit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(banded, "MOBILE_BYTES", limit)
    generator = tiny()
    strengths = [0.0, 0.1, 0.5, 1.0, 0.3, 0.0, 2.0]
    stored = [map_ for name, map_ in generator.named_buffers() if name.endswith("noise")]
    for map_, strength in zip(stored, strengths, strict=True):
        map_.normal_().mul_(strength)
    generator.requires_grad_(trains)
    codes = codes_for(generator, 2)
    rng = torch.Generator().manual_seed(5)
    samples = [
        [
            torch.randn(map_.shape, generator=rng).double() * np.std(map_.numpy(), ddof=1)
            for map_ in stored
        ]
        for _ in codes
    ]
    maps = [torch.cat(parts) for parts in zip(*samples)]
    expected = plain.mobilestylegan(generator.state_dict(), codes, maps)
    seeded = torch.Generator().manual_seed
    found = generator.synthesize(codes, "random", seeded(5))
    close(found, expected)
    rng = seeded(5)
    for i, code in enumerate(codes):
        close(generator.synthesize(code[None], "random", rng), expected[i : i + 1])
    assert (generator.synthesize(codes, "random", seeded(6)) - expected).abs().max() > 0.1
    assert (generator.synthesize(codes, "fixed", seeded(5)) - expected).abs().max() > 0.1


def test_unknown_noise_is_refused() -> None:
    generator = tiny()
    with pytest.raises(ConfigError, match=r"^noise 'loud' is none of: fixed, random, none$"):
        generator.synthesize(codes_for(generator, 1), "loud")  # type: ignore[arg-type]


def test_one_w_serves_every_layer() -> None:
    generator = tiny()
    w = torch.randn(2, 10, dtype=torch.float64)
    close(generator.synthesize(w), generator.synthesize(w[:, None].repeat(1, 11, 1)))


@pytest.mark.parametrize("shape", [(10,), (2, 10, 10), (2, 11, 9), (2, 9)])
def test_codes_that_do_not_fit_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ConfigError, match=r"it takes \(N, 11, 10\)$"):
        tiny().synthesize(torch.zeros(shape))


@pytest.mark.parametrize("limit", [0, WIDE])
def test_no_codes_give_no_images(limit: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(banded, "MOBILE_BYTES", limit)
    assert tiny().synthesize(torch.zeros(0, 11, 10)).shape == (0, 3, 64, 64)


def test_codes_and_weights_are_left_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(banded, "MOBILE_BYTES", 0)
    generator = tiny()
    before = {name: value.clone() for name, value in generator.state_dict().items()}
    codes = codes_for(generator, 1)
    kept = codes.clone()
    first = generator.synthesize(codes)
    assert torch.equal(generator.synthesize(codes), first)
    assert torch.equal(codes, kept)
    assert all(torch.equal(value, before[name]) for name, value in generator.state_dict().items())


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
    monkeypatch.setattr(banded, "MOBILE_BYTES", limit)
    generator = tiny(stem_channels=32, channels=(64, 32, 32)).float().requires_grad_(trains)
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


def test_the_published_sizes() -> None:
    with torch.device("meta"):
        generator = MobileStyleGAN()
    assert (generator.resolution, generator.num_styles) == (1024, 23)
    assert generator.style_resolutions == (
        4, 8, 8, 8, 16, 16, 16, 32, 32, 32, 64, 64, 64, 128, 128, 128,
        256, 256, 256, 512, 512, 512, 1024,
    )  # fmt: skip
    mapping = sum(p.numel() for p in generator.mapping.parameters())
    assert mapping == 8 * (512 * 512 + 512)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"channels": ()}, "multiple of 4"),
        ({"channels": (8, 6)}, "multiple of 4"),
        ({"channels": (8, 0)}, "multiple of 4"),
        ({"stem_channels": 10}, "multiple of 4"),
        ({"style_dim": 0}, "at least 1"),
        ({"mapping_layers": 0}, "at least 1"),
    ],
)
def test_sizes_that_make_no_sense(options: dict[str, Any], reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        MobileStyleGAN(**{**TINY, **options})


def test_z_to_w() -> None:
    generator = tiny()
    z = torch.randn(3, 10, dtype=torch.float64)
    w = plain.mapping(generator.state_dict(), z, lr_mul=None)
    close(generator.map(z), w)
    close(generator.map(z, 0.5), (generator.mean_w + w) / 2)
    close(generator.map(z, 0.0), generator.mean_w.expand(3, 10))
    rng = torch.Generator().manual_seed(0)
    many = torch.randn(300, 10, generator=rng).double()
    expected = plain.mapping(generator.state_dict(), many, lr_mul=None).mean(0)
    close(generator.estimate_mean_w(300), expected)
