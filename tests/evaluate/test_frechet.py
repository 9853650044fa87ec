"""The Fréchet distance: against NumPy on the unsymmetric product, and where it is known."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from wplus.errors import ConfigError
from wplus.evaluate.frechet import FeatureStatistics, frechet_distance


def statistics(features: NDArray[np.float64], batch: int = 7) -> FeatureStatistics:
    found = FeatureStatistics(features.shape[1])
    for part in torch.from_numpy(features).split(batch):
        found.update(part)
    return found


def slow(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    product = np.cov(one.T) @ np.cov(other.T)
    roots = np.sqrt(np.linalg.eigvals(product).astype(complex)).real.sum()
    apart = ((one.mean(0) - other.mean(0)) ** 2).sum()
    return float(apart + np.trace(np.cov(one.T)) + np.trace(np.cov(other.T)) - 2 * roots)


def features(seed: int, count: int, dimension: int = 12) -> NDArray[np.float64]:
    rng = np.random.default_rng(seed)
    mixed = rng.normal(size=(count, dimension)) @ rng.normal(size=(dimension, dimension))
    return mixed + rng.normal(size=dimension)


@pytest.mark.parametrize(("first", "second"), [(50, 40), (200, 13), (30, 30)])
def test_against_numpy(first: int, second: int) -> None:
    one, other = features(0, first), features(1, second)
    found = frechet_distance(statistics(one), statistics(other))
    assert found == pytest.approx(slow(one, other), rel=1e-9)
    assert frechet_distance(statistics(other), statistics(one)) == pytest.approx(found, rel=1e-9)


def test_fewer_images_than_features() -> None:
    # Singular covariances. tr (Σ₁Σ₂)^½ is the sum of the singular values of X₁ᵀX₂ of the factors.
    one, other = features(0, 6, 80), features(1, 9, 80)
    factors = [(x - x.mean(0)) / np.sqrt(len(x) - 1) for x in (one, other)]
    roots = np.linalg.svd(factors[0] @ factors[1].T, compute_uv=False).sum()
    apart = ((one.mean(0) - other.mean(0)) ** 2).sum()
    expected = apart + sum((x**2).sum() for x in factors) - 2 * roots
    for first, second in ((one, other), (other, one)):
        found = frechet_distance(statistics(first), statistics(second))
        assert found == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("count", [2, 5, 500])
def test_of_a_set_with_itself_is_zero(count: int) -> None:
    # Roots of rounding errors would give about 1e-6 here, of 2,048 features more.
    one = features(0, count, 60)
    assert frechet_distance(statistics(one), statistics(one.copy(), 3)) < 1e-9 * np.trace(
        np.cov(one.T)
    )


def test_known_distances() -> None:
    one = features(0, 100)
    shift = np.arange(12.0)
    moved = frechet_distance(statistics(one), statistics(one + shift))
    assert moved == pytest.approx((shift**2).sum())
    # Twice as wide: tr(Σ + 4Σ − 2·2Σ) = tr Σ, and the mean moves too.
    wide = frechet_distance(statistics(one), statistics(2 * one))
    assert wide == pytest.approx(np.trace(np.cov(one.T)) + (one.mean(0) ** 2).sum())
    still = np.ones((5, 12))
    assert frechet_distance(statistics(still), statistics(still + 1)) == pytest.approx(12)


def test_batches_change_nothing_even_far_from_zero() -> None:
    one = features(2, 50) + 1e6  # sums of squares would lose the variance here
    expected = np.cov(one.T)
    for batch in (1, 7, 50):
        found = statistics(one, batch)
        assert found.count == 50
        np.testing.assert_allclose(found.mean.numpy(), one.mean(0), rtol=1e-12)
        np.testing.assert_allclose(found.covariance.numpy(), expected, rtol=1e-6, atol=1e-6)
    found.update(torch.zeros(0, 12))
    assert found.count == 50


def test_silly_sets_are_refused() -> None:
    good = statistics(features(0, 5))
    for count in (0, 1):
        with pytest.raises(ConfigError, match=f"at least 2 images in each set, not {count}"):
            frechet_distance(good, statistics(features(1, count)))
    with pytest.raises(ConfigError, match="12 and 3 numbers"):
        frechet_distance(good, statistics(features(1, 5, 3)))
