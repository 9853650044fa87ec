"""StyleGAN2 in rosinality's layout: the same network comes out, and other files are refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import published
import pytest
import torch

import wplus
from wplus.errors import FormatError
from wplus.formats import rosinality
from wplus.formats.wrappers import unwrap
from wplus.generators import StyleGAN2


def content(resolution: int = 16) -> tuple[StyleGAN2, dict[str, Any]]:
    generator = published.generator(resolution)
    mean = torch.randn(published.STYLE_DIM)
    return generator, {"g_ema": published.port(generator), "latent_avg": mean}


def written(path: Path, content: object) -> Path:
    torch.save(content, path)
    return path


@pytest.mark.parametrize("resolution", [8, 16, 64])
def test_the_same_network(resolution: int, tmp_path: Path) -> None:
    generator, saved = content(resolution)
    config, state = rosinality.read(written(tmp_path / "g.pt", saved))
    again = StyleGAN2(**config)
    again.load_state_dict(state, strict=True)
    expected = generator.state_dict() | {"mean_w": saved["latent_avg"]}
    assert set(state) == set(expected)
    for name, value in expected.items():
        assert torch.equal(state[name], value), name


def test_through_load(tmp_path: Path) -> None:
    generator, saved = content()
    model = wplus.load(written(tmp_path / "g.pt", saved))
    assert model.encoder is None
    assert (model.resolution, model.num_styles) == (16, 6)
    codes = torch.randn(2, 6, published.STYLE_DIM)
    np.testing.assert_allclose(model.decode(codes), generator.synthesize(codes), atol=1e-5)
    assert torch.equal(model.mean_codes, saved["latent_avg"].expand(6, -1))
    half = model.map(torch.ones(1, published.STYLE_DIM), 0.5)
    np.testing.assert_allclose(
        half,
        (generator.map(torch.ones(1, published.STYLE_DIM)) + saved["latent_avg"]) / 2,
        atol=1e-6,
    )


def test_files_with_more_or_less_in_them(tmp_path: Path) -> None:
    generator, saved = content()
    training = {**saved, "g": {}, "d": {}, "g_optim": {}, "args": {"size": 16}}
    assert set(rosinality.read_checkpoint(unwrap(training, "f"), "f")[1]) == set(
        generator.state_dict()
    )
    del saved["latent_avg"]
    state = rosinality.read_checkpoint(unwrap(saved, "f"), "f")[1]
    assert set(state) == set(generator.state_dict()) - {"mean_w"}
    model = wplus.load(written(tmp_path / "g.pt", saved))
    np.testing.assert_allclose(model.mean_codes[3], generator.estimate_mean_w(), atol=1e-6)
    assert model.mean_codes.abs().max() > 0.01
    assert torch.equal(model.generator.mean_w, model.mean_codes[0])


def test_files_from_before_noise_was_stored_get_fixed_maps() -> None:
    generator, saved = content()
    maps = {name for name in saved["g_ema"] if name.startswith("noises.")}
    assert len(maps) == 5
    for name in maps:
        del saved["g_ema"][name]
    config, state = rosinality.read_checkpoint(unwrap(saved, "f"), "f")
    StyleGAN2(**config).load_state_dict(state)
    again = rosinality.read_checkpoint(unwrap(saved, "f"), "f")[1]
    for name in generator.state_dict():
        assert torch.equal(state[name], again[name]), name
        if name.endswith("noise"):
            assert state[name].std() > 0.5


@pytest.mark.parametrize(
    ("base", "most", "resolution"), [(32768, 512, 1024), (16384, 512, 256), (32768, 512, 32)]
)
def test_channels_of_the_published_sizes(base: int, most: int, resolution: int) -> None:
    with torch.device("meta"):
        generator = StyleGAN2(resolution, channel_base=base, channel_max=most)
    config = rosinality.config_of(published.port(generator), "", "f")
    with torch.device("meta"):
        again = StyleGAN2(**config)
    shapes = {name: value.shape for name, value in generator.state_dict().items()}
    assert shapes == {name: value.shape for name, value in again.state_dict().items()}


def reason(saved: object) -> str:
    with pytest.raises(FormatError) as error:
        rosinality.read_checkpoint(unwrap(saved, "g.pt"), "g.pt")
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("name", [
    "convs.3.noise.weight", "to_rgb1.bias", "input.input", "conv1.conv.weight", "noises.noise_2",
    "convs.0.conv.weight", "style.2.weight", "style.1.weight",
])  # fmt: skip
def test_a_missing_tensor_is_named(name: str) -> None:
    _, saved = content()
    del saved["g_ema"][name]
    assert name in reason(saved)


@pytest.mark.parametrize("name", ["to_rgbs.9.bias", "noises.noise_5", "fir"])
def test_an_unexpected_tensor_is_named(name: str) -> None:
    _, saved = content()
    saved["g_ema"][name] = torch.zeros(1, 3, 3, 3, 3)
    assert reason(saved) == f"g.pt: has unexpected {name}"


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("convs.1.noise.weight", (2,)),
        ("convs.0.conv.weight", (2, 16, 16, 3, 3)),
        ("style.2.weight", (3, 3)),
        ("to_rgb1.bias", (1, 4, 1, 1)),
    ],
)
def test_a_misshapen_tensor_is_named(name: str, shape: tuple[int, ...], tmp_path: Path) -> None:
    _, saved = content()
    saved["g_ema"][name] = torch.zeros(shape)
    with pytest.raises(FormatError) as error:
        wplus.load(written(tmp_path / "g.pt", saved))
    assert "\n" not in str(error.value)
    assert "wrong shape" in str(error.value)


@pytest.mark.parametrize(
    ("name", "shape"),
    [("conv1.conv.weight", (3,)), ("style.1.weight", ()), ("convs.0.conv.weight", (4, 4, 3, 3))],
)
def test_a_misshapen_tensor_that_tells_the_sizes(name: str, shape: tuple[int, ...]) -> None:
    _, saved = content()
    saved["g_ema"][name] = torch.zeros(shape)
    assert reason(saved) == f"g.pt: {name} is misshapen"


def test_other_variants_are_refused() -> None:
    _, saved = content()
    saved["g_ema"]["convs.0.conv.blur.kernel"] = torch.full((4, 4), 1 / 4)
    assert "blur.kernel is not the filter [1, 3, 3, 1]" in reason(saved)
    _, saved = content()
    saved["g_ema"]["convs.0.conv.weight"] = torch.zeros(1, 5, 20, 3, 3)
    assert reason(saved).endswith("a generator with channels [20, 5, 8] is unknown")
    _, saved = content()
    for i in range(30):
        saved["g_ema"][f"convs.{2 * i}.conv.weight"] = torch.zeros(1, 1, 1, 1, 1)
    assert reason(saved).endswith("31 resolutions and 3 mapping layers is unknown")
    _, saved = content()
    saved["g_ema"]["style.999999.weight"] = torch.zeros(1)
    assert reason(saved).endswith("3 resolutions and 999999 mapping layers is unknown")


@pytest.mark.parametrize("mean", [torch.zeros(23), torch.zeros(0), torch.zeros(3, 7)])
def test_a_mean_code_that_does_not_fit(mean: torch.Tensor) -> None:
    _, saved = content()
    assert "latent_avg of shape" in reason({**saved, "latent_avg": mean})


@pytest.mark.parametrize("saved", [[], {"g": {}}, {"g_ema": 3}, {"g_ema": {}}, {"g_ema": {"a": 1}}])
def test_other_contents_are_refused(saved: object) -> None:
    assert reason(saved).startswith("g.pt: ")
