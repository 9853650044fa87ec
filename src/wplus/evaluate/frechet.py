"""The Fréchet distance between two sets of features (FID: Heusel et al. 2017, eq. 6).

FID = |μ₁ − μ₂|² + tr(Σ₁ + Σ₂ − 2·(Σ₁Σ₂)^½)
"""

from __future__ import annotations

import torch
from torch import Tensor

from wplus.errors import ConfigError

UNBIASED_FROM = 2048
"""Fewer images than features leave the covariance singular, and FID far too large."""


class FeatureStatistics:
    """Mean and covariance of features that come in batches, in float64 on the CPU.

    Batches are merged by Chan's formula: sums of squares would lose the digits that the difference
    of two near sets needs.

    Args:
        dimension: D, length of a feature vector.
    """

    def __init__(self, dimension: int) -> None:
        self.count = 0
        self.mean = torch.zeros(dimension, dtype=torch.float64)
        self._scatter = torch.zeros(dimension, dimension, dtype=torch.float64)

    def update(self, features: Tensor) -> None:
        """Take in features (N, D)."""
        features = features.detach().to("cpu", torch.float64)
        added = len(features)
        if not added:
            return
        mean = features.mean(dim=0)
        centered = features - mean
        step = mean - self.mean
        total = self.count + added
        self._scatter.addmm_(centered.T, centered)
        self._scatter.addr_(step, step, alpha=self.count * added / total)
        self.mean = self.mean + step * (added / total)
        self.count = total

    @property
    def covariance(self) -> Tensor:
        """(D, D), unbiased (divided by N − 1).

        Raises:
            ConfigError: fewer than 2 images.
        """
        if self.count < 2:
            raise ConfigError(f"FID needs at least 2 images in each set, not {self.count}")
        return self._scatter / (self.count - 1)


def frechet_distance(first: FeatureStatistics, second: FeatureStatistics) -> float:
    """The distance of two sets; 0 for equal ones.

    Σ₁Σ₂ is not symmetric, but it has the eigenvalues of the symmetric Σ₁^½ Σ₂ Σ₁^½, and the trace
    of the root is the sum of their roots. Eigenvalues of the size of rounding errors are set to
    zero: with fewer images than features there are thousands, and the root of 1e-16 is 1e-8.

    Raises:
        ConfigError: fewer than 2 images in a set, or features of different lengths.
    """
    if first.mean.shape != second.mean.shape:
        raise ConfigError(
            f"features of {len(first.mean)} and {len(second.mean)} numbers cannot be compared"
        )
    one, other = first.covariance, second.covariance
    values, vectors = torch.linalg.eigh(one)
    rounding = len(values) * torch.finfo(values.dtype).eps
    # one = root @ root.T; a rectangular root without the zeros is exact, and small for few images.
    kept = values > rounding * values.max()
    root = vectors[:, kept] * values[kept].sqrt()
    between = torch.linalg.eigvalsh(root.T @ other @ root) if bool(kept.any()) else values[:0]
    between = between[between > rounding * values.max() * torch.linalg.matrix_norm(other)]
    apart = (first.mean - second.mean).square().sum()
    distance = apart + one.trace() + other.trace() - 2 * between.sqrt().sum()
    return max(0.0, float(distance))  # −1e-12 is a zero
