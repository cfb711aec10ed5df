"""Newton systems of several outputs that share a Gram: as many unknowns as rows, whatever the number of outputs."""

import jax
import jax.numpy as jnp

from jaxreg.linear.active.tableau import dot
from jaxreg.linear.groups.eliminate import JITTER, by_size, invert_last, solve_last

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
        alone: whether every group is one row; structure.

    Source: Woodbury (1950), "Inverting modified matrices", Memorandum Report 42, Princeton.
    """
    most = jnp.max(jnp.where(active, jnp.diagonal(gram), 0))
    most = jnp.where(most > 0, most, 1)

    def solve(at: jax.Array, real: jax.Array, count: jax.Array) -> jax.Array:
        s = at.size
        system = jnp.where(real[:, None] & real, gram[at][:, at], 0)
        inverse = invert_last(system + jnp.diag(jnp.where(real, extra[at] + JITTER * most, 1)), count)
        # Nothing that is not real is anybody's unit.
        way = jnp.where(real[:, None], jnp.sqrt(jnp.maximum(-along[at], 0))[:, None] * unit[at], 0)
        first = dot(inverse, jnp.where(real[:, None], right[at], 0))
        core, z = inverse * dot(way, way.T), jnp.sum(way * first, axis=1)
        if not alone:
            # Groups are numbered so that the last one comes last.
            new = (label[at[1:]] != label[at[:-1]]) | ~real[:-1]
            group = s - 1 - jnp.cumsum(jnp.append(new, False)[::-1])[::-1]
            core, z = _merged(_merged(core, group).T, group), _merged(z, group)
        z = solve_last((1 + JITTER) * jnp.eye(s) - core, z, count)
        z = z if alone else z[group]
        return first + dot(inverse, way * z[:, None])

    return by_size(solve, active, SHARES)


def _merged(x: jax.Array, group: jax.Array) -> jax.Array:
    """Sum over the rows of each group, (s, …)."""
    return jax.ops.segment_sum(x, group, num_segments=group.size)
