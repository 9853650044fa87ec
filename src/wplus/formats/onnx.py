"""ONNX files as data: nodes and constant tensors. Nothing of the file is run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from wplus.errors import FormatError

MAX_BYTES = 1 << 30
"""Networks of this library are far smaller; a larger file is not one of them."""


@dataclass(frozen=True)
class Node:
    """One operation: values go in and out by name."""

    op: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: dict[str, Any]


@dataclass(frozen=True)
class Graph:
    """A network: nodes in an order in which they can be run, and its constant tensors by name."""

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    nodes: tuple[Node, ...]
    tensors: dict[str, Tensor]


def read_graph(path: str | Path, *, max_bytes: int = MAX_BYTES) -> Graph:
    """Read an ONNX file whose tensors are all inside it.

    Raises:
        FormatError: the file is missing, too large, damaged, not ONNX, or refers to other files.
    """
    import onnx
    from google.protobuf.message import DecodeError

    path = Path(path)
    try:
        size = path.stat().st_size
        if size > max_bytes:
            raise FormatError(f"{path}: has {size:,} bytes, more than the {max_bytes:,} allowed")
        model = onnx.ModelProto.FromString(path.read_bytes())
    except OSError as error:
        raise FormatError(f"{path}: cannot be read ({error.strerror or error})") from error
    except DecodeError as error:
        raise FormatError(f"{path}: is damaged or not an ONNX file") from error
    if not model.graph.node:
        raise FormatError(f"{path}: is damaged or not an ONNX file: it has no nodes")

    tensors: dict[str, Tensor] = {}
    for constant in model.graph.initializer:
        if constant.data_location == onnx.TensorProto.EXTERNAL or constant.external_data:
            raise FormatError(f"{path}: keeps {constant.name} in another file, which is not read")
        try:
            array = onnx.numpy_helper.to_array(constant)
            tensors[constant.name] = torch.from_numpy(array.copy())
        except (ValueError, TypeError, KeyError) as error:
            raise FormatError(f"{path}: has a damaged tensor {constant.name}") from error
    try:
        nodes = tuple(
            Node(
                node.op_type,
                node.name,
                tuple(node.input),
                tuple(node.output),
                {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute},
            )
            for node in model.graph.node
        )
    except ValueError as error:
        raise FormatError(f"{path}: has a damaged node") from error
    names = [name for node in nodes for name in (*node.inputs, *node.outputs, node.op, node.name)]
    if not all(isinstance(name, str) for name in (*names, *tensors)):
        raise FormatError(f"{path}: has damaged names")
    return Graph(
        tuple(value.name for value in model.graph.input if value.name not in tensors),
        tuple(value.name for value in model.graph.output),
        nodes,
        tensors,
    )
