"""Certificates: how far from optimal a solution can be, from one correlation with every column.

Computed in float64 from the data and the coefficients alone: no Gram, no solver state and no stopping rule
enters, so that an error in any of those shows here.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxreg.linear import definite
from jaxreg.linear.columns import Columns, Data
from jaxreg.linear.design import Design, Views
from jaxreg.linear.null import Null, correlate_views
from jaxreg.losses import Loss
from jaxreg.objective import dual_value
from jaxreg.penalties import ElasticNet


class Certificate(NamedTuple):
    """Relative to the null model: duality gap and largest optimality residual, (B,); and the gradient (B, p)."""

    gap: jax.Array
    kkt: jax.Array
    gradient: jax.Array


@jax.jit
def certify(
    design: Design,
    views: Views,
    loss: Loss,
    data: Data,
    null: Null,
    columns: Columns,
    f: jax.Array,
    l1: jax.Array,
    l2: jax.Array,
    factor: jax.Array,
    b: jax.Array,
) -> Certificate:
    """Certify B problems at once, each in its training set f (B,), with strengths l1 and l2 (B,).

    Args:
        design: all columns.
        views: the training sets.
        loss: with derivative and conjugate.
        data: target, offset, weights.
        null: the training sets' null models.
        columns: the working set; coefficients of all other columns are zero.
        f: training set of each problem.
        l1: strengths of the absolute value.
        l2: strengths of the square.
        factor: penalty factors, (p,).
        b: intercept and standardized coefficients of the working set, (B, 1 + w).
    """
    eta = columns.predict(f, b) + data.offset
    weights = data.weights[f]
    dual, astray = _orthogonal(loss, data, null.basis[f], weights, eta)
    gradient = correlate_views(design, views, f, dual)
    dual, correlation = _into_domain(loss, data, null, f, factor, dual, gradient)

    def penalty_of(one: jax.Array, two: jax.Array) -> ElasticNet:
        total = one + two
        return ElasticNet(total, jnp.where(total > 0, one / jnp.where(total > 0, total, 1), 1), factor)

    def bound(one: jax.Array, two: jax.Array, u: jax.Array, v: jax.Array, weight: jax.Array) -> jax.Array:
        penalty = penalty_of(one, two)
        scales = jnp.stack([jnp.ones(()), penalty.shrink(-v)])
        values = [dual_value(loss, penalty, s * u, s * v, data.target, weight, data.offset) for s in scales]
        return jnp.max(jnp.nan_to_num(jnp.stack(values), nan=-jnp.inf))

    def judge(one: jax.Array, two: jax.Array, x: jax.Array, g: jax.Array) -> tuple[jax.Array, jax.Array]:
        penalty = penalty_of(one, two)
        return penalty.value(x), jnp.max(jnp.abs(penalty.residual(x, g)))

    full = jnp.zeros(gradient.shape).at[:, columns.index].add(b[:, 1:])
    price, residual = jax.vmap(judge)(l1, l2, full, gradient)
    primal = jnp.sum(weights * loss.value(eta, data.target), axis=1) + price
    gap = jnp.maximum(primal - jax.vmap(bound)(l1, l2, dual, correlation, weights), 0) / null.primal[f]
    size = jnp.max(jnp.abs(null.gradient), axis=1)[f]
    kkt = jnp.maximum(residual, astray) / jnp.where(size > 0, size, 1)
    # Without a penalty no scaling makes a dual point feasible: the residual alone judges.
    return Certificate(jnp.where(l1 + l2 > 0, gap, jnp.nan), kkt, gradient)


def _orthogonal(
    loss: Loss, data: Data, basis: jax.Array, weights: jax.Array, eta: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Derivatives made orthogonal to every unpenalized direction, as a dual point must be; and how far they were.

    They move as one Newton step along those directions would move them: in proportion to the second derivative,
    so that a saturated sample, which is at the brink of the conjugate's domain, hardly moves.
    """
    derivative, curvature = loss.derivative(eta, data.target), loss.second_derivative(eta, data.target)
    astray = jnp.einsum("bnm,bn->bm", basis, weights * derivative, precision="highest")
    hessian = jnp.einsum("bnm,bn,bnk->bmk", basis, weights * curvature, basis, precision="highest")
    absent = jnp.diagonal(hessian, axis1=1, axis2=2) == 0
    step = jax.vmap(definite.solve)(hessian + absent[:, :, None] * jnp.eye(basis.shape[2]), astray)
    moved = curvature * jnp.einsum("bnm,bm->bn", basis, step, precision="highest")
    return derivative - moved, jnp.max(jnp.abs(astray), axis=1)


def _into_domain(
    loss: Loss,
    data: Data,
    null: Null,
    f: jax.Array,
    factor: jax.Array,
    dual: jax.Array,
    correlation: jax.Array,
) -> tuple[jax.Array, jax.Array]:
    """Blend dual points that left the domain of the loss's conjugate with the null model's, which is inside it.

    Rounding, or the step that made a point orthogonal to unpenalized columns, pushes it out by a hair. The
    smallest share of the null point (0, 1e-16, 1e-15, …) that brings it back is taken: any blend is
    feasible for the penalty's side if both ends are, and is a valid dual point in any case.
    """
    trained = data.weights[f] > 0
    dual, null_dual = jnp.where(trained, dual, 0), jnp.where(trained, null.derivative[f], 0)
    correlation, null_correlation = (
        jnp.where(factor > 0, correlation, 0),
        jnp.where(factor > 0, null.gradient[f], 0),
    )

    def outside(share: jax.Array) -> jax.Array:
        u = dual + share[:, None] * (null_dual - dual)
        return ~jnp.all(jnp.isfinite(loss.conjugate(u, data.target)), axis=1)

    def larger(share: jax.Array) -> jax.Array:
        return jnp.where(outside(share), jnp.maximum(10 * share, 1e-16), share)

    share = jax.lax.while_loop(lambda s: jnp.any(outside(s) & (s < 1)), larger, jnp.zeros(f.shape))
    share = jnp.minimum(share, 1)[:, None]
    return dual + share * (null_dual - dual), correlation + share * (null_correlation - correlation)
