"""What each task's schedule says, and that refinement follows it."""

from __future__ import annotations

import pytest
import torch

import tiny
from wplus import models
from wplus.errors import ConfigError
from wplus.losses import LPIPS, IdentityLoss, LossNetworks
from wplus.optimize import default_steps, phases_for, photograph_task, refine, refinement, start_of
from wplus.psp import PSP
from wplus.schedules import Phase, Schedule
from wplus.tasks import TASKS


@pytest.fixture(scope="module")
def networks() -> LossNetworks:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return LossNetworks(lpips=LPIPS())


def test_the_start_decides() -> None:
    inversion = TASKS["inversion"]
    [bare] = phases_for(tiny.model(encoder=None), inversion, 100)
    assert (bare.schedule.steps, bare.truncated) == (100, False)
    assert not bare.weights.get("identity")
    warmup, face = phases_for(tiny.model(), inversion, 30)
    assert (warmup.truncated, warmup.schedule.steps) == (True, 60)
    assert (face.truncated, face.schedule.steps) == (False, 30)
    assert face.schedule.learning_rate < bare.schedule.learning_rate
    assert face.weights["identity"] > 0
    cats = tiny.model(task="domain")
    assert photograph_task(cats).name == "domain"
    assert not phases_for(cats, photograph_task(cats), 30)[-1].weights["identity"]


def test_photographs_are_inverted_by_models_of_other_tasks_as_by_inversion() -> None:
    for task in ("frontalization", "toonify", "super_resolution", "sketch"):
        assert photograph_task(tiny.model(task=task)).name == "inversion"


def test_default_steps() -> None:
    own = tiny.model("mobilestylegan", task="super_resolution", source="low_resolution")
    task = TASKS["super_resolution"]
    assert (start_of(own, task), default_steps(own, task)) == ("encoder", 0)
    assert start_of(tiny.model(), task) == "inversion"
    assert start_of(tiny.model(encoder=None), task) == "mean"
    assert default_steps(tiny.model(), TASKS["sketch"]) == 0


@pytest.mark.parametrize("name", ["sketch", "labels", "frontalization", "toonify"])
def test_tasks_without_a_constraint_are_not_refined(name: str) -> None:
    assert TASKS[name].refinement is None
    with pytest.raises(ConfigError, match="no constraint"):
        phases_for(tiny.model(), TASKS[name], 5)


def test_the_less_is_known_the_heavier_the_prior() -> None:
    schedule = TASKS["super_resolution"].refinement
    assert schedule is not None
    spreads = [schedule.phases(5, "encoder", factor)[0].weights["spread"] for factor in (1, 4, 16)]
    assert spreads == sorted(spreads)
    assert spreads[0] < spreads[2]


def test_from_the_mean_code_the_styles_move_together_at_first() -> None:
    schedule = TASKS["super_resolution"].refinement
    assert schedule is not None
    first, second = schedule.phases(20, "mean", 8)
    assert first.schedule.steps + second.schedule.steps == 20
    [other] = schedule.phases(20, "inversion", 8)
    assert first.weights["spread"] > second.weights["spread"] == other.weights["spread"]
    assert other == Phase(Schedule(20), other.weights)
    assert len(schedule.phases(1, "mean", 8)) == 1
    inversion = TASKS["inversion"].refinement
    assert inversion is not None
    assert len(inversion.phases(20, "mean")) == 1


def test_warm_up_steps_come_first_and_are_counted_apart(
    monkeypatch: pytest.MonkeyPatch, networks: LossNetworks
) -> None:
    model = tiny.model("mobilestylegan", "compact")
    seen: list[int] = []

    def cheap(codes: torch.Tensor) -> torch.Tensor:
        seen.append(len(codes))
        return model.generator.synthesize(codes) * 0.9

    monkeypatch.setattr(refinement, "can_truncate", lambda generator: True)
    monkeypatch.setattr(refinement, "truncate", lambda generator: cheap)
    weights = {"l2": 1.0, "lpips": 0.8}
    phases = [Phase(Schedule(5), weights, truncated=True), Phase(Schedule(3), weights)]
    x = torch.rand(2, 3, 256, 256, generator=torch.Generator().manual_seed(0)) * 2 - 1
    reported: list[tuple[int, int]] = []
    start = model.encode(x)
    found = refine(
        model,
        x,
        start,
        phases=phases,
        networks=networks,
        progress=lambda done, total: reported.append((done, total)),
    )
    assert (found.steps, found.warmup_steps) == (3, 5)
    assert len(seen) == 6  # the start, and after every step
    assert {total for _, total in reported} == {8}
    assert [done for done, _ in reported] == sorted(done for done, _ in reported)
    assert reported[-1] == (8, 8)
    assert (found.codes - start).abs().max() > 0


def test_a_phase_through_the_truncated_generator_is_skipped_without_one(
    networks: LossNetworks,
) -> None:
    model = tiny.model("mobilestylegan", "compact")
    x = torch.zeros(1, 3, 256, 256)
    totals: set[int] = set()
    phases = [Phase(Schedule(5), truncated=True), Phase(Schedule(2))]
    found = refine(
        model, x, phases=phases, networks=networks, progress=lambda _, total: totals.add(total)
    )
    assert (found.steps, found.warmup_steps, totals) == (2, 0, {2})


def test_no_steps_leave_the_codes(networks: LossNetworks) -> None:
    model = tiny.model("mobilestylegan", "compact")
    x = torch.zeros(1, 3, 256, 256)
    start = model.encode(x)
    [phase] = TASKS["inversion"].refinement.phases(0)  # type: ignore[union-attr]
    found = refine(model, x, start, phases=[phase], networks=networks)
    assert found.steps == 0
    assert torch.equal(found.codes, start)


def test_networks_are_loaded_once_and_only_if_used(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []

    def load() -> LPIPS:
        made.append("lpips")
        return LPIPS()

    monkeypatch.setattr("wplus.losses.networks.load_lpips", load)
    monkeypatch.setattr("wplus.losses.networks.load_mobilefacenet", lambda: 1 / 0)
    model, networks = tiny.model("mobilestylegan", "compact"), LossNetworks()
    x = torch.zeros(1, 3, 256, 256)
    for weights in ({"l2": 1.0}, {"l2": 1.0, "lpips": 0.8}, {"lpips": 1.0}):
        refine(model, x, phases=[Phase(Schedule(1), weights)], networks=networks)
        assert made == (["lpips"] if "lpips" in weights else [])
    known = IdentityLoss(torch.nn.Identity())
    assert LossNetworks(identity=known).identity is known


@pytest.mark.network
def test_the_default_generator_is_truncated() -> None:
    whole = models.load("mobilestylegan-ffhq")
    assert refinement.can_truncate(whole.generator)
    assert isinstance(whole, PSP)
