"""Ridge: one eigendecomposition per training set serves every λ.

With penalty factors D, the columns X̃D^{-1/2} of a training set have the same ridge solutions in any rotated
basis. Rotated to their principal axes, squared error becomes diagonal, and when p > n any other loss becomes
a problem of n columns instead of p.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxreg.linear.chunk import Chunk, Strengths, newton_chunk
from jaxreg.linear.columns import Columns, Data
from jaxreg.linear.design import Design, Views
from jaxreg.linear.null import correlate_views
from jaxreg.losses import Loss, Squared


class Axes(NamedTuple):
    """Principal axes of each training set: eigenvalues (F, r), and eigenvectors in p- or in n-space."""

    values: jax.Array
    vectors: jax.Array


class Ridge(NamedTuple):
    """Coefficients (L, F, R, 1 + p), and effective degrees of freedom (L, F, R): NaN unless they come for free."""

    b: jax.Array
    df: jax.Array


@jax.jit
def ridge_path(
    design: Design,
    views: Views,
    loss: Loss,
    data: Data,
    l2: jax.Array,
    factor: jax.Array,
    columns: Columns | None,
    intercept: jax.Array,
    tol: jax.Array,
) -> Ridge:
    """Solve ridge problems for strengths l2 (R, L) in every training set. All factors (p,) are positive.

    Raises:
        TypeError: for a loss other than `Squared` with p ≤ n, where rotating gains nothing.

    Source: Hastie & Tibshirani (2004), "Efficient quadratic regularization for expression arrays",
    Biostatistics 5.
    """
    n, p = design.shape
    sets = jnp.arange(views.weights.shape[0])
    if p > n:
        axes, scores = _sample_axes(design, views, factor)
    elif isinstance(loss, Squared) and columns is not None:
        axes = _column_axes(columns, data.weights, factor)
    else:
        raise TypeError("with p ≤ n only squared error is solved along principal axes")

    if isinstance(loss, Squared):
        mean = jnp.where(intercept, data.weights @ (data.target - data.offset), 0)
        residual = data.target - data.offset - mean[:, None]
        if p > n:
            along = jnp.einsum("fnr,fn->fr", scores, data.weights * residual, precision="highest")
        else:
            linear = correlate_views(design, views, sets, residual) / jnp.sqrt(factor)
            along = jnp.einsum("fpr,fp->fr", axes.vectors, linear, precision="highest")
        gamma = along[None, :, None, :] / (axes.values[None, :, None, :] + l2.T[:, None, :, None])
        gamma = jnp.where(axes.values[None, :, None, :] > 0, gamma, 0)
        level = jnp.broadcast_to(mean[None, :, None], gamma.shape[:3])
        values = axes.values[None, :, None, :]
        df = jnp.sum(values / (values + l2.T[:, None, :, None]), axis=-1)
    else:
        found = _newton(loss, scores, axes.values, data, l2, intercept, tol)
        level, gamma = found.b[..., 0], found.b[..., 1:]
        df = jnp.full(level.shape, jnp.nan)  # depends on the second derivatives of every fit

    if p > n:
        slopes = _from_samples(design, views, axes, gamma, factor)
    else:
        slopes = jnp.einsum("fpr,lfkr->lfkp", axes.vectors, gamma, precision="highest") / jnp.sqrt(factor)
    return Ridge(jnp.concatenate([level[..., None], slopes], axis=-1), df)


def _column_axes(columns: Columns, weights: jax.Array, factor: jax.Array) -> Axes:
    gram = columns.gram(jnp.arange(weights.shape[0]), weights)[:, 1:, 1:]
    return _eigen(jnp.where(columns.free[:, 1:, None] & columns.free[:, None, 1:], gram, 0) / _outer_root(factor))


def _outer_root(factor: jax.Array) -> jax.Array:
    root = jnp.sqrt(factor)
    return root[:, None] * root[None, :]


def _eigen(matrix: jax.Array) -> Axes:
    """Eigenvalues that are rounding of the largest are set to zero."""
    values, vectors = jnp.linalg.eigh(matrix)
    floor = matrix.shape[-1] * jnp.finfo(matrix.dtype).eps * jnp.max(values, axis=-1, keepdims=True)
    return Axes(jnp.where(values > floor, values, 0), vectors)


def _sample_axes(design: Design, views: Views, factor: jax.Array) -> tuple[Axes, jax.Array]:
    """Principal axes in n-space, and the rotated columns (F, n, n): zero in rows that are held out."""

    def one(f: jax.Array) -> jax.Array:
        weighing = jnp.where(views.varies[f], 1 / (views.scale[f] ** 2 * factor), 0)
        root = jnp.sqrt(views.weights[f])
        return design.kernel(views.mean[f], weighing) * root[:, None] * root[None, :]

    axes = _eigen(jax.lax.map(one, jnp.arange(views.weights.shape[0])))
    root = jnp.sqrt(views.weights)[:, :, None]
    scores = jnp.where(root > 0, axes.vectors * jnp.sqrt(axes.values)[:, None, :] / jnp.where(root > 0, root, 1), 0)
    return axes, scores


def _newton(
    loss: Loss,
    scores: jax.Array,
    values: jax.Array,
    data: Data,
    l2: jax.Array,
    intercept: jax.Array,
    tol: jax.Array,
) -> Chunk:
    many, _, r = scores.shape
    first = jnp.broadcast_to(intercept, (many, 1))
    free = jnp.concatenate([first, values > 0], axis=1)
    columns = Columns(scores, jnp.zeros((many, r)), jnp.ones((many, r)), free, jnp.arange(r))
    strengths = Strengths(jnp.zeros_like(l2), l2, jnp.ones(r))
    start = jnp.zeros((many, l2.shape[0], 1 + r))
    return newton_chunk(loss, columns, data, strengths, start, tol, capacity=1 + r)


def _from_samples(design: Design, views: Views, axes: Axes, gamma: jax.Array, factor: jax.Array) -> jax.Array:
    """Slopes D⁻¹X̃ᵀ√W U E^{-1/2} γ: by one correlation with every column."""
    inverse = jnp.where(axes.values > 0, 1 / jnp.sqrt(jnp.where(axes.values > 0, axes.values, 1)), 0)
    root = jnp.sqrt(views.weights)
    rows = jnp.einsum("fnr,lfkr->lfkn", axes.vectors, gamma * inverse[None, :, None, :], precision="highest")
    # correlate_views multiplies by the weights, of which √W is wanted.
    rows = rows * jnp.where(root > 0, 1 / jnp.where(root > 0, root, 1), 0)[None, :, None, :]
    length, many, ratios, n = rows.shape
    f = jnp.tile(jnp.repeat(jnp.arange(many), ratios), length)
    return (correlate_views(design, views, f, rows.reshape(-1, n)) / factor).reshape(length, many, ratios, -1)
