"""Errors that a user can act on: one clear line each, shown without a traceback."""

from __future__ import annotations


class WplusError(Exception):
    """An error that the caller can fix. The message has the file, the problem and the remedy."""


class ImageError(WplusError, ValueError):
    """An image cannot be read or written, or is of the wrong kind."""


class FaceError(WplusError, ValueError):
    """No face was found, or the geometry of a face is degenerate."""


class WeightsError(WplusError, RuntimeError):
    """Weights are unknown, cannot be fetched, or have the wrong checksum."""


class FormatError(WplusError, ValueError):
    """A model file is damaged, unsafe, of an unknown layout, or has the wrong tensors."""


class ConfigError(WplusError, ValueError):
    """A setting is unknown, out of range, or contradicts another."""
