"""One network in every wrapper that users publish it in: the same tensors come out."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nvidia_files
import published
import pytest
import torch
from safetensors.torch import save_file

import wplus
from wplus.errors import FormatError
from wplus.formats import foreign, nvidia


def prefixed(state: Mapping[str, Any], start: str) -> dict[str, Any]:
    return {start + name: value for name, value in state.items()}


GENERATOR = published.port(published.generator(8))
MEAN = torch.randn(published.STYLE_DIM, generator=torch.Generator().manual_seed(3))
WRAPPED: dict[str, Any] = {
    "as published": {"g_ema": GENERATOR, "latent_avg": MEAN},
    "bare": GENERATOR | {"latent_avg": MEAN},
    "g": {"g": GENERATOR, "d": {"x": 1}, "latent_avg": MEAN.numpy()},
    "state_dict": {"state_dict": GENERATOR, "latent_avg": MEAN, "epoch": 3},
    "twice": {"model": {"state_dict": GENERATOR, "latent_avg": MEAN}},
    "params_ema": {"params": {"x": 1}, "params_ema": GENERATOR, "latent_avg": MEAN},
    "DataParallel": {"g_ema": prefixed(GENERATOR, "module."), "latent_avg": MEAN},
    "compiled": {"g_ema": prefixed(GENERATOR, "_orig_mod.module."), "latent_avg": MEAN},
    "of a pSp": prefixed(GENERATOR, "decoder.") | {"latent_avg": MEAN},
    "arrays": {name: value.numpy() for name, value in GENERATOR.items()} | {"latent_avg": MEAN},
}


def assert_same(found: foreign.Found, expected: foreign.Found) -> None:
    assert found[0] == expected[0]
    assert found[1].keys() == expected[1].keys()
    for name, value in expected[1].items():
        assert torch.equal(found[1][name], value), name


def read(path: Path, content: object) -> foreign.Found:
    torch.save(content, path)
    return foreign.read(path)


@pytest.mark.parametrize("wrapper", WRAPPED)
def test_generators(tmp_path: Path, wrapper: str) -> None:
    expected = read(tmp_path / "a.pt", WRAPPED["as published"])
    assert "generator.mean_w" in expected[1]
    assert_same(read(tmp_path / "b.pt", WRAPPED[wrapper]), expected)


def test_safetensors(tmp_path: Path) -> None:
    expected = read(tmp_path / "a.pt", WRAPPED["as published"])
    path = tmp_path / "mirror.safetensors"
    save_file(WRAPPED["bare"], path, metadata={"format": "pt"})
    assert_same(foreign.read(path), expected)
    assert wplus.load(path).resolution == 8
    other = path.rename(tmp_path / "mirror.bin")
    assert_same(foreign.read(other), expected)


@pytest.mark.parametrize("suffix", [".pkl", ".ckpt", ".bin", ".onnx", ".xml", ".safetensors", ""])
@pytest.mark.parametrize("zipped", [True, False])
def test_the_content_decides(tmp_path: Path, suffix: str, zipped: bool) -> None:
    expected = read(tmp_path / "a.pt", WRAPPED["as published"])
    path = tmp_path / f"b{suffix}"
    torch.save(WRAPPED["as published"], path, _use_new_zipfile_serialization=zipped)
    assert_same(foreign.read(path), expected)
    if suffix != ".safetensors":
        assert wplus.load(path).resolution == 8


def psp_wrappers(whole: dict[str, Any]) -> dict[str, Any]:
    state = whole["state_dict"]
    parts = {
        part: {n.partition(".")[2]: v for n, v in state.items() if n.startswith(part)}
        for part in ("encoder", "decoder")
    }
    behind = {n.replace(".", ".module.", 1): v for n, v in state.items()}
    return {
        "module. before": {**whole, "state_dict": prefixed(state, "module.")},
        "module. inside": {**whole, "state_dict": behind},
        "parts": {**whole, "state_dict": parts},
        "options outside": {"opts": whole["opts"], "model": whole},
        "bare": {**state, "opts": whole["opts"], "latent_avg": whole["latent_avg"]},
    }


def test_psp(tmp_path: Path) -> None:
    generator = published.generator(8)
    encoder = published.encoder("pyramid", generator.num_styles)
    whole = published.checkpoint(encoder, generator, "pyramid")
    expected = read(tmp_path / "a.pt", whole)
    for wrapper, content in psp_wrappers(whole).items():
        if wrapper != "bare":
            assert_same(read(tmp_path / "b.pt", content), expected)
    path = tmp_path / "a.safetensors"
    metadata = {name: str(value) for name, value in whole["opts"].items()}
    save_file({**whole["state_dict"], "latent_avg": whole["latent_avg"]}, path, metadata)
    assert_same(foreign.read(path), expected)
    alone = {n[8:]: v for n, v in whole["state_dict"].items() if n.startswith("encoder.")}
    for content in (alone, {"state_dict": alone}, prefixed(alone, "module.")):
        with pytest.raises(FormatError, match="encoder of a pSp model without its generator"):
            read(tmp_path / "b.pt", content)
    with pytest.raises(FormatError, match="no generator"):
        read(tmp_path / "b.pt", prefixed(alone, "encoder."))


def test_nvidia_modules_saved_by_torch(tmp_path: Path, mark: Path) -> None:
    """PTI saves the whole module; others its state_dict."""
    module = nvidia_files.pytorch_generator(nvidia_files.source_that_marks(mark))
    plain = nvidia_files.write(tmp_path / "a.pkl", nvidia_files.pytorch_snapshot(module))
    expected = foreign.read(plain)
    with nvidia_files.nvidia_modules():
        torch.save(module, tmp_path / "model_ABC.pt")
        torch.save(module, tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    assert_same(foreign.read(tmp_path / "model_ABC.pt"), expected)
    assert_same(foreign.read(tmp_path / "old.pt"), expected)
    assert_same(foreign.read(plain.rename(tmp_path / "renamed.pt")), expected)
    expected[0]["generator"]["options"]["clamp"] = nvidia.CLAMP  # which a state_dict lacks
    for content in (module.state_dict(), {"G_ema": module.state_dict()}):
        assert_same(read(tmp_path / "b.pt", content), expected)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ({"a": {"b": 1}}, "holds a dict at a, not a tensor"),
        ({**GENERATOR, **prefixed(GENERATOR, "module.")}, "twice"),
        ([GENERATOR], "holds a list"),
        ({"opts": [1]}, "'opts' are a list"),
        ({"x": torch.zeros(2)}, "no network of a known layout"),
        ({"state_dict": {"discriminator.x": torch.zeros(2)}}, "no network of a known layout"),
    ],
)
def test_other_contents(tmp_path: Path, content: object, reason: str) -> None:
    with pytest.raises(FormatError, match=reason) as error:
        read(tmp_path / "a.pt", content)
    assert "\n" not in str(error.value)


def test_one_tensor_under_many_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(foreign, "SPARE", 0)
    monkeypatch.setattr(foreign, "LARGER", 1)
    with pytest.raises(FormatError, match="claim far more numbers"):
        read(tmp_path / "a.pt", {"g_ema": {n: v.half() for n, v in GENERATOR.items()}})


def test_pickles_of_nothing_known(tmp_path: Path) -> None:
    for content in ({"G": 1}, (1, 2, 3), [1], "text", len):
        (tmp_path / "a.pkl").write_bytes(pickle.dumps(content))
        with pytest.raises(FormatError) as error:
            foreign.read(tmp_path / "a.pkl")
        assert str(error.value).count(str(tmp_path / "a.pkl")) == 1
