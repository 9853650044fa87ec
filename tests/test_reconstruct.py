"""How photographs are refined: what is planned for which model, and that it is carried out."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

import tiny
from wplus import models, reconstruct
from wplus.losses import LPIPS
from wplus.psp import PSP
from wplus.reconstruct import Plan, refine_photographs


@pytest.fixture(scope="module")
def lpips() -> LPIPS:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return LPIPS()


def test_where_it_starts_decides() -> None:
    bare = Plan.of(tiny.model(encoder=None), 100)
    assert (bare.ahead, bare.schedule.steps, bare.weights.identity) == (0, 100, 0)
    face = Plan.of(tiny.model(), 30)
    assert (face.ahead, face.schedule.steps) == (0, 30)  # this generator has no short form
    assert face.schedule.learning_rate < bare.schedule.learning_rate
    assert face.weights.identity > 0
    assert Plan.of(tiny.model(task="domain"), 30).weights.identity == 0


def test_both_parts_are_made(monkeypatch: pytest.MonkeyPatch, lpips: LPIPS) -> None:
    model = tiny.model("mobilestylegan", "compact")
    seen: list[int] = []

    def cheap(codes: torch.Tensor) -> torch.Tensor:
        seen.append(len(codes))
        return model.generator.synthesize(codes) * 0.9

    monkeypatch.setattr(reconstruct, "truncate", lambda generator: cheap)
    plan = replace(Plan.of(model, 3), ahead=5)
    x = torch.rand(2, 3, 256, 256, generator=torch.Generator().manual_seed(0)) * 2 - 1
    told: list[int] = []
    start = model.encode(x)
    found = refine_photographs(
        model, x, start, plan, lpips=lpips, progress=lambda step, loss: told.append(step)
    )
    assert found.steps == 8
    assert len(seen) == 6  # the start, and after every step
    assert told == [*range(6), *range(5, 9)]
    assert "identity" not in found.history[0]  # it has a weight, but no net was given
    assert (found.codes - start).abs().max() > 0


def test_no_steps_leave_the_codes(lpips: LPIPS) -> None:
    model = tiny.model("mobilestylegan", "compact")
    x = torch.zeros(1, 3, 256, 256)
    start = model.encode(x)
    plan = replace(Plan.of(model, 0), ahead=0)
    found: Any = refine_photographs(model, x, start, plan, lpips=lpips)
    assert found.steps == 0
    assert torch.equal(found.codes, start)


@pytest.mark.network
def test_the_default_generator_is_shortened() -> None:
    whole = models.load("mobilestylegan-ffhq")
    assert Plan.of(whole, 30).ahead == 0  # from the mean face, every step is through the whole
    encoder = tiny.model("mobilestylegan", "compact").encoder
    assert encoder is not None
    encoder.num_styles, encoder.style_dim = whole.num_styles, whole.generator.style_dim
    assert Plan.of(PSP(encoder, whole.generator, whole.config), 30).ahead == 60
