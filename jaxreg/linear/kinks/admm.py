"""Losses with kinks: any penalty, by the alternating direction method of multipliers (ADMM), certified.

What samples and penalty want is split from what the linear model can do:

    minimize Σ wᵢ ℓ(zᵢ, yᵢ) + g(c)  subject to  z = o + b₀ + X̃ b,  c = b,

by proximal steps of ℓ and g, and a ridge regression between them whose matrix X̃ᵀWX̃ + I is the same for every strength
and every step, and is inverted once for a training set. Its multipliers are derivatives of the loss that are orthogonal
to the intercept: a dual point, from which the gap is certified. No kink is smoothed.

Source: Boyd, Parikh, Chu, Peleato & Eckstein (2011), "Distributed optimization and statistical learning via the
alternating direction method of multipliers", Foundations and Trends in Machine Learning 3, sections 3.4 and 5.
"""

from typing import Any

import jax
import jax.numpy as jnp

from jaxreg._programs import program
from jaxreg.linear import definite
from jaxreg.linear.columns import Data
from jaxreg.linear.design import Design, Views
from jaxreg.linear.kinks.saddle import Run, State, View, better, judge, over_problems, views_of
from jaxreg.linear.outputs import inverse_scale, per_sample
from jaxreg.losses._base import Nonsmooth
from jaxreg.penalties import Penalty

ROUND = 50
"""Steps between looks at the gap."""
LOOKS = 10
"""Looks of a turn, at most."""
EARLY = 1000
"""Steps within which every look may change the length of proximal steps."""
RELAX = 1.6
"""How far each half step goes beyond its own."""


@program()
def ridges(design: Design, views: Views) -> jax.Array:
    """Inverses (F, p, p) of X̃ᵀWX̃ + I, or (F, n, n) of I + √W X̃X̃ᵀ √W if there are fewer rows than columns."""
    n, p = design.shape

    def tall(one: tuple[jax.Array, ...]) -> jax.Array:
        mean, inverse, w = one
        x = (design.gather(None, mean)) * inverse
        return definite.solve(x.T @ (w[:, None] * x) + jnp.eye(p), jnp.eye(p))

    def wide(one: tuple[jax.Array, ...]) -> jax.Array:
        mean, inverse, w = one
        root = jnp.sqrt(w)
        kernel = design.kernel(mean, jnp.square(inverse))
        return definite.solve(root[:, None] * kernel * root + jnp.eye(n), jnp.eye(n))

    return jax.lax.map(tall if p <= n else wide, (views.mean, inverse_scale(views), views.weights))


def _ridge(view: View, right: jax.Array) -> jax.Array:
    """(X̃ᵀWX̃ + I)⁻¹ times a vector (p,)."""
    n, p = view.design.shape
    if p <= n:
        return view.ridge @ right
    root = jnp.sqrt(view.weights)
    inner = view.ridge @ (root * view.predict(jnp.zeros(()), right))
    return right - view.correlate(jnp.where(root > 0, inner / jnp.where(root > 0, root, 1), 0))


def _step(view: View, penalty: Penalty, state: State) -> State:
    """One step of all: proximal steps of loss and penalty, the ridge regression, and the multipliers."""
    z = view.loss.prox(state.eta + state.u, view.data.target, 1 / state.rho)
    c = penalty.prox(state.b + state.v, 1 / state.rho)
    # Over-relaxed towards where the model was not.
    z, c = RELAX * z + (1 - RELAX) * state.eta, RELAX * c + (1 - RELAX) * state.b
    left = z - view.data.offset - state.u
    intercept = view.level * jnp.sum(view.weights * left)
    b = _ridge(view, view.correlate(left) + c - state.v)
    eta = view.data.offset + view.predict(intercept, b)
    return state._replace(z=z, c=c, u=state.u + eta - z, v=state.v + b - c, intercept=intercept, b=b, eta=eta)


def _balanced(view: View, before: State, state: State) -> State:
    """Make proximal steps shorter or longer, where what is split disagrees more or less than it still moves."""

    def size(rows: jax.Array, coef: jax.Array) -> jax.Array:
        return per_sample(view.weights, jnp.square(rows)) + jnp.sum(jnp.square(coef))

    spread = state.eta - view.data.offset - state.intercept
    apart = size(state.eta - state.z, state.b - state.c) * size(state.u, state.v)
    moved = size(state.eta - before.eta, state.b - before.b) * size(spread, state.b)
    factor = jnp.where(apart > 25 * moved, 2.0, jnp.where(moved > 25 * apart, 0.5, 1.0))
    return state._replace(rho=state.rho * factor, u=state.u / factor, v=state.v / factor)


@program()
def alternate(
    design: Design,
    views: Views,
    loss: Nonsmooth,
    data: Data,
    inverses: jax.Array,
    penalty: Penalty,
    lams: jax.Array,
    factor: jax.Array,
    level: jax.Array,
    size: jax.Array,
    goal: jax.Array,
    run: Run,
) -> Run:
    """Take `ROUND`s of steps, `LOOKS` of them at most, for strengths (C,) in every training set: leaves (C, F, …)."""
    view_of = views_of(design, views, loss, data, inverses, factor, level)

    def one(k: Any, lam: Any, run: Run) -> Run:
        view, at = view_of(k), penalty.at(lam)

        def body(now: tuple[Run, jax.Array]) -> tuple[Run, jax.Array]:
            run, looks = now
            before = jax.lax.fori_loop(0, ROUND - 1, lambda _, s: _step(view, at, s), run.state)
            state = _step(view, at, before)
            best = better(judge(view, penalty, lam, size[k], state), run.best)
            # Ever more seldom: proximal steps that keep changing their length need not converge.
            steps = run.steps + ROUND
            due = (steps < EARLY) | (jax.lax.population_count(steps // ROUND) == 1)
            balanced = _balanced(view, before, state)
            due = due & (balanced.rho * at.max_step >= 2)
            state = jax.tree.map(lambda a, b: jnp.where(due, a, b), balanced, state)
            return Run(best, state, steps), looks + 1

        def unfinished(now: tuple[Run, jax.Array]) -> jax.Array:
            return ~(now[0].best.measure <= goal) & (now[1] < LOOKS)

        return jax.lax.while_loop(unfinished, body, (run, jnp.asarray(0)))[0]

    return over_problems(jax.vmap, one, lams, run)
