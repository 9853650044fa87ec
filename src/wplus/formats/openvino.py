"""OpenVINO IR: a graph in XML with its constants in a flat little-endian file beside it."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from wplus.errors import FormatError

TYPES = {"f32": "<f4", "f16": "<f2", "i64": "<i8", "i32": "<i4", "u8": "u1", "boolean": "u1"}
TYPES |= {"FP32": "<f4", "FP16": "<f2", "I64": "<i8", "I32": "<i4", "U8": "u1"}


@dataclass(frozen=True)
class Layer:
    """A node of the graph: its kind, its name, and the ids of the layers it reads, in order."""

    id: str
    kind: str
    name: str
    inputs: tuple[str, ...]


@dataclass(frozen=True)
class Graph:
    """The layers in file order (topological), and the value of each constant by layer id."""

    layers: dict[str, Layer]
    constants: dict[str, NDArray[np.generic]]

    def named(self) -> dict[str, NDArray[np.generic]]:
        """The constants by layer name."""
        return {self.layers[key].name: value for key, value in self.constants.items()}

    def of_kind(self, *kinds: str) -> list[Layer]:
        """Layers of these kinds, in file order."""
        return [layer for layer in self.layers.values() if layer.kind in kinds]

    def constant_input(self, layer: Layer) -> NDArray[np.generic] | None:
        """The first constant that the layer reads, if any."""
        return next((self.constants[i] for i in layer.inputs if i in self.constants), None)


def read(xml: Path, weights: Path | None = None) -> Graph:
    """Read a graph; its weights are the file of the same name with the suffix `.bin` if not given.

    Raises:
        FormatError: not an OpenVINO IR, damaged, or the weights are too short.
    """
    weights = xml.with_suffix(".bin") if weights is None else weights
    try:
        root = ET.parse(xml).getroot()
        blob = weights.read_bytes()
    except (ET.ParseError, ValueError, LookupError) as error:  # the latter: odd encodings
        raise FormatError(f"{xml}: not valid XML ({error})") from None
    except OSError as error:
        where = error.filename or xml
        raise FormatError(f"{where}: cannot be read ({error.strerror})") from None
    layers_element, edges_element = root.find("layers"), root.find("edges")
    if root.tag != "net" or layers_element is None or edges_element is None:
        raise FormatError(f"{xml}: not an OpenVINO network (no <net> with layers and edges)")

    try:
        sources: dict[str, dict[int, str]] = {}
        for edge in edges_element:
            ports = sources.setdefault(edge.attrib["to-layer"], {})
            ports[int(edge.attrib["to-port"])] = edge.attrib["from-layer"]
        layers, constants = {}, {}
        for element in layers_element:
            key = element.attrib["id"]
            ports = sources.get(key, {})
            layers[key] = Layer(
                id=key,
                kind=element.attrib["type"],
                name=element.attrib["name"],
                inputs=tuple(ports[i] for i in sorted(ports)),
            )
            if layers[key].kind == "Const":
                constants[key] = _constant(element, blob)
    except (KeyError, ValueError) as error:
        raise FormatError(f"{xml}: damaged, or not for {weights.name} ({error!r})") from None
    return Graph(layers, constants)


def _constant(element: ET.Element, blob: bytes) -> NDArray[np.generic]:
    data = element.find("data")
    if data is None:
        raise ValueError(f"constant {element.attrib['name']} has no data")
    dtype = np.dtype(TYPES[data.attrib["element_type"]])
    shape = tuple(int(n) for n in data.get("shape", "").split(",") if n.strip())
    offset, size = int(data.attrib["offset"]), int(data.attrib["size"])
    if offset < 0 or size < 0 or offset + size > len(blob):
        raise ValueError(f"constant {element.attrib['name']} lies outside of the weights")
    if size != math.prod(shape) * dtype.itemsize or any(n < 0 for n in shape):
        raise ValueError(f"constant {element.attrib['name']} has {size} bytes for {shape}")
    return np.frombuffer(blob, dtype, math.prod(shape), offset).reshape(shape)
