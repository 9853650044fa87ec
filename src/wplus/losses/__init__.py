"""What a reconstruction is judged by: identity, perceptual distance, similarity off faces."""

from wplus.losses.facenets import ArcFace, load_arcface, load_mobilefacenet
from wplus.losses.identity import IdentityLoss
from wplus.losses.networks import LossNetworks
from wplus.losses.objective import Objective
from wplus.losses.perceptual import LPIPS, load_lpips
from wplus.losses.similarity import SimilarityLoss, load_moco

__all__ = [
    "LPIPS",
    "ArcFace",
    "IdentityLoss",
    "LossNetworks",
    "Objective",
    "SimilarityLoss",
    "load_arcface",
    "load_lpips",
    "load_mobilefacenet",
    "load_moco",
]
