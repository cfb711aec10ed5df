"""Huber regression with its scale: Newton's method on what is left once the best scale is put in."""

from typing import Any, NamedTuple

import numpy as np
from scipy import sparse
from sklearn.utils.extmath import safe_sparse_dot

from jaxreg._threads import one_lapack_thread
from jaxreg.sklearn._types import Array, Features

FLOORS = np.logspace(0, -10, 11)
"""Least scales, relative to that of y, one after the other; below the last, residuals count as none."""
ENOUGH = 1e-15
"""Descent, relative to the null model's objective, at which it ends."""
HALVINGS = 30
"""Most halvings of a step."""


class Robust(NamedTuple):
    """Coefficients (p,), intercept, scale, residuals (n,), duality gap, kkt residual, and Newton steps."""

    coef: Array
    intercept: float
    scale: float
    residual: Array
    gap: float
    kkt: float
    steps: int


class _Data(NamedTuple):
    """Columns, the last of ones if there is an intercept; target, weights, and α of each column."""

    X: Any
    y: Array
    weights: Array
    alpha: Array
    epsilon: float
    floor: float


def best_scale(residual: Array, weights: Array, epsilon: float, floor: float) -> float:
    """The σ at which the weighted mean of min((r/σ)², ε²) is 1, exactly: residuals are sorted; at least `floor`."""
    size = np.abs(residual)
    order = np.argsort(size)
    size, weights = size[order], weights[order]
    total = weights.sum()
    square, beyond = np.cumsum(weights * size**2), total - np.cumsum(weights)
    positive = size > 0
    with np.errstate(divide="ignore", invalid="ignore"):
        # The mean at σ = size/ε falls along the rows; the root is where it passes 1.
        mean = np.where(positive, epsilon**2 * (square / size**2 + beyond) / total, np.inf)
    place = np.flatnonzero(positive & (mean >= 1))
    if not place.size:
        return floor
    left = total - epsilon**2 * beyond[place[-1]]
    return max(floor, float(np.sqrt(square[place[-1]] / left))) if left > 0 else max(floor, size[place[-1]] / epsilon)


def _objective(data: _Data, b: Array) -> tuple[float, Array, float]:
    """Objective at the best scale, residuals, and that scale."""
    residual = data.y - np.asarray(data.X @ b)
    sigma = best_scale(residual, data.weights, data.epsilon, data.floor)
    z = np.abs(residual) / sigma
    losses = np.where(z <= data.epsilon, z**2, 2 * data.epsilon * z - data.epsilon**2)
    return float(sigma * (data.weights @ (1 + losses)) + data.alpha @ b**2), residual, sigma


def _directions(data: _Data, b: Array, residual: Array, sigma: float) -> tuple[Array, list[Array]]:
    """Gradient, and Newton's steps: with the scale held, and with the scale following."""
    z = residual / sigma
    near = np.abs(z) <= data.epsilon
    pull = 2 * np.clip(z, -data.epsilon, data.epsilon)
    gradient = -np.asarray(data.X.T @ (data.weights * pull)) + 2 * data.alpha * b
    some, w = data.X[near], data.weights[near] * 2 / sigma
    weighted = some.multiply(w[:, None]).tocsr() if sparse.issparse(some) else some * w[:, None]
    hessian = safe_sparse_dot(some.T, weighted, dense_output=True) + np.diag(2 * data.alpha)
    cross, bend = np.asarray(some.T @ (w * z[near])), float(w @ z[near] ** 2)
    values, vectors = np.linalg.eigh(hessian)
    keep = values > values.max() * values.size * np.finfo(float).eps
    basis = vectors[:, keep] / np.sqrt(values[keep])
    held, moved = basis @ (basis.T @ gradient), basis @ (basis.T @ cross)
    left = bend - cross @ moved
    if left <= 1e-12 * bend or sigma <= data.floor:
        return gradient, [-held]
    return gradient, [-held, -(held + moved * (cross @ held) / left)]


def _bound(data: _Data, residual: Array, sigma: float, intercept: bool) -> float:
    """Lower bound of the objective by duality: clipped residuals are the dual point; NaN without a penalty.

    Where the floor binds, smaller scales could gain one floor a weight, at most: that is the slope's bound.
    """
    if not data.alpha.any():
        return float("nan")
    w, epsilon = data.weights, data.epsilon
    dual = 2 * np.clip(residual / sigma, -epsilon, epsilon)
    dual = dual - w @ dual / w.sum() if intercept else dual
    dual *= min(1.0, 2 * epsilon / max(np.abs(dual).max(), 1e-300))
    penalized = data.alpha > 0
    image = np.asarray(data.X.T @ (w * dual))[penalized]
    bound = w @ (dual * data.y - sigma * dual**2 / 4) - np.sum(image**2 / (4 * data.alpha[penalized]))
    return float(bound + (w.sum() * sigma if sigma > data.floor else 0.0))


def fit_huber(
    X: Features, y: Array, weights: Array, *, alpha: float, epsilon: float, intercept: bool, max_steps: int
) -> Robust:
    """Minimize Σ w (σ + σ H_ε((y − x'b − b₀)/σ)) + alpha ‖b‖² over b, b₀ and σ.

    The objective is jointly convex. The best σ for given residuals is exact, and the rest is convex and piecewise
    smooth: each step takes the better of Newton's steps with σ held and with σ following, halved until it descends.
    σ is at least a floor, which falls until it binds no more: above it, fits that are exact are smooth problems.
    With more columns than rows, coefficients are in the row space, in whose coordinates the same is done.
    """
    rows = weights > 0
    every, X, target, w = X, X[rows], y[rows], weights[rows]
    X = X if sparse.issparse(X) else np.asarray(X, dtype=np.float64)
    n, p = X.shape
    back: Any = None
    with one_lapack_thread():
        if p > n:
            gram = safe_sparse_dot(X, X.T, dense_output=True)
            values, vectors = np.linalg.eigh(gram)
            keep = values > max(values.max(), 1e-300) * n * np.finfo(float).eps
            back, X = X.T @ (vectors[:, keep] / np.sqrt(values[keep])), vectors[:, keep] * np.sqrt(values[keep])
        columns = X.shape[1]
        if intercept:
            ones = np.ones((n, 1))
            X = sparse.hstack([X, ones], format="csr") if sparse.issparse(X) else np.hstack([X, ones])
        X = X.tocsr() if sparse.issparse(X) else X
        level = float(np.average(target, weights=w)) if intercept else 0.0
        spread = float(np.sqrt(np.average(np.square(target - level), weights=w))) or 1.0
        penalty = np.append(np.full(columns, float(alpha)), np.zeros(int(intercept)))
        b = np.append(np.zeros(columns), np.full(int(intercept), level))
        null, steep, steps, bounds = 0.0, 0.0, 0, []
        for floor in spread * FLOORS:
            data = _Data(X, target, w, penalty, epsilon, floor)
            value, residual, sigma = _objective(data, b)
            null = null or value
            while steps < max_steps:
                steps += 1
                gradient, directions = _directions(data, b, residual, sigma)
                steep = max(steep, float(np.abs(gradient).max()))
                moved, found = min((_descend(data, b, value, step) for step in directions), key=lambda one: one[1][0])
                gained = value - found[0]
                if gained > 0:
                    b, (value, residual, sigma) = moved, found
                if gained <= ENOUGH * null:
                    break
            bounds.append(_bound(data, residual, sigma, intercept))
            if sigma > floor or steps >= max_steps:
                break
        gradient, _ = _directions(data, b, residual, sigma)
    coef, level = b[:columns], float(b[columns]) if intercept else 0.0
    coef = coef if back is None else np.asarray(back @ coef)
    all_residuals = y - np.asarray(every @ coef) - level
    kkt = float(np.abs(gradient).max() / steep) if steep else 0.0
    gap = float(np.maximum(0.0, (value - np.max(bounds)) / null))
    return Robust(coef, level, sigma, all_residuals, gap, kkt, steps)


def _descend(data: _Data, b: Array, value: float, step: Array) -> tuple[Array, tuple[float, Array, float]]:
    """The first of b + step, b + step/2, … that is better than b, with its objective; b itself if none is."""
    for _ in range(HALVINGS):
        found = _objective(data, b + step)
        if found[0] < value:
            return b + step, found
        step = step / 2
    return b, (value, *_objective(data, b)[1:])
