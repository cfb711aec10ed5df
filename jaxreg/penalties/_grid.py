"""Total variation on grids: an iteration over rows and columns that certifies itself by a duality gap.

    min_x ½‖x − y‖² + Σ_e w_e |x_e′ − x_e|,  e over the neighbours in columns and in rows

By duality x = y − a − b, where a is what the rows' differences pull and b what the columns' do. Given b, the best a
comes from the exact solution of all rows as chains, and the other way round; the alternation is accelerated, and begins
anew where it overshoots. It converges in some tens of rounds where gradient steps on the dual take thousands.

Source: Chambolle & Pock (2015), "A remark on accelerated block coordinate descent for computing the proximity operators
of a sum of convex functions", SMAI J. Comput. Math. 1; O'Donoghue & Candès (2015), "Adaptive restart for accelerated
gradient schemes", Found. Comput. Math. 15.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxreg.penalties._chain import chain_prox
from jaxreg.penalties._leafwise import frozen

IDLE = 100
"""Rounds without a better gap after which rounding is what is left of it."""


@jax.jit
def grid_prox(
    y: jax.Array, down: jax.Array, across: jax.Array, tol: Any, max_steps: Any
) -> tuple[jax.Array, jax.Array]:
    """Solve the problem above; return x and its relative duality gap, (P(x) − D) / P(mean of y).

    Where neighbours are held equal they are made exactly equal, and every such region gets the mean that its border
    implies, if the gap proves that no worse. Derivatives are those of these means.

    Args:
        y: shape (m, n).
        down: weights of the differences within columns, (m − 1, n).
        across: weights of the differences within rows, (m, n − 1).
        tol: relative gap to stop at, or rounding if that is more.
        max_steps: rounds to stop at in any case.
    """
    fixed_y, fixed_down, fixed_across = frozen((y, down, across))
    centred = fixed_y - jnp.mean(fixed_y)
    scale, eps = 0.5 * jnp.sum(jnp.square(centred)), jnp.finfo(y.dtype).eps
    # No difference pulls more than all there is: larger weights would only magnify rounding.
    fixed_down, fixed_across = (jnp.minimum(w, jnp.sum(jnp.abs(centred))) for w in (fixed_down, fixed_across))
    limit = jnp.maximum(jnp.asarray(tol, y.dtype), (16 * eps) ** 2) * scale
    x, pulls, gap = _alternate(centred, fixed_down, fixed_across, limit, max_steps)

    def gap_at(x: jax.Array) -> jax.Array:
        off = jnp.square(x - (centred - pulls.rows - pulls.columns))
        lost = jnp.sum(_lost(x, pulls.down, fixed_down, 0)) + jnp.sum(_lost(x, pulls.across, fixed_across, 1))
        return lost + 0.5 * jnp.sum(off)

    def polish(noise: jax.Array) -> Any:
        label, signs = _regions(x, fixed_down, fixed_across, noise)
        return gap_at(_means(centred, fixed_down, fixed_across, label, signs)), label, signs

    # The objective is strongly convex: no entry is further from its solution than √(2 gap), and what rounding adds.
    # Mostly it is much closer, and regions closer to each other than that are told apart.
    least = _noise(centred)
    polished = jax.vmap(polish)(jnp.stack([least, least + 2 * jnp.sqrt(2 * jnp.maximum(gap, limit))]))
    polished_gap, label, signs = jax.tree.map(lambda part: part[jnp.argmin(polished[0])], polished)
    raw_gap = gap_at(x)
    better = polished_gap <= jnp.maximum(raw_gap, limit)

    derived = _means(y, down, across, label, signs)
    # Where the regions are not what they seem, the value is that of the iteration.
    value = jnp.where(better, frozen(derived), x + jnp.mean(fixed_y))
    gap = jnp.where(better, polished_gap, raw_gap) / jnp.where(scale > 0, scale, 1)
    return value + (derived - frozen(derived)), jnp.maximum(gap, 0)


def _down_columns(x: jax.Array, weights: jax.Array) -> jax.Array:
    return jax.vmap(chain_prox, in_axes=1, out_axes=1)(x, weights, weights)


def _along_rows(x: jax.Array, weights: jax.Array) -> jax.Array:
    return jax.vmap(chain_prox)(x, weights, weights)


class _Pulls(NamedTuple):
    """What differences pull: on places, in rows and in columns; and each by itself, down and across."""

    rows: jax.Array
    columns: jax.Array
    down: jax.Array
    across: jax.Array


def _noise(y: jax.Array) -> jax.Array:
    """Differences that are none but for rounding."""
    return 8 * jnp.finfo(y.dtype).eps * jnp.max(jnp.abs(y))


def _each(pull: jax.Array, x: jax.Array, weights: jax.Array, axis: int) -> jax.Array:
    """What each difference pulls, if together they pull `pull` and x is their proximal point.

    That is its weight where x jumps; elsewhere the sum of what is pulled up to there.
    """
    total = jax.lax.slice_in_dim(-jnp.cumsum(pull, axis=axis), 0, x.shape[axis] - 1, axis=axis)
    jump = jnp.sign(jnp.diff(x, axis=axis))
    return jnp.where(jump != 0, jump * weights, jnp.clip(total, -weights, weights))


def _lost(x: jax.Array, pulls: jax.Array, weights: jax.Array, axis: int) -> jax.Array:
    """w|d| − pull · d of each difference d of x, at least 0: free of the rounding of large sums that cancel."""
    d = jnp.diff(x, axis=axis)
    return (weights - pulls * jnp.sign(d)) * jnp.abs(d)


def _alternate(y: jax.Array, down: jax.Array, across: jax.Array, limit: jax.Array, max_steps: Any) -> Any:
    """Iterate to a gap of at most `limit`: x, what differences pull, and the gap but for what rounding adds to x."""

    def round_(state: Any) -> Any:
        count, b, ahead, momentum, *_, least, idle = state
        x = _along_rows(y - ahead, across)
        rows = y - ahead - x
        moved = ahead + x
        z = _down_columns(moved, down)
        b_next = moved - z
        # Both pulls are feasible, and x is best for those of rows: so is this the gap between x and them. Regions that
        # are equal but for rounding will be made equal, and do not count.
        each = _each(b_next, z, down, 0)
        lost = jnp.where(jnp.abs(jnp.diff(x, axis=0)) > _noise(y), _lost(x, each, down, 0), 0)
        gap = jnp.sum(lost) + 0.5 * jnp.sum(jnp.square(b_next - ahead))
        overshoots = jnp.sum((ahead - b_next) * (b_next - b)) > 0
        longer = jnp.where(overshoots, 1, 0.5 * (1 + jnp.sqrt(1 + 4 * jnp.square(momentum))))
        weight = jnp.where(overshoots, 0, (momentum - 1) / longer)
        further = gap < 0.9 * least
        idle = jnp.where(further, 0, idle + 1)
        going = (gap > limit) & (idle < IDLE)
        ahead = b_next + weight * (b_next - b)
        return count + 1, b_next, ahead, longer, x, rows, each, gap, going, jnp.minimum(gap, least), idle

    start = jnp.zeros_like(y)
    one = jnp.ones((), y.dtype)
    first = (0, start, start, one, start, start, down, one, True, jnp.inf * one, 0)
    state = round_(jax.tree.map(jnp.asarray, first))
    state = jax.lax.while_loop(lambda state: state[8] & (state[0] < max_steps), round_, state)
    _, b, _, _, x, rows, each, gap, *_ = state
    return x, _Pulls(rows, b, each, _each(rows, x, across, 1)), gap


def _regions(
    x: jax.Array, down: jax.Array, across: jax.Array, noise: jax.Array
) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    """Regions of neighbours that are equal up to `noise`; and the signs of the differences between them."""
    m, n = x.shape

    def sign(difference: jax.Array, weights: jax.Array) -> jax.Array:
        return jnp.where((jnp.abs(difference) > noise) | (weights == 0), jnp.sign(difference), 0)

    signs = sign(jnp.diff(x, axis=0), down), sign(jnp.diff(x, axis=1), across)
    bond_down, bond_across = (signs[0] == 0) & (down > 0), (signs[1] == 0) & (across > 0)

    def runs(bonds: jax.Array) -> jax.Array:
        """Number of the run that each place of a chain belongs to, for each row of bonds."""
        first = jnp.zeros((bonds.shape[0], 1), jnp.int32)
        return jnp.concatenate([first, jnp.cumsum(~bonds, axis=1, dtype=jnp.int32)], axis=1)

    def least(label: jax.Array, run: jax.Array) -> jax.Array:
        """Smallest label of each run."""
        count = run.shape[1]
        return jax.vmap(lambda label, run: jax.ops.segment_min(label, run, num_segments=count)[run])(label, run)

    run_down, run_across = runs(bond_down.T), runs(bond_across)

    def spread(state: Any) -> Any:
        label, _ = state
        ahead = least(least(label, run_across).T, run_down).T
        return ahead, jnp.any(ahead != label)

    label = jnp.arange(m * n, dtype=jnp.int32).reshape(m, n)
    label = jax.lax.while_loop(lambda state: state[1], spread, (label, jnp.asarray(True)))[0]
    return label, signs


def _means(y: jax.Array, down: jax.Array, across: jax.Array, label: jax.Array, signs: Any) -> jax.Array:
    """Mean over each region of y and of the pulls at its border."""
    fall, rise = down * signs[0], across * signs[1]
    moved = y + jnp.pad(fall, ((0, 1), (0, 0))) - jnp.pad(fall, ((1, 0), (0, 0)))
    moved = moved + jnp.pad(rise, ((0, 0), (0, 1))) - jnp.pad(rise, ((0, 0), (1, 0)))
    flat = label.ravel()
    total = jax.ops.segment_sum(moved.ravel(), flat, num_segments=flat.size)
    size = jax.ops.segment_sum(jnp.ones(flat.shape, y.dtype), flat, num_segments=flat.size)
    return (total / jnp.maximum(size, 1))[flat].reshape(y.shape)
