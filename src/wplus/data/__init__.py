"""Training data: pairs of files, synthetic pairs, mixtures of them, batches."""

from wplus.data.augment import Augmentation
from wplus.data.base import Batch, Dataset, Example, check, collate, refused
from wplus.data.loading import loader, validation
from wplus.data.mixture import Mixture
from wplus.data.pairs import FileList, Folder, ImagePairs, PairedFolders
from wplus.data.reading import Reading
from wplus.data.render import render_cache
from wplus.data.shards import CachedSynthetic
from wplus.data.synthetic import Synthesizer, Synthetic

__all__ = [
    "Augmentation",
    "Batch",
    "CachedSynthetic",
    "Dataset",
    "Example",
    "FileList",
    "Folder",
    "ImagePairs",
    "Mixture",
    "PairedFolders",
    "Reading",
    "Synthesizer",
    "Synthetic",
    "check",
    "collate",
    "loader",
    "refused",
    "render_cache",
    "validation",
]
