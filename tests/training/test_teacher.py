"""Codes of another model as targets."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import tiny
from wplus import images, models
from wplus.errors import ConfigError
from wplus.psp import PSP
from wplus.training import setup
from wplus.training.config import TrainConfig
from wplus.training.datasets import Teacher, check_teacher


def teacher() -> PSP:
    return tiny.model("mobilestylegan", "compact").eval()


def batch(known: list[bool]) -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    targets = torch.rand(len(known), 3, 128, 128) * 2 - 1
    made = {"source": targets[:, :1], "target": targets, "has_code": torch.tensor(known)}
    if any(known):
        made["codes"] = torch.randn(len(known), *teacher().mean_codes.shape)
    return made


@pytest.mark.parametrize("known", [[False, False], [True, False, True], [True]])
def test_codes_are_the_true_ones_or_else_those_of_the_teacher(known: list[bool]) -> None:
    model, given = teacher(), batch(known)
    taught = Teacher(lambda loaded: loaded, model)(given)
    assert taught["has_code"].all()
    assert taught["source"] is given["source"]
    assert model.encoder is not None
    for row, sure in enumerate(known):
        small = images.resize(given["target"][row : row + 1], model.encoder.input_size)
        expected = given["codes"][row] if sure else model.encode(small)[0]
        torch.testing.assert_close(taught["codes"][row], expected)
    assert not given["has_code"].all() or all(known)  # what was given is left alone


def test_who_cannot_teach_is_refused() -> None:
    student = tiny.model("mobilestylegan", "compact")
    check_teacher(teacher(), student, "good")
    alone = tiny.model("mobilestylegan", None)
    with pytest.raises(ConfigError, match="teacher a: has no encoder"):
        check_teacher(alone, student, "a")
    other = teacher()
    other.mean_codes = other.mean_codes[:-1]
    with pytest.raises(ConfigError, match="teacher b: its codes are"):
        check_teacher(other, student, "b")
    with pytest.raises(ConfigError, match="no effect without a weight of code"):
        TrainConfig.parse({"network": {"teacher": "faces"}})


def test_a_run_is_built_with_its_teacher(tmp_path: Path) -> None:
    path = tmp_path / "teacher.safetensors"
    models.save(teacher(), path)
    pictures = tmp_path / "pictures"
    for index in range(3):
        images.save(images.to_picture(torch.rand(1, 3, 64, 64)), pictures / f"{index}.png")
    made = TrainConfig.parse(
        {
            "task": "super_resolution",
            "data": {"data": [str(pictures)], "validation": str(pictures), "check": False},
            "network": {"teacher": str(path), "init": str(path)},
            "losses": {"l2": 0, "lpips": 0, "identity": 0, "regularization": 0, "code": 1},
            "optimizer": {"batch": 1},
        }
    )
    components = setup.build(made)
    assert components.teacher is not None
    assert (
        components.validation_objective is None
    )  # the teacher's codes are known of validation pictures too
    prints = components.fingerprints()
    assert components.teacher.encoder is not None
    next(components.teacher.encoder.parameters()).data.add_(1)
    assert components.fingerprints()["teacher"] != prints["teacher"]
