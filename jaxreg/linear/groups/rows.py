"""Newton systems of several outputs that share a Gram: as many unknowns as rows, whatever the number of outputs."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxreg.linear.active.tableau import dot
from jaxreg.linear.groups.eliminate import by_size, invert_last, solve_last

SHARES = 0.25, 0.5, 0.75, 1.0
"""Sizes in which systems are solved, as shares of all rows."""


def solve_rows(
    gram: jax.Array,
    label: jax.Array,
    extra: jax.Array,
    along: jax.Array,
    unit: jax.Array,
    active: jax.Array,
    right: jax.Array,
    jitter: jax.Array,
    *,
    alone: bool,
) -> jax.Array:
    """Solve ((G + diag(extra)) ⊗ I + along · unit unitᵀ within groups) x = right on the active rows; 0 elsewhere.

    Woodbury's formula: with P = G + diag(extra) on the active rows, U the units (one column for each group), and
    s² = −along,

        x = (P ⊗ I)⁻¹(right + s U z),  (I − s Uᵀ(P ⊗ I)⁻¹U s) z = s Uᵀ(P ⊗ I)⁻¹ right.

    The entries of Uᵀ(P ⊗ I)⁻¹U are those of P⁻¹ times the products of units, summed over groups.

    Args:
        gram: G, (d, d).
        label: group of each row, in order, (d,).
        extra: of each row, (d,), at least 0.
        along: of each row's group, (d,), at most 0.
        unit: (d, k), of length 1 in each group.
        active: which rows, (d,): all of a group, or none.
        right: (d, k).
        jitter: added to the diagonals of both systems, as a share of their largest entry: of rows that are alike in all
            but size, as of duplicate columns, some direction has no other curvature.
        alone: whether every group is one row; structure.

    Source: Woodbury (1950), "Inverting modified matrices", Memorandum Report 42, Princeton.
    """

    def solve(at: jax.Array, real: jax.Array, count: jax.Array) -> jax.Array:
        parts = prepare(gram, label, extra, along, unit, jitter, at, real, count, alone=alone)
        return parts.solve(jnp.where(real[:, None], right[at], 0), lambda z: solve_last(parts.core, z, count))

    return by_size(solve, active, SHARES)


class Woodbury(NamedTuple):
    """What solves a system of s rows, of which the last ones are real."""

    inverse: jax.Array
    """P⁻¹, (s, s)."""
    way: jax.Array
    """The units times s, (s, k)."""
    core: jax.Array
    """The matrix of the system for z, (s, s)."""
    group: jax.Array | None
    """Each row's place in z, (s,), if that is not its own."""

    def solve(self, right: jax.Array, inner: Callable[[jax.Array], jax.Array]) -> jax.Array:
        """Solve for right (s, k), 0 where not real, by what solves for z."""
        first = dot(self.inverse, right)
        z = inner(_merged(jnp.sum(self.way * first, axis=1), self.group))
        z = z if self.group is None else z[self.group]
        return first + dot(self.inverse, self.way * z[:, None])


def prepare(
    gram: jax.Array,
    label: jax.Array,
    extra: jax.Array,
    along: jax.Array,
    unit: jax.Array,
    jitter: jax.Array | float,
    at: jax.Array,
    real: jax.Array,
    count: jax.Array,
    *,
    alone: bool,
) -> Woodbury:
    """Prepare to solve for rows `at` (s,), of which the last `count` are real; other arguments as in `solve_rows`."""
    s = at.size
    system = jnp.where(real[:, None] & real, gram[at][:, at], 0)
    most = jnp.max(jnp.diagonal(system))
    most = jnp.where(most > 0, most, 1)
    inverse = invert_last(system + jnp.diag(jnp.where(real, extra[at] + jitter * most, 1)), count)
    # Nothing that is not real is anybody's unit.
    way = jnp.where(real[:, None], jnp.sqrt(jnp.maximum(-along[at], 0))[:, None] * unit[at], 0)
    core, group = inverse * dot(way, way.T), None
    if not alone:
        # Groups are numbered so that the last one comes last.
        new = (label[at[1:]] != label[at[:-1]]) | ~real[:-1]
        group = s - 1 - jnp.cumsum(jnp.append(new, False)[::-1])[::-1]
        core = _merged(_merged(core, group).T, group)
    return Woodbury(inverse, way, (1 + jitter) * jnp.eye(s) - core, group)


def _merged(x: jax.Array, group: jax.Array | None) -> jax.Array:
    """Sum over the rows of each group, (s, …)."""
    return x if group is None else jax.ops.segment_sum(x, group, num_segments=group.size)
