"""NVIDIA's generators read plainly: slow, and nothing of ours in them."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from nvidia_files import MAPPING_LAYERS, RESOLUTION, SIZES, STYLE_DIM, Network, filter_2d
from torch import Tensor


def slow_upfirdn(x: Tensor, up: int, padding: tuple[int, int], gain: float) -> Tensor:
    """Insert zeros, pad, filter: `upfirdn2d` without its kernel."""
    n, c, h, w = x.shape
    spread = torch.zeros(n, c, h * up, w * up, dtype=x.dtype)
    spread[:, :, ::up, ::up] = x
    spread = F.pad(spread, (*padding, *padding))
    kernel = (filter_2d() * gain).flip(0, 1).to(x.dtype)
    return F.conv2d(spread.flatten(0, 1)[:, None], kernel[None, None]).unflatten(0, (n, c))[:, :, 0]


def slow_modulated(
    x: Tensor, weight: Tensor, styles: Tensor, up: int, demodulate: bool, flip_weight: bool
) -> Tensor:
    """Sample by sample, with weights of its own; `flip_weight` False is a true convolution.

    Up-convolution is upsampling, then convolution, with the padding done once in front:
    (4 + 2 − 1) // 2 and (4 − 2) // 2 for the filter, and 1 each for the kernel.
    """
    images = []
    for image, style in zip(x, styles):
        w = weight * style[None, :, None, None]
        if demodulate:
            w = w / (w.square().sum(dim=(1, 2, 3), keepdim=True) + 1e-8).sqrt()
        if not flip_weight:
            w = w.flip(2, 3)
        if up == 2:
            image = F.conv2d(slow_upfirdn(image[None], 2, (3, 2), 4.0), w)
        else:
            image = F.conv2d(image[None], w, padding=w.shape[2] // 2)
        images.append(image)
    return torch.cat(images)


def slow_act(x: Tensor, bias: Tensor, activation: str, clamp: float | None) -> Tensor:
    x = x + bias[:, None, None]
    if activation == "lrelu":
        x = torch.where(x < 0, 0.2 * x, x) * np.sqrt(2)
    return x if clamp is None else x.clip(-clamp, clamp)


def slow_dense(layer: Any, x: Tensor) -> Tensor:
    x = x @ (layer.weight * float(layer.weight_gain)).T + layer.bias * float(layer.bias_gain)
    return torch.where(x < 0, 0.2 * x, x) * np.sqrt(2) if layer.activation == "lrelu" else x


def slow_pytorch_map(generator: Any, z: Tensor) -> Tensor:
    x = z / (z.square().mean(dim=1, keepdim=True) + 1e-8).sqrt()
    for i in range(MAPPING_LAYERS):
        x = slow_dense(getattr(generator.mapping, f"fc{i}"), x)
    return x


def slow_pytorch_synthesis(generator: Any, codes: Tensor) -> Tensor:
    def styled(layer: Any, x: Tensor, w: Tensor) -> Tensor:
        styles = slow_dense(layer.affine, w)
        x = slow_modulated(x, layer.weight, styles, layer.up, True, flip_weight=layer.up == 1)
        if layer.use_noise:
            x = x + layer.noise_const * layer.noise_strength
        return slow_act(x, layer.bias, "lrelu", layer.conv_clamp)

    image: Any = 0
    x = generator.synthesis.b4.const[None].expand(len(codes), -1, -1, -1)
    index = 0
    for size in SIZES:
        block = getattr(generator.synthesis, f"b{size}")
        if size > 4:
            x = styled(block.conv0, x, codes[:, index])
            index += 1
            image = slow_upfirdn(image, 2, (2, 1), 4.0)
        x = styled(block.conv1, x, codes[:, index])
        index += 1
        layer = block.torgb
        styles = slow_dense(layer.affine, codes[:, index]) * float(layer.weight_gain)
        rgb = slow_modulated(x, layer.weight, styles, 1, False, True)
        image = image + slow_act(rgb, layer.bias, "linear", layer.conv_clamp)
    return image


def slow_tensorflow_map(generator: Network, z: Tensor, multiplier: float = 0.01) -> Tensor:
    variables = dict(generator.state["components"]["mapping"].state["variables"])
    x = z / (z.square().mean(dim=1, keepdim=True) + 1e-8).sqrt()
    for i in range(MAPPING_LAYERS):
        weight = torch.from_numpy(variables[f"Dense{i}/weight"])
        bias = torch.from_numpy(variables[f"Dense{i}/bias"])
        x = x @ (weight * (multiplier / np.sqrt(len(weight)))) + bias * multiplier
        x = torch.where(x < 0, 0.2 * x, x) * np.sqrt(2)
    return x


def slow_tensorflow_synthesis(generator: Network, codes: Tensor, clamp: float | None) -> Tensor:
    variables = {
        name: torch.from_numpy(np.asarray(value))
        for name, value in generator.state["components"]["synthesis"].state["variables"]
    }

    def convolve(x: Tensor, w: Tensor, scope: str, up: int, demodulate: bool) -> Tensor:
        weight = variables[f"{scope}/weight"]  # (k, k, in, out)
        weight = weight / np.sqrt(np.prod(weight.shape[:-1]))
        dense = variables[f"{scope}/mod_weight"] / np.sqrt(STYLE_DIM)
        styles = w @ dense + variables[f"{scope}/mod_bias"] + 1
        # `tf.nn.conv2d` correlates, and `upsample_conv_2d` is an upsampling followed by it.
        return slow_modulated(x, weight.permute(3, 2, 0, 1), styles, up, demodulate, True)

    def styled(x: Tensor, w: Tensor, scope: str, noise: int, up: int = 1) -> Tensor:
        x = convolve(x, w, scope, up, True)
        x = x + variables[f"noise{noise}"] * variables[f"{scope}/noise_strength"]
        return slow_act(x, variables[f"{scope}/bias"], "lrelu", clamp)

    def rgb(x: Tensor, w: Tensor, scope: str) -> Tensor:
        x = convolve(x, w, scope, 1, False)
        return slow_act(x, variables[f"{scope}/bias"], "linear", clamp)

    x = variables["4x4/Const/const"].expand(len(codes), -1, -1, -1)
    x = styled(x, codes[:, 0], "4x4/Conv", 0)
    image = rgb(x, codes[:, 1], "4x4/ToRGB")
    for k in range(3, RESOLUTION.bit_length()):
        size = f"{2**k}x{2**k}"
        x = styled(x, codes[:, 2 * k - 5], f"{size}/Conv0_up", 2 * k - 5, up=2)
        x = styled(x, codes[:, 2 * k - 4], f"{size}/Conv1", 2 * k - 4)
        image = slow_upfirdn(image, 2, (2, 1), 4.0)
        image = image + rgb(x, codes[:, 2 * k - 3], f"{size}/ToRGB")
    return image
