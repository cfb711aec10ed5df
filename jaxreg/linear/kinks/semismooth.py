"""Losses with kinks, where pieces of the solution are not known yet: semismooth Newton steps of samples and penalty.

The augmented Lagrangian of the problem that is split, minimized over z and c, is a smooth function of intercept and
slopes b: Moreau envelopes of the loss at o + b₀ + X̃b + u, and of the penalty at b + v. Its derivative has kinks where
samples reach or leave those of the loss, and where coefficients reach or leave zero, or fuse and part; Newton's method
with one of the generalized derivatives walks over them, since a line search keeps it going down.

Source: Li, Sun & Toh (2018), "On efficiently solving the subproblems of a level-set method for fused lasso problems",
SIAM J. Optimization 28, for such derivatives of the fused lasso; here in the space of coefficients, not of samples.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from jaxreg.linear import definite
from jaxreg.linear.kinks.saddle import State, View
from jaxreg.linear.outputs import per_sample
from jaxreg.penalties import Penalty

OUTER, INNER, FASTER = 8, 6, 5.0
"""Updates of multipliers, steps of Newton for each, and how much stiffer each makes the next."""

LENGTHS, DAMPINGS = 0.5 ** np.arange(10.0), (1e-10, 1e-6, 1e-3)
"""Lengths of steps that are tried, and shares of the curvature that are added to it."""


def descend(
    lagrangian: Callable[[jax.Array], jax.Array], d: jax.Array, gradient: jax.Array, hessian: jax.Array, free: jax.Array
) -> jax.Array:
    """Newton's step from d (k,) in the entries that are free, of the damping and length that are best.

    Few samples at kinks leave the curvature singular: steps of several dampings and many lengths are compared.
    """
    gradient, hessian = jnp.where(free, gradient, 0), jnp.where(free[:, None] & free, hessian, 0)
    top = jnp.max(jnp.diagonal(hessian))
    scale = jnp.where(top > 0, top, 1)

    def towards(damping: jax.Array) -> jax.Array:
        return definite.solve(hessian + jnp.diag(jnp.where(free, damping * scale, scale)), -gradient)

    moves = jax.vmap(towards)(jnp.asarray(DAMPINGS))
    ends = (d + jnp.asarray(LENGTHS)[:, None, None] * moves).reshape(-1, d.size)
    ends = jnp.concatenate([d[None], ends])
    values = jax.vmap(lagrangian)(ends)
    return ends[jnp.argmin(jnp.where(jnp.isnan(values), jnp.inf, values))]


def walk(view: View, at: Penalty, state: State) -> State:
    """Newton's method of multipliers on all coefficients, with those of the penalty."""
    n, p = view.design.shape
    x = view.design.gather(None, view.mean) * view.inverse
    x = jnp.concatenate([jnp.full((n, 1), view.level), x], axis=1)
    weights, target, offset = view.weights, view.data.target, view.data.offset
    free = jnp.append(view.level > 0, jnp.ones(p, bool))

    def inner(_: int, now: tuple[jax.Array, ...]) -> tuple[jax.Array, ...]:
        d, u, v, rho = now

        def near(s: jax.Array) -> jax.Array:
            return at.prox(s, 1 / rho)

        def lagrangian(d: jax.Array) -> jax.Array:
            t, s = offset + x @ d + u, d[1:] + v
            z, c = view.loss.prox(t, target, 1 / rho), near(s)
            loss = per_sample(weights, 0.5 * rho * jnp.square(t - z) + view.loss.value(z, target))
            return loss + 0.5 * rho * jnp.sum(jnp.square(s - c)) + at.value(c)

        t, s = offset + x @ d + u, d[1:] + v
        z, stays = jax.jvp(lambda t: view.loss.prox(t, target, 1 / rho), (t,), (jnp.ones_like(t),))
        gradient = (x.T @ (weights * (t - z))).at[1:].add(s - near(s))
        hessian = x.T @ ((weights * (1 - stays))[:, None] * x)
        hessian = hessian.at[1:, 1:].add(jnp.eye(p) - jax.jacfwd(near)(s))
        return descend(lagrangian, d, gradient, hessian, free), u, v, rho

    def outer(_: int, now: tuple[jax.Array, ...]) -> tuple[jax.Array, ...]:
        d, u, v, rho = jax.lax.fori_loop(0, INNER, inner, now)
        t, s = offset + x @ d + u, d[1:] + v
        u, v = t - view.loss.prox(t, target, 1 / rho), s - at.prox(s, 1 / rho)
        return d, u / FASTER, v / FASTER, rho * FASTER

    start = jnp.append(state.intercept, state.b), state.u, state.v, state.rho
    d, u, _, rho = jax.lax.fori_loop(0, OUTER, outer, start)
    return ended(view, state, d, u, rho, d[1:])


def ended(view: View, before: State, d: jax.Array, u: jax.Array, rho: jax.Array, b: jax.Array) -> State:
    """State of intercept d[0], slopes b and multipliers u, scaled to the strength that there was before.

    What was stiff for Newton's method is too stiff for alternating directions.
    """
    eta, u = view.data.offset + view.predict(d[0], b), u * (rho / before.rho)
    return State(eta, b, u, -view.correlate(u), d[0], b, eta, before.rho)
