"""Frames to a video, one by one: MP4 by FFmpeg's libraries, GIF and WebP by Pillow."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from wplus import images
from wplus.editing.animation import write_gif, write_webp
from wplus.errors import ConfigError, ImageError, WplusError
from wplus.files import atomic

SUFFIXES = (".mp4", ".gif", ".webp")
CODECS = ("libx264", "mpeg4")  # the first that this build of FFmpeg's libraries has


def check(path: str | os.PathLike[str], fps: float) -> None:
    """Refuse what `write` cannot write, before frames are made.

    Raises:
        ConfigError: another suffix, or a rate out of range.
        WplusError: MP4 without its library.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in SUFFIXES:
        raise ConfigError(f"{path}: videos are written as {', '.join(SUFFIXES)}")
    if not 0.5 <= fps <= 120:
        raise ConfigError(f"{fps:g} frames per second: use 0.5 to 120")
    if suffix == ".gif" and fps > 50:
        raise ConfigError(f"{path}: GIF has at most 50 frames per second; use .mp4 or .webp")
    if suffix == ".mp4":
        try:
            import av  # noqa: F401
        except ImportError:
            raise WplusError(
                f"{path}: MP4 needs one more package: pip install 'wplus[video]';"
                " .gif and .webp need nothing"
            ) from None


def write(frames: Iterable[Image.Image], path: str | os.PathLike[str], fps: float = 30.0) -> None:
    """Write a video, whole or not at all. Frames are taken one by one, and none is kept.

    Args:
        frames: RGB, of one size.
        path: `.mp4` (H.264), `.gif` or `.webp` (both play for ever).
        fps: frames per second.

    Raises:
        ConfigError: see `check`; no frames, or frames of different sizes.
        WplusError: MP4 without its library.
        ImageError: the file cannot be written.
    """
    check(path, fps)
    checked = _of_one_size(frames)
    try:
        with atomic(path) as temporary:
            if temporary.suffix.lower() == ".mp4":
                _write_mp4(checked, temporary, fps)
                return
            plain = write_gif if temporary.suffix.lower() == ".gif" else write_webp
            with temporary.open("wb") as file:
                plain(checked, file, fps)
    except OSError as error:
        reason = getattr(error, "strerror", None) or " ".join(str(error).split())
        raise ImageError(f"{path}: cannot be written ({reason})") from error


def _of_one_size(frames: Iterable[Image.Image]) -> Iterator[Image.Image]:
    size = None
    for frame in frames:
        if size is not None and frame.size != size:
            raise ConfigError(f"frames of {size} and {frame.size} make no video")
        size = frame.size
        yield images.to_rgb(frame)
    if size is None:
        raise ConfigError("a video needs at least one frame")


def _write_mp4(frames: Iterator[Image.Image], path: Path, fps: float) -> None:
    from fractions import Fraction

    import av

    codec = next((name for name in CODECS if name in av.codecs_available), None)
    if codec is None:
        raise WplusError(f"{path}: this build of PyAV writes no MP4; use .gif or .webp")
    with av.open(str(path), "w", format="mp4", options={"movflags": "+faststart"}) as file:
        stream: Any = None
        for frame in frames:
            # Sides must be even: colors have half the resolution.
            pixels = np.asarray(frame)[: frame.height // 2 * 2, : frame.width // 2 * 2]
            if stream is None:
                stream = file.add_stream(codec, rate=Fraction(fps).limit_denominator(1001))
                stream.height, stream.width = pixels.shape[:2]
                stream.pix_fmt = "yuv420p"
                stream.options = {"crf": "18"} if codec == "libx264" else {"q:v": "3"}
            image = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
            for packet in stream.encode(image):
                file.mux(packet)
        assert stream is not None  # there is at least one frame
        for packet in stream.encode():
            file.mux(packet)
