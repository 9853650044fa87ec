"""NVIDIA's pickles: the same images as a plain reading of their networks, and nothing run."""

from __future__ import annotations

import pathlib
from typing import Any

import numpy as np
import pytest
import torch
from nvidia_files import (
    CLAMP,
    MAPPING_LAYERS,
    RESOLUTION,
    SIZES,
    STYLE_DIM,
    Persistent,
    load,
    pytorch_generator,
    pytorch_snapshot,
    source_that_marks,
    tensorflow_generator,
    tensorflow_snapshot,
    write,
)
from nvidia_slow import (
    slow_pytorch_map,
    slow_pytorch_synthesis,
    slow_tensorflow_map,
    slow_tensorflow_synthesis,
)
from torch import Tensor

from wplus.formats import nvidia


def inputs() -> tuple[Tensor, Tensor]:
    rng = torch.Generator().manual_seed(2)
    z = torch.randn(2, STYLE_DIM, generator=rng)
    return z, torch.randn(2, 2 * len(SIZES), STYLE_DIM, generator=rng)


def expected_config(clamp: float | None) -> dict[str, Any]:
    return {
        "resolution": RESOLUTION,
        "style_dim": STYLE_DIM,
        "mapping_layers": MAPPING_LAYERS,
        "channel_base": 64,
        "channel_max": 8,
        "clamp": clamp,
    }


@torch.no_grad()
def test_pytorch_generator(tmp_path: pathlib.Path, mark: pathlib.Path) -> None:
    theirs = pytorch_generator(source_that_marks(mark))
    path = write(tmp_path / "network-snapshot.pkl", pytorch_snapshot(theirs))
    assert str(mark).encode() in path.read_bytes()
    config, ours = load(path)
    assert config == expected_config(CLAMP)
    z, codes = inputs()
    image = slow_pytorch_synthesis(theirs, codes)
    assert (image - slow_pytorch_synthesis(_unclamped(), codes)).abs().max() > 0.1
    torch.testing.assert_close(ours.map(z), slow_pytorch_map(theirs, z), atol=1e-5, rtol=0)
    torch.testing.assert_close(ours.synthesize(codes), image, atol=1e-5, rtol=0)
    assert torch.equal(ours.mean_w, theirs.mapping.w_avg)


def _unclamped() -> Persistent:
    generator = pytorch_generator()
    for module in generator.modules():
        if hasattr(module, "conv_clamp"):
            module.conv_clamp = None
    return generator


@pytest.mark.parametrize("clamp", [None, CLAMP])
@torch.no_grad()
def test_tensorflow_generator(
    tmp_path: pathlib.Path, mark: pathlib.Path, clamp: float | None
) -> None:
    settings = {} if clamp is None else {"conv_clamp": clamp}  # a setting of StyleGAN2-ADA
    theirs = tensorflow_generator(source_that_marks(mark), **settings)
    path = write(tmp_path / "stylegan2-ffhq-config-f.pkl", tensorflow_snapshot(theirs))
    assert str(mark).encode() in path.read_bytes()
    config, ours = load(path)
    assert config == expected_config(clamp)
    z, codes = inputs()
    image = slow_tensorflow_synthesis(theirs, codes, clamp)
    torch.testing.assert_close(ours.map(z), slow_tensorflow_map(theirs, z), atol=1e-5, rtol=0)
    torch.testing.assert_close(ours.synthesize(codes), image, atol=1e-5, rtol=0)
    average = dict(theirs.state["variables"])["dlatent_avg"]
    assert np.array_equal(ours.mean_w.numpy(), average)


@pytest.mark.parametrize("protocol", [2, 3, 5])
def test_pickles_of_every_protocol(
    tmp_path: pathlib.Path, mark: pathlib.Path, protocol: int
) -> None:
    source = source_that_marks(mark)
    for snapshot in (
        pytorch_snapshot(pytorch_generator(source)),
        tensorflow_snapshot(tensorflow_generator(source)),
    ):
        config, state = nvidia.read(write(tmp_path / "a.pkl", snapshot, protocol=4))
        other_config, other = nvidia.read(write(tmp_path / "b.pkl", snapshot, protocol))
        assert config == other_config
        assert state.keys() == other.keys()
        assert all(torch.equal(value, other[name]) for name, value in state.items())


def test_a_lone_network_is_a_generator_too(tmp_path: pathlib.Path) -> None:
    load(write(tmp_path / "gs.pkl", tensorflow_generator()))
    load(write(tmp_path / "g_ema.pkl", pytorch_generator()))


@torch.no_grad()
def test_another_learning_rate_of_the_mapping_network(tmp_path: pathlib.Path) -> None:
    z, _ = inputs()
    theirs = pytorch_generator()
    for i in range(MAPPING_LAYERS):
        layer = getattr(theirs.mapping, f"fc{i}")
        layer.bias_gain, layer.weight_gain = 0.02, 0.02 / np.sqrt(STYLE_DIM)
    _, ours = load(write(tmp_path / "a.pkl", theirs))
    torch.testing.assert_close(ours.map(z), slow_pytorch_map(theirs, z), atol=1e-5, rtol=1e-5)
    other = tensorflow_generator(mapping_lrmul=0.02)
    _, ours = load(write(tmp_path / "b.pkl", other))
    expected = slow_tensorflow_map(other, z, 0.02)
    torch.testing.assert_close(ours.map(z), expected, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_a_generator_without_noise(tmp_path: pathlib.Path) -> None:
    theirs = pytorch_generator()
    for module in theirs.modules():
        if hasattr(module, "use_noise"):
            module.use_noise = False
            del module.noise_const, module.noise_strength
    _, ours = load(write(tmp_path / "a.pkl", theirs))
    _, codes = inputs()
    expected = slow_pytorch_synthesis(theirs, codes)
    torch.testing.assert_close(ours.synthesize(codes), expected, atol=1e-5, rtol=0)


def test_a_generator_without_an_average_of_w(tmp_path: pathlib.Path) -> None:
    theirs = pytorch_generator()
    del theirs.mapping.w_avg
    _, state = nvidia.read(write(tmp_path / "a.pkl", theirs))
    assert "mean_w" not in state


def test_files_of_numpy_1_and_2(tmp_path: pathlib.Path) -> None:
    path = write(tmp_path / "a.pkl", tensorflow_generator(), protocol=3)
    for core in (b"numpy.core.multiarray", b"numpy._core.multiarray"):
        data = path.read_bytes().replace(b"numpy._core.multiarray", core)
        (tmp_path / "b.pkl").write_bytes(data.replace(b"numpy.core.multiarray", core))
        load(tmp_path / "b.pkl")
