"""Certificates of any penalty and any smooth loss, from the data and the coefficients alone.

Coefficients are (p,), or (p, k) where a sample has k outputs; "…" stands for that last axis, or nothing.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxreg import _tree
from jaxreg._programs import program
from jaxreg.linear.active.judge import into_domain, orthogonal
from jaxreg.linear.columns import Data
from jaxreg.linear.design import Design, Views
from jaxreg.linear.joint import orthogonal_joint
from jaxreg.linear.null import Null
from jaxreg.linear.outputs import alike, correlate_problems, per_sample, predict
from jaxreg.linear.problem import Problem
from jaxreg.losses import Loss
from jaxreg.losses._base import Coupled
from jaxreg.objective import dual_value, ray_gap
from jaxreg.penalties import Penalty, settled


def good(gap: np.ndarray, kkt: np.ndarray, tol: float) -> np.ndarray:
    """Whether residual and gap, where there is one, are within the tolerance."""
    return (kkt <= tol) & ((gap <= tol) | np.isnan(gap))


def null_coefficients(problem: Problem) -> tuple[np.ndarray, np.ndarray]:
    """Intercepts (F, …) and slopes (F, p, …) of the null models, in standardized units."""
    coef = np.asarray(problem.null.coef)
    slopes = np.zeros((len(coef), problem.design.shape[1], *coef.shape[2:]))
    slopes[:, problem.factor == 0] = coef[:, 1:]
    return coef[:, 0], slopes


def null_eta(problem: Problem) -> jax.Array:
    """Linear predictors (F, n, …) of the null models."""
    level, slopes = null_coefficients(problem)
    return predict(problem.design, problem.views, level, slopes) + problem.data.offset


@program()
def gradient_beyond(
    design: Design, views: Views, loss: Loss, data: Data, eta: jax.Array, level: jax.Array, slopes: jax.Array
) -> jax.Array:
    """Gradients (F, p, …) beyond the null models."""
    pred = eta + predict.jitted(design, views, level, slopes)
    rows = jax.vmap(lambda w, eta: derivative_of(loss.weighing(w), data, w, eta))(data.weights, pred)
    return correlate_problems(design, views, rows[:, None])[:, 0]


def derivative_of(loss: Loss, data: Data, weights: jax.Array, eta: jax.Array) -> jax.Array:
    """Derivatives (n, …); 0 for what has no weight."""
    return jnp.where(alike(weights, eta) > 0, loss.derivative(eta, data.target), 0)


@program()
def assess(
    design: Design,
    views: Views,
    loss: Loss,
    data: Data,
    null: Null,
    penalty: Penalty,
    lams: jax.Array,
    factor: jax.Array,
    level: jax.Array,
    slopes: jax.Array,
    short: jax.Array,
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Relative gap and residual, and deviance, (C, F), of intercepts (C, F, …) and slopes (C, F, p, …)."""
    eta = jax.vmap(lambda a, b: predict.jitted(design, views, a, b))(level, slopes) + data.offset
    eta = jnp.swapaxes(eta, 0, 1)  # (F, C, n, …)
    slopes = jnp.swapaxes(slopes, 0, 1)
    seen = alike(data.weights[:, None], eta) > 0
    raw, dual, astray = duals(loss, data, null, jnp.where(seen, eta, 0))
    gradient = correlate_problems(design, views, raw)
    correlation = correlate_problems(design, views, dual)

    def of_set(null: Null, w: Any, eta: Any, dual: Any, v: Any, g: Any, x: Any, short: Any) -> Any:
        weighed = loss.weighing(w)
        if not isinstance(loss, Coupled):
            dual, v = into_domain(loss, data, null, w, factor, dual, v)

        def one(lam: Any, eta: Any, u: Any, v: Any, g: Any, x: Any) -> Any:
            at = penalty.at(lam)
            fit, deviance = (per_sample(w, each(eta, data.target)) for each in (weighed.value, weighed.deviance))
            if isinstance(loss, Coupled):
                held = jnp.where(alike(factor, g) > 0, g, 0)
                down = jnp.stack([jnp.ones(()), at.shrink(-held)])
                gaps = jax.vmap(lambda s: ray_gap(loss, at, eta, data.target, w, x, held, s))(down)
                gap = jnp.min(jnp.where(jnp.isnan(gaps), jnp.inf, gaps))
            else:

                def bound(s: jax.Array) -> jax.Array:
                    return dual_value(loss, at, s * u, s * v, data.target, w, data.offset)

                # One program for both dual points; a penalty without a conjugate has no bound at either.
                best = jnp.max(jax.vmap(bound)(jnp.stack([jnp.ones(()), at.shrink(-v)])))
                gap = fit + at.value(x) - best
            gap = jnp.where((lam > 0) & jnp.isfinite(gap), jnp.maximum(gap, 0), jnp.nan)
            return gap, _tree.max_abs(settled(at, short).residual(x, g)), deviance

        return jax.vmap(one)(lams, eta, dual, v, g, x)

    found = jax.vmap(of_set)(null, data.weights, eta, dual, correlation, gradient, slopes, short)
    gap, residual, deviance = found
    size = jnp.max(jnp.abs(null.gradient.reshape(len(null.gradient), -1)), axis=1)
    kkt = jnp.maximum(residual, astray) / jnp.where(size > 0, size, 1)[:, None]
    return gap.T / null.primal, kkt.T, deviance.T


def duals(loss: Loss, data: Data, null: Null, eta: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Derivatives (F, C, n, …), the same made orthogonal to what is free, and how far they were from it (F, C)."""
    if isinstance(loss, Coupled):
        # There is no conjugate, and no dual point to be made.
        raw = jax.vmap(lambda w, etas: jax.vmap(lambda eta: derivative_of(loss.weighing(w), data, w, eta))(etas))(
            data.weights, eta
        )
        astray = jnp.einsum("fcn,fnm->fcm", raw, data.weights[:, :, None] * null.basis, precision="highest")
        return raw, raw, jnp.max(jnp.abs(astray), axis=2)
    if eta.ndim == 3:
        raw = jnp.where(data.weights[:, None] > 0, loss.derivative(eta, data.target), 0)
        return raw, *orthogonal(loss, data, null.basis, eta)

    def of_set(w: Any, basis: Any, etas: Any) -> Any:
        raw = jax.vmap(lambda eta: derivative_of(loss, data, w, eta))(etas)
        dual, astray = jax.vmap(lambda eta: orthogonal_joint(loss, data, w, basis, eta))(etas)
        return raw, jnp.where(alike(w, dual[0]) > 0, dual, 0), astray

    return jax.vmap(of_set)(data.weights, null.basis, eta)
