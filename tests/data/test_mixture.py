"""Places of a mixture: proportions, epochs, purity, and what stands in for a bad file."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from painting import paint

from wplus.data import Augmentation, Dataset, Example, Folder, Mixture, Reading, Synthetic
from wplus.data.mixture import bad_limit
from wplus.errors import ConfigError, ImageError


class Numbers(Dataset):
    """Items that tell their index and what they drew; some are bad."""

    def __init__(self, count: int, bad: tuple[int, ...] = (), kind: str = "n") -> None:
        self.count, self.bad, self.kind = count, bad, kind

    def __len__(self) -> int:
        return self.count

    def name(self, index: int) -> str:
        return f"{self.kind}{index}"

    def item(self, index: int, rng: np.random.Generator | None) -> Example:
        drawn = 0.0 if rng is None else rng.random()
        if index in self.bad:
            raise ImageError(f"{self.name(index)}: is bad")
        return {"name": self.name(index), "source": torch.tensor([drawn], dtype=torch.float64)}


def places(mixture: Mixture, steps: range) -> list[tuple[int, int]]:
    return [mixture.place(s, p) for s in steps for p in range(mixture.batch_size)]


@pytest.mark.parametrize(
    ("weights", "batch"), [((1.0, 1.0, 1.0), 6), ((1.0, 3.0), 4), ((0.5, 0.25, 0.25), 8)]
)
def test_every_batch_has_its_proportions_where_they_fit(
    weights: tuple[float, ...], batch: int
) -> None:
    mixture = Mixture([(Numbers(7), weight) for weight in weights], batch, 3)
    for step in range(40):
        parts = Counter(part for part, _ in places(mixture, range(step, step + 1)))
        assert [parts[k] for k in range(len(weights))] == [
            w / sum(weights) * batch for w in weights
        ]


def test_proportions_hold_at_any_point_where_they_do_not_fit() -> None:
    weights = (0.513, 0.3, 0.08, 0.107)
    mixture = Mixture([(Numbers(5), weight) for weight in weights], 7, 0)
    counts = np.zeros(4)
    for step in range(300):
        for part, _ in places(mixture, range(step, step + 1)):
            counts[part] += 1
        # Each part rounds once; what is left to the later parts carries the error on.
        assert np.abs(counts - np.array(weights) * 7 * (step + 1)).max() < 3


def test_parts_do_not_keep_to_positions() -> None:
    mixture = Mixture([(Numbers(5), 1.0), (Numbers(5), 1.0)], 2, 0)
    first = [mixture.place(step, 0)[0] for step in range(200)]
    assert 70 < sum(first) < 130
    assert len(set(map(tuple, zip(first[::3], first[1::3], first[2::3])))) == 8


def test_every_item_comes_once_an_epoch_in_ever_new_order() -> None:
    sizes, weights = (12, 5), (2.0, 1.0)
    mixture = Mixture([(Numbers(n), w) for n, w in zip(sizes, weights)], 6, 11)
    seen: list[list[int]] = [[], []]
    for part, item in places(mixture, range(30)):  # 4 and 2 a step: 3 steps and 2.5 make an epoch
        seen[part].append(item)
    for part, (size, visits) in enumerate(zip(sizes, seen)):
        assert len(visits) == (120, 60)[part]
        steps = {0: 12, 1: 10}[part]  # whole epochs end here, whatever the order in a step
        for start in range(0, len(visits), steps):
            counts = Counter(visits[start : start + steps])
            assert set(counts.values()) == {steps // size} and len(counts) == size
    epochs = [tuple(seen[0][start : start + 12]) for start in range(0, 120, 12)]
    assert len(set(epochs)) == 10
    assert all(list(epoch) != sorted(epoch) for epoch in epochs)


def test_the_permutation_is_drawn_evenly() -> None:
    mixture = Mixture([(Numbers(6), 1.0)], 6, 5)
    first = Counter(mixture._order(0, epoch)[0] for epoch in range(600))
    assert all(70 < first[item] < 135 for item in range(6))
    assert not (mixture._order(0, 1) == Mixture([(Numbers(6), 1.0)] * 2, 6, 5)._order(1, 1)).all()


def test_examples_are_a_pure_function() -> None:
    parts = [(Numbers(9), 1.0), (Numbers(4, kind="m"), 2.0)]
    mixture = Mixture(parts, 5, 42)
    asked = [(step, position) for step in range(30) for position in range(5)]
    random.Random(0).shuffle(asked)
    shuffled = {at: mixture.example(*at) for at in asked}
    for at in sorted(asked):
        fresh = Mixture(parts, 5, 42).example(*at)
        assert fresh["name"] == shuffled[at]["name"]
        assert fresh["source"] == shuffled[at]["source"]


def test_random_numbers_belong_to_seed_step_and_position() -> None:
    drawn = {
        (seed, step, position): Mixture([(Numbers(9), 1.0)], 4, seed).example(step, position)
        for seed in range(4)
        for step in range(8)
        for position in range(4)
    }
    values = [float(example["source"]) for example in drawn.values()]
    assert len(set(values)) == len(values) == 128
    assert np.mean(values) == pytest.approx(0.5, abs=0.1)
    names = {seed: [e["name"] for (s, _, _), e in drawn.items() if s == seed] for seed in range(4)}
    assert len({tuple(each) for each in names.values()}) == 4


def test_the_seeds_are_those_of_the_sequence() -> None:
    """Written down here so that a changed stream, which would end old runs, does not pass."""
    mixture = Mixture([(Numbers(9), 1.0)], 4, 7)
    seeds = np.random.SeedSequence(7, spawn_key=(0, 3, 2))
    assert float(mixture.example(3, 2)["source"]) == np.random.default_rng(seeds).random()


def test_only_the_orders_in_use_are_kept() -> None:
    mixture = Mixture([(Numbers(8), 1.0), (Numbers(4), 1.0)], 4, 0)
    places(mixture, range(100))
    assert len(mixture._orders) <= 4


def test_late_steps_are_as_quick() -> None:
    mixture = Mixture([(Numbers(1000), 0.3), (Numbers(7), 0.7)], 8, 0)
    late = places(mixture, range(10**12, 10**12 + 10))
    assert 20 < sum(part == 0 for part, _ in late) < 28


def test_an_endless_part_counts_its_visits() -> None:
    mixture = Mixture([(Synthetic(6, 4), 1.0), (Numbers(3), 1.0)], 4, 0)
    visits = [item for part, item in places(mixture, range(10)) if part == 0]
    assert sorted(visits) == list(range(20))
    steps = [mixture.example(step, 1) for step in range(40)]
    made = [e["z"] for e in steps if "z" in e]
    assert len({tuple(z.flatten().tolist()) for z in made}) == len(made) > 5


def test_a_bad_item_is_replaced_by_the_next_good_one() -> None:
    good, bad = Numbers(40), Numbers(40, bad=(7, 8, 39))
    clean, spoilt = Mixture([(good, 1.0)], 4, 1), Mixture([(bad, 1.0)], 4, 1)
    stands_in = {7: 9, 8: 9, 39: 0}
    tried = Counter[int]()
    for step in range(20):
        for position in range(4):
            before, after = clean.example(step, position), spoilt.example(step, position)
            number = int(before["name"][1:])
            assert after["name"] == f"n{stands_in.get(number, number)}"
            assert after["source"] == before["source"], "the same random numbers"
            lines = [f"n{i}: is bad" for i in {7: (7, 8), 8: (8,), 39: (39,)}.get(number, ())]
            assert after.get("replaced", []) == lines
            tried[number] += 1
    assert all(tried[number] == 2 for number in stands_in)


def test_too_many_in_a_row_are_an_error() -> None:
    assert [bad_limit(Numbers(n)) for n in (1, 10, 39, 40, 1000)] == [1, 1, 1, 2, 50]
    mixture = Mixture([(Numbers(60, bad=tuple(range(60))), 1.0)], 1, 0)
    with pytest.raises(ImageError, match=r"4 of 60 files in a row cannot be used, the last: n\d+"):
        mixture.example(0, 0)
    one = Mixture([(Numbers(1, bad=(0,)), 1.0)], 1, 0)
    with pytest.raises(ImageError, match="n0: is bad"):
        one.example(0, 0)


def test_files_flips_and_augmentation_follow(tmp_path: Path) -> None:
    for number in range(5):
        paint(tmp_path / f"{number}.png", number)
    reading = Reading(size=64, augmentation=Augmentation())

    def mixture() -> Mixture:
        return Mixture([(Folder(tmp_path, reading), 1.0)], 2, 9)

    seen = set()
    for step in range(20):
        one, two = mixture().example(step, 1), mixture().example(step, 1)
        assert one["name"] == two["name"] and torch.equal(one["source"], two["source"])
        seen.add((one["name"], tuple(one["source"][0, 0, ::9].tolist())))
    assert len(seen) > 15
    (tmp_path / "3.png").unlink()
    with pytest.raises(ConfigError, match=r"0\.0"):
        Mixture([(Folder(tmp_path, reading), 0.0)], 2, 9)


def test_fingerprints(tmp_path: Path) -> None:
    for number in range(3):
        paint(tmp_path / f"{number}.png", number)

    def of(weight: float = 1.0, batch: int = 4, seed: int = 0, styles: int = 6) -> str:
        parts: list[tuple[Dataset, float]] = [
            (Folder(tmp_path), 1.0),
            (Synthetic(styles, 4), weight),
        ]
        return Mixture(parts, batch, seed).fingerprint()

    prints = [of(), of(weight=2.0), of(batch=8), of(seed=1), of(styles=7)]
    assert len(set(prints)) == 5 and of() == prints[0]
    (tmp_path / "2.png").rename(tmp_path / "9.png")
    assert of() != prints[0]


@pytest.mark.parametrize(
    ("parts", "batch", "seed", "message"),
    [
        ([], 4, 0, "0 data sets"),
        ([(Numbers(3), 1.0)], 0, 0, "batches of 0"),
        ([(Numbers(3), 1.0)], 4, -1, "seed -1"),
        ([(Numbers(3), -1.0)], 4, 0, "weight"),
        ([(Numbers(3), float("nan"))], 4, 0, "weight"),
        ([(Numbers(3), 1.0), (Numbers(3), 1e-9)], 4, 0, "differ too much"),
        ([(Numbers(0), 1.0)], 4, 0, "without items"),
    ],
)
def test_impossible_mixtures(
    parts: list[tuple[Dataset, float]], batch: int, seed: int, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        Mixture(parts, batch, seed)


@pytest.mark.parametrize("place", [(-1, 0), (0, -1), (0, 4)])
def test_impossible_places(place: tuple[int, int]) -> None:
    with pytest.raises(ConfigError, match="no position"):
        Mixture([(Numbers(3), 1.0)], 4, 0).example(*place)
