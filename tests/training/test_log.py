"""The log and the previews of a run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from wplus import images
from wplus.errors import ConfigError
from wplus.sources import SOURCES
from wplus.training import log
from wplus.training.log import Log, Means, Speed, StepReport, duration


def filled(folder: Path, steps: range) -> None:
    out = Log(folder, steps.start - 1)
    for step in steps:
        out.write("train", step, {"loss": 1 / step, "l2": 2 / step})
    out.write("validation", steps[-1], {"loss": 0.5})
    out.close()


def test_a_line_for_every_event(tmp_path: Path) -> None:
    filled(tmp_path, range(1, 4))
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert json.loads(lines[1]) == {"step": 2, "event": "train", "loss": 0.5, "l2": 1.0}
    assert json.loads(lines[-1]) == {"step": 3, "event": "validation", "loss": 0.5}


def test_what_lies_after_the_last_state_is_written_anew(tmp_path: Path) -> None:
    filled(tmp_path, range(1, 9))
    filled(tmp_path, range(6, 8))
    found = [(e["event"], e["step"]) for e in log.read(tmp_path / "metrics.jsonl")]
    assert found == [("train", step) for step in range(1, 8)] + [("validation", 7)]


def test_a_line_cut_short_by_a_dying_process_is_dropped(tmp_path: Path) -> None:
    filled(tmp_path, range(1, 4))
    path = tmp_path / "metrics.jsonl"
    path.write_text(path.read_text() + '{"step": 3, "event": "tr')
    filled(tmp_path, range(4, 6))
    assert [e["step"] for e in log.read(path)] == [1, 2, 3, 3, 4, 5, 5]


def test_a_damaged_log_is_named(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1, "event": "train"}\nhello\n{"step": 2, "event": "train"}\n')
    with pytest.raises(ConfigError, match=r"metrics\.jsonl, line 2: is no line of a training log"):
        Log(tmp_path, 5)


def test_tensorboard_where_it_is_installed(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    filled(tmp_path, range(1, 3))
    [event] = (tmp_path / "tensorboard").iterdir()
    assert b"train/loss" in event.read_bytes()
    assert b"validation/loss" in event.read_bytes()


def test_it_does_without_tensorboard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    filled(tmp_path, range(1, 3))
    assert not (tmp_path / "tensorboard").exists()
    assert len(log.read(tmp_path / "metrics.jsonl")) == 3


def test_means_weigh_and_go_on() -> None:
    means = Means()
    means.add({"a": 1.0, "b": 5.0})
    means.add({"a": 4.0}, count=2)
    again = Means(json.loads(json.dumps(means.state())))
    for each in (means, again):
        assert each.take() == {"a": 3.0, "b": 5.0}
        assert each.take() == {}
    again.add({"a": 7.0})
    assert means.take() == {}  # nothing shared


@pytest.mark.parametrize(
    ("seconds", "told"),
    [
        (0.4, "0 s"),
        (59.4, "59 s"),
        (60, "1 min"),
        (3570, "60 min"),
        (3590, "60 min"),
        (3660, "1 h 1 min"),
        (86_400 * 2.5, "2 d 12 h"),
    ],
)
def test_durations(seconds: float, told: str) -> None:
    assert duration(seconds) == told.replace("60 min", "1 h 0 min")


def test_the_line_of_progress() -> None:
    at = StepReport(3, 10, {"l2": 0.25, "loss": 0.5, "gradient": 9.0}, 12.34, 90)
    assert str(at) == "step 3/10  loss 0.5000  l2 0.2500  12.3 images/s  2 min left"


def test_speed_leaves_pauses_out(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]
    monkeypatch.setattr(log.time, "monotonic", lambda: clock[0])
    speed = Speed(window=60)
    clock[0] += 2
    assert speed.add(8) == pytest.approx(4)
    clock[0] += 1000
    speed.pause(1000)
    clock[0] += 2
    assert speed.add(8) == pytest.approx(4)
    for _ in range(100):  # what is long past does not count
        clock[0] += 1
        last = speed.add(8)
    assert last == pytest.approx(8, rel=0.01)


def test_every_kind_of_source_can_be_shown() -> None:
    photo = torch.rand(3, 8, 8) * 2 - 1
    shown = SOURCES.find("photo").kind.preview(photo)
    assert shown.tobytes() == images.to_picture(photo[None]).tobytes()
    sketch = torch.tensor([[[0.0, 1.0]]])
    assert list(SOURCES.find("sketch").kind.preview(sketch).tobytes()) == [0] * 3 + [255] * 3
    labels = torch.eye(19)[:, None]  # (19, 1, 19): every class once
    shown = SOURCES.find("labels").kind.preview(labels)
    assert shown.size == (19, 1)
    assert len({shown.getpixel((x, 0)) for x in range(19)}) == 19
    assert shown.getpixel((0, 0)) == (0, 0, 0)  # the background is black
