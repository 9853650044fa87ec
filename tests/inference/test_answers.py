"""Several answers: exactly the method's formula, and the same for a seed, come what may."""

from __future__ import annotations

import pytest
import torch

import tiny
from wplus import latents
from wplus.errors import ConfigError
from wplus.inference.answers import answers


@pytest.fixture(scope="module")
def model() -> object:
    return tiny.model("mobilestylegan", None)


def named(model, name: str) -> list[int]:  # type: ignore[no-untyped-def]
    return latents.layers_of(name, model.generator.style_resolutions)


def test_the_formula(model) -> None:  # type: ignore[no-untyped-def]
    codes = model.sample(1, seed=3)
    found = answers(model, codes, 3, named(model, "medium"), 0.25, seed=7)
    assert torch.equal(found[0], codes[0])
    rng = torch.Generator().manual_seed(7)
    resolutions = model.generator.style_resolutions
    assert {r for r in resolutions if 16 <= r <= 32}, "the test needs medium styles"
    for index in (1, 2):
        z = torch.randn(1, model.generator.style_dim, generator=rng)
        w = model.generator.map(z)[0]
        for layer, resolution in enumerate(resolutions):
            own = codes[0, layer]
            expected = 0.25 * w + 0.75 * own if 16 <= resolution <= 32 else own
            torch.testing.assert_close(found[index, layer], expected)
    assert not torch.equal(found[1], found[2])


def test_more_answers_do_not_change_the_first_ones(model) -> None:  # type: ignore[no-untyped-def]
    codes = model.sample(1, seed=3)
    few, many = (
        answers(model, codes, count, named(model, "fine"), 1.0, seed=1) for count in (2, 6)
    )
    assert torch.equal(few, many[:2])
    # What is drawn does not depend on the input either.
    other = answers(model, codes + 1, 2, named(model, "all"), 1.0, seed=1)
    assert torch.equal(other[1], answers(model, codes, 2, named(model, "all"), 1.0, seed=1)[1])
    assert not torch.equal(answers(model, codes, 2, named(model, "all"), 1.0, seed=2)[1], other[1])


def test_alpha_0_changes_nothing(model) -> None:  # type: ignore[no-untyped-def]
    codes = model.sample(1, seed=3)
    torch.testing.assert_close(answers(model, codes, 2, named(model, "all"), 0.0, 0)[1], codes[0])


def test_senseless_calls(model) -> None:  # type: ignore[no-untyped-def]
    codes = model.sample(2, seed=3)
    with pytest.raises(ConfigError, match="at least one"):
        answers(model, codes[:1], 0, named(model, "fine"), 1.0, 0)
    with pytest.raises(ConfigError, match="one code"):
        answers(model, codes, 1, named(model, "fine"), 1.0, 0)
    with pytest.raises(ConfigError, match="layer 99 does not exist"):
        answers(model, codes[:1], 2, [99], 1.0, 0)
