"""Faces in photographs: detection, the FFHQ crop, and both in one call.

[face] = wplus.faces.align(wplus.images.read("photo.jpg"))
face.image                                       # 256 x 256, the FFHQ crop
face.geometry.to_dict()                          # its position in the photograph
"""

from wplus.faces.align import AlignedFace, align, find
from wplus.faces.crop import crop
from wplus.faces.detector import Face, detect
from wplus.faces.geometry import CropGeometry, from_landmarks, from_points, middle_square

__all__ = [
    "AlignedFace",
    "CropGeometry",
    "Face",
    "align",
    "crop",
    "detect",
    "find",
    "from_landmarks",
    "from_points",
    "middle_square",
]
