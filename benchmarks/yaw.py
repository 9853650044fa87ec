"""Yaw of a face in a picture by the detector's five points, and how far it is off.

python benchmarks/yaw.py --data photos256 --attributes attributes.csv --first 00700

The two constants of `pose.py` are fitted on the photographs that sort before `--first`,
by a search for the least mean error in which every bin of |yaw| counts the same, for most faces
look ahead; errors are printed for the photographs from `--first` on. The angles of the table are a
face API's: part of what is called error here is its own.
"""

from __future__ import annotations

import argparse
import itertools
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from pose import TURN, Turn, yaw

from wplus import images
from wplus.editing.attributes import read_attributes
from wplus.faces import detect

BINS = (0, 15, 30, 45, 90)
RATIOS, GAINS = np.arange(0.8, 3.01, 0.05), np.arange(0.7, 1.51, 0.01)
Sample = tuple[NDArray[np.float64], float]  # five points and the true yaw


def points_of(picture: Image.Image) -> NDArray[np.float64] | None:
    """The points of the face nearest to the middle, where an aligned one is; None if none is."""
    found = detect(picture)
    middle = np.array([picture.width, picture.height]) / 2
    if not found:
        return None
    return min((face.points for face in found), key=lambda p: math.dist(p.mean(axis=0), middle))


def measure(picture: Image.Image) -> float:
    """Yaw in degrees; NaN where no face is found."""
    points = points_of(picture)
    return math.nan if points is None else yaw(points)


def errors(samples: Sequence[Sample], turn: Turn) -> NDArray[np.float64]:
    """What is measured less what is true, in degrees."""
    return np.array([yaw(points, turn) - true for points, true in samples])


def bin_of(samples: Sequence[Sample]) -> NDArray[np.intp]:
    return np.digitize([abs(true) for _, true in samples], BINS[1:-1])


def fit(samples: Sequence[Sample]) -> Turn:
    """The constants of least mean error, the bins weighed alike."""
    bins = bin_of(samples)

    def cost(turn: Turn) -> float:
        found = np.abs(errors(samples, turn))
        return float(np.mean([found[bins == k].mean() for k in np.unique(bins)]))

    tried = (Turn(float(r), float(g)) for r, g in itertools.product(RATIOS, GAINS))
    best = min(tried, key=cost)
    return Turn(round(best.ratio, 2), round(best.gain, 2))


def show(name: str, samples: Sequence[Sample], turn: Turn) -> None:
    """A line of the table: mean absolute error and mean error outwards, in all and by bin."""
    found, bins = errors(samples, turn), bin_of(samples)
    outwards = found * np.sign([true for _, true in samples])
    true = np.array([true for _, true in samples])
    share = 1 - np.square(found).sum() / np.square(true - true.mean()).sum()
    cells = [f"{np.abs(found).mean():.1f}", f"{np.percentile(np.abs(found), 95):.1f}"]
    for k in range(len(BINS) - 1):
        chosen = bins == k
        if not chosen.any():
            cells.append("")
            continue
        mean, outward = np.abs(found[chosen]).mean(), outwards[chosen].mean()
        cells.append(f"{mean:.1f} ({outward:+.1f}) of {chosen.sum()}")
    print(f"| {name} | {share:.3f} | " + " | ".join(cells) + " |")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="FFHQ-aligned photographs")
    parser.add_argument("--attributes", type=Path, help="CSV; without it, beside the folder")
    parser.add_argument("--first", default="00700", help="first photograph that is held out")
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    table = read_attributes(
        arguments.attributes or arguments.data.parent / "attributes.csv", ["yaw"]
    )
    true = dict(zip(table.ids, table.values[:, 0].tolist()))
    learned: list[Sample] = []
    kept: list[Sample] = []
    missed = 0
    for file in sorted(arguments.data.iterdir()):
        angle = true.get(file.stem, math.nan)
        if math.isnan(angle):
            continue
        points = points_of(images.read(file))
        if points is None:
            missed += 1
            continue
        (kept if file.name >= arguments.first else learned).append((points, angle))
    turn = fit(learned)
    print(f"{len(learned)} to fit on, {len(kept)} held out, {missed} without a face found")
    print(f"fitted: {turn}\nin use: {TURN}\n")
    print("degrees: mean absolute error (mean error outwards), by |yaw|\n")
    names = [f"{low}-{high}" for low, high in itertools.pairwise(BINS)]
    print("| photographs, constants | R² | all | 95th percentile | " + " | ".join(names) + " |")
    print("|---" * (len(names) + 4) + "|")
    show("fitted on, fitted", learned, turn)
    show("held out, fitted", kept, turn)
    show("held out, in use", kept, TURN)


if __name__ == "__main__":
    main()
