"""Symmetric positive definite systems by matrix products alone.

LAPACK under JAX on CPU runs many threads that wait for each other, and collapses when another process shares
a core: a Cholesky factorization of size 128 then takes seconds instead of a tenth of a millisecond. The compiler's
own matrix products do not suffer, batch over problems, and run as they are on a GPU.
"""

import jax
import jax.numpy as jnp

from jaxreg.linear.active.tableau import dot, invert

BLOCK = 32
"""Rows eliminated at a time: by themselves, a loop of so many steps."""
LARGE = {256: 64, 512: 128}
"""The same for matrices larger than so many rows, which it costs more to go over than to eliminate a larger block."""


def solve(matrix: jax.Array, right: jax.Array) -> jax.Array:
    """Solve A x = b, for A (k, k) and b (k,) or (k, m), by block elimination without pivoting.

    Needs no pivots because A is positive definite; relative accuracy is that of the condition number times
    the machine epsilon.

    >>> solve(jnp.array([[2.0, 1.0], [1.0, 2.0]]), jnp.array([3.0, 3.0]))
    Array([1., 1.], dtype=float32)
    """
    eliminated = []
    while matrix.shape[0] > 0:
        size = min(BLOCK, matrix.shape[0])
        corner, side = invert(matrix[:size, :size]), matrix[size:, :size]
        rows, head = dot(corner, side.T), dot(corner, right[:size])
        eliminated.append((rows, head))
        matrix, right = matrix[size:, size:] - dot(side, rows), right[size:] - dot(side, head)
    x = jnp.zeros_like(right)
    for rows, head in reversed(eliminated):
        x = jnp.concatenate([head - dot(rows, x), x])
    return x


def inverse_diagonal(matrix: jax.Array) -> jax.Array:
    """Diagonal (k,) of A⁻¹, for A (k, k), by elimination alone, without solving for all of A⁻¹.

    With A = LDLᵀ by blocks it is that of L⁻ᵀD⁻¹L⁻¹; L⁻¹ is triangular, and elimination makes it of the identity.

    >>> inverse_diagonal(jnp.array([[2.0, 1.0], [1.0, 2.0]]))
    Array([0.6666667, 0.6666667], dtype=float32)
    """
    rest, found = matrix[:, :0], matrix[0, :0]  # of L⁻¹, the rows to come in the columns up to here
    block = max((LARGE[k] for k in LARGE if k < matrix.shape[0]), default=BLOCK)
    while matrix.shape[0] > 0:
        size = min(block, matrix.shape[0])
        corner, side = matrix[:size, :size], matrix[size:, :size]
        corner = invert(corner) if size <= 2 * BLOCK else solve(corner, jnp.eye(size, dtype=matrix.dtype))
        part = jnp.concatenate([rest[:size], jnp.eye(size, dtype=matrix.dtype)], axis=1)
        head = dot(corner, part)
        found = jnp.pad(found, (0, size)) + jnp.sum(part * head, axis=0)
        rest = jnp.pad(rest[size:], ((0, 0), (0, size))) - dot(side, head)
        matrix = matrix[size:, size:] - dot(side, dot(corner, side.T))
    return found
