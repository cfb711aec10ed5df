"""Coordinate descent for separable penalties that are infinitely steep at zero.

A proximal gradient step for all coefficients at once is as short as their correlations demand, and the shorter it is,
the more points it leaves alone: zero for almost any strength. A step for one coefficient may be as long as its own
curvature allows. What no such step changes is a coordinate-wise minimum, which fewer points are.

Source: Beck & Eldar (2013), "Sparsity constrained nonlinear optimization", SIAM J. Optimization 23, section 2.4.
"""

from typing import Any

import jax
import jax.numpy as jnp

from jaxreg._programs import program
from jaxreg.linear.columns import Data
from jaxreg.linear.design import Design, Views
from jaxreg.linear.outputs import inverse_scale, per_sample, predict
from jaxreg.losses import Loss
from jaxreg.penalties import Penalty, Separable

SWEEPS = 50
"""Most sweeps over all coefficients."""
SLACK = 0.999
"""Steps by which coefficients are judged, as a share of those they were moved by: what is left alone stays so."""


def by_coordinates(penalty: Penalty) -> bool:
    """Whether a penalty can be taken coefficient by coefficient."""
    return all(isinstance(atom, Separable) for atom in penalty.atoms)


@program()
def own_steps(design: Design, views: Views, loss: Loss, data: Data, eta: jax.Array) -> jax.Array:
    """Steps (F, p) as long as each coefficient's own curvature allows, at predictions (F, n) if it has no bound."""
    bound = jnp.asarray(loss.curvature, jnp.float64)
    second = jnp.where(jnp.isfinite(bound), bound, loss.second_derivative(eta, data.target))
    weights = jnp.where(data.weights > 0, data.weights * second, 0)
    total = jnp.sum(weights, axis=1, keepdims=True)
    share = weights / jnp.where(total > 0, total, 1)
    mean, variance, _ = design.moments(share)
    curvature = total * (variance + jnp.square(mean - views.mean)) * jnp.square(inverse_scale(views))
    return jnp.where(curvature > 0, 1 / jnp.where(curvature > 0, curvature, 1), 1)


@program()
def descend(
    design: Design,
    views: Views,
    loss: Loss,
    data: Data,
    eta: jax.Array,
    penalty: Penalty,
    lams: jax.Array,
    steps: jax.Array,
    tol: jax.Array,
    level: jax.Array,
    slopes: jax.Array,
) -> jax.Array:
    """Slopes (C, F, p) after sweeps of every problem, until none moves by `tol` of its step; no objective increases.

    Args:
        design: n × p.
        views: of the training sets.
        loss: of one prediction.
        data: target, and weights (F, n).
        eta: predictions of the null models, (F, n).
        penalty: separable.
        lams: strengths (C,).
        steps: for each coefficient, (F, p).
        tol: largest change over the step at which sweeping ends, (F,).
        level: intercepts beyond the null models, (C, F).
        slopes: slopes beyond them, (C, F, p).
    """
    p, inverse = design.shape[1], inverse_scale(views)
    start = jax.vmap(lambda a, b: eta + predict.jitted(design, views, a, b))(level, slopes)

    def sweep(state: tuple[jax.Array, ...]) -> tuple[jax.Array, ...]:
        slopes, eta, _, count = state

        def coordinate(j: jax.Array, now: tuple[jax.Array, ...]) -> tuple[jax.Array, ...]:
            slopes, eta, moved = now
            raw = design.gather(j[None], jnp.zeros(1))[:, 0]
            x = (raw - views.mean[:, j, None]) * inverse[:, j, None]  # (F, n)

            def one(lam: Any, w: Any, x: Any, step: Any, b: Any, eta: Any) -> Any:
                at = penalty.at(lam)
                gradient = per_sample(w, loss.derivative(eta, data.target) * x)
                there = b.at[j].add(-step[j] * gradient)
                there = b.at[j].set(at.prox(there, step)[j])
                change = there[j] - b[j]
                ahead = eta + change * x
                gain = per_sample(w, loss.value(eta, data.target) - loss.value(ahead, data.target))
                good = (gain + at.value(b) - at.value(there) >= 0) & (change != 0)
                return jnp.where(good, there, b), jnp.where(good, ahead, eta), jnp.where(good, change, 0) / step[j]

            inside = jax.vmap(one, in_axes=(None, 0, 0, 0, 0, 0))
            slopes, eta, change = jax.vmap(inside, in_axes=(0, None, None, None, 0, 0))(
                lams, data.weights, x, steps, slopes, eta
            )
            return slopes, eta, jnp.maximum(moved, jnp.abs(change))

        moved = jnp.zeros(slopes.shape[:2])
        slopes, eta, moved = jax.lax.fori_loop(0, p, coordinate, (slopes, eta, moved))
        return slopes, eta, jnp.any(moved > tol), count + 1

    def unfinished(state: tuple[jax.Array, ...]) -> jax.Array:
        return state[2] & (state[3] < SWEEPS)

    first: tuple[jax.Array, ...] = (slopes, start, jnp.asarray(True), jnp.asarray(0))
    return jax.lax.while_loop(unfinished, sweep, first)[0]
