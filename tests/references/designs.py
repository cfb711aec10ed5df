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
