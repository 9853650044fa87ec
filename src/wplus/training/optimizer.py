"""The optimizer that the settings name, its learning rate, and the average of the weights."""

from __future__ import annotations

import copy
import math
from typing import Any

import torch
from torch import nn

from wplus.training.config import OptimizerSettings
from wplus.training.muon import Muon
from wplus.training.ranger import Ranger


def make_optimizer(
    network: nn.Module, settings: OptimizerSettings, precision: torch.dtype = torch.float32
) -> torch.optim.Optimizer:
    """Ranger, AdamW or Muon, with the parameters of a `trunk`, if there is one, in their own group.

    Args:
        network: its parameters are optimized.
        settings: which optimizer, and how.
        precision: of Muon's matrix products; weights keep theirs.
    """
    trunk = [p for name, p in network.named_parameters() if name.startswith("trunk.")]
    others = [p for name, p in network.named_parameters() if not name.startswith("trunk.")]
    shares = ((trunk, settings.trunk_rate), (others, 1.0))
    groups: list[dict[str, Any]] = [
        {"params": params, "share": share} for params, share in shares if params
    ]
    decay = settings.weight_decay
    if settings.optimizer == "adamw":
        return torch.optim.AdamW(groups, settings.learning_rate, weight_decay=decay)
    if settings.optimizer == "muon":
        return Muon(groups, settings.learning_rate, weight_decay=decay, precision=precision)
    return Ranger(groups, settings.learning_rate, weight_decay=decay)


def rate_at(settings: OptimizerSettings, step: int) -> float:
    """Learning rate of step 0, 1, …: rising over `warm_up` steps, then following `schedule`."""
    rise = min(1.0, (step + 1) / settings.warm_up) if settings.warm_up else 1.0
    fall = 1.0
    if settings.schedule == "cosine":
        length = max(1, settings.steps - settings.warm_up)
        fall = 0.5 + 0.5 * math.cos(math.pi * max(0, step - settings.warm_up) / length)
    return settings.learning_rate * rise * fall


def set_rate(optimizer: torch.optim.Optimizer, settings: OptimizerSettings, step: int) -> float:
    """Set the learning rate of a step in every group, and return it."""
    rate = rate_at(settings, step)
    for group in optimizer.param_groups:
        group["lr"] = rate * group["share"]
    return rate


class Average:
    """Exponential moving average of a network's weights.

    Its decay grows with the steps, (1 + t)/(10 + t) up to `decay`, so that a short run forgets its
    initial weights. Buffers (running means of batch norms) are copied.

    Args:
        network: the one that is trained.
        decay: weight of the old average in the new one; 0 for no average: `network` is then the
            trained one itself.

    Attributes:
        network: the averaged one, in evaluation mode.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.decay = decay
        self._trained = network
        self.network = copy.deepcopy(network).eval().requires_grad_(False) if decay else network

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Update after step 1, 2, … of the optimizer."""
        if not self.decay:
            return
        decay = min(self.decay, (1 + step) / (10 + step))
        average, trained = self.network, self._trained
        torch._foreach_lerp_(list(average.parameters()), list(trained.parameters()), 1 - decay)
        for copied, buffer in zip(average.buffers(), trained.buffers()):
            copied.copy_(buffer)
