"""What can be done with codes: directions, morphing, mixing, transplanting, exploring."""

from wplus.editing.directions import Direction, apply, shipped

__all__ = ["Direction", "apply", "shipped"]
