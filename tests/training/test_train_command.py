"""`wplus train`: flags, files, what it says, how it ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from test_setup import SMALL, photos
from toy import tiny

import wplus
from wplus import models
from wplus.cli import app
from wplus.cli.train import tables
from wplus.errors import ConfigError
from wplus.training import state

Flags = dict[str, object]


@pytest.fixture
def flags(tmp_path: Path) -> Flags:
    """A run of seconds that fetches nothing."""
    generator = tmp_path / "generator.safetensors"
    models.save(tiny.model("mobilestylegan", None), generator)
    return {
        "out": tmp_path / "run",
        "data": photos(tmp_path / "photos", 6),
        "hold-out": 2,
        "workers": 0,
        "generator": generator,
        "trunk": "none",
        "encoder-options": json.dumps(SMALL),
        "lpips": 0,
        "identity": 0,
        "device": "cpu",
        "batch": 2,
        "steps": 3,
        "previews": 1,
    }


def line(flags: Flags) -> list[str]:
    return [str(word) for name, value in flags.items() for word in (f"--{name}", value)]


def call(*arguments: object) -> int:
    """In this process; errors come as they are."""
    command, bound, _ = app.parse_args([str(each) for each in arguments], exit_on_error=False)
    return int(command(*bound.args, **bound.kwargs))


def test_train_go_on_and_use(
    flags: Flags, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    assert call("train", *line(flags)) == 0
    said = capsys.readouterr()
    assert said.out.startswith(f"{run}: all steps are made, 3 of 3 steps made; best loss ")
    assert "step 3/3  loss" in said.err
    assert "step 3, validation: l2" in said.err
    assert call("train", "--out", run, "--steps", "5") == 0
    assert "5 of 5 steps made" in capsys.readouterr().out
    assert [path.name for path in state.states(run)] == [
        "00000003.safetensors",
        "00000005.safetensors",
    ]
    assert wplus.load(run / "model.safetensors").config.task == "inversion"
    with pytest.raises(ConfigError, match=r"this run has learning_rate 0\.0001, not 0\.001"):
        call("train", *line(flags), "--learning-rate", 0.001)


def test_a_dry_run_prints_every_setting_and_does_nothing(
    flags: Flags, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    assert call("train", *line(flags), "--dry-run", "--truncation", "0.6", "0.8") == 0
    printed = json.loads(capsys.readouterr().out)
    assert not run.exists()
    assert printed["losses"]["l2"] == 1.0  # of the task
    assert printed["losses"]["lpips"] == 0.0
    assert printed["network"]["encoder_options"] == json.loads(json.dumps(SMALL))
    assert printed["data"]["truncation"] == [0.6, 0.8]

    file = tmp_path / "settings.json"
    file.write_text(json.dumps(printed))
    assert call("train", "--out", run, "--config", file, "--batch", "4", "--dry-run") == 0
    again = json.loads(capsys.readouterr().out)
    assert again.pop("optimizer") == {**printed.pop("optimizer"), "batch": 4}
    assert again == printed


def test_flags_become_groups() -> None:
    given = tables({"task": "sketch", "batch": 4, "compile": False, "encoder_options": '{"a": 1}'})
    assert given == {
        "task": "sketch",
        "data": {},
        "network": {"encoder_options": {"a": 1}},
        "losses": {},
        "optimizer": {"batch": 4},
        "run": {"compile": False},
    }


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("encoder-options", "{", "--encoder-options {: is no JSON"),
        ("task", "inverison", "no task 'inverison'"),
        ("batch", 0, "batch must be at least 1"),
        ("config", "gone.json", "gone.json: cannot be read"),
        ("data", "gone", "gone: cannot be read as a folder"),
        ("generator", "gone.pt", "gone.pt"),
        ("hold-out", 6, "hold_out 6: there are only 6 images"),
        ("encoder", "none", "no encoder 'none'"),
        ("device", "toaster", "'toaster' cannot be used here"),
        ("l2", 0, "every loss has weight 0"),
    ],
)
def test_what_is_wrong_is_one_error(
    flags: Flags, tmp_path: Path, name: str, value: object, said: str
) -> None:
    run = tmp_path / "run"
    with pytest.raises(wplus.WplusError) as error:
        call("train", *line({**flags, name: value}))
    assert said in str(error.value)
    assert not (run / "config.json").exists()


def test_an_output_that_is_a_file(flags: Flags, tmp_path: Path) -> None:
    with pytest.raises(wplus.WplusError, match="is a file"):
        call("train", *line({**flags, "out": flags["generator"]}))


def process(*arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "wplus", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "WPLUS_INDEX_URL": "http://127.0.0.1:9/simple"},
    )


@pytest.mark.slow
@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signals(flags: Flags, tmp_path: Path, number: int, status: int) -> None:
    run = tmp_path / "run"
    started = process("train", *line({**flags, "steps": 1_000_000, "log-every": 1, "workers": 1}))
    log = run / "metrics.jsonl"
    while not (log.exists() and len(log.read_text().splitlines()) > 3):
        assert started.poll() is None
    started.send_signal(number)
    out, err = started.communicate()
    assert started.returncode == status
    assert "Traceback" not in err
    [said] = out.splitlines()
    step = int(state.states(run)[-1].stem)
    assert f"{signal.Signals(number).name}, {step} of 1000000 steps made" in said
    assert json.loads(log.read_text().splitlines()[-1])["step"] == step


@pytest.mark.slow
def test_help_shows_every_group_without_torch() -> None:
    result = subprocess.run(
        [sys.executable, "-m", "wplus", "train", "--help"], capture_output=True, text=True
    )
    assert result.returncode == 0
    for text in ("Example: wplus train", "--learning-rate", "[default: 0.0001]", "--config"):
        assert text in result.stdout
