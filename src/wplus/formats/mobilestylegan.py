"""MobileStyleGAN's OpenVINO graphs -> our names.

The mapping graph is a chain of matrix products. The synthesis graph keeps PyTorch's names for what
the exporter left alone (modulations, biases, depthwise filters); noise maps and the weights with
demodulation folded in have generated names and are taken in the order of their convolutions.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from wplus.errors import FormatError
from wplus.formats import openvino
from wplus.formats.opening import line

Array = NDArray[np.generic]
STEPS = 4  # from a modulation's weight to the multiplication that it ends in


def read_mapping(xml: Path, weights: Path | None = None) -> dict[str, Tensor]:
    """`mapping.layers.{i}.weight/bias` of a mapping graph.

    Raises:
        FormatError: the graph is another one.
    """
    graph = openvino.read(xml, weights)
    matrices = [graph.constant_input(layer) for layer in graph.of_kind("MatMul")]
    biases = [value for value in graph.constants.values() if _is_float_vector(value)]
    if not matrices or len(matrices) != len(biases):
        raise FormatError(f"{xml}: not a MobileStyleGAN mapping network")
    state = {}
    for i, (matrix, bias) in enumerate(zip(matrices, biases)):
        if matrix is None or matrix.ndim != 2 or matrix.shape != (bias.size, bias.size):
            raise FormatError(f"{xml}: layer {i} of the mapping network has an unexpected shape")
        state[f"mapping.layers.{i}.weight"] = _tensor(matrix)
        state[f"mapping.layers.{i}.bias"] = _tensor(bias)
    return state


def _is_float_vector(value: Array) -> bool:
    return value.dtype.kind == "f" and value.ndim == 1 and value.size > 1


def read_synthesis(
    xml: Path, weights: Path | None = None
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Configuration (`stem_channels`, `channels`, `style_dim`) and state of a synthesis graph.

    Raises:
        FormatError: the graph is another one; the first thing missing is named.
    """
    graph = openvino.read(xml, weights)
    try:
        return _synthesis(graph)
    except (ValueError, RuntimeError, IndexError) as error:
        reason = line(error)
        raise FormatError(f"{xml}: not a MobileStyleGAN synthesis network ({reason})") from None


def _synthesis(graph: openvino.Graph) -> tuple[dict[str, Any], dict[str, Tensor]]:
    named = graph.named()
    convolutions = [
        value
        for layer in graph.of_kind("Convolution")
        if (value := graph.constant_input(layer)) is not None
    ]
    noises = [value for value in graph.constants.values() if _is_noise_map(value)]
    scales = _modulation_scales(graph)
    count = sum(name.endswith(".up.modulation.weight") for name in named)
    if not count or len(convolutions) != 2 * count + 2 or len(noises) != 2 * count + 1:
        raise FormatError(
            f"{count} blocks, {len(convolutions)} convolutions and {len(noises)} noise maps"
        )

    def take(name: str) -> Array:
        if name not in named:
            raise FormatError(f"{name} is missing")
        return named[name]

    def affine(ours: str, theirs: str) -> None:
        # The exporter multiplies the style by the convolution's equalized scale: fold that in.
        scale = scales.get(f"{theirs}.modulation.weight", 1.0)
        state[f"{ours}.weight"] = _tensor(take(f"{theirs}.modulation.weight")) * scale
        state[f"{ours}.bias"] = _tensor(take(f"{theirs}.modulation.bias")).flatten() * scale

    state: dict[str, Tensor] = {"constant": _tensor(take("m.input.input"))}
    affine("stem.affine", "m.conv1.conv")
    state["stem.weight"] = _tensor(convolutions[0])
    state["stem.bias"] = _tensor(take("m.conv1.bias")).flatten()
    state["stem.noise"] = _tensor(noises[0])
    channels = []
    for i in range(count):
        affine(f"blocks.{i}.up_affine", f"m.layers.{i}.up")
        for j in (1, 2):
            ours, theirs = f"blocks.{i}.conv{j}", f"m.layers.{i}.conv{j}"
            affine(f"{ours}.affine", f"{theirs}.conv")
            depthwise = _tensor(take(f"{theirs}.conv.weight_dw"))
            state[f"{ours}.depthwise"] = depthwise.reshape(-1, 1, 3, 3)
            state[f"{ours}.pointwise"] = _tensor(convolutions[2 * i + j])
            state[f"{ours}.bias"] = _tensor(take(f"{theirs}.bias")).flatten()
            state[f"{ours}.noise"] = _tensor(noises[2 * i + j])
        channels.append(int(convolutions[2 * i + 2].shape[0]))
    affine("to_image.affine", f"m.layers.{count - 1}.to_img.conv")
    state["to_image.weight"] = _tensor(convolutions[-1])
    state["to_image.bias"] = _tensor(take(f"m.layers.{count - 1}.to_img.bias")).flatten()

    _put_sub_bands_in_order(state, count)
    config = {
        "stem_channels": int(convolutions[0].shape[0]),
        "channels": tuple(channels),
        "style_dim": int(state["stem.affine.weight"].shape[1]),
    }
    return config, state


def _is_noise_map(value: Array) -> bool:
    return (
        value.dtype.kind == "f"
        and value.ndim == 4
        and value.shape[:2] == (1, 1)
        and value.shape[2] == value.shape[3] >= 4
    )


def _modulation_scales(graph: openvino.Graph) -> dict[str, float]:
    """The constant that multiplies each modulation's output, by the name of its weight."""
    users: dict[str, list[openvino.Layer]] = {}
    for layer in graph.layers.values():
        for source in layer.inputs:
            users.setdefault(source, []).append(layer)
    scales = {}
    for layer in graph.of_kind("Const"):
        if not layer.name.endswith("modulation.weight"):
            continue
        # weight -> MatMul -> Add -> Reshape -> Multiply by a scalar (`up`: by the activations)
        step = layer
        for _ in range(STEPS):
            followers = [u for u in users.get(step.id, []) if u.kind not in ("ShapeOf", "Gather")]
            step = followers[0] if followers else step
            if step.kind == "Multiply":
                break
        else:
            raise FormatError(f"{layer.name} leads to no multiplication")
        factor = graph.constant_input(step)
        if factor is not None and factor.size == 1:
            scales[layer.name] = float(factor.reshape(()))
    return scales


def _put_sub_bands_in_order(state: dict[str, Tensor], count: int) -> None:
    """Interleaved details (c0 v, c0 h, c0 d, c1 v, …) -> all v, all h, all d, for plain slices."""

    def order(channels: int) -> Tensor:
        quarter = channels // 4
        details = quarter + torch.arange(3 * quarter).reshape(quarter, 3).t().flatten()
        return torch.cat([torch.arange(quarter), details])

    def permute(*names: str) -> None:
        for name in names:
            value = state[name]
            state[name] = value[order(value.shape[0])].contiguous()

    permute("stem.weight", "stem.bias")
    permute("to_image.weight", "to_image.bias")
    for i in range(count):
        permute(f"blocks.{i}.up_affine.weight", f"blocks.{i}.up_affine.bias")
        if i < count - 1:  # what a block hands on are sub-bands; the last hands on features
            permute(f"blocks.{i}.conv2.pointwise", f"blocks.{i}.conv2.bias")


def _tensor(value: Array) -> Tensor:
    return torch.from_numpy(np.array(value, dtype=np.float32))  # a copy: the file is read-only
