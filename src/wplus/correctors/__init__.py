"""Correctors: networks that correct a generator's features, so that a photograph is kept."""

from wplus.correctors.base import Corrector
from wplus.correctors.features import FeatureCorrector

__all__ = ["Corrector", "FeatureCorrector"]
