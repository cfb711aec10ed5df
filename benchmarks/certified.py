"""Time jaxreg's paths and cross-validations, cold and warm, and certify every answer; scikit-learn beside it.

    python -m benchmarks.certified

Cold is the first call in the process for that shape, compilation included; warm is the median of five further
calls. Both gaps are the worst over the path, judged by tests/certificates.py, which shares nothing with either.
scikit-learn runs at its default tolerance, on the same standardized data, grid and folds.
"""

import statistics
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LassoCV, lasso_path
from sklearn.model_selection import PredefinedSplit

import jaxreg as jr
from tests import problems
from tests.certificates import linear_problem

GAUSSIAN = [(1000, 100), (100, 2000)]
CORRELATIONS = [0.0, 0.5, 0.95]


def timed(run: Callable[[], Any], repeats: int = 5) -> tuple[Any, float, float]:
    """Return the last result, the time of the first call, and the median of `repeats` more."""
    times = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        result = run()
        times.append(time.perf_counter() - start)
    return result, times[0], statistics.median(times[1:])


def worst_gap(X: np.ndarray, y: np.ndarray, loss: str, coefs: np.ndarray, intercepts: Any, lams: np.ndarray) -> float:
    """Largest relative duality gap along a path; intercepts None for the best ones."""
    judge = linear_problem(X, y, loss=loss)
    if intercepts is None:
        intercepts = [judge.best_intercept(coef) for coef in coefs]
    return max(judge.certify(*fit).gap for fit in zip(coefs, intercepts, lams, strict=True))


def row(name: str, cold: float, warm: float, gap: float, peer: float | None, peer_gap: float | None) -> None:
    """Print one line of the table."""
    beside = "" if peer is None else f"{peer:9.3f} s {peer / warm:7.1f}×"
    beside += "" if peer_gap is None else f"  gap {peer_gap:.0e}"
    print(f"{name:42s} {cold:7.2f} s {warm:8.3f} s  gap {gap:.0e}   {beside}", flush=True)


def measure(name: str, X: np.ndarray, y: np.ndarray, loss: str) -> None:
    """Print the lines of one table: its path, and ten folds."""
    member = jr.Logistic() if loss == "logistic" else jr.Squared()
    x, centered = np.asfortranarray((X - X.mean(axis=0)) / X.std(axis=0)), y - y.mean()
    path, cold, warm = timed(lambda: jr.fit_path(X, y, loss=member))
    peer = peer_gap = None
    if loss == "squared":
        coefs, _, peer = timed(lambda: lasso_path(x, centered, alphas=path.lams)[1].T, repeats=3)
        peer_gap = worst_gap(x, y, loss, coefs, None, path.lams)
    row(f"path, {name}", cold, warm, worst_gap(X, y, loss, path.coef, path.intercept, path.lams), peer, peer_gap)

    fold_id = problems.balanced_folds(len(y), 10)
    cv, cold, warm = timed(lambda: jr.cross_validate(X, y, loss=member, fold_id=fold_id), repeats=3)
    peer = None
    if loss == "squared" and X.size <= 100_000:
        model = LassoCV(alphas=cv.lams, cv=PredefinedSplit(fold_id))
        peer = timed(lambda: model.fit(x, y), repeats=3)[2]
    row(f"10 folds, {name}", cold, warm, float(cv.fold_gap.max()), peer, None)


def main() -> None:
    """Print the table."""
    warnings.simplefilter("ignore", ConvergenceWarning)
    print(f"{'':42s} {'cold':>9s} {'warm':>10s} {'':12s}   scikit-learn at its default tolerance")
    measure("diabetes", *problems.diabetes(), "squared")
    measure("breast cancer, logistic", *problems.breast_cancer(), "logistic")
    for n, p in GAUSSIAN:
        for correlation in CORRELATIONS:
            measure(f"{n} × {p}, ρ = {correlation}", *problems.gaussian(n, p, correlation), "squared")


if __name__ == "__main__":
    main()
