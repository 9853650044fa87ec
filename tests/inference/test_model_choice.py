"""Which model does which task, and what is said when none does."""

from __future__ import annotations

import pytest

import tiny
from wplus import models
from wplus.errors import ConfigError, WeightsError
from wplus.inference import model_choice
from wplus.tasks import TASKS


def test_own_models_come_first(monkeypatch: pytest.MonkeyPatch) -> None:
    named = dict(models.NAMED)
    monkeypatch.setattr(models, "NAMED", named)
    named.pop("faces", None)
    task = TASKS["super_resolution"]
    named.pop("faces-super", None)
    assert model_choice.name_for(task) == models.DEFAULT
    named["faces"] = lambda: tiny.model()
    assert model_choice.name_for(task) == "faces"
    named["faces-super"] = lambda: tiny.model()
    assert model_choice.name_for(task) == "faces-super"


@pytest.mark.parametrize("task", ["sketch", "labels", "frontalization", "toonify", "domain"])
def test_a_task_without_a_model_says_how_to_train_one(
    task: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    named = {"mobilestylegan-ffhq": models.NAMED["mobilestylegan-ffhq"]}
    monkeypatch.setattr(models, "NAMED", named)
    with pytest.raises(WeightsError, match=f"wplus train --task {task}") as caught:
        model_choice.name_for(TASKS[task])
    assert "\n" not in str(caught.value)


def test_a_model_of_another_task_is_refused() -> None:
    sketch = tiny.model(task="sketch", source="sketch")
    model_choice.check(sketch, "drawn", TASKS["sketch"])
    for task in ("labels", "inpainting", "inversion"):
        with pytest.raises(ConfigError, match=f"drawn: was trained for sketch, not for {task}"):
            model_choice.check(sketch, "drawn", TASKS[task])


def test_inversion_and_bare_generators_do_where_refinement_does() -> None:
    bare, inversion = tiny.model(encoder=None), tiny.model()
    for task in ("inversion", "super_resolution", "inpainting"):
        model_choice.check(bare, "bare", TASKS[task])
        model_choice.check(inversion, "faces", TASKS[task])
        assert not model_choice.reads_source(bare, TASKS[task])
    assert model_choice.reads_source(inversion, TASKS["inversion"])
    assert not model_choice.reads_source(inversion, TASKS["inpainting"])
    with pytest.raises(ConfigError, match="bare: has no encoder, which sketch needs"):
        model_choice.check(bare, "bare", TASKS["sketch"])


def test_an_encoder_of_photographs_does_every_task_of_photographs() -> None:
    inversion, cats = tiny.model(), tiny.model(task="domain", source="photo")
    for task in ("inversion", "domain", "toonify", "frontalization"):
        model_choice.check(inversion, "faces", TASKS[task])
        model_choice.check(cats, "cats", TASKS[task])
