"""Published pSp checkpoints in all their variants, written to disk and read by `wplus.load`."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from typing import Any

import numpy as np
import published
import pytest
import torch
from torch import Tensor

import wplus
from wplus import models
from wplus.errors import FormatError
from wplus.formats import psp
from wplus.formats.wrappers import unwrap

DIM = published.STYLE_DIM


def translate(content: object, what: str) -> tuple[dict[str, Any], dict[str, Tensor]]:
    return psp.translate(unwrap(content, what), what)


def images(channels: int = 3) -> Tensor:
    rng = torch.Generator().manual_seed(2)
    return torch.rand(2, channels, 256, 256, generator=rng) * 2 - 1


class Case:
    """A small published checkpoint, and the networks that it was made of."""

    def __init__(
        self, kind: str = "pyramid", channels: int = 3, resolution: int = 32, **options: Any
    ) -> None:
        self.generator = published.generator(resolution)
        self.encoder = published.encoder(kind, self.generator.num_styles, channels)
        self.content = published.checkpoint(self.encoder, self.generator, kind, **options)

    def load(self, folder: Path) -> wplus.PSP:
        path = folder / "published.pt"
        torch.save(self.content, path)
        return wplus.load(path)

    def check(self, model: wplus.PSP, mean: Tensor) -> None:
        """The model computes what its parts compute."""
        x = images(self.encoder.input_channels)
        codes = model.encode(x)
        np.testing.assert_allclose(codes, self.encoder(x) + mean, atol=1e-4)
        np.testing.assert_allclose(model.decode(codes), self.generator.synthesize(codes), atol=1e-4)


@pytest.fixture(scope="module")
def pyramid() -> Case:
    return Case()


def test_pyramid(pyramid: Case, tmp_path: Path) -> None:
    model = pyramid.load(tmp_path)
    pyramid.check(model, pyramid.content["latent_avg"])
    assert (model.num_styles, model.resolution) == (8, 32)
    assert not model.training
    assert not any(parameter.requires_grad for parameter in model.parameters())
    assert model.config.encoder is not None
    assert model.config.encoder.kind == "pyramid"
    assert (model.config.task, model.config.source) == ("inversion", "photo")


@pytest.mark.parametrize("kind", ["single_w", "naive_wplus"])
def test_baselines(kind: str, tmp_path: Path) -> None:
    case = Case(kind, resolution=16)
    if kind == "single_w":  # one row, as it is trained in W
        case.content["latent_avg"] = case.content["latent_avg"][:1]
    model = case.load(tmp_path)
    case.check(model, case.content["latent_avg"])
    assert model.config.encoder is not None
    assert model.config.encoder.kind == kind


@pytest.mark.parametrize("shape", [(8, DIM), (1, DIM), (DIM,), (1, 8, DIM)])
def test_mean_codes_of_every_shape(shape: tuple[int, ...], pyramid: Case) -> None:
    mean = torch.randn(shape)
    _, tensors = translate({**pyramid.content, "latent_avg": mean}, "f")
    expected = mean.reshape(-1, DIM).expand(8, DIM)
    assert torch.equal(tensors["mean_codes"], expected)
    assert torch.equal(tensors["generator.mean_w"], expected[0])


@pytest.mark.parametrize("absent", ["missing", "None"])
def test_without_a_mean_code_it_is_estimated(absent: str, pyramid: Case, tmp_path: Path) -> None:
    case = Case()
    case.content["latent_avg"] = None
    if absent == "missing":
        del case.content["latent_avg"]
    model = case.load(tmp_path)
    mean = case.generator.estimate_mean_w()
    np.testing.assert_allclose(model.mean_codes, mean.expand(8, DIM), atol=1e-6)
    case.check(model, mean)


@pytest.mark.parametrize("shape", [(7, DIM), (18, DIM), (8, DIM - 1), (0, DIM)])
def test_mean_codes_that_do_not_fit(shape: tuple[int, ...], pyramid: Case) -> None:
    with pytest.raises(FormatError) as error:
        translate({**pyramid.content, "latent_avg": torch.zeros(shape)}, "f.pt")
    assert str(error.value) == f"f.pt: latent_avg of shape {shape} fits no 8 styles"


def test_codes_that_do_not_start_from_the_mean(tmp_path: Path) -> None:
    case = Case(start_from_latent_avg=False)
    model = case.load(tmp_path)
    case.check(model, torch.zeros(()))
    assert torch.equal(model.mean_codes, case.content["latent_avg"])
    assert not model.config.start_from_mean


def test_options_as_a_namespace(tmp_path: Path) -> None:
    case = Case(start_from_latent_avg=False)
    case.content["opts"] = Namespace(**case.content["opts"], checkpoint_path=Path("here"))
    assert not case.load(tmp_path).config.start_from_mean


@pytest.mark.parametrize("name", ["encoder_type", "start_from_latent_avg", "dataset_type"])
def test_old_options(name: str, pyramid: Case, tmp_path: Path) -> None:
    """Before April 2021, neither `output_size` nor `learn_in_w` was saved."""
    case = Case()
    for absent in (name, "output_size", "learn_in_w"):
        del case.content["opts"][absent]
    model = case.load(tmp_path)
    case.check(model, case.content["latent_avg"])
    assert model.config.start_from_mean


@pytest.mark.parametrize("options", [{}, None, "absent"])
def test_without_options_it_may_be_e4e(options: object, pyramid: Case, tmp_path: Path) -> None:
    content = {**pyramid.content, "opts": options}
    if options == "absent":
        del content["opts"]
    found = reason(content)
    assert "may be of GradualStyleEncoder or of Encoder4Editing" in found
    for kind in ("single_w", "naive_wplus"):  # whose tensors tell
        case = Case(kind, resolution=8)
        del case.content["opts"]
        case.check(case.load(tmp_path), case.content["latent_avg"])


def test_a_mean_code_as_an_array(pyramid: Case, tmp_path: Path) -> None:
    case = Case()
    case.content["latent_avg"] = case.content["latent_avg"].numpy()
    case.check(case.load(tmp_path), torch.from_numpy(case.content["latent_avg"]))
    with pytest.raises(FormatError, match="latent_avg is a str, not a tensor"):
        translate({**case.content, "latent_avg": "zeros"}, "f.pt")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_weights_that_are_not_finite(value: float, tmp_path: Path) -> None:
    case = Case("single_w", resolution=8)
    case.content["state_dict"]["encoder.linear.bias"][3] = value
    with pytest.raises(FormatError, match=r"not finite, in encoder\.linear\.bias$"):
        case.load(tmp_path)
    with pytest.raises(FormatError, match="not finite"):
        models.convert(tmp_path / "published.pt", tmp_path / "ours.safetensors")
    assert not (tmp_path / "ours.safetensors").exists()


@pytest.mark.parametrize("options", [3, "text", [1], torch.zeros(1)])
def test_options_that_are_no_table(options: object, pyramid: Case) -> None:
    with pytest.raises(FormatError, match=r"^f: its 'opts' are a \w+, not a table$"):
        translate({**pyramid.content, "opts": options}, "f")


@pytest.mark.parametrize(
    ("dataset", "channels", "task", "source"),
    [
        ("ffhq_encode", 3, "inversion", "photo"),
        ("ffhq_frontalize", 3, "frontalization", "photo"),
        ("celebs_sketch_to_face", 1, "sketch", "sketch"),
        ("celebs_seg_to_face", 19, "labels", "labels"),
        ("celebs_super_resolution", 3, "super_resolution", "low_resolution"),
        ("toonify", 3, "toonify", "photo"),
        ("my_sketches", 1, "sketch", "sketch"),
        ("my_labels", 12, "labels", "labels"),
        ("my_cats", 3, "inversion", "photo"),
    ],
)
def test_what_the_encoder_reads(
    dataset: str, channels: int, task: str, source: str, tmp_path: Path
) -> None:
    case = Case("naive_wplus", channels, 8, dataset_type=dataset, label_nc=channels)
    model = case.load(tmp_path)
    assert (model.config.task, model.config.source) == (task, source)
    resampling = "bilinear" if source == "labels" else "nearest"
    assert model.config.label_resampling == resampling
    assert model.encoder is not None
    assert model.encoder.input_channels == channels
    case.check(model, case.content["latent_avg"])


def test_through_our_own_file(pyramid: Case, tmp_path: Path) -> None:
    model = pyramid.load(tmp_path)
    summary = models.convert(tmp_path / "published.pt", tmp_path / "ours.safetensors")
    assert "pyramid, stylegan2" in summary
    again = wplus.load(tmp_path / "ours.safetensors")
    assert again.config == model.config
    assert again.state_dict().keys() == model.state_dict().keys()
    for name, value in again.state_dict().items():
        assert torch.equal(value, model.state_dict()[name]), name


def reason(content: object) -> str:
    with pytest.raises(FormatError) as error:
        translate(content, "f.pt")
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize(
    "name",
    [
        "encoder.input_layer.0.weight",
        "encoder.body.1.res_layer.4.running_var",
        "encoder.body.2.res_layer.5.fc1.weight",
        "encoder.latlayer2.bias",
        "encoder.styles.7.convs.10.weight",
        "encoder.styles.0.linear.bias",
        "decoder.convs.3.activate.bias",
        "decoder.style.2.weight",
    ],
)
def test_a_missing_tensor_is_named(name: str, pyramid: Case) -> None:
    state = dict(pyramid.content["state_dict"])
    del state[name]
    assert f" {name}" in reason({**pyramid.content, "state_dict": state})


@pytest.mark.parametrize(
    "name",
    [
        "encoder.styles.8.linear.weight",
        "encoder.styles.0.convs.8.weight",
        "encoder.body.0.extra",
        "encoder.latlayer3.weight",
        "decoder.convs.6.noise.weight",
        "discriminator.weight",
    ],
)
def test_an_unexpected_tensor_is_named(name: str, pyramid: Case) -> None:
    state = {**pyramid.content["state_dict"], name: torch.zeros(1)}
    assert f"unexpected {name}" in reason({**pyramid.content, "state_dict": state}).replace(
        "unexpected tensor", "unexpected"
    )


def test_unknown_encoders_are_refused(pyramid: Case) -> None:
    found = reason({**pyramid.content, "opts": {"encoder_type": "Encoder5"}})
    assert found == "f.pt: encoder_type 'Encoder5' is unknown"
    found = reason({**pyramid.content, "opts": {"encoder_type": "ResNetBackboneEncoder"}})
    assert "stands on a ResNet-34" in found
    found = reason({**pyramid.content, "opts": {"encoder_type": published.KINDS["single_w"][0]}})
    assert "unexpected encoder.latlayer1.bias" in found


def test_tensors_of_another_kind_are_refused(pyramid: Case) -> None:
    state = {**pyramid.content["state_dict"], "encoder.styles.0.linear.bias": 3}
    assert "holds a int at encoder.styles.0.linear.bias" in reason({"state_dict": state})


def test_one_misshapen_tensor_is_named(tmp_path: Path) -> None:
    case = Case("single_w", resolution=8)
    case.content["state_dict"]["encoder.linear.bias"] = torch.zeros(5)
    with pytest.raises(FormatError) as error:
        case.load(tmp_path)
    path = tmp_path / "published.pt"
    assert str(error.value) == (
        f"{path}: has tensors of the wrong shape: encoder.linear.bias (5,) for ({DIM},)"
    )
