"""Models of the package: whole, or differences laid over another; tiny ones stand in for them."""

from __future__ import annotations

import inspect
import json
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import pytest
import torch
from torch import Tensor

import tiny
import wplus
from wplus import models, tasks
from wplus.config import ModelConfig
from wplus.encoders import CompactEncoder
from wplus.encoders.compact import FACES
from wplus.errors import FormatError, WeightsError
from wplus.formats import differences, quantized
from wplus.generators import can_truncate
from wplus.inference import model_choice
from wplus.models import shipped
from wplus.psp import PSP


def part_of(model: PSP, part: str) -> dict[str, Tensor]:
    network = getattr(model, part)
    return dict(network.state_dict())


def moved(state: dict[str, Tensor], seed: int) -> dict[str, Tensor]:
    rng = torch.Generator().manual_seed(seed)
    names = sorted(state)
    return {k: state[k] + 0.05 * torch.randn(state[k].shape, generator=rng) for k in names}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """`faces` in 8 bits, `faces-sketch` and `mobilestylegan-toon` as differences."""
    monkeypatch.setattr(differences, "SMALLEST", 32)
    monkeypatch.setattr(shipped, "_is_shipped", lambda name: file(tmp_path, name).is_file())
    monkeypatch.setattr(shipped, "_shipped", lambda name: nullcontext(file(tmp_path, name)))
    whole = tiny.model("mobilestylegan", "compact", license="ours; theirs")
    bare = replace(whole.config, encoder=None, license="theirs", generator_id=models.GENERATOR)
    monkeypatch.setattr(
        shipped, "_mobilestylegan_ffhq", lambda: (bare, part_of(whole, "generator"))
    )
    packed = quantized.pack(part_of(whole, "encoder"))
    about = {"model": json.loads(whole.config.to_json())}
    models.files.write(about, packed, file(tmp_path, "faces"))
    corrector = part_of(tiny.corrected_model(), "corrector")
    about = {"network": {"kind": tiny.CORRECTOR.kind, "options": dict(tiny.CORRECTOR.options)}}
    models.files.write(about, quantized.pack(corrector), file(tmp_path, "faces-corrector"))
    rows = [
        ("faces-sketch", "encoder", "faces", {"task": "sketch", "source": "sketch"}),
        ("mobilestylegan-toon", "generator", models.GENERATOR, {"license": "theirs; drawn"}),
    ]
    for name, part, base, settings in rows:
        _, start = models.tensors_of(base, part)
        state = moved(start, seed=len(name))
        if part == "generator":
            fixed = {k: v for k, v in start.items() if k == "mean_w" or k.startswith("mapping")}
            state |= fixed
        config = replace(whole.config, generator_id=None, **settings)  # as 0.1.0 wrote them
        write_differences(config, part, state, base, start, file(tmp_path, name))
    monkeypatch.setattr(models, "NAMED", dict(models.SHIPPED))
    return tmp_path


def write_differences(
    config: ModelConfig,
    part: str,
    state: dict[str, Tensor],
    base: str,
    start: dict[str, Tensor],
    path: Path,
) -> None:
    about = {"part": part, "base": base, "sha256": differences.digest(start)}
    content = {"model": json.loads(config.to_json()), "differences": about}
    models.files.write(content, differences.pack(state, start), path)


def file(folder: Path, name: str) -> Path:
    return folder / f"{name}.safetensors"


def one_line(name: str | Path, kind: type[Exception] = FormatError) -> str:
    with pytest.raises(kind) as error:
        wplus.load(name)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_an_encoder_over_its_base(folder: Path) -> None:
    faces, sketch = wplus.load("faces"), wplus.load("faces-sketch")
    assert (sketch.config.task, sketch.config.source) == ("sketch", "sketch")
    expected = moved(part_of(faces, "encoder"), seed=len("faces-sketch"))
    found = part_of(sketch, "encoder")
    for name, value in part_of(faces, "encoder").items():
        assert not torch.equal(found[name], value), name
        if value.ndim > 1 and value.numel() >= 32:
            lost = (found[name] - expected[name]).norm() / (expected[name] - value).norm()
            assert 0.01 < lost < 0.1, name
    for name, value in part_of(faces, "generator").items():
        assert torch.equal(part_of(sketch, "generator")[name], value), name
    assert torch.equal(sketch.mean_codes, faces.mean_codes)
    assert not sketch.training
    assert not any(parameter.requires_grad for parameter in sketch.parameters())


def test_a_generator_over_its_base(folder: Path) -> None:
    faces, toon = wplus.load("faces"), wplus.load("faces-toon")
    assert toon.config.task == "toonify"
    assert toon.config.license == "ours; theirs; drawn"
    model_choice.check(toon, "faces-toon", tasks.TASKS.find("toonify"))
    for name, value in part_of(faces, "encoder").items():
        assert torch.equal(part_of(toon, "encoder")[name], value), name
    codes = faces.sample(2, seed=0)
    assert torch.equal(toon.sample(2, seed=0), codes)  # its mapping is the base's
    assert not torch.equal(toon.decode(codes), faces.decode(codes))
    alone = wplus.load("mobilestylegan-toon")
    assert alone.encoder is None
    assert torch.equal(alone.decode(codes), toon.decode(codes))


def test_what_was_whole_is_as_before(folder: Path) -> None:
    faces = wplus.load("faces")
    assert faces.config.license == "ours; theirs"
    assert (faces.config.task, faces.config.source) == ("inversion", "photo")
    whole = tiny.model("mobilestylegan", "compact")
    expected = quantized.unpack(quantized.pack(part_of(whole, "encoder")))
    for name, value in part_of(faces, "encoder").items():
        assert torch.equal(value, expected[name].float()), name


def test_files_of_differences_are_models_too(folder: Path) -> None:
    for name in ("faces-sketch", "mobilestylegan-toon"):
        by_file, by_name = wplus.load(file(folder, name)), wplus.load(name)
        assert by_file.config == by_name.config
        state = by_name.state_dict()
        assert all(torch.equal(value, state[key]) for key, value in by_file.state_dict().items())


def test_a_converted_file_stands_alone(folder: Path) -> None:
    whole = folder / "whole.safetensors"
    models.convert(file(folder, "faces-sketch"), whole)
    config, state = models.read(whole)
    named = wplus.load("faces-sketch")
    assert config == named.config
    assert all(torch.equal(value, state[key]) for key, value in named.state_dict().items())


def test_shipped_generators_are_known_by_their_id(folder: Path) -> None:
    ids = {name: wplus.load(name).config.generator_id for name in ("faces", "faces-toon")}
    assert ids == {
        "faces": "mobilestylegan-ffhq",
        "faces-toon": "mobilestylegan-ffhq/mobilestylegan-toon",
    }
    assert wplus.load("faces-sketch").generator.weights_id == "mobilestylegan-ffhq"
    path = folder / "run.safetensors"
    models.save(wplus.load("faces-toon"), path)
    again = wplus.load(path)
    assert again.generator.weights_id == ids["faces-toon"]
    assert again.generator.latent_space == "mobilestylegan-ffhq"


def test_a_generator_of_another_mapping_has_no_id(folder: Path) -> None:
    config, start = models.tensors_of(models.GENERATOR, "generator")
    path = folder / "mine.safetensors"
    config = replace(config, generator_id=None)
    write_differences(config, "generator", moved(start, 3), models.GENERATOR, start, path)
    assert wplus.load(path).generator.weights_id == ""


def test_another_base_is_refused(folder: Path) -> None:
    other = tiny.unusual(tiny.model("mobilestylegan", "compact"), seed=5)
    assert isinstance(other, PSP)
    about = {"model": json.loads(other.config.to_json())}
    state = quantized.pack(part_of(other, "encoder"))
    models.files.write(about, state, file(folder, "faces"))
    assert wplus.load("faces").encoder is not None
    said = one_line("faces-sketch")
    assert said == (
        f"{file(folder, 'faces-sketch')}: holds differences from another encoder than that of"
        " this wplus's faces; take both from one release of wplus"
    )
    assert wplus.load("faces-toon").encoder is not None


def test_a_base_that_is_not_there(folder: Path) -> None:
    path = file(folder, "faces-sketch")
    file(folder, "faces").unlink()
    assert one_line(path) == (
        f"{path}: holds differences from the encoder of faces: this wplus has no encoder of this"
        " name; update it"
    )


@pytest.mark.parametrize("base", ["nothing", "mobilestylegan-ffhq"])
def test_a_base_of_an_unknown_name(base: str, folder: Path) -> None:
    _, start = models.tensors_of("faces", "encoder")
    config = wplus.load("faces").config
    path = folder / "mine.safetensors"
    write_differences(config, "encoder", moved(start, 3), base, start, path)
    said = one_line(path)
    assert f"differences from the encoder of {base}: this wplus has no encoder" in said


@pytest.mark.parametrize("about", [None, {}, {"part": "ear", "base": "faces", "sha256": "0"},
                                   {"part": "encoder", "base": 1, "sha256": "0"}])  # fmt: skip
def test_configurations_that_make_no_sense(about: object, folder: Path) -> None:
    config = json.loads(wplus.load("faces").config.to_json())
    path = folder / "mine.safetensors"
    models.files.write({"model": config, "differences": about}, {"a": torch.zeros(1)}, path)
    assert "its differences " in one_line(path)
    with pytest.raises(FormatError, match="part, base and sha256"):
        models.read(path)


def test_damaged_differences(folder: Path) -> None:
    path = file(folder, "faces-sketch")
    header = models.files.read_header(path)
    assert header is not None
    tensors = {key: value.clone() for key, value in models.files.read_tensors(path).items()}
    lost = next(key for key in tensors if key.endswith("|steps"))
    del tensors[lost]
    models.files.write(header, tensors, path)
    assert "is damaged (the differences of" in one_line("faces-sketch")


def test_a_shipped_corrector_is_part_of_its_model(folder: Path) -> None:
    model = wplus.load("faces")
    assert model.config.corrector == tiny.CORRECTOR
    expected = part_of(tiny.corrected_model(), "corrector")
    found = part_of(model, "corrector")
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=0, atol=0.01)
    assert wplus.load("faces-sketch").corrector is None


def test_only_what_is_there_has_a_name(folder: Path) -> None:
    there = {name for name, row in models.SHIPPED.items() if row.here()}
    assert there == {
        "faces",
        "faces-sketch",
        "faces-toon",
        "mobilestylegan-toon",
        "mobilestylegan-ffhq",
    }
    with pytest.raises(WeightsError, match=r"^faces-labels: this wplus has no encoder"):
        models.tensors_of("faces-labels", "encoder")
    with pytest.raises(WeightsError, match=r"^mobilestylegan-toon: this wplus has no encoder"):
        models.tensors_of("mobilestylegan-toon", "encoder")


def test_the_table() -> None:
    named = {task.model for task in tasks.TASKS.values()} - {None}
    assert named <= set(models.SHIPPED)
    assert isinstance(models.SHIPPED, MappingProxyType)
    assert set(models.NAMED) == {name for name, row in models.SHIPPED.items() if row.here()}
    assert {"faces", "mobilestylegan-ffhq"} <= set(models.NAMED)
    for name, row in models.SHIPPED.items():
        for network in {row.encoder, row.generator} - {None}:  # a file is a model of its own name
            assert network in models.SHIPPED, name


@pytest.mark.parametrize("name", [name for name in models.NAMED if models.SHIPPED[name].encoder])
def test_what_is_shipped_fits_together(name: str) -> None:
    """Without its generator, which may have to be fetched."""
    row: shipped.Shipped = models.SHIPPED[name]
    assert row.encoder is not None
    config, state = models.tensors_of(row.encoder, "encoder")
    assert isinstance(config, ModelConfig) and config.encoder is not None
    parameters = inspect.signature(CompactEncoder).parameters.values()
    defaults = {p.name: p.default for p in parameters if p.name in FACES}
    numbers = dict(config.encoder.options)
    assert numbers.pop("input_channels") == tasks.TASKS.find(config.task).input_channels
    assert {**defaults, **numbers} == FACES
    encoder = models.build(config.encoder)
    encoder.load_state_dict({key: value.float() for key, value in state.items()})
    [task] = [task.name for task in tasks.TASKS.values() if task.model == name]
    assert (row.task or config.task) == task
    assert config.source == tasks.TASKS.find(task).source


@pytest.mark.parametrize("kind", ["stylegan2", "mobilestylegan"])
def test_other_generators_are_never_taken_for_the_shipped_one(kind: str, tmp_path: Path) -> None:
    """Not even those whose mean code is the shipped one's: a file of 0.1.0 says no id."""
    model = tiny.model(kind, None)
    config = json.loads(model.config.to_json())
    del config["generator_id"], config["corrector"]
    config["generator"]["options"]["style_dim"] = 512
    built = models.build(ModelConfig.parse(config).generator)
    built.mean_w.copy_(shipped._mean_w())
    path = tmp_path / "old.safetensors"
    state = {f"generator.{name}": value for name, value in built.state_dict().items()}
    models.files.write({"model": config}, state, path)
    generator = wplus.load(path).generator
    same_codes = kind == "mobilestylegan"  # trained further, as 0.1.0's recipes do
    assert generator.weights_id == ("mobilestylegan-ffhq/other" if same_codes else "")
    assert not can_truncate(generator)


@pytest.mark.network
@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_a_file_of_0_1_0_with_the_shipped_generator(precision: torch.dtype, tmp_path: Path) -> None:
    model = wplus.load("faces", dtype=precision)
    config = json.loads(model.config.to_json())
    del config["generator_id"], config["corrector"]
    state = {k: v for k, v in model.state_dict().items() if not k.startswith("corrector.")}
    models.files.write({"model": config}, state, tmp_path / "old.safetensors")
    generator = wplus.load(tmp_path / "old.safetensors").generator
    assert generator.weights_id == "mobilestylegan-ffhq"
    assert can_truncate(generator)


@pytest.mark.network
@pytest.mark.parametrize("name", sorted(models.NAMED))
def test_every_named_model_loads(name: str) -> None:
    model = wplus.load(name)
    assert (model.num_styles, model.resolution) == (23, 1024)
    assert "non-commercial" in model.config.license
