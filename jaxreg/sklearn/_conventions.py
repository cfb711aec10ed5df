"""Where `alpha` and `C` are turned into λ: the only place that knows what scikit-learn's strengths mean.

jaxreg minimizes the weighted mean of a loss plus λ times a penalty, with ½ in every square. W is the sum of weights.

| estimators | they minimize | λ here |
|---|---|---|
| Lasso, ElasticNet, MultiTask… | 1/(2W) Σ w r² + alpha (r‖b‖₁ + (1−r)/2 ‖b‖²) | alpha |
| Ridge, RidgeClassifier | Σ w r² + alpha ‖b‖² | alpha / W |
| LogisticRegression | C Σ w ℓ + r‖b‖₁ + (1−r)/2 ‖b‖² | 1 / (C W) |
| Poisson-, Gamma-, TweedieRegressor | 1/(2W) Σ w deviance + alpha/2 ‖b‖² | alpha |
| QuantileRegressor | 1/W Σ w pinball + alpha ‖b‖₁ | alpha |
| HuberRegressor, at scale σ | Σ w (σ + σ H_ε(r/σ)) + alpha ‖b‖² | alpha σ / W, with Huber's δ = ε σ |

None of them standardizes columns, and neither does this room. What scikit-learn does not have (`GroupLasso` and so on)
has alpha = λ.
"""

from typing import Any

import numpy as np
from scipy import sparse

from jaxreg.sklearn._types import Array, Features


def ridge_lam(alpha: Any, total: Any) -> Array:
    """Strength λ of ridge's alpha beside a mean over the total weight."""
    return np.asarray(alpha, dtype=np.float64) / total


def logistic_lam(C: Any, total: Any) -> Array:
    """Strength λ of the inverse strength C; 0 for an infinite C."""
    return 1 / (np.asarray(C, dtype=np.float64) * total)


def huber_lam(alpha: float, sigma: float, total: float) -> float:
    """Strength λ of Huber's alpha where residuals have scale σ."""
    return alpha * sigma / total


def alpha_grid(
    X: Features, y: Array, weights: Array, *, l1_ratio: float, intercept: bool, positive: bool, eps: float, count: int
) -> Array:
    """Strengths from the least one that keeps all coefficients at zero down to `eps` times that, (count,).

    Args:
        X: features, (n, p), dense or sparse.
        y: target, (n,) or (n, k).
        weights: sample weights, (n,).
        l1_ratio: share of the absolute value.
        intercept: whether one is fitted.
        positive: whether coefficients must not be negative.
        eps: last strength over the first.
        count: how many.

    Raises:
        ValueError: if `l1_ratio` is 0, for which no strength keeps coefficients at zero.
    """
    if l1_ratio == 0:
        raise ValueError(
            "l1_ratio=0 has no strength that keeps all coefficients at zero, so that no grid of alphas follows from "
            "the data: give alphas= as a list"
        )
    share = weights / weights.sum()
    y = np.asarray(y, dtype=np.float64).reshape(len(share), -1)
    residual = (y - share @ y if intercept else y) * share[:, None]
    # Residuals sum to zero, so that columns need no centering; a sparse X stays sparse.
    gradient = np.asarray((X.T if sparse.issparse(X) else np.asarray(X, np.float64).T) @ residual)
    size = gradient.max() if positive else np.sqrt(np.square(gradient).sum(axis=1).max())
    top, least = max(0.0, size) / l1_ratio, np.finfo(np.float64).resolution
    return np.full(count, least) if top <= least else np.geomspace(top, top * eps, num=count)
