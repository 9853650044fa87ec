"""The table of tasks against the table of the method, and what a row may not say."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import FrozenInstanceError, asdict, replace
from typing import Any

import pytest
import torch

from wplus import latents, tasks
from wplus.errors import ConfigError
from wplus.faces.labels import LABELS
from wplus.generators import StyleGAN2
from wplus.losses import LOSSES
from wplus.models import SHIPPED
from wplus.sources import SOURCES
from wplus.sources.kind import FACTORS

# l2, lpips, identity, regularization, crop_l2, crop_lpips, similarity, code: as in the paper.
METHOD = {
    "inversion": (1, 0.8, 0.1, 0, 0, 0, 0, 0),
    "frontalization": (0.001, 0.08, 1, 0.005, 0.01, 0.8, 0, 0),
    "sketch": (1, 0.8, 0, 0.005, 0, 0, 0, 0),
    "labels": (1, 0.8, 0, 0.005, 0, 0, 0, 0),
    "super_resolution": (1, 0.8, 0.1, 0.005, 0, 0, 0, 0),
    "toonify": (1, 0.8, 1, 0.025, 0, 0, 0, 0),
    "inpainting": (1, 0.8, 0.1, 0.005, 0, 0, 0, 0),
    "domain": (1, 0.8, 0, 0, 0, 0, 0.5, 0),
}
INPUTS = {
    "inversion": ("photo", 3),
    "frontalization": ("photo", 3),
    "sketch": ("sketch", 1),
    "labels": ("labels", 19),
    "super_resolution": ("low_resolution", 3),
    "toonify": ("photo", 3),
    "inpainting": ("masked", 3),
    "domain": ("photo", 3),
}
with torch.device("meta"):
    STYLEGAN2_1024 = StyleGAN2(1024).style_resolutions


def test_weights_are_the_papers() -> None:
    terms = (
        "l2", "lpips", "identity", "regularization", "crop_l2", "crop_lpips", "similarity", "code",
    )  # fmt: skip
    assert {name: tuple(task.weights[term] for term in terms) for name, task in tasks.TASKS.items()
            } == METHOD  # fmt: skip
    assert all(tuple(task.weights) == terms == tuple(LOSSES) for task in tasks.TASKS.values())


def test_inputs() -> None:
    assert {n: (t.source, t.input_channels) for n, t in tasks.TASKS.items()} == INPUTS
    assert {task.source for task in tasks.TASKS.values()} == set(SOURCES)
    assert tasks.TASKS["labels"].input_channels == len(LABELS)
    assert tasks.TASKS["super_resolution"].factors == FACTORS


def test_only_frontalization_flips_both_sides_for_themselves() -> None:
    flips = {name: task.flip for name, task in tasks.TASKS.items()}
    assert flips.pop("frontalization") == "independent"
    assert set(flips.values()) == {"both"}


def test_redrawn_styles_are_those_of_the_paper() -> None:
    redrawn = {
        name: (latents.layers_of(task.redraw, STYLEGAN2_1024), task.alpha)
        for name, task in tasks.TASKS.items()
        if task.redraw is not None
    }
    fine, medium = list(range(8, 18)), list(range(4, 8))
    assert redrawn == {
        "sketch": (fine, 1.0),
        "labels": (fine, 1.0),
        "super_resolution": (medium, 0.5),
    }


def test_names_are_keys_and_rows_cannot_be_changed() -> None:
    assert all(name == task.name for name, task in tasks.TASKS.items())
    task = tasks.TASKS.find("inversion")
    assert task is tasks.TASKS["inversion"]
    with pytest.raises(FrozenInstanceError):
        task.flip = "none"
    with pytest.raises(TypeError):
        tasks.TASKS["other"] = task
    assert asdict(task)["weights"] == dict(task.weights)
    with pytest.raises(ConfigError, match=r"no task 'invert'; .*there are: inversion, frontal"):
        tasks.TASKS.find("invert")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"source": "video"}, "source 'video'"),
        ({"flip": "yes"}, "flip 'yes'"),
        ({"weights": {"gan": 1.0}}, "no loss 'gan'"),
        ({"weights": {"l2": -1.0}}, "0 or more"),
        ({"weights": {"l2": float("nan")}}, "0 or more"),
        ({"weights": {"identity": 0.1, "similarity": 0.5}}, "exclude"),
        ({"alpha": 1.5}, "alpha"),
        ({"input_channels": -1}, "input_channels"),
        ({"factors": (2,)}, "factors"),
    ],
)
def test_a_wrong_row_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        replace(tasks.TASKS["inversion"], **changes)


def test_one_registered_row_is_a_task() -> None:
    row = tasks.TASKS.register(tasks.Task("toy", source="sketch", weights={"l2": 1.0}))
    try:
        assert tasks.TASKS.find("toy") is row
        assert (row.input_channels, row.flip, row.model) == (1, "both", None)
        with pytest.raises(ConfigError, match="already a task named 'toy'"):
            tasks.TASKS.register(row)
    finally:
        tasks.TASKS.unregister("toy")
    with pytest.raises(ConfigError, match="no task 'skech'; did you mean sketch"):
        tasks.TASKS.find("skech")


def test_every_shipped_model_has_a_task() -> None:
    named = {task.model for task in tasks.TASKS.values()} - {None}
    assert {name for name in SHIPPED if name.startswith("faces")} == named


def test_listing_tasks_needs_no_torch() -> None:
    program = "import sys, wplus.tasks; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
