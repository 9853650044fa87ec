"""The editing commands: output, exit status and files."""

from __future__ import annotations

import io
import json
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import wplus
from wplus import images, models
from wplus.cli import main
from wplus.config import ModelConfig, Part
from wplus.editing import Direction
from wplus.editing import directions as direction_files
from wplus.encoders import CompactEncoder
from wplus.generators import MobileStyleGAN
from wplus.psp import PSP

GENERATOR = {"style_dim": 16, "mapping_layers": 2, "stem_channels": 16, "channels": (16, 16)}
STYLES = 8


@dataclass(frozen=True)
class Result:
    returncode: int
    stdout: str
    stderr: str


def run(*arguments: object) -> Result:
    """The command in this process: importing torch anew for each would take minutes."""
    out, err = io.StringIO(), io.StringIO()
    try:
        with redirect_stdout(out), redirect_stderr(err):
            main(list(map(str, arguments)))
        code = 0
    except SystemExit as end:
        code = int(end.code or 0)
    return Result(code, out.getvalue(), err.getvalue())


def one_line(result: Result) -> str:
    assert result.returncode == 1, result.stdout
    assert "Traceback" not in result.stderr
    [line] = result.stderr.splitlines()
    assert line.startswith("error: ")
    return line


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model with an encoder, two codes files, a photograph, and a file of directions."""
    place = tmp_path_factory.mktemp("edit")
    torch.manual_seed(0)
    generator = MobileStyleGAN(**GENERATOR)
    options = {
        "style_resolutions": generator.style_resolutions,
        "style_dim": 16,
        "width": 8,
        "narrow": 2,
        "stem": 8,
        "stages": ((8, 8, 1), (8, 8, 1), (8, 8, 1)),
    }
    config = ModelConfig(Part("mobilestylegan", GENERATOR), Part("compact", options))
    models.save(PSP(CompactEncoder(**options), generator, config), place / "m.safetensors")
    for name in "ab":
        wplus.codes.save(torch.randn(STYLES, 16), place / f"{name}.codes.safetensors", {"n": name})
    noise = np.random.default_rng(0).integers(0, 256, (20, 16, 3), np.uint8)
    Image.fromarray(noise).resize((320, 400)).save(place / "photo.jpg")
    known = [Direction(name, torch.randn(STYLES, 16)) for name in ("smile", "age", "hat")]
    direction_files.save(known, place / "d.safetensors")
    direction_files.save(known[2:], place / "hat.safetensors")
    return place


def codes_of(path: Path) -> torch.Tensor:
    return wplus.codes.load(path)[0]


@pytest.mark.parametrize("command", ["edit", "explore", "mix", "morph", "transplant"])
def test_every_command_has_help_with_an_example(command: str) -> None:
    result = run(command, "--help")
    assert result.returncode == 0
    assert f"Example: wplus {command}" in result.stdout


def test_edit_of_codes_and_of_a_photograph(folder: Path, tmp_path: Path) -> None:
    result = run(
        *("edit", folder / "a.codes.safetensors", folder / "photo.jpg", "--no-align"),
        *("--model", folder / "m.safetensors", "--directions", folder / "d.safetensors"),
        *("--smile", 2, "--age", -1.5, "--direction", f"{folder}/hat.safetensors", "--amount", -2),
        *("--out", tmp_path),
    )
    assert result.returncode == 0, result.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        *("a.codes.safetensors", "a.compare.png", "a.png"),
        *("photo.codes.safetensors", "photo.compare.png", "photo.png"),
    ]
    known, _ = direction_files.load(folder / "d.safetensors")
    smile, age, hat = (known[name].vector for name in ("smile", "age", "hat"))
    found, about = wplus.codes.load(tmp_path / "a.codes.safetensors")
    expected = codes_of(folder / "a.codes.safetensors") + 2 * smile - 1.5 * age - 2 * hat
    torch.testing.assert_close(found, expected)
    assert about["n"] == "a" and about["edits"] == {"smile": 2, "age": -1.5, "hat": -2}
    model = wplus.load(folder / "m.safetensors")
    picture = images.to_picture(model.decode(found[None]))
    assert np.array_equal(np.asarray(picture), np.asarray(Image.open(tmp_path / "a.png")))


def test_closed_form_directions_at_some_layers(folder: Path, tmp_path: Path) -> None:
    result = run(
        *("edit", folder / "a.codes.safetensors", "--model", folder / "m.safetensors"),
        *("--sefa", 2, "--amount", -3, "--pca", 1, "--amount", 1),
        *("--layers", "coarse", "--out", tmp_path),
    )
    assert result.returncode == 0, result.stderr
    change = codes_of(tmp_path / "a.codes.safetensors") - codes_of(folder / "a.codes.safetensors")
    assert change[:4].abs().sum(1).min() > 0
    assert not change[4:].any()


def test_a_bad_input_does_not_stop_the_others(folder: Path, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.codes.safetensors"
    wplus.codes.save(torch.zeros(3, 16), wrong)
    result = run(
        *("edit", tmp_path / "gone.jpg", wrong, folder / "a.codes.safetensors"),
        *("--model", folder / "m.safetensors", "--pca", 1, "--amount", 1),
        *("--out", tmp_path / "out"),
    )
    assert result.returncode == 1
    lines = result.stderr.splitlines()
    assert len(lines) == 2
    assert "gone.jpg" in lines[0] and "wrong.codes.safetensors" in lines[1]
    assert (tmp_path / "out" / "a.png").is_file()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "nothing to edit"),
        (["--smile", "1"], "wplus directions find"),
        (["--direction", "hat"], "each needs its own"),
        (["--direction", "hats", "--amount", "1", "--directions", "{}/d.safetensors"], "hat"),
        (["--direction", "{}/d.safetensors", "--amount", "1"], "name one"),
        (["--direction", "{}/a.codes.safetensors", "--amount", "1"], "holds no directions"),
        (["--direction", "{}/gone.safetensors:x", "--amount", "1"], "no such file"),
        (["--sefa", "99", "--amount", "1"], "1 to 16"),
        (["--pca", "0", "--amount", "1"], "1 to 16"),
        (["--pca", "1", "--amount", "nan"], "nan"),
        (["--pca", "1", "--amount", "1", "--layers", "70"], "styles 0 to 7"),
        (["--pca", "1", "--amount", "1", "--refine", "-1"], "--refine -1"),
    ],
)
def test_bad_settings_of_edit(
    arguments: list[str], said: str, folder: Path, tmp_path: Path
) -> None:
    given = [argument.format(folder) for argument in arguments]
    model = ("--model", folder / "m.safetensors")
    out = tmp_path / "out"
    result = run("edit", folder / "a.codes.safetensors", *given, *model, "--out", out)
    assert said in one_line(result)
    assert not out.exists()


def test_explore(folder: Path, tmp_path: Path) -> None:
    common = (folder / "a.codes.safetensors", "--model", folder / "m.safetensors")
    result = run(
        *("explore", *common, "--what", "sefa", "--count", 2, "--columns", 3),
        *("--size", 32, "--out", tmp_path),
    )
    assert result.returncode == 0, result.stderr
    assert Image.open(tmp_path / "a.explore.png").width > 3 * 32
    assert "odd" in one_line(
        run("explore", *common, "--what", "pca", "--columns", 4, "--out", tmp_path)
    )


def test_mix_of_two_and_of_many(folder: Path, tmp_path: Path) -> None:
    a, b = (folder / f"{name}.codes.safetensors" for name in "ab")
    model = ("--model", folder / "m.safetensors")
    result = run("mix", a, b, *model, "--layers", "4-7", "--alpha", 0.5, "--out", tmp_path)
    assert result.returncode == 0, result.stderr
    found = codes_of(tmp_path / "a-with-b.codes.safetensors")
    torch.testing.assert_close(found[:4], codes_of(a)[:4])
    torch.testing.assert_close(found[4:], (codes_of(a)[4:] + codes_of(b)[4:]) / 2)
    assert (tmp_path / "a-with-b.png").is_file()
    result = run(
        *("mix", a, "--columns", a, b, "--grid", *model, "--layers", "coarse"),
        *("--size", 32, "--out", tmp_path),
    )
    assert result.returncode == 0, result.stderr
    assert Image.open(tmp_path / "mix.png").size == (3 * 36 - 4, 2 * 36 - 4)


def test_bad_settings_of_mix(folder: Path, tmp_path: Path) -> None:
    a, b = (folder / f"{name}.codes.safetensors" for name in "ab")
    common = ("--model", folder / "m.safetensors", "--out", tmp_path)
    assert "--alpha 2" in one_line(run("mix", a, b, "--alpha", 2, *common))
    assert "give two inputs" in one_line(run("mix", a, *common))
    assert "gone" in one_line(run("mix", a, tmp_path / "gone.png", "--layers", "coarse", *common))
    assert not list(tmp_path.iterdir())


def test_morph_writes_a_moving_picture_and_a_strip(folder: Path, tmp_path: Path) -> None:
    a, b = (folder / f"{name}.codes.safetensors" for name in "ab")
    out = tmp_path / "ab.gif"
    result = run(
        *("morph", a, b, "--model", folder / "m.safetensors", "--frames", 5, "--size", 32),
        *("--ending", "back", "--no-even", "--out", out),
    )
    assert result.returncode == 0, result.stderr
    with Image.open(out) as found:
        assert found.n_frames == 8
        assert found.size == (32, 32)
    assert Image.open(tmp_path / "ab.strip.png").width == 5 * 196 - 4


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--out", "a.avi"], ".mp4, .gif, .webp"),
        (["--out", "a.gif", "--frames", "1"], "--frames 1"),
        (["--out", "a.gif", "--fps", "0"], "0 frames per second"),
        (["--out", "a.gif", "--size", "4"], "--size 4"),
    ],
)
def test_bad_settings_of_morph(arguments: list[str], said: str, folder: Path) -> None:
    a, b = (folder / f"{name}.codes.safetensors" for name in "ab")
    assert said in one_line(run("morph", a, b, "--model", folder / "m.safetensors", *arguments))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "one of --region and --mask"),
        (["--region", "tail"], "'tail'"),
        (["--mask", "gone.png"], "gone.png"),
        (["--region", "nose", "--steps", "0"], "--steps 0"),
    ],
)
def test_bad_settings_of_transplant(
    arguments: list[str], said: str, folder: Path, tmp_path: Path
) -> None:
    a, b = (folder / f"{name}.codes.safetensors" for name in "ab")
    common = ("--model", folder / "m.safetensors", "--out", tmp_path / "out")
    assert said in one_line(run("transplant", a, b, *common, *arguments))


@pytest.mark.network
def test_transplant(folder: Path, tmp_path: Path) -> None:
    a, b = (folder / f"{name}.codes.safetensors" for name in "ab")
    result = run(
        *("transplant", a, b, "--region", "mouth", "--steps", 2, "--blend"),
        *("--model", folder / "m.safetensors", "--out", tmp_path),
    )
    assert result.returncode == 0, result.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "a-with-b.codes.safetensors",
        "a-with-b.compare.png",
        "a-with-b.png",
    ]


def test_directions_listed(folder: Path) -> None:
    result = run("directions", "list", folder / "d.safetensors", "--json")
    assert result.returncode == 0, result.stderr
    rows = json.loads(result.stdout)
    assert [row["name"] for row in rows] == ["smile", "age", "hat"]
    assert rows[0]["layers"] == list(range(STYLES))


def test_bad_settings_of_find(folder: Path, tmp_path: Path) -> None:
    table = tmp_path / "t.csv"
    table.write_text("id,a\nphoto,1\n")
    common = ("directions", "find", "--model", folder / "m.safetensors", "--out", tmp_path / "o")
    assert "--contrast x" in one_line(
        run(*common, "--data", folder, "--attributes", table, "--contrast", "x")
    )
    assert "in this folder" in one_line(run(*common, "--data", tmp_path, "--attributes", table))
    assert "names 1 of" in one_line(run(*common, "--data", folder, "--attributes", table))
    assert "no such file" in one_line(run(*common, "--data", folder, "--attributes", "gone.csv"))
    assert not (tmp_path / "o").exists()
