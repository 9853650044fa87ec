"""MobileFaceNet's shapes and gradients; its values are compared in tests/formats."""

import pytest
import torch

from wplus.nn.mobilefacenet import MobileFaceNet, MobileFaceTrunk

TINY = ((8, 8, 1), (12, 10, 2), (12, 16, 1))


def test_sizes_of_the_published_net() -> None:
    with torch.device("meta"):
        net = MobileFaceNet(MobileFaceTrunk())
        features = net.features(torch.empty(2, 3, 256, 256))
        assert net(torch.empty(2, 3, 112, 112)).shape == (2, 512)
    shapes = [tuple(x.shape) for x in features]
    assert shapes == [(2, 128, 64, 64), (2, 256, 32, 32), (2, 256, 16, 16)]
    assert 3.3e6 < sum(p.numel() for p in net.parameters()) < 3.5e6


@pytest.mark.parametrize("channels", [1, 3, 19])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_gradients_reach_every_parameter(channels: int, dtype: torch.dtype) -> None:
    trunk = MobileFaceTrunk(channels, 8, TINY).to(dtype)
    features = trunk.features(torch.randn(1, channels, 48, 32, dtype=dtype))
    assert [tuple(f.shape) for f in features] == [(1, 8, 12, 8), (1, 12, 6, 4), (1, 12, 3, 2)]
    sum(f.float().square().mean() for f in features).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in trunk.parameters())


@pytest.mark.parametrize("size", [(40, 32), (32, 40)])
def test_sizes_that_fall_between_pixels_are_refused(size: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="multiples of 16"):
        MobileFaceTrunk(3, 8, TINY).features(torch.zeros(1, 3, *size))


def test_faces_of_another_size_are_refused() -> None:
    net = MobileFaceNet(MobileFaceTrunk(3, 8, TINY), 8, 4, 6, size=32)
    with pytest.raises(ValueError, match="32x32, not 48x48"):
        net(torch.zeros(1, 3, 48, 48))
