"""Pretrained generators behind one interface."""

from wplus.generators.base import Generator, Noise
from wplus.generators.mobile import MobileStyleGAN
from wplus.generators.short import ShortGenerator, ShortHead, can_shorten, shorten
from wplus.generators.stylegan2 import StyleGAN2

__all__ = [
    "Generator",
    "MobileStyleGAN",
    "Noise",
    "ShortGenerator",
    "ShortHead",
    "StyleGAN2",
    "can_shorten",
    "shorten",
]
