"""What the judges of applications share: photographs, scores, tables, sheets."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import timing
from PIL import Image
from torch import Tensor

from wplus import images
from wplus.evaluate import Scorer, intervals, load_scorer
from wplus.images import WORKING_SIZE as SIZE

Values = dict[str, float]


def parser(description: str) -> argparse.ArgumentParser:
    found = argparse.ArgumentParser(description=description)
    found.add_argument("--data", type=Path, required=True, help="aligned photographs, none trained")
    found.add_argument("--first", default="", help="leave out the names that sort before this one")
    found.add_argument("--limit", type=int, default=8, help="at most so many photographs")
    found.add_argument("--model", help="a name or a file; without it, the shipped one of the task")
    found.add_argument("--refine", type=int, help="steps; without it, as the command makes them")
    found.add_argument("--threads", type=int, default=2)
    found.add_argument("--out", type=Path, default=Path("out"), help="for scores and the sheet")
    return found


def photographs(folder: Path, first: str, limit: int) -> Iterator[tuple[str, Image.Image]]:
    """Names and pictures at 256², in the order of names."""
    files = [file for file in sorted(folder.iterdir()) if file.name >= first and file.is_file()]
    for file in files[:limit]:
        picture = images.read(file)
        side = min(picture.size)
        left, top = (picture.width - side) // 2, (picture.height - side) // 2
        square = picture.crop((left, top, left + side, top + side))
        yield file.stem, square.resize((SIZE, SIZE), Image.Resampling.LANCZOS)


class Scores:
    """Values of every photograph, by the way they were made, against the originals at 256²."""

    def __init__(self) -> None:
        self.scorer: Scorer = load_scorer(without=("lpips_vgg16", "fid"))
        self.values: dict[str, list[Values]] = {}

    def add(self, way: str, made: Tensor, original: Tensor, **more: float) -> None:
        """Score one picture (1, 3, 256, 256) in [-1, 1], 8 bits deep as all of them."""
        rounded = images.to_tensor(images.to_picture(made))
        found = self.scorer.compare(*map(self.scorer.features, (rounded, original)))
        scores = {name: float(value) for name, value in found.items()}
        self.values.setdefault(way, []).append({**scores, **more})

    def report(self) -> dict[str, dict[str, Any]]:
        """See `report_of`."""
        return report_of(self.values)


def report_of(values: Mapping[str, Sequence[Values]]) -> dict[str, dict[str, Any]]:
    """Means and 95 % intervals by way and metric."""
    report: dict[str, dict[str, Any]] = {}
    for way, rows in values.items():
        names = list(rows[0])
        table = np.array([[row[name] for name in names] for row in rows])
        report[way] = {
            name: asdict(each) for name, each in zip(names, intervals(table), strict=True)
        }
    return report


def show(report: Mapping[str, Mapping[str, Any]], metrics: Sequence[str]) -> None:
    print("| way | " + " | ".join(metrics) + " |")
    print("|---" * (len(metrics) + 1) + "|")
    for way, values in report.items():
        cells = []
        for metric in metrics:
            found = values.get(metric)
            digits = 1 if "psnr" in metric or metric in ("consistency", "seconds") else 3
            if found is None or found["mean"] is None:
                cells.append("")
            elif found["low"] is None:
                cells.append(f"{found['mean']:.{digits}f}")
            else:
                low, high = f"{found['low']:.{digits}f}", f"{found['high']:.{digits}f}"
                cells.append(f"{found['mean']:.{digits}f} ({low}–{high})")
        print(f"| {way} | " + " | ".join(cells) + " |")


def finish(
    arguments: argparse.Namespace,
    name: str,
    report: Mapping[str, Any],
    sheet: Sequence[Image.Image],
    extra: Mapping[str, Any],
) -> None:
    """Write NAME.json and the sheet, one row of pictures under the other."""
    settings = {key: str(value) for key, value in vars(arguments).items()}
    content = {"settings": settings, **extra, "machine": timing.machine(), "scores": report}
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / f"{name}.json").write_text(json.dumps(content, indent=2) + "\n")
    images.save(images.grid(sheet, 1), arguments.out / f"{name}.png")
    print(f"\n{arguments.out / name}.json, {arguments.out / name}.png")
