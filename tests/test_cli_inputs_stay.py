"""No command replaces a file that it reads, whatever its output is called."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import tiny
from wplus import codes, faces, models
from wplus.cli import main

MODEL = ["--model", "model.safetensors"]
CODES = ["a.codes.safetensors", "b.codes.safetensors"]
NETWORKS = ["lpips-alexnet", "lpips-vgg16", "identity", "fid"]
COMMANDS = [
    ["invert", "p.png", "--no-align", *MODEL, "--out", "."],
    ["invert", ".", "--no-align", *MODEL, "--out", "."],
    ["invert", "link/p.png", "--no-align", *MODEL, "--out", "."],
    ["translate", "p.png", "--task", "inversion", "--no-align", *MODEL, "--out", "."],
    ["align", "p.png", "--out", "."],
    ["align", "sub/../p.png", "--out", "link"],
    ["edit", *CODES, *MODEL, "--pca", "1", "--amount", "1", "--out", "."],
    ["edit", "p.png", "--no-align", *MODEL, "--pca", "1", "--amount", "1", "--out", "link"],
    ["explore", "x.explore.png", "--no-align", *MODEL, "--what", "pca", "--out", "."],
    ["mix", *CODES, *MODEL, "--layers", "coarse", "--out", "."],
    ["morph", *CODES, *MODEL, "--frames", "3", "--out", "p.png"],
    ["morph", "m.png", "p.png", "--no-align", *MODEL, "--frames", "3", "--out", "m.png"],
    ["morph", "m.png", "m.strip.png", "--no-align", *MODEL, "--frames", "3", "--out", "m.gif"],
    ["decode", *CODES, *MODEL, "--out", "."],
    ["sample", *MODEL, "--count", "1", "--out", "."],
    ["paste", "p.png", "r.png", "--codes", CODES[0], "--mask", "ellipse", "--out", "p.png"],
    ["paste", "p.png", "r.png", "--codes", CODES[0], "--mask", "ellipse", "--out", "r.png"],
    [
        "paste",
        "p.png",
        "r.png",
        "--codes",
        CODES[0],
        "--mask",
        "mask.png",
        "--out",
        "link/mask.png",
    ],
    ["convert", "model.safetensors", "model.safetensors"],
    ["convert", "model.safetensors", "link/model.safetensors"],
    ["convert", CODES[0], CODES[0]],
    ["prepare", "sketches", ".", "--out", "."],
    ["prepare", "masks", "sub", "--out", "link"],
    ["prepare", "masks", "sub", "--out", "hidden"],
    ["directions", "find", "--data", ".", "--attributes", "t.csv", *MODEL, "--out", "t.csv"],
    ["evaluate", "--pairs", "sub", "other", "--without", *NETWORKS, "--out", "other"],
]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WPLUS_INDEX_URL", "http://127.0.0.1:9/simple")
    for folder in ("sub", "other"):
        Path(folder).mkdir()
    names = ("p", "r", "m", "m.strip", "x.explore", "mask", "a", "sub/1", "sub/worst", "other/1")
    for number, name in enumerate((*names, "other/worst", "seed0-0")):
        noise = np.random.default_rng(number).integers(0, 256, (64, 64, 3), np.uint8)
        Image.fromarray(noise).save(f"{name}.png")
    Path("link").symlink_to(".")
    Path("hidden").symlink_to("sub")
    model = tiny.model()
    models.save(model, "model.safetensors")
    geometry = faces.CropGeometry(((8, 8), (8, 56), (56, 56), (56, 8)), (64, 64))
    for number, name in enumerate(CODES):
        code = model.sample(1, seed=number)[0]
        codes.save(code, name, {"crop": geometry.to_dict()})
    Path("t.csv").write_text("name,smile\np,1\nr,0\n")
    torch.manual_seed(0)
    yield tmp_path
    shutil.rmtree(tmp_path)


def digests(place: Path) -> dict[str, str]:
    files = [file for file in place.rglob("*") if file.is_file()]
    return {str(file): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_inputs_stay(command: list[str], place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before, code = digests(place), None
    try:
        main(command)
    except SystemExit as end:
        code = end.code
    assert code in (0, 1, None) and "WPLUS_DEBUG" not in capsys.readouterr().err
    after = digests(place)
    assert {name: after.get(name) for name in before} == before
