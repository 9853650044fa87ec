"""Several outputs: exactly the method's formula, and the same for a seed, whatever else changes."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

import tiny
from wplus.errors import ConfigError
from wplus.inference.options import Options
from wplus.inference.run import Inference
from wplus.psp import PSP
from wplus.tasks import TASKS


@pytest.fixture(scope="module")
def model() -> PSP:
    return tiny.model("mobilestylegan", None)


def redrawn(
    model: PSP, code: Tensor, outputs: int, layers: str, alpha: float = 1.0, seed: int = 1
) -> Tensor:
    options = Options(outputs=outputs, layers=layers, alpha=alpha, seed=seed)
    return Inference(model, TASKS["inversion"], options).redraw(code)


def test_the_formula(model: PSP) -> None:
    [code] = model.sample(1, seed=3)
    found = redrawn(model, code, 3, "medium", 0.25, seed=7)
    assert torch.equal(found[0], code)
    rng = torch.Generator().manual_seed(7)
    resolutions = model.generator.style_resolutions
    assert {r for r in resolutions if 16 <= r <= 32}, "the test needs medium styles"
    for index in (1, 2):
        z = torch.randn(1, model.generator.style_dim, generator=rng)
        w = model.generator.map(z)[0]
        for layer, resolution in enumerate(resolutions):
            own = code[layer]
            expected = 0.25 * w + 0.75 * own if 16 <= resolution <= 32 else own
            torch.testing.assert_close(found[index, layer], expected)
    assert not torch.equal(found[1], found[2])


def test_more_outputs_do_not_change_the_first_ones(model: PSP) -> None:
    [code] = model.sample(1, seed=3)
    few, many = (redrawn(model, code, count, "medium") for count in (2, 6))
    assert torch.equal(few, many[:2])
    # What is drawn does not depend on the input either.
    other = redrawn(model, code + 1, 2, "all")
    assert torch.equal(other[1], redrawn(model, code, 2, "all")[1])
    assert not torch.equal(redrawn(model, code, 2, "all", seed=2)[1], other[1])


def test_alpha_0_changes_nothing(model: PSP) -> None:
    [code] = model.sample(1, seed=3)
    torch.testing.assert_close(redrawn(model, code, 2, "all", 0.0)[1], code)


def test_senseless_calls(model: PSP) -> None:
    [code] = model.sample(1, seed=3)
    with pytest.raises(ConfigError, match="--outputs 0"):
        redrawn(model, code, 0, "medium")
    with pytest.raises(ConfigError, match="this generator has styles 0 to"):
        redrawn(model, code, 2, "99")
