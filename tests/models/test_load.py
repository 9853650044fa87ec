"""`wplus.load`: by name or by file, onto a device, in a precision."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import tiny
import wplus
from wplus import models
from wplus.config import ModelConfig
from wplus.encoders import CompactEncoder
from wplus.errors import ConfigError, FormatError, WeightsError


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("models") / "small.safetensors"
    models.save(tiny.model(), path)
    return path


def test_paths_as_text_and_as_paths(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = tiny.model().sample(1, seed=0)
    monkeypatch.chdir(file.parent)
    for path in (file, str(file), "small.safetensors", "./small.safetensors"):
        assert torch.equal(wplus.load(path).sample(1, seed=0), expected)


def test_files_come_before_names(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = tiny.model("mobilestylegan", None)
    monkeypatch.setitem(models.NAMED, "small", models.shipped.Shipped())
    monkeypatch.setattr(
        models.shipped, "read_named", lambda name: (small.config, small.state_dict())
    )
    assert wplus.load("small").num_styles == 8
    monkeypatch.chdir(tmp_path)
    (tmp_path / "small").write_bytes(file.read_bytes())
    assert wplus.load("small").num_styles == 6  # known by its content, whatever its suffix
    (tmp_path / "small").write_bytes(b"text")
    with pytest.raises(FormatError, match=r"^small: "):
        wplus.load("small")


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("mobilestylegan-ffqh", "mobilestylegan-ffhq"),
        ("mobilestylegan_ffhq", "mobilestylegan-ffhq"),
        ("face", "faces"),
        ("nonsense", "faces"),
    ],
)
def test_unknown_names(name: str, near: str) -> None:
    with pytest.raises(WeightsError) as error:
        wplus.load(name)
    assert str(error.value) == (
        f"{name}: no model of this name and no such file; did you mean {near}?"
    )


def test_the_shipped_encoder() -> None:
    """It fits the generator, is small, and says what it may be used for."""
    path = Path(wplus.__file__).parent / "weights" / "faces.safetensors"
    assert path.stat().st_size < 8e6
    config, state = models.read(path)
    assert isinstance(config, ModelConfig)
    assert (config.task, config.source) == ("inversion", "photo")
    assert "non-commercial" in config.license
    assert config.encoder is not None
    encoder = models.build(config.encoder)
    encoder.load_state_dict({name: value.float() for name, value in state.items()})
    assert isinstance(encoder, CompactEncoder)
    assert sum(parameter.numel() for parameter in encoder.parameters()) < 10e6
    assert (encoder.num_styles, encoder.style_dim) == (23, 512)


@pytest.mark.network
def test_faces_encodes_its_own_samples() -> None:
    model = wplus.load("faces")
    codes = model.sample(2, truncation=0.7, seed=3)
    with torch.no_grad():
        found = model.encode(model.decode(codes))
    spread = (codes - model.mean_codes).square().mean()
    assert (found - codes).square().mean() < 0.8 * spread
    assert found.shape == codes.shape
    with pytest.raises(ConfigError, match="has no encoder"):
        wplus.load("mobilestylegan-ffhq").encode(model.decode(codes[:1]))


@pytest.mark.parametrize("name", ["none.pt", "none.safetensors", "no/such/model", "none.pkl"])
def test_missing_files(name: str) -> None:
    with pytest.raises(FormatError, match=rf"^{name}: no such file$"):
        wplus.load(name)


@pytest.mark.parametrize("device", ["cpu", torch.device("cpu")])
def test_devices(device: str | torch.device, file: Path) -> None:
    assert wplus.load(file, device=device).device.type == "cpu"


@pytest.mark.parametrize("device", ["gpu", "cuda:99", "", "cpu:x"])
def test_devices_that_cannot_be_used(device: str, file: Path) -> None:
    with pytest.raises(ConfigError) as error:
        wplus.load(file, device=device)
    assert str(error.value).startswith(f"device {device!r} cannot be used here: ")
    assert "\n" not in str(error.value)


def test_the_device_is_looked_at_before_anything_is_fetched(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(models, "read", lambda name: pytest.fail("reads"))
    with pytest.raises(ConfigError):
        wplus.load("faces", device="cuda:99")


def test_precision(file: Path) -> None:
    model = wplus.load(file, dtype=torch.bfloat16)
    single = wplus.load(file)
    assert model.generator.constant.dtype == torch.bfloat16
    assert next(model.encoder.parameters()).dtype == torch.bfloat16  # type: ignore[union-attr]
    assert torch.equal(model.mean_codes, single.mean_codes)
    codes = single.sample(2, seed=0)
    assert torch.equal(model.sample(2, seed=0), codes)
    image, expected = model.decode(codes), single.decode(codes)
    assert image.dtype == torch.float32
    assert not torch.equal(image, expected)
    assert (image - expected).square().mean().sqrt() < 0.03 * expected.std()


def test_networks_without_a_generator(tmp_path: Path) -> None:
    part = tiny.FROZEN["arcface"]
    network = tiny.unusual(models.build(part))
    models.save(network, tmp_path / "face.safetensors", part)
    path = tmp_path / "face.safetensors"
    with pytest.raises(FormatError, match=r"one network \(ArcFace\) and no generator"):
        wplus.load(path)
    found = models.load_network(path, dtype=torch.bfloat16)
    x = torch.rand(1, 3, 16, 16)
    np.testing.assert_allclose(found(x.bfloat16()).float(), network(x), atol=0.05)


@pytest.mark.network
def test_the_default_model() -> None:
    model = wplus.load()
    assert (model.num_styles, model.resolution) == (23, 1024)
    assert model.encoder is not None
    assert model.config.generator.kind == "mobilestylegan"
    face = wplus.images.resize(model.decode(model.mean_codes[None]), 64)
    assert face.shape == (1, 3, 64, 64)
    assert face.abs().max() < 1.2
    # A face: its middle is warmer (more red than blue) than not.
    assert (face[0, 0, 24:48, 24:40] - face[0, 2, 24:48, 24:40]).mean() > 0.1
