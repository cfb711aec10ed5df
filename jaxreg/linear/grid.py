"""The grid of strengths."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from jaxreg import _check
from jaxreg._programs import program
from jaxreg.linear.design import Design
from jaxreg.linear.problem import Problem
from jaxreg.penalties import ElasticNet


def make_grid(problem: Problem, mix: float, lams: Any, lam_min_ratio: float | None) -> np.ndarray:
    """Strengths of an elastic net in decreasing order, (L,): see `spread`."""

    def lam_max() -> float:
        penalized = problem.factor > 0
        gradient = np.asarray(problem.null.gradient)[0, penalized]
        factor = problem.factor[penalized].reshape(-1, *[1] * (gradient.ndim - 1))
        return float(_lam_max(ElasticNet(1.0, mix, factor), gradient))

    return spread(problem, lam_max, lams, lam_min_ratio)


def spread(problem: Problem, lam_max: Callable[[], float], lams: Any, lam_min_ratio: float | None) -> np.ndarray:
    """Strengths in decreasing order, (L,): those given, or a geometric grid from λ_max down.

    λ_max is where the first coefficient of the first training set becomes nonzero. The grid ends at
    `lam_min_ratio` · λ_max: 1e-3 if n > p, else 1e-2, unless given. Smooth penalties have no λ_max; their grid
    spans the degrees of freedom that are useful for ridge, from trace/λ = 0.1 down to 1e-4 of the mean eigenvalue
    of the Gram.

    Raises:
        TypeError: if `lams` is neither a count nor a list.
        ValueError: if a strength is negative or not finite, the list is empty, or a count or ratio is
            out of range.
    """
    if isinstance(lams, (bool, str)):
        raise TypeError(f"lams must be a number of strengths or a list of them, got {lams!r}")
    if not np.isscalar(lams) and np.ndim(lams) > 0:
        _check.lams(lams)
        return np.sort(np.asarray(lams, dtype=np.float64))[::-1].copy()
    if int(lams) != lams or lams < 1:
        raise ValueError(f"lams must be a positive number of strengths or a list of them, got {lams}")
    if lam_min_ratio is not None and not 0 < lam_min_ratio < 1:
        raise ValueError(f"lam_min_ratio must be between 0 and 1, got {lam_min_ratio:g}")

    n, p = problem.shape
    top = lam_max()
    ratio = (1e-3 if n > p else 1e-2) if lam_min_ratio is None else lam_min_ratio
    if not np.isfinite(top):
        trace = _trace(problem)
        top = 10 * trace
        ratio = 1e-5 / min(n, p) if lam_min_ratio is None else lam_min_ratio
    if not top > 0:
        raise ValueError("no column of X is related to y: the null model is already the best fit at any strength")
    return top * ratio ** np.linspace(0, 1, int(lams))


@program()
def _lam_max(penalty: ElasticNet, gradient: jax.Array) -> jax.Array:
    return penalty.lam_max(gradient)


def _trace(problem: Problem) -> float:
    """Trace of the first training set's Gram under the loss's curvature, each column over its factor."""
    views, penalized = problem.views, problem.factor > 0
    mean, variance = _moments(problem.design, views.weights[:1])
    # Without an intercept columns are not centered, and their means count.
    square = (variance + (mean - views.mean[:1]) ** 2) / views.scale[:1] ** 2
    curvature = problem.loss.curvature if np.isfinite(problem.loss.curvature) else 1.0
    return curvature * float(np.sum(np.asarray(square[0])[penalized] / problem.factor[penalized]))


@program()
def _moments(design: Design, weights: jax.Array) -> tuple[jax.Array, jax.Array]:
    return design.moments(weights)[:2]
