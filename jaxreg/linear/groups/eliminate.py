"""Systems of a changing number of unknowns, in programs that are quick to compile: block elimination in loops."""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp

from jaxreg.linear.active.tableau import dot, invert

BLOCK = 32
"""Unknowns eliminated at a time."""
WHOLE = 128
"""Up to this many unknowns one loop eliminates all of them; larger systems are halved."""


Solver = Callable[[jax.Array, jax.Array, jax.Array], jax.Array]
"""Of which unknowns there are (s,), which of them are real (s,), and how many: gives what they are, (s, …)."""


def padded_size(d: int) -> int:
    """Size of the system that holds d unknowns: whole blocks."""
    return -(-d // BLOCK) * BLOCK


def solve_last(matrix: jax.Array, right: jax.Array, count: jax.Array) -> jax.Array:
    """Solve A x = b where only the last `count` unknowns are real, without pivoting; 0 for the others.

    As `definite.solve`, but in loops instead of one operation after the other: its program does not grow with its size,
    but for its logarithm, and unknowns that are not real cost little. The first half is eliminated in blocks, and then
    the other half is a system like it. Three quarters more operations than without loops.

    Args:
        matrix: A, (s, s) for s as `padded_size` gives it; rows and columns that are not real are those of the identity.
        right: b, (s,), 0 where not real.
        count: how many are real.
    """
    size = right.size
    lead = size if size <= WHOLE else size - size // BLOCK // 2 * BLOCK
    first = jnp.clip((size - count) // BLOCK, 0, lead // BLOCK)
    rows = jnp.arange(size)

    def eliminate(k: jax.Array, state: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        a, b = state
        at = k * BLOCK
        band = jax.lax.dynamic_slice_in_dim(a, at, BLOCK, 0)
        corner = invert(jax.lax.dynamic_slice_in_dim(band, at, BLOCK, 1))
        band, head = dot(corner, band), dot(corner, jax.lax.dynamic_slice_in_dim(b, at, BLOCK))
        side = jnp.where((rows >= at + BLOCK)[:, None], jax.lax.dynamic_slice_in_dim(a, at, BLOCK, 1), 0)
        a, b = a - dot(side, band), b - dot(side, head)
        return jax.lax.dynamic_update_slice_in_dim(a, band, at, 0), jax.lax.dynamic_update_slice_in_dim(b, head, at, 0)

    def substitute(k: jax.Array, x: jax.Array) -> jax.Array:
        at = lead - (k + 1) * BLOCK
        band = jax.lax.dynamic_slice_in_dim(a, at, BLOCK, 0)
        mine = jax.lax.dynamic_slice_in_dim(b, at, BLOCK) - dot(band, x)
        return jax.lax.dynamic_update_slice_in_dim(x, mine, at, 0)

    a, b = jax.lax.fori_loop(first, lead // BLOCK, eliminate, (matrix, right))
    rest = solve_last(a[lead:, lead:], b[lead:], count) if lead < size else b[lead:]
    return jax.lax.fori_loop(0, lead // BLOCK - first, substitute, jnp.concatenate([jnp.zeros(lead), rest]))


def by_size(solve: Solver, active: jax.Array, shares: Sequence[float]) -> jax.Array:
    """Solve for the active unknowns by the smallest of a few programs that has room for them; 0 for all others.

    Args:
        solve: of so many unknowns; the active ones come last.
        active: (d,).
        shares: sizes of the programs beside d, if that is above `WHOLE`; else there is one.
    """
    d = active.size
    sizes = sorted({padded_size(max(int(share * d), 1)) for share in (shares if d > WHOLE else (1,))})
    count = jnp.sum(active)
    order = jnp.roll(jnp.nonzero(active, size=sizes[-1], fill_value=d)[0], sizes[-1] - count)

    def of_size(size: int) -> Callable[[], jax.Array]:
        def run() -> jax.Array:
            index = order[sizes[-1] - size :]
            x = solve(jnp.minimum(index, d - 1), index < d, count)
            return jnp.zeros((d, *x.shape[1:])).at[index].set(x, mode="drop")

        return run

    return jax.lax.switch(jnp.searchsorted(jnp.asarray(sizes), count), [of_size(size) for size in sizes])


def invert_last(matrix: jax.Array, count: jax.Array) -> jax.Array:
    """Inverse of A, as `solve_last` takes it, by Gauss-Jordan elimination in blocks; right where unknowns are real."""
    size = matrix.shape[0]
    rows = jnp.arange(size)

    def exchange(k: jax.Array, a: jax.Array) -> jax.Array:
        at = k * BLOCK
        inside = (rows >= at) & (rows < at + BLOCK)
        band, side = (jax.lax.dynamic_slice_in_dim(a, at, BLOCK, axis) for axis in (0, 1))
        corner = invert(jax.lax.dynamic_slice_in_dim(band, at, BLOCK, 1))
        # With the corner's own columns those of the identity, the band comes out as it should, and so does the side.
        unit = jnp.where(rows[None] == at + jnp.arange(BLOCK)[:, None], 1.0, 0.0)
        band = dot(corner, jnp.where(inside, unit, band))
        side = jnp.where(inside[:, None], 0, side)
        a = jnp.where(inside, 0, a) - dot(side, band)
        return jax.lax.dynamic_update_slice_in_dim(a, band, at, 0)

    return jax.lax.fori_loop((size - count) // BLOCK, size // BLOCK, exchange, matrix)
