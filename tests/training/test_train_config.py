"""Settings: defaults, checks, files, what may change in a run that is there already."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from dataclasses import FrozenInstanceError
from pathlib import Path
from typing import Any

import pytest

from wplus import tasks
from wplus.errors import ConfigError
from wplus.training import config
from wplus.training.config import (
    GROUPS,
    LossSettings,
    OptimizerSettings,
    RunSettings,
    TrainConfig,
    merge,
    resolve,
)
from wplus.training.settings import Option

DOCUMENT = Path(__file__).parents[2] / "docs" / "training.md"


def parse(**groups: Any) -> TrainConfig:
    return TrainConfig.parse(groups)


def test_the_papers_values_are_the_defaults() -> None:
    made = TrainConfig()
    assert (made.task, made.optimizer.optimizer) == ("inversion", "ranger")
    assert (made.optimizer.learning_rate, made.optimizer.batch) == (1e-4, 8)
    assert made.optimizer.steps == 300_000
    assert (made.optimizer.schedule, made.optimizer.warm_up) == ("constant", 0)
    assert (made.data.synthetic, made.data.augment) == (0.0, False)
    assert made.weights == tasks.TASKS["inversion"].weights


def test_a_weight_replaces_that_of_the_task() -> None:
    made = parse(losses={"lpips": 0.5, "identity": 0})
    assert made.weights == {**tasks.TASKS["inversion"].weights, "lpips": 0.5, "identity": 0.0}


def test_json_and_back() -> None:
    made = parse(
        task="toonify",
        data={"data": ["a", "b"], "shares": [1, 2], "synthetic": 0.25, "truncation": [0.7, 0.9]},
        network={"encoder": "pyramid", "encoder_options": {"stages": [[64, 3], [128, 4]]}},
        run={"time_limit": 30},
    )
    assert TrainConfig.parse(json.loads(made.to_json())) == made
    assert made.data.data == ("a", "b")
    assert made.run.time_limit == 30.0
    assert isinstance(made.run.time_limit, float)


def test_settings_do_not_change() -> None:
    with pytest.raises(FrozenInstanceError):
        TrainConfig().optimizer.steps = 3  # type: ignore[misc]


def row(option: Option) -> str:
    """A setting in the documentation: flag, default, meaning, and a star if it may change."""
    value, default = option.default, ""
    if isinstance(value, bool):
        default = "yes" if value else "no"
    elif isinstance(value, tuple):
        default = " ".join(map(str, value))
    elif isinstance(value, float):
        default = f"{value:g}"
    elif value is not None:
        default = str(value)
    star = " \\*" if option.changeable else ""
    cells = (f"`--{option.name.replace('_', '-')}`", default, option.about + star)
    return "|" + "|".join(f" {cell} " if cell else " " for cell in cells) + "|"


def test_every_setting_is_documented_as_it_is() -> None:
    lines = DOCUMENT.read_text(encoding="utf-8").splitlines()
    names = ["loss"]  # any loss by name
    for kind in GROUPS.values():
        for option in kind.options():
            assert row(option) in lines
            names.append(option.name)
    assert len(names) == len(set(names))  # flags do not name their group
    assert sum(line.startswith("| `--") for line in lines) == len(names)  # and none is left over


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ([], "must be a table"),
        ({"optimiser": {}}, "no group of settings 'optimiser'"),
        ({"optimizer": []}, "optimizer must be a table of settings"),
        ({"optimizer": {"lr": 1}}, "optimizer has no setting 'lr'; it has: steps, batch"),
        ({"optimizer": {"steps": 0}}, "steps must be at least 1, not 0"),
        ({"optimizer": {"steps": 1.5}}, "steps must be a whole number, not 1.5"),
        ({"optimizer": {"steps": True}}, "steps must be a whole number, not True"),
        ({"optimizer": {"steps": "9"}}, "steps must be a whole number, not '9'"),
        ({"optimizer": {"learning_rate": 0}}, "learning_rate must be above 0"),
        ({"optimizer": {"learning_rate": math.nan}}, "learning_rate must be above 0"),
        ({"optimizer": {"ema": 1.0}}, "ema must be at least 0 and at most"),
        ({"optimizer": {"optimizer": "sgd"}}, "optimizer must be one of ranger, adamw, muon"),
        ({"run": {"compile": 1}}, "compile must be true or false, not 1"),
        ({"run": {"time_limit": 0}}, "time_limit must be above 0"),
        ({"data": {"data": "photos"}}, "data must be a list, not 'photos'"),
        ({"data": {"data": [1]}}, "data must be a list"),
        ({"data": {"validation": 3}}, "validation must be a text, not 3"),
        ({"network": {"encoder_options": [1]}}, "encoder_options must be a table"),
        ({"task": "inversoin"}, "no task 'inversoin'"),
        ({"losses": {"similarity": 0.5}}, "exclude each other"),
        ({"losses": {"similarity": 0.5, "identity": 0}}, "name its file by --similarity-net FILE"),
        ({"data": {"sources": "a"}}, "sources need exactly one folder"),
        ({"data": {"validation_sources": "a"}}, "validation_sources need"),
        ({"data": {"validation": "a", "hold_out": 3}}, "exclude each other"),
        ({"data": {"data": ["a"], "shares": [1, 2]}}, "shares are 2, but data are 1"),
        ({"data": {"truncation": [1]}}, "truncation must be two numbers"),
        ({"data": {"truncation": [1, 0.5]}}, "truncation must be two numbers"),
        ({"data": {"data": ["a"], "synthetic": 1}}, "nothing of data would be trained on"),
        ({"task": "sketch", "data": {"synthetic": 0.5}}, "sketch has no synthetic examples"),
    ],
)
def test_what_is_wrong_is_refused_by_name(content: Any, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        TrainConfig.parse(content)


def test_later_contents_lie_over_earlier_ones() -> None:
    first = {"task": "sketch", "optimizer": {"steps": 5, "batch": 2}}
    second = {"optimizer": {"steps": 9}, "run": {"seed": 1}}
    assert merge(first, second) == {
        "task": "sketch",
        "optimizer": {"steps": 9, "batch": 2},
        "run": {"seed": 1},
    }
    assert first["optimizer"] == {"steps": 5, "batch": 2}


def test_weights_of_one_task_are_not_those_of_another(tmp_path: Path) -> None:
    saved = json.loads(resolve(tmp_path, {"task": "inversion"}).to_json())
    assert saved["losses"]["identity"] == 0.1  # filled in
    assert resolve(tmp_path, saved, {"task": "sketch"}).weights == tasks.TASKS["sketch"].weights
    kept = resolve(tmp_path, saved, {"task": "sketch", "losses": {"identity": 0.3}})
    assert kept.weights["identity"] == 0.3


def started(folder: Path, **groups: Any) -> None:
    """A run with a state."""
    config.write(resolve(folder, groups), folder)
    (folder / "states").mkdir()
    (folder / "states" / "00000001.safetensors").touch()


def test_a_run_brings_its_own_settings(tmp_path: Path) -> None:
    started(tmp_path, optimizer={"batch": 3}, losses={"lpips": 0.5})
    assert resolve(tmp_path).optimizer.batch == 3
    assert resolve(tmp_path).weights["lpips"] == 0.5
    longer = resolve(tmp_path, {"optimizer": {"steps": 7, "accumulate": 3}})
    assert (longer.optimizer.steps, longer.optimizer.batch) == (7, 3)


@pytest.mark.parametrize(
    ("group", "name", "value", "was"),
    [
        ("optimizer", "learning_rate", 2e-4, "0.0001"),
        ("optimizer", "batch", 4, "8"),
        ("optimizer", "ema", 0.9, "0.999"),
        ("network", "encoder", "pyramid", '"compact"'),
        ("network", "encoder_options", {"width": 8}, "{}"),
        ("losses", "lpips", 0.7, "0.8"),
        ("run", "seed", 1, "0"),
        ("data", "augment", True, "false"),
    ],
)
def test_a_setting_that_makes_another_run_is_refused_by_name(
    tmp_path: Path, group: str, name: str, value: Any, was: str
) -> None:
    started(tmp_path)
    with pytest.raises(ConfigError, match=f"this run has {name} {was}, not "):
        resolve(tmp_path, {group: {name: value}})
    (tmp_path / "states" / "00000001.safetensors").unlink()
    resolve(tmp_path, {group: {name: value}})  # nothing is there to go on with


def test_the_task_cannot_change(tmp_path: Path) -> None:
    started(tmp_path)
    with pytest.raises(ConfigError, match='this run has task "inversion", not "sketch"'):
        resolve(tmp_path, {"task": "sketch"})


def test_steps_may_change_but_not_under_a_cosine(tmp_path: Path) -> None:
    started(tmp_path, optimizer={"schedule": "cosine", "steps": 100})
    with pytest.raises(ConfigError, match="this run has steps 100, not 200"):
        resolve(tmp_path, {"optimizer": {"steps": 200}})


def test_what_belongs_to_the_machine_may_change() -> None:
    changeable = {
        option.name for kind in GROUPS.values() for option in kind.options() if option.changeable
    }
    assert changeable >= {
        "steps", "accumulate", "log_every", "validate_every", "save_every", "keep", "workers",
        "device", "devices", "nodes", "precision", "compile", "time_limit", "data", "validation",
    }  # fmt: skip
    assert not changeable & {"learning_rate", "batch", "optimizer", "seed", "ema", "encoder"}


@pytest.mark.parametrize("text", ["", "{", "[1]", "7"])
def test_a_damaged_file_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "config.json"
    path.write_text(text)
    with pytest.raises(ConfigError, match=r"config\.json"):
        resolve(tmp_path)
    with pytest.raises(ConfigError, match=r"missing\.json: cannot be read"):
        config.read(tmp_path / "missing.json")


def test_settings_need_no_torch() -> None:
    code = "import sys, wplus.training.config; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_groups_are_checked_when_built() -> None:
    with pytest.raises(ConfigError, match="keep must be at least 1"):
        RunSettings(keep=0)
    with pytest.raises(ConfigError, match="the weight of l2 must be 0 or more"):
        LossSettings(weights={"l2": -1.0})
    assert OptimizerSettings(clip=1).clip == 1.0
