"""Training sources made from photographs: sketches, label maps, masks, low resolution."""

from wplus.prepare.folders import MAKERS, Maker, Prepared, Recipe, prepare_folder
from wplus.prepare.sketch import Style, draw_style, sketch

__all__ = [
    "MAKERS",
    "Maker",
    "Prepared",
    "Recipe",
    "Style",
    "draw_style",
    "prepare_folder",
    "sketch",
]
