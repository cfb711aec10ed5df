"""Certificates: how far from optimal a solution can be, from one correlation with every column.

Computed in float64 from the data and the coefficients alone: no Gram, no solver state and no stopping rule
enters, so that an error in any of those shows here.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

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
    derivative = loss.derivative(eta, data.target)
    gradient = correlate_views(design, views, f, derivative)
    weights = data.weights[f]

    # The dual point must be orthogonal to every unpenalized direction; what is taken away counts in kkt.
    astray = jnp.einsum("bnm,bn->bm", null.basis[f], weights * derivative, precision="highest")
    dual = derivative - jnp.einsum("bnm,bm->bn", null.basis[f], astray, precision="highest")
    correlation = gradient - jnp.einsum("bmp,bm->bp", null.basis_gradient[f], astray, precision="highest")
    dual, correlation = _into_domain(loss, data, null, f, factor, dual, correlation)

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
    kkt = jnp.maximum(residual, jnp.max(jnp.abs(astray), axis=1)) / jnp.where(size > 0, size, 1)
    # Without a penalty no scaling makes a dual point feasible: the residual alone judges.
    return Certificate(jnp.where(l1 + l2 > 0, gap, jnp.nan), kkt, gradient)


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
