"""Pictures a second: what the loader gives alone, and what a training step takes beside it.

python benchmarks/loading.py --threads 2 --json loading.json
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, cast

import numpy as np
import timing
import torch
from PIL import Image

from wplus import data, images, tasks
from wplus.data import Augmentation, Dataset, Mixture, Reading
from wplus.data.base import Batch
from wplus.training import setup
from wplus.training.config import TrainConfig
from wplus.training.ranger import Ranger
from wplus.training.step import EncoderLosses, Step

PICTURES, BATCH, SHARD = 64, 8, 32
WORKERS = (0, 1, 2)
STEPS = {
    "code alone (no generator pass)": {"l2": 0.0, "lpips": 0.0, "identity": 0.0, "code": 1.0},
    "L2 + LPIPS + identity": {"l2": 1.0, "lpips": 0.8, "identity": 0.1, "code": 0.0},
}


def paint(folder: Path, size: int) -> Path:
    """Photographs, as far as a JPEG decoder can tell: soft shapes, edges and grain."""
    folder.mkdir()
    rng = np.random.default_rng(size)
    for number in range(PICTURES):
        small = rng.integers(0, 256, (24, 24, 3), dtype=np.uint8)
        picture = Image.fromarray(small).resize((size, size), Image.Resampling.BICUBIC)
        pixels = np.asarray(picture) + rng.normal(0, 6, (size, size, 3))
        saved = Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
        saved.save(folder / f"{number:03d}.jpg", quality=90)
    return folder


def shards(folder: Path, styles: int) -> Path:
    """Rendered examples as `render_cache` lays them out, with pictures that nothing rendered."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    for first in range(0, PICTURES, SHARD):
        np.savez(
            folder / f"c{first:05d}.npz",
            images=rng.integers(0, 256, (SHARD, 256, 256, 3), dtype=np.uint8),
            w1=rng.normal(size=(SHARD, 512)).astype(np.float32),
            w2=rng.normal(size=(SHARD, 512)).astype(np.float32),
            cut=np.full(SHARD, styles),
        )
    return folder


def rates(dataset: Dataset, workers: int, rounds: int, seconds: float) -> list[float]:
    """Pictures a second of the loader alone, of each round; workers are warm."""
    mixture = Mixture([(dataset, 1.0)], BATCH)
    batches = data.loader(mixture, workers=workers)
    with closing(cast(Any, batches)):
        for _ in range(2 + 2 * workers):  # what the workers have read ahead is not counted
            next(batches)
        return list(_rounds(batches, rounds, seconds))


def _rounds(batches: Iterator[Batch], rounds: int, seconds: float) -> Iterator[float]:
    for _ in range(rounds):
        start, count = time.perf_counter(), 0
        while time.perf_counter() - start < seconds:
            count += len(next(batches)["name"])
        yield count / (time.perf_counter() - start)


def step_rates(weights: dict[str, float], folder: Path, turns: timing.Turns) -> list[float]:
    """Pictures a second of the training step of the default model, its batch at hand."""
    settings = TrainConfig.parse(
        {"data": {"data": [str(folder)]}, "losses": weights, "optimizer": {"batch": BATCH}}
    )
    things = setup.build(settings)
    model, objective = things.model, things.objective
    assert model.encoder is not None
    step = Step(
        model.encoder, EncoderLosses(model, objective), Ranger(model.encoder.parameters(), 1e-4)
    )
    picture = images.to_tensor(images.read(next(iter(sorted(folder.glob("*.jpg"))))))
    batch = {
        "source": picture.expand(BATCH, -1, -1, -1),
        "target": picture.expand(BATCH, -1, -1, -1),
        "codes": model.mean_codes.expand(BATCH, -1, -1),
        "has_code": torch.ones(BATCH, dtype=torch.bool),
    }
    found = turns.alternate({"step": lambda: step(batch)})
    return [BATCH / seconds for seconds in found["step"].seconds]


def summary(found: list[float]) -> dict[str, float]:
    """What the record says of some rounds, in pictures a second."""
    return {"median": round(statistics.median(found), 2), "best": round(max(found), 2)}


def main() -> None:
    parser = argparse.ArgumentParser(description="Pictures a second of the loader and of a step.")
    timing.add_options(parser)
    parser.set_defaults(rounds=5)
    parser.add_argument("--seconds", type=float, default=2.0, help="of a round of the loader")
    parser.add_argument("--workers", type=int, nargs="+", default=WORKERS, help="beside the step")
    parser.add_argument("--no-step", action="store_true", help="time the loader only")
    options = parser.parse_args()
    turns = timing.turns(options)
    if turns.cpu_time:
        parser.error("workers are processes of their own: only the clock on the wall counts")
    report: dict[str, Any] = {
        "machine": timing.machine(turns),
        "batch": BATCH,
        "unit": "pictures a second",
    }
    task = tasks.TASKS.find("inversion")
    styles = 23
    with tempfile.TemporaryDirectory() as place:
        small, large = paint(Path(place, "256"), 256), paint(Path(place, "1024"), 1024)
        plain = Reading.of(task)
        changed = Reading.of(task, augmentation=Augmentation())
        rendered = shards(Path(place, "shards"), styles)
        sets: dict[str, Dataset] = {
            "JPEG 256²": data.Folder(small, plain),
            "JPEG 256², augmented": data.Folder(small, changed),
            "JPEG 1024²": data.Folder(large, plain),
            "JPEG 1024², augmented": data.Folder(large, changed),
            "rendered shards": data.CachedSynthetic(rendered, styles),
            "rendered shards, augmented": data.CachedSynthetic(rendered, styles, Augmentation()),
        }
        report["loader"] = {}
        print(
            "pictures a second of the loader alone, by workers"
            + "".join(f"{n:>9}" for n in options.workers)
        )
        for name, dataset in sets.items():
            found = {
                str(n): summary(rates(dataset, n, turns.rounds, options.seconds))
                for n in options.workers
            }
            report["loader"][name] = found
            medians = "".join(f"{each['median']:9.0f}" for each in found.values())
            print(f"{name:49}{medians}", flush=True)
        if not options.no_step:
            print("\npictures a second of the step (compact encoder, mobilestylegan-ffhq)")
            report["step"] = {}
            for name, weights in STEPS.items():
                report["step"][name] = summary(step_rates(weights, small, turns))
                print(f"{name:49}{report['step'][name]['median']:9.1f}", flush=True)
    timing.write(report, options.json)


if __name__ == "__main__":
    main()
