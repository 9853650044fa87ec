"""Linear and logistic regression with more features than rows, by the matrix of inner products."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from wplus.errors import ConfigError

LEAST = 10  # rows of a regression
PENALTIES = (1e2, 3e2, 1e3, 3e3, 1e4, 3e4, 1e5)
NEWTON_STEPS = 25


@dataclass(frozen=True, eq=False)
class Rows:
    """Rows of features, decomposed once for all attributes that are regressed on them.

    Attributes:
        x: (N, F), centered.
        values: (N,) eigenvalues of x·xᵀ, rising.
        vectors: (N, N) its eigenvectors.
    """

    x: Tensor
    values: Tensor
    vectors: Tensor

    @classmethod
    def of(cls, x: Tensor) -> Rows:
        """Decompose (N, F) features, centered here.

        Raises:
            ConfigError: fewer than `LEAST` rows.
        """
        if len(x) < LEAST:
            raise ConfigError(f"a regression needs at least {LEAST} rows, not {len(x)}")
        x = x - x.mean(0)
        values, vectors = torch.linalg.eigh(_gram(x))
        return cls(x, values.clamp_min(0), vectors)


def ridge(
    rows: Rows, y: Tensor, penalties: Sequence[float] = PENALTIES, keep: float = 1.0
) -> tuple[Tensor, float]:
    """Linear regression, penalized so that it predicts well: ‖y − x·b‖² + λ‖b‖².

    Each λ is scored by the prediction of every row from all the others, which takes no more than
    the residuals and the diagonal of x·(xᵀx + λ)⁻¹·xᵀ (Golub et al. 1979).

    Args:
        rows: the features.
        y: (N,); centered here.
        penalties: the λ that are tried, rising.
        keep: the largest λ is taken whose R² is this share of the best one's. Below 1, b leans
            towards what varies much in x.

    Returns:
        b (F,), and R² on rows left out.

    Raises:
        ConfigError: y has another length or does not vary.
    """
    if len(y) != len(rows.x) or not float(y.std()) > 0:
        raise ConfigError("a regression needs a value for every row, and values that differ")
    target = (y - y.mean()).to(rows.vectors)
    turned, squares = rows.vectors.T @ target, rows.vectors.square()
    shares = []
    for penalty in penalties:
        kept = rows.values / (rows.values + penalty)
        residual = target - rows.vectors @ (kept * turned)
        # Centering costs every row 1/N of itself too.
        left_out = residual / (1 - squares @ kept - 1 / len(y)).clamp_min(1e-9)
        shares.append(1 - left_out.square().sum() / target.square().sum())
    r2 = torch.stack(shares).cpu()
    enough = r2 >= keep * r2.max() if r2.max() > 0 else r2 >= r2.max()
    best = int(enough.nonzero().max())
    dual = rows.vectors @ (turned / (rows.values + penalties[best]))
    return rows.x.T @ dual.to(rows.x), float(r2[best])


def ridges(
    x: Tensor, values: Tensor, names: Sequence[str], keep: float = 1.0
) -> list[tuple[Tensor, float, Tensor]]:
    """`ridge` for each column of values, over the rows that have one.

    Args:
        x: (N, F).
        values: (N, A); NaN where a value is missing.
        names: of the columns, for messages.
        keep: see `ridge`.

    Returns:
        For each column b (F,), R², and the (N,) mask of its rows.

    Raises:
        ConfigError: a column with fewer than `LEAST` values, or with equal ones only.
    """
    decomposed: dict[bytes, Rows] = {}
    results = []
    for name, column in zip(names, values.T):
        has_value = ~column.isnan()
        count = int(has_value.sum())
        if count < LEAST or not float(column[has_value].std()) > 0:
            raise ConfigError(f"attribute {name!r}: {count} values, too few or all equal")
        key = has_value.cpu().numpy().tobytes()
        if key not in decomposed:
            decomposed[key] = Rows.of(x[has_value])
        b, r2 = ridge(decomposed[key], column[has_value], keep=keep)
        results.append((b, r2, has_value))
    return results


def logistic(x: Tensor, y: Tensor, penalty: float) -> tuple[Tensor, float]:
    """Logistic regression by Newton's method: Σ log(1 + e^(−±(x·b + c))) + λ/2·‖b‖².

    Args:
        x: (N, F); F may be larger than N.
        y: (N,) of 0 and 1, both among them.
        penalty: λ.

    Returns:
        b (F,) float32 and c: x·b + c is the logit of 1.

    Raises:
        ConfigError: other values, or only one of them.
    """
    if set(y.tolist()) != {0.0, 1.0}:
        raise ConfigError("a logistic regression needs rows of 0 and of 1, and of nothing else")
    gram, y = _gram(x), y.double()
    a = torch.zeros_like(y)
    c = torch.logit(y.mean())
    for _ in range(NEWTON_STEPS):
        logits = gram @ a + c
        chance = logits.sigmoid()
        weight = (chance * (1 - chance)).clamp_min(1e-6)
        target = logits + (y - chance) / weight
        # Weighted ridge in the dual: (K + λ/w)·a + c = target with Σa = 0.
        factor = torch.linalg.cholesky(gram + torch.diag(penalty / weight))
        both = torch.cholesky_solve(torch.stack([target, torch.ones_like(y)], 1), factor)
        new_c = both[:, 0].sum() / both[:, 1].sum()
        new_a = both[:, 0] - new_c * both[:, 1]
        done = torch.allclose(gram @ new_a + new_c, logits, atol=1e-6, rtol=1e-6)
        a, c = new_a, new_c
        if done:
            break
    return x.T @ a.to(x), float(c)


def dual_basis(normals: Tensor) -> Tensor:
    """Vectors d_k, each the shortest with ⟨n_k, d_k⟩ = 1 and ⟨n_j, d_k⟩ = 0 for the others.

    This is conditional manipulation (Shen et al. 2020, "InterFaceGAN", section 3.2: a direction
    made orthogonal to the normals of what is to stay), for all attributes at once, in units.

    Args:
        normals: (A, F), linearly independent.

    Returns:
        (A, F).

    Raises:
        ConfigError: the normals say the same, so no vector changes one and leaves the others.
    """
    lengths = normals.double().norm(dim=1, keepdim=True)
    if not bool((lengths > 0).all()):
        raise ConfigError("an attribute cannot be read from the codes at all; leave it out")
    units = normals.double() / lengths
    values = torch.linalg.eigvalsh(units @ units.T)
    if values[0] < 1e-4:
        raise ConfigError("two attributes are read from the codes alike; leave one of them out")
    basis: Tensor = torch.linalg.solve(units @ units.T, units) / lengths
    return basis.to(normals)


def _gram(x: Tensor) -> Tensor:
    """(N, N) float64; the product itself in the features' precision."""
    return (x @ x.T).double()
