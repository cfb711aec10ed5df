"""The programs behind certificates: primal values, dual bounds and residuals of a few training sets' solutions."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from jaxreg import _tree
from jaxreg._programs import program
from jaxreg.linear import definite
from jaxreg.linear.active.tableau import dot
from jaxreg.linear.columns import Columns, Data
from jaxreg.linear.design import Design, Views, over_rows
from jaxreg.linear.null import Null, correlate_views
from jaxreg.losses import Loss, Squared
from jaxreg.objective import dual_value
from jaxreg.penalties import ElasticNet

ROWS_BLOCK = 2**18
"""Entries of residuals worked on at a time, so that they stay in the cache."""


def of_sets(first: jax.Array, size: int, *trees: Any) -> tuple[Any, ...]:
    """The training sets' slices, from `first` on, of trees with a leading axis of training sets."""
    return jax.tree.map(lambda leaf: jax.lax.dynamic_slice_in_dim(leaf, first, size), trees)


def columns_of(columns: Columns, first: jax.Array, size: int) -> Columns:
    """Columns as the training sets from `first` on see them."""
    return dataclasses.replace(
        columns,
        **{
            name: jax.lax.dynamic_slice_in_dim(getattr(columns, name), first, size)
            for name in ("shift", "scale", "free")
        },
    )


@program()
def judge(
    design: Design,
    views: Views,
    loss: Loss,
    data: Data,
    null: Null,
    columns: Columns,
    place: jax.Array,
    l1: jax.Array,
    l2: jax.Array,
    factor: jax.Array,
    b: jax.Array,
    first: jax.Array,
) -> tuple[jax.Array, ...]:
    """The fields of a `Certificate` for coefficients b (L, G, R, 1 + w) of the G training sets from `first` on.

    `place` (p,) says where in b each column of X stands, 0 if nowhere; l1 and l2 are strengths (R, L).
    """
    many = b.shape[1]
    views, null, weights = of_sets(first, many, views, null, data.weights)
    data, columns = data._replace(weights=weights), columns_of(columns, first, many)
    b = _by_set(b)
    one, two = l1.T.reshape(-1), l2.T.reshape(-1)
    # A row that is held out may be predicted beyond all bounds.
    eta = jnp.where(data.weights[:, None] > 0, columns.predict(b) + data.offset, 0)
    dual, astray = orthogonal(loss, data, null.basis, eta)
    gradient = correlate_views(design, views, dual)
    full = jnp.where(place > 0, b[..., place], 0)

    def of_set(null: Null, weights: jax.Array, eta: jax.Array, dual: jax.Array, g: jax.Array, x: jax.Array) -> tuple:
        """Primal and dual values and residuals (count,) in one training set."""
        u, v = into_domain(loss, data, null, weights, factor, dual, g)
        fit = jnp.sum(weights * loss.value(eta, data.target), axis=1)
        gap, residual = jax.vmap(lambda *a: _gap(loss, data, weights, factor, *a))(one, two, fit, u, v, g, x)
        return gap, residual, jnp.sum(weights * loss.deviance(eta, data.target), axis=1)

    gap, residual, deviance = jax.vmap(of_set)(null, data.weights, eta, dual, gradient, full)
    return _summary(null, l1, l2, factor, gap, jnp.maximum(residual, astray), deviance, gradient)


@program()
def judge_by_rows(
    data: Data,
    null: Null,
    columns: Columns,
    place: jax.Array,
    l1: jax.Array,
    l2: jax.Array,
    factor: jax.Array,
    b: jax.Array,
    first: jax.Array,
) -> tuple[jax.Array, ...]:
    """The same for squared error with all columns at hand, in one pass over blocks of rows.

    At the dual point s·u, u the residual made orthogonal to unpenalized directions, primal − dual is a sum of two
    Fenchel-Young gaps: ½‖r − s u‖² of the loss (r the residual itself), and g(b) + g*(−s v) + s vᵀb of the penalty,
    v = X̃ᵀWu. All that it needs of the rows are v, ‖r‖² and inner products: nothing of size rows × problems is
    ever whole in memory.
    """
    many, m = b.shape[1], null.basis.shape[2]
    null, weights = of_sets(first, many, null, data.weights)
    data, columns = data._replace(weights=weights), columns_of(columns, first, many)
    b = _by_set(b)
    count = b.shape[1]
    x = jnp.where(place > 0, b[..., place], 0)
    shift, scale = columns.shift[:, None], columns.scale[:, None]
    slopes = x / scale
    level = b[..., :1] - jnp.sum(shift * slopes, axis=2, keepdims=True)
    flat = slopes.reshape(many * count, -1)

    def part(first: jax.Array | int, size: int) -> tuple[jax.Array, ...]:
        rows, target, weights, basis = (
            jax.lax.dynamic_slice_in_dim(a, first, size, axis)
            for a, axis in ((columns.x, 0), (data.target - data.offset, 0), (data.weights, 1), (null.basis, 1))
        )
        residual = dot(flat, rows.T).reshape(many, count, -1) + level - target
        weighted = residual * weights[:, None]
        along = jnp.einsum("fpn,fnm->fpm", weighted, basis, precision="highest")
        # X̃ᵀW times the basis: zero for the intercept alone, under whose weights columns are centered.
        cross = dot(jnp.swapaxes(weights[:, :, None] * basis, 1, 2), rows) if m > 1 else jnp.zeros((many, 1, 1))
        raw = dot(weighted.reshape(many * count, -1), rows).reshape(many, count, -1)
        return raw, jnp.sum(weighted, axis=2), jnp.sum(weighted * residual, axis=2), along, cross

    n = data.target.size
    size = min(n, max(64, ROWS_BLOCK // (many * count)))
    raw, total, square, along, cross = over_rows(n, size, part)
    gradient = (raw - total[..., None] * shift) / scale
    if m > 1:
        sums = jnp.einsum("fn,fnm->fm", data.weights, null.basis, precision="highest")
        cross = (cross - sums[:, :, None] * shift) / scale
        gradient = gradient - jnp.einsum("fpm,fmj->fpj", along, cross, precision="highest")
    gradient = jnp.where(columns.free[:, None, 1:], gradient, 0)
    orthogonal = square - jnp.sum(jnp.square(along), axis=2)

    def of_one(one: jax.Array, two: jax.Array, r: jax.Array, q: jax.Array, g: jax.Array, x: jax.Array) -> tuple:
        penalty = _penalty(one, two, factor)
        v = jnp.where(factor > 0, g, 0)

        def gap(s: jax.Array) -> jax.Array:
            loss_part = 0.5 * (r - 2 * s * q + jnp.square(s) * q)
            return loss_part + penalty.value(x) + penalty.conjugate(-s * v) + s * jnp.sum(v * x)

        gaps = jnp.stack([gap(jnp.ones(())), gap(penalty.shrink(-v))])
        best = jnp.min(jnp.nan_to_num(gaps, nan=jnp.inf))
        return jnp.maximum(best, 0), _tree.max_abs(penalty.residual(x, g))

    one, two = l1.T.reshape(-1), l2.T.reshape(-1)
    gap, residual = jax.vmap(jax.vmap(of_one), in_axes=(None, None, 0, 0, 0, 0))(
        one, two, square, orthogonal, gradient, x
    )
    astray = jnp.max(jnp.abs(along), axis=2)
    return _summary(null, l1, l2, factor, gap, jnp.maximum(residual, astray), square, gradient)


def _by_set(b: jax.Array) -> jax.Array:
    """Coefficients (L, F, R, d) as (F, L · R, d)."""
    length, many, ratios, d = b.shape
    return b.transpose(1, 0, 2, 3).reshape(many, length * ratios, d)


def _penalty(one: jax.Array, two: jax.Array, factor: jax.Array) -> ElasticNet:
    total = one + two
    return ElasticNet(total, jnp.where(total > 0, one / jnp.where(total > 0, total, 1), 1), factor)


def _summary(
    null: Null,
    l1: jax.Array,
    l2: jax.Array,
    factor: jax.Array,
    gap: jax.Array,
    residual: jax.Array,
    deviance: jax.Array,
    gradient: jax.Array,
) -> tuple[jax.Array, ...]:
    """The fields of a `Certificate`, from values (F, L · R) and gradients (F, L · R, p)."""
    many, (ratios, length), p = gap.shape[0], l1.shape, gradient.shape[-1]
    size = jnp.max(jnp.abs(null.gradient), axis=1)
    kkt = residual / jnp.where(size > 0, size, 1)[:, None]
    # Without a penalty no scaling makes a dual point feasible: the residual alone judges.
    gap = jnp.where((l1 + l2).T.reshape(-1) > 0, gap / null.primal[:, None], jnp.nan)
    gradient = gradient.reshape(many, length, ratios, p)
    excess = jnp.max(jnp.abs(gradient) - l1.T[:, :, None] * factor, axis=1)
    each = (part.reshape(many, length, ratios).transpose(1, 0, 2) for part in (gap, kkt, deviance))
    last, before = (gradient[:, k].reshape(-1, p) for k in (length - 1, max(length - 2, 0)))
    return *each, excess.reshape(-1, p), last, before


def _gap(
    loss: Loss,
    data: Data,
    weights: jax.Array,
    factor: jax.Array,
    one: jax.Array,
    two: jax.Array,
    fit: jax.Array,
    u: jax.Array,
    v: jax.Array,
    g: jax.Array,
    x: jax.Array,
) -> tuple[jax.Array, jax.Array]:
    """Gap and largest residual of one solution x (p,), with dual point u (n,), its correlations v and gradient g."""
    penalty = _penalty(one, two, factor)

    def bound(s: jax.Array) -> jax.Array:
        value = dual_value(loss, penalty, s * u, s * v, data.target, weights, data.offset)
        return jnp.nan_to_num(value, nan=-jnp.inf)

    best = jnp.maximum(bound(jnp.ones(())), bound(penalty.shrink(-v)))
    gap = jnp.maximum(fit + penalty.value(x) - best, 0)
    return gap, _tree.max_abs(penalty.residual(x, g))


def orthogonal(loss: Loss, data: Data, basis: jax.Array, eta: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Derivatives (F, P, n) made orthogonal to every unpenalized direction, as a dual point must be.

    They move as one Newton step along those directions (`basis`, (F, n, m)) would move them: in proportion to the
    second derivative, so that a saturated sample, which is at the brink of the conjugate's domain, hardly moves.
    Also returns how far they were from it, (F, P).
    """
    many, n, m = basis.shape
    derivative, curvature = loss.derivative(eta, data.target), loss.second_derivative(eta, data.target)
    weighted = data.weights[:, :, None] * basis
    astray = jnp.einsum("fpn,fnm->fpm", derivative, weighted, precision="highest")
    if isinstance(loss, Squared):
        # The curvature is 1, and the basis orthonormal under the weights.
        moved = jnp.einsum("fpm,fnm->fpn", astray, basis, precision="highest")
        return derivative - moved, jnp.max(jnp.abs(astray), axis=2)
    pairs = (weighted[:, :, :, None] * basis[:, :, None, :]).reshape(many, n, m * m)
    hessian = jnp.einsum("fpn,fnm->fpm", curvature, pairs, precision="highest").reshape(*eta.shape[:2], m, m)
    absent = jnp.diagonal(hessian, axis1=2, axis2=3) == 0
    step = jax.vmap(jax.vmap(definite.solve))(hessian + absent[..., None] * jnp.eye(m), astray)
    moved = curvature * jnp.einsum("fpm,fnm->fpn", step, basis, precision="highest")
    return derivative - moved, jnp.max(jnp.abs(astray), axis=2)


def into_domain(
    loss: Loss,
    data: Data,
    null: Null,
    weights: jax.Array,
    factor: jax.Array,
    dual: jax.Array,
    correlation: jax.Array,
) -> tuple[jax.Array, jax.Array]:
    """Blend dual points (P, n, …) that left the domain of the loss's conjugate with the null model's, which is inside.

    Rounding, or the step that made a point orthogonal to unpenalized columns, pushes it out by a hair. The
    smallest share of the null point (0, 1e-16, 1e-15, …) that brings it back is taken: any blend is
    feasible for the penalty's side if both ends are, and is a valid dual point in any case.
    """
    # Several outputs stand in a last axis.
    outputs = (1,) * (dual.ndim - 2)
    seen, penalized = weights.reshape(-1, *outputs) > 0, factor.reshape(-1, *outputs) > 0
    dual, null_dual = jnp.where(seen, dual, 0), jnp.where(seen, null.derivative, 0)
    correlation, null_correlation = (jnp.where(penalized, c, 0) for c in (correlation, null.gradient))

    def blend(point: jax.Array, inside: jax.Array, share: jax.Array) -> jax.Array:
        return point + share.reshape(-1, 1, *outputs) * (inside - point)

    def outside(share: jax.Array) -> jax.Array:
        value = loss.conjugate(blend(dual, null_dual, share), data.target)
        return ~jnp.all(jnp.isfinite(value), axis=tuple(range(1, value.ndim)))

    def larger(share: jax.Array) -> jax.Array:
        return jnp.where(outside(share), jnp.maximum(10 * share, 1e-16), share)

    if isinstance(loss, Squared):
        return dual, correlation  # its conjugate is finite everywhere
    share = jax.lax.while_loop(lambda s: jnp.any(outside(s) & (s < 1)), larger, jnp.zeros(dual.shape[0]))
    share = jnp.minimum(share, 1)
    return blend(dual, null_dual, share), blend(correlation, null_correlation, share)
