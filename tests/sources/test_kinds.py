"""The ways in: the published degradation, label maps, sketches, and files that are none."""

from __future__ import annotations

import math
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

import weights as reference_weights
from wplus import images
from wplus.data import Folder, PairedFolders, Reading
from wplus.errors import ConfigError, ImageError
from wplus.faces.labels import LABELS
from wplus.sources import SOURCES, Source
from wplus.sources.kind import FACTORS, Kind, SourceOptions, from_file, from_image
from wplus.sources.labels import one_hot_labels
from wplus.sources.low_resolution import degrade, shrink_and_enlarge
from wplus.sources.sketch import sketch_input
from wplus.tasks import TASKS, Task


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def label_map(height: int, width: int, classes: int = 19, seed: int = 0) -> np.ndarray:
    """Blocks of 5x5 pixels, every class present."""
    rng = np.random.default_rng(seed)
    blocks = rng.integers(0, classes, (-(-height // 5), -(-width // 5)), dtype=np.uint8)
    blocks.ravel()[:classes] = np.arange(classes)
    return blocks.repeat(5, 0).repeat(5, 1)[:height, :width]


# --- shrinking ----------------------------------------------------------------------------------


@pytest.mark.parametrize("factor", [2, 4, 16])
def test_degrade_is_the_published_one(cases: dict[str, np.ndarray], factor: int) -> None:
    mosaic = reference_weights.picture("degrade", (1, 3, 256, 256))
    found = degrade((torch.from_numpy(mosaic) + 1) / 2, factor)
    np.testing.assert_allclose(found, cases[f"degrade.x{factor}"], rtol=0, atol=1e-6)


def keys_cubic(x: float) -> float:
    """With a = -1/2, by its two pieces in Horner's form."""
    x = abs(x)
    if x <= 1:
        return (1.5 * x - 2.5) * x * x + 1
    return ((-0.5 * x + 2.5) * x - 4) * x + 2 if x < 2 else 0.0


def mirrored(i: int, n: int) -> int:
    i = -i if i < 0 else i
    return 2 * (n - 1) - i if i >= n else i


def slow_line(line: list[float], factor: int) -> list[float]:
    """One line of pixels shrunk, pixel by pixel, by distance from the middle of the window."""
    result = []
    for place in range(len(line) // factor):
        first = place * factor - math.floor(1.5 * factor)
        middle = first + (4 * factor - 1) / 2
        taps = [
            (keys_cubic((i - middle) / factor), line[mirrored(i, len(line))])
            for i in range(first, first + 4 * factor)
        ]
        result.append(sum(w * v for w, v in taps) / sum(w for w, _ in taps))
    return result


@pytest.mark.parametrize("factor", [1, 2, 3, 4, 5, 8])
def test_degrade_equals_the_slow_loop(factor: int) -> None:
    picture = noise(1, 2, 20, 27)
    found = degrade(picture, factor)
    assert found.shape == (1, 2, 20 // factor, 27 // factor)
    for channel in range(2):
        columns = [slow_line(c, factor) for c in picture[0, channel].T.tolist()]
        rows = [slow_line(list(r), factor) for r in zip(*columns)]
        expected = np.clip(rows, 0, 1)
        np.testing.assert_allclose(found[0, channel], expected, rtol=0, atol=1e-6)


def test_factor_one_filters_too() -> None:
    picture = noise(1, 3, 16, 16)
    assert (degrade(picture, 1) - picture).abs().max() > 0.05


def test_degrade_keeps_flat_pictures_and_clamps_overshoot() -> None:
    flat = torch.full((2, 3, 64, 64), 0.3)
    torch.testing.assert_close(degrade(flat, 8), flat[..., :8, :8])
    step = (torch.arange(64) >= 30).float().expand(1, 1, 64, 64)
    found = degrade(step, 4)
    assert (found.min(), found.max()) == (0, 1)
    within = degrade(step * 0.5 + 0.25, 4)  # the same away from the limits: it does ring
    assert within.min() < 0.25 < 0.75 < within.max()


def test_degrade_carries_gradients_and_precision() -> None:
    picture = noise(1, 1, 6, 6).double().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: degrade(x * 0.2 + 0.4, 2), picture, fast_mode=True)
    assert degrade(picture, np.random.default_rng(0).choice([2])).dtype == torch.float64


@pytest.mark.parametrize("factor", FACTORS)
def test_low_resolution(factor: int) -> None:
    pictures = noise(2, 3, 256, 256) * 2 - 1
    found = shrink_and_enlarge(pictures, factor)
    shrunk = degrade((pictures + 1) / 2, factor)
    expected = functional.interpolate(shrunk, (256, 256), mode="bilinear", align_corners=False)
    torch.testing.assert_close(found, expected * 2 - 1, rtol=0, atol=1e-6)
    assert found.shape == (2, 3, 256, 256)
    assert found.abs().max() <= 1


def test_low_resolution_enlarges_as_pillow_did() -> None:
    """Within the two roundings to 8 bits of the published way."""
    mosaic = torch.from_numpy(reference_weights.picture("low", (1, 3, 256, 256)))
    for factor in FACTORS:
        small = images.to_picture(degrade((mosaic + 1) / 2, factor) * 2 - 1)
        published = images.to_tensor(small.resize((256, 256), Image.Resampling.BILINEAR))
        assert (shrink_and_enlarge(mosaic, factor) - published).abs().max() < 2.5 / 127.5


def test_the_factor_is_one_of_the_encoders_input() -> None:
    large = noise(1, 3, 96, 128) * 2 - 1
    found = shrink_and_enlarge(large, 4, size=64)
    expected = shrink_and_enlarge(images.resize(large, 64), 4, size=64)
    assert torch.equal(found, expected)


def test_what_cannot_be_shrunk() -> None:
    with pytest.raises(ConfigError, match="shrunk by 0"):
        degrade(noise(1, 3, 16, 16), 0)
    with pytest.raises(ImageError, match="12x64 pixels are too few to shrink by 8"):
        degrade(noise(1, 3, 12, 64), 8)
    assert degrade(noise(1, 3, 13, 13), 8).shape == (1, 3, 1, 1)
    with pytest.raises(ImageError, match=r"\(N, C, H, W\), not torch.float32 \(3, 16, 16\)"):
        degrade(noise(3, 16, 16), 2)
    with pytest.raises(ImageError, match=r"not torch\.uint8"):
        degrade(torch.zeros(1, 3, 16, 16, dtype=torch.uint8), 2)
    with pytest.raises(ImageError, match=r"not torch\.uint8"):
        shrink_and_enlarge(torch.zeros(1, 3, 256, 256, dtype=torch.uint8), 2)


# --- label maps ---------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [8, 16, 31, 64, 100])
def test_labels_are_resized_by_the_nearest(size: int) -> None:
    found = one_hot_labels(torch.from_numpy(label_map(40, 64))[None], size=size)
    assert found.shape == (1, 19, size, size)
    assert found.dtype == torch.float32
    assert set(found.unique().tolist()) == {0, 1}
    assert torch.equal(found.sum(1), torch.ones(1, size, size))
    for row in range(size):
        for column in range(size):
            y, x = Fraction(2 * row + 1, 2) * 40 / size, Fraction(2 * column + 1, 2) * 64 / size
            assert found[0, label_map(40, 64)[math.floor(y), math.floor(x)], row, column] == 1


def triangle_line(line: list[int], size: int) -> list[int]:
    """Bilinear with a window that widens when shrinking; whole numbers, as 8-bit pictures have."""
    scale = len(line) / size
    reach = max(scale, 1.0)
    result = []
    for place in range(size):
        center = (place + 0.5) * scale
        weights = [max(0.0, 1 - abs(i + 0.5 - center) / reach) for i in range(len(line))]
        value = sum(w * v for w, v in zip(weights, line)) / sum(weights)
        result.append(math.floor(value + 0.5))
    return result


@pytest.mark.parametrize(("height", "width"), [(41, 67), (22, 23), (67, 67)])
def test_bilinear_labels_are_interpolated_numbers(height: int, width: int) -> None:
    """Rows first, then columns, each rounded: the published classes, false ones included."""
    size, labels = 31, label_map(height, width)
    rows = [triangle_line(row, size) for row in labels.tolist()]
    columns = [triangle_line(list(column), size) for column in zip(*rows)]
    expected = torch.tensor(columns).T
    found = one_hot_labels(torch.from_numpy(labels)[None], size=size, bilinear=True)
    assert torch.equal(found.sum(1), torch.ones(1, size, size))
    different = (found.argmax(1)[0] != expected).float().mean()
    assert different < 0.01  # Pillow counts in fixed point: halves go either way
    assert (found.argmax(1)[0] - expected).abs().max() <= 1


def test_bilinear_makes_false_classes_and_nearest_does_not() -> None:
    labels = torch.zeros(1, 64, 64, dtype=torch.int64)
    labels[:, :, 33:] = 13
    near = one_hot_labels(labels, size=32)
    assert near.sum((0, 2, 3)).nonzero().ravel().tolist() == [0, 13]
    assert len(one_hot_labels(labels, size=32, bilinear=True).sum((0, 2, 3)).nonzero()) > 2


@pytest.mark.parametrize("bilinear", [False, True])
def test_labels_of_the_right_size_stay(bilinear: bool) -> None:
    labels = torch.from_numpy(np.stack([label_map(32, 32, seed=i) for i in range(3)]))
    for kind in (torch.uint8, torch.int32, torch.int64):
        found = one_hot_labels(labels.to(kind), size=32, bilinear=bilinear)
        assert torch.equal(found, functional.one_hot(labels.long(), 19).permute(0, 3, 1, 2).float())


@pytest.mark.parametrize("value", [-1, 19, 255, 300])
@pytest.mark.parametrize("bilinear", [False, True])
def test_labels_out_of_range_are_named(value: int, bilinear: bool) -> None:
    labels = torch.zeros(1, 32, 32, dtype=torch.int32)
    labels[0, 3, 4] = value
    with pytest.raises(ImageError, match=f"label {value} is out of range: .* are 0 to 18"):
        one_hot_labels(labels, bilinear=bilinear)


def test_other_label_schemes() -> None:
    labels = torch.tensor([[[0, 1], [2, 3]]])
    assert one_hot_labels(labels, 4, size=2).shape == (1, 4, 2, 2)
    with pytest.raises(ImageError, match="label 3 is out of range"):
        one_hot_labels(labels, 3)
    with pytest.raises(ConfigError, match="0 classes"):
        one_hot_labels(labels, 0)
    with pytest.raises(ConfigError, match="300 classes"):
        one_hot_labels(labels, 300, bilinear=True)
    assert len(LABELS) == len(set(LABELS)) == 19


@pytest.mark.parametrize(
    "wrong", [noise(1, 8, 8), torch.zeros(8, 8).int(), torch.zeros(0, 8, 8).int()]
)
def test_tensors_that_are_no_label_maps(wrong: Tensor) -> None:
    with pytest.raises(ImageError, match=r"label maps are integers \(N, H, W\)"):
        one_hot_labels(wrong)


# --- files --------------------------------------------------------------------------------------


def test_label_files_keep_their_numbers(tmp_path: Path) -> None:
    numbers = label_map(48, 48)
    palette = Image.fromarray(numbers).convert("P")
    palette.putpalette(np.random.default_rng(0).integers(0, 256, 768, dtype=np.uint8).tobytes())
    palette.putdata(numbers.ravel().tolist())
    files = {
        "gray.png": Image.fromarray(numbers),
        "palette.png": palette,
        "deep.png": Image.fromarray(numbers.astype(np.uint16)),
        "rgb.png": Image.fromarray(numbers[..., None].repeat(3, 2)),
        "gray.tif": Image.fromarray(numbers),
        "gray.bmp": Image.fromarray(numbers),
    }
    expected = one_hot_labels(torch.from_numpy(numbers)[None], size=64)
    for name, picture in files.items():
        picture.save(tmp_path / name)
        assert torch.equal(from_file(tmp_path / name, "labels", 64), expected), name


def test_label_files_obey_exif(tmp_path: Path) -> None:
    numbers = label_map(32, 48)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(np.rot90(numbers).copy()).save(tmp_path / "turned.png", exif=exif)
    found = from_file(tmp_path / "turned.png", "labels", 32)
    assert torch.equal(found, one_hot_labels(torch.from_numpy(numbers)[None], size=32))


def test_label_files_through_the_published_way(tmp_path: Path) -> None:
    """Image.open, 'L', Resize, one-hot by indexing."""
    Image.fromarray(label_map(100, 80)).save(tmp_path / "map.png")
    with Image.open(tmp_path / "map.png") as picture:
        gray = picture.convert("L").resize((64, 64), Image.Resampling.BILINEAR)
    expected = np.eye(19, dtype=np.float32)[np.array(gray)].transpose(2, 0, 1)
    found = from_file(tmp_path / "map.png", "labels", 64, bilinear=True)
    assert np.array_equal(found[0], expected)


def test_label_files_that_are_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "text.png").write_text("no picture")
    Image.fromarray(label_map(32, 32)).save(tmp_path / "lossy.jpg", quality=95)
    colors = (noise(32, 32, 3) * 255).byte().numpy()
    Image.fromarray(colors).save(tmp_path / "colors.png")
    Image.fromarray(colors).convert("CMYK").save(tmp_path / "ink.tif")
    Image.fromarray(label_map(32, 32, classes=30)).save(tmp_path / "many.png")
    reasons = {
        "missing.png": "there is no such file",
        "text.png": "is no picture",
        "lossy.jpg": "store it as PNG",
        "colors.png": "is in color",
        "ink.tif": "mode CMYK",
        "many.png": "label 29 is out of range",
    }
    for name, reason in reasons.items():
        with pytest.raises(ImageError, match=reason) as caught:
            from_file(tmp_path / name, "labels")
        message = str(caught.value)
        assert message.startswith(f"{tmp_path / name}: ")
        assert message.count(name) == 1
        assert "\n" not in message
    monkeypatch.chdir(tmp_path)
    (tmp_path / "many.png").rename("a")  # a name that is also a word of the message
    with pytest.raises(ImageError, match=r"^a: label 29 is out of range"):
        from_file("a", "labels")


def test_photo_files(tmp_path: Path) -> None:
    pixels = noise(1, 3, 80, 48) * 2 - 1
    images.save(pixels, tmp_path / "photo.png")
    found = from_file(tmp_path / "photo.png", "photo")
    assert (found.shape, found.dtype) == ((1, 3, 256, 256), torch.float32)
    picture = images.read(tmp_path / "photo.png")
    expected = images.to_tensor(images.resample(picture, 256))
    assert torch.equal(found, expected)
    gray = from_file(tmp_path / "photo.png", "photo", channels=1)
    assert gray.shape == (1, 1, 256, 256)
    assert (gray - found.mean(1, keepdim=True)).abs().max() < 0.6
    with pytest.raises(ConfigError, match="3 channels or 1, not 2"):
        from_file(tmp_path / "photo.png", "photo", channels=2)
    assert found.min() < -0.5 < 0.5 < found.max()


def test_sketch_files_are_read_as_in_training(tmp_path: Path) -> None:
    ink = (noise(300, 200) > 0.1).numpy()
    gray = Image.fromarray(np.uint8(255 * ink))
    gray.save(tmp_path / "gray.png")
    gray.convert("1").save(tmp_path / "bits.png")
    gray.convert("RGB").save(tmp_path / "rgb.png")
    clear = np.zeros((*ink.shape, 4), np.uint8)  # black strokes on nothing
    clear[..., 3] = 255 * ~ink
    Image.fromarray(clear).save(tmp_path / "clear.png")
    resized = np.array(gray.resize((256, 256), Image.Resampling.BILINEAR))
    for name in ("gray", "bits", "rgb", "clear"):
        found = from_file(tmp_path / f"{name}.png", "sketch")
        assert (found.shape, found.dtype) == ((1, 1, 256, 256), torch.float32)
        np.testing.assert_allclose(found[0, 0], resized / 255, rtol=0, atol=1e-7)
    direct = sketch_input(Image.fromarray(clear))
    np.testing.assert_allclose(direct[0, 0], resized / 255, rtol=0, atol=1e-7)
    white = sketch_input(Image.new("L", (256, 256), 255))
    assert torch.equal(white, torch.ones(1, 1, 256, 256))


def test_low_resolution_files(tmp_path: Path) -> None:
    pixels = noise(1, 3, 256, 256) * 2 - 1
    images.save(pixels, tmp_path / "sharp.png")
    sharp = images.to_tensor(images.read(tmp_path / "sharp.png"))
    found = from_file(tmp_path / "sharp.png", "low_resolution", factor=8)
    assert torch.equal(found, shrink_and_enlarge(sharp, 8))

    small = degrade((sharp + 1) / 2, 8) * 2 - 1  # the same, stored as a small picture
    images.save(small, tmp_path / "small.png")
    again = from_file(tmp_path / "small.png", "low_resolution")
    assert (again - found).abs().max() < 1.01 / 127.5
    with pytest.raises(ConfigError, match="shrunk by 0"):
        from_file(tmp_path / "sharp.png", "low_resolution", factor=0)


def test_every_source_is_made_or_refused(tmp_path: Path) -> None:
    maps, page = Image.fromarray(label_map(32, 32)), Image.new("L", (32, 32), 255)
    page.paste(0, (8, 8, 10, 24))
    channels = {"photo": 3, "sketch": 1, "labels": 19, "low_resolution": 3, "masked": 3}
    assert {name: row.channels for name, row in SOURCES.items()} == channels
    for source, count in channels.items():
        picture = maps if source == "labels" else page
        hole = Image.eval(page, lambda value: 255 - value) if source == "masked" else None
        made = from_image(picture, source, 64, mask=hole)
        assert made.shape == (1, count, 64, 64)
        with pytest.raises(ConfigError, match="0 pixels wide"):
            from_image(picture, source, 0)
    with pytest.raises(ConfigError, match="no source 'painting'"):
        from_image(page, "painting")
    with pytest.raises(ConfigError, match="did you mean sketch"):
        from_file(tmp_path / "missing.png", "skech")


class Negative(Kind):
    """A toy kind: `tensor` is all that it implements."""

    def tensor(self, image: Image.Image, options: SourceOptions) -> Tensor:
        return -images.to_tensor(images.resample(image, options.size))


def test_one_row_and_one_method_are_a_kind_that_can_be_trained_on(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        images.save(noise(1, 3, 80, 80) * 2 - 1, tmp_path / folder / "1.png")
    SOURCES.register(Source("negative", Negative(), is_photograph=True))
    task = TASKS.register(Task("toy", "negative", {"l2": 1.0}))
    try:
        photo = from_file(tmp_path / "a" / "1.png", "photo", 64)
        assert torch.equal(from_file(tmp_path / "a" / "1.png", "negative", 64), -photo)
        reading = Reading.of(task, size=64)
        for data in (
            Folder(tmp_path / "a", reading),
            PairedFolders(tmp_path / "a", tmp_path / "b", reading=reading, memory=True),
        ):
            item = data.item(0, None)
            assert torch.equal(item["source"], -item["target"])
            assert torch.equal(item["target"], photo[0])
        shown = SOURCES.find("negative").kind.preview(item["source"])
        torch.testing.assert_close(images.to_tensor(shown), -photo, rtol=0, atol=1e-6)
    finally:
        SOURCES.unregister("negative")
        TASKS.unregister("toy")
