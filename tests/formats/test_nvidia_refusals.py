"""NVIDIA's pickles that are refused: spoiled, malicious, or of a generator that ours is not."""

from __future__ import annotations

import pathlib
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import pytest
import torch
from nvidia_files import (
    STYLE_DIM,
    Network,
    Persistent,
    load,
    pytorch_generator,
    pytorch_snapshot,
    tensorflow_generator,
    tensorflow_snapshot,
    write,
)
from torch import Tensor

from wplus.errors import FormatError
from wplus.formats import nvidia


def refusal(path: pathlib.Path) -> str:
    with pytest.raises(FormatError) as caught:
        nvidia.read(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    return message


class Call:
    """Pickled as a call of `function`."""

    def __init__(self, function: Callable[..., Any], *args: Any) -> None:
        self.parts = (function, args)

    def __reduce__(self) -> Any:
        return self.parts


def _marking_call(mark: pathlib.Path) -> Call:
    return Call(eval, f"open({str(mark)!r}, 'w').close()")


def _blob(content: Any, path: pathlib.Path) -> bytes:
    """`content` as storages are saved inside a pickle."""
    if isinstance(content, Tensor):
        storage = content.untyped_storage()
        content = torch.storage.TypedStorage(
            wrap_storage=storage, dtype=content.dtype, _internal=True
        )
    torch.save(content, path, _use_new_zipfile_serialization=False)
    return path.read_bytes()


def _with_bias(blob: bytes, size: tuple[int, ...], stride: tuple[int, ...], offset: int) -> Any:
    """A generator of which one tensor is a view of the storage in `blob`."""
    theirs = pytorch_generator()
    storage = Call(torch.storage._load_from_bytes, blob)
    theirs.synthesis.b8.conv1._parameters["bias"] = Call(
        torch._utils._rebuild_tensor_v2, storage, offset, size, stride, False, OrderedDict()
    )
    return theirs


def test_a_tensor_by_hand(tmp_path: pathlib.Path) -> None:
    blob = _blob(torch.arange(20.0), tmp_path / "blob")
    _, ours = load(write(tmp_path / "a.pkl", _with_bias(blob, (8,), (2,), 1)))
    assert torch.equal(ours.blocks[0].conv.bias, torch.arange(1.0, 17.0, 2))


def test_malicious_storage_inside_a_pickle(tmp_path: pathlib.Path, mark: pathlib.Path) -> None:
    blob = _blob(_marking_call(mark), tmp_path / "blob")
    message = refusal(write(tmp_path / "a.pkl", _with_bias(blob, (8,), (1,), 0)))
    assert "refused: it asks for builtins.eval" in message


@pytest.mark.parametrize(
    ("content", "size", "stride", "offset", "reason"),
    [
        (torch.zeros(4), (1 << 40,), (0,), 0, "larger than its data"),
        (torch.zeros(4), (2,), (100,), 0, "larger than its data"),
        (torch.zeros(4), (2,), (1,), 3, "larger than its data"),
        (torch.zeros(4), (2,), (-1,), 3, "impossible shape"),
        (torch.zeros(4), (-2,), (1,), 0, "impossible shape"),
        (torch.zeros(4, dtype=torch.int64), (4,), (1,), 0, "floating-point"),
        ({"a": 1}, (4,), (1,), 0, "floating-point"),
    ],
)
def test_tensors_that_are_not_what_they_say(
    tmp_path: pathlib.Path, content: Any, size: Any, stride: Any, offset: int, reason: str
) -> None:
    blob = _blob(content, tmp_path / "blob")
    assert reason in refusal(write(tmp_path / "a.pkl", _with_bias(blob, size, stride, offset)))


def test_a_module_inside_itself(tmp_path: pathlib.Path) -> None:
    theirs = pytorch_generator()
    circle = Persistent("Circle", "")
    circle.__dict__["_modules"] = theirs._modules
    theirs._modules["circle"] = circle
    assert "contains itself" in refusal(write(tmp_path / "a.pkl", theirs))


def _set(generator: Persistent, path: str, name: str, value: Any) -> None:
    generator.get_submodule(path).__dict__[name] = value


def _set_all(generator: Persistent, name: str, value: Any) -> None:
    for module in generator.modules():
        if name in module.__dict__:
            module.__dict__[name] = value


PYTORCH_FAULTS: dict[str, tuple[Callable[[Any], Any], str]] = {
    "labels": (lambda g: _set(g, "", "c_dim", 10), "conditional generator (10 labels)"),
    "colors": (lambda g: _set(g, "", "img_channels", 1), "number of colors of 1"),
    "resnet": (lambda g: _set_all(g, "architecture", "resnet"), "architecture 'resnet'"),
    "relu": (lambda g: _set(g, "synthesis.b8.conv0", "activation", "relu"), "activation 'relu'"),
    "linear mapping": (lambda g: _set(g, "mapping.fc1", "activation", "linear"), "'linear'"),
    "filter": (
        lambda g: g.synthesis.b8.conv0.resample_filter.copy_(torch.full((4, 4), 1 / 16)),
        "another resampling filter",
    ),
    "longer filter": (
        lambda g: g.synthesis.b8.register_buffer("resample_filter", torch.ones(6, 6) / 36),
        "another resampling filter",
    ),
    "clamps": (lambda g: _set(g, "synthesis.b8.conv0", "conv_clamp", 256), "differ"),
    "StyleGAN3": (
        lambda g: setattr(g.synthesis, "input", Persistent("SynthesisInput", "")),
        "StyleGAN3",
    ),
    "another network": (lambda g: delattr(g, "mapping"), "holds a Generator, not a StyleGAN2"),
    "missing tensor": (
        lambda g: delattr(g.synthesis.b8.conv1, "bias"),
        "lacks synthesis.b8.conv1.bias",
    ),
    "unexpected tensor": (
        lambda g: g.mapping.register_buffer("extra\nline", torch.ones(1)),
        "has unexpected mapping.extra?line",
    ),
    "narrow z": (
        lambda g: g.mapping.fc0.parameter("weight", torch.ones(STYLE_DIM, 5)),
        "mapping network has a layer of (12, 5)",
    ),
    "widths": (
        lambda g: g.synthesis.b8.conv1.parameter("weight", torch.ones(3, 3, 3, 3)),
        "channels [8, 3, 4]",
    ),
    "no blocks": (lambda g: _set(g, "synthesis", "_modules", {}), "no StyleGAN2 synthesis"),
    "nonsense": (lambda g: _set(g, "synthesis", "_buffers", 5), "not laid out as expected"),
}


@pytest.mark.parametrize(("spoil", "reason"), PYTORCH_FAULTS.values(), ids=PYTORCH_FAULTS)
def test_pytorch_generators_that_ours_is_not(
    tmp_path: pathlib.Path, spoil: Callable[[Any], Any], reason: str
) -> None:
    theirs = pytorch_generator()
    spoil(theirs)
    assert reason in refusal(write(tmp_path / "a.pkl", pytorch_snapshot(theirs)))


def _rename(generator: Network, old: str, new: str) -> None:
    state = generator.state["components"]["synthesis"].state
    state["variables"] = [(name.replace(old, new), value) for name, value in state["variables"]]


TENSORFLOW_FAULTS: dict[str, tuple[dict[str, Any], Callable[[Any], Any], str]] = {
    "labels": ({"label_size": 10}, lambda g: None, "conditional generator (10 labels)"),
    "resnet": ({"architecture": "resnet"}, lambda g: None, "architecture 'resnet'"),
    "relu": ({"nonlinearity": "relu"}, lambda g: None, "activation 'relu'"),
    "filter": ({"resample_kernel": [1, 1]}, lambda g: None, "filter [1, 1]"),
    "box filter": ({"resample_kernel": None}, lambda g: None, "filter None"),
    "raw z": ({"normalize_latents": False}, lambda g: None, "normalized latents False"),
    "config D": ({}, lambda g: _rename(g, "16x16/ToRGB", "ToRGB_lod0"), "before config E"),
    "StyleGAN": ({}, lambda g: _rename(g, "mod_weight", "StyleMod/weight"), "before config E"),
    "unexpected": ({}, lambda g: _rename(g, "8x8/Conv1", "8x8/Conv2"), "lacks synthesis.b8.conv1"),
    "no parts": ({}, lambda g: g.state.update(components={}), "no generator of StyleGAN2"),
    "nonsense": ({}, lambda g: g.state.update(variables=[1]), "not laid out as expected"),
    "objects": ({}, lambda g: g.state.update(variables=[("dlatent_avg", "x")]), "not an array"),
}


@pytest.mark.parametrize(
    ("settings", "spoil", "reason"), TENSORFLOW_FAULTS.values(), ids=TENSORFLOW_FAULTS
)
def test_tensorflow_generators_that_ours_is_not(
    tmp_path: pathlib.Path, settings: dict[str, Any], spoil: Callable[[Any], Any], reason: str
) -> None:
    theirs = tensorflow_generator(**settings)
    spoil(theirs)
    assert reason in refusal(write(tmp_path / "a.pkl", tensorflow_snapshot(theirs)))


def test_other_pickles(tmp_path: pathlib.Path) -> None:
    assert "no generator" in refusal(write(tmp_path / "a.pkl", {"G": 1}))
    assert "not a network" in refusal(write(tmp_path / "a.pkl", [1, 2]))
    assert "no such file" in refusal(tmp_path / "none.pkl")
    torch.save({"g_ema": {}}, tmp_path / "b.pkl")
    assert "torch checkpoint" in refusal(tmp_path / "b.pkl")
