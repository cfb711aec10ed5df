"""Losses with kinks, near the end: Newton's method of multipliers, one problem after another.

Source: Li, Sun & Toh (2018), "A highly efficient semismooth Newton augmented Lagrangian method for solving lasso
problems", SIAM J. Optimization 28.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jaxreg._programs import program
from jaxreg.linear.columns import Data
from jaxreg.linear.design import Design, Views
from jaxreg.linear.kinks.saddle import Run, State, View, ahead, better, judge, over_problems, views_of
from jaxreg.linear.kinks.semismooth import FASTER, INNER, OUTER, descend, ended, walk
from jaxreg.linear.outputs import apply, per_sample
from jaxreg.losses._base import Nonsmooth
from jaxreg.penalties import Penalty

MOST = 512
"""Most coefficients, or blocks of them that are fused, that it takes."""

GOLDEN = (5**0.5 - 1) / 2
"""Whose multiples, modulo 1, are all different."""


@program()
def polish(
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
    """Go on from every state by Newton's method of multipliers, and keep what is judged to be better.

    Of the same augmented Lagrangian, and with the coefficients held at zero that are, and fused where they are: the
    samples whose proximal step ends at a kink have curvature, the others none. From where these are the right ones, as
    they are once alternating directions have come near, it ends in a few steps, exactly so if the problem is a linear
    program.
    """
    width = min(*design.shape, MOST)

    def from_there(view: View, at: Penalty, state: State) -> State:
        return _newton(view, at, width, state)

    about = (design, views, loss, data, inverses, penalty, lams, factor, level, size, goal)
    return _go_on(from_there, *about, run)


@program()
def explore(
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
    """Do as `polish` does, from where semismooth steps of all coefficients end: they find what is fused and what not.

    Slower by far: every step solves a system of all p columns.
    """
    width = min(*design.shape, MOST)

    def from_elsewhere(view: View, at: Penalty, state: State) -> State:
        return _newton(view, at, width, walk(view, at, state))

    about = (design, views, loss, data, inverses, penalty, lams, factor, level, size, goal)
    return _go_on(from_elsewhere, *about, run)


def _go_on(
    move: Callable[[View, Penalty, State], State],
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
    """Move every state that does not measure `goal`, one problem after another, and keep what is better."""
    view_of = views_of(design, views, loss, data, inverses, factor, level)

    def one(k: Any, lam: Any, run: Run) -> Run:
        def go_on() -> Run:
            view = view_of(k)
            state = move(view, penalty.at(lam), run.state)
            judged = judge(view, penalty, lam, size[k], state)
            first = ahead(judged, run.best)
            state = jax.tree.map(lambda a, b: jnp.where(first, a, b), state, run.state)
            return Run(better(judged, run.best), state, run.steps)

        return jax.lax.cond(run.best.measure <= goal, lambda: run, go_on)

    return over_problems(_one_by_one, one, lams, run)


def _blocks(at: Penalty, s: jax.Array, step: jax.Array, width: int) -> tuple[jax.Array, jax.Array]:
    """Where proximal steps from s (p,) can move to, as far as first order tells: a basis (p, width), and the rest (p,).

    A generic direction is sent through the Jacobian of the prox. Entries that it does not reach are held, zeros among
    them; those that it moves alike, up to signs, are fused, and make one column. The `width` largest are taken.
    """
    p = s.shape[0]
    generic = 1 + jnp.mod(jnp.arange(1, p + 1) * GOLDEN, 1)
    c, move = jax.jvp(lambda s: at.prox(s, step), (s,), (generic,))
    size, speed = jnp.where(move != 0, jnp.abs(c), -1), jnp.abs(move)
    order = jnp.lexsort((speed, -size))
    size, speed = size[order], speed[order]
    new = (size[1:] != size[:-1]) | (speed[1:] != speed[:-1])
    label = jnp.zeros(p, int).at[order].set(jnp.append(0, jnp.cumsum(new)))
    basis = jnp.sign(move)[:, None] * (label[:, None] == jnp.arange(width))
    return basis, jnp.where(move == 0, c, 0)


def _newton(view: View, at: Penalty, width: int, state: State) -> State:
    """Newton's method of multipliers on the `width` largest pieces: coefficients, or blocks of them that are fused."""
    s = state.b + state.v
    basis, held = _blocks(at, s, 1 / state.rho, width)
    raw = basis * view.inverse[:, None]
    x = apply(view.design, raw) - view.mean @ raw
    x = jnp.concatenate([jnp.full((x.shape[0], 1), view.level), x], axis=1)
    largest = jnp.argmax(jnp.abs(basis), axis=0)
    sign = basis[largest, jnp.arange(width)]
    start = jnp.concatenate([state.intercept[None], sign * at.prox(s, 1 / state.rho)[largest]])
    # The intercept is there if its column is.
    active = jnp.concatenate([view.level[None] > 0, (raw != 0).any(axis=0)])
    weights, target = view.weights, view.data.target
    offset = view.data.offset + view.predict(jnp.zeros(()), held)

    def value(d: jax.Array) -> jax.Array:
        return at.value(held + basis @ d[1:])

    def inner(_: int, now: tuple[jax.Array, jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array, jax.Array]:
        d, u, rho = now
        t = offset + x @ d + u
        z, stays = jax.jvp(lambda t: view.loss.prox(t, target, 1 / rho), (t,), (jnp.ones_like(t),))
        gradient = rho * (x.T @ (weights * (t - z))) + jax.grad(value)(d)
        hessian = rho * (x.T @ ((weights * (1 - stays))[:, None] * x)) + jax.hessian(value)(d)

        def lagrangian(d: jax.Array) -> jax.Array:
            t = offset + x @ d + u
            z = view.loss.prox(t, target, 1 / rho)
            return per_sample(weights, 0.5 * rho * jnp.square(t - z) + view.loss.value(z, target)) + value(d)

        return descend(lagrangian, d, gradient, hessian, active), u, rho

    def outer(_: int, now: tuple[jax.Array, jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array, jax.Array]:
        d, u, rho = jax.lax.fori_loop(0, INNER, inner, now)
        t = offset + x @ d + u
        u = t - view.loss.prox(t, target, 1 / rho)
        return d, u / FASTER, rho * FASTER

    d, u, rho = jax.lax.fori_loop(0, OUTER, outer, (start, state.u, state.rho))
    return ended(view, state, d, u, rho, held + basis @ d[1:])


def _one_by_one(fn: Callable[..., Run]) -> Callable[..., Run]:
    return lambda *args: jax.lax.map(lambda one: fn(*one), args)
