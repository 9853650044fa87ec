from __future__ import annotations

import builtins
import weakref
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from wplus.editing import video
from wplus.editing.animation import durations
from wplus.errors import ConfigError, WplusError


def frames(count: int = 5, size: tuple[int, int] = (64, 48)) -> list[Image.Image]:
    return [Image.new("RGB", size, (40 * i, 100, 200 - 30 * i)) for i in range(count)]


@pytest.mark.parametrize(("suffix", "milliseconds"), [(".gif", 40), (".webp", 40)])
def test_gif_and_webp_keep_frames_colors_and_time(
    suffix: str, milliseconds: int, tmp_path: Path
) -> None:
    path = tmp_path / f"a{suffix}"
    video.write(iter(frames()), path, fps=25)
    with Image.open(path) as found:
        assert found.n_frames == 5
        assert found.info["loop"] == 0
        for i, frame in enumerate(frames()):
            found.seek(i)
            found.load()
            assert found.info["duration"] == milliseconds
            difference = np.asarray(found.convert("RGB"), int) - np.asarray(frame, int)
            assert np.abs(difference).max() <= 6


@pytest.mark.parametrize("suffix", [".gif", ".webp"])
def test_frames_are_not_kept(suffix: str, tmp_path: Path) -> None:
    """The frame at hand and at most the one before it: a long film takes no more memory."""
    alive: list[weakref.ref[Image.Image]] = []

    def film() -> Iterator[Image.Image]:
        for frame in frames(7):
            found = frame.resize((40, 30))
            alive.append(weakref.ref(found))
            yield found
            del frame, found
            assert sum(ref() is not None for ref in alive) <= 2

    video.write(film(), tmp_path / f"a{suffix}", fps=30)
    assert len(alive) == 7


@pytest.mark.parametrize("suffix", [".gif", ".webp"])
def test_few_colors_many_colors_and_equal_frames(suffix: str, tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (6, 5, 3), dtype=np.uint8)
    many = Image.fromarray(noise).resize((65, 49), Image.Resampling.BICUBIC)
    two = Image.new("RGB", (65, 49), "white")
    two.paste("black", (10, 10, 30, 20))
    shown = [two, many, many, Image.new("RGB", (65, 49), "red"), two]
    path = tmp_path / f"a{suffix}"
    video.write(shown, path, fps=30)
    with Image.open(path) as found:
        assert found.n_frames == 5 and found.size == (65, 49)
        total = 0
        for i, frame in enumerate(shown):
            found.seek(i)
            found.load()
            total += found.info["duration"]
            difference = np.asarray(found.convert("RGB"), int) - np.asarray(frame, int)
            assert np.abs(difference).mean() < 8
    assert total == pytest.approx(5000 / 30, abs=6)  # a third of a hundredth adds up


def test_one_frame_alone(tmp_path: Path) -> None:
    for suffix in (".gif", ".webp"):
        video.write(frames(1), tmp_path / f"a{suffix}")
        with Image.open(tmp_path / f"a{suffix}") as found:
            found.load()
            assert getattr(found, "n_frames", 1) == 1


def test_durations_add_up() -> None:
    for fps, unit in ((30, 100), (24, 100), (50, 100), (120, 1000), (0.5, 1000)):
        found = list(islice(durations(fps, unit), 200))
        assert min(found) >= 1
        assert sum(found) == pytest.approx(200 * unit / fps, abs=0.5)
    assert min(islice(durations(120, 100), 9)) == 1


def test_mp4_keeps_frames_colors_and_time(tmp_path: Path) -> None:
    av = pytest.importorskip("av", reason="needs the extra: video")
    path = tmp_path / "a.mp4"
    video.write(frames(8, (65, 49)), path, fps=24)  # odd sides: cut by a pixel
    with av.open(str(path)) as file:
        stream = file.streams.video[0]
        assert float(stream.average_rate) == 24
        found = [frame.to_ndarray(format="rgb24") for frame in file.decode(stream)]
    assert len(found) == 8
    assert found[0].shape == (48, 64, 3)
    for pixels, frame in zip(found, frames(8)):
        assert np.abs(pixels.mean((0, 1)) - np.asarray(frame).mean((0, 1))).max() < 8


def test_mp4_without_its_library_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = builtins.__import__

    def without(name: str, *rest: Any, **named: Any) -> Any:
        if name == "av":
            raise ImportError(name)
        return real(name, *rest, **named)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(WplusError, match=r"wplus\[video\]"):
        video.write(frames(), tmp_path / "a.mp4")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "fps", "said"),
    [("a.avi", 30, ".mp4, .gif, .webp"), ("a.gif", 0, "0.5 to 120"), ("a.gif", 60, "at most 50")],
)
def test_what_cannot_be_written(name: str, fps: float, said: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=said):
        video.write(frames(), tmp_path / name, fps)


def test_no_frames_and_frames_of_two_sizes(tmp_path: Path) -> None:
    for wrong in ([], [*frames(1), *frames(1, (32, 32))]):
        with pytest.raises(ConfigError):
            video.write(wrong, tmp_path / "a.gif")
    assert not list(tmp_path.iterdir())
