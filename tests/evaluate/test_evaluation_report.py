"""Reports: the table says what the numbers are, the files hold them all, the sheets the worst."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from toy_evaluation import tensor

from wplus import images
from wplus.errors import ImageError
from wplus.evaluate import remarks, table, write
from wplus.evaluate.results import Failure, MethodScores, Report, SetValue
from wplus.evaluate.sheets import Cell, Row, Sheet


def result(
    method: str, shift: float = 0.0, data: str = "faces", fid: float | None = 12.34
) -> MethodScores:
    lpips = np.array([0.25, 0.5, np.nan, 0.75]) + shift
    identity = np.array([0.5, np.nan, np.nan, 0.7])
    return MethodScores(
        data,
        method,
        ["a.png", "b.png", "c.png", "d, e.png"],
        {"lpips_alexnet": lpips, "mse": lpips / 4, "identity": identity},
        {} if fid is None else {"fid": SetValue(fid, 3)},
        np.array([0.1, 0.2, 0.3, 9.0]),
        2,
    )


def report(*results: MethodScores) -> Report:
    failures = [
        Failure("faces", f"broken{i}.jpg", "unreadable", f"x/broken{i}.jpg: is damaged")
        for i in range(7)
    ]
    failures.append(Failure("faces", "c.png", "broken result", "not finite", "one pass"))
    settings = {"seed": 0, "nothing": float("nan"), "data": Path("photos")}
    return Report(list(results), failures, ["Note."], {"identity": "EdgeFace-S"}, settings)


def rows(one: Report) -> dict[str, list[str]]:
    heads, found = table(one)
    assert all(len(row) == len(heads) for row in found)
    return {title: cells for title, *cells in found}


def test_table() -> None:
    both = report(result("one pass"), result("one pass + 30 steps", shift=-0.2))
    found = rows(both)
    first, second, change = found["LPIPS (AlexNet) ↓"]
    assert first.startswith("0.500 [")
    assert second.startswith("0.300 [")
    assert change == "-0.200 [-0.200, -0.200]"  # paired: the same in every picture
    assert found["identity (EdgeFace-S) ↑"][0].startswith("0.600 [0.500, 0.700]")
    assert found["FID ↓"][0] == "12.3 (of 3 images)"
    assert found["seconds per image ↓"] == ["0.25", "0.25", ""]
    assert found["images"][:2] == ["4", "4"]
    assert table(both)[0][1:] == [
        *("faces\none pass", "faces\none pass + 30 steps", "change\nfrom one pass")
    ]


def test_table_without_fid_and_of_two_sets() -> None:
    found = rows(report(result("one pass", fid=None), result("one pass", data="own", fid=None)))
    assert "FID ↓" not in found
    assert len(found["images"]) == 2  # no change between different pictures


def test_remarks_count_and_name() -> None:
    lines = remarks(report(result("one pass")))
    assert lines[0].startswith("mean [95% bootstrap interval over images]")
    assert "batches of 2" in lines[0]
    assert lines[1] == (
        "7 unreadable: broken0.jpg, broken1.jpg, broken2.jpg, broken3.jpg, broken4.jpg and 2 more"
    )
    assert lines[2] == "1 broken result: c.png (one pass)"
    assert "fewer than 2,048" in lines[3]
    assert lines[4] == "Note."
    assert not any("2,048" in line for line in remarks(report(result("one pass", fid=None))))


def test_failures_name_the_image_once() -> None:
    assert Failure("d", "1.jpg", "unreadable", "x/1.jpg: is empty").line == "x/1.jpg: is empty"
    assert Failure("d", "a", "no face", "no face found").line == "a: no face found"
    assert Failure("d", "1", "broken result", "1 NaN", "one pass").line == "1 (one pass): 1 NaN"


def test_files(tmp_path: Path) -> None:
    both = report(result("one pass"), result("one pass + 30 steps", shift=-0.2))
    files = write(both, tmp_path / "new" / "folder")
    assert [file.name for file in files] == ["report.json", "images.csv"]
    content = json.loads(files[0].read_text("utf-8"), parse_constant=pytest.fail)  # no NaN in it
    assert content == both.to_dict()
    assert content["settings"] == {"seed": 0, "nothing": None, "data": "photos"}
    first, second = content["results"]
    assert first["metrics"]["lpips_alexnet"]["mean"] == 0.5
    assert first["metrics"]["lpips_alexnet"]["better"] == "lower"
    assert first["metrics"]["identity"] == {
        "mean": pytest.approx(0.6),
        "low": 0.5,
        "high": 0.7,
        "count": 2,
        "better": "higher",
    }
    assert first["fid"] == {"value": 12.34, "images": 3, "biased": True}
    assert first["seconds"] == {"median": 0.25, "batch": 2}
    assert "change" not in first
    assert second["change"]["from"] == "one pass"
    assert second["change"]["metrics"]["lpips_alexnet"]["mean"] == pytest.approx(-0.2)
    assert first["per_image"][1] == {
        "name": "b.png",
        "lpips_alexnet": 0.5,
        "mse": 0.125,
        "identity": None,
    }
    assert len(content["failures"]) == 8

    with files[1].open(newline="", encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    assert len(lines) == 8
    assert lines[3]["name"] == "d, e.png"
    assert lines[2]["lpips_alexnet"] == ""
    assert float(lines[4]["lpips_alexnet"]) == pytest.approx(0.05)
    assert [line["method"] for line in lines].count("one pass + 30 steps") == 4


def row(name: str, value: float, image: torch.Tensor | None) -> Row:
    return Row(name, tensor(0), [Cell("one pass", image, {"lpips_alexnet": value, "mse": value})])


def test_the_worst_are_kept_worst_first() -> None:
    values = [0.3, 0.9, float("nan"), 0.1, 0.9, 0.5]
    worst = Sheet("worst", 4, "lpips_alexnet")
    for i, value in enumerate(values):
        worst.offer(row(str(i), value, None if np.isnan(value) else tensor(i)))
    assert [kept.name for kept in worst.rows] == ["2", "1", "4", "5"]
    least = Sheet("worst", 2, "identity")
    for i, value in enumerate(values):
        least.offer(Row(str(i), tensor(0), [Cell("a", None, {"identity": value})]))
    assert [kept.name for kept in least.rows] == ["2", "3"]


def test_sheets_show_images_beside_their_results() -> None:
    first = Sheet("first", 3)
    for i in range(5):
        first.offer(row(str(i), 0.5, None if i == 1 else tensor(i)))
    assert [kept.name for kept in first.rows] == ["0", "1", "2"]
    page = first.draw()
    assert page.width == 2 * (2 * 256 + 4) + 12  # two columns of picture and result
    assert page.crop((0, 0, 256, 256)).tobytes() == images.to_picture(tensor(0)).tobytes()
    assert page.getpixel((256 + 4 + 128 + 516 + 12, 128)) == (128, 128, 128)  # no result
    with pytest.raises(ImageError):
        Sheet("first", 3).draw()
