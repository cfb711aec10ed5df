"""Ridge: one eigendecomposition per training set serves every λ.

With penalty factors D, the columns X̃D^{-1/2} of a training set have the same ridge solutions in any rotated
basis. Rotated to their principal axes, squared error becomes diagonal, and when p > n any other loss becomes
a problem of n columns instead of p.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxreg._threads import one_lapack_thread
from jaxreg.linear.active.certify import certify
from jaxreg.linear.active.chunk import Samples, Strengths, newton_chunk
from jaxreg.linear.active.grams import own_moments
from jaxreg.linear.active.split import Split, find_split
from jaxreg.linear.columns import Columns, Data, gather
from jaxreg.linear.design import Design, Views
from jaxreg.linear.null import correlate_views
from jaxreg.linear.problem import Piece, Problem
from jaxreg.losses import Loss, Squared


class Axes(NamedTuple):
    """Principal axes of each training set: eigenvalues (F, r), and eigenvectors in p- or in n-space."""

    values: jax.Array
    vectors: jax.Array


class Ridge(NamedTuple):
    """Coefficients (L, F, R, 1 + p), and effective degrees of freedom (L, F, R): NaN unless they come for free."""

    b: jax.Array
    df: jax.Array


def fit_ridge(problem: Problem, l2: np.ndarray, tol: float) -> Piece:
    """Solve and certify for positive strengths l2 (R, L) in every training set. All factors are positive."""
    n, p = problem.size
    squared = isinstance(problem.loss, Squared)
    columns = gather(problem.design, problem.views, np.arange(p), p, problem.intercept)
    split = find_split(np.asarray(problem.data.weights)) if squared and p <= n else None
    with one_lapack_thread():
        found = ridge_path(
            problem.design, problem.views, problem.loss, problem.data, l2, problem.factor, columns,
            problem.intercept, max(1e-3 * tol, 1e-13) * problem.scale(), split,
        )  # fmt: skip
        b = np.asarray(found.b)
    judged = certify(problem, np.zeros_like(l2), l2, columns, b)
    gap, kkt, deviance = (part.reshape(b.shape[:3]) for part in judged[:3])
    return Piece(np.arange(p), b, gap, kkt, deviance, np.ones(gap.shape, dtype=int), np.asarray(found.df))


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
    split: Split | None = None,
) -> Ridge:
    """Solve ridge problems for strengths l2 (R, L) in every training set. All factors (p,) are positive.

    `split` says which rows each training set leaves out, where that is what they differ by.

    Raises:
        TypeError: for a loss other than `Squared` with p ≤ n, where rotating gains nothing.

    Source: Hastie & Tibshirani (2004), "Efficient quadratic regularization for expression arrays",
    Biostatistics 5.
    """
    n, p = design.shape
    if p > n:
        axes, scores = _sample_axes(design, views, factor)
    elif isinstance(loss, Squared) and columns is not None:
        axes = _column_axes(columns, data.weights, factor, split)
    else:
        raise TypeError("with p ≤ n only squared error is solved along principal axes")

    if isinstance(loss, Squared):
        mean = jnp.where(intercept, data.weights @ (data.target - data.offset), 0)
        residual = data.target - data.offset - mean[:, None]
        if p > n:
            along = jnp.einsum("fnr,fn->fr", scores, data.weights * residual, precision="highest")
        else:
            linear = correlate_views(design, views, residual[:, None])[:, 0] / jnp.sqrt(factor)
            along = jnp.einsum("fpr,fp->fr", axes.vectors, linear, precision="highest")
        gamma = along[None, :, None, :] / (axes.values[None, :, None, :] + l2.T[:, None, :, None])
        gamma = jnp.where(axes.values[None, :, None, :] > 0, gamma, 0)
        level = jnp.broadcast_to(mean[None, :, None], gamma.shape[:3])
        values = axes.values[None, :, None, :]
        df = jnp.sum(values / (values + l2.T[:, None, :, None]), axis=-1)
    else:
        found = _newton(loss, scores, axes.values, data, l2, intercept, tol)
        level, gamma = found[..., 0], found[..., 1:]
        df = jnp.full(level.shape, jnp.nan)  # depends on the second derivatives of every fit

    if p > n:
        slopes = _from_samples(design, views, axes, gamma, factor)
    else:
        slopes = jnp.einsum("fpr,lfkr->lfkp", axes.vectors, gamma, precision="highest") / jnp.sqrt(factor)
        slopes = jnp.where(views.varies[None, :, None, :], slopes, 0)
    return Ridge(jnp.concatenate([level[..., None], slopes], axis=-1), df)


def _column_axes(columns: Columns, weights: jax.Array, factor: jax.Array, split: Split | None) -> Axes:
    shift, scale, free = columns.shift, columns.scale * jnp.sqrt(factor), columns.free[:, 1:]
    gram = own_moments(columns.x, weights, split) - shift[:, :, None] * shift[:, None, :]
    return eigen(jnp.where(free[:, :, None] & free[:, None, :], gram / (scale[:, :, None] * scale[:, None, :]), 0))


def eigen(matrix: jax.Array) -> Axes:
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

    axes = eigen(jax.lax.map(one, jnp.arange(views.weights.shape[0])))
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
) -> jax.Array:
    """Coefficients (L, F, R, 1 + r) in the rotated columns of any smooth loss."""
    many, _, r = scores.shape
    first = jnp.broadcast_to(intercept, (many, 1))
    free = jnp.concatenate([first, values > 0], axis=1)
    factor = jnp.concatenate([jnp.zeros(1), jnp.ones(r)])

    def one(task: tuple[jax.Array, jax.Array]) -> jax.Array:
        f, strength = task
        samples = Samples(scores[f], jnp.zeros(r), jnp.ones(r), data.target, data.offset, data.weights[f])
        strengths = Strengths(jnp.zeros_like(strength), strength, factor)
        return newton_chunk(loss, samples, free[f], strengths, jnp.zeros(1 + r), tol[f]).b

    lanes = jnp.repeat(jnp.arange(many), len(l2)), jnp.tile(l2, (many, 1))
    found = jax.lax.map(one, lanes)
    return found.reshape(many, len(l2), *found.shape[1:]).transpose(2, 0, 1, 3)


def _from_samples(design: Design, views: Views, axes: Axes, gamma: jax.Array, factor: jax.Array) -> jax.Array:
    """Slopes D⁻¹X̃ᵀ√W U E^{-1/2} γ: by one correlation with every column."""
    inverse = jnp.where(axes.values > 0, 1 / jnp.sqrt(jnp.where(axes.values > 0, axes.values, 1)), 0)
    root = jnp.sqrt(views.weights)
    rows = jnp.einsum("fnr,lfkr->lfkn", axes.vectors, gamma * inverse[None, :, None, :], precision="highest")
    # correlate_views multiplies by the weights, of which √W is wanted.
    rows = rows * jnp.where(root > 0, 1 / jnp.where(root > 0, root, 1), 0)[None, :, None, :]
    length, many, ratios, n = rows.shape
    by_set = rows.transpose(1, 0, 2, 3).reshape(many, -1, n)
    slopes = correlate_views(design, views, by_set) / factor
    return slopes.reshape(many, length, ratios, -1).transpose(1, 0, 2, 3)
