"""Synthetic examples: what is drawn, and codes and pictures against a slow reading."""

from __future__ import annotations

import numpy as np
import pytest
import tiny_data as tiny
import torch

from wplus.data import Batch, Synthesizer, Synthetic, collate
from wplus.errors import ConfigError


def rng(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


def same(first: object, second: object) -> bool:
    assert isinstance(first, dict) and isinstance(second, dict) and first.keys() == second.keys()
    return all(torch.equal(torch.as_tensor(first[k]), torch.as_tensor(second[k]))
               for k in ("z", "psi", "cut"))  # fmt: skip


def test_what_is_drawn() -> None:
    data = Synthetic(11, 8, truncation=(0.4, 0.9), mixing=0.6)
    assert data.endless and len(data) == 0
    drawn = [data.item(0, rng(seed)) for seed in range(1500)]
    z = torch.stack([item["z"] for item in drawn])
    assert z.shape == (1500, 2, 8) and z.dtype == torch.float32
    assert abs(float(z.mean())) < 0.03 and float(z.std()) == pytest.approx(1, abs=0.03)
    psi = np.array([item["psi"] for item in drawn])
    assert 0.4 <= psi.min() < 0.41 and 0.89 < psi.max() <= 0.9
    cuts = np.array([item["cut"] for item in drawn])
    assert np.mean(cuts < 11) == pytest.approx(0.6, abs=0.04)
    counts = np.bincount(cuts, minlength=12)[:11]
    assert counts[0] == 0 and counts[1:].min() > 50 and counts[1:].max() < 140
    assert abs(np.corrcoef(psi, cuts)[0, 1]) < 0.1


@pytest.mark.parametrize("mixing", [0.0, 1.0])
def test_mixing_never_and_always(mixing: float) -> None:
    data = Synthetic(11, 8, mixing=mixing)
    cuts = {data.item(0, rng(seed))["cut"] for seed in range(300)}
    assert cuts == ({11} if mixing == 0 else set(range(1, 11)))


def test_endless_items_follow_the_generator_and_fixed_ones_their_seed() -> None:
    endless = Synthetic(11, 8)
    assert same(endless.item(1, rng(5)), endless.item(2, rng(5)))
    assert not same(endless.item(1, rng(5)), endless.item(1, rng(6)))
    with pytest.raises(ConfigError, match="give it a count"):
        endless.item(0, None)
    fixed = Synthetic(11, 8, count=4, seed=3)
    assert len(fixed) == 4 and not fixed.endless
    assert same(fixed.item(2, None), fixed.item(2, rng(9)))
    assert not same(fixed.item(2, None), fixed.item(1, None))
    assert not same(fixed.item(2, None), Synthetic(11, 8, count=4, seed=4).item(2, None))
    assert same(fixed.item(2, None), Synthetic(11, 8, count=9, seed=3).item(2, None))
    assert fixed.fingerprint() != Synthetic(11, 8, count=4, seed=4).fingerprint()


def recipes(count: int, seed: int = 0) -> Batch:
    data = Synthetic(11, 8, mixing=0.7, count=count, seed=seed)
    return collate([data.item(index, None) for index in range(count)])


def test_codes_by_a_slow_reading() -> None:
    generator = tiny.generator()
    batch = recipes(12)
    codes = Synthesizer(generator, "cpu").codes(batch["z"], batch["psi"], batch["cut"])
    assert codes.shape == (12, 11, 8) and codes.dtype == torch.float32
    assert set(batch["cut"].tolist()) & set(range(1, 11)) and 11 in batch["cut"].tolist()
    for row in range(12):
        psi, cut = float(batch["psi"][row]), int(batch["cut"][row])
        for layer in range(11):
            z = batch["z"][row, 0 if layer < cut else 1]
            w = generator.map(z[None], truncation=psi)[0]
            assert torch.allclose(codes[row, layer], w, atol=1e-6)


@pytest.mark.parametrize("size", [64, 16])
def test_pictures_are_the_generators_at_the_size_of_training(size: int) -> None:
    generator = tiny.generator()
    batch = recipes(5)
    synthesizer = Synthesizer(generator, "cpu", size, at_once=2)
    done = synthesizer(batch)
    expected = generator.synthesize(done["codes"])
    step = 64 // size
    expected = expected.unfold(2, step, step).unfold(3, step, step).mean((-1, -2)).clamp(-1, 1)
    assert done["source"].shape == (5, 3, size, size)
    assert torch.allclose(done["source"], expected, atol=1e-5)
    assert torch.equal(done["source"], done["target"])
    assert done["has_code"].all()
    assert done["name"] == batch["name"]
    again = Synthesizer(generator, "cpu", size, at_once=2)(recipes(5))
    assert torch.equal(done["source"], again["source"]), "noise is fixed"


def test_pictures_stay_within_their_range(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = tiny.generator()
    loud = torch.linspace(-3, 3, 64).expand(1, 3, 64, 64)
    monkeypatch.setattr(generator, "synthesize", lambda codes: loud.expand(len(codes), -1, -1, -1))
    done = Synthesizer(generator, "cpu", 64)(recipes(2))
    assert torch.equal(done["source"][1], loud[0].clamp(-1, 1))


def test_rows_with_pictures_keep_them() -> None:
    ours = {
        "name": "photo",
        "source": torch.full((3, 32, 32), 0.5),
        "target": torch.zeros(3, 32, 32),
    }
    theirs = ours | {"name": "cached", "codes": torch.full((11, 8), 2.0)}
    data = Synthetic(11, 8, count=2)
    batch = collate([data.item(0, None), ours, data.item(1, None), theirs])
    before = {key: value.clone() for key, value in batch.items() if isinstance(value, torch.Tensor)}
    synthesizer = Synthesizer(tiny.generator(), "cpu", 32)
    done = synthesizer(batch)
    alone = synthesizer(collate([data.item(0, None), data.item(1, None)]))
    assert torch.equal(done["source"][1], ours["source"])
    assert torch.equal(done["target"][1], ours["target"])
    assert torch.allclose(done["source"][[0, 2]], alone["source"], atol=1e-6)
    assert torch.allclose(done["target"][[0, 2]], alone["target"], atol=1e-6)
    assert torch.allclose(done["codes"][[0, 2]], alone["codes"], atol=1e-6)
    assert done["has_code"].tolist() == [True, False, True, True]
    assert done["codes"][1].abs().max() == 0 and (done["codes"][3] == 2).all()
    for key, value in before.items():
        assert torch.equal(batch[key], value), f"{key} of the given batch was changed"
    plain = collate([ours])
    assert set(synthesizer(plain)) == set(plain)


def test_gradients_do_not_go_into_the_generator() -> None:
    generator = tiny.generator().requires_grad_(True)
    assert not Synthesizer(generator, "cpu", 32)(recipes(2))["source"].requires_grad


def test_codes_are_exact_under_autocast() -> None:
    synthesizer, batch = Synthesizer(tiny.generator(), "cpu", 32), recipes(3)
    with torch.autocast("cpu", torch.bfloat16):
        found = synthesizer.codes(batch["z"], batch["psi"], batch["cut"])
    assert torch.equal(found, synthesizer.codes(batch["z"], batch["psi"], batch["cut"]))


def test_samples_drawn_for_another_generator() -> None:
    for data in (Synthetic(12, 8, mixing=0, count=1), Synthetic(11, 9, count=1)):
        with pytest.raises(ConfigError, match="drawn for another generator: this one has 11 of 8"):
            Synthesizer(tiny.generator(), "cpu", 32)(collate([data.item(0, None)]))


def test_pictures_that_cannot_stand_beside_each_other() -> None:
    sketch = {"name": "s", "source": torch.zeros(1, 32, 32), "target": torch.zeros(3, 32, 32)}
    batch = collate([Synthetic(11, 8, count=1).item(0, None), sketch])
    with pytest.raises(ConfigError, match=r"synthetic source of \(3, 32, 32\) cannot stand"):
        Synthesizer(tiny.generator(), "cpu", 32)(batch)


@pytest.mark.parametrize(
    "wrong",
    [
        {"truncation": (0.9, 0.5)},
        {"truncation": (-1.0, 0.5)},
        {"mixing": 1.5},
        {"count": 0},
        {"seed": -1},
        {"num_styles": 0},
    ],
)
def test_impossible_draws(wrong: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match="cannot draw"):
        Synthetic(**({"num_styles": 11} | wrong))
