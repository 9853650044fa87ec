"""The convolutional corrector, on tiny generators."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from wplus.correctors import FeatureCorrector
from wplus.correctors.features import Block, Transport
from wplus.errors import ConfigError
from wplus.generators import StyleGAN2


def tiny(seed: int | None = None) -> FeatureCorrector:
    """For features at 8² and 16²; with a seed, nothing is at zero."""
    torch.manual_seed(0)
    corrector = FeatureCorrector(8, (6, 5), (16, 12), (2, 1), (5, 3))
    if seed is not None:
        torch.manual_seed(seed)
        for parameter in corrector.parameters():
            torch.nn.init.normal_(parameter, std=0.3)
    return corrector


def features(count: int = 2, seed: int = 3) -> dict[int, Tensor]:
    rng = torch.Generator().manual_seed(seed)
    return {
        8: torch.randn(count, 6, 8, 8, generator=rng),
        16: torch.randn(count, 5, 16, 16, generator=rng),
    }


def test_a_new_corrector_changes_nothing() -> None:
    corrections = tiny()(torch.randn(2, 3, 32, 32), features(), features(seed=4))
    assert {size: tuple(extra.shape) for size, extra in corrections.items()} == {
        8: (2, 6, 8, 8),
        16: (2, 5, 16, 16),
    }
    assert not any(extra.any() for extra in corrections.values())


def test_a_block_by_hand() -> None:
    torch.manual_seed(0)
    block = Block(6, 3)
    for parameter in block.parameters():
        torch.nn.init.normal_(parameter)
    x = torch.randn(1, 6, 4, 5)
    hidden = torch.conv2d(x, block.depthwise, padding=1, groups=6)
    mean, variance = hidden.mean(1, keepdim=True), hidden.var(1, correction=0, keepdim=True)
    hidden = (hidden - mean) / (variance + 1e-5).sqrt()
    hidden = hidden * block.norm.weight[:, None, None] + block.norm.bias[:, None, None]
    expected = x + block.narrow(F.silu(block.widen(hidden)))
    torch.testing.assert_close(block(x), expected, rtol=1e-4, atol=1e-4)


def test_transport_by_hand() -> None:
    torch.manual_seed(0)
    transport = Transport(6, 5, heads=2, size=4)
    for parameter in transport.parameters():
        torch.nn.init.normal_(parameter)
    hidden = torch.randn(1, 5, 4, 6)
    own, target = torch.randn(2, 1, 6, 4, 6).unbind()
    places = [(row, column) for row in range(2) for column in range(3)]

    def projected(conv: torch.nn.Conv2d, x: Tensor, head: int) -> Tensor:
        """(places, size)."""
        return (
            torch.conv2d(F.avg_pool2d(x, 2), conv.weight)[0, 4 * head : 4 * head + 4].flatten(1).T
        )

    heads = []
    for head in range(2):
        query = projected(transport.query, target, head)
        key = projected(transport.key, own, head)
        value = projected(transport.value, hidden, head)
        reach = transport.reach[head].exp()
        rows = []
        for at, (row, column) in enumerate(places):
            score = torch.stack(
                [
                    query[at] @ key[to] / 2 - ((row - y) ** 2 + (column - x) ** 2) / (2 * reach**2)
                    for to, (y, x) in enumerate(places)
                ]
            )
            rows.append(score.softmax(0) @ value)
        heads.append(torch.stack(rows, 1))  # (size, places)
    moved = transport.out(torch.cat(heads).view(1, -1, 2, 3))
    expected = hidden + F.interpolate(moved, scale_factor=2.0, mode="bilinear")
    torch.testing.assert_close(transport(hidden, own, target), expected, rtol=1e-4, atol=1e-4)


def test_the_same_target_is_no_target() -> None:
    corrector, images = tiny(1), torch.randn(2, 3, 32, 32)
    plain = corrector(images, features())
    same = corrector(images, features(), features())
    other = corrector(images, features(), features(seed=4))
    for size in (8, 16):
        torch.testing.assert_close(plain[size], same[size])
        assert not torch.allclose(plain[size], other[size])


def test_samples_are_independent_of_their_batch() -> None:
    corrector, images, both = tiny(1), torch.randn(2, 3, 32, 32), features()
    together = corrector(images, both)
    alone = corrector(images[1:], {size: value[1:] for size, value in both.items()})
    for size in (8, 16):
        torch.testing.assert_close(together[size][1:], alone[size], rtol=1e-4, atol=1e-5)


def test_calibration() -> None:
    torch.manual_seed(0)
    generator = StyleGAN2(32, 10, 2, channel_base=128, channel_max=6).eval().requires_grad_(False)
    corrector = FeatureCorrector(8, (6, 6), (16, 12), (1, 1))
    codes = torch.randn(8, generator.num_styles, 10)
    pyramid = generator.pyramid(codes, (8, 16))
    assert set(pyramid) == set(corrector.feature_channels)
    images = generator.synthesize(codes)
    corrector.calibrate(pyramid, images)
    for size, level in ((8, corrector.coarse), (16, corrector.fine)):
        spread = level.normalized(pyramid[size]).std((0, 2, 3))
        torch.testing.assert_close(spread, torch.ones(6), rtol=1e-4, atol=1e-4)
    preview = F.pixel_shuffle(corrector.preview(corrector.fine.normalized(pyramid[16])), 2)
    assert (preview - images).square().mean() < 0.5 * images.var()


@pytest.mark.parametrize(
    "options", [{"resolution": 0}, {"kernels": (4, 3)}, {"widths": (0, 8)}, {"depths": (1, 0)}]
)
def test_numbers_out_of_range_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        FeatureCorrector(**options)  # type: ignore[arg-type]
