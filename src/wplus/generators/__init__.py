"""Pretrained generators behind one interface."""

from wplus.generators.base import Generator, Noise
from wplus.generators.mobile import MobileStyleGAN
from wplus.generators.short import ShortGenerator, ShortHead, can_shorten, shorten
from wplus.generators.stylegan2 import StyleGAN2
from wplus.generators.swapping import blend, swap

__all__ = [
    "Generator",
    "MobileStyleGAN",
    "Noise",
    "ShortGenerator",
    "ShortHead",
    "StyleGAN2",
    "blend",
    "can_shorten",
    "shorten",
    "swap",
]
