"""The inverse of the active Gram, kept up to date by block pivots as variables come and go.

Consecutive active sets of a path differ by few variables. To add or drop k of d costs one product of rank k,
2d²k flops, where a factorization from scratch costs d³/3; and it is made of matrix products alone. (LAPACK under
JAX on CPU runs many threads that wait for each other, and collapses when another process shares a core.)
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

BLOCK, BIG_BLOCK, BIG = 16, 32, 1000
"""Most variables exchanged by one pivot, and where there are at least `BIG` of them."""


class Inverse(NamedTuple):
    """(Q + diag(ridge))⁻¹ over the members, embedded in (d, d); rows and columns of others mean nothing."""

    matrix: jax.Array
    members: jax.Array
    """(d,) which variables it spans."""
    ridge: jax.Array
    """(d,) the ridge that it was made with."""

    @classmethod
    def empty(cls, d: int) -> "Inverse":
        """Spans nothing yet."""
        return cls(jnp.zeros((d, d)), jnp.zeros(d, bool), jnp.zeros(d))

    def emptied(self, when: jax.Array) -> "Inverse":
        """Forget all members when told to."""
        matrix = jax.lax.cond(when, jnp.zeros_like, lambda matrix: matrix, self.matrix)
        return self._replace(matrix=matrix, members=self.members & ~when)

    def times(self, x: jax.Array) -> jax.Array:
        """Solve for a right side that is zero outside the members."""
        return jnp.where(self.members, dot(self.matrix, x), 0)

    def taken(self, position: jax.Array) -> "Inverse":
        """Rearranged: entry i of the new one is entry position[i] of this one, or none where that is negative."""
        known = position >= 0
        at = jnp.maximum(position, 0)
        members = self.members[at] & known
        return Inverse(self.matrix[at][:, at], members, jnp.where(known, self.ridge[at], 0))


def exchange(inverse: Inverse, gram: jax.Array, jitter: jax.Array, change: jax.Array) -> tuple[Inverse, jax.Array]:
    """Add or drop variables to change: up to a block of them. Returns those still to be exchanged, too.

    For E entering and D leaving, with H the old inverse, P = GH, W = [H_D; P_E − I_E] and the quasidefinite core
    C = [[H_DD, P_EDᵀ], [P_ED, P_E G_E − G_EE]], the new inverse is H − Wᵀ C⁻¹ W.

    Args:
        inverse: the inverse now.
        gram: Q, (d, d).
        jitter: added to the diagonal, so that nearly dependent variables can stand side by side.
        change: (d,) which variables to add or drop.
    """
    d = gram.shape[0]
    k = min(BLOCK if d < BIG else BIG_BLOCK, d)
    index = jnp.nonzero(change, size=k, fill_value=d)[0]
    real, at = index < d, jnp.minimum(index, d - 1)
    members = inverse.members
    leaving = members[at] & real

    rows = gram[at]
    inside = jnp.where(members, rows, 0)
    product = jnp.where(members, dot(inside, inverse.matrix), 0)
    own = jnp.where(members, inverse.matrix[at], 0)
    unit = at[:, None] == jnp.arange(d)
    wide = jnp.where(real[:, None], jnp.where(leaving[:, None], own, product - unit), 0)

    entering_core = dot(product, inside.T) - rows[:, at] - jnp.diag(inverse.ridge[at] + jitter)
    mixed = product[:, at]
    core = jnp.where(leaving[None, :], mixed, mixed.T)
    core = jnp.where(leaving[:, None] & leaving[None, :], own[:, at], core)
    core = jnp.where(~leaving[:, None] & ~leaving[None, :], entering_core, core)
    core = jnp.where(real[:, None] & real[None, :], core, jnp.eye(k))

    matrix = inverse.matrix - dot(wide.T, dot(invert(core), wide))
    exchanged = jnp.zeros(d, bool).at[index].set(True, mode="drop")
    return inverse._replace(matrix=matrix, members=members ^ exchanged), change & ~exchanged


def invert(block: jax.Array) -> jax.Array:
    """Gauss-Jordan without pivoting, in place, for definite or quasidefinite blocks (k, k): k exchanges of one."""

    def step(j: jax.Array, a: jax.Array) -> jax.Array:
        here = jnp.arange(a.shape[0]) == j
        pivot = 1 / a[j, j]
        row, column = a[j] * pivot, a[:, j]
        updated = a - column[:, None] * row[None, :]
        updated = jnp.where(here[None, :], -(column * pivot)[:, None], updated)
        updated = jnp.where(here[:, None], row[None, :], updated)
        return jnp.where(here[:, None] & here[None, :], pivot, updated)

    return jax.lax.fori_loop(0, block.shape[0], step, block)


def dot(a: jax.Array, b: jax.Array) -> jax.Array:
    """Matrix product at full precision: accelerators would else round to less."""
    return jnp.matmul(a, b, precision="highest")
