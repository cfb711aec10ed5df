"""The judge: relative duality gaps of whole batches of fits, in float64 NumPy, independent of every solver.

The mathematics of `tests/certificates.py`, for all strengths of a training set at once: P the objective, D(u) its
dual at a scaled residual, and the gap (P − D) / P(null model). The test suite holds the two judges together.
"""

from collections.abc import Iterator

import numpy as np

from benchmarks.problems import Task


def gaps(
    X: np.ndarray,
    y: np.ndarray,
    weights: np.ndarray,
    loss: str,
    l1_ratio: float,
    lams: np.ndarray,
    coef: np.ndarray,
    intercept: np.ndarray,
    l2_scale: float = 1.0,
) -> np.ndarray:
    """Relative duality gap of every fit to one training set, with an intercept and without standardizing.

    Args:
        X: (n, p).
        y: (n,); 0 or 1 for the logistic loss.
        weights: (n,), nonnegative; rows of weight 0 are left out.
        loss: "squared" or "logistic".
        l1_ratio: r of λ(r‖b‖₁ + s(1 − r)/2‖b‖²).
        lams: (L,).
        coef: (L, p).
        intercept: (L,).
        l2_scale: s; 1 but for glmnet, which fits a target scaled to unit variance.

    Returns:
        (L,).
    """
    used = weights > 0
    X, y, w = (X, y, weights) if used.all() else (X[used], y[used], weights[used])
    w = w / w.sum()
    lams, y = np.asarray(lams)[:, None], y[None, :]
    active = np.flatnonzero(np.any(coef != 0, axis=0))
    b = np.ascontiguousarray(coef[:, active])
    eta = b @ (X if active.size == X.shape[1] else X[:, active]).T + intercept[:, None]
    kink, slope = lams * l1_ratio, lams * (1 - l1_ratio) * l2_scale
    primal = _value(loss, eta, y) @ w + np.sum(kink * np.abs(b) + slope * b**2 / 2, axis=1)

    u = _slope(loss, _refit_intercept(loss, eta, y, w), y)
    u -= (u @ w)[:, None]  # what the refit left, by rounding
    v = np.abs((u * w) @ X)
    largest = np.minimum(1, kink[:, 0] / np.maximum(v.max(axis=1), np.finfo(float).tiny))
    candidates = [largest] if l1_ratio == 1 else [largest, np.ones(len(b))]
    dual = np.max([_dual(loss, t[:, None] * u, t[:, None] * v, y, w, kink, slope) for t in candidates], axis=0)
    return (primal - dual) / _null_value(loss, y, w)


def worst(task: Task, answer: "Answer") -> np.ndarray:
    """Largest relative gap of every training set of an answer, (fits,)."""
    return np.array([fit.max() for fit in _fits(task, answer)])


class Answer:
    """Coefficients of all fits: those of `task.weights[first:]`.

    Args:
        coef: (ratios, fits, lams, p).
        intercept: (ratios, fits, lams).
        first: position of the first fit in `task.weights`; 1 if the fit to all rows is not part of the answer.
        weights: (fits, n), if they are not the task's; a solver may draw its own resamples.
        scaled_target: whether the L2 part of a fit is divided by the standard deviation of its target.
    """

    def __init__(
        self,
        coef: np.ndarray,
        intercept: np.ndarray,
        first: int = 0,
        weights: np.ndarray | None = None,
        scaled_target: bool = False,
    ):
        self.coef = coef
        self.intercept = intercept
        self.first = first
        self.weights = weights
        self.scaled_target = scaled_target


def _fits(task: Task, answer: Answer) -> Iterator[np.ndarray]:
    weights = task.weights[answer.first :] if answer.weights is None else answer.weights
    ratios, fits, lams, p = answer.coef.shape
    if (ratios, lams, p) != (*task.lams.shape, task.X.shape[1]) or fits != len(weights):
        raise ValueError(f"answer of shape {answer.coef.shape} for lams {task.lams.shape} and {len(weights)} fits")
    for k, w in enumerate(weights):
        scale = 1.0
        if answer.scaled_target:
            scale = 1 / np.sqrt(np.cov(task.y, aweights=w, ddof=0))
        yield np.concatenate(
            [
                gaps(
                    task.X,
                    task.y,
                    w,
                    task.row.loss,
                    r,
                    task.lams[i],
                    answer.coef[i, k],
                    answer.intercept[i, k],
                    scale,
                )
                for i, r in enumerate(task.row.ratios)
            ]
        )


def _value(loss: str, eta: np.ndarray, y: np.ndarray) -> np.ndarray:
    return 0.5 * (eta - y) ** 2 if loss == "squared" else np.logaddexp(0, eta) - y * eta


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return np.exp(-np.logaddexp(0, -x))


def _slope(loss: str, eta: np.ndarray, y: np.ndarray) -> np.ndarray:
    return eta - y if loss == "squared" else _sigmoid(eta) - y


def _refit_intercept(loss: str, eta: np.ndarray, y: np.ndarray, w: np.ndarray) -> np.ndarray:
    """Shift each row of η to its smallest loss: in one step, or by Newton's method held in a bracket."""
    if loss == "squared":
        return eta - ((eta - y) @ w)[:, None]
    # The slope of the loss along the shift is negative at `low` and positive at `high`.
    target = (y @ w).item()
    low = np.log(target) - np.logaddexp(0, np.log(target)) - eta.max(axis=1) - 40
    high = -eta.min(axis=1) + 40
    shift = np.zeros(len(eta))
    for _ in range(60):
        mean = _sigmoid(eta + shift[:, None])
        gradient = (mean - y) @ w
        low, high = np.where(gradient < 0, shift, low), np.where(gradient > 0, shift, high)
        newton = shift - gradient / np.maximum((mean * (1 - mean)) @ w, 1e-300)
        inside = (newton > low) & (newton < high)
        step = np.where(gradient == 0, shift, np.where(inside, newton, (low + high) / 2))
        if np.all(np.abs(step - shift) <= 1e-15 * (1 + np.abs(shift))):
            break
        shift = step
    return eta + shift[:, None]


def _xlogx(t: np.ndarray) -> np.ndarray:
    return t * np.log(np.where(t > 0, t, 1))


def _dual(
    loss: str, u: np.ndarray, v: np.ndarray, y: np.ndarray, w: np.ndarray, kink: np.ndarray, slope: np.ndarray
) -> np.ndarray:
    """D(u) of each row; v is |Xᵀ(w u)|, and within `kink` where there is no L2 part."""
    excess = np.maximum(v - kink, 0)
    conjugate = np.where(slope > 0, excess**2 / (2 * np.where(slope > 0, slope, 1)), 0).sum(axis=1)
    if loss == "squared":
        return -(0.5 * u**2 + u * y) @ w - conjugate
    t = np.clip(u + y, 0, 1)  # between the two classes but for rounding
    return -(_xlogx(t) + _xlogx(1 - t)) @ w - conjugate


def _null_value(loss: str, y: np.ndarray, w: np.ndarray) -> float:
    mean = (y @ w).item()
    if loss == "squared":
        return (0.5 * (y - mean) ** 2 @ w).item()
    return float(-_xlogx(np.array(mean)) - _xlogx(np.array(1 - mean)))
