"""Batches: the same whatever the processes, workers and the step of resuming; validation whole."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

import pytest
import torch
from painting import paint

from wplus.data import (
    Augmentation,
    Batch,
    Dataset,
    Folder,
    Mixture,
    Reading,
    Synthetic,
    collate,
    loader,
    validation,
)
from wplus.errors import ConfigError, ImageError

READING = Reading(size=64, augmentation=Augmentation())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number in range(7):
        paint(tmp_path / f"{number}.png", number)
    return tmp_path


def mixed(folder: Path, batch: int = 4) -> Mixture:
    parts: list[tuple[Dataset, float]] = [(Folder(folder, READING), 3.0), (Synthetic(6, 4), 1.0)]
    return Mixture(parts, batch, 5)


def equal(first: Batch, second: Batch) -> bool:
    return first.keys() == second.keys() and all(
        torch.equal(value, second[key]) if isinstance(value, torch.Tensor) else value == second[key]
        for key, value in first.items()
    )


def take(batches: Iterable[Batch], number: int) -> list[Batch]:
    return list(islice(batches, number))


def test_a_batch_holds_the_examples_of_its_step(folder: Path) -> None:
    mixture = mixed(folder)
    for step, batch in enumerate(take(loader(mixture), 5)):
        examples = [mixture.example(step, position) for position in range(4)]
        assert equal(batch, collate(examples))
        assert batch["name"] == [example["name"] for example in examples]


def test_two_processes_see_what_one_sees(folder: Path) -> None:
    whole = take(loader(mixed(folder)), 6)
    halves = [take(loader(mixed(folder), 0, rank, 2), 6) for rank in range(2)]
    for step, batch in enumerate(whole):
        parts = [half[step] for half in halves]
        assert parts[0]["name"] + parts[1]["name"] == batch["name"]
        assert torch.equal(torch.cat([part["synthetic"] for part in parts]), batch["synthetic"])
        for row, (part, at) in enumerate((part, at) for part in parts for at in range(2)):
            if not batch["synthetic"][row]:
                assert torch.equal(part["source"][at], batch["source"][row])
                assert torch.equal(part["target"][at], batch["target"][row])
            else:
                assert torch.equal(part["z"][at], batch["z"][row])
                assert part["psi"][at] == batch["psi"][row]
                assert part["cut"][at] == batch["cut"][row]


def test_resuming_and_workers_change_nothing(folder: Path) -> None:
    whole = take(loader(mixed(folder)), 9)
    for start, workers in ((3, 0), (0, 2), (4, 1)):
        batches = loader(mixed(folder), start, workers=workers)
        found = take(batches, 9 - start)
        del batches
        assert all(equal(a, b) for a, b in zip(found, whole[start:], strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_other_ways_to_start_workers(folder: Path, method: str) -> None:
    whole = take(loader(mixed(folder)), 4)
    found = take(loader(mixed(folder), workers=2, method=method), 4)
    assert all(equal(a, b) for a, b in zip(found, whole, strict=True))
    data = Folder(folder, READING)
    names = [batch["name"] for batch in validation(data, 3, workers=1, method=method)]
    assert names == [["0", "1", "2"], ["3", "4", "5"], ["6"]]


@pytest.mark.parametrize("workers", [0, 1])
def test_the_random_numbers_of_training_are_left_alone(folder: Path, workers: int) -> None:
    torch.manual_seed(0)
    before = torch.get_rng_state()
    take(loader(mixed(folder), workers=workers), 2)
    list(validation(Folder(folder, READING), 4, workers=workers))
    assert torch.equal(torch.get_rng_state(), before)


class Processes(Synthetic):
    """Tells in which process it was drawn."""

    def item(self, index: int, rng: object) -> dict[str, object]:
        return {"name": str(os.getpid()), "z": torch.zeros(2, 4), "psi": 1.0, "cut": 1}


def alive(number: int) -> bool:
    try:
        state = Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks at processes in /proc")
def test_workers_outlive_ctrl_c_and_end_with_the_loader() -> None:
    """A terminal's Ctrl-C and a scheduler's SIGTERM reach every process of the group."""
    batches: Iterator[Batch] = loader(Mixture([(Processes(6, 4), 1.0)], 1, 0), workers=2)
    numbers = {int(batch["name"][0]) for batch in islice(batches, 6)}
    assert len(numbers) == 2 and os.getpid() not in numbers
    for number in numbers:
        os.kill(number, signal.SIGINT)
        os.kill(number, signal.SIGTERM)
    again = {int(batch["name"][0]) for batch in islice(batches, 20)}
    assert again == numbers
    del batches
    limit = time.monotonic() + 10
    while any(map(alive, numbers)) and time.monotonic() < limit:
        time.sleep(0.05)
    assert not any(map(alive, numbers))


@pytest.mark.slow
@pytest.mark.parametrize("ending", ["pass", "1 / 0", "batches.close()"])
def test_python_ends_with_a_loader_still_open(folder: Path, ending: str) -> None:
    program = f"""
from wplus.data import Folder, Mixture, Reading, loader, validation
data = Folder({str(folder)!r}, Reading(size=64))
batches = loader(Mixture([(data, 1.0)], 2, 0), workers=1)
others = iter(validation(data, 2, workers=1))
print(len(next(batches)["name"]), len(next(others)["name"]))
{ending}
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stdout.split() == ["2", "2"]
    assert (done.returncode == 1) == ("ZeroDivision" in done.stderr) == (ending == "1 / 0")


def test_a_file_that_goes_bad_is_left_out_and_logged_once(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    batches = loader(mixed(folder))
    take(batches, 2)
    (folder / "3.png").write_bytes((folder / "3.png").read_bytes()[:100])
    with caplog.at_level(logging.WARNING):
        later = take(batches, 12)
    names = {name for batch in later for name in batch["name"]}
    assert "3" not in names and {"0", "1", "2", "4", "5", "6"} <= names
    assert all("replaced" not in batch for batch in later)
    assert len(caplog.records) == 1
    assert "left out: " in caplog.text and "3.png" in caplog.text
    clean = take(loader(mixed(folder), 2), 12)
    assert all(equal(a, b) for a, b in zip(later, clean, strict=True)), "the same after resuming"


@pytest.mark.parametrize("workers", [0, 1])
def test_too_many_bad_files_end_training(folder: Path, workers: int) -> None:
    batches = loader(mixed(folder), workers=workers)
    take(batches, 1)
    (folder / "3.png").unlink()
    (folder / "5.png").unlink()
    with pytest.raises(ImageError, match=r"2 files went bad .*more than 1 is too many"):
        take(batches, 30)


@pytest.mark.parametrize("batch_size", [1, 3, 7, 9])
@pytest.mark.parametrize("world", [1, 2, 3, 8])
def test_validation_covers_every_picture_once_in_order(
    folder: Path, batch_size: int, world: int
) -> None:
    data = Folder(folder, READING)
    names, indices = [], []
    for rank in range(world):
        batches = list(validation(data, batch_size, rank, world))
        assert all(len(batch["name"]) <= batch_size for batch in batches)
        assert len(batches) == -(-sum(len(batch["name"]) for batch in batches) // batch_size)
        for batch in batches:
            names += batch["name"]
            indices += batch["index"].tolist()
            assert len(batch["source"]) == len(batch["name"])
            for row, index in enumerate(batch["index"].tolist()):
                assert torch.equal(batch["source"][row], data.item(index, None)["source"])
    assert names == list("0123456") and indices == list(range(7))


def test_validation_is_the_same_every_time(folder: Path) -> None:
    batches = validation(Folder(folder, READING), 3, workers=1)
    first, second = list(batches), list(batches)
    assert len(first) == 3
    assert all(equal(a, b) for a, b in zip(first, second, strict=True))
    plain = list(validation(Folder(folder, READING), 3))
    assert all(equal(a, b) for a, b in zip(first, plain, strict=True))
    fixed = Synthetic(6, 4, count=5, seed=1)
    assert [b["name"] for b in validation(fixed, 3)] == [
        ["synthetic 1-0", "synthetic 1-1", "synthetic 1-2"],
        ["synthetic 1-3", "synthetic 1-4"],
    ]
    assert all(equal(a, b) for a, b in zip(validation(fixed, 3), validation(fixed, 3), strict=True))


def test_validation_goes_on_without_a_bad_file(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    data = Folder(folder, READING)
    (folder / "6.png").unlink()
    with caplog.at_level(logging.WARNING):
        batches = list(validation(data, 3))
    assert [batch["index"].tolist() for batch in batches] == [[0, 1, 2], [3, 4, 5]]
    assert "6.png" in caplog.text
    (folder / "0.png").unlink()
    with pytest.raises(ImageError, match="2 files went bad"):
        list(validation(data, 3))


def test_rows_that_lack_something_hold_zeros() -> None:
    z = torch.ones(2, 4)
    batch = collate(
        [
            {"name": "a", "source": torch.ones(3, 2, 2), "target": torch.ones(3, 2, 2)},
            {"name": "b", "z": z, "psi": 0.7, "cut": 3},
            {"name": "c", "source": torch.ones(3, 2, 2), "target": torch.ones(3, 2, 2),
             "codes": torch.ones(6, 4)},
        ]
    )  # fmt: skip
    assert batch["name"] == ["a", "b", "c"]
    assert batch["source"].mean((1, 2, 3)).tolist() == [1, 0, 1]
    assert batch["codes"].mean((1, 2)).tolist() == [0, 0, 1]
    assert batch["has_code"].tolist() == [False, False, True]
    assert batch["synthetic"].tolist() == [False, True, False]
    assert batch["z"].mean((1, 2)).tolist() == [0, 1, 0]
    assert batch["psi"].tolist() == pytest.approx([0, 0.7, 0])
    assert batch["cut"].tolist() == [0, 3, 0] and batch["cut"].dtype == torch.int64
    only = collate([{"name": "b", "z": z, "psi": 0.7, "cut": 3}])
    assert "source" not in only and "codes" not in only


def test_shapes_that_do_not_fit() -> None:
    first = {"name": "a", "source": torch.ones(3, 2, 2)}
    with pytest.raises(ConfigError, match=r"source of \(1, 2, 2\) and \(3, 2, 2\)"):
        collate([first, {"name": "b", "source": torch.ones(1, 2, 2)}])
    with pytest.raises(ConfigError, match="at least one"):
        collate([])


@pytest.mark.parametrize(
    "arguments",
    [{"world_size": 3}, {"rank": 2, "world_size": 2}, {"rank": -1}, {"workers": -1},
     {"start_step": -1}],
)  # fmt: skip
def test_impossible_shares(folder: Path, arguments: dict[str, int]) -> None:
    with pytest.raises(ConfigError):
        loader(mixed(folder), **arguments)


def test_impossible_validation(folder: Path) -> None:
    with pytest.raises(ConfigError, match="known size"):
        validation(Synthetic(6, 4), 3)
    with pytest.raises(ConfigError, match="batch size"):
        validation(Folder(folder), 0)
    with pytest.raises(ConfigError, match="no process 2 of 2"):
        validation(Folder(folder), 1, 2, 2)
