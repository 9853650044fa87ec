"""What an encoder reads: photographs, sketches, label maps, low resolution, and holes, as tensors.

Values follow the published transforms: photographs in [-1, 1], sketches in [0, 1], label maps
one-hot. ("Encoding in Style", section 4: conditional image synthesis, super resolution.)
"""

from wplus.sources.drawings import drawing
from wplus.sources.files import FROM_PICTURES, from_file, from_picture
from wplus.sources.holes import HOLE, hole_in, masked, read_mask, read_masked
from wplus.sources.labels import LABELS, PALETTE, class_numbers, colored, one_hot_labels
from wplus.sources.shrinking import FACTORS, degrade, low_resolution
from wplus.sources.sketches import page, sketch_input

__all__ = [
    "FACTORS",
    "FROM_PICTURES",
    "HOLE",
    "LABELS",
    "PALETTE",
    "class_numbers",
    "colored",
    "degrade",
    "drawing",
    "from_file",
    "from_picture",
    "hole_in",
    "low_resolution",
    "masked",
    "one_hot_labels",
    "page",
    "read_mask",
    "read_masked",
    "sketch_input",
]
