"""Names and amounts to directions: files, closed forms, layers, ranges."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
import torch

import tiny
from wplus import editing
from wplus.editing import directions
from wplus.editing.directions import Direction
from wplus.editing.lookup import find_direction
from wplus.editing.options import EditOptions, SearchOptions
from wplus.errors import ConfigError


@pytest.fixture
def file(tmp_path: Path) -> Path:
    rng = torch.Generator().manual_seed(0)
    known = [Direction(name, torch.randn(8, 12, generator=rng)) for name in ("smile", "age")]
    directions.save(known, tmp_path / "d.safetensors")
    directions.save([Direction("w", torch.ones(5, 12))], tmp_path / "other.safetensors")
    return tmp_path / "d.safetensors"


def test_moves_are_directions_and_amounts(file: Path) -> None:
    model = tiny.model("mobilestylegan", None)
    known, _ = directions.load(file)
    found = editing.moves(model, {"age": -1.5, "sefa2": 1, f"{file}:smile": 2}, file=file)
    assert [(d.name, amount) for d, amount in found] == [("age", -1.5), ("sefa2", 1), ("smile", 2)]
    code = torch.randn(1, 8, 12)
    moved = editing.apply(code, [found[0], found[2]])
    torch.testing.assert_close(moved, code - 1.5 * known["age"].vector + 2 * known["smile"].vector)


def test_layers_limit_every_kind_of_direction(file: Path) -> None:
    model = tiny.model("mobilestylegan", None)
    for name in ("age", "sefa1", "pca1", f"{file}:smile"):
        assert find_direction(model, name, "2-3", file).layers == [2, 3]


def test_amounts_beyond_the_range_are_warned_of(
    file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    model = tiny.model("mobilestylegan", None)
    with caplog.at_level(logging.WARNING):
        editing.moves(model, {"age": 3}, file=file)
        assert not caplog.records
        editing.moves(model, {"age": 9}, file=file)
    assert [record.getMessage() for record in caplog.records] == ["age 9: only -3 to 3 was tried"]


def test_what_cannot_be_moved(file: Path) -> None:
    model = tiny.model("mobilestylegan", None)
    with pytest.raises(ConfigError, match="did you mean smile"):
        editing.moves(model, {"smiles": 1}, file=file)
    with pytest.raises(ConfigError, match="finite"):
        editing.moves(model, {"age": float("nan")}, file=file)
    with pytest.raises(ConfigError, match="another generator"):
        editing.moves(model, {str(file.with_name("other.safetensors")): 1})
    with pytest.raises(ConfigError, match="name one"):
        editing.moves(model, {str(file): 1})


def test_options_say_what_to_edit() -> None:
    options = EditOptions(smile=2, age=0, direction=("a.safetensors:b",), pca=(3,), amount=(1, -1))
    assert options.amounts == {"smile": 2, "age": 0, "a.safetensors:b": 1, "pca3": -1}
    for wrong in ({}, {"sefa": (1,)}, {"sefa": (1, 1), "amount": (1, 2)}):
        with pytest.raises(ConfigError):
            EditOptions(**wrong)  # type: ignore[arg-type]
    table = SearchOptions((Path("d"),), Path("t.csv"), contrast=("glasses=None/Reading",))
    assert table.contrasts == {"glasses": ("None", "Reading")}
