"""MobileFaceNet from ONNX: equal to ONNX Runtime, at every feature; other graphs refused."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from wplus import weights
from wplus.errors import FormatError
from wplus.formats.mobilefacenet import W600K, read_mobilefacenet
from wplus.formats.strict import load_strict
from wplus.losses.facenets import load_mobilefacenet
from wplus.nn.mobilefacenet import MobileFaceNet, MobileFaceTrunk

TINY: dict[str, Any] = {
    "input_channels": 3,
    "stem": 8,
    "stages": ((8, 6, 2), (10, 12, 1), (10, 14, 0)),
    "head": 9,
    "squeeze": 4,
    "embedding": 5,
    "size": 32,
}


class Writer:
    """Writes an ONNX graph node by node, with random tensors."""

    def __init__(self) -> None:
        self.rng = np.random.default_rng(0)
        self.nodes: list[onnx.NodeProto] = []
        self.tensors: list[onnx.TensorProto] = []

    def constant(self, *shape: int, low: float = -1.0) -> str:
        name = f"t{len(self.tensors)}"
        scale = 1.0 / np.sqrt(max(1, np.prod(shape[1:])))
        value = self.rng.uniform(low, 1, shape).astype(np.float32) * np.float32(scale)
        self.tensors.append(numpy_helper.from_array(value, name))
        return name

    def add(self, op: str, *inputs: str, **attributes: Any) -> str:
        output = f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, inputs, [output], f"{op}_{output}", **attributes))
        return output

    def conv(self, x: str, a: int, b: int, k: int, s: int = 1, g: int = 1, act: bool = True) -> str:
        tensors = self.constant(b, a // g, k, k), self.constant(b)
        x = self.add("Conv", x, *tensors, strides=[s, s], pads=[k // 2] * 4, group=g)
        return self.add("PRelu", x, self.constant(b, 1, 1)) if act else x


def tiny_file(path: Path) -> tuple[Path, list[str]]:
    """A file with the architecture of TINY, and the names of its features."""
    w = Writer()
    x = w.conv(w.conv("x", 3, 8, 3, 2), 8, 8, 3, g=4)
    features, width = [], 8
    for channels, hidden, blocks in TINY["stages"]:
        x = w.conv(w.conv(x, width, hidden, 1), hidden, hidden, 3, 2, hidden)
        x, width = w.conv(x, hidden, channels, 1, act=False), channels
        for _ in range(blocks):
            y = w.conv(w.conv(x, width, width, 1), width, width, 3, 1, width)
            x = w.add("Add", x, w.conv(y, width, width, 1, act=False))
        features.append(x)
    x = w.conv(w.conv(x, 10, 9, 1), 9, 4, 1)
    x = w.add("Flatten", x)
    x = w.add("Gemm", x, w.constant(5, 16), w.constant(5), transB=1)
    norm = w.constant(5), w.constant(5), w.constant(5), w.constant(5, low=0.1)
    x = w.add("BatchNormalization", x, *norm, epsilon=1e-5)
    graph = helper.make_graph(
        w.nodes,
        "tiny",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, 32, 32])],
        [helper.make_tensor_value_info(x, TensorProto.FLOAT, ["n", 5])],
        w.tensors,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 11)], ir_version=6)
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString())
    return path, features


def run_onnx(path: Path, x: torch.Tensor, features: list[str]) -> list[torch.Tensor]:
    """The output and the features by ONNX Runtime."""
    model = onnx.load(path)
    model.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in features)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # it warns of batches other than the one it was exported with
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return [torch.from_numpy(y) for y in session.run(None, {model.graph.input[0].name: x.numpy()})]


def test_equals_onnx_runtime_at_every_feature(tmp_path: Path) -> None:
    path, names = tiny_file(tmp_path / "tiny.onnx")
    config, state = read_mobilefacenet(path, TINY)
    assert config == TINY
    trunk = MobileFaceTrunk(3, TINY["stem"], TINY["stages"])
    net = MobileFaceNet(trunk, *(TINY[k] for k in ("head", "squeeze", "embedding", "size"))).eval()
    load_strict(net, state, str(path))
    x = torch.rand(3, 3, 32, 32) * 2 - 1
    expected = run_onnx(path, x, names)
    with torch.no_grad():
        actual = [net(x), *net.features(x)]
    for ours, theirs in zip(actual, expected, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=0)
        assert theirs.std() > 1e-2


def edit(path: Path, change: Callable[[onnx.GraphProto], None]) -> Path:
    model = onnx.load(path)
    change(model.graph)
    path.write_bytes(model.SerializeToString())
    return path


def rewire(graph: onnx.GraphProto) -> None:
    add = next(node for node in graph.node if node.op_type == "Add")
    add.input[0] = graph.node[0].output[0]


def stride(graph: onnx.GraphProto) -> None:
    attribute = next(a for a in graph.node[0].attribute if a.name == "strides")
    attribute.ints[:] = [1, 1]


def operator(graph: onnx.GraphProto) -> None:
    graph.node[1].op_type = "LeakyRelu"


def reshape(graph: onnx.GraphProto) -> None:
    graph.initializer[0].dims[:] = [8, 3, 9, 1]


def lose(graph: onnx.GraphProto) -> None:
    del graph.initializer[4]


def precision(graph: onnx.GraphProto) -> None:
    graph.node[-1].attribute[0].f = 1e-3


def automatic_padding(graph: onnx.GraphProto) -> None:
    graph.node[0].attribute.append(helper.make_attribute("auto_pad", "SAME_LOWER"))


def cut(graph: onnx.GraphProto) -> None:
    del graph.node[-1]


def another_output(graph: onnx.GraphProto) -> None:
    graph.output[0].name = graph.node[-2].output[0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (rewire, "node Add_v.* is wired otherwise"),
        (stride, r"node Conv_v0 has strides \[1, 1\], not \[2, 2\]"),
        (operator, "node PRelu_v1 is a LeakyRelu, not a PRelu"),
        (reshape, r"shape \(8, 3, 9, 1\), not \(8, 3, 3, 3\) \(trunk.stem.0.conv.weight\)"),
        (lose, "has other inputs"),
        (precision, "has epsilon 0.001"),
        (automatic_padding, "has auto_pad b'SAME_LOWER', not b'NOTSET'"),
        (cut, "it has 43 nodes, not 44"),
        (another_output, "its output is"),
    ],
)
def test_other_graphs_are_refused(
    tmp_path: Path, change: Callable[[onnx.GraphProto], None], message: str
) -> None:
    path = edit(tiny_file(tmp_path / "tiny.onnx")[0], change)
    with pytest.raises(FormatError, match=rf"tiny\.onnx: is not a MobileFaceNet: .*{message}"):
        read_mobilefacenet(path, TINY)


def test_a_net_of_other_sizes_is_refused(tmp_path: Path) -> None:
    path, _ = tiny_file(tmp_path / "tiny.onnx")
    with pytest.raises(FormatError, match="is not a MobileFaceNet"):
        load_mobilefacenet(path)
    with pytest.raises(FormatError, match=r"head\.0\.conv\.weight"):
        read_mobilefacenet(path, TINY | {"head": 11})


@pytest.mark.network
def test_the_published_file_equals_onnx_runtime() -> None:
    path = weights.path("arcface-mobilefacenet.onnx")
    net = load_mobilefacenet()
    x = torch.rand(2, 3, W600K["size"], W600K["size"], generator=torch.Generator().manual_seed(0))
    expected = run_onnx(path, x * 2 - 1, ["397", "473", "505"])
    with torch.no_grad():
        actual = [net(x * 2 - 1), *net.features(x * 2 - 1)]
    for ours, theirs in zip(actual, expected, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=0)
