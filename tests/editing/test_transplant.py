from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import tiny
from wplus import images
from wplus.editing import regions
from wplus.editing.transplant import WEIGHTS, blend, in_light_of, masked_distance, transplant
from wplus.errors import ConfigError, ImageError
from wplus.losses import LPIPS
from wplus.psp import PSP
from wplus.schedules import Schedule


@pytest.fixture(scope="module")
def lpips() -> LPIPS:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return LPIPS("alexnet").eval()


@pytest.fixture(scope="module")
def model() -> PSP:
    return tiny.model("mobilestylegan", None)


def left_half() -> torch.Tensor:
    mask = torch.zeros(1, 1, 64, 64)
    mask[..., :32] = 1
    return mask


def test_masked_distance(lpips: LPIPS) -> None:
    a, b = torch.rand(2, 1, 3, 128, 128) * 2 - 1
    first, second = lpips.features(a), lpips.features(b)
    whole = masked_distance(lpips, first, second, torch.ones(1, 1, 128, 128))
    torch.testing.assert_close(whole, lpips(a, b))
    # The slow way, place by place; and no pixel outside of the mask counts.
    mask = torch.rand(1, 1, 128, 128)
    total = 0.0
    for x, y, head in zip(first, second, lpips.heads):
        small = images.resize(mask, tuple(x.shape[-2:]))[0, 0]
        places = (head[0, :, 0, 0][:, None, None] * (x - y)[0].square()).sum(0)
        total += float((places * small).sum() / small.sum())
    assert float(masked_distance(lpips, first, second, mask)) == pytest.approx(total, rel=1e-4)


def test_the_region_comes_nearer_and_the_rest_stays(model: PSP, lpips: LPIPS) -> None:
    rng = torch.Generator().manual_seed(1)
    receiver, donor = torch.randn(2, 8, 12, generator=rng)
    kept = receiver.clone()
    done = transplant(
        model, receiver, donor, left_half(), lpips, schedule=Schedule(steps=10, learning_rate=0.1)
    )
    assert torch.equal(receiver, kept)
    assert done.before["rest_l2"] == pytest.approx(0, abs=1e-6)
    assert done.after["loss"] < done.before["loss"]
    assert done.after["region_l2"] < done.before["region_l2"]
    # The rest differs less from the receiver than the donor does.
    pictures = images.resize(model.decode(torch.stack([receiver, donor])), 256)
    assert done.after["rest_l2"] < float((pictures[0] - pictures[1])[..., 128:].square().mean())


def test_a_heavier_rest_is_kept_better(model: PSP, lpips: LPIPS) -> None:
    receiver, donor = torch.randn(2, 8, 12, generator=torch.Generator().manual_seed(2))
    schedule = Schedule(steps=5, learning_rate=0.1)
    light, heavy = (
        transplant(
            model, receiver, donor, left_half(), lpips, {**WEIGHTS, "rest_l2": weight}, schedule
        )
        for weight in (0.5, 50.0)
    )
    assert heavy.after["rest_l2"] < light.after["rest_l2"]


def test_what_cannot_be_transplanted(model: PSP, lpips: LPIPS) -> None:
    code = torch.randn(8, 12)
    for mask in (torch.zeros(1, 1, 8, 8), torch.ones(1, 1, 8, 8)):
        with pytest.raises(ConfigError, match="nothing to do"):
            transplant(model, code, code, mask, lpips)
    with pytest.raises(ConfigError, match="do not fit"):
        transplant(model, torch.randn(6, 12), code, left_half(), lpips)


def test_the_donor_takes_the_light_of_the_receiver() -> None:
    face = torch.rand(1, 3, 64, 64) * 0.4 - 0.2
    tint = torch.tensor([0.3, -0.1, 0.2]).view(1, 3, 1, 1)
    torch.testing.assert_close(in_light_of(face + tint, face, left_half()), face)
    # Only the edge counts: what lies inside of the region keeps what is its own.
    mouth = face.clone()
    mouth[..., 5:15] += 0.5
    torch.testing.assert_close(in_light_of(mouth, face, left_half()), mouth)


def test_blend_keeps_the_receivers_pixels() -> None:
    a, b = torch.rand(2, 1, 3, 64, 64)
    mask = left_half()
    mask[..., 30:34] = 0.5
    mixed = blend(a, b, mask)
    torch.testing.assert_close(mixed[..., :30], b[..., :30])
    assert torch.equal(mixed[..., 34:], a[..., 34:])
    torch.testing.assert_close(mixed[..., 31], (a + b)[..., 31] / 2)
    with pytest.raises(ConfigError, match="cannot blend"):
        blend(a, b[..., :32], mask)


@pytest.mark.parametrize("name", sorted(regions.REGIONS))
def test_named_regions_are_symmetric_and_soft(name: str) -> None:
    mask = regions.region(name, 128)
    assert mask.shape == (1, 1, 128, 128)
    assert 0.01 < float(mask.mean()) < 0.5
    assert float(mask.min()) == 0 and float(mask.max()) == pytest.approx(1, abs=1e-3)
    torch.testing.assert_close(mask, mask.flip(-1), atol=1e-5, rtol=0)
    assert bool(((mask > 0.2) & (mask < 0.8)).any())


def test_regions_lie_where_they_should() -> None:
    def middle(name: str) -> float:
        rows = regions.region(name, 100)[0, 0].sum(1)
        return float((rows * torch.arange(100)).sum() / rows.sum())

    order = [middle(name) for name in ("hair", "brows", "eyes", "nose", "mouth", "chin")]
    assert order == sorted(order)
    both = regions.region("nose, mouth", 100)
    apart = torch.maximum(regions.region("nose", 100), regions.region("mouth", 100))
    assert float((both - apart).abs().mean()) < 0.01
    with pytest.raises(ConfigError, match="'tail'"):
        regions.region("tail", 64)


def test_softening_keeps_the_area_and_widens_the_edge() -> None:
    sharp = torch.zeros(1, 1, 64, 64)
    sharp[..., 20:44, 20:44] = 1
    soft = regions.soften(sharp, 0.1)
    assert float(soft.sum()) == pytest.approx(float(sharp.sum()), rel=1e-3)
    assert float(soft[0, 0, 32, 20]) == pytest.approx(0.56, abs=0.1)
    assert torch.equal(regions.soften(sharp, 0), sharp)
    with pytest.raises(ConfigError, match="feather"):
        regions.soften(sharp, 0.5)


def test_masks_from_files(tmp_path: Path) -> None:
    pixels = np.zeros((40, 40), np.uint8)
    pixels[:20] = 255
    Image.fromarray(pixels).save(tmp_path / "half.png")
    mask = regions.read_mask(tmp_path / "half.png", 64)
    assert float(mask[..., :30, :].min()) > 0.99
    assert float(mask[..., 34:, :].max()) < 0.01
    Image.fromarray(pixels[:, :30]).save(tmp_path / "wide.png")
    Image.new("L", (40, 40)).save(tmp_path / "black.png")
    for name, said in (("wide", "square"), ("black", "marks nothing"), ("gone", "no such file")):
        with pytest.raises(ImageError, match=said) as error:
            regions.read_mask(tmp_path / f"{name}.png", 64)
        assert f"{name}.png" in str(error.value)
