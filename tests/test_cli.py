"""The command as a user runs it: a process, its output, its exit status, its files."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import wplus
from wplus import images, models
from wplus.config import ModelConfig, Part
from wplus.encoders import CompactEncoder
from wplus.generators import MobileStyleGAN
from wplus.psp import PSP

GENERATOR = {"style_dim": 16, "mapping_layers": 2, "stem_channels": 16, "channels": (16, 16)}


def run(*arguments: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "wplus", *map(str, arguments)]
    # An index that answers nothing: no test here may reach the network.
    environment = {**os.environ, "WPLUS_INDEX_URL": "http://127.0.0.1:9/simple", "COLUMNS": "200"}
    return subprocess.run(
        command, capture_output=True, text=True, cwd=cwd, env=environment, timeout=300
    )


def one_line_errors(result: subprocess.CompletedProcess[str]) -> list[str]:
    assert "Traceback" not in result.stderr
    lines = result.stderr.splitlines()
    assert all(line.startswith("error: ") for line in lines), result.stderr
    return lines


@pytest.fixture(scope="module")
def model_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model with an encoder, in our format."""
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
    path = tmp_path_factory.mktemp("model") / "tiny.safetensors"
    models.save(PSP(CompactEncoder(**options), generator, config), path)
    return path


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    noise = np.random.default_rng(0).integers(0, 256, (20, 16, 3), np.uint8)
    path = tmp_path / "photo.jpg"
    Image.fromarray(noise).resize((320, 400)).save(path)
    return path


def test_help_lists_the_commands() -> None:
    result = run("--help")
    assert result.returncode == 0
    for command in ("invert", "align", "sample", "decode", "evaluate", "convert", "models"):
        assert command in result.stdout


@pytest.mark.parametrize("command", ["invert", "align", "sample", "decode", "evaluate", "convert"])
def test_every_command_has_help_with_an_example(command: str) -> None:
    result = run(command, "--help")
    assert result.returncode == 0
    assert "Example: wplus" in result.stdout


def test_help_does_not_wait_for_torch() -> None:
    code = "import sys; from wplus import cli; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_invert_writes_everything_and_json_tells(model_file: Path, photo: Path) -> None:
    out = photo.parent / "out"
    result = run("invert", photo, "--out", out, "--model", model_file, "--no-align", "--json")
    assert result.returncode == 0, result.stderr
    [entry] = json.loads(result.stdout)
    assert entry["error"] is None
    assert entry["steps"] == 0
    assert sorted(p.name for p in out.iterdir()) == [
        "photo.codes.safetensors",
        "photo.compare.png",
        "photo.png",
    ]
    codes, metadata = wplus.codes.load(entry["codes"])
    model = wplus.load(model_file)
    assert codes.shape == (model.num_styles, 16)
    assert metadata["model"] == str(model_file)
    # The middle square of 320 × 400, in pixels of the photograph.
    assert metadata["crop"]["quad"][0] == [-0.5, 39.5]
    assert metadata["crop"]["quad"][2] == [319.5, 359.5]
    # The picture is what the code says, and the code what the encoder says.
    picture = images.to_picture(model.decode(codes[None]))
    assert np.array_equal(np.asarray(picture), np.asarray(Image.open(entry["reconstruction"])))
    middle = Image.open(photo).crop((0, 40, 320, 360)).resize((256, 256), Image.Resampling.BILINEAR)
    torch.testing.assert_close(model.encode(images.to_tensor(middle))[0], codes)


def test_inputs_of_one_name_do_not_overwrite(model_file: Path, photo: Path) -> None:
    folder = photo.parent / "other"
    folder.mkdir()
    Image.open(photo).rotate(180).save(folder / photo.name)
    out = photo.parent / "out"
    result = run("invert", photo, folder, "--out", out, "--model", model_file, "--no-align")
    assert result.returncode == 0, result.stderr
    assert {p.name for p in out.glob("*.codes.safetensors")} == {
        "photo.codes.safetensors",
        "photo-2.codes.safetensors",
    }


def test_bad_inputs_get_a_line_each_and_the_others_are_done(model_file: Path, photo: Path) -> None:
    folder = photo.parent
    (folder / "text.jpg").write_text("I am a text.\n" * 50)
    (folder / "cut.jpg").write_bytes(photo.read_bytes()[: photo.stat().st_size // 2])
    Image.new("RGB", (1, 1)).save(folder / "dot.png")
    Image.new("1", (20_000, 20_000)).save(folder / "huge.png")
    (folder / "folder.png").mkdir()
    bad = ["text.jpg", "cut.jpg", "dot.png", "huge.png", "folder.png", "missing.png"]
    out = folder / "out"
    paths = [folder / name for name in bad]
    result = run("invert", *paths, photo, "--out", out, "--model", model_file, "--no-align")
    assert result.returncode == 1
    lines = one_line_errors(result)
    assert len(lines) == len(bad)
    for line, path in zip(lines, paths):
        assert str(path) in line
    assert sorted(p.name for p in out.iterdir()) == [
        "photo.codes.safetensors",
        "photo.compare.png",
        "photo.png",
    ]


class Evil:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (f"touch {self.target}",)


@pytest.mark.parametrize("suffix", [".pt", ".pkl", ".ckpt"])
def test_a_checkpoint_that_would_run_a_command_is_refused(suffix: str, photo: Path) -> None:
    target = photo.parent / "harm"
    checkpoint = photo.parent / f"evil{suffix}"
    checkpoint.write_bytes(pickle.dumps(Evil(target)))
    out = photo.parent / "out"
    result = run("invert", photo, "--out", out, "--model", checkpoint, "--no-align")
    assert result.returncode == 1
    [line] = one_line_errors(result)
    assert str(checkpoint) in line
    assert not target.exists()
    assert not out.exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--model", "no-such-model"], "no-such-model"),
        (["--model", "missing.pt"], "missing.pt"),
        (["--refine", "-3"], "--refine -3"),
        (["--device", "toaster"], "toaster"),
    ],
)
def test_bad_settings_get_one_line(
    arguments: list[str], said: str, model_file: Path, photo: Path
) -> None:
    settings = arguments if "--model" in arguments else [*arguments, "--model", str(model_file)]
    result = run("invert", photo, "--out", photo.parent / "out", "--no-align", *settings)
    assert result.returncode == 1
    [line] = one_line_errors(result)
    assert said in line
    assert not (photo.parent / "out").exists()


def test_an_output_folder_that_is_a_file(model_file: Path, photo: Path) -> None:
    result = run("invert", photo, "--out", photo, "--model", model_file, "--no-align")
    assert result.returncode == 1
    [line] = one_line_errors(result)
    assert "is a file" in line


def test_no_network_is_one_line(
    photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WPLUS_CACHE", str(tmp_path / "cache"))
    result = run("invert", photo, "--out", photo.parent / "out", "--no-align")
    assert result.returncode == 1
    assert "Traceback" not in result.stderr
    assert len([line for line in result.stderr.splitlines() if line.startswith("error: ")]) == 1


def test_sample_and_decode_agree(model_file: Path, tmp_path: Path) -> None:
    result = run(
        "sample", "--out", tmp_path / "a", "--count", 2, "--seed", 4, "--model", model_file
    )
    assert result.returncode == 0, result.stderr
    codes = sorted((tmp_path / "a").glob("*.codes.safetensors"))
    assert len(codes) == 2
    result = run("decode", *codes, "--out", tmp_path / "b", "--model", model_file)
    assert result.returncode == 0, result.stderr
    for first in (tmp_path / "a").glob("*.png"):
        second = tmp_path / "b" / first.name
        assert np.array_equal(np.asarray(Image.open(first)), np.asarray(Image.open(second)))


def test_decode_names_codes_that_do_not_fit(model_file: Path, tmp_path: Path) -> None:
    wplus.codes.save(torch.zeros(18, 512), tmp_path / "wrong.codes.safetensors")
    result = run(
        "decode", tmp_path / "wrong.codes.safetensors", "--out", tmp_path, "--model", model_file
    )
    assert result.returncode == 1
    [line] = one_line_errors(result)
    assert "wrong.codes.safetensors" in line


def test_convert(model_file: Path, tmp_path: Path) -> None:
    result = run("convert", model_file, tmp_path / "copy.safetensors")
    assert result.returncode == 0, result.stderr
    first, second = wplus.load(model_file), wplus.load(tmp_path / "copy.safetensors")
    for (name, a), (_, b) in zip(first.state_dict().items(), second.state_dict().items()):
        assert torch.equal(a, b), name
    torch.save({"cp.resnet.conv1.weight": torch.zeros(4, 3, 7, 7)}, tmp_path / "parser.pth")
    result = run("convert", tmp_path / "parser.pth", tmp_path / "parser.safetensors")
    assert result.returncode == 1
    [line] = one_line_errors(result)
    assert "it is not a face parser" in line
    assert not (tmp_path / "parser.safetensors").exists()
    result = run("convert", model_file, tmp_path / "copy.pt")
    assert result.returncode == 1
    [line] = one_line_errors(result)
    assert ".safetensors" in line


def test_models_list_and_where(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WPLUS_CACHE", str(tmp_path / "cache"))
    listed = json.loads(run("models", "list", "--json").stdout)
    assert {row["name"] for row in listed} == set(wplus.weights.ASSETS)
    assert all(row["cached"] is None for row in listed)
    assert run("models", "where").stdout.strip() == str(tmp_path / "cache")
    assert run("models", "verify").returncode == 0
    unknown = run("models", "fetch", "lpips-alexnet")
    assert unknown.returncode == 1
    assert "lpips-alexnet.ckpt" in unknown.stderr
