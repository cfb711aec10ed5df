"""Certificates of any penalty of a coefficient vector, from the data and the coefficients alone."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxreg import _tree
from jaxreg._programs import program
from jaxreg.linear.columns import Data
from jaxreg.linear.design import Design, Views
from jaxreg.linear.judge import into_domain, orthogonal
from jaxreg.linear.null import Null, correlate_views
from jaxreg.linear.problem import Problem
from jaxreg.losses import Loss
from jaxreg.objective import dual_value
from jaxreg.penalties import Penalty, settled


def good(gap: np.ndarray, kkt: np.ndarray, tol: float) -> np.ndarray:
    """Whether residual and gap, where there is one, are within the tolerance."""
    return (kkt <= tol) & ((gap <= tol) | np.isnan(gap))


def null_coefficients(problem: Problem) -> tuple[np.ndarray, np.ndarray]:
    """Intercepts (F,) and slopes (F, p) of the null models, in standardized units."""
    coef = np.asarray(problem.null.coef)
    slopes = np.zeros((len(coef), problem.design.shape[1]))
    slopes[:, problem.factor == 0] = coef[:, 1:]
    return coef[:, 0], slopes


def null_eta(problem: Problem) -> jax.Array:
    """Linear predictors (F, n) of the null models."""
    level, slopes = null_coefficients(problem)
    return predict(problem.design, problem.views, level, slopes) + problem.data.offset


def inverse_scale(views: Views) -> jax.Array:
    """One over the scale; 0 for a column that is constant, which takes no part."""
    return jnp.where(views.varies, 1 / views.scale, 0)


@program()
def predict(design: Design, views: Views, level: jax.Array, slopes: jax.Array) -> jax.Array:
    """Linear predictors (F, n) of intercepts (F,) and slopes (F, p)."""
    raw = slopes * inverse_scale(views)
    product = design.apply(jnp.arange(slopes.shape[1]), raw)
    return product + (level - jnp.sum(views.mean * raw, axis=1))[:, None]


@program()
def gradient_beyond(
    design: Design, views: Views, loss: Loss, data: Data, eta: jax.Array, level: jax.Array, slopes: jax.Array
) -> jax.Array:
    """Gradients (F, p) beyond the null models."""
    pred = eta + predict.jitted(design, views, level, slopes)
    return correlate_views(design, views, loss.derivative(pred, data.target)[:, None])[:, 0]


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
    """Relative gap and residual, and deviance, (C, F), from the data and the coefficients alone."""
    eta = jax.vmap(lambda a, b: predict.jitted(design, views, a, b))(level, slopes) + data.offset
    eta = jnp.swapaxes(eta, 0, 1)  # (F, C, n)
    slopes = jnp.swapaxes(slopes, 0, 1)
    seen = data.weights[:, None] > 0
    raw = jnp.where(seen, loss.derivative(eta, data.target), 0)
    gradient = correlate_views(design, views, raw)
    dual, astray = orthogonal(loss, data, null.basis, jnp.where(seen, eta, 0))
    correlation = correlate_views(design, views, dual)

    def of_set(null: Null, w: Any, eta: Any, dual: Any, v: Any, g: Any, x: Any, short: Any) -> Any:
        u, v = into_domain(loss, data, null, w, factor, dual, v)
        fit, deviance = (
            jnp.sum(jnp.where(w > 0, w * each(eta, data.target), 0), axis=1) for each in (loss.value, loss.deviance)
        )

        def one(lam: Any, fit: Any, u: Any, v: Any, g: Any, x: Any) -> Any:
            at = penalty.at(lam)

            def bound(s: jax.Array) -> jax.Array:
                return dual_value(loss, at, s * u, s * v, data.target, w, data.offset)

            # One program for both dual points; a penalty without a conjugate has no bound at either.
            best = jnp.max(jax.vmap(bound)(jnp.stack([jnp.ones(()), at.shrink(-v)])))
            gap = jnp.maximum(fit + at.value(x) - best, 0)
            return jnp.where((lam > 0) & jnp.isfinite(best), gap, jnp.nan), _tree.max_abs(
                settled(at, short).residual(x, g)
            )

        gap, residual = jax.vmap(one)(lams, fit, u, v, g, x)
        return gap, residual, deviance

    gap, residual, deviance = jax.vmap(of_set)(null, data.weights, eta, dual, correlation, gradient, slopes, short)
    size = jnp.max(jnp.abs(null.gradient), axis=1)
    kkt = jnp.maximum(residual, astray) / jnp.where(size > 0, size, 1)[:, None]
    return gap.T / null.primal, kkt.T, deviance.T
