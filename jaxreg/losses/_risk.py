"""Risk sets of survival data, and sums over them: of rows into event times, and of event times over rows.

Event times are numbered in order, stratum after stratum, so that a row is at risk in a contiguous range of them.
Sums are of exponentials, given and returned as logarithms; only positive numbers are ever added and nothing is
subtracted, so that no range of predictions cancels, overflows or underflows. n rows take O(n log n).
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxreg import _tree

NOTHING = -1e30
"""Logarithm of zero: finite, so that derivatives are too."""


@_tree.register
@dataclasses.dataclass(frozen=True)
class RiskSets:
    """Who is at risk when, for n rows; made by `risk_sets`. There are n event times at most.

    Attributes:
        event: whether the row ends in an event, (n,).
        own: the event time of that event; 0 for a row without one, (n,).
        last: how many event times there are up to the last one that sees the row at risk, its own event not counted,
            (n,).
        order: rows with events, by event time; then the others, (n,).
        nodes: which nodes of a binary tree over event times make up those that see the row at risk, (2 · levels, n),
            one past the last node where fewer do; None if all rows are at risk from the first event time on.
    """

    event: Any
    own: Any
    last: Any
    order: Any
    nodes: Any


def risk_sets(time: Any, event: Any, start: Any = None, strata: Any = None) -> RiskSets:
    """Sort survival data once: a row is at risk at the event times t of its stratum with start < t ≤ time.

    Args:
        time: when each row was last seen, (n,).
        event: 1 if with an event, 0 if censored, (n,).
        start: since when it was watched, (n,); −∞ (always) unless given.
        strata: numbers that tell which rows are compared with each other, (n,); all of them unless given.

    Returns:
        What `Cox` takes as its target. NumPy arrays are sorted in their own precision.
    """
    given = [time, event] + [part for part in (start, strata) if part is not None]
    xp: Any = jnp if any(isinstance(part, jax.Array) for part in given) else np
    time, event = xp.asarray(time), xp.asarray(event) > 0.5
    stratum = xp.zeros(time.shape, int) if strata is None else xp.asarray(strata)
    since = xp.full(time.shape, -np.inf) if start is None else xp.asarray(start)

    # Ties: events, then those who leave without, then those who enter, who are not at risk yet.
    kind = xp.concatenate([xp.where(event, 0, 1), xp.full(time.shape, 2)])
    keys = kind, xp.concatenate([time, since]), xp.concatenate([stratum, stratum])
    order = xp.lexsort(keys)
    kind, at, group = (key[order] for key in keys)
    same = (at[1:] == at[:-1]) & (group[1:] == group[:-1])
    fresh = (kind == 0) & ~xp.concatenate([xp.zeros(1, bool), same])
    passed = xp.cumsum(fresh)[xp.argsort(order)].astype(np.int32)  # event times up to each entry
    upto, first = passed[: time.size], passed[time.size :]
    own = xp.where(event, upto - 1, 0)
    order = xp.argsort(xp.where(event, own, time.size)).astype(np.int32)
    last = upto - event
    nodes = None if start is None and strata is None else jnp.asarray(_cover(xp, first, last, time.size))
    return RiskSets(jnp.asarray(event), jnp.asarray(own), jnp.asarray(last), jnp.asarray(order), nodes)


def _levels(size: int) -> int:
    """How often a range of that size can be halved: leaves and root are levels 0 and `_levels`."""
    return (size - 1).bit_length()


def _cover(xp: Any, first: Any, last: Any, size: int) -> Any:
    """Nodes of the tree whose leaves are first … last − 1: two of a level at most, from the leaves up."""
    levels = _levels(size)
    offset, nowhere, found = 0, (2 << levels) - 1, []
    for level in range(levels + 1):
        left = (first < last) & (first % 2 == 1)
        found.append(xp.where(left, offset + first, nowhere))
        first = first + left
        right = (first < last) & (last % 2 == 1)
        found.append(xp.where(right, offset + last - 1, nowhere))
        last = last - right
        first, last, offset = first // 2, last // 2, offset + (1 << (levels - level))
    return xp.stack(found).astype(np.int32)


def gather(logs: jax.Array, index: jax.Array, size: int) -> jax.Array:
    """Sum of the exponentials of all entries with an index, for every index below `size`; others are left out."""
    highest = jax.lax.stop_gradient(jnp.full(size, NOTHING, logs.dtype).at[index].max(logs, mode="drop"))
    shifted = jnp.where(index < size, logs - highest[jnp.minimum(index, size - 1)], NOTHING)
    sums = jnp.zeros(size, logs.dtype).at[index].add(jnp.exp(shifted), mode="drop")
    return jnp.where(sums > 0, highest + jnp.log(jnp.where(sums > 0, sums, 1)), NOTHING)


def running(logs: jax.Array) -> jax.Array:
    """Running sums of the exponentials, (n,) → (n,).

    In √n rows side by side, and then over their ends: two loops are sooner compiled than a tree of log n levels.
    """
    n = logs.size
    width = max(int(np.ceil(np.sqrt(n))), 1)
    rows = jnp.full(width * width, NOTHING, logs.dtype).at[:n].set(logs).reshape(width, width)

    def add(total: jax.Array, part: jax.Array) -> tuple[jax.Array, jax.Array]:
        return jnp.logaddexp(total, part), total

    ends, before = jax.lax.scan(add, jnp.full(width, NOTHING, logs.dtype), rows.T)
    along = jnp.logaddexp(before, rows.T)
    ahead = jax.lax.scan(add, jnp.asarray(NOTHING, logs.dtype), ends)[1]
    return jnp.logaddexp(along, ahead).T.reshape(-1)[:n]


def into_times(logs: jax.Array, sets: RiskSets) -> jax.Array:
    """For every event time, the sum over the rows at risk in it, their own events not counted: (n,) → (n,)."""
    size = logs.size
    if sets.nodes is None:
        leaving = gather(logs, jnp.where(sets.last > 0, sets.last - 1, size), size)
        return running(leaving[::-1])[::-1]
    levels = _levels(size)
    sums = gather(jnp.broadcast_to(logs, sets.nodes.shape), sets.nodes, (2 << levels) - 1)
    level = np.arange(levels + 1)[:, None]
    above = (2 << levels) - (2 << (levels - level)) + (np.arange(size) >> level)
    return jax.nn.logsumexp(sums[above], axis=0)


def over_rows(logs: jax.Array, sets: RiskSets) -> jax.Array:
    """For every row, the sum over the event times in which it is at risk, its own not counted: (n,) → (n,)."""
    if sets.nodes is None:
        sums = running(logs)[jnp.maximum(sets.last - 1, 0)]
        return jnp.where(sets.last > 0, sums, NOTHING)
    nodes = [jnp.full(1 << _levels(logs.size), NOTHING, logs.dtype).at[: logs.size].set(logs)]
    while nodes[-1].size > 1:
        nodes.append(jnp.logaddexp(nodes[-1][::2], nodes[-1][1::2]))
    found = jnp.concatenate(nodes).at[sets.nodes].get(mode="fill", fill_value=NOTHING)
    return jax.nn.logsumexp(found, axis=0)
