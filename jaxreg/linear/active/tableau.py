"""The tableau of the active equations: the principal pivot transform of a Gram, kept up to date by block pivots.

Consecutive active sets of a path differ by few variables. To add or drop k of d costs their k rows and, once some
have gathered, one product of rank k, 2d²k flops, where a factorization from scratch costs d³/3; and all of it is matrix
products. (LAPACK under JAX on CPU runs many threads that wait for each other, and collapses when another process shares
a core.) One product with the tableau solves the equations of the members and says at once what the solution does
to the gradient of all others.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

BLOCK = 16
"""Most variables exchanged by one pivot."""
GATHERED = 8
"""Rows of pivots gathered before they are worked into the matrix: one for so many of its own."""
NEW = 64
"""New variables inserted at a time."""
SINGLE = np.dtype(np.float32)


class Tableau(NamedTuple):
    """T = matrix − leftᵀright, with M = Q + diag(extra) partly solved: T maps (Mz on A, z off A) to (z on A, Mz off A).

    A are the members. Between two members T is M_AA⁻¹, between two others the Schur complement of M_AA; between a
    member and another T is skew: −M_AA⁻¹M_AN, and M_NA M_AA⁻¹.

    Source: Tucker (1960), "A combinatorial equivalence of matrices"; Tsatsomeros (2000), "Principal pivot transforms",
    Linear Algebra and its Applications 307.
    """

    matrix: jax.Array
    """(d, d)."""
    left: jax.Array
    """(r, d), zero from row `gathered` on."""
    right: jax.Array
    """(r, d)."""
    gathered: jax.Array
    """Rows of `left` and `right` in use."""
    members: jax.Array
    """(d,) which variables are solved for."""
    extra: jax.Array
    """(d,) what M has on its diagonal beside that of Q; NaN: there is no tableau yet."""
    strain: jax.Array
    """Largest diagonal entry that the inverse ever had: what rounding was multiplied by, even if it is long gone."""

    @classmethod
    def empty(cls, d: int, dtype: Any = float) -> "Tableau":
        """No tableau yet; what it will hold of M in double precision unless told."""
        block = min(BLOCK, d)
        rows = jnp.zeros((max(block, d // GATHERED) + block, d), dtype)
        none, zero = jnp.full(d, jnp.nan, float), jnp.zeros(())
        return cls(jnp.zeros((d, d), dtype), rows, rows, jnp.zeros((), int), jnp.zeros(d, bool), none, zero)

    @property
    def rough(self) -> bool:
        """Whether it is in single precision."""
        return self.matrix.dtype == SINGLE

    def times(self, x: jax.Array) -> jax.Array:
        """T x, in the precision of x, though not to that of it where T is in single."""
        z = x.astype(self.matrix.dtype)
        return (dot(self.matrix, z) - dot(dot(self.right, z), self.left)).astype(x.dtype)

    def diagonal(self) -> jax.Array:
        """Diagonal of T."""
        return jnp.diagonal(self.matrix) - jnp.sum(self.left * self.right, axis=0)

    def folded(self) -> "Tableau":
        """The same with nothing gathered."""
        matrix = self.matrix - dot(self.left.T, self.right)
        none = jnp.zeros_like(self.left)
        return self._replace(matrix=matrix, left=none, right=none, gathered=jnp.zeros_like(self.gathered))

    def begun(self, gram: jax.Array, extra: jax.Array, when: jax.Array) -> "Tableau":
        """Begin anew, without members, when told to."""

        def begin(_: tuple) -> tuple:
            none = jnp.zeros_like(self.left)
            members, gathered = jnp.zeros_like(self.members), jnp.zeros_like(self.gathered)
            clean = jnp.zeros_like(self.strain)
            matrix = (gram + jnp.diag(extra)).astype(self.matrix.dtype)
            return Tableau(matrix, none, none, gathered, members, extra, clean), jnp.asarray(False)

        # A loop of at most one round: unlike a branch it leaves what it does not change where it is.
        return jax.lax.while_loop(lambda s: s[1], begin, (self, when))[0]

    def with_members(self, chosen: jax.Array) -> "Tableau":
        """The tableau of these members."""
        return jax.lax.while_loop(lambda s: jnp.any(s[1]), lambda s: exchange(*s), (self, self.members ^ chosen))[0]


def exchange(tableau: Tableau, change: jax.Array) -> tuple[Tableau, jax.Array]:
    """Add or drop variables to change (d,): up to a block of them. Returns those still to be exchanged, too.

    For E exchanged, with J = I's columns E and C = T_EE⁻¹, the new tableau is T − (T_:E + J) C (T_E: − Jᵀ).
    """
    d = change.size
    k = min(BLOCK, d)
    room = tableau.left.shape[0] - k
    full = tableau.gathered > room
    tableau = jax.lax.while_loop(lambda s: s[1], lambda s: (s[0].folded(), jnp.asarray(False)), (tableau, full))[0]

    index = jnp.nonzero(change, size=k, fill_value=d)[0]
    real, at = index < d, jnp.minimum(index, d - 1)
    count = jnp.sum(real)
    rows = jnp.where(real[:, None], tableau.matrix[at] - dot(tableau.left[:, at].T, tableau.right), 0)
    core = jnp.where(real[:, None] & real, rows[:, at], jnp.eye(k, dtype=rows.dtype))
    side = jnp.where(tableau.members, 1, -1)
    columns = rows * side[at][:, None] * side
    unit = jnp.where(real[:, None], at[:, None] == jnp.arange(d), 0)
    inverse = invert(core, count)
    left, right = columns + unit, dot(inverse, rows - unit)
    strain = jnp.max(jnp.where(real & ~tableau.members[at], jnp.abs(jnp.diagonal(inverse)), 0))

    gathered = (tableau.gathered, jnp.zeros_like(tableau.gathered))
    exchanged = jnp.zeros(d, bool).at[index].set(True, mode="drop")
    tableau = tableau._replace(
        left=jax.lax.dynamic_update_slice(tableau.left, left, gathered),
        right=jax.lax.dynamic_update_slice(tableau.right, right, gathered),
        gathered=tableau.gathered + count,
        members=tableau.members ^ exchanged,
        strain=jnp.maximum(tableau.strain, jnp.where(jnp.isnan(strain), jnp.inf, strain)),
    )
    return tableau, change & ~exchanged


def rearranged(tableau: Tableau, gram: jax.Array, extra: jax.Array, position: jax.Array, dtype: Any = None) -> Tableau:
    """The tableau of other variables: the new i-th was the position[i]-th, or is new where that is negative.

    Args:
        tableau: of d variables.
        gram: Q of the new ones, (e, e).
        extra: beside its diagonal, for those that are new, (e,).
        position: (e,).
        dtype: of the new one; as the old one's unless told.
    """
    known, e = position >= 0, position.size
    at = jnp.maximum(position, 0)
    stays = (
        jnp.zeros(tableau.members.size, bool)
        .at[jnp.where(known, position, tableau.members.size)]
        .set(True, mode="drop")
    )
    old = tableau.with_members(tableau.members & stays).folded()
    members = old.members[at] & known
    extra = jnp.where(known, old.extra[at], extra)
    dtype = dtype or old.matrix.dtype
    old, gram = old._replace(matrix=old.matrix.astype(dtype)), gram.astype(dtype)
    kept = known[:, None] & known
    matrix = jnp.where(kept, old.matrix[at][:, at], 0)
    size = min(NEW, e)

    def insert(state: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        matrix, new = state
        index = jnp.nonzero(new, size=size, fill_value=e)[0]
        columns = gram[jnp.minimum(index, e - 1)]
        inside = jnp.where(members, columns, 0)
        solved = dot(inside, matrix.T)
        # Of members M_AA⁻¹M_AE, of others that are in place M_NA M_AA⁻¹M_AE; among themselves the new ones come last.
        rows = jnp.where(members, solved, columns - solved)
        core = gram[index][:, index] - dot(solved, inside.T) + jnp.diag(extra[jnp.minimum(index, e - 1)].astype(dtype))
        rows = rows.at[:, index].set(core, mode="drop")
        matrix = matrix.at[:, index].set(jnp.where(members, -rows, rows).T, mode="drop")
        matrix = matrix.at[index].set(rows, mode="drop")
        return matrix, new.at[index].set(False, mode="drop")

    matrix, _ = jax.lax.while_loop(lambda s: jnp.any(s[1]), insert, (matrix, ~known))
    return Tableau.empty(e, dtype)._replace(matrix=matrix, members=members, extra=extra, strain=old.strain)


def worth(new: int, members: int) -> bool:
    """Whether to rearrange a tableau, at 2d² flops per new variable, rather than begin anew, at 2d² per member."""
    return new < members


def invert(block: jax.Array, count: jax.Array | int | None = None) -> jax.Array:
    """Gauss-Jordan without pivoting, in place, for blocks (k, k) whose symmetric part is definite.

    With `count`, rows and columns from there on are those of the identity.
    """

    def step(j: jax.Array, a: jax.Array) -> jax.Array:
        here = jnp.arange(a.shape[0]) == j
        pivot = 1 / a[j, j]
        row, column = a[j] * pivot, a[:, j]
        updated = a - column[:, None] * row[None, :]
        updated = jnp.where(here[None, :], -(column * pivot)[:, None], updated)
        updated = jnp.where(here[:, None], row[None, :], updated)
        return jnp.where(here[:, None] & here[None, :], pivot, updated)

    return jax.lax.fori_loop(0, block.shape[0] if count is None else count, step, block)


def dot(a: jax.Array, b: jax.Array) -> jax.Array:
    """Matrix product at full precision: accelerators would else round to less."""
    return jnp.matmul(a, b, precision="highest")
