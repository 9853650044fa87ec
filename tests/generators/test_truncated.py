"""A generator cut short: its layers are the whole one's, and every style counts."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from wplus import images, models
from wplus.errors import ConfigError
from wplus.generators import MobileStyleGAN, StyleGAN2, TruncatedGenerator, TruncatedHead, truncate


def tiny() -> TruncatedGenerator:
    torch.manual_seed(0)
    generator = MobileStyleGAN(
        style_dim=10, mapping_layers=1, stem_channels=8, channels=(8, 8, 8, 4, 8, 4)
    )
    head = TruncatedHead(8, hidden=3, style_dim=10)
    for parameter in head.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    return TruncatedGenerator(generator, head).double().eval().requires_grad_(False)


def codes_for(short: TruncatedGenerator, count: int = 2) -> Tensor:
    rng = torch.Generator().manual_seed(1)
    shape = (count, short.generator.num_styles, 10)
    return torch.randn(shape, dtype=torch.float64, generator=rng)


def test_features_of_the_last_layers_make_the_image() -> None:
    generator = tiny().generator
    codes = codes_for(tiny())
    features = generator.features(codes, 256)
    image = generator.to_image(features, codes[:, -1])
    torch.testing.assert_close(image, generator.synthesize(codes), rtol=0, atol=1e-10)


def test_features_depend_on_the_styles_up_to_them() -> None:
    generator = tiny().generator
    codes = codes_for(tiny()).requires_grad_()
    for resolution in (8, 32, 128):
        (grad,) = torch.autograd.grad(generator.features(codes, resolution).sum(), codes)
        seen = grad.abs().sum((0, 2)) > 0
        acts = torch.tensor([size <= resolution for size in generator.style_resolutions])
        assert torch.equal(seen, acts)
    with pytest.raises(ConfigError, match="no layers at 512"):
        generator.features(codes, 512)


def test_the_head_by_hand() -> None:
    short = tiny()
    codes = codes_for(short)
    features = short.generator.features(codes, 128)
    rest = codes[:, 16:].mean(1)  # one style at 4², three at each of 8² … 128²
    head = short.head
    scaled = features * (rest @ head.affine.weight.t() + head.affine.bias)[:, :, None, None]
    bands = torch.conv2d(scaled, head.direct.weight, head.direct.bias, padding=1)
    hidden = torch.conv2d(scaled, head.narrow.weight, head.narrow.bias)
    hidden = torch.where(hidden > 0, hidden, hidden * 0.2)
    bands += torch.conv2d(hidden, head.correct.weight, head.correct.bias, padding=1)
    low, vertical, horizontal, diagonal = bands.split(3, 1)
    found = short(codes)
    assert found.shape == (2, 3, 256, 256)
    # Whatever the order of the details, the mean of four pixels is the low band.
    pooled = images.resize(found, 128)
    torch.testing.assert_close(pooled, low, rtol=0, atol=1e-10)
    energy = sum(band.square().sum() for band in (low, vertical, horizontal, diagonal))
    torch.testing.assert_close(found.square().sum(), 4 * energy)


def test_every_style_has_a_gradient() -> None:
    short = tiny()
    codes = codes_for(short).requires_grad_()
    short(codes).square().sum().backward()
    assert codes.grad is not None
    assert (codes.grad.abs().sum((0, 2)) > 0).all()


def test_the_lean_way_is_the_same() -> None:
    short = tiny()
    codes = codes_for(short)
    lean = short(codes)
    short.generator.requires_grad_(True)
    torch.testing.assert_close(short(codes), lean, rtol=0, atol=1e-10)


def test_what_cannot_be_truncated() -> None:
    with pytest.raises(ConfigError, match="only of mobilestylegan-ffhq"):
        truncate(StyleGAN2(resolution=16, style_dim=12, mapping_layers=2, channel_max=6))
    small = MobileStyleGAN(style_dim=10, mapping_layers=1, stem_channels=8, channels=(8, 8))
    with pytest.raises(ConfigError, match="no layers at 128"):
        TruncatedGenerator(small, TruncatedHead(8, 3, 10))


@pytest.mark.network
def test_the_shipped_one_is_near_the_whole() -> None:
    model = models.load("mobilestylegan-ffhq")
    short = truncate(model.generator)
    with torch.no_grad():
        codes = model.sample(4, 0.8, seed=12345)
        whole = images.resize(model.decode(codes), 256)
        found = short(codes)
    floor = (whole - whole.mean(0)).square().mean()
    assert (found - whole).square().mean() < 0.12 * floor
