"""LPIPS weights: both published layouts, both ways, strictly."""

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import weights as reference_weights
from wplus.errors import FormatError
from wplus.formats.lpips import lpips_table, publish_lpips, read_lpips, translate_lpips
from wplus.formats.strict import load_strict
from wplus.losses.perceptual import LPIPS, load_lpips

NETS = {"alexnet": "AlexNet_0", "vgg16": "VGG16_0"}


def flax_tree(net: str) -> dict[str, Any]:
    """The nested arrays of the Flax port for a net with random weights."""
    state = LPIPS(net).state_dict()
    tree: dict[str, Any] = {NETS[net]: {}}
    for i in range(sum(name.endswith("bias") for name in state)):
        kernel = state[f"convs.{i}.weight"].permute(2, 3, 1, 0).contiguous().numpy()
        tree[NETS[net]][f"Conv_{i}"] = {"kernel": kernel, "bias": state[f"convs.{i}.bias"].numpy()}
    for k in range(5):
        head = np.full((1, 1, state[f"heads.{k}"].shape[1], 1), k, np.float32)
        tree[f"NetLinLayer_{k}"] = {"Conv_0": {"kernel": head}}
    return tree


@pytest.mark.parametrize("net", NETS)
def test_names_and_shapes_are_those_of_the_model(net: str) -> None:
    with torch.device("meta"):
        model = LPIPS(net)
    assert set(lpips_table(net).values()) == set(model.state_dict())


def test_reference_names_are_exactly_those_of_the_table() -> None:
    keys = Path(reference_weights.__file__).with_name("keys.json")
    shapes = json.loads(keys.read_text())["lpips_alex"]
    state = {name: torch.empty(shape, device="meta") for name, shape in shapes.items()}
    net, ours = translate_lpips(state)
    assert net == "alexnet"
    expected = {name: value.shape for name, value in LPIPS().state_dict().items()}
    assert {name: value.shape for name, value in ours.items()} == expected


@pytest.mark.parametrize("net", NETS)
def test_published_names_there_and_back(net: str) -> None:
    with torch.device("meta"):
        state = LPIPS(net).state_dict()
    published = publish_lpips(net, state)
    last = {"alexnet": "features.10.weight", "vgg16": "features.28.weight"}
    assert {"features.0.bias", last[net], "lin4.model.1.weight"} <= published.keys()
    found, ours = translate_lpips(published)
    assert found == net
    assert ours.keys() == state.keys()
    assert all(ours[name] is state[name] for name in state)


def test_published_names_are_checked() -> None:
    published = publish_lpips("alexnet", LPIPS().state_dict())
    del published["lin2.model.1.weight"]
    with pytest.raises(FormatError, match=r"^alex\.pth: lacks lin2\.model\.1\.weight$"):
        translate_lpips(published, "alex.pth")
    published["lin2.model.2.weight"] = torch.ones(1)
    with pytest.raises(FormatError, match=r"has unexpected lin2\.model\.2\.weight$"):
        translate_lpips(published, "alex.pth")


@pytest.mark.parametrize("net", NETS)
def test_flax_files_are_read(tmp_path: Path, net: str) -> None:
    tree = flax_tree(net)
    file = tmp_path / "net.ckpt"
    file.write_bytes(pickle.dumps(tree))
    found, state = read_lpips(file)
    assert found == net
    kernel = tree[NETS[net]]["Conv_1"]["kernel"]
    height, width, inputs, outputs = kernel.shape
    weight = state["convs.1.weight"]
    assert weight.shape == (outputs, inputs, height, width)
    for o, i, y, x in ((0, 0, 0, 0), (outputs - 1, 2, 1, 0), (3, inputs - 1, 0, 2)):
        assert weight[o, i, y, x] == kernel[y, x, i, o]
    assert [state[f"heads.{k}"].mean() for k in range(5)] == [0, 1, 2, 3, 4]
    load_strict(LPIPS(net), state, "net.ckpt")


def test_flax_files_are_checked(tmp_path: Path) -> None:
    file = tmp_path / "net.ckpt"
    tree = flax_tree("alexnet")
    file.write_bytes(pickle.dumps(tree))
    with pytest.raises(FormatError, match="lacks"):
        load_lpips("vgg16", file)
    for broken, message in (
        ({k: v for k, v in tree.items() if k != "NetLinLayer_3"}, r"lacks NetLinLayer_3\.Conv_0"),
        (tree | {"extra": np.ones(2)}, "has unexpected extra"),
        (tree | {"extra": [1]}, "holds a list at extra"),
        ({"AlexNet_0": {}}, "holds no LPIPS"),
        ([1, 2], "holds a list"),
        (
            tree | {"NetLinLayer_0": {"Conv_0": {"kernel": np.ones((1, 1, 3, 1), np.float32)}}},
            r"heads\.0 \(1, 3, 1, 1\) for \(1, 64, 1, 1\)",
        ),
    ):
        file.write_bytes(pickle.dumps(broken))
        with pytest.raises(FormatError, match=rf"net\.ckpt: .*{message}"):
            load_lpips("alexnet", file)


def test_files_that_would_run_code_are_refused(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[object, ...]:
            return Path.touch, (tmp_path / "ran",)

    (tmp_path / "net.ckpt").write_bytes(pickle.dumps({"AlexNet_0": Evil()}))
    with pytest.raises(FormatError):
        read_lpips(tmp_path / "net.ckpt")
    assert not (tmp_path / "ran").exists()
