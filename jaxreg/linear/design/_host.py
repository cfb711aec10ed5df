"""A large matrix that stays the caller's: read where NumPy has it, and placed with JAX only if a program asks for it.

Of a matrix with many more rows than columns squared error needs the moments alone, and NumPy's BLAS makes them of any
matrix in memory. That saves a copy of X, and the time to make it.
"""

import dataclasses
import functools
from typing import NamedTuple

import jax
import numpy as np

from jaxreg.linear import sizes
from jaxreg.linear.design._base import LEVEL
from jaxreg.linear.design._blas import moments_by_blas, worth_blas
from jaxreg.linear.design._dense import Dense
from jaxreg.linear.design._memory import placed

TALL, WIDEST = 4, 2048
"""Rows for each column from which moments are used in place of a matrix, and for how many columns."""
BLOCK = 2**19
"""Entries read at a time, so that they are still in a core's cache when they are multiplied again."""
SAMPLE = 256
"""Rows that tell how large columns are."""
FAR = 100.0
"""How much larger or smaller than in the sample a column may be."""
EXACT = 1e-10
"""Largest error of moments, as a share of the lengths of columns and combined vector: a million times its rounding."""


class Moments(NamedTuple):
    """Weighted moments of every column."""

    mean: np.ndarray
    """(p,)"""
    variance: np.ndarray
    """(p,)"""
    along: np.ndarray
    """(p,) covariances with the response."""
    second: np.ndarray
    """(p, p) second moments about zero."""


@dataclasses.dataclass(frozen=True, eq=False)
class Host:
    """A NumPy matrix in float64, which nobody has looked at yet."""

    X: np.ndarray

    @property
    def shape(self) -> tuple[int, int]:
        """Rows n and columns p."""
        n, p = self.X.shape
        return n, p

    @functools.cached_property
    def dense(self) -> Dense:
        """The matrix with JAX.

        Raises:
            ValueError: if an entry is NaN or infinite.
        """
        return Dense(placed(self.X, self.X.dtype, self.shape))

    def moments(self, sample_weight: np.ndarray, response: np.ndarray) -> Moments | None:
        """Moments under weights (n,), and with a response (n,); None where they cannot be had or would not be accurate.

        Second moments are proven: the data themselves, multiplied by a random vector and back, say the same. A wrong
        entry shows with probability one, by the size of the error times a normal variable.

        Source: Freivalds (1977), "Probabilistic machines can use less running time", IFIP Congress 77.
        """
        if not sample_weight.min() > 0:
            return None  # an entry that is not finite would not show
        n, p = self.shape
        weight = sample_weight / sample_weight.sum()
        with np.errstate(all="ignore"):
            size = np.sqrt(np.square(self.X[:: max(1, n // SAMPLE)]).mean(axis=0))
            vector = np.random.default_rng(0).normal(size=p) / np.where(size > 0, size, 1)
            rows = np.stack([weight, weight * (response - weight @ response), np.empty(n)])
            sums, height = np.zeros((3, p)), max(1, BLOCK // p)
            for first in range(0, n, height):
                part = slice(first, first + height)
                rows[2, part] = weight[part] * (self.X[part] @ vector)
                sums += rows[:, part] @ self.X[part]
            mean, along, truth = sums
            if not np.isfinite(sums).all():
                return None
            second = moments_by_blas(self.X, weight)
            variance = np.diagonal(second) - np.square(mean)
            spread = np.sqrt(variance)
            combined = np.abs(vector) * spread
            error = np.abs(second @ vector - truth)
            proven = (error <= EXACT * spread * combined.sum()).all()
            like_sample = ((combined < FAR) & (size * FAR > spread)).all()
            accurate = (np.abs(mean) <= LEVEL * spread).all()
        if not (proven and like_sample and accurate):
            return None
        return Moments(mean, variance, along - rows[1].sum() * mean, second)


def worth_waiting(X: np.ndarray) -> bool:
    """Whether a matrix in float64 is large and tall, where NumPy and JAX share the memory, so that no copy may do."""
    n, p = X.shape
    return (
        n >= TALL * p
        and p <= WIDEST
        and X.nbytes > sizes.COPIED
        and worth_blas(X, 1)
        and jax.devices()[0].platform == "cpu"
    )
