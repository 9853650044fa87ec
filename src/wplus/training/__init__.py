"""Training an encoder."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from wplus.training.config import TrainConfig
    from wplus.training.loop import Result, train
    from wplus.training.ranger import Ranger
    from wplus.training.step import EncoderLosses, Step

__all__ = ["EncoderLosses", "Ranger", "Result", "Step", "TrainConfig", "train"]

# Imported when first used: the command's help is generated from the settings, without torch.
_HOMES = {
    "EncoderLosses": "step",
    "Ranger": "ranger",
    "Result": "loop",
    "Step": "step",
    "TrainConfig": "config",
    "train": "loop",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f"wplus.training.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'wplus.training' has no attribute {name!r}")
