"""The pipeline with a small model: refinement on constraints, several outputs, files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import tiny
from wplus import codes, images, models, weights
from wplus.config import ModelConfig, Part
from wplus.encoders import Encoder
from wplus.errors import ConfigError, WeightsError
from wplus.generators import Generator
from wplus.inference.low_resolution import shrink
from wplus.inference.options import Options
from wplus.inference.run import Inference
from wplus.losses import LPIPS
from wplus.losses import networks as losses_networks
from wplus.psp import PSP
from wplus.sources.labels import one_hot_labels
from wplus.tasks import TASKS


@pytest.fixture(autouse=True)
def no_fetching(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    net = LPIPS("alexnet")
    monkeypatch.setattr(losses_networks, "load_lpips", lambda: net)


@pytest.fixture(scope="module")
def bare() -> PSP:
    return tiny.model("mobilestylegan", None)


@pytest.fixture
def small(bare: PSP, tmp_path: Path) -> str:
    """A small version of a picture that the generator can make."""
    path = tmp_path / "small.png"
    images.save(shrink(bare.decode(bare.sample(1, seed=1)), 32)[0], path)
    return str(path)


def test_refinement_makes_the_output_consistent_with_the_input(
    bare: PSP, small: str, tmp_path: Path
) -> None:
    options = Options(refine=25, outputs=2, compare=True)
    task = TASKS["super_resolution"]
    seen: list[tuple[str, int, int]] = []
    inference = Inference(bare, task, options, "bare")
    [done] = inference.run(
        [small], tmp_path / "out", lambda name: lambda *counts: seen.append((name, *counts))
    )
    assert done.error is None
    figures = done.figures
    assert figures.steps > 0
    assert figures.consistency is not None
    assert figures.consistency_before is not None
    assert figures.consistency > figures.consistency_before + 1
    # By hand, from the file that was written.
    for index, name in enumerate(done.images):
        made = images.to_tensor(images.read(name))
        error = (shrink(made, 32) - images.to_tensor(images.read(small))).square().mean()
        agreement = 10 * float(torch.log10(4 / error))
        if index == 0:
            assert agreement == pytest.approx(figures.consistency, abs=1.0)  # 8 bits
        assert agreement > figures.consistency_before
    first, second = (codes.load(name)[0] for name in done.codes)
    assert not torch.equal(first, second)
    assert Path(done.comparison or "").is_file()
    assert {path for path, _, _ in seen} == {small}
    assert {total for _, _, total in seen} == {50}


def test_steps_are_made_only_where_they_are_needed(bare: PSP) -> None:
    own = tiny.model("mobilestylegan", task="super_resolution", source="low_resolution")
    inversion = tiny.model("mobilestylegan")
    task, filled = TASKS["super_resolution"], TASKS["inpainting"]
    assert task.refinement is not None
    assert Inference(own, task).steps == 0
    assert Inference(inversion, task).steps == task.refinement.steps["inversion"] > 0
    assert Inference(bare, task).steps == task.refinement.steps["mean"] > 0
    assert Inference(bare, task, Options(refine=3)).steps == 3
    assert Inference(inversion).steps == 0
    filling = tiny.model("mobilestylegan", task="inpainting", source="masked")
    assert Inference(filling, filled).steps == 50
    assert Inference(filling, filled, Options(refine=0)).steps == 0


def test_the_parser_is_looked_for_before_anything_is_made(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def missing(name: str) -> Path:
        raise WeightsError(f"{name}: cannot be fetched")

    monkeypatch.setattr(weights, "path", missing)
    model = tiny.model("mobilestylegan")
    images.save(images.to_picture(torch.zeros(1, 3, 64, 64)), tmp_path / "photo.png")
    paths, out = [str(tmp_path / "photo.png")], tmp_path / "out"
    plain, paste = Options(align=False), Options(align=False, paste=True)
    assert not next(Inference(model, None, plain).run(paths, out)).error
    with pytest.raises(WeightsError, match="bisenet-faces"):
        next(Inference(model, None, paste).run(paths, tmp_path / "other"))
    assert not (tmp_path / "other").exists()


def test_an_inversion_encoder_starts_where_the_task_has_none(small: str) -> None:
    inversion = tiny.model("mobilestylegan")
    task = TASKS["super_resolution"]
    inference = Inference(inversion, task, Options(refine=0))
    samples = inference.read(small)
    enlarged = images.resize(images.to_tensor(images.read(small)), 256)
    expected = inversion.encode(enlarged)
    torch.testing.assert_close(inference.encode(samples), expected)
    [[output]] = inference.generate(samples)
    torch.testing.assert_close(output.codes, expected[0])


def test_inputs_of_one_name_get_outputs_of_their_own(small: str, tmp_path: Path) -> None:
    model = tiny.model("mobilestylegan", task="super_resolution", source="low_resolution")
    twin = tmp_path / "b"
    twin.mkdir()
    Image.open(small).rotate(90).save(twin / "small.png")
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"nothing")
    inputs = [small, str(bad), str(twin / "small.png")]
    inference = Inference(model, TASKS["super_resolution"], Options(refine=0))
    results = list(inference.run(inputs, tmp_path / "out"))
    assert [bool(done.error) for done in results] == [False, True, False]
    names = [Path(done.images[0]).name for done in results if not done.error]
    assert names == ["small.png", "small-2.png"]


def test_a_filled_photograph_at_its_own_size(bare: PSP, tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(60, 190, (9, 9, 3), np.uint8)
    photo = Image.fromarray(noise).resize((210, 190), Image.Resampling.BICUBIC)
    photo.save(tmp_path / "photo.png")
    options = Options(refine=4, box=(80, 60, 40, 50), align=False, paste=True, compare=True)
    inference = Inference(bare, TASKS["inpainting"], options)
    [done] = inference.run([tmp_path / "photo.png"], tmp_path / "out")
    assert done.error is None
    assert done.pasted == ()  # the picture is whole already
    filled = np.asarray(images.read(done.images[0]))
    changed = (filled != np.asarray(photo)).any(axis=2)
    assert changed[60:110, 80:120].any()
    changed[60:110, 80:120] = False
    assert not changed.any()


def test_a_small_photograph_is_pasted_into_its_enlargement(bare: PSP, tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(60, 190, (9, 9, 3), np.uint8)
    Image.fromarray(noise).resize((48, 40), Image.Resampling.BICUBIC).save(tmp_path / "small.png")
    options = Options(refine=0, align=False, paste=True)
    task = TASKS["super_resolution"]
    [done] = Inference(bare, task, options).run([tmp_path / "small.png"], tmp_path / "out")
    assert done.error is None
    assert done.figures.factor == pytest.approx(6.4)
    [pasted] = done.pasted
    assert images.read(pasted).size == (round(48 * 6.4), 256)
    _, metadata = codes.load(done.codes[0])
    assert metadata["crop"]["picture_size"] == [48, 40]
    assert metadata["factor"] == pytest.approx(6.4)


def test_label_maps_of_other_classes(tmp_path: Path) -> None:
    part = tiny.encoders(8)["pyramid"]
    seven = Part(part.kind, {**part.options, "input_channels": 7})
    settings = {"task": "labels", "source": "labels", "label_resampling": "bilinear"}
    config = ModelConfig(tiny.GENERATORS["mobilestylegan"], seven, **settings)
    torch.manual_seed(0)
    encoder, generator = models.build(seven), models.build(config.generator)
    assert isinstance(encoder, Encoder)
    assert isinstance(generator, Generator)
    model = tiny.unusual(PSP(encoder, generator, config))
    assert isinstance(model, PSP)
    for largest in (6, 7):
        numbers = np.arange(2500).reshape(50, 50) % (largest + 1)
        Image.fromarray(numbers.astype(np.uint8)).save(tmp_path / f"map{largest}.png")
    files = [str(tmp_path / f"map{largest}.png") for largest in (6, 7)]
    options = Options(compare=True)
    done = list(Inference(model, TASKS["labels"], options).run(files, tmp_path / "out"))
    assert done[0].error is None
    # Resized as the model was trained.
    numbers = torch.from_numpy(np.array(Image.open(files[0]))).long()[None]
    expected = model.encode(one_hot_labels(numbers, 7, 256, bilinear=True))
    code, _ = codes.load(done[0].codes[0])
    torch.testing.assert_close(code, expected[0], rtol=1e-4, atol=1e-5)
    assert "map7.png" in str(done[1].error)


def test_settings_of_other_tasks_are_refused_before_anything_is_made(
    bare: PSP, small: str, tmp_path: Path
) -> None:
    for task, options, said in (
        ("inversion", Options(factor=8), "--factor"),
        ("sketch", Options(), "has no encoder"),
        ("super_resolution", Options(outputs=2, layers="30-40"), "30-40"),
        ("super_resolution", Options(outputs=2, layers="fine"), "no style of this generator"),
        ("toonify", Options(refine=3), "--refine"),
    ):
        with pytest.raises(ConfigError, match=said):
            list(Inference(bare, TASKS[task], options).run([small], tmp_path / "out"))
    assert not (tmp_path / "out").exists()
