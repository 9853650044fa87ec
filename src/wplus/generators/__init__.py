"""Pretrained generators behind one interface."""

from wplus.generators.base import Corrections, Generator, Noise
from wplus.generators.mobile import MobileStyleGAN
from wplus.generators.stylegan2 import StyleGAN2
from wplus.generators.truncated import TruncatedGenerator, TruncatedHead, can_truncate, truncate

__all__ = [
    "Corrections",
    "Generator",
    "MobileStyleGAN",
    "Noise",
    "StyleGAN2",
    "TruncatedGenerator",
    "TruncatedHead",
    "can_truncate",
    "truncate",
]
