"""Training sources from plain photographs: sketches, label maps, masks, low resolution."""

from wplus.prepare.folders import KINDS, Prepared, Recipe, prepare_folder
from wplus.prepare.parser import FaceParser, load_parser
from wplus.prepare.regions import FACE, HEAD, REGIONS, paste_mask, region
from wplus.prepare.sketch import Style, draw_style, sketch

__all__ = [
    "FACE",
    "HEAD",
    "KINDS",
    "REGIONS",
    "FaceParser",
    "Prepared",
    "Recipe",
    "Style",
    "draw_style",
    "load_parser",
    "paste_mask",
    "prepare_folder",
    "region",
    "sketch",
]
