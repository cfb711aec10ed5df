"""A table that other solvers and the tests both make, in NumPy alone: their environments have no JAX."""

import pathlib

import numpy as np

DIABETES = pathlib.Path(__file__).parents[2] / "jaxreg" / "datasets" / "diabetes.csv"


def quadratic():
    """The diabetes table with all products and squares of its columns, standardized: (442, 64), and the target.

    sex² is left out, which is sex again. Source: Efron, Hastie, Johnstone & Tibshirani (2004), section 1.
    """
    table = np.loadtxt(DIABETES, delimiter=",", skiprows=1)
    X, y = table[:, :-1], table[:, -1]
    X = (X - X.mean(axis=0)) / X.std(axis=0)
    pairs = [(i, j) for i in range(10) for j in range(i, 10) if (i, j) != (1, 1)]
    Z = np.column_stack([X, *(X[:, i] * X[:, j] for i, j in pairs)])
    return (Z - Z.mean(axis=0)) / Z.std(axis=0), (y - y.mean()) / y.std()


def families():
    """A group for each column of the diabetes table: itself and its products with what follows, unequal and apart."""
    return np.array([*range(10), *(i for i in range(10) for j in range(i, 10) if (i, j) != (1, 1))])


LABELS = [3, 0, 1, 1, 3, 3, 2, 0, 1, 4, 4, 2]
"""Groups of twelve coefficients: unequal, and not side by side."""
TREE = [[0, 1, 2, 3, 4, 5], [1, 2], [4, 5], [6, 7, 8, 9, 10], [9, 10], [0]]
COVER = [[0, 1, 2, 3], [3, 4, 5, 6], [6, 7, 8], [8, 9, 10, 11, 0]]
SLOPES = np.linspace(2.0, 0.25, 12)


def small():
    """A problem of 40 samples, 12 correlated columns, and targets of every kind.

    y is real, some of it far out; `rows` has three responses; `sign` is 0 or 1; `count` and `amount` are that; `label`
    is one of three; `event` tells which of the `amount`s, taken for times, ended.
    """
    rng = np.random.default_rng(0)
    X = 0.6 * rng.normal(size=(40, 1)) + 0.8 * rng.normal(size=(40, 12))
    true = np.array([0, 1, -1, 0.5, 0, 0, 0.5, 0.5, 0, 0, -0.25, 0])
    y = X @ true + 0.5 * rng.standard_t(2, size=40)
    rows = X @ np.outer(true, [1, -1, 0.5]) + 0.5 * rng.normal(size=(40, 3))
    return {
        "X": X,
        "y": y,
        "rows": rows,
        "sign": (y + rng.normal(size=40) > 0).astype(float),
        "count": rng.poisson(np.exp(0.5 * X @ true)).astype(float),
        "amount": rng.gamma(2.0, np.exp(0.5 * X @ true) / 2),
        "label": rows.argmax(axis=1),
        "event": (rng.random(40) < 0.7).astype(float),
    }
