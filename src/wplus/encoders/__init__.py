"""Encoders: the paper's pyramid, its baselines, and a compact pyramid."""

from wplus.encoders.base import Encoder
from wplus.encoders.baselines import NaiveWPlusEncoder, SingleWEncoder
from wplus.encoders.compact import CompactEncoder
from wplus.encoders.pyramid import PyramidEncoder

__all__ = [
    "CompactEncoder",
    "Encoder",
    "NaiveWPlusEncoder",
    "PyramidEncoder",
    "SingleWEncoder",
]
