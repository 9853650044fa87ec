"""The losses of training: one table, and their frozen networks."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from wplus.losses.registry import LOSSES, Loss, NetworkLoader, check_weights

if TYPE_CHECKING:
    from wplus.losses.facenets import ArcFace, load_face_network, load_mobilefacenet
    from wplus.losses.identity import IdentityLoss
    from wplus.losses.networks import LossNetworks
    from wplus.losses.objective import LossInputs, Objective
    from wplus.losses.perceptual import LPIPS, load_lpips
    from wplus.losses.similarity import SimilarityLoss, load_moco

__all__ = [
    "LOSSES",
    "LPIPS",
    "ArcFace",
    "IdentityLoss",
    "Loss",
    "LossInputs",
    "LossNetworks",
    "NetworkLoader",
    "Objective",
    "SimilarityLoss",
    "check_weights",
    "load_face_network",
    "load_lpips",
    "load_mobilefacenet",
    "load_moco",
]
_MODULES = ("facenets", "identity", "networks", "objective", "perceptual", "similarity")


def __getattr__(name: str) -> Any:
    """Import a name on first use: the table alone, for commands, needs no torch."""
    for module in _MODULES if name in __all__ else ():
        found = vars(import_module(f"wplus.losses.{module}"))
        if name in found:
            return found[name]
    raise AttributeError(f"module 'wplus.losses' has no attribute {name!r}")
