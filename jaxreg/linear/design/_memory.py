"""Where JAX keeps a NumPy matrix: on the CPU without a copy if it begins where vector instructions want it.

Else JAX would copy it, by one thread into pages that the system hands out one by one: that took 90 ms for 200 MB,
the copy made here 20, with the search for what is not finite.
"""

from typing import Any

import jax
import numpy as np

from jaxreg.linear.threads import in_threads

ALIGNED = 64
"""Bytes of which the address is to be a multiple."""
BLOCK = 2**18
"""Entries copied at a time, so that they are still in a core's cache when they are looked at."""


def placed(X: np.ndarray, dtype: np.dtype, size: tuple[int, int]) -> jax.Array:
    """The matrix in a type, filled up to a size (see `jaxreg.linear.sizes`).

    Raises:
        ValueError: if an entry is NaN or infinite.
    """
    n, p = X.shape
    ready = X.dtype == dtype and X.flags.c_contiguous and size == (n, p)
    if jax.devices()[0].platform == "cpu":
        ready = ready and X.ctypes.data % ALIGNED == 0
    out = X if ready else _empty(size, dtype)

    def put(first: int) -> bool:
        rows = slice(first, min(first + height, n))
        # A number too large for the type is found below.
        with np.errstate(over="ignore", invalid="ignore"):
            if not ready:
                out[rows, :p] = X[rows]
            return bool(np.isfinite(out[rows, :p].sum()) or np.isfinite(out[rows, :p]).all())

    height = max(1, BLOCK // p)
    blocks = list(range(0, n, height))
    if not all(in_threads(put, blocks, lambda _: "placed") if len(blocks) > 1 else [put(0)]):
        refuse(X, dtype)
    if not ready:
        out[n:, :p], out[:, p:] = out[0, :p], 0
    return jax.device_put(out)


def refuse(X: Any, dtype: np.dtype) -> None:
    """Say where a matrix that is not finite is not."""
    with np.errstate(over="ignore"):
        refuse_at(*np.nonzero(~np.isfinite(np.asarray(X).astype(dtype))))


def refuse_at(rows: np.ndarray, columns: np.ndarray) -> None:
    """Say how many entries are not finite, and where the first is."""
    row, column = min(zip(rows.tolist(), columns.tolist(), strict=True))
    raise ValueError(f"X has {len(rows)} NaN or infinite entries, the first at row {row}, column {column}")


def _empty(size: tuple[int, int], dtype: np.dtype) -> np.ndarray:
    count = size[0] * size[1] * dtype.itemsize
    memory = np.empty(count + ALIGNED, np.uint8)
    first = -memory.ctypes.data % ALIGNED
    return memory[first : first + count].view(dtype).reshape(size)
