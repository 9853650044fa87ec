"""The library in three calls, and one photograph that is the same bits whatever the command."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_pre_hook

import tiny
import wplus
from wplus import api, images, models
from wplus.editing import Direction
from wplus.encoders import Encoder
from wplus.errors import ConfigError, ImageError, WplusError
from wplus.faces import Face
from wplus.psp import PSP


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "tiny.safetensors"
    models.save(tiny.model("mobilestylegan"), path)
    return path


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    noise = np.random.default_rng(0).integers(60, 190, (20, 16, 3), np.uint8)
    path = tmp_path / "photo.png"
    Image.fromarray(noise).resize((330, 400), Image.Resampling.BICUBIC).save(path)
    return path


def test_every_kind_of_input_is_one_photograph(file: Path, photo: Path) -> None:
    with Image.open(photo) as image:
        image.load()
    given: list[Any] = [photo, str(photo), image, np.array(image)]
    given.append(images.to_tensor(image)[0])
    faces = wplus.invert(given, model=file, align=False)
    assert isinstance(faces, list)
    model = models.load(file)
    for face in faces:
        assert torch.equal(face.codes, faces[0].codes)
        assert face.codes.shape == (model.num_styles, model.generator.style_dim)
        assert face.image.size == (model.resolution, model.resolution)
        assert face.crop is not None and face.crop.picture_size == (330, 400)
    one = wplus.invert(photo, model=model, align=False)
    assert not isinstance(one, list)
    assert torch.equal(one.codes, faces[0].codes)
    saved = one.save(photo.parent / "out")
    assert torch.equal(wplus.codes.load(saved.codes[0])[0], one.codes)
    assert np.array_equal(np.asarray(images.read(saved.images[0])), np.asarray(one.image))


def test_a_saved_result_never_replaces_the_photograph(file: Path, photo: Path) -> None:
    before = photo.read_bytes()
    face = wplus.invert(photo, model=file, align=False)
    assert not isinstance(face, list)
    with pytest.raises(ConfigError, match=r"photo\.png: would be replaced"):
        face.save(photo.parent)
    assert photo.read_bytes() == before


def test_translate_gives_as_many_outputs_as_asked_for(file: Path, photo: Path) -> None:
    few = wplus.translate(photo, "inversion", file, align=False, outputs=3, layers="all", alpha=0.5)
    assert isinstance(few, list) and len(few) == 3
    assert not torch.equal(few[0].codes, few[1].codes)
    one = wplus.translate(photo, task="inversion", model=file, align=False)
    assert not isinstance(one, list)
    assert torch.equal(one.codes, few[0].codes)


def test_edits_of_photographs_codes_and_codes_files(
    file: Path, photo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    face = wplus.invert(photo, model=file, align=False)
    assert not isinstance(face, list)
    smile = Direction("smile", torch.randn(face.codes.shape))
    monkeypatch.setattr(api.editing, "moves", lambda *_: [(smile, 2.0)])
    path = face.save(photo.parent / "out").codes[0]
    edited = wplus.edit([photo, face.codes, path], model=file, align=False, smile=2)
    assert isinstance(edited, list)
    for each in edited:
        torch.testing.assert_close(each.codes, face.codes + 2 * smile.vector)
        assert each.metadata["edits"] == {"smile": 2}
    with pytest.raises(ConfigError, match="holds a code of"):
        wplus.edit(torch.zeros(2, 3), model=file, smile=1)


def test_a_model_is_loaded_once_and_again_when_its_file_changes(
    file: Path, photo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded: list[str] = []

    def load(name: str, *_: object, **__: object) -> PSP:
        loaded.append(name)
        return models.load(name)

    monkeypatch.setattr(api.model_choice, "load", load)
    api._kept.cache_clear()
    copy = photo.parent / "copy.safetensors"
    copy.write_bytes(file.read_bytes())
    for _ in range(3):
        wplus.invert(photo, model=copy, align=False)
    assert len(loaded) == 1
    models.save(tiny.model("mobilestylegan"), copy)
    wplus.invert(photo, model=copy, align=False)
    assert len(loaded) == 2
    api._kept.cache_clear()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"refine": -1}, "--refine -1"),
        ({"wings": 2}, "wings"),
        ({"factor": 8}, "--factor belongs to --task super_resolution"),
    ],
)
def test_errors_are_of_one_kind(
    options: dict[str, Any], said: str, file: Path, photo: Path
) -> None:
    with pytest.raises(WplusError, match=said):
        wplus.invert(photo, model=file, **options)


def test_arrays_that_are_no_images(file: Path) -> None:
    for array in (np.zeros((8, 8, 3)), np.zeros((8, 8, 2), np.uint8), np.zeros(8, np.uint8)):
        with pytest.raises(ImageError, match="is no image"):
            wplus.invert(array, model=file)


@pytest.fixture
def seen() -> Iterator[list[Tensor]]:
    """Everything that reaches an encoder."""
    batches: list[Tensor] = []

    def record(module: nn.Module, arguments: tuple[Tensor, ...]) -> None:
        if isinstance(module, Encoder):
            batches.append(arguments[0])

    handle = register_module_forward_pre_hook(record)
    yield batches
    handle.remove()


@pytest.mark.parametrize("align", [False, True])
def test_a_photograph_reaches_the_encoder_as_the_same_bits(
    align: bool, file: Path, photo: Path, seen: list[Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    points = np.array([[140, 170], [215, 180], [178, 220], [145, 260], [205, 265]], float)
    face = Face(np.array([100.0, 120, 260, 300]), 0.9, points)
    monkeypatch.setattr(sys.modules["wplus.faces.align"], "detect", lambda _: [face])
    flag, folder = ("--align" if align else "--no-align"), photo.parent
    for command in (["invert"], ["translate", "--task", "inversion"]):
        run(monkeypatch, *command, photo, flag, "--model", file, "--out", folder / "out")
    (folder / "set").mkdir()
    (folder / "set" / "photo.png").write_bytes(photo.read_bytes())
    aligned = ["--align"] if align else []
    run(
        monkeypatch,
        *("evaluate", "--data", folder / "set", "--model", file, *aligned),
        *("--without", "lpips-alexnet", "lpips-vgg16", "identity", "fid"),
    )
    wplus.invert(photo, model=file, align=align)
    assert len(seen) >= 4
    for batch in seen:
        assert torch.equal(batch, seen[0])


def run(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> None:
    from wplus.cli import main

    try:
        status = main(list(map(str, arguments)))
    except SystemExit as error:
        status = error.code  # type: ignore[assignment]
    assert not status, arguments
