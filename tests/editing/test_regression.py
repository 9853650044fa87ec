from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from wplus.editing import regression
from wplus.editing.regression import Rows
from wplus.errors import ConfigError


def data(rows: int = 60, columns: int = 90) -> tuple[torch.Tensor, torch.Tensor]:
    rng = torch.Generator().manual_seed(0)
    x = torch.randn(rows, columns, generator=rng) + 3
    y = 2 * x[:, 0] - x[:, 1] + torch.randn(rows, generator=rng)
    return x, y


@pytest.mark.parametrize("penalty", [1.0, 30.0, 1000.0])
def test_ridge_is_the_closed_form_and_its_share_is_of_rows_left_out(penalty: float) -> None:
    x, y = data()
    b, share = regression.ridge(Rows.of(x), y, [penalty])
    a, t = x.double().numpy(), y.double().numpy()
    a, t = a - a.mean(0), t - t.mean()
    expected = np.linalg.solve(a.T @ a + penalty * np.eye(a.shape[1]), a.T @ t)
    assert np.allclose(b.numpy(), expected, atol=1e-4)
    errors = []
    for i in range(len(x)):
        kept = np.arange(len(x)) != i
        m, v = x.numpy()[kept].astype(np.float64), y.numpy()[kept].astype(np.float64)
        w = np.linalg.solve(
            (m - m.mean(0)).T @ (m - m.mean(0)) + penalty * np.eye(m.shape[1]),
            (m - m.mean(0)).T @ (v - v.mean()),
        )
        errors.append(y[i].item() - v.mean() - (x[i].numpy() - m.mean(0)) @ w)
    slow = 1 - np.square(errors).sum() / np.square(t).sum()
    assert share == pytest.approx(slow, abs=0.02)


def test_the_penalty_is_the_best_or_the_largest_that_is_nearly_so() -> None:
    x, y = data(200, 30)
    rows, penalties = Rows.of(x), [0.1, 1.0, 10.0, 100.0, 1e6]
    shares = [regression.ridge(rows, y, [penalty])[1] for penalty in penalties]
    assert regression.ridge(rows, y, penalties)[1] == pytest.approx(max(shares))
    near = [s for s in shares if s >= 0.8 * max(shares)]
    assert regression.ridge(rows, y, penalties, keep=0.8)[1] == pytest.approx(near[-1])
    assert near[-1] < max(shares)
    noise = torch.randn(200, generator=torch.Generator().manual_seed(3))
    assert regression.ridge(rows, noise, penalties)[1] < 0.1


def test_logistic_is_where_the_gradient_vanishes() -> None:
    x, y = data()
    labels = (y > y.median()).float()
    b, c = regression.logistic(x, labels, 2.0)
    b, c = b.double().requires_grad_(), torch.tensor(c, dtype=torch.float64, requires_grad=True)
    loss = F.binary_cross_entropy_with_logits(x.double() @ b + c, labels.double(), reduction="sum")
    (loss + b.square().sum()).backward()
    assert b.grad.abs().max() < 2e-3
    assert c.grad.abs() < 2e-3


def test_the_dual_basis_changes_one_reading_by_one() -> None:
    normals = torch.randn(4, 50, generator=torch.Generator().manual_seed(1))
    normals[1] += normals[0]  # correlated, as beards and gender are
    basis = regression.dual_basis(normals)
    torch.testing.assert_close(normals @ basis.T, torch.eye(4), atol=1e-5, rtol=0)
    # The shortest such vectors lie in the span of the normals.
    inside = normals.T @ torch.linalg.lstsq(normals.T, basis.T).solution
    torch.testing.assert_close(inside.T, basis, atol=1e-5, rtol=1e-4)


def test_what_cannot_be_regressed() -> None:
    with pytest.raises(ConfigError, match="at least"):
        Rows.of(torch.randn(5, 3))
    with pytest.raises(ConfigError, match="values that differ"):
        regression.ridge(Rows.of(torch.randn(20, 3)), torch.ones(20))
    with pytest.raises(ConfigError, match="rows of 0 and of 1"):
        regression.logistic(torch.randn(20, 3), torch.ones(20), 1.0)
    with pytest.raises(ConfigError, match="alike"):
        regression.dual_basis(torch.ones(2, 9))
    with pytest.raises(ConfigError, match="cannot be read"):
        regression.dual_basis(torch.zeros(1, 9))
