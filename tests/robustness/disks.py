"""Run every command that writes on a full and on a read-only disk (as root, on Linux).

    PYTHONPATH=tests:tests/weights OMP_NUM_THREADS=1 python tests/robustness/disks.py

Each must end with status 1 and nothing but lines that begin with "error:" (or a warning), leave no
file on the disk that is not whole, and do other inputs where they still fit.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from kill import SMALL, contents, whole_run
from PIL import Image

import tiny
from wplus import models
from wplus.cli import main
from wplus.files import PREFIX


def inputs(place: Path) -> dict[str, list[str]]:
    """Command lines by name, without their output, and in `place` what they read."""
    torch.manual_seed(0)
    photos = place / "photos"
    photos.mkdir()
    for number in range(3):
        noise = np.random.default_rng(number).integers(0, 256, (96, 96, 3), np.uint8)
        Image.fromarray(noise).save(photos / f"{number}.png")
    shutil.copytree(photos, place / "again")
    model, generator = str(place / "model.safetensors"), str(place / "generator.safetensors")
    models.save(tiny.model(), model)
    models.save(tiny.model("mobilestylegan", None), generator)
    call(["sample", "--model", model, "--count", "2", "--out", str(place / "s")])
    a, b = (str(place / "s" / f"seed0-{n}.codes.safetensors") for n in range(2))
    images = [str(photos / f"{n}.png") for n in range(3)]
    without = ["--without", "lpips-alexnet", "lpips-vgg16", "identity", "fid"]
    by, plain = ["--model", model], ["--no-align"]
    train = {
        **{"data": photos, "hold-out": 1, "workers": 0, "trunk": "none", "device": "cpu"},
        **{"generator": generator, "encoder-options": json.dumps(SMALL), "lpips": 0},
        **{"identity": 0, "batch": 1, "steps": 2, "previews": 1},
    }
    return {
        "invert": ["invert", *images, *by, *plain],
        "translate": ["translate", *images, *by, *plain, "--task", "inversion", "--compare"],
        "edit": ["edit", a, b, *by, "--pca", "1", "--amount", "1"],
        "explore": ["explore", a, *by, "--what", "pca", "--count", "2"],
        "mix": ["mix", a, b, *by, "--layers", "coarse"],
        "morph": ["morph", a, b, *by, "--frames", "3"],
        "sample": ["sample", *by],
        "decode": ["decode", a, b, *by],
        "prepare": ["prepare", "sketches", str(photos)],
        "evaluate": ["evaluate", "--pairs", str(photos), str(place / "again"), *without],
        "convert": ["convert", model],
        "train": ["train", *(str(w) for name, x in train.items() for w in (f"--{name}", x))],
    }


def call(tokens: list[str]) -> tuple[int, str]:
    """Exit status, and what was said on standard error."""
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
            main(tokens)
        return 0, said.getvalue()
    except SystemExit as end:
        return int(end.code or 0), said.getvalue()


@contextmanager
def disk(place: Path, options: str) -> Iterator[Path]:
    """A small file system in memory."""
    place.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place)], check=True)
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


def check(name: str, kind: str, tokens: list[str], folder: Path) -> bool:
    """Run one command; print what is wrong."""
    out = folder / "out"
    end = {"convert": ["{}.safetensors"], "morph": ["--out", "{}.gif"]}.get(name, ["--out", "{}"])
    status, said = call([*tokens, *(part.format(out) for part in end)])
    lines = said.splitlines()
    wrong = []
    if status != 1:
        wrong.append(f"status {status}")
    if "Traceback" in said or "WPLUS_DEBUG" in said or not any("error: " in x for x in lines):
        wrong.append("not one line")
    if kind == "full" and "No space left" not in said and "disk is full" not in said:
        wrong.append("does not say that the disk is full")
    if list(folder.rglob(f"{PREFIX}*")):
        wrong.append("left a temporary")
    try:
        whole_run(out)
    except Exception as error:
        wrong.append(f"half a file ({error})")
    print(f"{kind:9} {name:10} {'; '.join(wrong) or 'ok'}: {lines[-1][:160] if lines else ''}")
    sys.stdout.flush()
    return not wrong


def run() -> bool:
    """All commands on both kinds of disk; whether nothing was wrong."""
    good = True
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        for name, tokens in inputs(place).items():
            with disk(place / "full", "size=16k") as full:
                (full / "fill").write_bytes(bytes(12288))
                good = check(name, "full", tokens, full) and good
                assert "fill" in contents(full)
            with disk(place / "ro", "size=1m") as closed:
                subprocess.run(["mount", "-o", "remount,ro", str(closed)], check=True)
                good = check(name, "read-only", tokens, closed) and good
    return good


if __name__ == "__main__":
    os.environ["WPLUS_INDEX_URL"] = "http://127.0.0.1:9/simple"
    sys.exit(not run())
