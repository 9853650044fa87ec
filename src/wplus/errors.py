"""Errors that a user can act on: one clear line each, shown without a traceback."""

from __future__ import annotations


class WplusError(Exception):
    """Something the caller can mend. The message names the thing, what is wrong, and what to do."""


class ImageError(WplusError, ValueError):
    """A picture cannot be read or written, or is not what was asked for."""


class FaceError(WplusError, ValueError):
    """No face was found, or the geometry of a face makes no sense."""


class WeightsError(WplusError, RuntimeError):
    """Weights are unknown, cannot be fetched, or are not what they should be."""


class FormatError(WplusError, ValueError):
    """A model file is damaged, unsafe, of an unknown layout, or has the wrong tensors."""


class ConfigError(WplusError, ValueError):
    """A setting is unknown, out of range, or contradicts another."""
