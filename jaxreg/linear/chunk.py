"""A chunk of the path for all training sets and l1 ratios at once: λ after λ, each warm-started by the last.

Problems are indexed by training set f and ratio r; arrays over problems are (F, R, …). Squared error needs one
Gram per training set for all λ. Any other loss is solved by proximal Newton steps: a weighted Gram, the inner
solver on the quadratic model, and a line search on the true objective.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxreg.linear import inner
from jaxreg.linear.columns import Columns, Data
from jaxreg.losses import Loss


class Chunk(NamedTuple):
    """Coefficients (L, F, R, d), and per problem the violation left and the inner steps taken (L, F, R)."""

    b: jax.Array
    violation: jax.Array
    steps: jax.Array


class Strengths(NamedTuple):
    """Kink (absolute value) and ridge strengths (R, L), and penalty factors of the working set (w,)."""

    l1: jax.Array
    l2: jax.Array
    factor: jax.Array

    def entries(self, strength: jax.Array) -> jax.Array:
        """Strength of every entry (…, d); the intercept is never penalized."""
        scaled = strength[..., None] * self.factor
        return jnp.concatenate([jnp.zeros((*strength.shape, 1)), scaled], axis=-1)


@functools.partial(jax.jit, static_argnames=("capacity",))
def squared_chunk(
    columns: Columns, data: Data, strengths: Strengths, start: jax.Array, tol: jax.Array, capacity: int
) -> Chunk:
    """Solve a chunk for squared error. `start` is (F, R, d), `tol` (F,)."""
    sets = jnp.arange(data.weights.shape[0])
    gram = columns.gram(sets, data.weights)
    target = data.target - data.offset
    mean = data.weights @ target
    linear = columns.correlate(sets, data.weights * (target - mean[:, None]))
    # Around the mean, so that a large level of y does not cancel; without an intercept the level stays in.
    linear = linear + mean[:, None] * gram[:, 0, :]

    solve = functools.partial(inner.solve_quadratic, capacity=capacity)
    over_ratios = jax.vmap(solve, in_axes=(None, None, 0, 0, None, 0, None))
    over_sets = jax.vmap(over_ratios, in_axes=(0, 0, None, None, 0, 0, 0))

    def step(b: jax.Array, strength: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, Chunk]:
        kink, ridge = (strengths.entries(s) for s in strength)
        found = over_sets(gram, linear, kink, ridge, columns.free, b, tol)
        return found.b, Chunk(found.b, found.violation, found.steps)

    return jax.lax.scan(step, start, (strengths.l1.T, strengths.l2.T))[1]


class _Newton(NamedTuple):
    b: jax.Array
    violation: jax.Array
    steps: jax.Array
    rounds: jax.Array
    stalled: jax.Array


@functools.partial(jax.jit, static_argnames=("capacity", "max_rounds"))
def newton_chunk(
    loss: Loss,
    columns: Columns,
    data: Data,
    strengths: Strengths,
    start: jax.Array,
    tol: jax.Array,
    capacity: int,
    max_rounds: int = 50,
) -> Chunk:
    """Solve a chunk for any smooth convex loss by proximal Newton. Arguments as for `squared_chunk`.

    Source: Lee, Sun & Saunders (2014), "Proximal Newton-type methods for minimizing composite functions",
    SIAM J. Optimization 24.
    """
    many_sets, many_ratios, d = start.shape
    f = jnp.repeat(jnp.arange(many_sets), many_ratios)
    weights, free, tol = data.weights[f], columns.free[f], tol[f]
    solve = jax.vmap(functools.partial(inner.solve_quadratic, capacity=capacity))
    violations = jax.vmap(inner.violation)

    def step(b: jax.Array, strength: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, Chunk]:
        kink, ridge = (jnp.tile(strengths.entries(s), (many_sets, 1)) for s in strength)

        def value(b: jax.Array, eta: jax.Array) -> jax.Array:
            fit = jnp.sum(weights * loss.value(eta, data.target), axis=1)
            return fit + jnp.sum(kink * jnp.abs(b) + 0.5 * ridge * b**2, axis=1)

        def gradient(b: jax.Array, eta: jax.Array) -> jax.Array:
            return columns.correlate(f, weights * loss.derivative(eta, data.target)) + ridge * b

        def body(state: _Newton) -> _Newton:
            b = state.b
            eta = columns.predict(f, b) + data.offset
            # A saturated sample has no curvature left; a floor keeps the model bounded, the line search honest.
            hessian = weights * jnp.maximum(loss.second_derivative(eta, data.target), 1e-9)
            gram = columns.gram(f, hessian)
            g = gradient(b, eta)
            linear = jnp.einsum("bij,bj->bi", gram, b) - (g - ridge * b)
            model = solve(gram, linear, kink, ridge, free, b, jnp.minimum(0.1 * tol, 0.01 * state.violation))
            move = model.b - b
            eta_move = columns.predict(f, move)
            predicted = jnp.sum(g * move + kink * (jnp.abs(model.b) - jnp.abs(b)), axis=1)
            now = value(b, eta)

            def enough(t: jax.Array) -> jax.Array:
                trial = value(b + t[:, None] * move, eta + t[:, None] * eta_move)
                slack = 1e-14 * jnp.abs(now)
                return jnp.isfinite(trial) & (trial <= now + 1e-4 * t * predicted + slack)

            def halve(search: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
                t = jnp.where(search[1], search[0], 0.5 * search[0])
                return t, enough(t) | (t < 1e-8)

            t = jnp.ones_like(now)
            t, _ = jax.lax.while_loop(lambda s: ~jnp.all(s[1]), halve, (t, enough(t)))
            # A full step ends on the model's exact zeros; b + 1·(b' − b) would not.
            after = jnp.where((t == 1)[:, None], model.b, b + t[:, None] * move)
            running = (state.violation > tol) & ~state.stalled
            after = jnp.where(running[:, None], after, b)
            eta = columns.predict(f, after) + data.offset
            left = violations(after, gradient(after, eta), kink, free)
            stalled = state.stalled | (running & (t < 1e-8))
            return _Newton(after, left, state.steps + jnp.where(running, model.steps, 0), state.rounds + 1, stalled)

        eta = columns.predict(f, b) + data.offset
        zero = jnp.zeros(f.shape, jnp.int64)
        state = _Newton(b, violations(b, gradient(b, eta), kink, free), zero, jnp.asarray(0), jnp.zeros(f.shape, bool))
        state = jax.lax.while_loop(
            lambda s: jnp.any((s.violation > tol) & ~s.stalled) & (s.rounds < max_rounds), body, state
        )
        return state.b, Chunk(state.b, state.violation, state.steps)

    b = jnp.where(free, start.reshape(-1, d), 0)
    found = jax.lax.scan(step, b, (strengths.l1.T, strengths.l2.T))[1]
    return Chunk(*(part.reshape(-1, many_sets, many_ratios, *part.shape[2:]) for part in found))
