"""The kinds of encoder input: photographs, sketches, label maps, small and masked photographs.

Values follow the published transforms: photographs in [-1, 1], sketches in [0, 1], label maps
one-hot ("Encoding in Style", section 4: conditional image synthesis, super resolution). Only the
table is imported here, which needs no torch; the functions of a kind are in its module.
"""

from wplus.sources.registry import SOURCES, Source

__all__ = ["SOURCES", "Source"]
