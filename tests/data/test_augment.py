"""Augmentation: each effect against a slow formula, its ranges, and its determinism."""

from __future__ import annotations

import cmath
import json
import math
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from wplus.data.augment import EFFECTS, Augmentation, Effects, apply, augment, draw
from wplus.errors import ConfigError

ALWAYS = Augmentation(**dict.fromkeys(EFFECTS, 1.0))


def rng(*seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


def wave(x: float, y: float) -> float:
    return 128 + 60 * math.sin(x / 9) + 50 * math.cos(y / 7 + x / 23)


def waves(side: int) -> Image.Image:
    rows = [[wave(x + 0.5, y + 0.5) for x in range(side)] for y in range(side)]
    return Image.fromarray(np.rint(np.array(rows)).astype(np.uint8)).convert("RGB")


def speckles(side: int = 64) -> Image.Image:
    return Image.fromarray(rng(5).integers(0, 256, (side, side, 3), dtype=np.uint8))


def same(first: Image.Image, second: Image.Image) -> bool:
    return first.mode == second.mode == "RGB" and first.tobytes() == second.tobytes()


def test_none_never_changes_a_picture() -> None:
    picture = speckles()
    assert Augmentation.none().is_none and not Augmentation().is_none
    assert all(same(augment(picture, Augmentation.none(), rng(s)), picture) for s in range(50))


@pytest.mark.parametrize("name", EFFECTS)
def test_one_probability_is_not_none(name: str) -> None:
    only = replace(Augmentation.none(), **{name: 1.0})
    assert not only.is_none
    assert not same(augment(speckles(), only, rng(1)), speckles())


def test_it_follows_the_generator() -> None:
    picture = waves(64)
    made = [augment(picture, ALWAYS, rng(s)).tobytes() for s in range(8)]
    assert made == [augment(picture, ALWAYS, rng(s)).tobytes() for s in range(8)]
    assert len(set(made)) == 8
    assert same(picture, waves(64)), "the picture itself was changed"


def test_a_probability_changes_its_own_effect_only() -> None:
    for seed in range(40):
        some = asdict(draw(Augmentation(), rng(seed)))
        for name in EFFECTS:
            field = {"misalign": "warp"}.get(name, name)
            other = asdict(draw(replace(Augmentation(), **{name: 1.0}), rng(seed)))
            assert other.pop(field) is not None
            assert other == {key: value for key, value in some.items() if key != field}
            without = asdict(draw(replace(Augmentation(), **{name: 0.0}), rng(seed)))
            assert without[field] is None


def test_effects_are_as_frequent_as_they_should_be() -> None:
    drawn = [asdict(draw(Augmentation(), rng(seed))) for seed in range(1500)]
    for name in EFFECTS:
        share = np.mean([each[{"misalign": "warp"}.get(name, name)] is not None for each in drawn])
        assert share == pytest.approx(getattr(Augmentation(), name), abs=0.05)


def test_every_range_is_used_and_kept() -> None:
    a = ALWAYS
    drawn = [draw(a, rng(seed)) for seed in range(400)]
    # A Python loop over what mypy cannot know: all effects are there, they are certain.
    numbers: dict[str, tuple[list[Any], float, float]] = {
        "rotation": ([e.warp[0] for e in drawn], -a.rotation, a.rotation),
        "scale": ([e.warp[1] for e in drawn], 1 - a.scale, 1 + a.scale),
        "right": ([e.warp[2] for e in drawn], -a.shift, a.shift),
        "down": ([e.warp[3] for e in drawn], -a.shift, a.shift),
        "brightness": ([e.color[0] for e in drawn], -a.brightness, a.brightness),
        "contrast": ([e.color[1] for e in drawn], -a.contrast, a.contrast),
        "saturation": ([e.color[2] for e in drawn], -a.saturation, a.saturation),
        "red": ([e.color[3] for e in drawn], -a.tint, a.tint),
        "blue": ([e.color[4] for e in drawn], -a.tint, a.tint),
        "blur": ([e.blur for e in drawn], *a.blur_sigma),
        "resize": ([e.resize[0] for e in drawn], *a.resize_scale),
        "noise": ([e.noise[0] for e in drawn], *a.noise_std),
        "jpeg": ([e.jpeg[0] for e in drawn], *a.jpeg_quality),
    }
    for name, (values, low, high) in numbers.items():
        margin = 0.05 * (high - low)
        assert low <= min(values) < low + margin, name
        assert high - margin < max(values) <= high, name
    # No two quantities hang together.
    table = np.array([values for values, _, _ in numbers.values()])
    assert np.abs(np.corrcoef(table) - np.eye(len(table))).max() < 0.25
    assert {e.resize[1:] for e in drawn} == {(i, j) for i in range(4) for j in range(2)}
    assert {e.noise[2] for e in drawn} == {True, False}
    assert {e.jpeg[1] for e in drawn} == {0, 2}


@pytest.mark.parametrize(
    "warp",
    [(10.0, 1.0, 0.0, 0.0), (0.0, 1.2, 0.0, 0.0), (0.0, 1.0, 0.1, -0.05), (-7.0, 0.9, 0.03, 0.1)],
)
def test_warp_turns_enlarges_and_shifts(warp: tuple[float, float, float, float]) -> None:
    """Where each pixel came from, by complex numbers; beyond the border, mirrored."""
    side = 48
    degrees, scale, right, down = warp
    found = np.asarray(apply(Effects(warp=warp), waves(side)))[..., 1].astype(float)
    turn = scale * cmath.exp(-1j * math.radians(degrees))  # y points down

    def folded(v: float) -> float:
        v = abs(v - 0.5)  # around the centers of the first and the last pixel
        v = 2 * (side - 1) - v if v > side - 1 else v
        return v + 0.5

    center = complex(side / 2, side / 2)
    expected = np.empty((side, side))
    for y in range(side):
        for x in range(side):
            moved = complex(x + 0.5, y + 0.5) - center - side * complex(right, down)
            origin = moved / turn + center
            expected[y, x] = wave(folded(origin.real), folded(origin.imag))
    assert np.abs(found - expected).max() < 4
    # Pillow cuts the interpolated value to whole numbers, hence half a level less.
    assert np.abs(found + 0.5 - expected).mean() < 0.8


def test_colors_by_pixel() -> None:
    brightness, contrast, saturation, red, blue = 0.06, -0.2, 0.3, 0.05, -0.08
    picture = speckles(16)
    effects = Effects(color=(brightness, contrast, saturation, red, blue))
    found = np.asarray(apply(effects, picture))
    for before, after in zip(np.asarray(picture).reshape(-1, 3), found.reshape(-1, 3)):
        r, g, b = before[0] * (1 + red), float(before[1]), before[2] * (1 + blue)
        gray = 0.299 * r + 0.587 * g + 0.114 * b
        for value, got in zip((r, g, b), after):
            value = gray + (value - gray) * (1 + saturation)
            value = (value - 127.5) * (1 + contrast) + 127.5
            value += brightness * 255
            assert got == pytest.approx(min(max(value, 0), 255), abs=0.51)


def test_no_saturation_is_gray() -> None:
    pixels = np.asarray(apply(Effects(color=(0, 0, -1, 0, 0)), speckles()))
    assert (pixels == pixels[..., :1]).all() and pixels.std() > 10


@pytest.mark.parametrize("gray", [True, False])
def test_noise_has_its_deviation(gray: bool) -> None:
    flat = Image.new("RGB", (128, 128), (128, 128, 128))
    noise = np.asarray(apply(Effects(noise=(0.03, 7, gray)), flat)).astype(float) - 128
    assert noise.std() == pytest.approx(0.03 * 255, rel=0.03)
    assert abs(noise.mean()) < 0.3
    assert (noise[..., 0] == noise[..., 1]).all() == gray
    # Bright and dark stay within 8 bits instead of wrapping around.
    white = np.asarray(apply(Effects(noise=(0.1, 7, gray)), Image.new("RGB", (64, 64), "white")))
    assert white.min() > 100


def test_blur_and_resizing_take_detail_away() -> None:
    fine = Image.fromarray(((np.indices((64, 64)).sum(0) % 2) * 255).astype(np.uint8))
    fine = fine.convert("RGB")
    for effects in (Effects(blur=1.5), Effects(resize=(0.25, 0, 0)), Effects(resize=(0.5, 3, 1))):
        result = apply(effects, fine)
        assert result.size == fine.size
        assert np.asarray(result)[8:-8, 8:-8].std() < 10
    assert (
        np.abs(np.asarray(apply(Effects(resize=(1.0, 2, 1)), fine)) - np.asarray(fine)).max() == 0
    )


def test_jpeg_hurts_more_at_lower_quality() -> None:
    def loss(quality: int, subsampling: int) -> float:
        found = apply(Effects(jpeg=(quality, subsampling)), speckles())
        return float(np.abs(np.asarray(found).astype(float) - np.asarray(speckles())).mean())

    assert 0 < loss(95, 0) < loss(50, 0) < loss(10, 0)
    assert loss(95, 0) < loss(95, 2)


@pytest.mark.parametrize("side", [16, 63])
def test_any_side(side: int) -> None:
    strong = replace(ALWAYS, rotation=15, scale=0.2, shift=0.15, resize_scale=(0.01, 0.02))
    for seed in range(10):
        assert augment(speckles(side), strong, rng(seed)).size == (side, side)


def test_settings_survive_json() -> None:
    setting = replace(Augmentation(), blur_sigma=(0.1, 0.2))
    assert Augmentation(**json.loads(json.dumps(asdict(setting)))) == setting


@pytest.mark.parametrize(
    "wrong",
    [
        {"jpeg": 1.1},
        {"noise": -0.1},
        {"rotation": 90},
        {"shift": 0.5},
        {"jpeg_quality": (95, 35)},
        {"jpeg_quality": (0, 35)},
        {"blur_sigma": (1.0,)},
        {"resize_scale": (0.0, 1.0)},
        {"blur": float("nan")},
    ],
)
def test_out_of_range(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        Augmentation(**wrong)
