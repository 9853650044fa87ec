"""Files to samples: what the encoder reads, what is known, and where it came from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from wplus import images
from wplus.errors import FaceError, ImageError
from wplus.inference.inputs import Sample
from wplus.inference.options import Options
from wplus.inference.readers import Request, read_samples
from wplus.inference.results import describe
from wplus.sources import SOURCES
from wplus.sources.kind import SourceOptions
from wplus.sources.low_resolution import degrade, shrink_and_enlarge
from wplus.tasks import TASKS, Task


def read(path: str, task: Task, options: Options) -> Sample:
    [sample] = read_samples(Request(path, SOURCES[task.source], options, SourceOptions()))
    return sample


def picture(width: int, height: int) -> Image.Image:
    noise = np.random.default_rng(0).integers(60, 190, (12, 12, 3), np.uint8)
    return Image.fromarray(noise).resize((width, height), Image.Resampling.BICUBIC)


def saved(picture: Image.Image, folder: Path, name: str = "photo.png") -> str:
    picture.save(folder / name)
    return str(folder / name)


@pytest.mark.parametrize("side", [8, 32, 50, 200, 256])
def test_a_small_crop_is_taken_as_it_is(side: int, tmp_path: Path) -> None:
    small = picture(side, side)
    asked = read(saved(small, tmp_path), TASKS["super_resolution"], Options())
    assert asked.factor == pytest.approx(256 / side)
    assert asked.constraint is not None
    assert torch.equal(asked.constraint.target, images.to_tensor(small))
    assert torch.equal(asked.source, images.resize(images.to_tensor(small), 256))
    assert asked.geometry is not None
    assert asked.geometry.side == side


@pytest.mark.parametrize("factor", [4, 8, 16])
def test_a_sharp_photograph_is_shrunk_by_the_given_factor(factor: int, tmp_path: Path) -> None:
    sharp = picture(256, 256)
    asked = read(saved(sharp, tmp_path), TASKS["super_resolution"], Options(factor=factor))
    expected = shrink_and_enlarge(images.to_tensor(sharp), factor)
    torch.testing.assert_close(asked.source, expected, rtol=0, atol=1e-6)
    assert asked.factor == factor
    # What was shrunk so is consistent with what it was shrunk from, whatever its size.
    assert asked.constraint is not None
    assert asked.constraint.consistency(images.to_tensor(sharp)) > 90
    assert asked.constraint.consistency(torch.zeros(1, 3, 512, 512)) < 30


def test_a_factor_that_the_face_is_too_small_for(tmp_path: Path) -> None:
    small = saved(picture(20, 20), tmp_path)
    with pytest.raises(ImageError, match="means a face of 64 pixels, this one has 20"):
        read(small, TASKS["super_resolution"], Options(factor=4))
    assert read(small, TASKS["super_resolution"], Options(factor=16)).factor == 16


def test_the_encoder_reads_a_small_photograph_as_in_training(tmp_path: Path) -> None:
    sharp = images.to_tensor(picture(256, 256))
    small = images.to_picture(degrade((sharp + 1) / 2, 8) * 2 - 1)
    asked = read(saved(small, tmp_path), TASKS["super_resolution"], Options())
    apart = asked.source - shrink_and_enlarge(sharp, 8)
    assert float(apart.abs().max()) < 1.1 / 127.5  # rounding to 8 bits


def test_photographs_are_known_as_they_are(tmp_path: Path) -> None:
    photo = picture(300, 256)
    asked = read(saved(photo, tmp_path), TASKS["inversion"], Options(align=False))
    middle = images.to_tensor(photo.crop((22, 0, 278, 256)))
    assert torch.equal(asked.source, middle)
    assert asked.constraint is not None
    mistake = (middle + 0.1).clamp(-1, 1)
    squared = float((mistake - middle).square().mean())
    assert asked.constraint.consistency(mistake) == pytest.approx(
        10 * np.log10(4 / squared), abs=1e-3
    )


def test_nothing_of_a_hole_is_seen(tmp_path: Path) -> None:
    options = Options(align=False, box=(40, 50, 30, 20))
    asked = []
    for color in ("red", "blue"):
        photo = picture(160, 160)
        ImageDraw.Draw(photo).rectangle((40, 50, 69, 69), fill=color)
        path = saved(photo, tmp_path, f"{color}.png")
        asked.append(read(path, TASKS["inpainting"], options))
    red, blue = asked
    assert torch.equal(red.source, blue.source)
    assert red.photo is not None
    assert blue.photo is not None
    assert torch.equal(red.photo, blue.photo)
    assert red.constraint is not None
    assert red.constraint.pixel_weights is not None
    # The hole, at 256², and not much more.
    scale = 256 / 160
    hole = red.constraint.pixel_weights == 0
    inner = hole[..., round(50 * scale) : round(70 * scale), round(40 * scale) : round(70 * scale)]
    assert inner.all()
    assert float(hole.sum()) < 1.5 * 600 * scale**2
    assert (red.source[hole.expand(1, 3, -1, -1)] == 0).all()


def test_a_hole_beside_the_face_is_refused(tmp_path: Path) -> None:
    photo = saved(picture(300, 160), tmp_path)
    with pytest.raises(FaceError, match="reaches out of the square"):
        read(photo, TASKS["inpainting"], Options(align=False, box=(60, 10, 20, 20)))
    read(photo, TASKS["inpainting"], Options(align=False, box=(70, 0, 160, 20)))


def test_labels_and_sketches_have_nothing_known(tmp_path: Path) -> None:
    numbers = np.random.default_rng(0).integers(0, 19, (30, 40), np.uint8)
    asked = read(saved(Image.fromarray(numbers), tmp_path), TASKS["labels"], Options())
    assert asked.source.shape == (1, 19, 256, 256)
    assert asked.constraint is None
    assert asked.photo is None
    page = Image.new("L", (120, 120), 255)
    ImageDraw.Draw(page).ellipse((20, 20, 100, 100), outline=0, width=2)
    asked = read(saved(page, tmp_path, "page.png"), TASKS["sketch"], Options())
    assert asked.source.shape == (1, 1, 256, 256)
    assert asked.constraint is None


def test_bad_files(tmp_path: Path) -> None:
    for task in TASKS.values():
        with pytest.raises(ImageError, match=r"missing\.png"):
            read(str(tmp_path / "missing.png"), task, Options(align=False))


@pytest.mark.network
def test_the_size_of_the_face_is_the_factor(tmp_path: Path) -> None:
    skimage = pytest.importorskip("skimage.data")
    photo = Image.fromarray(skimage.astronaut())
    asked = read(saved(photo, tmp_path), TASKS["super_resolution"], Options())
    assert asked.geometry is not None
    assert asked.factor == pytest.approx(256 / round(asked.geometry.side))
    smaller = saved(photo.resize((150, 150), Image.Resampling.LANCZOS), tmp_path, "smaller.png")
    again = read(smaller, TASKS["super_resolution"], Options(align=True))
    assert again.factor == pytest.approx(asked.factor * 512 / 150, rel=0.1)


@pytest.mark.network
def test_a_painted_face_is_found_all_the_same(tmp_path: Path) -> None:
    skimage = pytest.importorskip("skimage.data")
    photo = Image.fromarray(skimage.astronaut())
    whole = read(saved(photo, tmp_path), TASKS["inversion"], Options())
    assert whole.geometry is not None
    left, top = (int(value) for value in whole.geometry.to_picture((75, 95)))
    ImageDraw.Draw(photo).rectangle((left, top, left + 35, top + 20), fill=(255, 0, 255))
    painted = read(saved(photo, tmp_path, "painted.png"), TASKS["inpainting"], Options())
    assert painted.geometry is not None
    apart = np.abs(np.subtract(painted.geometry.quad, whole.geometry.quad)).max()
    assert apart < 0.15 * whole.geometry.side
    assert painted.photo is not None
    magenta = painted.photo[:, [0, 2]].amin(dim=1) - painted.photo[:, 1]
    assert float(magenta.max()) < 1.0  # of 2: nothing of the paint is left to be seen


def test_messages_name_an_input_once() -> None:
    for name in ("a.jpg", "bad\nerror: disk.jpg", "\x1b[31mred.jpg"):
        shown = name if name.isprintable() else ascii(name)
        assert describe(name, ImageError("is no image")) == f"{shown}: is no image"
        assert describe(name, ImageError(f"{shown}: is no image")) == f"{shown}: is no image"
