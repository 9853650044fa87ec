"""wplus: photographs to the W+ codes of a pretrained StyleGAN, and back.

>>> import wplus
>>> model = wplus.load()                      # a shipped model, or any checkpoint by path
>>> codes = model.sample(4, truncation=0.7)   # (4, model.num_styles, 512)
>>> images = model.decode(codes)              # (4, 3, model.resolution, model.resolution)
"""

from wplus import errors, images, latents
from wplus.errors import WplusError
from wplus.models import load
from wplus.psp import PSP

__all__ = ["PSP", "WplusError", "errors", "images", "latents", "load"]
__version__ = "0.1.0"
