"""pSp(x) = G(E(x) + w̄), and what else the model offers."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

import tiny
import wplus
from wplus import models
from wplus.config import ModelConfig, Part
from wplus.errors import ConfigError
from wplus.psp import PSP


@pytest.fixture(scope="module", params=["stylegan2", "mobilestylegan"])
def model(request: pytest.FixtureRequest) -> PSP:
    return tiny.model(request.param, "pyramid")


def images() -> Tensor:
    return torch.rand(2, 3, 64, 64, generator=torch.manual_seed(0)) * 2 - 1


def test_encoding_adds_the_mean_code(model: PSP) -> None:
    assert model.encoder is not None
    offsets = model.encoder(images())
    assert offsets.abs().max() > 0.01
    assert model.mean_codes.std(0).max() > 0.01, "rows must differ for the test to mean something"
    np.testing.assert_allclose(model.encode(images()), offsets + model.mean_codes, atol=1e-6)


def test_a_source_that_is_no_row_of_the_table() -> None:
    model = tiny.model()
    config = dataclasses.replace(model.config, source="film")
    with pytest.raises(ConfigError, match="no source 'film'; there are: photo, sketch"):
        PSP(model.encoder, model.generator, config)


def test_codes_that_do_not_start_from_the_mean() -> None:
    model = tiny.model(start_from_mean=False)
    assert model.encoder is not None
    np.testing.assert_array_equal(model.encode(images()), model.encoder(images()))


def test_decoding_is_the_generator(model: PSP) -> None:
    codes = model.sample(2, seed=0)
    np.testing.assert_array_equal(model.decode(codes), model.generator.synthesize(codes))
    rng = torch.Generator()
    noisy = model.decode(codes, "random", rng.manual_seed(1))
    assert torch.equal(noisy, model.generator.synthesize(codes, "random", rng.manual_seed(1)))
    assert not torch.equal(noisy, model.decode(codes, "none"))
    assert torch.equal(model.decode(codes.double()), model.decode(codes))


def test_forward_gives_images_and_codes(model: PSP) -> None:
    image, codes = model(images())
    assert image.shape == (2, 3, model.resolution, model.resolution)
    assert torch.equal(codes, model.encode(images()))
    assert torch.equal(image, model.decode(codes))


def test_gradients_reach_images_and_codes(model: PSP) -> None:
    x = images().requires_grad_()
    image, codes = model(x)
    grads = torch.autograd.grad(image.square().sum(), [x, codes])
    assert all(grad.abs().max() > 0 for grad in grads)


def test_the_encoder_trains_in_a_frozen_model() -> None:
    model = tiny.model()
    assert model.encoder is not None
    model.encoder.train().requires_grad_(True)
    image, _ = model(images())
    image.square().mean().backward()
    for name, parameter in model.named_parameters():
        if name.startswith("encoder."):
            assert parameter.grad is not None, name
        else:
            assert parameter.grad is None, name


def test_mapping_and_truncation(model: PSP) -> None:
    z = torch.randn(3, 12, generator=torch.manual_seed(2))
    w, mean = model.generator.mapping(z), model.generator.mean_w
    np.testing.assert_array_equal(model.map(z), w)
    np.testing.assert_allclose(model.map(z.double(), 0.6), mean + 0.6 * (w - mean), atol=1e-6)


def test_samples(model: PSP) -> None:
    codes = model.sample(4, truncation=0.7, seed=3)
    z = torch.randn(4, 12, generator=torch.Generator().manual_seed(3))
    assert codes.shape == (4, model.num_styles, 12)
    for style in range(model.num_styles):
        np.testing.assert_allclose(codes[:, style], model.map(z, 0.7), atol=1e-6)
    assert torch.equal(model.sample(4, truncation=0.7, seed=3), codes)
    assert not torch.equal(model.sample(4, truncation=0.7, seed=4), codes)
    assert not torch.equal(model.sample(1), model.sample(1))
    codes[:, 0] = 0  # rows of their own
    assert codes[:, 1].abs().max() > 0
    assert model.sample(0).shape == (0, model.num_styles, 12)
    assert model.decode(model.sample(0)).shape[0] == 0


def test_mean_codes_start_as_the_generators() -> None:
    generator = models.build(tiny.GENERATORS["stylegan2"])
    generator.mean_w.normal_()
    model = PSP(None, generator, ModelConfig(tiny.GENERATORS["stylegan2"]))  # type: ignore[arg-type]
    assert torch.equal(model.mean_codes, generator.mean_w.repeat(6, 1))
    generator.mean_w.zero_()
    assert model.mean_codes.abs().min() > 0


def test_without_an_encoder() -> None:
    model = tiny.model(encoder=None)
    with pytest.raises(ConfigError, match=r"^this model has no encoder; start from mean_codes"):
        model.encode(images())
    assert model.decode(model.mean_codes[None]).shape == (1, 3, 16, 16)
    assert (model.num_styles, model.resolution, model.device.type) == (6, 16, "cpu")


@pytest.mark.parametrize("shape", [(1, 3, 32, 64), (1, 1, 64, 64), (3, 64, 64)])
def test_images_that_do_not_fit(shape: tuple[int, ...], model: PSP) -> None:
    with pytest.raises(ConfigError, match=r"takes images of shape \(N, 3, 64, 64\)"):
        model.encode(torch.zeros(shape))


def test_codes_and_z_that_do_not_fit(model: PSP) -> None:
    with pytest.raises(ConfigError, match="do not fit this generator"):
        model.decode(torch.zeros(1, 99, 12))
    with pytest.raises(ConfigError, match=r"^z must be \(N, 12\)"):
        model.map(torch.zeros(1, 11))


def test_parts_that_do_not_fit_each_other() -> None:
    config = ModelConfig(tiny.GENERATORS["stylegan2"], tiny.encoders(5)["single_w"])
    generator, encoder = models.build(config.generator), models.build(config.encoder)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"^the encoder makes codes of 5×12, .* takes 6×12$"):
        PSP(encoder, generator, config)  # type: ignore[arg-type]


@pytest.mark.parametrize("generator", ["stylegan2", "mobilestylegan"])
def test_lower_precision(generator: str) -> None:
    model = tiny.model(generator)
    expected = model.encode(images()), model.map(torch.ones(2, 12), 0.5), model.sample(2, seed=0)
    image = model.decode(expected[0])
    mean = model.mean_codes.clone()
    model.lower_precision(torch.bfloat16)
    found = model.encode(images()), model.map(torch.ones(2, 12), 0.5), model.sample(2, seed=0)
    again = model.decode(expected[0])
    assert all(x.dtype == torch.float32 for x in (*found, again, model.mean_codes))
    assert torch.equal(found[1], expected[1])
    assert torch.equal(found[2], expected[2])
    assert torch.equal(model.mean_codes, mean)
    assert (again - image).square().mean().sqrt() < 0.03 * image.std()
    assert (found[0] - expected[0]).square().mean().sqrt() < 0.05 * expected[0].std()
    assert not torch.equal(again, image)
    assert not torch.equal(found[0], expected[0])
    model.to(torch.bfloat16)  # which users may do themselves
    assert model.encode(images()).dtype == torch.float32
    assert model.map(torch.ones(2, 12)).dtype == torch.float32
    assert model.sample(1).dtype == torch.float32
    assert model.decode(model.mean_codes[None]).dtype == torch.float32


def test_the_public_name() -> None:
    assert wplus.PSP is PSP


@pytest.mark.parametrize("size", [(64, 64), (100, 90), (300, 512)])
def test_pil_images_of_any_size(size: tuple[int, int]) -> None:
    model = tiny.model()
    rng = np.random.default_rng(0)
    image = Image.fromarray(rng.integers(0, 256, (*size[::-1], 3), dtype=np.uint8))
    expected = wplus.images.to_tensor(wplus.images.middle_square(image, 256))
    codes = model.encode(image)
    assert torch.equal(codes, model.encode(expected))
    both = model.encode([image, image.convert("L")])
    np.testing.assert_allclose(both[:1], codes, atol=1e-5)
    assert both.shape == (2, 6, 12)


def test_pil_images_of_other_sources() -> None:
    model = tiny.model(source="labels")
    channels = Part("single_w", {**model.config.encoder.options, "input_channels": 19})  # type: ignore[union-attr]
    encoder = tiny.unusual(models.build(channels))
    model = PSP(encoder, model.generator, ModelConfig(model.config.generator, channels,
                                                      source="labels"))  # type: ignore[arg-type] # fmt: skip
    numbers = np.arange(32 * 48).reshape(32, 48) % 19
    image = Image.fromarray(numbers.astype(np.uint8))
    assert torch.equal(model.prepare(image).sum(1), torch.ones(1, 256, 256))
    assert torch.equal(
        model.prepare(image).argmax(1)[0, ::8, ::8], torch.as_tensor(numbers[:, 8:40])
    )
    with pytest.raises(ConfigError, match="no encoder"):
        tiny.model(encoder=None).prepare(image)
