"""Pretrained generators behind one interface."""

from wplus.generators.base import Generator, Noise
from wplus.generators.mobile import MobileStyleGAN
from wplus.generators.stylegan2 import StyleGAN2

__all__ = ["Generator", "MobileStyleGAN", "Noise", "StyleGAN2"]
