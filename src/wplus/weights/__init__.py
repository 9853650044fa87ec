"""Pretrained files: a table of files to fetch, a checked cache, and fetching.

path = wplus.weights.path("scrfd-500m.onnx")      # fetched on first use, verified
"""

from wplus.weights.cache import CACHE_VARIABLE, Status, cache_folder, cached, verify
from wplus.weights.fetching import fetch, path
from wplus.weights.table import ASSETS, Archive, Asset

__all__ = [
    "ASSETS",
    "CACHE_VARIABLE",
    "Archive",
    "Asset",
    "Status",
    "cache_folder",
    "cached",
    "fetch",
    "path",
    "verify",
]
