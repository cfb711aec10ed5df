"""The programs behind certificates: primal values, dual bounds and residuals of a few training sets' solutions."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from jaxreg._programs import program
from jaxreg.linear import definite
from jaxreg.linear.active.sides import Sides, sides
from jaxreg.linear.active.tableau import dot
from jaxreg.linear.columns import Columns, Data
from jaxreg.linear.design import Design, Views, over_rows
from jaxreg.linear.null import Correlations, Null, correlations
from jaxreg.losses import Loss, Squared

ROWS_BLOCK = 2**18
"""Entries of residuals worked on at a time, so that they stay in the cache."""


def of_sets(which: jax.Array, *trees: Any) -> tuple[Any, ...]:
    """What trees with a leading axis of training sets have of those in `which`."""
    return jax.tree.map(lambda leaf: leaf[which], trees)


def columns_of(columns: Columns, which: jax.Array) -> Columns:
    """Columns as the training sets in `which` see them."""
    return dataclasses.replace(columns, **{name: getattr(columns, name)[which] for name in ("shift", "scale", "free")})


@program(static=("width",))
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
    which: jax.Array,
    *,
    width: int,
) -> tuple[jax.Array, ...]:
    """The fields of a `Certificate` for coefficients b (L, G, R, 1 + w) of the training sets `which` (G,).

    `place` (p,) says where in b each column of X stands, 0 if nowhere; l1 and l2 are strengths (G, R, L); `width`
    is that of blocks of columns.
    """
    views, null, weights = of_sets(which, views, null, data.weights)
    data, columns = data._replace(weights=weights), columns_of(columns, which)
    b = by_set(b)
    # A row that is held out may be predicted beyond all bounds.
    eta = jnp.where(data.weights[:, None] > 0, columns.predict(b) + data.offset, 0)
    dual, astray = orthogonal(loss, data, null.basis, eta)
    gradient = correlations(design, views, dual)
    dual, share = jax.vmap(lambda *a: inside(loss, data, *a))(null, data.weights, dual)
    found = sides((l1, l2), factor, gradient, null.gradient, share, b, place, width)

    def bound(s: jax.Array) -> jax.Array:
        """The dual value but for the penalty's conjugate, at s (F, P) times the dual points."""
        at = s[..., None] * dual
        return jnp.sum(data.weights[:, None] * (at * data.offset - loss.conjugate(at, data.target)), axis=2)

    bounds = jnp.stack([bound(jnp.ones_like(found.shrink)) - found.conjugate, bound(found.shrink)])
    best = jnp.max(jnp.nan_to_num(bounds, nan=-jnp.inf), axis=0)
    fit, deviance = (
        jnp.sum(data.weights[:, None] * part, axis=2)
        for part in (loss.value(eta, data.target), loss.deviance(eta, data.target))
    )
    gap = jnp.maximum(fit + found.value - best, 0)
    return summary(null, l1, l2, gap, jnp.maximum(found.residual, astray), deviance, gradient, found.excess)


@program(static=("width",))
def judge_by_rows(
    data: Data,
    null: Null,
    columns: Columns,
    place: jax.Array,
    l1: jax.Array,
    l2: jax.Array,
    factor: jax.Array,
    b: jax.Array,
    which: jax.Array,
    *,
    width: int,
) -> tuple[jax.Array, ...]:
    """The same for squared error with all columns at hand, in one pass over blocks of rows.

    At the dual point s·u, u the residual made orthogonal to unpenalized directions, primal − dual is a sum of two
    Fenchel-Young gaps: ½‖r − s u‖² of the loss (r the residual itself), and g(b) + g*(−s v) + s vᵀb of the penalty,
    v = X̃ᵀWu. All that it needs of the rows are v, ‖r‖² and inner products: nothing of size rows × problems is
    ever whole in memory.
    """
    many, m = b.shape[1], null.basis.shape[2]
    null, weights = of_sets(which, null, data.weights)
    data, columns = data._replace(weights=weights), columns_of(columns, which)
    b = by_set(b)
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
    inverse = jnp.where(columns.free[:, 1:], 1 / columns.scale, 0)
    gradient = Correlations(raw, total[..., None], columns.shift, inverse)
    if m > 1:
        sums = jnp.einsum("fn,fnm->fm", data.weights, null.basis, precision="highest")
        beside = jnp.einsum("fpm,fmj->fpj", along, cross, precision="highest")
        moved = jnp.einsum("fpm,fm->fp", along, sums, precision="highest")
        gradient = gradient._replace(raw=raw - beside, total=(total - moved)[..., None])
    orthogonal = square - jnp.sum(jnp.square(along), axis=2)

    found = sides((l1, l2), factor, gradient, null.gradient, jnp.zeros_like(square), b, place, width)

    gap = gap_of_squares(square, orthogonal, found)
    residual = jnp.maximum(found.residual, jnp.max(jnp.abs(along), axis=2))
    return summary(null, l1, l2, gap, residual, square, gradient, found.excess)


def gap_of_squares(square: jax.Array, orthogonal: jax.Array, found: Sides) -> jax.Array:
    """Gap by Fenchel-Young: of residuals' squares (F, P), whole and orthogonal to what is free, and of the penalty."""

    def gap(s: jax.Array, conjugate: jax.Array | float) -> jax.Array:
        fit = 0.5 * (square - 2 * s * orthogonal + jnp.square(s) * orthogonal)
        return fit + found.value + conjugate + s * found.along

    gaps = jnp.stack([gap(jnp.ones_like(square), found.conjugate), gap(found.shrink, 0.0)])
    return jnp.maximum(jnp.min(jnp.nan_to_num(gaps, nan=jnp.inf), axis=0), 0)


def flat(strengths: jax.Array) -> jax.Array:
    """Strengths (F, R, L) as (F, L · R)."""
    return strengths.mT.reshape(len(strengths), -1)


def by_set(b: jax.Array) -> jax.Array:
    """Coefficients (L, F, R, d) as (F, L · R, d)."""
    length, many, ratios, d = b.shape
    return b.transpose(1, 0, 2, 3).reshape(many, length * ratios, d)


def summary(
    null: Null,
    l1: jax.Array,
    l2: jax.Array,
    gap: jax.Array,
    residual: jax.Array,
    deviance: jax.Array,
    gradient: Correlations,
    excess: jax.Array,
) -> tuple[jax.Array, ...]:
    """The fields of a `Certificate`, from values (F, L · R), gradients, and what exceeds (F, R, p)."""
    (many, ratios, length), p = l1.shape, excess.shape[-1]
    size = jnp.max(jnp.abs(null.gradient), axis=1)
    kkt = residual / jnp.where(size > 0, size, 1)[:, None]
    # Without a penalty no scaling makes a dual point feasible: the residual alone judges.
    gap = jnp.where(flat(l1 + l2) > 0, gap / null.primal[:, None], jnp.nan)
    end = [gradient.of_rows(slice(k * ratios, (k + 1) * ratios)) for k in (length - 1, max(length - 2, 0))]
    each = (part.reshape(many, length, ratios).transpose(1, 0, 2) for part in (gap, kkt, deviance))
    return *each, *(part.reshape(-1, p) for part in (excess, *end))


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
    """Dual points (P, n, …) of one training set moved `inside`, and their correlations (P, p, …) with the columns."""
    penalized = factor.reshape(-1, *(1,) * (dual.ndim - 2)) > 0
    here, there = (jnp.where(penalized, c, 0) for c in (correlation, null.gradient))
    dual, share = inside(loss, data, null, weights, dual)
    return dual, here + share.reshape(-1, *(1,) * (here.ndim - 1)) * (there - here)


def inside(loss: Loss, data: Data, null: Null, weights: jax.Array, dual: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Blend dual points (P, n, …) that left the domain of the loss's conjugate with the null model's, which is inside.

    Rounding, or the step that made a point orthogonal to unpenalized columns, pushes it out by a hair. The
    smallest share of the null point (0, 1e-16, 1e-15, …) that brings it back is taken: any blend is
    feasible for the penalty's side if both ends are, and is a valid dual point in any case.

    Returns the points and the shares (P,).
    """
    # Several outputs stand in a last axis.
    outputs = (1,) * (dual.ndim - 2)
    seen = weights.reshape(-1, *outputs) > 0
    dual, null_dual = jnp.where(seen, dual, 0), jnp.where(seen, null.derivative, 0)

    def blend(share: jax.Array) -> jax.Array:
        return dual + share.reshape(-1, 1, *outputs) * (null_dual - dual)

    def outside(share: jax.Array) -> jax.Array:
        value = loss.conjugate(blend(share), data.target)
        return ~jnp.all(jnp.isfinite(value), axis=tuple(range(1, value.ndim)))

    def larger(share: jax.Array) -> jax.Array:
        return jnp.where(outside(share), jnp.maximum(10 * share, 1e-16), share)

    share = jnp.zeros(dual.shape[0])
    if isinstance(loss, Squared):
        return dual, share  # its conjugate is finite everywhere
    share = jax.lax.while_loop(lambda s: jnp.any(outside(s) & (s < 1)), larger, share)
    share = jnp.minimum(share, 1)
    return blend(share), share
