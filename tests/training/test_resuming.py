"""Runs that die, are stopped or changed, and go on as if nothing had happened."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
import toy
from outcomes import assert_equal_runs, lines, tensors

import wplus
from wplus import files
from wplus.errors import ConfigError
from wplus.training import state
from wplus.training.log import StepReport
from wplus.training.loop import train


class Died(Exception):
    """The process is gone."""


def die_at(step: int) -> Any:
    def progress(at: StepReport) -> None:
        if at.step == step:
            raise Died

    return progress


@pytest.mark.parametrize("step", [1, 5, 6, 8, 11])
def test_a_run_that_died_ends_as_one_that_did_not(whole: Path, tmp_path: Path, step: int) -> None:
    """In the same process; `test_killing` does it with signals."""
    settings = toy.config()
    with pytest.raises(Died):
        train(settings, tmp_path, components=toy.components(settings), on_step=die_at(step))
    toy.run(tmp_path)
    assert_equal_runs(tmp_path, whole)


@pytest.mark.parametrize(
    ("number", "step"), [(signal.SIGINT, 7), (signal.SIGTERM, 5), (signal.SIGTERM, 6)]
)
def test_a_signal_ends_the_run_after_the_step_and_loses_none(
    whole: Path, tmp_path: Path, number: signal.Signals, step: int
) -> None:
    """At step 5 a state is due, at step 6 a validation, which can wait."""

    def send(at: StepReport) -> None:
        if at.step == step:
            os.kill(os.getpid(), number)

    handlers = [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)]
    settings = toy.config()
    result = train(settings, tmp_path, components=toy.components(settings), on_step=send)
    assert [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)] == handlers
    assert (result.step, result.signal) == (step, number)
    assert number.name in result.reason
    saved = state.latest(tmp_path)
    assert saved is not None
    assert (saved.state.step, saved.state.validation_due) == (step, step == 6)
    assert len([e for e in lines(tmp_path) if e["event"] == "validation"]) == int(step > 6)
    assert (tmp_path / "previews" / "00000006.jpg").exists() == (step > 6)
    toy.run(tmp_path)
    assert_equal_runs(tmp_path, whole)


def test_a_signal_in_the_last_step(whole: Path, tmp_path: Path) -> None:
    def send(at: StepReport) -> None:
        if at.step == at.steps:
            os.kill(os.getpid(), signal.SIGTERM)

    settings = toy.config()
    result = train(settings, tmp_path, components=toy.components(settings), on_step=send)
    assert "SIGTERM" in result.reason  # its validation is still to be made
    assert toy.run(tmp_path).reason == "all steps are made"
    assert_equal_runs(tmp_path, whole)


def test_a_signal_ends_a_long_validation(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = toy.config()
    components = toy.components(settings)
    item, seen = toy.Numbers.item, []

    def send(self: toy.Numbers, index: int, rng: Any) -> Any:
        seen.append(self.first + index)
        if seen.count(101) == 2 + 1:  # after the preview and the rehearsal
            os.kill(os.getpid(), signal.SIGTERM)
            seen.append(101)
        return item(self, index, rng)

    monkeypatch.setattr(toy.Numbers, "item", send)
    result = train(settings, tmp_path, components=components)
    monkeypatch.undo()
    assert result.step == 6
    assert not [e for e in lines(tmp_path) if e["event"] == "validation"]
    toy.run(tmp_path)
    assert_equal_runs(tmp_path, whole)


def test_a_time_limit_ends_the_run(tmp_path: Path) -> None:
    result = toy.run(tmp_path, steps=100_000, time_limit=0.03)
    assert 0 < result.step < 100_000
    assert result.signal is None
    assert "time" in result.reason
    assert state.latest(tmp_path).state.step == result.step  # type: ignore[union-attr]


def test_what_a_dying_process_left_half_written_is_removed(tmp_path: Path) -> None:
    for place in (tmp_path, tmp_path / "states"):
        dead = place / f"{files.PREFIX}0123abcd"
        dead.mkdir(parents=True)
        (dead / "model.safetensors").write_bytes(b"half")
    toy.run(tmp_path, steps=2)
    assert [path.name for path in tmp_path.rglob(".*")] == [".lock"]


def test_steps_can_be_added(whole: Path, tmp_path: Path) -> None:
    toy.run(tmp_path, steps=7)
    toy.run(tmp_path)
    ours, theirs = tensors(tmp_path), tensors(whole)
    assert all(torch.equal(value, theirs[name]) for name, value in ours.items())


@pytest.mark.parametrize("change", [{"accumulate": 2}, {"workers": 2}, {"validate_every": 4}])
def test_what_may_change_does_not_change_what_is_learned(
    whole: Path, tmp_path: Path, change: dict[str, Any]
) -> None:
    """Parts of a batch normalize alone, so these are tried without batch norms."""
    runs = [tmp_path / "a", tmp_path / "b"]
    for run, settings in zip(runs, ({}, change)):
        made = toy.config(**settings)
        things = toy.components(made, {"l2": 1.0}, toy.model(encoder="compact"))
        train(toy.config(**settings, noise="fixed"), run, components=things)
    first, second = map(tensors, runs)
    exact = "accumulate" not in change
    for name, value in first.items():
        if exact:
            assert torch.equal(value, second[name]), name
        else:
            torch.testing.assert_close(value, second[name], rtol=1e-3, atol=1e-5)


def test_other_data_are_refused(whole: Path, tmp_path: Path) -> None:
    settings = toy.config(batch=8)
    with pytest.raises(ConfigError, match="its data is not what the run was started with"):
        train(settings, whole, components=toy.components(settings))
    other = toy.components(toy.config(), network=toy.model("mobilestylegan"))
    with pytest.raises(ConfigError, match="is not what the run was started with"):
        train(toy.config(), whole, components=other)


def test_another_optimizer_is_refused(whole: Path) -> None:
    settings = toy.config(optimizer="adamw", steps=20)
    with pytest.raises(ConfigError, match="another optimizer"):
        train(settings, whole, components=toy.components(settings))


def test_adamw_and_no_average_go_on_too(tmp_path: Path) -> None:
    settings = {"optimizer": "adamw", "ema": 0.0, "schedule": "cosine", "warm_up": 3, "clip": 0.5}
    toy.run(tmp_path / "a", **settings)
    made = toy.config(**settings)
    with pytest.raises(Died):
        train(made, tmp_path / "b", components=toy.components(made), on_step=die_at(8))
    toy.run(tmp_path / "b", **settings)
    assert_equal_runs(tmp_path / "a", tmp_path / "b")
    model = wplus.load(tmp_path / "a" / "model.safetensors")
    assert model.encoder is not None
    saved = tensors(tmp_path / "a")
    assert torch.equal(model.encoder.state_dict()["hidden.weight"], saved["network.hidden.weight"])
