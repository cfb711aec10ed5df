"""What the engine may ask of a feature matrix, and the views of it that folds and replicates have."""

import abc
import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


class Design(abc.ABC):
    """A feature matrix X of shape (n, p), asked for few things only, so that dense is one kind among others.

    All results are float64: the data may be stored in less, but what is computed from them is not.
    """

    @property
    @abc.abstractmethod
    def shape(self) -> tuple[int, int]:
        """Rows n and columns p."""

    @abc.abstractmethod
    def moments(self, weights: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Weighted mean and variance of every column, each (F, p), for weights (F, n) whose rows sum to 1."""

    @abc.abstractmethod
    def gather(self, columns: jax.Array, center: jax.Array) -> jax.Array:
        """Return the chosen columns minus their `center`, (n, w)."""

    @abc.abstractmethod
    def apply(self, columns: jax.Array, coef: jax.Array) -> jax.Array:
        """Chosen columns times coefficients, (B, n), for coef (B, w)."""

    @abc.abstractmethod
    def correlate(self, rows: jax.Array) -> jax.Array:
        """rows @ X, (B, p), for rows (B, n): the one product that touches every entry of X."""

    @abc.abstractmethod
    def kernel(self, center: jax.Array, factor: jax.Array) -> jax.Array:
        """(X − center) diag(factor) (X − center)ᵀ, (n, n), for center and factor of shape (p,)."""


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Dense(Design):
    """A matrix in memory, on whatever device JAX keeps it, in float32 or float64."""

    X: jax.Array

    @property
    def shape(self) -> tuple[int, int]:
        """Rows n and columns p."""
        n, p = self.X.shape
        return n, p

    def moments(self, weights: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Shift by one set of means first, so that a large mean does not cancel in the variance."""
        X = self.X.astype(jnp.float64)
        shift = jnp.mean(X, axis=0)
        shifted = X - shift
        mean = _wide_dot(weights, shifted)
        variance = _wide_dot(weights, jnp.square(shifted)) - jnp.square(mean)
        # A column whose spread is rounding of its mean is constant.
        noise = jnp.square(64 * jnp.finfo(jnp.float64).eps * jnp.max(jnp.abs(X), axis=0))
        return mean + shift, jnp.where(variance > noise, variance, 0)

    def gather(self, columns: jax.Array, center: jax.Array) -> jax.Array:
        """Copy the chosen columns, in float64."""
        return self.X[:, columns].astype(jnp.float64) - center

    def apply(self, columns: jax.Array, coef: jax.Array) -> jax.Array:
        """One matrix product with a copy of the chosen columns."""
        return _wide_dot(coef, self.X[:, columns].astype(jnp.float64).T)

    def correlate(self, rows: jax.Array) -> jax.Array:
        """One matrix product."""
        return _wide_dot(rows, self.X.astype(jnp.float64))

    def kernel(self, center: jax.Array, factor: jax.Array) -> jax.Array:
        """One matrix product."""
        centered = self.X.astype(jnp.float64) - center
        return _wide_dot(centered * factor, centered.T)


def _wide_dot(a: jax.Array, b: jax.Array) -> jax.Array:
    return jnp.matmul(a, b, precision="highest", preferred_element_type=jnp.float64)


def as_design(X: Any, dtype: Any = None) -> Dense:
    """Check a feature matrix and put it where JAX keeps it.

    Args:
        X: two-dimensional and finite: numpy or JAX array, nested list, or a data frame of numbers.
        dtype: storage type, float32 or float64; that of `X` if it is one of these, else float64.

    Raises:
        TypeError: if `X` is sparse or not numeric, or `dtype` is another type.
        ValueError: if `X` has the wrong shape, fewer than 2 rows, no columns, or NaN or infinite entries.
    """
    if hasattr(X, "tocsr"):
        raise TypeError("X is a scipy.sparse matrix, which jaxreg does not take yet: give X.toarray()")
    array = X if isinstance(X, (np.ndarray, jax.Array)) else np.asarray(X)
    if array.dtype.kind not in "biuf" and str(array.dtype) != "bfloat16":
        raise TypeError(f"X must be numeric, got dtype {array.dtype}; encode text columns first")
    if array.ndim != 2:
        raise ValueError(f"X must be two-dimensional (rows, columns), got shape {array.shape}")
    n, p = array.shape
    if n < 2 or p < 1:
        raise ValueError(f"X must have at least 2 rows and 1 column, got shape {array.shape}")
    if dtype is None:
        dtype = array.dtype if array.dtype in (np.float32, np.float64) else np.float64
    if np.dtype(dtype) not in (np.float32, np.float64):
        raise TypeError(f"dtype must be float32 or float64, got {np.dtype(dtype)}")
    finite = _is_finite(array) if isinstance(array, jax.Array) else np.isfinite(array).all()
    if not finite:
        bad = np.argwhere(~np.isfinite(np.asarray(array, dtype=np.float64)))
        row, column = bad[0]
        raise ValueError(f"X has {len(bad)} NaN or infinite entries, the first at row {row}, column {column}")
    return Dense(jnp.asarray(array, dtype=dtype))


@jax.jit
def _is_finite(X: jax.Array) -> jax.Array:
    return jnp.all(jnp.isfinite(X))


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Views:
    """How each of F training sets (folds, replicates) sees the same X: lazily centred and scaled.

    Column j of view f is (x_j − mean_fj) / scale_fj under sample weights w_f. X itself is never copied.
    """

    weights: jax.Array
    """(F, n), each row summing to 1; 0 for a row that is held out."""
    mean: jax.Array
    """(F, p), zero where there is no intercept."""
    scale: jax.Array
    """(F, p), 1 where columns are not standardized or constant."""
    varies: jax.Array
    """(F, p), False for a constant column, whose coefficient is 0."""


@jax.jit
def make_views(design: Design, sample_weight: jax.Array, intercept: Any, standardize: Any) -> Views:
    """Moments of every column under every training set's weights (F, n)."""
    weights = sample_weight / jnp.sum(sample_weight, axis=1, keepdims=True)
    mean, variance = design.moments(weights)
    # Without an intercept a constant column is a feature like any other; it just has no spread to divide by.
    varies = (variance > 0) | ~intercept
    scale = jnp.where((variance > 0) & standardize, jnp.sqrt(variance), 1)
    return Views(weights, jnp.where(intercept, mean, 0), scale, varies)
