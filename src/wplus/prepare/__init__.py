"""Training sources from plain photographs: sketches, label maps, masks, low resolution."""

from wplus.prepare.folders import KINDS, Prepared, Recipe, prepare_folder
from wplus.prepare.sketch import Style, draw_style, sketch

__all__ = [
    "KINDS",
    "Prepared",
    "Recipe",
    "Style",
    "draw_style",
    "prepare_folder",
    "sketch",
]
