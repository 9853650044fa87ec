"""The losses of training: one table, and the frozen networks that they compare through."""

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

# Imported when first used: the table alone, which commands list, needs no torch.
_HOMES = {
    "ArcFace": "facenets",
    "load_face_network": "facenets",
    "load_mobilefacenet": "facenets",
    "IdentityLoss": "identity",
    "LossNetworks": "networks",
    "LossInputs": "objective",
    "Objective": "objective",
    "LPIPS": "perceptual",
    "load_lpips": "perceptual",
    "SimilarityLoss": "similarity",
    "load_moco": "similarity",
}

__all__ = ["LOSSES", "Loss", "NetworkLoader", "check_weights", *_HOMES]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f"wplus.losses.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'wplus.losses' has no attribute {name!r}")
