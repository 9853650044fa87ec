"""Model files: whole, strict, safe, and complete enough to be all that `load` needs."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from safetensors import safe_open
from torch import Tensor, nn

import tiny
import wplus
from wplus import models
from wplus.config import ModelConfig, Part
from wplus.errors import ConfigError, FormatError
from wplus.psp import PSP

PAIRS = [(g, e) for g in tiny.GENERATORS for e in (None, *tiny.encoders(6))]
ALONE = {
    **tiny.FROZEN,
    **tiny.encoders(6),
    **{f"{kind} alone": part for kind, part in tiny.GENERATORS.items()},
}


def same(found: nn.Module, expected: nn.Module) -> None:
    state = found.state_dict()
    assert state.keys() == expected.state_dict().keys()
    for name, value in expected.state_dict().items():
        assert state[name].dtype == value.dtype, name
        assert torch.equal(state[name], value), name


def metadata_of(path: Path) -> dict[str, str]:
    with safe_open(path, framework="pt") as file:
        return dict(file.metadata() or {})


def rewritten(path: Path, state: dict[str, Tensor], **metadata: str) -> Path:
    metadata = {**metadata_of(path), **metadata}
    safetensors.torch.save_file(state, path, metadata)
    return path


def saved(path: Path) -> tuple[PSP, Path]:
    model = tiny.model("stylegan2", "single_w")
    models.save(model, path / "model.safetensors")
    return model, path / "model.safetensors"


# ---------------------------------------------------------------- there and back


@pytest.mark.parametrize(("generator", "encoder"), PAIRS)
def test_models(generator: str, encoder: str | None, tmp_path: Path) -> None:
    model = tiny.model(generator, encoder, task="toonify", license="mine", start_from_mean=False)
    path = tmp_path / "folder" / "model.safetensors"
    models.save(model, path)
    again = wplus.load(path)
    assert isinstance(again, PSP)
    assert again.config == model.config
    same(again, model)
    assert not again.training
    assert not any(parameter.requires_grad for parameter in again.parameters())
    assert not any(value.is_meta for value in again.state_dict().values())
    codes = model.sample(1, seed=0)
    torch.testing.assert_close(again.decode(codes), model.decode(codes))
    if encoder:
        x = torch.rand(1, 3, 64, 64)
        torch.testing.assert_close(again.encode(x), model.encode(x))


@pytest.mark.parametrize("name", ALONE)
def test_networks_alone(name: str, tmp_path: Path) -> None:
    part = ALONE[name]
    network = tiny.unusual(models.build(part))
    path = tmp_path / "network.safetensors"
    models.save(network, path, part)
    again = models.load_network(path)
    assert type(again) is type(network)
    same(again, network)
    assert not again.training
    assert not any(parameter.requires_grad for parameter in again.parameters())
    config, state = models.read(path)
    assert config == part
    assert state.keys() == network.state_dict().keys()


def test_metadata_is_complete(tmp_path: Path) -> None:
    model, path = saved(tmp_path)
    content = json.loads(metadata_of(path)["wplus"])
    assert content == {
        "version": 1,
        "model": {
            "generator": {
                "kind": "stylegan2",
                "options": {
                    "resolution": 16,
                    "style_dim": 12,
                    "mapping_layers": 2,
                    "channel_base": 64,
                    "channel_max": 6,
                    "clamp": 256.0,
                },
            },
            "encoder": {
                "kind": "single_w",
                "options": {
                    "num_styles": 6,
                    "style_dim": 12,
                    "stages": [[4, 1], [6, 1], [8, 1], [12, 1]],
                    "input_size": 64,
                },
            },
            "task": "inversion",
            "source": "photo",
            "label_resampling": "nearest",
            "start_from_mean": True,
            "license": "",
            "corrector": None,
            "generator_id": "",
        },
    }
    config, state = models.read(path)
    assert config == model.config
    assert state.keys() == model.state_dict().keys()


def test_what_was_read_is_written_again_the_same(tmp_path: Path) -> None:
    _, path = saved(tmp_path)
    models.save(wplus.load(path), tmp_path / "again.safetensors")
    assert (tmp_path / "again.safetensors").read_bytes() == path.read_bytes()
    summary = models.convert(path, tmp_path / "third.safetensors")
    assert (tmp_path / "third.safetensors").read_bytes() == path.read_bytes()
    assert summary.startswith("single_w, stylegan2, 0.0 M parameters")


def test_a_generator_that_was_changed_is_saved_under_its_new_id(tmp_path: Path) -> None:
    model = tiny.model("mobilestylegan", generator_id="mobilestylegan-ffhq")
    for name in ("mobilestylegan-ffhq", "mobilestylegan-ffhq/tuned", ""):
        model.generator.weights_id = name
        models.save(model, tmp_path / "model.safetensors")
        again = models.load(tmp_path / "model.safetensors")
        assert again.generator.weights_id == again.config.generator_id == name


def test_a_file_can_replace_the_one_that_its_tensors_come_from(tmp_path: Path) -> None:
    model, path = saved(tmp_path)
    again = wplus.load(path)
    models.save(again, path)
    same(wplus.load(path), model)
    same(again, model)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions_become_single(dtype: torch.dtype, tmp_path: Path) -> None:
    model, path = saved(tmp_path)
    state = {
        name: value.to(dtype) if value.is_floating_point() else value
        for name, value in model.state_dict().items()
    }
    rewritten(path, state)
    again = wplus.load(path)
    for name, value in again.state_dict().items():
        if value.is_floating_point():
            assert value.dtype == torch.float32, name
            assert torch.equal(value, state[name].float()), name
        else:
            assert value.dtype == torch.int64, name


def test_half_precision_models_are_saved_as_they_are(tmp_path: Path) -> None:
    model, path = saved(tmp_path)
    size = path.stat().st_size
    models.save(model.to(torch.bfloat16), path)
    assert path.stat().st_size < 0.7 * size
    same(wplus.load(path), model.float())


def test_tensors_of_any_layout_are_saved(tmp_path: Path) -> None:
    model, path = saved(tmp_path)
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    model.mean_codes = model.generator.mean_w.expand(6, 12)  # rows in one place
    models.save(model, path)
    same(wplus.load(path), model)


def test_files_without_a_mean_code(tmp_path: Path) -> None:
    model, path = saved(tmp_path)
    state = model.state_dict()
    del state["mean_codes"]
    rewritten(path, state)
    assert torch.equal(wplus.load(path).mean_codes, model.generator.mean_w.expand(6, 12))
    del state["generator.mean_w"]
    rewritten(path, state)
    again = wplus.load(path)
    assert torch.equal(again.generator.mean_w, model.generator.estimate_mean_w())
    assert torch.equal(again.mean_codes, again.generator.mean_w.expand(6, 12))


# ---------------------------------------------------------------- writing


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_an_interrupted_save_leaves_the_old_file(
    error: type[BaseException], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, path = saved(tmp_path)
    before = path.read_bytes()

    def interrupted(tensors: object, target: Path, metadata: object) -> None:
        target.write_bytes(b"half of a file")
        raise error

    monkeypatch.setattr("safetensors.torch.save_file", interrupted)
    with pytest.raises(error):
        models.save(model, path)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_others_may_read_what_is_saved(tmp_path: Path) -> None:
    _, path = saved(tmp_path)
    (tmp_path / "plain").write_text("x")
    assert stat.S_IMODE(path.stat().st_mode) == stat.S_IMODE((tmp_path / "plain").stat().st_mode)


@pytest.mark.parametrize("name", ["model.pt", "model", "model.safetensors.bak"])
def test_other_suffixes_are_refused(name: str, tmp_path: Path) -> None:
    model, path = saved(tmp_path)
    with pytest.raises(FormatError, match=r"name must end in \.safetensors$"):
        models.save(model, tmp_path / name)
    with pytest.raises(FormatError, match=r"name must end in \.safetensors$"):
        models.convert(path, tmp_path / name)
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_a_network_alone_needs_to_be_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^a ResNet alone needs its configuration"):
        models.save(models.build(tiny.FROZEN["resnet"]), tmp_path / "a.safetensors")
    assert list(tmp_path.iterdir()) == []


# ---------------------------------------------------------------- files that are refused


def reason(path: Path) -> str:
    with pytest.raises(FormatError) as error:
        wplus.load(path)
    message = str(error.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    return message.removeprefix(f"{path}: ")


def test_wrong_tensors_are_named(tmp_path: Path) -> None:
    model, path = saved(tmp_path)
    state = model.state_dict()
    bias = state.pop("encoder.linear.bias")
    rewritten(path, state)
    assert reason(path) == "lacks encoder.linear.bias"
    rewritten(path, {**state, "encoder.linear.bais": bias})
    assert reason(path) == "lacks encoder.linear.bias and has unexpected encoder.linear.bais"
    rewritten(path, {**state, "encoder.linear.bias": bias[:5]})
    assert reason(path) == "has tensors of the wrong shape: encoder.linear.bias (5,) for (12,)"
    for dtype in (torch.int64, torch.complex64):
        rewritten(path, {**state, "encoder.linear.bias": bias.to(dtype)})
        assert reason(path).startswith("has tensors of the wrong type: encoder.linear.bias")


@pytest.mark.parametrize("share", [0.0, 0.001, 0.5, 0.999])
def test_truncated_files(share: float, tmp_path: Path) -> None:
    _, path = saved(tmp_path)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    assert reason(path).startswith("not a safetensors file, or damaged (")


@pytest.mark.parametrize(
    "content", [b"text", b"<!DOCTYPE html><html/>" * 9, bytes(100), b"\xff" * 99]
)
def test_files_of_another_kind(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    assert reason(path).startswith("not a safetensors file, or damaged (")


def test_missing_files_and_folders(tmp_path: Path) -> None:
    assert reason(tmp_path / "none.safetensors") == "no such file"
    (tmp_path / "a.safetensors").mkdir()
    assert reason(tmp_path / "a.safetensors") == "is a folder"


def test_safetensors_of_others(tmp_path: Path) -> None:
    path = tmp_path / "lora.safetensors"
    for metadata in (None, {"format": "pt"}):
        safetensors.torch.save_file({"a": torch.zeros(1)}, path, metadata)
        assert reason(path).startswith("holds no network of a known layout (pSp, ")


GENERATOR: dict[str, Any] = {"kind": "stylegan2", "options": {"resolution": 16}}


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("{", "its configuration is damaged ("),
        ("[" * 100_000, "its configuration is damaged ("),
        ("[]", "its configuration is not a table"),
        ("null", "its configuration is not a table"),
        ({"model": {"generator": GENERATOR}}, "is of version None; this wplus reads version 1"),
        ({"version": 2, "new": {}}, "is of version 2; this wplus reads version 1"),
        ({"version": "1\n"}, "is of version '1\\n'; this wplus reads version 1"),
        ({"version": 1}, "a model's configuration must be a table, not None"),
        ({"version": 1, "model": {}}, "a model's configuration names no generator"),
        ({"version": 1, "model": {"generator": GENERATOR, "shoe": 44}}, "unknown settings 'shoe'"),
        (
            {"version": 1, "model": {"generator": {"kind": "gan"}}},
            "no generator 'gan'; there are: ",
        ),
        (
            {"version": 1, "model": {"generator": {"kind": "pyramid"}}},
            "no generator 'pyramid'",
        ),
        (
            {"version": 1, "model": {"generator": GENERATOR, "encoder": GENERATOR}},
            "no encoder 'stylegan2'; there are",
        ),
        (
            {"version": 1, "model": {"generator": {"kind": "stylegan2", "options": {"size": 16}}}},
            "network 'stylegan2': ",
        ),
        (
            {"version": 1, "model": {"generator": GENERATOR, "encoder": {"kind": "single_w"}}},
            "the encoder makes codes of 18×512, the generator takes 6×512",
        ),
        ({"version": 1, "network": []}, "network must have 'kind' and 'options'"),
        ({"version": 1, "network": {"kind": "arcface", "options": {}}}, "network 'arcface': "),
    ],
)
def test_configurations_that_make_no_sense(content: object, expected: str, tmp_path: Path) -> None:
    _, path = saved(tmp_path)
    text = content if isinstance(content, str) else json.dumps(content)
    rewritten(path, {"a": torch.zeros(1)}, wplus=text)
    assert expected in reason(path)


def test_a_network_where_a_model_is_meant_is_told_by_its_tensors(tmp_path: Path) -> None:
    model, path = saved(tmp_path)
    part = {"kind": "stylegan2", "options": model.config.generator.options}
    rewritten(path, model.state_dict(), wplus=json.dumps({"version": 1, "network": part}))
    assert reason(path).startswith("lacks ")


def test_configurations_are_checked_before_they_are_believed(tmp_path: Path) -> None:
    config = ModelConfig(Part("resnet", {}))
    with pytest.raises(ConfigError, match="no generator 'resnet'"):
        models.assemble(config, {}, "f")
