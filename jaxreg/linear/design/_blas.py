"""Second moments of one training set by the BLAS under NumPy.

It has a routine for a matrix with itself, half the products, which XLA has not: 163 ms for 50000 × 500 on two cores
against 227, and 216 against 810 where another process has one of them. Its threads look busily for more work for some
20 ms afterwards, so that only large Grams are worth it.
"""

import jax
import numpy as np

WORK = 2**30
"""Products from which it is worth it."""
ROWS = 2**14
"""Rows at a time where they must be scaled by their weights. With few it is slow if other processes have the cores."""


def worth_blas(x: np.ndarray | jax.Array, sets: int) -> bool:
    """Whether x (n, p) is where NumPy can read it, large, and seen by one training set."""
    n, p = x.shape
    here = isinstance(x, np.ndarray) or next(iter(x.devices())).platform == "cpu"
    return sets == 1 and n * p**2 >= WORK and here


def moments_by_blas(x: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Second moments (p, p) of x (n, p) under weights (n,)."""
    if (weight == weight[0]).all():
        total = x.T @ x
        total *= weight[0]
        return total
    total = np.zeros((x.shape[1], x.shape[1]))
    for first in range(0, len(x), ROWS):
        part = slice(first, first + ROWS)
        scaled = x[part] * np.sqrt(weight[part])[:, None]
        total += scaled.T @ scaled
    return total
