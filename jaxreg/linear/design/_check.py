"""What is given as X: checked once, and put where JAX keeps it."""

import sys
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxreg._programs import program
from jaxreg.linear import sizes
from jaxreg.linear.design._base import Design
from jaxreg.linear.design._dense import Dense
from jaxreg.linear.design._host import Host, worth_waiting
from jaxreg.linear.design._memory import placed, refuse, refuse_at
from jaxreg.linear.design._sparse import Sparse

SPARSE = 0.5
"""A sparse matrix with a larger share of nonzeros is stored densely: that takes less memory and less time."""


def as_design(
    X: Any, dtype: Any = None, *, rounded: tuple[bool, bool] = (False, False), may_wait: bool = False
) -> Design | Host:
    """Check a feature matrix and put it where JAX keeps it.

    Args:
        X: two-dimensional and finite: numpy or JAX array, nested list, data frame of numbers, or any
            scipy.sparse array or matrix.
        dtype: storage type, float32 or float64; that of `X` if it is one of these, else float64.
        rounded: whether rows, and whether columns may be filled up to sizes that others share, see
            `jaxreg.linear.sizes`.
        may_wait: whether a large matrix may stay where it is, unchecked, until somebody reads it.

    Raises:
        TypeError: if `X` is not numeric, or `dtype` is another type.
        ValueError: if `X` has the wrong shape, fewer than 2 rows, no columns, or NaN or infinite entries.
    """
    if is_sparse(X):
        return _sparse(X, _storage(X, dtype), rounded)
    array = X if isinstance(X, (np.ndarray, jax.Array)) else np.asarray(X)
    dtype = _storage(array, dtype)
    if isinstance(array, jax.Array) and _in_memory(array):
        array = np.asarray(array)  # without a copy, and what follows needs no program for its shape
    if may_wait and isinstance(array, np.ndarray) and array.dtype == dtype == np.float64 and worth_waiting(array):
        return Host(np.asarray(array))  # not of a subclass, with products of its own
    return Dense(_stored(array, dtype, rounded))


def is_sparse(X: Any) -> bool:
    """Whether `X` is a scipy.sparse array or matrix; scipy is not imported to find out."""
    scipy_sparse = sys.modules.get("scipy.sparse")
    return scipy_sparse is not None and bool(scipy_sparse.issparse(X))


def _storage(X: Any, dtype: Any) -> np.dtype:
    """Check kind and shape, and choose the storage type."""
    if X.dtype.kind not in "biuf" and str(X.dtype) != "bfloat16":
        raise TypeError(f"X must be numeric, got dtype {X.dtype}; encode text columns first")
    if X.ndim != 2:
        raise ValueError(f"X must be two-dimensional (rows, columns), got shape {X.shape}")
    n, p = X.shape
    if n < 2 or p < 1:
        raise ValueError(f"X must have at least 2 rows and 1 column, got shape {X.shape}")
    if dtype is None:
        dtype = X.dtype if X.dtype in (np.float32, np.float64) else np.float64
    if np.dtype(dtype) not in (np.float32, np.float64):
        raise TypeError(f"dtype must be float32 or float64, got {np.dtype(dtype)}")
    return np.dtype(dtype)


def _in_memory(X: jax.Array) -> bool:
    """Whether the array is on the device that NumPy arrays go to, and that is the CPU."""
    return X.devices() == {jax.devices()[0]} and jax.devices()[0].platform == "cpu"


def _rounded(shape: tuple[int, int], rounded: tuple[bool, bool]) -> tuple[int, int]:
    n, p = (sizes.rounded(size) if which else size for size, which in zip(shape, rounded, strict=True))
    return n, p


def _stored(X: Any, dtype: np.dtype, rounded: tuple[bool, bool]) -> jax.Array:
    size = _rounded(X.shape, rounded) if X.size * dtype.itemsize <= sizes.COPIED else X.shape
    if isinstance(X, jax.Array):
        stored = jnp.asarray(X, dtype)
        if not _is_finite(stored):
            refuse(X, dtype)
        return stored if size == X.shape else _filled_up(stored, size=size)
    # A NumPy array goes to the device without a program of its own.
    return placed(X, dtype, size)


@program(static=("size",))
def _filled_up(X: jax.Array, *, size: tuple[int, int]) -> jax.Array:
    n, p = X.shape
    rows = jnp.concatenate([X, jnp.broadcast_to(X[0], (size[0] - n, p))])
    return jnp.pad(rows, ((0, 0), (0, size[1] - p)))


def _sparse(X: Any, dtype: np.dtype, rounded: tuple[bool, bool]) -> Design:
    """Compressed columns without duplicates and without stored zeros. `X` itself stays as it is."""
    # Converted first: sums of duplicates would overflow small integers.
    columns = X.astype(dtype, copy=True).tocsc()
    columns.sum_duplicates()
    columns.eliminate_zeros()
    bad = ~np.isfinite(columns.data)
    if bad.any():
        owner = np.repeat(np.arange(X.shape[1]), np.diff(columns.indptr))
        refuse_at(columns.indices[bad], owner[bad])
    if max(columns.nnz, *X.shape) >= 2**31:
        raise ValueError(f"X has shape {X.shape} and {columns.nnz} nonzero entries; each must be below 2**31")
    if columns.nnz > SPARSE * X.shape[0] * X.shape[1]:
        return Dense(_stored(columns.toarray(), dtype, rounded))
    rows, all_columns = _rounded(X.shape, rounded)
    # Columns and rows that fill up have no entries.
    indptr = np.pad(columns.indptr, (0, all_columns - X.shape[1]), mode="edge")
    return Sparse.make(columns.data, columns.indices, indptr, rows, X.shape[0])


@program()
def _is_finite(X: jax.Array) -> jax.Array:
    return jnp.all(jnp.isfinite(X))
