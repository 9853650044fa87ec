"""OpenVINO graphs are read as they are written; damaged ones give one line."""

from __future__ import annotations

from pathlib import Path

import ir
import numpy as np
import pytest

from wplus.errors import FormatError
from wplus.formats import openvino

HEAD = b'<net name="n" version="10"><layers>'
TAIL = b"</layers><edges></edges></net>"


def graph(path: Path) -> Path:
    w = ir.Writer("small")
    x = w.parameter("x", 1, 2)
    first = w.constant([[1.5, -2.0], [3.0, 4.0]], "first")
    whole = w.constant([7, 8], "whole", kind="int64")
    scalar = w.constant(5, "scalar", kind="int32")
    y = w.op("MatMul", x, first, name="product")
    z = w.op("VariadicSplit", y, scalar, whole, name="split", outputs=2)
    return w.write(path, w.op("Add", f"{z}:1", z, name="sum"))


def test_layers_edges_and_constants(tmp_path: Path) -> None:
    read = openvino.read(graph(tmp_path / "g.xml"))
    assert [layer.kind for layer in read.layers.values()] == [
        "Parameter", "Const", "Const", "Const", "MatMul", "VariadicSplit", "Add", "Result",
    ]  # fmt: skip
    by_name = {layer.name: layer for layer in read.layers.values()}
    names = {layer.id: layer.name for layer in read.layers.values()}
    assert [names[i] for i in by_name["product"].inputs] == ["x", "first"]
    assert [names[i] for i in by_name["split"].inputs] == ["product", "scalar", "whole"]
    assert by_name["x"].inputs == ()
    named = read.named()
    assert set(named) == {"first", "whole", "scalar"}
    np.testing.assert_array_equal(named["first"], np.array([[1.5, -2], [3, 4]], "float32"))
    assert (named["whole"].dtype, named["whole"].tolist()) == (np.int64, [7, 8])
    assert (named["scalar"].shape, named["scalar"].item()) == ((), 5)
    assert [layer.name for layer in read.of_kind("Add", "MatMul")] == ["product", "sum"]
    assert read.constant_input(by_name["sum"]) is None
    found = read.constant_input(by_name["split"])
    assert found is not None
    assert found.item() == 5


def test_inputs_stand_in_the_order_of_their_ports(tmp_path: Path) -> None:
    path = graph(tmp_path / "g.xml")
    edges = b'<edge from-layer="3" from-port="0" to-layer="5" to-port="1" />'
    content = path.read_bytes()
    assert edges in content  # and comes before that of port 0 below
    path.write_bytes(content.replace(edges, b"").replace(b"<edges>", b"<edges>" + edges))
    assert openvino.read(path).layers["5"].inputs == ("4", "3", "2")


def test_weights_of_another_name(tmp_path: Path) -> None:
    path = graph(tmp_path / "g.xml")
    blob = path.with_suffix(".bin").rename(tmp_path / "other.weights")
    assert set(openvino.read(path, blob).named()) == {"first", "whole", "scalar"}
    with pytest.raises(FormatError) as error:
        openvino.read(path)
    assert str(error.value) == f"{tmp_path / 'g.bin'}: cannot be read (No such file or directory)"


def constant(name: bytes = b"a", **data: str) -> bytes:
    fields = {"element_type": "f32", "shape": "2", "offset": "0", "size": "8", **data}
    text = " ".join(f'{key}="{value}"' for key, value in fields.items())
    return b'<layer id="0" type="Const" name="%s"><data %s/></layer>' % (name, text.encode())


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "not valid XML"),
        (b"<net", "not valid XML"),
        (b'<?xml version="1.0" encoding="utf-7"?><net/>', "not valid XML"),
        (b'<?xml version="1.0" encoding="none"?><net/>', "not valid XML"),
        (b"<!doctype html><html><body/></html>", "not valid XML"),
        (b"<html><body/></html>", "not an OpenVINO network"),
        (b"<net/>", "not an OpenVINO network"),
        (HEAD + b"<layer/>" + TAIL, "KeyError('id')"),
        (HEAD + b'<layer id="0" type="Const" name="a"/>' + TAIL, "constant a has no data"),
        (HEAD + constant(element_type="f8") + TAIL, "KeyError('f8')"),
        (HEAD + constant(offset="12") + TAIL, "constant a lies outside of the weights"),
        (HEAD + constant(offset="-4") + TAIL, "constant a lies outside of the weights"),
        (HEAD + constant(size="9") + TAIL, "constant a has 9 bytes for (2,)"),
        (HEAD + constant(shape="3") + TAIL, "constant a has 8 bytes for (3,)"),
        (HEAD + constant(shape="-2, -1") + TAIL, "constant a has 8 bytes for (-2, -1)"),
        (HEAD + constant(shape="two") + TAIL, "invalid literal"),
        (HEAD + constant(b"a&#10;b", shape="3") + TAIL, "constant a"),
    ],
)
def test_damaged_graphs_give_one_line(content: bytes, expected: str, tmp_path: Path) -> None:
    path = tmp_path / "g.xml"
    path.write_bytes(content)
    path.with_suffix(".bin").write_bytes(bytes(16))
    with pytest.raises(FormatError) as error:
        openvino.read(path)
    assert str(error.value).startswith(f"{path}: ")
    assert expected in str(error.value)
    assert "\n" not in str(error.value)


def test_a_whole_constant_is_read(tmp_path: Path) -> None:
    """The frame of the damaged ones above is sound."""
    path = tmp_path / "g.xml"
    path.write_bytes(HEAD + constant(offset="4") + TAIL)
    path.with_suffix(".bin").write_bytes(np.arange(4, dtype="float32").tobytes())
    np.testing.assert_array_equal(openvino.read(path).named()["a"], [1, 2])


def test_missing_files_and_folders(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=r"none\.xml: cannot be read \(No such file"):
        openvino.read(tmp_path / "none.xml")
    with pytest.raises(FormatError, match=r"cannot be read \(Is a directory\)"):
        openvino.read(tmp_path)
