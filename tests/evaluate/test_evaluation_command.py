"""`wplus evaluate` as a user runs it, and the settings that it takes."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from wplus.errors import ConfigError
from wplus.evaluate import Options, Scorer, evaluate_files
from wplus.losses import LPIPS
from wplus.psp import PSP

OFFLINE = ("--without", "lpips-alexnet", "lpips-vgg16", "fid")


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "wplus", "evaluate", *map(str, arguments)]
    # An index that answers nothing: no test here may reach the network.
    environment = {**os.environ, "WPLUS_INDEX_URL": "http://127.0.0.1:9/simple", "COLUMNS": "200"}
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)


def test_a_model_on_photographs_and_its_own_samples(
    model_file: Path, face_net_file: Path, photos: Path, tmp_path: Path
) -> None:
    (photos / "text.jpg").write_text("I am a text.\n" * 50)
    out = tmp_path / "out"
    net = ("--model", model_file, "--face-net", face_net_file)
    result = run(*net, "--data", photos, "--samples", 2, "--out", out, *OFFLINE)
    assert result.returncode == 1
    [line] = result.stderr.splitlines()
    assert line.startswith(f"error: {photos / 'text.jpg'}: ")
    for said in ("one pass", "unseen-seeds", "MSE in", "identity (grid)", "1 unreadable: text.jpg"):
        assert said in result.stdout
    assert sorted(file.name for file in out.iterdir()) == [
        "images.csv",
        "photos-first.png",
        "photos-worst.png",
        "report.json",
        "unseen-seeds-first.png",
        "unseen-seeds-worst.png",
    ]
    content = json.loads((out / "report.json").read_text())
    assert [entry["images"] for entry in content["results"]] == [5, 2]
    assert content["settings"]["model"] == str(model_file)
    worst = Image.open(out / "photos-worst.png")
    assert worst.width == 2 * (2 * 256 + 4) + 12


def test_pairs_as_json(face_net_file: Path, photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    shutil.copytree(photos, out)
    (out / "000.png").rename(out / "000.compare.png")
    (photos / "000.png").unlink()
    for path in out.glob("00?.png"):
        path.rename(out / f"{path.stem}_out.png")
    folders = ("--pairs", photos, out, "--suffixes", "", "_out")
    result = run(*folders, "--face-net", face_net_file, "--json", *OFFLINE)
    assert result.returncode == 0, result.stderr
    [entry] = json.loads(result.stdout)["results"]
    assert (entry["method"], entry["images"]) == ("files", 4)
    assert entry["metrics"]["mse"]["mean"] == 0
    assert entry["metrics"]["psnr"]["mean"] == 100
    assert "lpips_alexnet" not in entry["metrics"]


def test_unpaired_folders_are_one_line(face_net_file: Path, photos: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (photos / "004.png").rename(other / "four.png")
    result = run("--pairs", photos, other, "--face-net", face_net_file, *OFFLINE)
    assert result.returncode == 1
    [line] = result.stderr.splitlines()
    assert line.startswith("error: 5 images have no partner of the same stem")
    assert str(other / "four.png") in line


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({}, "nothing to score"),
        ({"model": "m"}, "nothing to score"),
        ({"model": "m", "data": Path("d"), "batch": 0}, "batch 0: must be at least 1"),
        ({"model": "m", "data": Path("d"), "limit": 0}, "limit 0"),
        ({"model": "m", "samples": -1}, "samples -1"),
        ({"model": "m", "data": Path("d"), "refine": -3}, "refine -3"),
        ({"pairs": (Path("a"), Path("b")), "refine": 3}, "pairs exclude a model"),
        ({"pairs": (Path("a"), Path("b")), "data": Path("d")}, "pairs exclude a model"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        Options(**settings)  # type: ignore[arg-type]


def test_results_do_not_go_where_pictures_are_read(
    photos: Path, model: PSP, scorer: Scorer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Options(model="m", data=photos)
    for out in (photos, photos / "results", photos / ".." / "photos" / "more"):
        with pytest.raises(ConfigError, match="would be scored the next time"):
            evaluate_files(settings, model, out, scorer=scorer)
    monkeypatch.chdir(photos.parent)
    with pytest.raises(ConfigError, match="would be scored the next time"):
        evaluate_files(Options(model="m", data=Path("photos")), model, photos, scorer=scorer)
    assert len(list(photos.iterdir())) == 5
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(ConfigError, match="is a file"):
        evaluate_files(settings, model, file, scorer=scorer)


def test_everything_together(
    photos: Path, model: PSP, scorer: Scorer, lpips: LPIPS, tmp_path: Path
) -> None:
    settings = Options(model="m", data=photos, samples=1, refine=1, limit=1)
    steps: list[tuple[str, int, int]] = []
    report, files = evaluate_files(
        settings,
        model,
        tmp_path / "out",
        scorer=scorer,
        lpips=lpips,
        progress=lambda name: lambda done, total: steps.append((name, done, total)),
    )
    assert [(result.data, result.method) for result in report.results] == [
        (name, method)
        for name in ("photos", "unseen-seeds")
        for method in ("one pass", "one pass + 1 step")
    ]
    assert steps == [("photos", 1, 1), ("unseen-seeds", 1, 1)]
    assert len(files) == 6
    assert all(file.stat().st_size > 0 for file in files)
    assert report.settings["refine"] == 1
    assert report.settings["device"] == "cpu"
    json.dumps(report.to_dict(), allow_nan=False)


def test_metrics_to_leave_out_are_found_by_name(photos: Path, model: PSP, tmp_path: Path) -> None:
    every = ("lpips-alexnet", "lpips-vgg16", "identity", "fid")
    report, _ = evaluate_files(Options(data=photos, limit=1, without=every), model)
    assert list(report.results[0].values) == ["mse", "psnr"]
    with pytest.raises(ConfigError, match="no metric 'msee'; did you mean mse"):
        evaluate_files(Options(data=photos, without=("msee",)), model)
    with pytest.raises(ConfigError, match="nothing to score"):
        evaluate_files(Options(data=photos, without=(*every, "mse", "psnr")), model)
