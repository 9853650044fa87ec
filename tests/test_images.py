"""Reading whatever a user has, and the ways between pictures and tensors."""

import io
import os
import struct
import threading
import time
import warnings
import zlib

import numpy as np
import pytest
import torch
from PIL import Image, ImageCms

from wplus import images
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


# --- what is read -------------------------------------------------------------------------------

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
        ("a.tif", "YCbCr", 2.0),
        ("b.jpg", "YCbCr", 2),
    ],
)
def test_other_color_spaces(tmp_path, name, mode, tolerance):
    # Pillow writes CMYK JPEGs the way Adobe does: inverted.
    scene().convert(mode).save(tmp_path / name, **({"quality": 95} if "jpg" in name else {}))
    assert distance(images.read(tmp_path / name), scene()) <= tolerance


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


# --- what is refused ----------------------------------------------------------------------------


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
    assert "cut short" in refusal(tmp_path / "p.jpg")


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
        with images._guards_of_pillow_set(), Image.open(tmp_path / "phone.png") as picture:
            assert picture.size == (16_320, 12_240)


def test_settings_of_pillow_come_back_after_threads_overlap(tmp_path):
    scene().save(tmp_path / "a.png")
    limit, filters = Image.MAX_IMAGE_PIXELS, list(warnings.filters)
    inside, leave = threading.Event(), threading.Event()

    def hold() -> None:
        with images._guards_of_pillow_set():
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


# --- tensors ------------------------------------------------------------------------------------


def test_every_level_survives_the_way_there_and_back():
    levels = np.arange(256, dtype=np.uint8).reshape(16, 16, 1).repeat(3, 2)
    tensor = images.to_tensor(Image.fromarray(levels))
    assert tensor.shape == (1, 3, 16, 16)
    assert tensor.dtype == torch.float32
    assert tensor.min() == -1
    assert tensor.max() == 1
    assert tensor.is_contiguous()
    assert (np.asarray(images.to_picture(tensor)) == levels).all()
    assert (np.asarray(images.to_picture(tensor.to(torch.float64)[0])) == levels).all()


def test_channels_and_rows_stay_in_place():
    picture = scene(20, 16)
    tensor = images.to_tensor(picture)
    for x, y in ((0, 0), (19, 3), (7, 15)):
        expected = torch.tensor(picture.getpixel((x, y))) / 127.5 - 1
        torch.testing.assert_close(tensor[0, :, y, x], expected)


def test_to_picture_rounds_and_clamps():
    values = torch.tensor([-2.0, -1.0, 0.4 / 127.5 - 1, 0.6 / 127.5 - 1, 1.0, 7.0])
    picture = images.to_picture(values.expand(3, 1, 6).clone())
    assert [int(v) for v in np.asarray(picture)[0, :, 0]] == [0, 0, 0, 1, 255, 255]


@pytest.mark.parametrize(
    "bad",
    [
        torch.zeros(2, 3, 8, 8),
        torch.zeros(1, 8, 8),
        torch.zeros(8, 8),
        torch.zeros(3, 8, 8, dtype=torch.uint8),
        torch.full((3, 8, 8), float("nan")),
        torch.full((3, 8, 8), float("inf")),
    ],
)
def test_what_is_no_image_is_refused(bad):
    with pytest.raises(ImageError):
        images.to_picture(bad)


def test_to_tensor_takes_other_modes_and_leaves_its_input_alone():
    picture = scene().convert("RGBA")
    picture.putalpha(0)
    tensor = images.to_tensor(picture)
    assert (tensor == 1).all()
    assert picture.mode == "RGBA"


# --- writing ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "tolerance"), [("a.png", 0), ("a.JPG", 2), ("a.webp", 3)])
def test_save_and_read_back(tmp_path, name, tolerance):
    path = tmp_path / "new" / "folder" / name
    images.save(images.to_tensor(scene()), path)
    assert distance(images.read(path), scene()) <= tolerance
    images.save(Image.new("RGBA", (20, 20), (0, 0, 0, 0)), path)  # replaces; JPEG has no alpha
    assert distance(images.read(path), Image.new("RGB", (20, 20), "white")) <= tolerance
    assert [entry.name for entry in path.parent.iterdir()] == [name]


def test_save_leaves_nothing_behind_when_it_fails(tmp_path):
    for name in ("a.heic", "a", "a.txt"):
        with pytest.raises(ImageError, match=r"\.png"):
            images.save(scene(), tmp_path / name)
    with pytest.raises(ImageError, match="cannot be written"):
        images.save(Image.new("RGB", (70_000, 1)), tmp_path / "wide.jpg")
    with pytest.raises(ImageError):
        images.save(torch.zeros(3, 8, 8, dtype=torch.int64), tmp_path / "a.png")
    (tmp_path / "file").touch()
    with pytest.raises(ImageError, match="cannot be written"):
        images.save(scene(), tmp_path / "file" / "a.png")
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


# --- sizes and sheets ---------------------------------------------------------------------------


def test_shrinking_averages_and_enlarging_interpolates():
    pixels = torch.randn(2, 3, 8, 12)
    smaller = images.resize(pixels, (4, 3))
    for i, j in ((0, 0), (1, 2), (3, 1)):
        block = pixels[:, :, 2 * i : 2 * i + 2, 4 * j : 4 * j + 4]
        torch.testing.assert_close(smaller[:, :, i, j], block.mean((2, 3)))
    larger = images.resize(pixels, (16, 24))
    weights = pixels[..., 0, 0] * 9 / 16 + (pixels[..., 0, 1] + pixels[..., 1, 0]) * 3 / 16
    torch.testing.assert_close(larger[..., 1, 1], weights + pixels[..., 1, 1] / 16)
    mixed = images.resize(pixels, (16, 3))  # taller, narrower
    torch.testing.assert_close(mixed, images.resize(images.resize(pixels, (8, 3)), (16, 3)))
    assert images.resize(pixels, (8, 12)) is pixels
    assert images.resize(pixels, 5).shape == (2, 3, 5, 5)
    with pytest.raises(ImageError):
        images.resize(pixels, 0)
    with pytest.raises(ImageError):
        images.resize(pixels[0], 4)


def test_side_by_side():
    left, right = Image.new("RGB", (40, 40), "red"), Image.new("RGB", (20, 20), "blue")
    row = images.side_by_side([left, right], gap=5)
    assert row.size == (85, 40)
    assert row.getpixel((20, 20)) == (255, 0, 0)
    assert row.getpixel((42, 20)) == (255, 255, 255)
    assert row.getpixel((65, 20)) == (0, 0, 255)
    labeled = images.side_by_side([left, right], ["a", "b"], gap=5)
    assert labeled.width == 85
    assert (np.asarray(labeled)[:40] == np.asarray(row)).all()
    assert np.asarray(labeled)[40:, :40].min() < 128  # the label's ink
    assert np.asarray(labeled)[40:, 45:].min() < 128
    with pytest.raises(ImageError):
        images.side_by_side([])
    with pytest.raises(ImageError):
        images.side_by_side([left], ["a", "b"])


def test_grid():
    colors = ["red", "green", "blue", "black", "gray"]
    sheet = images.grid([Image.new("RGB", (16, 16), color) for color in colors], gap=2)
    assert sheet.size == (3 * 18 - 2, 2 * 18 - 2)
    for index, color in enumerate(colors):
        row, column = divmod(index, 3)
        center = (column * 18 + 8, row * 18 + 8)
        assert sheet.getpixel(center) == Image.new("RGB", (1, 1), color).getpixel((0, 0))
    assert sheet.getpixel((50, 30)) == (255, 255, 255)
    wide = images.grid([Image.new("RGB", (16, 16)), Image.new("RGB", (64, 32), "red")], columns=1)
    assert wide.size == (16, 36)
    assert wide.getpixel((8, 28)) == (255, 0, 0)
    assert wide.getpixel((8, 21)) == (255, 255, 255)  # the wide one keeps its proportions
    assert images.grid([Image.new("RGB", (16, 16))], columns=9).size == (16, 16)
    for pictures, columns in (([], None), ([scene()], 0)):
        with pytest.raises(ImageError):
            images.grid(pictures, columns)
