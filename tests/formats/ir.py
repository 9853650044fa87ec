"""Writes OpenVINO graphs: a small MobileStyleGAN in the shape that its exporter gives them."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
TYPES = {"float32": ("f32", "FP32"), "int64": ("i64", "I64"), "int32": ("i32", "I32")}


class Writer:
    """A graph that grows node by node; a node is known by its number and its output port."""

    def __init__(self, name: str) -> None:
        self.net = ET.Element("net", name=name, version="10")
        self.layers = ET.SubElement(self.net, "layers")
        self.edges = ET.SubElement(self.net, "edges")
        self.blob = b""
        self.count = 0

    def _layer(self, kind: str, name: str, data: dict[str, str]) -> ET.Element:
        key = str(self.count)
        layer = ET.SubElement(
            self.layers, "layer", id=key, name=name or f"{kind}_{key}", type=kind, version="opset1"
        )
        if data:
            ET.SubElement(layer, "data", data)
        self.count += 1
        return layer

    def parameter(self, name: str, *shape: int) -> str:
        data = {"shape": ", ".join(map(str, shape)), "element_type": "f32"}
        layer = self._layer("Parameter", name, data)
        self._outputs(layer, 0, [shape], "FP32")
        return layer.attrib["id"]

    def constant(self, value: Any, name: str = "", kind: str = "float32") -> str:
        array = np.asarray(value, kind)
        data = {
            "element_type": TYPES[kind][0],
            "shape": ", ".join(map(str, array.shape)),
            "offset": str(len(self.blob)),
            "size": str(array.nbytes),
        }
        self.blob += array.tobytes()
        layer = self._layer("Const", name or str(1000 + self.count), data)
        self._outputs(layer, 0, [array.shape], TYPES[kind][1])
        return layer.attrib["id"]

    def op(
        self, kind: str, *inputs: str, name: str = "", outputs: int = 1, precision: str = "FP32",
        **data: str,
    ) -> str:  # fmt: skip
        """A node; an input is a node, or `node:port` for a result that is not its first."""
        layer = self._layer(kind, name, data)
        ports = ET.SubElement(layer, "input")
        for port, source in enumerate(inputs):
            ET.SubElement(ports, "port", id=str(port), precision="FP32")
            node, _, result = source.partition(":")
            edge = {"from-layer": node, "from-port": self._port(node, int(result or 0))}
            ET.SubElement(self.edges, "edge", edge, **{"to-layer": layer.attrib["id"],
                                                       "to-port": str(port)})  # fmt: skip
        self._outputs(layer, len(inputs), [()] * outputs, precision)
        return layer.attrib["id"]

    def _outputs(self, layer: ET.Element, first: int, shapes: list[Any], precision: str) -> None:
        ports = ET.SubElement(layer, "output")
        for i, shape in enumerate(shapes):
            port = ET.SubElement(ports, "port", id=str(first + i), precision=precision)
            for size in shape:
                ET.SubElement(port, "dim").text = str(size)

    def _port(self, node: str, result: int) -> str:
        layer = self.layers[int(node)]
        ports = layer.find("output")
        assert ports is not None
        return ports[result].attrib["id"]

    def write(self, path: Path, result: str) -> Path:
        layer = self._layer("Result", "out/sink", {})
        ports = ET.SubElement(layer, "input")
        ET.SubElement(ports, "port", id="0", precision="FP32")
        edge = {"from-layer": result, "from-port": self._port(result, 0)}
        edge |= {"to-layer": layer.attrib["id"], "to-port": "0"}
        ET.SubElement(self.edges, "edge", edge)
        ET.ElementTree(self.net).write(path)
        path.with_suffix(".bin").write_bytes(self.blob)
        return path


# ------------------------------------------------ MobileStyleGAN, as PyTorch names its tensors

STYLE_DIM, STEM, CHANNELS = 6, 8, (12, 8)
FACTOR = {"m.conv1.conv": 0.3, "to_img": 0.7, "conv1": 0.5, "conv2": 1.3}


def mapping_tensors(rng: np.random.Generator, depth: int = 3) -> dict[str, Array]:
    return {
        f"{i}.{leaf}": rng.standard_normal(shape, dtype=np.float32) / 2
        for i in range(depth)
        for leaf, shape in (("weight", (STYLE_DIM, STYLE_DIM)), ("bias", STYLE_DIM))
    }


def synthesis_tensors(rng: np.random.Generator) -> dict[str, Array]:
    """Sub-bands as the network has them: all low, then v, h, d of each channel in turn."""

    def normal(*shape: int) -> Array:
        return rng.standard_normal(shape, dtype=np.float32)

    tensors = {"m.input.input": normal(1, STEM, 4, 4)}

    def modulation(name: str, channels: int) -> None:
        tensors[f"{name}.modulation.weight"] = normal(channels, STYLE_DIM) / 3
        tensors[f"{name}.modulation.bias"] = 1 + normal(1, channels) / 5

    modulation("m.conv1.conv", STEM)
    tensors["m.conv1.conv.weight"] = normal(STEM, STEM, 3, 3) / 4
    tensors["m.conv1.noise"], tensors["m.conv1.bias"] = normal(1, 1, 4, 4), normal(1, STEM, 1, 1)
    before = STEM
    for i, after in enumerate(CHANNELS):
        modulation(f"m.layers.{i}.up", before)
        size, inner = 8 << i, before // 4
        for j in (1, 2):
            name = f"m.layers.{i}.conv{j}"
            modulation(f"{name}.conv", inner)
            tensors[f"{name}.conv.weight_dw"] = normal(inner, 1, 1, 3, 3) / 2
            tensors[f"{name}.conv.weight"] = normal(after, inner, 1, 1) / 2
            tensors[f"{name}.noise"] = normal(1, 1, size, size) / 3
            tensors[f"{name}.bias"] = normal(1, after, 1, 1) / 3
            inner = after
        before = after
    name = f"m.layers.{len(CHANNELS) - 1}.to_img"
    modulation(f"{name}.conv", before)
    tensors[f"{name}.conv.weight"] = normal(12, before, 1, 1)
    tensors[f"{name}.bias"] = normal(1, 12, 1, 1)
    return tensors


def factor(name: str) -> float:
    """What the style of a convolution is multiplied with at run time; `up` has none."""
    return next(value for key, value in FACTOR.items() if key in name)


def write_mapping(path: Path, tensors: dict[str, Array]) -> Path:
    w = Writer("MappingNetwork")
    x = w.parameter("var", 1, STYLE_DIM)
    square = w.op("Power", x, w.constant([[2.0]]), auto_broadcast="numpy")
    mean = w.op("ReduceMean", square, w.constant([1], kind="int64"), keep_dims="true")
    mean = w.op("Add", mean, w.constant([[1e-8]]), auto_broadcast="numpy")
    norm = w.op("Power", mean, w.constant([[-0.5]]), auto_broadcast="numpy")
    x = w.op("Multiply", x, norm, auto_broadcast="numpy")
    for i in range(len(tensors) // 2):
        weight = w.constant(tensors[f"{i}.weight"])
        x = w.op("MatMul", x, weight, transpose_a="false", transpose_b="true")
        bias = w.constant(tensors[f"{i}.bias"])
        shape = w.constant([1, STYLE_DIM], kind="int64")
        x = w.op("Add", x, w.op("Reshape", bias, shape, special_zero="true"))
        x = w.op("PReLU", x, w.constant([0.2]))
        x = w.op("Multiply", x, w.constant([[math.sqrt(2)]]), auto_broadcast="numpy")
    return w.write(path, x)


def write_synthesis(path: Path, tensors: dict[str, Array]) -> Path:
    w = Writer("SynthesisNetwork")
    codes = w.parameter("style", 1, STYLE_DIM)
    styles: dict[str, str] = {}
    names = [name for name in tensors if name.endswith("modulation.weight")]
    for weight in reversed(names):  # the exporter starts from the last
        name = weight.removesuffix(".modulation.weight")
        x = w.op(
            "MatMul", codes, w.constant(tensors[weight], weight),
            transpose_a="false", transpose_b="true",
        )  # fmt: skip
        bias = f"{name}.modulation.bias"
        x = w.op("Add", x, w.constant(tensors[bias], bias), auto_broadcast="numpy")
        if not name.endswith("up"):
            x = _as_map(w, x, codes)
            scale = w.constant(np.full((1, 1, 1, 1), factor(name)))
            x = w.op("Multiply", x, scale, auto_broadcast="numpy")
        styles[name] = x

    def scaled(x: str, name: str) -> str:
        return w.op("Multiply", styles[name], x, auto_broadcast="numpy")

    def finish(x: str, name: str) -> str:
        x = w.op("Add", x, w.constant(tensors[f"{name}.noise"]), auto_broadcast="numpy")
        bias = f"{name}.bias"
        x = w.op("Add", x, w.constant(tensors[bias], bias), auto_broadcast="numpy")
        return w.op("PReLU", x, w.constant([0.2]))

    x = scaled(w.constant(tensors["m.input.input"], "m.input.input"), "m.conv1.conv")
    x = _conv(w, x, w.constant(tensors["m.conv1.conv.weight"], "Mul_copy"), 1)
    x = finish(x, "m.conv1")
    channels = STEM
    for i, after in enumerate(CHANNELS):
        x = w.op("Multiply", _as_map(w, styles[f"m.layers.{i}.up"], x), x, auto_broadcast="numpy")
        x = _wavelet(w, x, channels // 4, 4 << i)
        for j in (1, 2):
            name = f"m.layers.{i}.conv{j}"
            x = scaled(x, f"{name}.conv")
            depthwise = f"{name}.conv.weight_dw"
            x = _conv(w, x, w.constant(tensors[depthwise], depthwise), 1, "GroupConvolution")
            x = finish(_conv(w, x, w.constant(tensors[f"{name}.conv.weight"]), 0), name)
        channels = after
    name = f"m.layers.{len(CHANNELS) - 1}.to_img"
    x = _conv(w, scaled(x, f"{name}.conv"), w.constant(tensors[f"{name}.conv.weight"]), 0)
    x = w.op("Add", x, w.constant(tensors[f"{name}.bias"], f"{name}.bias"))
    return w.write(path, _wavelet(w, x, 3, 4 << len(CHANNELS)))


def _as_map(w: Writer, style: str, like: str) -> str:
    """(N, C) to (N, C, 1, 1), with the batch size that `like` has at run time."""
    shape = w.op("ShapeOf", like, output_type="i64", precision="I64")
    zero = w.constant(0, kind="int32")
    axis = w.constant(0, kind="int64")
    count = w.op("Gather", shape, zero, axis, batch_dims="0", precision="I64")
    count = w.op("Unsqueeze", count, w.constant([0], kind="int64"), precision="I64")
    rest = [w.constant([size], kind="int64") for size in (-1, 1, 1)]
    target = w.op("Concat", count, *rest, axis="0", precision="I64")
    return w.op("Reshape", style, target, special_zero="true")


def _conv(w: Writer, x: str, weight: str, padding: int, kind: str = "Convolution") -> str:
    pads = f"{padding}, {padding}"
    return w.op(
        kind, x, weight, strides="1, 1", pads_begin=pads, pads_end=pads, dilations="1, 1",
        auto_pad="explicit",
    )  # fmt: skip


def _wavelet(w: Writer, x: str, channels: int, size: int) -> str:
    def integers(*values: int) -> str:
        return w.constant(list(values), kind="int64")

    def axis(value: int) -> str:
        return w.constant(value, kind="int64")

    halves = w.op("VariadicSplit", x, axis(1), integers(channels, 3 * channels), outputs=2)
    target = integers(1, channels, 3, size, size)
    details = w.op("Reshape", f"{halves}:1", target, special_zero="true")
    details = w.op("VariadicSplit", details, axis(2), integers(1, 1, 1), outputs=3)
    parts = [halves] + [w.op("Squeeze", f"{details}:{i}", integers(2)) for i in range(3)]

    def doubled(low: str, high: str, shape: tuple[int, int]) -> str:
        results = []
        for source, sign in ((low, 1.0), (high, -1.0)):
            taps = np.full((channels, 1, 1, 2), math.sqrt(0.5))
            taps[..., 1] *= sign
            results.append(w.op(
                "GroupConvolutionBackpropData", source,
                w.constant(taps.reshape(channels, 1, 1, *shape)),
                strides=f"{shape[0]}, {shape[1]}", pads_begin="0, 0", pads_end="0, 0",
                dilations="1, 1", auto_pad="explicit", output_padding="0, 0",
            ))  # fmt: skip
        return w.op("Add", *results, auto_broadcast="numpy")

    left = doubled(parts[0], parts[1], (2, 1))
    right = doubled(parts[2], parts[3], (2, 1))
    return doubled(left, right, (1, 2))
