"""The problems that the linear engine is judged on: simulated designs and small real tables."""

from typing import NamedTuple

import numpy as np
from sklearn import datasets

from jaxreg.datasets import load_diabetes


class Problem(NamedTuple):
    """A feature matrix and its target."""

    X: np.ndarray
    y: np.ndarray


def gaussian(n: int, p: int, correlation: float, seed: int = 0, snr: float = 3.0) -> Problem:
    """Gaussian columns with equal correlations and coefficients of alternating sign that decay exponentially.

    Columns and target are centred and scaled to unit variance. `snr` is the ratio of the variances of signal
    and noise.

    Source: Friedman, Hastie & Tibshirani (2010), "Regularization paths for generalized linear models via
    coordinate descent", JSS 33, section 5.1.
    """
    rng = np.random.default_rng(seed)
    X = np.sqrt(correlation) * rng.standard_normal((n, 1)) + np.sqrt(1 - correlation) * rng.standard_normal((n, p))
    j = np.arange(1, p + 1)
    beta = (-1.0) ** j * np.exp(-2 * (j - 1) / 20)
    signal_variance = (1 - correlation) * np.sum(beta**2) + correlation * np.sum(beta) ** 2
    y = X @ beta + np.sqrt(signal_variance / snr) * rng.standard_normal(n)
    return Problem((X - X.mean(axis=0)) / X.std(axis=0), (y - y.mean()) / y.std())


def diabetes() -> Problem:
    """The diabetes table on its raw scale: 442 × 10, a quantitative target."""
    table = load_diabetes()
    return Problem(table.X, table.y)


def breast_cancer() -> Problem:
    """The Wisconsin breast cancer table on its raw scale: 569 × 30, highly correlated; 1 is benign."""
    X, y = datasets.load_breast_cancer(return_X_y=True)
    return Problem(X, y.astype(np.float64))


def iris_pair() -> Problem:
    """Versicolor (0) against virginica (1) of the iris table: 100 × 4, classes that overlap."""
    X, y = datasets.load_iris(return_X_y=True)
    return Problem(X[50:], (y[50:] == 2).astype(np.float64))


def uneven_weights(n: int) -> np.ndarray:
    """Sample weights between ½ and 2, in a fixed pattern."""
    return np.array([0.5, 1.0, 2.0, 1.5, 0.75])[np.arange(n) % 5]


def uneven_offset(n: int) -> np.ndarray:
    """Something on the link scale that varies."""
    return 0.3 * np.sin(np.arange(n))


def balanced_folds(n: int, folds: int, seed: int = 0) -> np.ndarray:
    """A fold number for each sample, in random order and of equal counts up to one."""
    return np.random.default_rng(seed).permutation(np.arange(n) % folds)
