"""The quick part of the fuzzer, with seeds of its own; the long one is `run_fuzz`."""

from __future__ import annotations

from pathlib import Path

import corpus
import mutate
import pytest
import run_fuzz


@pytest.mark.parametrize("kind", ["model", "codes", "directions", "json"])
def test_the_corpus_is_sound(kind: str, tmp_path: Path) -> None:
    """What the fuzzer starts from is read, but for the small LPIPS, which lacks tensors."""
    for name, data in corpus.build().items():
        if name.partition(":")[0] == kind and name != "model:flax":
            (tmp_path / "f").write_bytes(data)
            corpus.readers()[kind](tmp_path / "f")


def test_mutations_are_the_same_for_the_same_seed() -> None:
    data = bytes(range(256)) * 4
    made = [mutate.mutated(data, data[::-1], seed) for seed in range(50)]
    assert made == [mutate.mutated(data, data[::-1], seed) for seed in range(50)]
    assert len(set(made)) == 50


@pytest.mark.parametrize("kinds", ["model", "codes,directions,json,graph", "image"])
def test_mutated_files_are_read_or_refused(kinds: str) -> None:
    counts, failures = run_fuzz.fuzz(600, 10_000_000, kinds)
    assert failures == []
    assert sum(each["refused"] for each in counts.values()) > 100


@pytest.mark.slow
def test_many_mutated_files() -> None:
    counts, failures = run_fuzz.fuzz(4_000, 20_000_000)
    assert failures == []
    assert sum(sum(each.values()) for each in counts.values()) == 4_000
