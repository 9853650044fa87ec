"""ONNX files: read as data, refused when damaged."""

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from wplus.errors import FormatError
from wplus.formats.onnx import read_graph


def model() -> onnx.ModelProto:
    weight = numpy_helper.from_array(np.arange(6, dtype=np.float32).reshape(2, 3), "w")
    node = helper.make_node("Gemm", ["x", "w"], ["y"], "gemm", transB=1, alpha=0.5)
    graph = helper.make_graph(
        [node],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 2])],
        [weight],
    )
    return helper.make_model(graph)


def test_nodes_and_tensors(tmp_path: Path) -> None:
    file = tmp_path / "net.onnx"
    file.write_bytes(model().SerializeToString())
    graph = read_graph(file)
    assert graph.inputs == ("x",)
    assert graph.outputs == ("y",)
    (node,) = graph.nodes
    assert (node.op, node.name, node.inputs, node.outputs) == ("Gemm", "gemm", ("x", "w"), ("y",))
    assert node.attributes == {"transB": 1, "alpha": 0.5}
    torch.testing.assert_close(graph.tensors["w"], torch.arange(6.0).reshape(2, 3))
    graph.tensors["w"].add_(1)  # a copy of its own, not read-only memory of the file


@pytest.mark.parametrize("content", [b"", b"not an ONNX file at all", b"\x08\x07", b"\x00" * 64])
def test_other_files_are_refused(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "net.onnx"
    file.write_bytes(content)
    with pytest.raises(FormatError, match=r"net\.onnx: is damaged or not an ONNX file"):
        read_graph(file)


def test_every_truncation_is_refused_or_read_without_its_tensors(tmp_path: Path) -> None:
    whole = model().SerializeToString()
    file = tmp_path / "net.onnx"
    for length in range(len(whole)):
        file.write_bytes(whole[:length])
        try:
            graph = read_graph(file)
        except FormatError:
            continue
        assert len(graph.nodes) == 1  # protobuf cannot tell that trailing fields are missing


def test_tensors_in_other_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"\x00" * 24)
    proto = model()
    tensor = proto.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", "secret"
    file = tmp_path / "net.onnx"
    file.write_bytes(proto.SerializeToString())
    with pytest.raises(FormatError, match="keeps w in another file"):
        read_graph(file)


@pytest.mark.parametrize("dims", [[2, 4], [-2, -3], [1 << 40, 3], [2, 3, 0, 7]])
def test_tensors_that_do_not_fill_their_shape_are_refused(tmp_path: Path, dims: list[int]) -> None:
    proto = model()
    proto.graph.initializer[0].ClearField("dims")
    proto.graph.initializer[0].dims.extend(dims)
    file = tmp_path / "net.onnx"
    file.write_bytes(proto.SerializeToString())
    with pytest.raises(FormatError, match="damaged tensor w"):
        read_graph(file)


@pytest.mark.parametrize("kind", [TensorProto.STRING, TensorProto.BFLOAT16, 99])
def test_tensors_of_other_types_are_refused(tmp_path: Path, kind: int) -> None:
    proto = model()
    proto.graph.initializer[0].data_type = kind
    file = tmp_path / "net.onnx"
    file.write_bytes(proto.SerializeToString())
    with pytest.raises(FormatError, match="damaged tensor w"):
        read_graph(file)


def test_size_guard_missing_file_and_folder(tmp_path: Path) -> None:
    file = tmp_path / "net.onnx"
    file.write_bytes(model().SerializeToString())
    with pytest.raises(FormatError, match="more than the 10 allowed"):
        read_graph(file, max_bytes=10)
    with pytest.raises(FormatError, match="cannot be read"):
        read_graph(tmp_path / "absent.onnx")
    with pytest.raises(FormatError, match="cannot be read"):
        read_graph(tmp_path)
