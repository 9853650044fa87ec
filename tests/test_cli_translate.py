"""`wplus translate` as a user runs it: its output, its exit status, its files."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import tiny
import wplus.models
from wplus import codes
from wplus.cli import main, translate  # noqa: F401 (registers the command)
from wplus.config import ModelConfig, Part
from wplus.psp import PSP
from wplus.tasks import TASKS

SUFFIX = codes.SUFFIX.removeprefix(".")
CHANNELS = {"photo": 3, "sketch": 1, "labels": 19, "low_resolution": 3, "masked": 3}


@dataclass
class Ran:
    """What a process would have left behind."""

    returncode: int
    stdout: str
    stderr: str


class Run:
    """The program in this process, which saves the seconds of importing torch."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        # An index that answers nothing: no test here may reach the network.
        monkeypatch.setenv("WPLUS_INDEX_URL", "http://127.0.0.1:9/simple")
        monkeypatch.setenv("COLUMNS", "200")
        self.capsys = capsys

    def __call__(self, *arguments: object) -> Ran:
        tokens = ["translate", *map(str, arguments)]
        try:
            status = main(tokens)
        except SystemExit as error:
            status = error.code
        assert status is None or isinstance(status, int)
        return Ran(status or 0, *self.capsys.readouterr())


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    return Run(monkeypatch, capsys)


def lines_of(result: Ran) -> list[str]:
    assert result.returncode == 1, result.stderr
    assert "Traceback" not in result.stderr
    lines = result.stderr.splitlines()
    assert all(line.startswith("error: ") for line in lines), result.stderr
    return [line.removeprefix("error: ") for line in lines]


def save_model(task: str, source: str, path: Path) -> Path:
    """A tiny model of a task, in our format."""
    options = {**tiny.encoders(8)["pyramid"].options, "input_channels": CHANNELS[source]}
    config = ModelConfig(
        tiny.GENERATORS["mobilestylegan"], Part("pyramid", options), task=task, source=source
    )
    torch.manual_seed(0)
    network = PSP(wplus.models.build(config.encoder), wplus.models.build(config.generator), config)  # type: ignore[arg-type]
    wplus.models.save(tiny.unusual(network), path)  # type: ignore[arg-type]
    return path


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("models")
    return {
        task.name: save_model(task.name, task.source, folder / f"{task.name}.safetensors")
        for task in TASKS.values()
        if task.name in ("inversion", "sketch", "labels", "super_resolution", "inpainting")
    }


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    noise = np.random.default_rng(0).integers(60, 190, (20, 16, 3), np.uint8)
    path = tmp_path / "photo.png"
    Image.fromarray(noise).resize((160, 200), Image.Resampling.BICUBIC).save(path)
    return path


def test_help_has_examples(run: Run) -> None:
    result = run("--help")
    assert result.returncode == 0
    assert result.stdout.count("Example: wplus translate") >= 3


def test_several_answers_of_a_small_photograph(
    run: Run, models: dict[str, Path], photo: Path, tmp_path: Path
) -> None:
    small = tmp_path / "small.png"
    Image.open(photo).resize((32, 32)).save(small)
    settings = ("--task", "super_resolution", "--model", models["super_resolution"])
    outs = [tmp_path / name for name in ("a", "b", "c")]
    wide = run(small, *settings, "--outputs", 3, "--seed", 5, "--compare", "--json", "--out",
               outs[0])  # fmt: skip
    assert wide.returncode == 0, wide.stderr
    [report] = json.loads(wide.stdout)
    assert report["factor"] == 8
    assert report["consistency"] == report["consistency_before"]
    assert report["steps"] == 0
    names = [Path(name).name for name in report["pictures"]]
    assert names == ["small.png", "small-out1.png", "small-out2.png"]
    assert Path(report["comparison"]).is_file()
    code, metadata = codes.load(outs[0] / "small-out1.codes.safetensors")
    assert metadata["task"] == "super_resolution"
    assert metadata["seed"] == 5
    assert metadata["crop"]["picture_size"] == [32, 32]
    # Fewer answers of the same seed are the same; other seeds differ, but for the plain answer.
    assert run(small, *settings, "--outputs", 2, "--seed", 5, "--out", outs[1]).returncode == 0
    assert run(small, *settings, "--outputs", 2, "--seed", 6, "--out", outs[2]).returncode == 0
    first, second = ("small.png", "small-out1.png")
    assert (outs[0] / first).read_bytes() == (outs[2] / first).read_bytes()
    assert (outs[0] / second).read_bytes() == (outs[1] / second).read_bytes()
    assert (outs[0] / second).read_bytes() != (outs[2] / second).read_bytes()
    plain, _ = codes.load(outs[0] / "small.codes.safetensors")
    assert not torch.equal(code, plain)


def test_a_filled_photograph_keeps_all_else(
    run: Run, models: dict[str, Path], photo: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    result = run(photo, "--task", "inpainting", "--model", models["inpainting"], "--box",
                 "60,70,30,20", "--no-align", "--out", out)  # fmt: skip
    assert result.returncode == 0, result.stderr
    before, after = (np.asarray(Image.open(path)) for path in (photo, out / "photo.png"))
    changed = (before != after).any(axis=2)
    assert before.shape == after.shape
    assert changed[70:90, 60:90].mean() > 0.9
    changed[70:90, 60:90] = False
    assert not changed.any()


def test_bad_inputs_get_a_line_each_and_the_others_are_done(
    run: Run, models: dict[str, Path], tmp_path: Path
) -> None:
    rng = np.random.default_rng(0)
    good, far = rng.integers(0, 19, (40, 40)), np.full((40, 40), 99)
    Image.fromarray(good.astype(np.uint8)).save(tmp_path / "good.png")
    Image.fromarray(far.astype(np.uint8)).save(tmp_path / "far.png")
    (tmp_path / "folder").mkdir()
    inputs = [tmp_path / name for name in ("far.png", "missing.png", "folder", "good.png")]
    (tmp_path / "full").mkdir()
    Image.fromarray(good.astype(np.uint8)).save(tmp_path / "full" / "inside.png")
    inputs.append(tmp_path / "full")
    out = tmp_path / "out"
    result = run(*inputs, "--task", "labels", "--model", models["labels"], "--out", out, "--json")
    lines = lines_of(result)
    assert len(lines) == 3
    for line, path in zip(lines, inputs):
        assert str(path) in line
    assert "99" in lines[0]
    names = [f"{stem}.{suffix}" for stem in ("good", "inside") for suffix in ("png", SUFFIX)]
    assert {path.name for path in out.iterdir()} == set(names)
    reports = json.loads(result.stdout)
    assert [bool(report["error"]) for report in reports] == [True, True, True, False, False]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--task", "singing"), "no task 'singing'"),
        (("--task", "super_resolution", "--factor", 7), "--factor 7: use one of 1, 2, 4, 8, 16"),
        (("--task", "sketch", "--factor", 8), "--factor belongs to --task super_resolution"),
        (("--task", "sketch", "--refine", 5), "--refine: sketch"),
        (("--task", "sketch", "--paste"), "--paste: a sketch is no photograph"),
        (("--task", "inversion", "--outputs", 2), "--outputs 2: inversion has one output"),
        (("--task", "inversion", "--outputs", 0), "--outputs 0"),
        (("--task", "sketch", "--alpha", 1.5), "--alpha 1.5"),
        (("--task", "inpainting", "--box", "1,2,3"), "--box 1,2,3: four whole numbers"),
        (("--task", "inpainting", "--box", "1,2,0,4"), "--box 1,2,0,4"),
        (("--task", "labels", "--box", "1,2,3,4"), "--box belongs to --task inpainting"),
        (("--task", "sketch", "--seed", -1), "--seed -1"),
        (("--task", "sketch", "--layers", "fine"), "add --outputs"),
    ],
)
def test_bad_settings_get_one_line(
    run: Run, arguments: tuple[object, ...], said: str, photo: Path, tmp_path: Path
) -> None:
    result = run(photo, *arguments, "--out", tmp_path / "out")
    [line] = lines_of(result)
    assert said in line
    assert not (tmp_path / "out").exists()


def test_a_model_of_another_task(
    run: Run, models: dict[str, Path], photo: Path, tmp_path: Path
) -> None:
    [line] = lines_of(
        run(photo, "--task", "sketch", "--model", models["labels"], "--out", tmp_path / "out")
    )
    assert "was trained for labels, not for sketch" in line


def test_layers_that_do_not_exist(
    run: Run, models: dict[str, Path], photo: Path, tmp_path: Path
) -> None:
    settings = ("--task", "sketch", "--model", models["sketch"], "--outputs", 2)
    result = run(photo, *settings, "--layers", "40-50", "--out", tmp_path / "out")
    [line] = lines_of(result)
    assert "40-50" in line


def test_an_output_folder_that_is_a_file(run: Run, photo: Path) -> None:
    [line] = lines_of(run(photo, "--task", "sketch", "--out", photo))
    assert "is a file" in line
