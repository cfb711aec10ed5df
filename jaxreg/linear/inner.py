"""The inner solver: a block active-set method for quadratic problems with kinks, exact at its end."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxreg.linear import definite


class Inner(NamedTuple):
    """Solution, largest violation of the optimality condition, steps taken."""

    b: jax.Array
    violation: jax.Array
    steps: jax.Array


class _State(NamedTuple):
    b: jax.Array
    g: jax.Array
    choosy: jax.Array
    steps: jax.Array
    violation: jax.Array
    done: jax.Array


def violation(b: jax.Array, g: jax.Array, kink: jax.Array, free: jax.Array) -> jax.Array:
    """Largest absolute residual of 0 ∈ g + kink·∂|b| over the free entries."""
    at_zero = jnp.maximum(jnp.abs(g) - kink, 0)
    return jnp.max(jnp.where(free, jnp.where(b == 0, at_zero, jnp.abs(g + kink * jnp.sign(b))), 0))


def solve_quadratic(
    gram: jax.Array,
    linear: jax.Array,
    kink: jax.Array,
    ridge: jax.Array,
    free: jax.Array,
    start: jax.Array,
    tol: jax.Array,
    capacity: int,
    max_steps: int = 500,
) -> Inner:
    """Minimize ½bᵀ(G + diag(ridge))b − linearᵀb + Σ kink|b| over the free entries, from a warm start.

    Each step adds the entries that violate the optimality condition most, with the sign that descends; solves
    the equations of the active entries with signs held fixed; drops entering entries that the solution would
    move the wrong way; and walks to the exact minimum along that direction of the true, kinked objective. An
    entry that this stops at zero leaves. The objective falls at every step, and when no entry changes sign
    the end point is exact. How choosy it is about who may enter adapts to how far the walks get.

    Args:
        gram: G, (d, d), positive semidefinite.
        linear: (d,).
        kink: (d,), 0 for an entry without an absolute value.
        ridge: (d,).
        free: (d,), False for entries held at zero (padding, constant columns).
        start: (d,).
        tol: absolute bound on the violation.
        capacity: most entries that may be active at once; static, it sets the size of the linear systems.
        max_steps: budget.

    Source: Lee, Battle, Raina & Ng (2007), "Efficient sparse coding algorithms", NeurIPS 19, for one entry at a
    time and a search over sign changes; many entries at a time, and the exact walk, are ours.
    """
    diagonal = jnp.diagonal(gram) + ridge
    # Keeps nearly dependent columns solvable. The walk and the repeats remove the error that it makes.
    jitter = 1e-10 * jnp.max(jnp.where(free, diagonal, 0)) + jnp.finfo(gram.dtype).tiny

    def gradient(b: jax.Array) -> jax.Array:
        return gram @ b + ridge * b - linear

    def body(state: _State) -> _State:
        b, g = state.b, state.g
        active = free & ((b != 0) | (kink == 0))
        excess = jnp.where(free & ~active, jnp.abs(g) - kink, -jnp.inf)
        entering = (excess > tol) & (excess >= state.choosy * jnp.max(excess))
        sign = jnp.where(b != 0, jnp.sign(b), -jnp.sign(g))
        members, real = _compact(active, entering, capacity)
        system = gram[members][:, members] + jnp.diag(ridge[members] + jitter)
        target = -(g + kink * sign)[members]
        is_entering = entering[members]

        def aim(attempt: tuple) -> tuple:
            chosen, _, _, tries = attempt
            pair = chosen[:, None] & chosen[None, :]
            move = definite.solve(jnp.where(pair, system, jnp.eye(capacity)), jnp.where(chosen, target, 0))
            wrong = chosen & is_entering & (move * sign[members] <= 0)
            return chosen & ~wrong, move, jnp.any(wrong), tries + 1

        attempt = (real, jnp.zeros_like(target), jnp.asarray(True), jnp.asarray(0))
        chosen, move, wrong, _ = jax.lax.while_loop(lambda a: a[2] & (a[3] < 6), aim, attempt)
        direction = jnp.zeros_like(b).at[members].add(jnp.where(chosen, move, 0))

        # Steepest single entry: the way out when the block direction does not descend.
        single = jnp.argmax(jnp.where(free, jnp.where(b == 0, jnp.abs(g) - kink, jnp.abs(g + kink * sign)), -1))
        center = b[single] - g[single] / diagonal[single]
        shrunk = jnp.sign(center) * jnp.maximum(jnp.abs(center) - kink[single] / diagonal[single], 0)
        alone = jnp.zeros_like(b).at[single].set(shrunk - b[single])
        bad = wrong | ~jnp.all(jnp.isfinite(direction)) | (_slope(b, g, kink, direction) >= 0)
        direction = jnp.where(bad, alone, direction)

        b, reach = _walk(b, g, kink, direction, gram @ direction + ridge * direction)
        g = gradient(b)
        # Of the violators, only those near the worst may enter after a short walk; all of them after long ones.
        choosy = jnp.where(bad | (reach < 0.1), 1 - jnp.maximum((1 - state.choosy) / 4, 1e-3), state.choosy)
        choosy = jnp.where(~bad & (reach > 0.5), jnp.maximum(1 - 2 * (1 - state.choosy), 0), choosy)
        return judge(b, g, choosy, state.steps + 1)

    def judge(b: jax.Array, g: jax.Array, choosy: jax.Array, steps: jax.Array) -> _State:
        left = violation(b, g, kink, free)
        # Below this the residual is rounding of its own terms.
        rounding = 4 * jnp.finfo(b.dtype).eps * (jnp.max(diagonal) * jnp.sum(jnp.abs(b)) + jnp.max(jnp.abs(linear)))
        active = free & ((b != 0) | (kink == 0))
        full = (jnp.sum(active) >= capacity) & (violation(b, g, kink, active) <= jnp.maximum(tol, rounding))
        return _State(b, g, choosy, steps, left, (left <= jnp.maximum(tol, rounding)) | full)

    b = jnp.where(free, start, 0)
    state = judge(b, gradient(b), jnp.zeros(()), jnp.asarray(0))
    end = jax.lax.while_loop(lambda s: ~s.done & (s.steps < max_steps), body, state)
    return Inner(end.b, end.violation, end.steps)


def _compact(active: jax.Array, entering: jax.Array, capacity: int) -> tuple[jax.Array, jax.Array]:
    """Indices (capacity,) of the active entries, then of entering ones while there is room; and which are real."""
    if capacity == active.size:
        return jnp.arange(capacity), active | entering
    count = jnp.sum(active)
    place = jnp.where(active, jnp.cumsum(active) - 1, count + jnp.cumsum(entering) - 1)
    place = jnp.where(active | entering, place, capacity)
    members = jnp.zeros(capacity, int).at[place].set(jnp.arange(active.size), mode="drop")
    return members, jnp.arange(capacity) < count + jnp.sum(entering)


def _slope(b: jax.Array, g: jax.Array, kink: jax.Array, direction: jax.Array) -> jax.Array:
    """Directional derivative of the kinked objective at b."""
    sign = jnp.where(b != 0, jnp.sign(b), jnp.sign(direction))
    return jnp.sum(direction * (g + kink * sign))


def _walk(
    b: jax.Array, g: jax.Array, kink: jax.Array, direction: jax.Array, bend: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Exact minimum of the kinked quadratic along a descent direction, by sorting its sign changes.

    Between sign changes the slope grows linearly, at each it jumps up by 2·kink|direction|: the minimum is
    where it first reaches zero. Returns the point, where an entry that stopped the walk is exactly zero, and
    the step length.
    """
    crosses = (b * direction < 0) & (kink > 0)
    when = jnp.where(crosses, -b / jnp.where(crosses, direction, 1), jnp.inf)
    order = jnp.argsort(when)
    times = when[order]
    jumps = jnp.cumsum(jnp.where(crosses, 2 * kink * jnp.abs(direction), 0)[order])
    before = jumps - jnp.where(crosses, 2 * kink * jnp.abs(direction), 0)[order]
    slope = _slope(b, g, kink, direction)
    curvature = jnp.maximum(jnp.sum(direction * bend), jnp.finfo(b.dtype).tiny)

    ends = slope + curvature * times + jumps >= 0
    first = jnp.argmax(ends)
    smooth = -(slope + jnp.where(jnp.any(ends), before[first], jumps[-1])) / curvature
    stopped = jnp.any(ends) & (smooth > times[first])
    step = jnp.where(stopped, times[first], smooth)
    hit = stopped & crosses & (when <= step * (1 + 1e-12)) & (when >= step * (1 - 1e-12))
    return jnp.where(hit, 0, b + step * direction), step
