"""Exact projections on chains: total variation in one dimension, and order constraints.

    min_x ½ Σ (x_i − y_i)² + Σ_i up_i (x_{i+1} − x_i)₊ + down_i (x_i − x_{i+1})₊

With up = down this is total variation with a weight for each step; with up = 0 and down = ∞ it is isotonic regression.
The solution is found by division: a segment's mean is its solution, unless the segment falls into parts that want to
lie above and below the mean; what is best there is a two-valued problem on the chain, solved for all segments at once
by a scan of clipped sums. Then every part is a segment. All parts of one round are worked on together, so that the
number of rounds, and not of entries, is what is sequential: 5 to 20 rounds for 1000 to 10 000 entries. Dynamic
programming walks from entry to entry. Pooling adjacent violators, all at once, takes fewer rounds of isotonic
regression on data that are nearly in order, but at worst as many as there are entries (one low entry at the end: 1.8 s
beside 0.07 s here for 32 chains of 2000 entries, on a CPU), and in a batch the worst chain decides.

Sources: Groenevelt (1991), "Two algorithms for maximizing a separable concave function over a polymatroid feasible
region", EJOR 54; Bach (2013), "Learning with submodular functions", section 9.1; Johnson (2013), "A dynamic
programming algorithm for the fused lasso and L0-segmentation", JCGS 22, for the clipped sums.
"""

from typing import Any

import jax
import jax.numpy as jnp

from jaxreg.penalties._leafwise import frozen


def chain_prox(y: jax.Array, up: jax.Array, down: jax.Array) -> jax.Array:
    """Solve the problem above; entries of one segment are exactly equal. Derivatives are those of the segments' means.

    Args:
        y: shape (n,).
        up: cost of a rise at each of the n − 1 steps, at least 0, possibly infinite.
        down: cost of a fall.
    """
    if y.shape[0] < 2:
        return y
    jumps = _jumps(*frozen((y, up, down)))
    return _means(y, up, down, jumps)[1]


def _means(y: jax.Array, up: jax.Array, down: jax.Array, jumps: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Entries moved by what the jumps (+1 rise, −1 fall, 0 none) at their sides cost; segments' means; labels."""
    force = jnp.where(jumps > 0, up, jnp.where(jumps < 0, -down, 0))
    moved = y + jnp.append(force, 0) - jnp.append(jnp.zeros(1, y.dtype), force)
    label = jnp.append(0, jnp.cumsum(jumps != 0))
    return moved, _over_segments(jax.ops.segment_sum, moved, label) / _length(label, y.dtype), label


def _over_segments(reduce: Any, x: jax.Array, label: jax.Array) -> jax.Array:
    return reduce(x, label, num_segments=x.shape[0], indices_are_sorted=True)[label]


def _length(label: jax.Array, dtype: Any) -> jax.Array:
    return _over_segments(jax.ops.segment_sum, jnp.ones(label.shape, dtype), label)


def _jumps(y: jax.Array, up: jax.Array, down: jax.Array) -> jax.Array:
    """Find the steps at which the solution jumps, (n − 1,): +1 rise, −1 fall, 0 none."""
    place, eps = jnp.arange(y.shape[0]), jnp.finfo(y.dtype).eps

    def then(first: Any, second: Any) -> Any:
        """Two maps δ ↦ clip(δ + a, low, high), one after the other."""
        a, low, high = first
        b, least, most = second
        return a + b, jnp.clip(low + b, least, most), jnp.clip(high + b, least, most)

    def divide(state: Any) -> Any:
        jumps, _ = state
        moved, mean, label = _means(y, up, down, jumps)
        slope = mean - moved
        low, high = jnp.where(jumps == 0, -down, 0), jnp.where(jumps == 0, up, 0)
        first = jnp.zeros(1, y.dtype)
        maps = slope, jnp.append(first, low) + slope, jnp.append(first, high) + slope
        total, least, most = jax.lax.associative_scan(then, maps)
        # What it costs, along the chain up to here, to lie above the mean rather than below.
        delta = jnp.clip(total, least, most)
        noise = 8 * eps * _over_segments(jax.ops.segment_max, jnp.abs(moved), label)
        above, below = delta < jnp.append(low, 0) - noise, delta > jnp.append(high, 0) + noise
        side = jnp.where(above, 1, jnp.where(below, -1, 0))
        # An entry that is free to choose does as the next one does that is not.
        decided = (side != 0) | jnp.append(jumps != 0, True)
        side = side[jax.lax.cummin(jnp.where(decided, place, y.shape[0]), reverse=True)]
        new = jnp.where((jumps == 0) & (side[1:] * side[:-1] < 0), side[1:], 0)
        return jumps + new, jnp.any(new != 0)

    # Neighbours without a bond; the sign tells which way they would pull each other if they had one.
    apart = jnp.where(up + down == 0, jnp.where(y[1:] < y[:-1], -1, 1), 0)
    return jax.lax.while_loop(lambda state: state[1], divide, (apart, jnp.asarray(True)))[0]
