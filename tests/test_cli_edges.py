"""The edges of the command: signals, odd terminals, values that would pass for others."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from PIL import Image

from tiny import model
from wplus import models

COMMAND = [sys.executable, "-m", "wplus"]


def run(*arguments: object, **variables: str) -> subprocess.CompletedProcess[bytes]:
    environment = {**os.environ, "COLUMNS": "200", **variables}
    return subprocess.run(
        [*COMMAND, *map(str, arguments)], capture_output=True, check=False, env=environment
    )


def error(*arguments: object, status: int = 1) -> str:
    """The one line that a command fails with."""
    result = run(*arguments)
    assert result.returncode == status, result.stderr.decode()
    [line] = result.stderr.decode().splitlines()
    assert line.startswith("error: ")
    return line.removeprefix("error: ")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("after", [0.1, 0.4, 1.5])
def test_a_signal_at_any_moment_is_one_word(number: int, after: float, tmp_path: Path) -> None:
    process = subprocess.Popen(
        [*COMMAND, "sample", "--count", "9999", "--out", tmp_path],
        stderr=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(
            signal.SIGINT, signal.SIG_DFL
        ),  # ignored in the background
    )
    time.sleep(after)
    process.send_signal(number)
    try:
        said = process.communicate(timeout=120)[1].decode()
    finally:
        process.kill()
    if process.returncode == -number or "Fatal Python error" in said or "site" in said:
        return  # before Python had started
    if process.returncode != 1:  # it had ended
        assert process.returncode == 128 + number
        assert re.fullmatch(r"stopped(; \d+ done)?\n", said)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["sample", "--out", "x", "--seed", "0.5"], "--seed 0.5: must be a whole number"),
        (["explore", "x.png", "--out", "x", "--count", "2.5"], "--count 2.5: must be a whole"),
        (["edit", "x.png", "--out", "x", "--smile", "nan"], "--smile nan: must be a finite number"),
        (["sample", "--out", "x", "--truncation", "-inf"], "--truncation -inf: must be a finite"),
        (["sample", "--out", ""], "--out '': is empty"),
        (["train", "--out", ""], "--out '': is empty"),
        (["invert", "", "--out", "x"], "PHOTOS '': is empty"),
        (["decode", "", "--out", "x"], "CODES '': is empty"),
        (["sample", "--out", "x", "--count", 10**11], "1 to 10,000"),
        (["sample", "--out", "x", "--device", "meta"], "--device meta: this machine has none"),
        (["sample", "--out", "x", "--device", "cuda:77"], "--device cuda:77: this machine has"),
        (["invert", "x.png", "--out", "x", "--device", "cpu:x"], "--device cpu:x"),
        (["translate", "x.png", "--out", "x", "--task", "skech"], "did you mean sketch?"),
    ],
)
def test_values_that_would_pass_for_others(
    arguments: list[object], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert said in error(*arguments)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["invert"], "PHOTOS requires an argument. See wplus invert --help"),
        (["sample", "--seed", "x", "--out", "x"], 'unable to convert "x" into int'),
        (["sample", "--sed", "1", "--out", "x"], "Did you mean --seed?"),
        (["invrt", "x.jpg"], 'Did you mean "invert"?'),
        (["prepare", "sketch", "x"], "See wplus prepare --help"),
        (["decode", "x", "--out", "x", "--precision", "int8\x1b[31m\n"], r"\x1b[31m"),
    ],
)
def test_usage_errors_are_one_line(arguments: list[str], said: str) -> None:
    line = error(*arguments, status=2)
    assert said in line
    assert "\x1b" not in line


def test_files_named_like_options(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    models.save(model(), tmp_path / "tiny.safetensors")
    for name in ("-dash.png", "-n"):
        Image.new("RGB", (32, 32)).save(name, format="PNG")
    result = run(
        "invert", "-dash.png", "-n", "--no-align", "--model", "tiny.safetensors", "--out", "o"
    )
    assert result.returncode == 0, result.stderr.decode()
    assert {path.name for path in Path("o").glob("*.png")} >= {"-dash.png", "-n.png"}


@pytest.mark.parametrize("variables", [{"PYTHONIOENCODING": "ascii"}, {"LC_ALL": "C"}])
@pytest.mark.parametrize("arguments", [["--help"], ["invert", "--help"], ["directions", "list"]])
def test_terminals_without_our_letters(arguments: list[str], variables: dict[str, str]) -> None:
    result = run(*arguments, **variables)
    assert (result.returncode, result.stderr) == (0, b"")
    if "PYTHONIOENCODING" in variables:
        assert result.stdout.isascii()


def test_names_reach_no_terminal_raw(tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    for name in ("bad\nerror: disk failure.jpg", "\x1b[31mred.png", "\x9b31m.webp", "\u202e.png"):
        (folder / name).write_bytes(b"x")
    (folder / ("long" * 60 + ".png")).write_bytes(b"x")
    for command in (
        ["align", folder, "--out", tmp_path / "out"],
        ["align", folder, "--out", tmp_path / "out", "--json"],
        ["prepare", "sketches", folder, "--out", tmp_path / "out2"],
        ["convert", folder / "\x1b[31mred.png", tmp_path / "x.safetensors"],
        ["models", "fetch", "\x1b[31m"],
        ["train", "--data", folder, "--out", tmp_path / "run\x1b[31m", "--device", "cpu"],
        ["train", "--config", folder / "\x1b[31mred.png", "--out", tmp_path / "run"],
        ["directions", "list", folder / "\x1b[31mred.png"],
    ):
        result = run(*command)
        assert result.returncode == 1
        text = (result.stdout + result.stderr).decode()
        assert all(letter.isprintable() for line in text.splitlines() for letter in line), command
        lines = result.stderr.decode().splitlines()
        assert command[0] == "train" or all(re.match("(error|warning): ", each) for each in lines)
        assert not any(line.startswith("error: disk failure") for line in lines)


def test_advice_names_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("photos").mkdir()
    for name in ("photo.jpg", "photo.png", "photo.webp", "photo.gif", "photos/1.png"):
        Image.new("RGB", (64, 64)).save(name)
    for name in ("photo.jpg", "photo.png", "photo.webp", "photo.gif"):
        assert error("convert", name, "x.safetensors") == f"{name}: is an image, not a model"
    assert "is an image, not a model" in error("sample", "--model", "./photo.png", "--out", "x")
    for command in (["invert"], ["edit", "--smile", "1"], ["explore"]):
        said = error(*command, "photo.png", "--model", "faces-sketch", "--out", "x")
        assert "`wplus translate --task sketch`" in said
    train = ("train", "--data", "photos", "--out", "run", "--device")
    assert "--similarity-net FILE" in error(*train, "cpu", "--task", "domain")
    assert "this machine has" in error(*train, "cpu", "--devices", "99")
    assert "device 'meta' cannot be used" in error(*train, "meta")
