"""The optimizer that the settings name, and its learning rate step by step."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn

from wplus.training.config import OptimizerSettings
from wplus.training.muon import Muon
from wplus.training.ranger import Ranger


def make_optimizer(
    encoder: nn.Module, settings: OptimizerSettings, precision: torch.dtype = torch.float32
) -> torch.optim.Optimizer:
    """Ranger, AdamW or Muon, with the trunk in a group of its own.

    Args:
        encoder: its parameters are moved.
        settings: which, and how.
        precision: of Muon's products of matrices; the weights are what they are.
    """
    trunk = [p for name, p in encoder.named_parameters() if name.startswith("trunk.")]
    others = [p for name, p in encoder.named_parameters() if not name.startswith("trunk.")]
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
    """Learning rate of step 0, 1, …: rising over `warm_up` steps, then as `schedule` says."""
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
