from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

import tiny
from wplus.editing import directions
from wplus.editing.directions import Direction
from wplus.errors import ConfigError, FormatError


def some(name: str = "smile", styles: int = 5, seed: int = 0) -> Direction:
    rng = torch.Generator().manual_seed(seed)
    return Direction(name, torch.randn(styles, 4, generator=rng), "σ", -2.0, 4.0, "by hand")


def test_apply_adds_amounts_and_leaves_its_argument() -> None:
    codes = torch.randn(3, 5, 4)
    kept = codes.clone()
    a, b = some(), some("age", seed=1)
    moved = directions.apply(codes, [(a, 2.0), (b, -0.5)])
    torch.testing.assert_close(moved, kept + 2 * a.vector - 0.5 * b.vector)
    assert torch.equal(codes, kept)
    assert directions.apply(codes, []) is codes


def test_only_keeps_some_styles() -> None:
    cut = some().only([1, 4])
    assert cut.layers == [1, 4]
    assert torch.equal(cut.vector[[1, 4]], some().vector[[1, 4]])
    with pytest.raises(ConfigError, match="layer 5"):
        some().only([5])


def test_a_file_keeps_everything(tmp_path: Path) -> None:
    path = tmp_path / "d.directions.safetensors"
    first = replace(some().only([0, 3]), figures={"readable": 0.5, "others": {"age": -0.1}})
    directions.save([first, some("zz"), some("age")], path, {"model": "m", "n": 3})
    found, about = directions.load(path)
    assert list(found) == ["smile", "zz", "age"]
    assert about == {"model": "m", "n": 3}
    back = found["smile"]
    assert (back.unit, back.low, back.high, back.found) == ("σ", -2.0, 4.0, "by hand")
    assert back.figures == first.figures
    assert back.layers == [0, 3]
    torch.testing.assert_close(back.vector, first.vector, atol=2e-3, rtol=1e-3)


def test_only_styles_that_move_are_stored(tmp_path: Path) -> None:
    vector = torch.zeros(100, 512)
    vector[7] = 1.0
    directions.save([Direction("a", vector)], tmp_path / "a.safetensors")
    assert (tmp_path / "a.safetensors").stat().st_size < 2048


@pytest.mark.parametrize(
    "bad",
    [
        {"vector": torch.ones(4)},
        {"vector": torch.full((5, 4), torch.nan)},
        {"vector": torch.ones(5, 4, dtype=torch.int64)},
        {"low": 1.0, "high": 1.0},
        {"high": float("inf")},
    ],
)
def test_directions_that_make_no_sense(bad: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match="smile"):
        replace(some(), **bad)  # type: ignore[arg-type]


def test_misfits_and_amounts_that_are_no_numbers() -> None:
    with pytest.raises(ConfigError, match="another generator"):
        directions.apply(torch.zeros(1, 6, 4), [(some(), 1.0)])
    with pytest.raises(ConfigError, match="no number"):
        directions.apply(torch.zeros(1, 5, 4), [(some(), float("nan"))])


@pytest.mark.parametrize(
    "unfit",
    [
        [],
        [some(), some()],
        [some(), some("age", styles=6)],
        [Direction("nothing", torch.zeros(5, 4))],
        [Direction("long", torch.full((5, 4), 1e6))],
    ],
)
def test_what_cannot_be_written_is_not(unfit: list[Direction], tmp_path: Path) -> None:
    path = tmp_path / "d.safetensors"
    with pytest.raises(FormatError, match=r"d\.safetensors"):
        directions.save(unfit, path)
    assert not path.exists()


def test_files_that_hold_no_directions(tmp_path: Path) -> None:
    good = tmp_path / "good.safetensors"
    directions.save([some()], good)
    files = {
        "missing.safetensors": None,
        "text.safetensors": b"I am a text.",
        "pickle.safetensors": pickle.dumps({"smile": 1}),
        "cut.safetensors": good.read_bytes()[:-20],
    }
    for name, content in files.items():
        if content is not None:
            (tmp_path / name).write_bytes(content)
    save_file({"codes": torch.zeros(5, 4)}, tmp_path / "codes.safetensors")
    for k, text in enumerate(
        (
            '{"smile": {}}',
            '{"gone": {"layers": [0], "styles": 5, "unit": "", "range": [0, 1], "found": ""}}',
            '{"smile": {"layers": [9], "styles": 5, "unit": "", "range": [0, 1], "found": ""}}',
            '{"smile": {"layers": [0], "styles": 5, "unit": "", "range": [2, 1], "found": ""}}',
            '{"smile": {"layers": [0], "styles": 1e9, "unit": "", "range": [0, 1], "found": ""}}',
            "[]",
            "nonsense",
        )
    ):
        path = tmp_path / f"about{k}.safetensors"
        save_file({"smile": torch.ones(1, 4)}, path, metadata={"directions": text})
    paths = [tmp_path / name for name in files]
    paths += [tmp_path, tmp_path / "codes.safetensors", *sorted(tmp_path.glob("about*"))]
    assert len(paths) == 13
    for path in paths:
        with pytest.raises(FormatError) as error:
            directions.load(path)
        assert str(path) in str(error.value)
        assert "\n" not in str(error.value)


def test_an_unknown_name_names_the_nearest(tmp_path: Path) -> None:
    directions.save([some(), some("age")], tmp_path / "d.safetensors")
    known, _ = directions.load(tmp_path / "d.safetensors")
    assert known.find("age").name == "age"
    with pytest.raises(ConfigError, match="did you mean smile"):
        known.find("smiles")


def test_shipped_directions_are_refused_for_another_generator() -> None:
    with pytest.raises(ConfigError, match="another"):
        directions.shipped(tiny.model().generator)


def test_what_is_shipped() -> None:
    found = directions.shipped()
    assert {"smile", "age", "yaw", "pitch", "glasses", "gender"} <= set(found)
    for name, direction in found.items():
        assert direction.vector.shape == (23, 512), name
        assert direction.unit and direction.found
        # Each was measured to move its own attribute more than any other.
        others = direction.figures["others"]  # type: ignore[index]
        assert max(map(abs, others.values())) < 0.7, name
