"""What a loss with kinks is minimized through: a problem split in two, and the certificate that its multipliers give.

Samples and penalty want predictions z and coefficients c; the linear model makes predictions η and coefficients b. At
the solution they are equal, and the multipliers u and v of that are derivatives of loss and penalty: a dual point.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxreg import _tree
from jaxreg.linear.columns import Data
from jaxreg.linear.design import Design, Views
from jaxreg.linear.outputs import apply, correlate, inverse_scale, per_sample
from jaxreg.losses._base import Nonsmooth
from jaxreg.objective import dual_value
from jaxreg.penalties import Penalty


class View(NamedTuple):
    """One training set: means and inverse scales (p,), weights (n,), and the inverse of the ridge.

    `level` is 1 if there is an intercept, else 0; `factor` (p,) is 0 for columns that are free.
    """

    design: Design
    loss: Nonsmooth
    data: Data
    mean: jax.Array
    inverse: jax.Array
    weights: jax.Array
    ridge: jax.Array
    level: jax.Array
    factor: jax.Array

    def predict(self, level: jax.Array, b: jax.Array) -> jax.Array:
        """Linear predictors (n,), without offsets."""
        raw = b * self.inverse
        return apply(self.design, raw) + level - jnp.sum(self.mean * raw)

    def correlate(self, rows: jax.Array) -> jax.Array:
        """Weighted inner products (p,) with the standardized columns."""
        rows = self.weights * rows
        return (correlate(self.design, rows) - jnp.sum(rows) * self.mean) * self.inverse


class State(NamedTuple):
    """Predictions z (n,) and coefficients c (p,), their scaled multipliers u and v, and the model's intercept and b."""

    z: jax.Array
    c: jax.Array
    u: jax.Array
    v: jax.Array
    intercept: jax.Array
    b: jax.Array
    eta: jax.Array
    rho: jax.Array


class Judged(NamedTuple):
    """Intercept, coefficients, relative gap and residual, mean loss and deviance; dual point and its correlations.

    `measure` is the gap, or the residual where the penalty has no conjugate, and so no gap.
    """

    intercept: jax.Array
    slopes: jax.Array
    gap: jax.Array
    residual: jax.Array
    measure: jax.Array
    fit: jax.Array
    deviance: jax.Array
    dual: jax.Array
    correlation: jax.Array


class Run(NamedTuple):
    """What was judged best of every problem, the states where it ended, and how many steps that took."""

    best: Judged
    state: State
    steps: jax.Array


def judge(view: View, penalty: Penalty, lam: Any, size: jax.Array, state: State) -> Judged:
    """Judge the coefficients that the penalty's own step gives, at a dual point made from the multipliers.

    The gap is relative to size[0]. The residual is that of the penalty, relative to size[1], or how far the dual point
    is from being a derivative of the loss there, by the Fenchel-Young inequality, relative to size[0].
    """
    at = penalty.at(lam)
    c = at.prox(state.b + state.v, 1 / state.rho)
    u, target, offset = state.rho * state.u, view.data.target, view.data.offset
    # By the ridge regression the multipliers of the coefficients are minus the correlations of those of the samples.
    full = view.correlate(u)
    v = jnp.where(view.factor > 0, full, 0)

    def inside(s: jax.Array) -> jax.Array:
        value = view.loss.conjugate(s * u, target)
        return jnp.all(jnp.isfinite(value) | (view.weights == 0))

    # Multipliers are a hair out of the domains of the conjugates: shrunk, they are in, and still orthogonal.
    def narrow(_: int, ends: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        middle = 0.5 * (ends[0] + ends[1])
        good = inside(middle)
        return jnp.where(good, middle, ends[0]), jnp.where(good, ends[1], middle)

    zero, one = jnp.zeros(()), jnp.ones(())
    share = jnp.where(inside(one), 1, jax.lax.fori_loop(0, 50, narrow, (zero, one))[0])
    eta = offset + view.predict(state.intercept, c)
    fit, deviance = (per_sample(view.weights, each(eta, target)) for each in (view.loss.value, view.loss.deviance))
    primal = fit + at.value(c)

    def bound(s: jax.Array) -> jax.Array:
        return dual_value(view.loss, at, s * u, s * v, target, view.weights, offset)

    bounds = jax.vmap(bound)(jnp.stack([share, share * at.shrink(-share * v)]))
    best = jnp.max(jnp.where(jnp.isnan(bounds), -jnp.inf, bounds))
    # Without a penalty no scaling makes a dual point feasible: the residual alone judges.
    known = jnp.isfinite(best) & (jnp.asarray(lam) > 0)
    gap = jnp.where(known, jnp.maximum(primal - best, 0), jnp.nan) / size[0]
    dual = share * u
    apart = per_sample(view.weights, view.loss.value(eta, target) + view.loss.conjugate(dual, target) - dual * eta)
    residual = jnp.maximum(_tree.max_abs(at.residual(c, share * full)) / size[1], apart / size[0])
    measure = jnp.where(jnp.isnan(gap), residual, gap)
    return Judged(state.intercept, c, gap, residual, measure, fit, deviance, dual, share * full)


def ahead(judged: Judged, best: Judged) -> jax.Array:
    """Whether its gap, or residual, is smaller; what has no gap, by rounding, is no match for what has one."""
    lost, won = jnp.isnan(judged.gap) & jnp.isfinite(best.gap), jnp.isfinite(judged.gap) & jnp.isnan(best.gap)
    return ((judged.measure < best.measure) | won) & ~lost


def better(judged: Judged, best: Judged) -> Judged:
    """The one that is `ahead`."""
    first = ahead(judged, best)
    return jax.tree.map(lambda a, b: jnp.where(first, a, b), judged, best)


def length(loss: Nonsmooth, data: Data, w: jax.Array, eta: jax.Array) -> jax.Array:
    """One over the length of proximal steps that are as long as residuals are large."""
    slope = per_sample(w, jnp.square(loss.derivative(eta, data.target)))
    width = per_sample(w, jnp.square(eta - data.target))
    return jnp.where((slope > 0) & (width > 0), jnp.sqrt(slope / jnp.where(width > 0, width, 1)), 1)


def views_of(
    design: Design,
    views: Views,
    loss: Nonsmooth,
    data: Data,
    inverses: jax.Array,
    factor: jax.Array,
    level: jax.Array,
) -> Callable[[Any], View]:
    """What gives training set k's `View`."""
    inverse = inverse_scale(views)
    return lambda k: View(design, loss, data, views.mean[k], inverse[k], views.weights[k], inverses[k], level, factor)


def over_problems(mapping: Any, one: Callable[..., Run], lams: jax.Array, run: Run) -> Run:
    """Map over one axis of problems, not two: every operation is batched once."""
    shape = run.steps.shape
    sets, strengths = jnp.tile(jnp.arange(shape[1]), shape[0]), jnp.repeat(lams, shape[1])
    flat = jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), run)
    return jax.tree.map(lambda leaf: leaf.reshape(*shape, *leaf.shape[1:]), mapping(one)(sets, strengths, flat))
