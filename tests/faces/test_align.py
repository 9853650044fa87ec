"""From a photograph of any kind to the same crop, with the real detector."""

import numpy as np
import pytest
from PIL import Image

from wplus import faces, images
from wplus.errors import FaceError

pytestmark = pytest.mark.network  # the detector's file is fetched on first use


@pytest.fixture(scope="module")
def astronaut() -> Image.Image:
    """A free photograph (NASA): one person, 512 x 512."""
    data = pytest.importorskip("skimage.data", reason="scikit-image brings the test photograph")
    return Image.fromarray(data.astronaut())


@pytest.fixture(scope="module")
def base(astronaut) -> faces.AlignedFace:
    [aligned] = faces.align(astronaut)
    return aligned


def corners_apart(one, other) -> float:
    """Mean corner distance in percent of the side."""
    away = np.linalg.norm(np.subtract(one.quad, other.quad), axis=1).mean()
    return float(100 * away / other.side)


def pixels_apart(one: Image.Image, other: Image.Image) -> float:
    return float(np.abs(np.asarray(one, float) - np.asarray(other, float)).mean())


def test_the_crop_is_one_of_ffhq(base):
    assert base.image.size == (256, 256)
    assert base.image.mode == "RGB"
    assert base.face.score > 0.6
    # Read off the enlarged photograph by eye: eyes, nose tip, mouth corners.
    by_eye = [[202, 100], [247, 102], [223, 127], [202, 139], [245, 140]]
    assert np.abs(base.face.points - by_eye).max() < 4
    # Found again in its own crop, the face asks for the whole crop.
    [again] = faces.align(base.image)
    assert corners_apart(again.geometry, faces.middle_square((256, 256))) < 5


def test_geometry_makes_the_crop_again(astronaut, base):
    stored = faces.CropGeometry.from_dict(base.geometry.to_dict())
    assert pixels_apart(faces.crop(astronaut, stored, transform_size=1024), base.image) == 0
    [published] = faces.align(astronaut, recipe="psp")
    assert pixels_apart(faces.crop(astronaut, stored), published.image) == 0


def exif(orientation: int) -> Image.Exif:
    made = Image.Exif()
    made[0x0112] = orientation
    return made


def test_the_same_photograph_in_every_dress(astronaut, base, tmp_path):
    transparent = astronaut.copy()
    transparent.putalpha(255)
    gray = (np.asarray(astronaut.convert("L")).astype(np.uint16) * 257, astronaut.convert("L"))
    rotated = astronaut.transpose(Image.Transpose.ROTATE_90)
    mirrored = astronaut.transpose(Image.Transpose.TRANSPOSE)
    rotated.save(tmp_path / "rotated.jpg", exif=exif(6), quality=95)
    mirrored.save(tmp_path / "mirrored.png", exif=exif(5))
    transparent.save(tmp_path / "rgba.png")
    astronaut.convert("CMYK").save(tmp_path / "cmyk.jpg", quality=95)
    astronaut.quantize(256).save(tmp_path / "palette.png")
    Image.fromarray(gray[0]).save(tmp_path / "gray16.png")
    limits = {"rgba.png": 0, "mirrored.png": 0, "palette.png": 8}
    for path in sorted(tmp_path.iterdir()):
        [aligned] = faces.align(images.read(path))
        assert corners_apart(aligned.geometry, base.geometry) < 2.5, path.name
        expected = base.image
        if path.name == "gray16.png":
            expected = faces.crop(gray[1].convert("RGB"), base.geometry, transform_size=1024)
        assert pixels_apart(aligned.image, expected) <= limits.get(path.name, 6), path.name


@pytest.mark.parametrize("quarter", [1, 2, 3])
def test_turned_without_exif(astronaut, base, quarter):
    """The crop is upright however the picture lies."""
    [aligned] = faces.align(astronaut.rotate(90 * quarter, expand=True))
    assert pixels_apart(aligned.image, base.image) < 8


@pytest.mark.parametrize("angle", [-40, 25])
def test_tilted(astronaut, base, angle):
    tilted = astronaut.rotate(angle, Image.Resampling.BICUBIC, expand=True, fillcolor="gray")
    [aligned] = faces.align(tilted)
    assert pixels_apart(aligned.image, base.image) < 12
    assert aligned.geometry.side == pytest.approx(base.geometry.side, rel=0.05)


def test_two_faces_of_different_size(astronaut, base):
    page = Image.new("RGB", (1400, 1024), "white")
    page.paste(astronaut.resize((300, 300), Image.Resampling.LANCZOS), (20, 100))
    page.paste(astronaut.resize((1024, 1024), Image.Resampling.LANCZOS), (370, 0))
    [large] = faces.align(page)
    both = faces.align(page, which="all")
    assert len(both) == 2
    assert both[0].geometry == large.geometry
    for aligned, scale, shift in zip(both, (2, 300 / 512), ((370, 0), (20, 100))):
        place = (np.array(base.geometry.quad) + 0.5) * scale + shift - 0.5
        away = np.linalg.norm(np.array(aligned.geometry.quad) - place, axis=1).mean()
        assert away < 0.04 * aligned.geometry.side
        assert pixels_apart(aligned.image, base.image) < 12


def test_face_that_fills_the_picture(base):
    """As aligned photographs do, and still closer."""
    for size in (256, 1024):
        [aligned] = faces.align(base.image.resize((size, size), Image.Resampling.BICUBIC))
        assert corners_apart(aligned.geometry, faces.middle_square((size, size))) < 5
    close = base.image.crop((45, 60, 215, 230)).resize((900, 900), Image.Resampling.BICUBIC)
    [aligned] = faces.align(close)
    assert aligned.geometry.side == pytest.approx(256 * 900 / 170, rel=0.08)


def test_small_face_in_a_large_picture(astronaut, base):
    page = Image.new("RGB", (3600, 2400), (90, 120, 150))
    page.paste(astronaut.resize((256, 256), Image.Resampling.LANCZOS), (3000, 1700))
    [aligned] = faces.align(page)
    place = (np.array(base.geometry.quad) + 0.5) / 2 + [3000, 1700] - 0.5
    away = np.linalg.norm(np.array(aligned.geometry.quad) - place, axis=1).mean()
    assert away < 0.06 * aligned.geometry.side


def test_face_at_the_edge(astronaut, base):
    """Half of the head's surroundings are missing: the crop continues them."""
    part = astronaut.crop((170, 60, 420, 400))
    [aligned] = faces.align(part)
    moved = np.array(base.geometry.quad) - [170, 60]
    assert np.linalg.norm(np.array(aligned.geometry.quad) - moved, axis=1).mean() < 8
    assert min(min(point) for point in aligned.geometry.quad) < -5


@pytest.mark.parametrize("which", ["largest", "all"])
def test_no_face(which):
    noise = np.random.default_rng(0).integers(0, 256, (300, 400, 3), dtype=np.uint8)
    for picture in (Image.fromarray(noise), Image.new("L", (640, 480)), Image.new("RGB", (16, 16))):
        with pytest.raises(FaceError, match="--no-align"):
            faces.align(picture, which=which)
