"""A model with a corrector: its codes are decoded with corrections, and it is saved whole."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

import tiny
from wplus import models
from wplus.config import Part
from wplus.correctors import Corrector
from wplus.errors import ConfigError
from wplus.evaluate import codes_only, one_pass
from wplus.models.registry import CORRECTORS
from wplus.psp import PSP


def photographs(count: int = 2) -> Tensor:
    return torch.rand(count, 3, 64, 64, generator=torch.Generator().manual_seed(1)) * 2 - 1


def test_corrections_are_those_of_the_network_on_the_features() -> None:
    psp, images = tiny.corrected_model(), photographs()
    codes = psp.encode(images)
    edited = codes + 0.1
    found = psp.correct(images, codes, edited)
    assert isinstance(psp.corrector, Corrector)
    features = [psp.generator.pyramid(each, (8, 16)) for each in (codes, edited)]
    expected = psp.corrector(torch.nn.functional.avg_pool2d(images, 2), *features)
    assert {8, 16} == set(found)
    for size in found:
        assert torch.equal(found[size], expected[size])
    corrected = psp.decode(edited, corrections=found)
    assert torch.equal(corrected, psp.generator.synthesize(edited, corrections=found))
    assert not torch.allclose(corrected, psp.decode(edited))


def test_a_model_is_saved_with_its_corrector(tmp_path: Path) -> None:
    psp, images = tiny.corrected_model(), photographs()
    models.save(psp, tmp_path / "model.safetensors")
    loaded = models.load(tmp_path / "model.safetensors")
    codes = psp.encode(images)
    before, after = psp.correct(images, codes), loaded.correct(images, codes)
    for size in before:
        assert torch.equal(before[size], after[size])


def test_lower_precision() -> None:
    psp, images = tiny.corrected_model(), photographs()
    codes = psp.encode(images)
    expected = psp.decode(codes, corrections=psp.correct(images, codes))
    psp.lower_precision(torch.bfloat16)
    found = psp.decode(codes, corrections=psp.correct(images, codes))
    assert found.dtype == torch.float32
    assert (found - expected).abs().mean() < 0.05 * expected.abs().mean()


def test_without_a_corrector() -> None:
    psp = tiny.model("mobilestylegan", "compact")
    with pytest.raises(ConfigError, match="no corrector"):
        psp.correct(photographs(), psp.encode(photographs()))


def test_a_corrector_of_another_generator() -> None:
    plain = tiny.model("mobilestylegan", "compact")
    other = Part("features", {**tiny.CORRECTOR.options, "channels": (8, 5)})
    with pytest.raises(ConfigError, match="5 channels at 16²"):
        PSP(plain.encoder, plain.generator, plain.config, models.build(other, CORRECTORS))


def test_evaluation_scores_it_with_and_without() -> None:
    psp, images = tiny.corrected_model(), photographs()
    codes = psp.encode(images)
    corrected = psp.decode(codes, corrections=psp.correct(images, codes))
    assert torch.equal(one_pass(psp).run(images), corrected)
    assert torch.equal(codes_only(psp).run(images), psp.decode(codes))
