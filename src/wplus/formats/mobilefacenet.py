"""InsightFace's MobileFaceNet, an ONNX graph, under our names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from wplus.errors import FormatError
from wplus.formats.onnx import Graph, Node, read_graph
from wplus.formats.strict import COUNTER

W600K: Mapping[str, Any] = {
    "input_channels": 3,
    "stem": 128,
    "stages": ((128, 128, 4), (256, 256, 6), (256, 512, 2)),
    "head": 512,
    "squeeze": 64,
    "embedding": 512,
    "size": 112,
}
"""The sizes of `w600k_mbf.onnx`; `stages` as in `wplus.nn.mobilefacenet`."""

_DEFAULTS: Mapping[str, Any] = {
    "strides": [1, 1],
    "pads": [0, 0, 0, 0],
    "dilations": [1, 1],
    "group": 1,
    "auto_pad": b"NOTSET",
    "axis": 1,
    "epsilon": 1e-5,
    "transA": 0,
    "transB": 0,
    "alpha": 1.0,
    "beta": 1.0,
}
"""What an attribute of an ONNX node means where it is absent."""


@dataclass(frozen=True)
class _Step:
    """What the next node of the graph must be, and what its tensors are called here.

    Attributes:
        op: its ONNX operator.
        shapes: our name and the shape of each of its tensors, in the order of the node's inputs.
        attributes: those that change what it computes.
        keeps: its result is the start of a residual block.
    """

    op: str
    shapes: tuple[tuple[str, tuple[int, ...]], ...] = ()
    attributes: tuple[tuple[str, Any], ...] = ()
    keeps: bool = False


def read_mobilefacenet(
    path: str | Path, config: Mapping[str, Any] = W600K
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Read `w600k_mbf.onnx` or, with another config, a net of other sizes.

    Every node must be the one that the architecture has at that place, wired as it is there.

    Returns:
        The config, and the tensors of our `MobileFaceNet`.

    Raises:
        FormatError: the file is damaged, not ONNX, or another network.
    """
    graph = read_graph(path)
    steps = list(_steps(config))
    if len(graph.inputs) != 1 or len(graph.outputs) != 1 or len(graph.nodes) != len(steps):
        raise FormatError(
            f"{path}: is not a MobileFaceNet: it has {len(graph.nodes)} nodes, not {len(steps)}"
        )
    state: dict[str, Tensor] = {}
    value = kept = graph.inputs[0]
    for step, node in zip(steps, graph.nodes):
        flows = [kept, value] if step.op == "Add" else [value]
        fault = _fault(graph, step, node, flows)
        if fault:
            raise FormatError(
                f"{path}: is not a MobileFaceNet: node {node.name or node.op} {fault}"
            )
        for (ours, shape), theirs in zip(step.shapes, node.inputs[len(flows) :]):
            state[ours] = graph.tensors[theirs].reshape(
                -1 if ours.endswith("act.weight") else shape
            )
        value = node.outputs[0]
        if step.keeps:
            kept = value
    if value != graph.outputs[0]:
        raise FormatError(f"{path}: is not a MobileFaceNet: its output is {graph.outputs[0]}")
    state[f"norm.{COUNTER}"] = torch.zeros((), dtype=torch.int64)
    return dict(config), state


def _steps(config: Mapping[str, Any]) -> Iterator[_Step]:
    """Yield the nodes of the architecture in order."""
    stem = config["stem"]
    yield from _conv_prelu("trunk.stem.0", config["input_channels"], stem, 3, stride=2)
    yield from _conv_prelu("trunk.stem.1", stem, stem, 3, groups=stem // 2)
    width = stem
    for s, (channels, hidden, blocks) in enumerate(config["stages"]):
        for i in range(blocks + 1):
            name, inner = f"trunk.stages.{s}.{i}", hidden if i == 0 else channels
            yield from _conv_prelu(f"{name}.expand", width, inner, 1)
            stride = 2 if i == 0 else 1
            yield from _conv_prelu(f"{name}.spread", inner, inner, 3, stride, groups=inner)
            yield _conv(f"{name}.project", inner, channels, 1, keeps=i == 0)
            if i:
                yield _Step("Add", keeps=True)
            width = channels
    yield from _conv_prelu("head.0", width, config["head"], 1)
    yield from _conv_prelu("head.1", config["head"], config["squeeze"], 1)
    yield _Step("Flatten", attributes=(("axis", 1),))
    size, out = config["squeeze"] * (config["size"] // 16) ** 2, config["embedding"]
    yield _Step(
        "Gemm",
        (("embed.weight", (out, size)), ("embed.bias", (out,))),
        (("transB", 1), ("transA", 0), ("alpha", 1.0), ("beta", 1.0)),
    )
    leaves = ("weight", "bias", "running_mean", "running_var")
    norm = tuple((f"norm.{leaf}", (out,)) for leaf in leaves)
    yield _Step("BatchNormalization", norm, (("epsilon", 1e-5),))


def _conv_prelu(
    name: str, in_channels: int, channels: int, kernel: int, stride: int = 1, groups: int = 1
) -> Iterator[_Step]:
    yield _conv(f"{name}.conv", in_channels, channels, kernel, stride, groups)
    yield _Step("PRelu", ((f"{name}.act.weight", (channels, 1, 1)),))


def _conv(
    name: str,
    in_channels: int,
    channels: int,
    kernel: int,
    stride: int = 1,
    groups: int = 1,
    keeps: bool = False,
) -> _Step:
    weight = (channels, in_channels // groups, kernel, kernel)
    attributes = (
        ("strides", [stride, stride]),
        ("pads", [kernel // 2] * 4),
        ("group", groups),
        ("dilations", [1, 1]),
        ("auto_pad", b"NOTSET"),
    )
    shapes = ((f"{name}.weight", weight), (f"{name}.bias", (channels,)))
    return _Step("Conv", shapes, attributes, keeps)


def _fault(graph: Graph, step: _Step, node: Node, flows: list[str]) -> str:
    """What is wrong with a node that should be `step` applied to the values `flows`, or nothing."""
    if node.op != step.op:
        return f"is a {node.op}, not a {step.op}"
    constants = node.inputs[len(flows) :]
    if sorted(node.inputs[: len(flows)]) != sorted(flows) or len(node.outputs) != 1:
        return "is wired otherwise"
    if len(constants) != len(step.shapes) or any(name not in graph.tensors for name in constants):
        return "has other inputs"
    for (ours, shape), theirs in zip(step.shapes, constants):
        found = tuple(graph.tensors[theirs].shape)
        if found != shape:
            return f"has a tensor {theirs} of shape {found}, not {shape} ({ours})"
    for key, wanted in step.attributes:
        value = node.attributes.get(key, _DEFAULTS[key])
        same = value == wanted
        if isinstance(value, float) and isinstance(wanted, float):
            same = abs(value - wanted) < 1e-9  # the file rounds to float32
        if not same:
            return f"has {key} {value}, not {wanted}"
    return ""
