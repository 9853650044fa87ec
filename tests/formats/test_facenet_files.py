"""ArcFace nets in the published layout: values of the published code, strict and safe reading."""

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

import weights as reference_weights
from wplus.errors import FormatError
from wplus.formats.facenets import (
    arcface_table,
    read_arcface,
    translate_arcface,
    translate_trunk,
    trunk_config,
)
from wplus.formats.strict import inverse, rename
from wplus.losses.facenets import ArcFace, load_arcface
from wplus.losses.identity import IdentityLoss
from wplus.nn.irse import STAGES_101, IRSETrunk

REFERENCE = Path(reference_weights.__file__).parent
TINY = {"input_channels": 3, "stages": ((16, 2), (32, 1), (64, 2)), "se": True}


def published(*, se: bool = True, affine: bool = True) -> dict[str, Tensor]:
    """A tiny ArcFace net under the published names, at 112x112."""
    config = {"trunk": TINY | {"se": se}, "embedding": 5, "affine": affine}
    net = ArcFace(IRSETrunk(**config["trunk"]), 5, affine=affine)
    return rename(net.state_dict(), inverse(arcface_table(config)), "the net")


def test_reference_names_are_exactly_those_of_ir_se_50() -> None:
    shapes = json.loads((REFERENCE / "keys.json").read_text())["arcface_ir_se50"]
    state = {name: torch.empty(shape, device="meta") for name, shape in shapes.items()}
    config, ours = translate_arcface(state)
    stages = ((64, 3), (128, 4), (256, 14), (512, 3))
    assert config["trunk"] == {"input_channels": 3, "stages": stages, "se": True}
    with torch.device("meta"):
        net = ArcFace(IRSETrunk(**config["trunk"]), config["embedding"], affine=config["affine"])
    assert {k: v.shape for k, v in net.state_dict().items()} == {
        k: v.shape for k, v in ours.items()
    }
    assert rename(ours, inverse(arcface_table(config)), "back").keys() == state.keys()


def test_curricularface_is_an_ir_101_whose_last_norm_has_no_gain() -> None:
    config = {"trunk": {"stages": STAGES_101, "se": False}, "affine": False}
    with torch.device("meta"):
        net = ArcFace(IRSETrunk(3, STAGES_101, se=False), affine=False)
    state = rename(net.state_dict(), inverse(arcface_table(config)), "net")
    assert {"output_layer.4.running_mean", "body.48.res_layer.4.weight"} <= state.keys()
    assert not {"output_layer.4.weight", "output_layer.4.bias"} & state.keys()
    assert not any("res_layer.5" in name for name in state)
    found, ours = translate_arcface(state)
    assert found["affine"] is False
    assert found["trunk"]["stages"] == STAGES_101
    assert found["trunk"]["se"] is False
    assert ours.keys() == net.state_dict().keys()


@pytest.mark.parametrize(
    ("se", "affine", "zipped"), [(True, True, True), (False, False, False), (True, False, False)]
)
def test_files_of_every_kind_are_read(tmp_path: Path, se: bool, affine: bool, zipped: bool) -> None:
    state = published(se=se, affine=affine)
    file = tmp_path / "net.pth"
    torch.save(state, file, _use_new_zipfile_serialization=zipped)
    net = load_arcface(file)
    assert not net.training
    assert (net.trunk.units[0].excite is not None) == se
    back = rename(
        net.state_dict(), inverse(arcface_table({"trunk": TINY | {"se": se}, "affine": affine})), ""
    )
    for name, tensor in state.items():
        torch.testing.assert_close(back[name], tensor)
    embedding = net(torch.randn(2, 3, 112, 112))
    torch.testing.assert_close(embedding.norm(dim=1), torch.ones(2))


def test_the_trunk_of_a_larger_file_is_found_by_its_prefix() -> None:
    state = {f"encoder.{name}": value for name, value in published().items()}
    state["encoder.styles.0.weight"] = torch.ones(1)
    state["decoder.body.0.weight"] = torch.ones(1)
    assert trunk_config(state, "encoder.") == TINY
    trunk = translate_trunk(state, "encoder.", "psp.pt")
    assert trunk.keys() == IRSETrunk(**TINY).state_dict().keys()
    state["encoder.body.1.extra"] = torch.ones(1)
    with pytest.raises(FormatError, match=r"^psp\.pt: has unexpected encoder\.body\.1\.extra$"):
        translate_trunk(state, "encoder.", "psp.pt")


@pytest.mark.parametrize(
    "name",
    [
        "input_layer.0.weight",
        "input_layer.2.weight",
        "body.0.res_layer.3.weight",
        "body.2.res_layer.4.running_var",
        "body.2.shortcut_layer.0.weight",
        "body.3.res_layer.5.fc2.weight",
        "output_layer.0.bias",
        "output_layer.3.weight",
        "output_layer.4.running_mean",
    ],
)
def test_a_missing_tensor_is_named(tmp_path: Path, name: str) -> None:
    state = published()
    del state[name]
    torch.save(state, tmp_path / "net.pth")
    with pytest.raises(FormatError, match=rf"net\.pth: lacks {name}"):
        read_arcface(tmp_path / "net.pth")


def test_a_misshapen_tensor_is_named(tmp_path: Path) -> None:
    state = published()
    state["body.1.res_layer.1.weight"] = torch.zeros(16, 16, 1, 1)
    torch.save(state, tmp_path / "net.pth")
    with pytest.raises(FormatError, match=r"trunk\.units\.1\.conv1\.weight \(16, 16, 1, 1\) for"):
        load_arcface(tmp_path / "net.pth")


def test_other_files_are_refused(tmp_path: Path) -> None:
    for content in ({"a": torch.ones(1)}, {"model": {"a": 1}}, [torch.ones(1)], {}):
        torch.save(content, tmp_path / "net.pth")
        with pytest.raises(FormatError, match=r"net\.pth: (lacks|holds)"):
            read_arcface(tmp_path / "net.pth")


def test_a_file_that_would_run_a_command_does_not(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[object, ...]:
            return Path.touch, (tmp_path / "ran",)

    file = tmp_path / "net.pth"
    torch.save({"input_layer.0.weight": Evil()}, file)
    with pytest.raises(FormatError):
        load_arcface(file)
    file.write_bytes(pickle.dumps(Evil()))
    with pytest.raises(FormatError):
        load_arcface(file)
    assert not (tmp_path / "ran").exists()


def test_equals_the_published_net(tmp_path: Path) -> None:
    """Embeddings of the reference case, through a file in the published layout."""
    shapes = json.loads((REFERENCE / "keys.json").read_text())["arcface_ir_se50"]
    state = {
        name: torch.from_numpy(np.asarray(reference_weights.weight(name, tuple(shape))))
        for name, shape in shapes.items()
    }
    torch.save(state, tmp_path / "model_ir_se50.pth")
    net = load_arcface(tmp_path / "model_ir_se50.pth")
    cases = np.load(REFERENCE / "cases.npz")
    loss = IdentityLoss(net)
    a, b = (
        torch.from_numpy(reference_weights.picture(f"arcface.{x}", (2, 3, 256, 256))) for x in "ab"
    )
    with torch.no_grad():
        embedded_a, embedded_b = loss.embed(a), loss.embed(b)
        terms = loss(a, b, b)
    np.testing.assert_allclose(embedded_a, cases["arcface.embedding_a"], atol=1e-4)
    np.testing.assert_allclose(embedded_b, cases["arcface.embedding_b"], atol=1e-4)
    np.testing.assert_allclose(terms["id"], cases["arcface.loss"], atol=1e-4)
