"""Reading whatever a user has: files of every kind to upright RGB, or one line of refusal."""

import io
import os
import struct
import threading
import time
import warnings
import zlib

import numpy as np
import pytest
from PIL import Image, ImageCms

from wplus import image_files, images
from wplus.errors import ImageError


def scene(width: int = 96, height: int = 64) -> Image.Image:
    """A smooth picture without symmetry: every flip, turn and channel swap changes it."""
    y, x = np.mgrid[:height, :width]
    red, green = 255 * x / width, 255 * y / height
    blue = 255 * np.hypot(x - 20, y - 10) / np.hypot(width, height)
    return Image.fromarray(np.stack([red, green, blue], 2).astype(np.uint8))


def distance(a: Image.Image, b: Image.Image) -> float:
    assert a.mode == b.mode == "RGB"
    assert a.size == b.size
    return float(np.abs(np.asarray(a, float) - np.asarray(b, float)).mean())


def gray_of(picture: Image.Image) -> np.ndarray:
    return np.asarray(picture.convert("L"))


PLAIN = [
    ("a.png", {}, 0.0),
    ("a.jpg", {"quality": 95}, 2.0),
    ("a.jpg", {"quality": 95, "progressive": True}, 2.0),
    ("a.webp", {"lossless": True}, 0.0),
    ("a.tiff", {}, 0.0),
    ("a.tif", {"compression": "tiff_lzw"}, 0.0),
    ("a.bmp", {}, 0.0),
    ("a.ppm", {}, 0.0),
    ("a.gif", {}, 6.0),
]


@pytest.mark.parametrize(("name", "options", "tolerance"), PLAIN)
def test_reads_the_common_formats(tmp_path, name, options, tolerance):
    scene().save(tmp_path / name, **options)
    assert distance(images.read(tmp_path / name), scene()) <= tolerance


def test_content_counts_not_the_suffix(tmp_path):
    scene().save(tmp_path / "a.jpg", format="PNG")
    assert distance(images.read(tmp_path / "a.jpg"), scene()) == 0


# What a camera stores for each EXIF orientation: the upright picture with the turn undone.
STORED = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.transpose(1, 0, 2),
    6: lambda a: np.rot90(a, 1),
    7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
    8: lambda a: np.rot90(a, -1),
}


@pytest.mark.parametrize("orientation", STORED)
@pytest.mark.parametrize("suffix", ["png", "tif", "jpg"])
def test_exif_orientation_is_obeyed(tmp_path, orientation, suffix):
    stored = Image.fromarray(np.ascontiguousarray(STORED[orientation](np.asarray(scene()))))
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored.save(tmp_path / f"a.{suffix}", exif=exif, **({"quality": 95} if suffix == "jpg" else {}))
    assert distance(images.read(tmp_path / f"a.{suffix}"), scene()) < 2


def test_broken_or_absurd_exif_is_ignored(tmp_path):
    scene().save(tmp_path / "a.png", exif=b"Exif\0\0garbage that is no EXIF")
    assert distance(images.read(tmp_path / "a.png"), scene()) == 0
    exif = Image.Exif()
    exif[0x0112] = 77
    scene().save(tmp_path / "b.png", exif=exif)
    assert distance(images.read(tmp_path / "b.png"), scene()) == 0


@pytest.mark.parametrize("mode", ["RGBA", "LA", "PA", "P"])
def test_transparency_lies_over_white(tmp_path, mode):
    picture = scene()
    alpha = np.full((64, 96), 255, np.uint8)
    alpha[:, :30] = 0
    alpha[:, 30:60] = 128 if mode in ("RGBA", "LA") else 255
    picture.putalpha(Image.fromarray(alpha))
    kind = "tif" if mode == "PA" else "png"
    if mode == "PA":  # no writer keeps this mode, so its conversion is checked without a file
        read = images.to_rgb(picture.quantize().convert("PA"))
    else:
        (picture.quantize() if mode == "P" else picture.convert(mode)).save(tmp_path / f"a.{kind}")
        read = images.read(tmp_path / f"a.{kind}")
    weight = alpha[..., None] / 255
    base = np.asarray(scene() if mode != "LA" else scene().convert("L").convert("RGB"))
    expected = weight * base + (1 - weight) * 255
    difference = np.abs(np.asarray(read) - expected)
    assert difference[:, :30].max() == 0
    assert difference.max() <= (1 if mode in ("RGBA", "LA") else 60)
    assert difference.mean() < (1 if mode in ("RGBA", "LA") else 6)


def test_one_transparent_color_lies_over_white(tmp_path):
    pixels = np.array(scene())
    pixels[:, :40] = (10, 20, 30)
    Image.fromarray(pixels).save(tmp_path / "a.png", transparency=(10, 20, 30))
    read = np.asarray(images.read(tmp_path / "a.png"))
    assert (read[:, :40] == 255).all()
    assert (read[:, 40:] == pixels[:, 40:]).all()


@pytest.mark.parametrize(
    ("name", "mode", "tolerance"),
    [
        ("a.jpg", "CMYK", 2.0),
        ("a.tif", "CMYK", 1.0),
        ("b.jpg", "YCbCr", 2),
    ],
)
def test_other_color_spaces(tmp_path, name, mode, tolerance):
    # Pillow writes CMYK JPEGs the way Adobe does: inverted.
    scene().convert(mode).save(tmp_path / name, **({"quality": 95} if "jpg" in name else {}))
    assert distance(images.read(tmp_path / name), scene()) <= tolerance


@pytest.mark.parametrize("mode", ["YCbCr", "HSV", "RGBX", "RGBa"])
def test_modes_that_files_rarely_bring(mode):
    picture = scene().convert("RGBA") if mode == "RGBa" else scene()
    assert distance(images.to_rgb(picture.convert(mode)), scene()) < 4


def test_lab(tmp_path):
    srgb, lab = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
    ImageCms.profileToProfile(scene(), srgb, lab, outputMode="LAB").save(tmp_path / "a.tif")
    assert distance(images.read(tmp_path / "a.tif"), scene()) < 2


@pytest.mark.parametrize(
    ("name", "convert"),
    [
        ("gray.png", lambda g: g),
        ("16.png", lambda g: g.astype(np.uint16) * 257),
        ("16.tif", lambda g: g.astype(np.uint16) * 257),
        ("16big.tif", lambda g: g.astype(">u2") * 257),
        ("12.png", lambda g: (g.astype(np.float64) * 4095 / 255).round().astype(np.uint16)),
        ("8in16.png", lambda g: g.astype(np.uint16)),
        ("32.tif", lambda g: g.astype(np.int32) * 257),
        ("unit.tif", lambda g: g.astype(np.float32) / 255),
        ("levels.tif", lambda g: g.astype(np.float32)),
        ("sixteen.tif", lambda g: g.astype(np.float32) * 257),
        ("signed.tif", lambda g: g.astype(np.float32) / 127.5 - 1),
    ],
)
def test_gray_of_every_depth(tmp_path, name, convert):
    gray = gray_of(scene()).copy()
    gray[0, :2] = 0, 255  # the whole range is used
    Image.fromarray(convert(gray)).save(tmp_path / name)
    read = np.asarray(images.read(tmp_path / name)).astype(int)
    assert (read == read[..., :1]).all()
    assert np.abs(read[..., 0] - gray).max() <= 1
    if "12" not in name and "signed" not in name:
        assert (read[..., 0] == gray).all()


def test_float_that_is_not_a_number_and_flat_pictures():
    values = np.full((20, 20), np.nan, np.float32)
    values[10:] = 0.5
    read = np.asarray(images.to_rgb(Image.fromarray(values)))
    assert (read[:10] == 0).all()
    assert (read[10:] == 128).all()
    flat = np.full((20, 20), -3.0, np.float32)
    assert (np.asarray(images.to_rgb(Image.fromarray(flat))) == 0).all()


def test_bilevel_and_palette(tmp_path):
    ink = np.zeros((32, 32), bool)
    ink[:, 16:] = True
    Image.fromarray(ink).save(tmp_path / "ink.png")
    assert (np.asarray(images.read(tmp_path / "ink.png")) == ink[..., None] * 255).all()
    palette = scene().quantize(32)
    palette.save(tmp_path / "palette.png")
    assert distance(images.read(tmp_path / "palette.png"), palette.convert("RGB")) == 0


def test_sixteen_bits_of_color(tmp_path):
    """Pillow cannot write such a PNG, so it is put together here; it is read to within a level."""
    pixels = np.asarray(scene())
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels.astype(np.uint16) * 257)
    (tmp_path / "a.png").write_bytes(png(96, 64, depth=16, color=2, data=zlib.compress(rows)))
    assert np.abs(np.asarray(images.read(tmp_path / "a.png")).astype(int) - pixels).max() <= 1


def test_first_frame_of_several(tmp_path):
    other = Image.new("RGB", (96, 64), "red")
    for name in ("a.gif", "a.tif", "a.webp", "a.png"):
        scene().save(tmp_path / name, save_all=True, append_images=[other, other])
        assert distance(images.read(tmp_path / name), scene()) < 6


def odd_profile() -> bytes:
    """An RGB profile that takes red for blue: sRGB with two tags and its own name exchanged."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    profile = profile.replace(b"rXYZ", b"tXYZ").replace(b"bXYZ", b"rXYZ").replace(b"tXYZ", b"bXYZ")
    name, other = ("sRGB".encode("utf-16-be"), "oddB".encode("utf-16-be"))
    assert name in profile
    return profile.replace(name, other)


def test_color_profiles_are_followed(tmp_path):
    scene().save(tmp_path / "odd.png", icc_profile=odd_profile())
    swapped = Image.fromarray(np.asarray(scene())[..., ::-1].copy())
    assert distance(images.read(tmp_path / "odd.png"), swapped) < 1.5
    assert distance(images.read(tmp_path / "odd.png"), scene()) > 20
    alpha = scene()
    alpha.putalpha(255)
    alpha.save(tmp_path / "alpha.png", icc_profile=odd_profile())
    assert distance(images.read(tmp_path / "alpha.png"), swapped) < 1.5


def test_broken_and_mismatched_profiles_are_ignored(tmp_path):
    scene().save(tmp_path / "broken.png", icc_profile=b"no profile at all")
    assert distance(images.read(tmp_path / "broken.png"), scene()) == 0
    scene().convert("L").save(tmp_path / "gray.png", icc_profile=odd_profile())
    gray = scene().convert("L").convert("RGB")
    assert distance(images.read(tmp_path / "gray.png"), gray) == 0


def png(width: int, height: int, depth: int = 8, color: int = 2, data: bytes = b"") -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(kind + body))
        return struct.pack(">I", len(body)) + kind + body + check

    header = struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0)
    start = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header)
    return start + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def refusal(path) -> str:
    """The message of the refusal: one line that begins with the file's name, and no warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ImageError) as caught:
            images.read(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert len(message.splitlines()) == 1
    return message


def test_what_is_no_picture(tmp_path):
    assert "no such file" in refusal(tmp_path / "missing.jpg")
    assert "folder" in refusal(tmp_path)
    (tmp_path / "empty.png").touch()
    assert "empty" in refusal(tmp_path / "empty.png")
    (tmp_path / "text.jpg").write_text("a letter\n" * 100)
    assert "no picture" in refusal(tmp_path / "text.jpg")
    (tmp_path / "drawing.svg").write_text("<svg xmlns='http://www.w3.org/2000/svg'/>")
    assert "SVG" in refusal(tmp_path / "drawing.svg")
    (tmp_path / "page.eps").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 64 64\n")
    assert "no picture" in refusal(tmp_path / "page.eps")
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe.png")
        assert "regular file" in refusal(tmp_path / "pipe.png")
    (tmp_path / "link.png").symlink_to(tmp_path / "gone.png")
    assert "no such file" in refusal(tmp_path / "link.png")


def test_names_that_are_no_names(tmp_path):
    with pytest.raises(ImageError, match="not a file name"):
        images.read("a\0b.png")
    with pytest.raises(ImageError, match="cannot be read"):
        images.read(tmp_path / ("a" * 300 + ".png"))
    with pytest.raises(ImageError) as caught:
        images.read(tmp_path / "two\nlines.png")
    assert len(str(caught.value).splitlines()) == 1


def test_no_permission(tmp_path, monkeypatch):
    scene().save(tmp_path / "a.png")

    def closed(*_args, **_options):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pathlib.Path.open", closed)  # the test may run as root
    assert "permission denied" in refusal(tmp_path / "a.png")


def test_half_a_picture_is_refused(tmp_path):
    for name in ("a.jpg", "a.png", "a.webp", "a.tif", "a.bmp", "a.gif", "a.ppm"):
        noise = np.random.default_rng(0).integers(0, 256, (64, 96, 3), dtype=np.uint8)
        Image.fromarray(noise).save(tmp_path / name)
        whole = (tmp_path / name).read_bytes()
        for part in (0.3, 0.6, 0.95):
            (tmp_path / name).write_bytes(whole[: int(len(whole) * part)])
            message = refusal(tmp_path / name)
            assert "damaged" in message
    progressive = io.BytesIO()
    scene(400, 300).save(progressive, "JPEG", progressive=True)
    (tmp_path / "p.jpg").write_bytes(progressive.getvalue()[:-200])
    assert "truncated" in refusal(tmp_path / "p.jpg")


def test_too_small(tmp_path):
    for size in ((1, 1), (images.MIN_SIDE - 1, 300)):
        Image.new("RGB", size).save(tmp_path / "a.png")
        assert "too small" in refusal(tmp_path / "a.png")
    Image.new("RGB", (images.MIN_SIDE, images.MIN_SIDE)).save(tmp_path / "b.png")
    assert images.read(tmp_path / "b.png").size == (images.MIN_SIDE, images.MIN_SIDE)


def test_huge_pictures_are_refused_before_they_are_decoded(tmp_path):
    (tmp_path / "bomb.png").write_bytes(png(20_000, 20_000, data=zlib.compress(b"\0" * 50_000_000)))
    start = time.perf_counter()
    assert "200 megapixels" in refusal(tmp_path / "bomb.png")
    assert time.perf_counter() - start < 1
    # What the largest telephone cameras give passes the guard, without Pillow's own warning.
    (tmp_path / "phone.png").write_bytes(png(16_320, 12_240))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with image_files._guards_of_pillow_set(), Image.open(tmp_path / "phone.png") as picture:
            assert picture.size == (16_320, 12_240)


def test_settings_of_pillow_come_back_after_threads_overlap(tmp_path):
    scene().save(tmp_path / "a.png")
    limit, filters = Image.MAX_IMAGE_PIXELS, list(warnings.filters)
    inside, leave = threading.Event(), threading.Event()

    def hold() -> None:
        with image_files._guards_of_pillow_set():
            inside.set()
            leave.wait(5)

    thread = threading.Thread(target=hold)
    thread.start()
    inside.wait(5)
    images.read(tmp_path / "a.png")  # enters second, leaves first
    assert limit != Image.MAX_IMAGE_PIXELS
    leave.set()
    thread.join()
    assert limit == Image.MAX_IMAGE_PIXELS
    assert filters == list(warnings.filters)
    with pytest.raises(ImageError):
        images.read(tmp_path)
    assert limit == Image.MAX_IMAGE_PIXELS
