"""The grid of problems that the benchmarks race on, each with its λ grid, folds and resamples.

Design: Friedman, Hastie & Tibshirani (2010), JSS 33, section 5.1 (`tests/problems.py`): columns and target are
centred and scaled, so that nobody has to standardize. Folds and resamples are then fitted as they are, with an
intercept and without standardizing again: the one convention that every peer can follow.

The objective is, for training weights w (0 or 1 for a fold, counts for a resample),

    (1/Σw) Σ wᵢ ℓ(xᵢᵀb + b₀, yᵢ) + λ (r‖b‖₁ + (1 − r)/2 ‖b‖²).

Strengths fall geometrically from λ_max/r of all rows to 1e-3 of it if n > p, else 1e-2. Ridge has no λ_max: its
grid runs from 1e3 to 1e-1 times that of the lasso, as in glmnet.
"""

import dataclasses
from pathlib import Path
from typing import Literal

import numpy as np

from tests.problems import balanced_folds, gaussian

Kind = Literal["path", "cv", "bootstrap"]
FIVE_RATIOS = (0.1, 0.5, 0.7, 0.9, 1.0)
FOLDS = 10


@dataclasses.dataclass(frozen=True)
class Row:
    """One line of the grid: a kind of work and the size of its problem."""

    kind: Kind
    n: int
    p: int
    correlation: float = 0.5
    loss: Literal["squared", "logistic"] = "squared"
    ratios: tuple[float, ...] = (1.0,)
    lams: int = 100
    replicates: int = 0

    @property
    def name(self) -> str:
        """What the row is called, on the command line and in the results."""
        family = {"path": "path", "cv": "cv", "bootstrap": "bootstrap"}[self.kind]
        if self.loss == "logistic":
            family = f"logistic-{family}"
        if self.ratios == (0.0,):
            family = f"ridge-{family}"
        if len(self.ratios) > 1:
            family += f"-{len(self.ratios)}-ratios"
        if self.replicates:
            family += f"-{self.replicates}"
        return f"{family}-{self.n}x{self.p}-rho{self.correlation:g}"

    @property
    def is_ridge(self) -> bool:
        """Whether there is no L1 part."""
        return self.ratios == (0.0,)

    @property
    def own_grid(self) -> bool:
        """Whether solvers make their grids themselves, because each l1 ratio has another."""
        return len(self.ratios) > 1

    @property
    def lam_min_ratio(self) -> float:
        """Smallest strength as a share of the largest."""
        return 1e-4 if self.is_ridge else (1e-3 if self.n > self.p else 1e-2)


@dataclasses.dataclass(frozen=True)
class Task:
    """The data of a row."""

    row: Row
    X: np.ndarray
    """(n, p)."""
    y: np.ndarray
    """(n,): standardized, or 0 and 1."""
    lams: np.ndarray
    """Strengths in decreasing order, (ratios, lams)."""
    weights: np.ndarray
    """Weights of every fit: all rows first, then the folds' training rows; or the resamples alone. (fits, n)."""
    fold_id: np.ndarray
    """(n,), empty without folds."""

    def write(self, folder: Path) -> None:
        """Store the arrays as plain binary files, matrices by columns, which every language can read."""
        folder.mkdir(parents=True)
        for name in ("X", "y", "weights"):
            getattr(self, name).astype(np.float64).ravel(order="F").tofile(folder / f"{name}.f64")
        self.lams.astype(np.float64).tofile(folder / "lams.f64")
        np.asarray(self.row.ratios, np.float64).tofile(folder / "ratios.f64")
        self.fold_id.astype(np.int32).tofile(folder / "fold_id.i32")


def build(row: Row) -> Task:
    """Draw the data of a row, always the same."""
    X, y = gaussian(row.n, row.p, row.correlation)
    if row.loss == "logistic":
        y = (y > 0).astype(np.float64)
    top = np.abs(X.T @ (y - y.mean())).max() / row.n
    steps = row.lam_min_ratio ** np.linspace(0, 1, row.lams)
    lams = np.stack([top * (1e3 if r == 0 else 1 / r) * steps for r in row.ratios])
    fold_id = np.empty(0, np.int32)
    weights = np.ones((1, row.n))
    if row.kind == "cv":
        fold_id = balanced_folds(row.n, FOLDS).astype(np.int32)
        weights = np.concatenate([weights, fold_id != np.arange(FOLDS)[:, None]])
    if row.kind == "bootstrap":
        draws = np.random.default_rng(1).integers(row.n, size=(row.replicates, row.n))
        weights = np.stack([np.bincount(draw, minlength=row.n) for draw in draws])
    return Task(row, X, y, lams, weights.astype(np.float64), fold_id)


PATH_SIZES = [
    (1000, 100),
    (5000, 100),
    (100, 1000),
    (100, 5000),
    (100, 20000),
    (10000, 1000),
    (2000, 10000),
    (50000, 500),
]
CV_SIZES = [(1000, 100), (200, 5000), (10000, 500), (2000, 2000)]

GRID: list[Row] = [
    *(Row("cv", n, p) for n, p in CV_SIZES),
    *(Row("cv", n, p, ratios=FIVE_RATIOS) for n, p in CV_SIZES),
    Row("cv", 10000, 500, ratios=(0.0,)),
    Row("bootstrap", 500, 50, lams=50, replicates=1000),
    *(Row("path", n, p, loss="logistic") for n, p in [(1000, 100), (200, 5000), (10000, 500)]),
    *(Row("path", n, p, correlation) for n, p in PATH_SIZES for correlation in (0.5, 0.0, 0.95)),
]

QUICK: list[Row] = [
    Row("cv", 200, 30, lams=20),
    Row("cv", 60, 120, ratios=(0.5, 1.0), lams=20),
    Row("cv", 200, 30, ratios=(0.0,), lams=20),
    Row("bootstrap", 100, 10, lams=10, replicates=20),
    Row("path", 150, 20, loss="logistic", lams=20),
    Row("path", 200, 30, lams=20),
    Row("path", 50, 200, lams=20),
]
