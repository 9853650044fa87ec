"""Hostile and odd image files: refused before they are decoded, or read whole."""

from __future__ import annotations

import io
import struct
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from wplus import image_files, images
from wplus.errors import ImageError
from wplus.sources.labels import Labels

NOISE = np.random.default_rng(0).integers(1, 256, (64, 96, 3), dtype=np.uint8)


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(
    size: tuple[int, int], depth: int, kind: int, raw: bytes, interlaced: int = 0, more: bytes = b""
) -> bytes:
    header = struct.pack(">IIBBBBB", *size, depth, kind, 0, 0, interlaced)
    parts = chunk(b"IHDR", header) + more + chunk(b"IDAT", zlib.compress(raw))
    return b"\x89PNG\r\n\x1a\n" + parts + chunk(b"IEND", b"")


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def refusal(data: bytes) -> str:
    with pytest.raises(ImageError) as caught:
        images.read(data)
    message = str(caught.value)
    assert message.startswith("data in memory")
    assert "\n" not in message
    return message


@pytest.mark.parametrize(
    ("depth", "kind", "bits"),
    [(1, 0, 1), (4, 0, 4), (8, 0, 8), (16, 0, 16), (8, 2, 24), (16, 2, 48), (8, 4, 16), (8, 6, 32)],
)
def test_streams_that_end_too_early(depth: int, kind: int, bits: int) -> None:
    """Their checksums are right: a decoder that stops there leaves the rest black."""
    width, height = 40, 30
    row = b"\0" + b"\xf5" * ((width * bits + 7) // 8)
    whole = png((width, height), depth, kind, row * height)
    assert images.read(whole).size == (width, height)
    for rows in (1, 15, height - 1):
        assert "truncated" in refusal(png((width, height), depth, kind, row * rows))
    dark = b"\0" * len(row)
    black = png((width, height), depth, kind, row * 10 + dark * 20)
    assert images.read(black).size == (width, height)


def test_interlaced_streams_that_end_too_early() -> None:
    grids = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2)]
    grids.append((0, 1, 1, 2))
    raw = b""
    for left, top, across, down in grids:
        columns, rows = len(range(left, 20, across)), len(range(top, 20, down))
        raw += (b"\0" + b"\x90" * columns) * rows
    assert (np.asarray(images.read(png((20, 20), 8, 0, raw, 1))) == 0x90).all()
    for part in (0.5, 0.9, 0.99):
        assert "truncated" in refusal(png((20, 20), 8, 0, raw[: int(part * len(raw))], 1))


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 2, "quality": 60}])
@pytest.mark.parametrize("part", [0.5, 0.8, 0.95])
def test_photographs_with_an_end_put_behind_half_of_them(
    options: dict[str, Any], part: float
) -> None:
    whole = encoded(Image.fromarray(NOISE), "JPEG", **options)
    assert images.read(whole).size == (96, 64)
    assert "truncated" in refusal(whole[: int(part * len(whole))] + b"\xff\xd9")


@pytest.mark.parametrize("progressive", [True, False])
def test_gray_photographs_are_whole(progressive: bool) -> None:
    gray = encoded(Image.new("RGB", (320, 240), (128, 128, 128)), "JPEG", progressive=progressive)
    assert (np.asarray(images.read(gray)) == 128).all()


BOMBS = {
    "107 bytes of PNG": png((14000, 14000), 16, 0, b"\0" * 28001),
    "deep colors": png((7000, 7000), 16, 6, b"\0" * 1000),
    "a float TIFF": encoded(Image.fromarray(np.zeros((20, 20), np.float32)), "TIFF"),
    "WebP": encoded(Image.new("RGB", (12000, 12000)), "WEBP", lossless=True, method=0, quality=0),
    "GIF": encoded(Image.new("P", (9000, 9000)), "GIF"),
}


@pytest.mark.parametrize("name", BOMBS)
def test_small_files_take_little_memory(name: str, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(BOMBS[name])
    code = (
        "import resource, sys; from wplus import images\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "try: images.read(sys.argv[1])\n"
        "except images.ImageError as error: print(error)\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)"
    )
    run = [sys.executable, "-c", code, str(tmp_path / "a")]
    lines = subprocess.run(run, capture_output=True, text=True, check=True).stdout.splitlines()
    assert int(lines[-1]) < 600_000  # KiB
    if name != "a float TIFF":
        assert "megapixels in" in lines[0]


def test_tiles_larger_than_the_image() -> None:
    data = bytearray(encoded(Image.new("L", (64, 64)), "TIFF"))
    start = struct.unpack("<I", data[4:8])[0]
    tags = [(322, 60_000), (323, 60_000)]  # TileWidth, TileLength, over two tags of no consequence
    for i, (tag, value) in enumerate(tags):
        place = start + 2 + 12 * (struct.unpack("<H", data[start : start + 2])[0] - 2 + i)
        data[place : place + 12] = struct.pack("<HHII", tag, 4, 1, value)
    assert "megapixels in" in refusal(bytes(data))


@pytest.mark.parametrize("mode", ["I;16", "F", "I"])
def test_deep_gray_in_bands_is_the_same(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    gray = np.random.default_rng(1).random((300, 200))
    kind, scale = {"I;16": (np.uint16, 60000), "F": (np.float32, 1), "I": (np.int32, 60000)}[mode]
    image = Image.fromarray((gray * scale).astype(kind))
    image.putpixel((0, 0), scale)
    expected = (np.asarray(image) / (65535 if scale > 1 else 1) * 255).round()
    assert np.abs(np.asarray(images.to_rgb(image))[..., 0] - expected).max() <= 1


def test_large_texts_and_profiles_are_passed_over() -> None:
    texts = PngImagePlugin.PngInfo()
    for i in range(3):
        texts.add_text(f"workflow{i}", "0123456789" * 150_000, zip=bool(i % 2))
        texts.add_itxt(f"prompt{i}", "a" * 1_500_000, zip=bool(i % 2))
    texts.add_text("Title", "kept")
    original = Image.fromarray(NOISE)
    data = encoded(original, "PNG", pnginfo=texts, icc_profile=b"\0" * 128 + b"A" * 1_500_000)
    assert images.read(data).tobytes() == original.tobytes()
    stored = image_files.read_stored(data)
    assert stored.info["Title"] == "kept"
    assert "workflow1" not in stored.info
    bomb = chunk(b"zTXt", b"x\0\0" + zlib.compress(bytes(100_000_000)))
    raw = b"".join(b"\0" + row.tobytes() for row in NOISE)
    data = png((96, 64), 8, 2, raw, more=bomb * 5)
    assert images.read(data).tobytes() == original.tobytes()


BROKEN_EXIF = [
    b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\xff\xff\xff\xff",
    b"Exif\0\0not a TIFF header at all",
    b"Exif\0\0II*\0\xff\xff\xff\xff",
    b"Exif\0\0",
    b"Exif\0\0II*\0\x08\0\0\0\xff\xff",
]


@pytest.mark.parametrize("exif", BROKEN_EXIF)
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_broken_exif_in_photographs_masks_and_labels(
    exif: bytes, kind: str, tmp_path: Path
) -> None:
    path = tmp_path / "a"
    Image.new("L", (64, 48), 3).save(path, kind, exif=exif)
    assert images.read(path).size == (64, 48)
    assert images.read(path.read_bytes()).size == (64, 48)
    assert image_files.read_stored(path).size == (64, 48)


@pytest.mark.parametrize(
    ("kind", "options", "lossy"),
    [
        ("PNG", {}, False),
        ("GIF", {}, False),
        ("BMP", {}, False),
        ("WEBP", {"lossless": True}, False),
        ("WEBP", {"lossless": True, "exif": b"Exif\0\0"}, False),
        ("TIFF", {"compression": "tiff_lzw"}, False),
        ("JPEG2000", {"irreversible": False}, False),
        ("JPEG", {}, True),
        ("WEBP", {}, True),
        ("TIFF", {"compression": "jpeg"}, True),
        ("JPEG2000", {"irreversible": True, "quality_layers": [5]}, True),
        ("AVIF", {}, True),
    ],
)
def test_lossy_label_maps_whatever_the_container(
    kind: str, options: dict[str, Any], lossy: bool
) -> None:
    Image.init()
    if kind not in Image.SAVE:
        pytest.skip("this Pillow cannot write it")
    data = encoded(Image.fromarray(NOISE[..., 0] % 19), kind, **options)
    assert image_files.read_stored(data).info["lossy"] == lossy
    if lossy:
        with pytest.raises(ImageError, match="lossy compression"):
            Labels().read(data)
    else:
        Labels().read(data)


def test_heic_without_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    monkeypatch.setattr(Image, "OPEN", {k: v for k, v in Image.OPEN.items() if k != "HEIF"})
    for brand in (b"heic", b"mif1", b"hevc"):
        data = struct.pack(">I4s4s", 24, b"ftyp", brand) + bytes(100)
        assert "pip install 'wplus[heif]'" in refusal(data)


def test_heic() -> None:
    heif = pytest.importorskip("pillow_heif")
    file = io.BytesIO()
    heif.from_pillow(Image.new("RGB", (64, 64), (200, 30, 30))).save(file, quality=90)
    assert abs(int(np.asarray(images.read(file.getvalue()))[0, 0, 0]) - 200) < 8


def test_bytes_have_the_same_limits() -> None:
    assert images.read(encoded(Image.fromarray(NOISE), "PNG")).tobytes() == NOISE.tobytes()
    assert "is empty" in refusal(b"")
    assert "no picture" in refusal(b"GIF" * 40)
    assert "too small" in refusal(encoded(Image.new("L", (3, 3)), "PNG"))
