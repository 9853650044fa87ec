"""Rendered shards: the same as rendering anew, resumable, read row by row, refused when wrong."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_data as tiny
import torch

from wplus.data import (
    Augmentation,
    CachedSynthetic,
    Mixture,
    Synthesizer,
    Synthetic,
    check,
    collate,
    loader,
    render_cache,
    validation,
)
from wplus.errors import ConfigError, ImageError

STYLES, WIDTH = 23, 512


def arrays(count: int, seed: int = 0, side: int = 16) -> dict[str, Any]:
    """A shard as other programs write it."""
    rng = np.random.default_rng(seed)
    return {
        "images": rng.integers(0, 256, (count, side, side, 3), dtype=np.uint8),
        "w1": rng.standard_normal((count, WIDTH), dtype=np.float32),
        "w2": rng.standard_normal((count, WIDTH), dtype=np.float32),
        "cut": np.where(rng.random(count) < 0.5, STYLES, rng.integers(1, STYLES, count)),
    }


def test_reads_what_others_wrote(tmp_path: Path) -> None:
    shards = [arrays(count, seed) for seed, count in enumerate((7, 7, 3))]
    for number, shard in enumerate(shards):
        np.savez(tmp_path / f"{number:04d}.npz", **shard)
    data = CachedSynthetic(tmp_path, STYLES)
    assert len(data) == 17 and data.size == 16 and data.num_styles == STYLES
    assert CachedSynthetic(tmp_path).num_styles == STYLES, "by the cuts"
    index = 0
    for number, shard in enumerate(shards):
        for row in range(len(shard["cut"])):
            item = data.item(index, None)
            assert item["name"] == data.name(index) == f"{number:04d}/{row}"
            picture = torch.from_numpy(shard["images"][row]).permute(2, 0, 1) / 127.5 - 1
            assert torch.allclose(item["target"], picture, atol=1e-6)
            assert torch.equal(item["source"], item["target"])
            for layer in range(STYLES):
                w = shard["w1" if layer < shard["cut"][row] else "w2"][row]
                assert torch.equal(item["codes"][layer], torch.from_numpy(w))
            index += 1


def test_rendering_ahead_is_rendering(tmp_path: Path) -> None:
    generator = tiny.generator()
    reports: list[tuple[int, int]] = []
    render_cache(
        generator, tmp_path, 11, 7, size=16, truncation=(0.3, 0.8), mixing=0.7, per_shard=4,
        at_once=3, progress=lambda *now: reports.append(now),
    )  # fmt: skip
    assert reports == [(4, 11), (8, 11), (11, 11)]
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "00000.npz", "00001.npz", "00002.npz", "cache.json",
    ]  # fmt: skip
    data = CachedSynthetic(tmp_path)
    assert len(data) == 11 and data.num_styles == generator.num_styles == 11
    recipes = Synthetic(11, 8, truncation=(0.3, 0.8), mixing=0.7, count=11, seed=7)
    batch = Synthesizer(generator, "cpu", 16)(collate([recipes.item(i, None) for i in range(11)]))
    assert len({int(cut) for cut in batch["cut"]}) > 4
    for index in range(11):
        item = data.item(index, None)
        assert torch.allclose(item["codes"], batch["codes"][index], atol=1e-6)
        assert (item["target"] - batch["target"][index]).abs().max() <= 0.51 / 127.5


def test_shards_do_not_depend_on_how_they_are_cut(tmp_path: Path) -> None:
    for name, per_shard, at_once in (("a", 3, 8), ("b", 8, 2)):
        render_cache(
            tiny.generator(), tmp_path / name, 8, 1, size=16, per_shard=per_shard, at_once=at_once
        )
    first, second = CachedSynthetic(tmp_path / "a"), CachedSynthetic(tmp_path / "b")
    for index in range(8):
        one, two = first.item(index, None), second.item(index, None)
        assert torch.allclose(one["codes"], two["codes"], atol=1e-6)
        assert (one["target"] - two["target"]).abs().max() <= 1.01 / 127.5


def test_rendering_goes_on_where_it_stopped(tmp_path: Path) -> None:
    def stop(done: int, total: int) -> None:
        if done == 6:
            raise KeyboardInterrupt

    settings: dict[str, Any] = {"seed": 1, "size": 16, "per_shard": 3}
    render_cache(tiny.generator(), tmp_path / "whole", 10, **settings)
    with pytest.raises(KeyboardInterrupt):
        render_cache(tiny.generator(), tmp_path / "cut", 10, **settings, progress=stop)
    assert len(CachedSynthetic(tmp_path / "cut")) == 6
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "cut").glob("*.npz")}
    (tmp_path / "cut" / ".00002.0123abcd.npz").write_bytes(b"a writer that was killed")
    damaged = tmp_path / "cut" / "00001.npz"
    damaged.write_bytes(damaged.read_bytes()[:-500])
    render_cache(tiny.generator(), tmp_path / "cut", 10, **settings)
    for path in (tmp_path / "whole").glob("*.npz"):
        with np.load(path) as wanted, np.load(tmp_path / "cut" / path.name) as found:
            assert all(np.array_equal(wanted[key], found[key]) for key in wanted.files)
    kept = tmp_path / "cut" / "00000.npz"
    assert kept.stat().st_mtime_ns == times[kept]
    assert len(CachedSynthetic(tmp_path / "cut")) == 10


def test_a_cache_grows_and_never_shrinks(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"seed": 1, "size": 16, "per_shard": 4}
    render_cache(tiny.generator(), tmp_path, 6, **settings)
    before = [CachedSynthetic(tmp_path).item(i, None)["codes"] for i in range(6)]
    render_cache(tiny.generator(), tmp_path, 9, **settings)
    render_cache(tiny.generator(), tmp_path, 5, **settings)
    data = CachedSynthetic(tmp_path)
    assert len(data) == 9
    assert all(torch.allclose(data.item(i, None)["codes"], before[i], atol=1e-6) for i in range(6))


def test_other_settings_need_another_folder(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"seed": 1, "size": 16, "per_shard": 4}
    render_cache(tiny.generator(), tmp_path, 4, **settings)
    for key, value in (("seed", 2), ("size", 8), ("mixing", 0.1), ("per_shard", 2)):
        with pytest.raises(ConfigError, match=rf"was made with {key} "):
            render_cache(tiny.generator(), tmp_path, 4, **(settings | {key: value}))
    (tmp_path / "cache.json").unlink()
    with pytest.raises(ConfigError, match=r"has content, but no cache\.json"):
        render_cache(tiny.generator(), tmp_path, 4, **settings)
    with pytest.raises(ConfigError, match="1 or more"):
        render_cache(tiny.generator(), tmp_path / "x", 4, seed=1, per_shard=0)


def test_an_item_is_read_and_not_its_shard(tmp_path: Path) -> None:
    np.savez(tmp_path / "0.npz", **arrays(60, side=128))  # 3 MB of pictures
    data = CachedSynthetic(tmp_path, STYLES)
    data.item(0, None)
    tracemalloc.start()
    item = data.item(33, None)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert item["source"].shape == (3, 128, 128)
    assert peak < 400_000


def test_only_the_source_is_augmented_and_nothing_is_flipped(tmp_path: Path) -> None:
    np.savez(tmp_path / "0.npz", **arrays(2))
    noisy = replace(Augmentation.none(), noise=1.0)
    data, plain = CachedSynthetic(tmp_path, STYLES, noisy), CachedSynthetic(tmp_path, STYLES)
    for seed in range(10):
        rng = np.random.default_rng(seed)
        item = data.item(1, rng)
        assert torch.equal(item["target"], plain.item(1, None)["target"])
        assert not torch.equal(item["source"], item["target"])
        assert torch.equal(item["codes"], plain.item(1, None)["codes"])
        assert torch.equal(plain.item(1, rng)["source"], item["target"])
    assert torch.equal(data.item(1, None)["source"], item["target"])


def test_in_mixtures_and_validation(tmp_path: Path) -> None:
    np.savez(tmp_path / "0.npz", **arrays(5))
    data = CachedSynthetic(tmp_path, STYLES)
    batch = next(loader(Mixture([(data, 1.0)], 4, 0), workers=1))
    assert batch["codes"].shape == (4, STYLES, WIDTH) and batch["has_code"].all()
    assert not batch["synthetic"].any()
    assert [b["name"] for b in validation(data, 3)] == [["0/0", "0/1", "0/2"], ["0/3", "0/4"]]
    assert check(data) == []
    other = tmp_path / "more"
    other.mkdir()
    np.savez(other / "0.npz", **arrays(6))
    assert CachedSynthetic(other, STYLES).fingerprint() != data.fingerprint()


def test_a_shard_that_goes_bad_is_an_error_of_the_item(tmp_path: Path) -> None:
    """Cut short or gone, it must not end the process, as a mapped file would."""
    np.savez(tmp_path / "0.npz", **arrays(5))
    np.savez(tmp_path / "1.npz", **arrays(5))
    data = CachedSynthetic(tmp_path, STYLES)
    with (tmp_path / "0.npz").open("r+b") as file:
        file.truncate(2000)
    (tmp_path / "1.npz").unlink()
    with pytest.raises(ImageError, match=r"0\.npz: example 4 cannot be read .*cut short"):
        data.item(4, None)
    with pytest.raises(ImageError, match=r"1\.npz: example 0 cannot be read .*No such file"):
        data.item(5, None)
    assert [file for file, _ in check(data)] == [data.name(i) for i in range(10)]


class Trap:
    def __reduce__(self) -> Any:
        return (exec, ("raise SystemExit('a shard ran code')",))


def test_a_header_that_claims_more_than_there_is(tmp_path: Path) -> None:
    """Else rows of one array would be read from the next."""
    np.savez(tmp_path / "good.npz", **arrays(3))
    content = (tmp_path / "good.npz").read_bytes()
    (tmp_path / "good.npz").unlink()
    (tmp_path / "0.npz").write_bytes(content.replace(b"(3, ", b"(9, ").replace(b"(3,)", b"(9,)"))
    with pytest.raises(ConfigError, match=r"images\.npy is not as long as it says"):
        CachedSynthetic(tmp_path, STYLES)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"images": np.zeros((3, 16, 16, 3), np.float32)}, "not those"),
        ({"images": np.zeros((3, 16, 12, 3), np.uint8)}, "not those"),
        ({"images": np.zeros((4, 16, 16, 3), np.uint8)}, "not those"),
        ({"images": np.zeros((0, 16, 16, 3), np.uint8)}, "not those"),
        ({"w1": np.zeros((3, 512), np.float64)}, "not those"),
        ({"w2": np.zeros((3, 256), np.float32)}, "not those"),
        ({"cut": np.zeros(4, np.int64)}, "not those"),
        ({"cut": np.zeros(3)}, "not those"),
        ({"cut": np.array([Trap()] * 3)}, "not those"),
        ({"images": np.asfortranarray(arrays(3)["images"])}, "column by column"),
        ({"images": None}, "no shard or a damaged one"),
    ],
)
def test_wrong_shards_are_named(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    content = {key: value for key, value in (arrays(3) | change).items() if value is not None}
    np.savez(tmp_path / "0.npz", **content)
    with pytest.raises(ConfigError, match=rf"0\.npz: .*{message}"):
        CachedSynthetic(tmp_path, STYLES)


def test_wrong_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no shards"):
        CachedSynthetic(tmp_path)
    with pytest.raises(ConfigError, match="no shards"):
        CachedSynthetic(tmp_path / "missing")
    np.savez(tmp_path / "0.npz", **arrays(3))
    np.savez_compressed(tmp_path / "1.npz", **arrays(3))
    with pytest.raises(ConfigError, match=r"1\.npz: .*is compressed"):
        CachedSynthetic(tmp_path)
    (tmp_path / "1.npz").write_bytes((tmp_path / "0.npz").read_bytes()[:-1000])
    with pytest.raises(ConfigError, match=r"1\.npz: is no shard"):
        CachedSynthetic(tmp_path)
    np.savez(tmp_path / "1.npz", **arrays(3, side=32))
    with pytest.raises(ConfigError, match=r"1\.npz: arrays of another kind than in 0\.npz"):
        CachedSynthetic(tmp_path)


def test_the_number_of_styles_must_fit(tmp_path: Path) -> None:
    np.savez(tmp_path / "0.npz", **arrays(9))
    with pytest.raises(ConfigError, match="rendered with 23 styles, not 18"):
        CachedSynthetic(tmp_path, 18)
    assert CachedSynthetic(tmp_path, 26).num_styles == 26
    render_cache(tiny.generator(), tmp_path / "x", 2, 0, size=16)
    with pytest.raises(ConfigError, match="rendered with 11 styles, not 12"):
        CachedSynthetic(tmp_path / "x", 12)
