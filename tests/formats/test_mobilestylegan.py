"""MobileStyleGAN's OpenVINO files: a small graph of the same make, and the real ones."""

from __future__ import annotations

import math
from pathlib import Path

import ir
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import wplus
from wplus import weights
from wplus.errors import FormatError
from wplus.formats import foreign, mobilestylegan

REAL = "mobilestylegan-ffhq"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of a small model."""
    folder = tmp_path_factory.mktemp("mobile")
    rng = np.random.default_rng(0)
    ir.write_mapping(folder / foreign.MAPPING, ir.mapping_tensors(rng))
    ir.write_synthesis(folder / foreign.SYNTHESIS, ir.synthesis_tensors(rng))
    return folder


def tensors() -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """What the files of `folder` hold."""
    rng = np.random.default_rng(0)
    pair = ir.mapping_tensors(rng), ir.synthesis_tensors(rng)
    first, second = ({k: torch.from_numpy(v) for k, v in part.items()} for part in pair)
    return first, second


def wavelet(x: Tensor) -> Tensor:
    """Details stand channel by channel: v, h, d of the first, of the second, …."""
    channels = x.shape[1] // 4
    details = x[:, channels:].reshape(len(x), channels, 3, *x.shape[2:])
    out = x.new_zeros(len(x), channels, 2 * x.shape[2], 2 * x.shape[3])
    for i, column_sign in ((0, 1), (1, -1)):  # the two columns of a quad
        for j, row_sign in ((0, 1), (1, -1)):
            value = x[:, :channels] + row_sign * details[:, :, 0]
            value = value + column_sign * (details[:, :, 1] + row_sign * details[:, :, 2])
            out[:, :, j::2, i::2] = value / 2
    return out


def slow(t: dict[str, Tensor], codes: Tensor) -> Tensor:
    """The graph with the tensors as the file has them."""

    def style(name: str, index: int) -> Tensor:
        values = codes[:, index] @ t[f"{name}.modulation.weight"].t()
        values = values + t[f"{name}.modulation.bias"]
        return values[:, :, None, None] * (1 if name.endswith("up") else ir.factor(name))

    def finish(x: Tensor, name: str) -> Tensor:
        return F.leaky_relu(x + t[f"{name}.noise"] + t[f"{name}.bias"], 0.2)

    x = t["m.input.input"] * style("m.conv1.conv", 0)
    x = finish(F.conv2d(x, t["m.conv1.conv.weight"], padding=1), "m.conv1")
    for i in range(len(ir.CHANNELS)):
        x = wavelet(x * style(f"m.layers.{i}.up", 3 * i + 1))
        for j in (1, 2):
            name = f"m.layers.{i}.conv{j}"
            x = x * style(f"{name}.conv", 3 * i + 1 + j)
            x = F.conv2d(x, t[f"{name}.conv.weight_dw"][:, 0], padding=1, groups=x.shape[1])
            x = finish(F.conv2d(x, t[f"{name}.conv.weight"]), name)
    name = f"m.layers.{len(ir.CHANNELS) - 1}.to_img"
    x = x * style(f"{name}.conv", codes.shape[1] - 1)
    return wavelet(F.conv2d(x, t[f"{name}.conv.weight"]) + t[f"{name}.bias"])


def test_the_image_is_that_of_the_graph(folder: Path) -> None:
    model = wplus.load(folder)
    assert (model.num_styles, model.resolution) == (8, 32)
    codes = torch.randn(3, 8, ir.STYLE_DIM, generator=torch.manual_seed(1))
    np.testing.assert_allclose(model.decode(codes), slow(tensors()[1], codes), atol=1e-5)


def test_w_is_that_of_the_graph(folder: Path) -> None:
    model = wplus.load(folder / foreign.SYNTHESIS)  # its neighbor is found
    z = torch.randn(3, ir.STYLE_DIM, generator=torch.manual_seed(1))
    x = z / (z.square().mean(1, keepdim=True) + 1e-8).sqrt()
    t = tensors()[0]
    for i in range(len(t) // 2):
        x = F.leaky_relu(x @ t[f"{i}.weight"].t() + t[f"{i}.bias"], 0.2) * math.sqrt(2)
    np.testing.assert_allclose(model.map(z), x, atol=1e-5)


def test_the_small_graph_is_one_that_openvino_runs_alike(folder: Path) -> None:
    openvino = pytest.importorskip("openvino", reason="OpenVINO runs the graph itself")
    model = wplus.load(folder)
    core = openvino.Core()
    w = torch.randn(1, ir.STYLE_DIM, generator=torch.manual_seed(2))
    for name, ours in ((foreign.MAPPING, model.map), (foreign.SYNTHESIS, model.decode)):
        graph = core.read_model(str(folder / name))
        run = core.compile_model(graph, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
        (expected,) = run(w.numpy()).values()
        np.testing.assert_allclose(ours(w), expected, atol=2e-5)


def test_weights_may_lie_elsewhere_and_reading_copies_them(folder: Path, tmp_path: Path) -> None:
    elsewhere = [tmp_path / f"{i}.weights" for i in range(2)]
    graphs = [folder / foreign.MAPPING, folder / foreign.SYNTHESIS]
    for graph, path in zip(graphs, elsewhere):
        path.write_bytes(graph.with_suffix(".bin").read_bytes())
    config, state = foreign.mobile_files(*graphs, *elsewhere)
    assert config["generator"]["options"] == {
        "stem_channels": ir.STEM,
        "channels": ir.CHANNELS,
        "style_dim": ir.STYLE_DIM,
        "mapping_layers": 3,
    }
    state["generator.constant"].add_(1)  # not a view of what was read
    again = foreign.mobile_files(*graphs)[1]
    assert torch.equal(state["generator.constant"], again["generator.constant"] + 1)


# ---------------------------------------------------------------- files that are not it


def reason(path: Path) -> str:
    with pytest.raises(FormatError) as error:
        wplus.load(path)
    assert "\n" not in str(error.value)
    return str(error.value)


def copy(folder: Path, to: Path) -> Path:
    for path in folder.iterdir():
        (to / path.name).write_bytes(path.read_bytes())
    return to


def test_both_graphs_are_needed(folder: Path, tmp_path: Path) -> None:
    copy(folder, tmp_path)
    (tmp_path / foreign.MAPPING).unlink()
    assert reason(tmp_path) == (f"{tmp_path}: {foreign.MAPPING} missing; a generator needs both")
    (tmp_path / foreign.SYNTHESIS).unlink()
    assert reason(tmp_path) == f"{tmp_path}: is a folder, and not one of MobileStyleGAN's files"
    (tmp_path / "other.xml").write_text('<net name="other">')
    assert f"{foreign.MAPPING} and {foreign.SYNTHESIS} missing" in reason(tmp_path / "other.xml")


def test_graphs_in_each_others_place(folder: Path, tmp_path: Path) -> None:
    copy(folder, tmp_path)
    for suffix in (".xml", ".bin"):
        one, other = (tmp_path / name for name in (foreign.MAPPING, foreign.SYNTHESIS))
        one, other = one.with_suffix(suffix), other.with_suffix(suffix)
        held = one.read_bytes()
        one.write_bytes(other.read_bytes())
        other.write_bytes(held)
    assert "not a MobileStyleGAN mapping network" in reason(tmp_path)
    with pytest.raises(FormatError, match="not a MobileStyleGAN synthesis network"):
        mobilestylegan.read_synthesis(tmp_path / foreign.SYNTHESIS)


def test_missing_weights_and_those_of_another_graph(folder: Path, tmp_path: Path) -> None:
    copy(folder, tmp_path)
    blob = (tmp_path / foreign.SYNTHESIS).with_suffix(".bin")
    blob.write_bytes(blob.read_bytes()[:-100])
    assert "lies outside of the weights" in reason(tmp_path)
    blob.unlink()
    assert reason(tmp_path) == f"{blob}: cannot be read (No such file or directory)"


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("m.layers.1.conv2.bias", "bias", "m.layers.1.conv2.bias is missing"),
        ("m.layers.0.up.modulation.bias", "b", "m.layers.0.up.modulation.bias is missing"),
        ("m.layers.0.up.modulation.weight", "w", "1 blocks, 6 convolutions and 5 noise maps"),
        ('type="Multiply"', 'type="Divide"', "leads to no multiplication"),
        ('shape="12, 2, 1, 1"', 'shape="6, 4, 1, 1"', "wrong shape"),
        ('shape="12, 8, 1, 1"', 'shape="8, 12, 1, 1"', "wrong shape"),
        ('shape="8, 6"', 'shape="6, 8"', "wrong shape"),
    ],
)
def test_graphs_of_another_make(
    old: str, new: str, expected: str, folder: Path, tmp_path: Path
) -> None:
    path = copy(folder, tmp_path) / foreign.SYNTHESIS
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    assert expected in reason(tmp_path)


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ('shape="6, 6"', 'shape="2, 18"', "layer 0 of the mapping network has an unexpected shape"),
        ('type="MatMul"', 'type="Mat"', "not a MobileStyleGAN mapping network"),
        ('shape="6"', 'shape="6, 1"', "not a MobileStyleGAN mapping network"),
    ],
)
def test_mappings_of_another_make(
    old: str, new: str, expected: str, folder: Path, tmp_path: Path
) -> None:
    path = copy(folder, tmp_path) / foreign.MAPPING
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    assert expected in reason(tmp_path)


# ---------------------------------------------------------------- the real files

# Of the image of z = (sin(0), sin(1), …, sin(511)) at ψ = 0.7: red, green and blue, as OpenVINO
# computes them in float32.
PIXELS = {  # row and column
    (100, 100): (0.49944, 0.24675, -0.03070),
    (300, 700): (0.62650, 0.36488, 0.31783),
    (512, 400): (0.34458, 0.01414, -0.05779),
    (760, 512): (0.88376, 0.78207, 0.58704),
    (1000, 30): (-0.41337, -0.66848, -0.74237),
}
MEANS = (0.06274, -0.12013, -0.25788)


@pytest.mark.network
def test_the_real_model_draws_what_it_drew() -> None:
    model = wplus.load(REAL)
    assert (model.num_styles, model.resolution) == (23, 1024)
    assert "non-commercial" in model.config.license
    z = torch.arange(512).sin()[None]
    image = model.decode(model.map(z, 0.7))[0]
    for (row, column), color in PIXELS.items():
        np.testing.assert_allclose(image[:, row, column], color, atol=1e-3)
    np.testing.assert_allclose(image.mean((1, 2)), MEANS, atol=1e-4)


@pytest.mark.network
def test_the_shipped_mean_code_is_that_of_the_mapping() -> None:
    generator = wplus.load(REAL).generator
    estimated = generator.estimate_mean_w(20_000, seed=1)
    spread = generator.map(torch.randn(2000, 512, generator=torch.manual_seed(0))).std(0)
    # The error of a mean of n draws is their spread over √n.
    assert ((estimated - generator.mean_w).abs() < 6 * spread / math.sqrt(20_000)).all()


@pytest.mark.network
def test_the_real_model_equals_openvino() -> None:
    openvino = pytest.importorskip("openvino", reason="OpenVINO runs the graphs themselves")
    model = wplus.load(REAL)
    core = openvino.Core()
    z = torch.arange(512).sin()[None]
    for part, ours, tolerance in (("mapping", model.map, 1e-5), ("synthesis", model.decode, 1e-3)):
        files = [str(weights.path(f"{REAL}-{part}.{suffix}")) for suffix in ("xml", "bin")]
        graph = core.read_model(*files)
        run = core.compile_model(graph, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
        (expected,) = run(z.numpy()).values()
        np.testing.assert_allclose(ours(z), expected, atol=tolerance)
        z = torch.from_numpy(expected)
