"""The published training loop read off the paper: plain autograd, nothing of the package in it.

Networks are functions of a state dict under our names. The encoder is in training mode: batch norms
use the batch's own statistics and move their running ones.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

State = dict[str, Tensor]


def norm(state: State, name: str, x: Tensor) -> Tensor:
    """Batch norm in training mode, momentum 0.1."""
    over = (0, 2, 3)
    count = x.numel() // x.shape[1]
    mean = x.mean(over)
    variance = (x - mean[:, None, None]).square().mean(over)
    with torch.no_grad():
        state[f"{name}.running_mean"].mul_(0.9).add_(0.1 * mean)
        state[f"{name}.running_var"].mul_(0.9).add_(0.1 * variance * count / (count - 1))
    x = (x - mean[:, None, None]) / (variance + 1e-5).sqrt()[:, None, None]
    return x * state[f"{name}.weight"][:, None, None] + state[f"{name}.bias"][:, None, None]


def prelu(state: State, name: str, x: Tensor) -> Tensor:
    return torch.where(x > 0, x, x * state[f"{name}.weight"][:, None, None])


def trunk(state: State, x: Tensor, stages: tuple[tuple[int, int], ...]) -> list[Tensor]:
    """Features after every unit of an IR-SE trunk."""
    x = F.conv2d(x, state["trunk.stem.conv.weight"], padding=1)
    x = prelu(state, "trunk.stem.act", norm(state, "trunk.stem.norm", x))
    found: list[Tensor] = []
    for _, units in stages:
        for unit in range(units):
            name, stride = f"trunk.units.{len(found)}", 1 if unit else 2
            y = norm(state, f"{name}.norm_in", x)
            y = F.conv2d(y, state[f"{name}.conv1.weight"], padding=1)
            y = prelu(state, f"{name}.act", y)
            y = F.conv2d(y, state[f"{name}.conv2.weight"], stride=stride, padding=1)
            y = norm(state, f"{name}.norm_out", y)
            gate = y.mean((2, 3), keepdim=True)
            gate = F.conv2d(gate, state[f"{name}.excite.squeeze.weight"]).clamp(min=0)
            gate = F.conv2d(gate, state[f"{name}.excite.expand.weight"])
            y = y / (1 + (-gate).exp())
            if f"{name}.shortcut.conv.weight" in state:
                x = F.conv2d(x, state[f"{name}.shortcut.conv.weight"], stride=stride)
                x = norm(state, f"{name}.shortcut.norm", x)
            else:
                x = F.max_pool2d(x, 1, stride)
            x = x + y
            found.append(x)
    return found


def equalized(state: State, name: str, x: Tensor) -> Tensor:
    weight = state[f"{name}.weight"]
    return x @ weight.t() / math.sqrt(weight.shape[1]) + state[f"{name}.bias"]


def single_w(state: State, x: Tensor, stages: tuple[tuple[int, int], ...], count: int) -> Tensor:
    """(N, C, H, W) to offsets (N, count, D)."""
    w = equalized(state, "linear", trunk(state, x, stages)[-1].mean((2, 3)))
    return w[:, None].repeat(1, count, 1)


def naive_wplus(state: State, x: Tensor, stages: tuple[tuple[int, int], ...], count: int) -> Tensor:
    """(N, C, H, W) to offsets (N, count, D)."""
    x = F.adaptive_avg_pool2d(norm(state, "norm", trunk(state, x, stages)[-1]), 7)
    x = x.reshape(len(x), -1) @ state["hidden.weight"].t() + state["hidden.bias"]
    return equalized(state, "linear", x).reshape(len(x), count, -1)


def pool_to_256(image: Tensor) -> Tensor:
    """Adaptive average pooling; a smaller picture is replicated."""
    side = image.shape[-1]
    if side <= 256:
        return image.repeat_interleave(256 // side, 2).repeat_interleave(256 // side, 3)
    return F.avg_pool2d(image, side // 256)


class PlainRanger:
    """Rectified Adam, lookahead, centralized gradients; one tensor after the other."""

    def __init__(self, parameters: dict[str, Tensor], lr: float) -> None:
        self.parameters, self.lr, self.t = parameters, lr, 0
        self.m = {name: torch.zeros_like(p) for name, p in parameters.items()}
        self.v = {name: torch.zeros_like(p) for name, p in parameters.items()}
        self.slow = {name: p.detach().clone() for name, p in parameters.items()}

    @torch.no_grad()
    def step(self, gradients: dict[str, Tensor]) -> None:
        self.t += 1
        b1, b2, infinity = 0.95, 0.999, 2 / (1 - 0.999) - 1
        length = infinity - 2 * self.t * b2**self.t / (1 - b2**self.t)
        for name, p in self.parameters.items():
            g = gradients[name]
            if g.ndim > 1:
                g = g - g.mean(tuple(range(1, g.ndim)), keepdim=True)
            m, v = self.m[name], self.v[name]
            v.copy_(b2 * v + (1 - b2) * g * g)
            m.copy_(b1 * m + (1 - b1) * g)
            if length > 5:
                size = math.sqrt(
                    (1 - b2**self.t)
                    * (length - 4) / (infinity - 4)
                    * (length - 2) / length
                    * infinity / (infinity - 2)
                ) / (1 - b1**self.t)  # fmt: skip
                p.sub_(self.lr * size * m / (v.sqrt() + 1e-5))
            else:
                p.sub_(self.lr / (1 - b1**self.t) * m)
            if self.t % 6 == 0:
                slow = self.slow[name]
                slow.add_(0.5 * (p - slow))
                p.copy_(slow)


def losses(
    encode: Callable[[State, Tensor], Tensor],
    generate: Callable[[Tensor], Tensor],
    encoder: State,
    mean: Tensor,
    batches: list[tuple[Tensor, Tensor]],
    lr: float = 1e-4,
    reg: float = 0.005,
) -> list[dict[str, float]]:
    """The loss of every step: L2 at 256², and the mean length of the offsets.

    `encoder` is changed: its weights by Ranger, its running statistics on the way.
    """
    learned = {
        name: value.requires_grad_()
        for name, value in encoder.items()
        if "running" not in name and "tracked" not in name
    }
    optimizer = PlainRanger(learned, lr)
    found = []
    for source, target in batches:
        codes = encode(encoder, source) + mean
        l2 = (pool_to_256(generate(codes)) - target).square().mean()
        length = (codes - mean).square().sum((1, 2)).sqrt().mean()
        loss = l2 + reg * length
        gradients = torch.autograd.grad(loss, list(learned.values()))
        optimizer.step(dict(zip(learned, gradients)))
        found.append({"l2": l2.item(), "reg": length.item(), "loss": loss.item()})
    return found
