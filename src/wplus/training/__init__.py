"""Training an encoder."""

from wplus.training.ranger import Ranger

__all__ = ["Ranger"]
