"""Effective degrees of freedom of an elastic-net fit."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from jaxreg._programs import program
from jaxreg.linear import definite
from jaxreg.linear.active.grams import own_moments
from jaxreg.linear.active.tableau import dot
from jaxreg.linear.columns import Columns, bucket, gather
from jaxreg.linear.problem import Problem
from jaxreg.linear.threads import in_threads
from jaxreg.losses import Squared

FITS, FEW = 10, 4
"""Fits worked on together, which have about as many active columns; the same where these are more than `WIDE`."""
WIDE = 512
"""Active columns up to which widths of systems are powers of two; above, three quarters of these as well."""


def degrees_of_freedom(
    problem: Problem, index: np.ndarray, b: np.ndarray, l2: np.ndarray, l1: np.ndarray
) -> np.ndarray:
    """Degrees of freedom of the first training set's fits, (L,), intercept not counted.

    For the lasso the number of nonzero coefficients; with a ridge part the trace of the active columns'
    smoother, tr(X_A(X_AᵀWX_A + λ₂D)⁻¹X_AᵀW), where W also holds the loss's second derivative.

    Args:
        problem: data.
        index: ever-active columns, (a,).
        b: intercept and slopes of the first training set, (L, 1 + a).
        l2: ridge strengths, (L,).
        l1: strengths of the absolute value, (L,).

    Source: Zou, Hastie & Tibshirani (2007), "On the degrees of freedom of the lasso", Annals of Statistics 35;
    Zou (2005) for the elastic net.
    """
    active = b[:, 1:] != 0
    if l2.any():
        # Without a kink every column that varies is active, at whatever value.
        active = active | (l1 == 0)[:, None]
    if not l2.any() or not active.any():
        return active.sum(axis=1).astype(np.float64)
    # Other training sets and l1 ratios have active columns of their own.
    used = active.any(axis=0)
    index, b, active = index[used], b[:, np.r_[True, used]], active[:, used]
    n, p = problem.size
    size = bucket(index.size, p)
    first = jax.tree.map(lambda leaf: leaf[:1], problem.views)
    columns = gather(problem.design, first, index, size, problem.intercept)
    spare = ((0, 0), (0, size - index.size))
    b, active = np.pad(b, spare), np.pad(active, spare)
    weights = problem.data.weights[0]
    if not isinstance(problem.loss, Squared):
        # (L, n): every fit has a curvature of its own.
        eta = columns.predict(jnp.asarray(b)[None])[0] + problem.data.offset
        curvature = problem.loss.second_derivative(eta, problem.data.target)
        weights = jnp.where(weights > 0, weights * curvature, 0)
    ridge = np.pad(l2[:, None] * problem.factor[index], spare)
    count = active.sum(axis=1)
    by_samples = count.max() > n
    about: Columns | jax.Array
    each: jax.Array | np.ndarray
    if by_samples:
        about, active, each = columns, active & (ridge > 0), jnp.broadcast_to(weights, (len(b), n))
    elif weights.ndim == 1:
        about, each = _gram(columns, weights), np.zeros(len(b))
    else:
        about, each = columns, weights

    def some(which: np.ndarray) -> np.ndarray:
        """Degrees of freedom of a few fits with about as many active columns."""
        order = np.argsort(~active[which], axis=1, kind="stable")[:, : width(which)]
        chosen = np.take_along_axis(active[which], order, axis=1)
        shrinkage = np.take_along_axis(ridge[which], order, axis=1)
        return np.asarray((_by_samples if by_samples else _by_columns)(about, order, chosen, shrinkage, each[which]))

    def width(which: np.ndarray) -> int:
        most = int(count[which].max())
        room = bucket(most, size)
        return room * 3 // 4 if room > WIDE and most <= room * 3 // 4 else room

    by_size = np.argsort(count)
    step = FITS if count.max() <= WIDE else FEW
    parts = [by_size[np.minimum(np.arange(first, first + step), len(b) - 1)] for first in range(0, len(b), step)]
    df = np.empty(len(b))
    answers = in_threads(some, parts, lambda part: (n, size, width(part)), width)
    for which, found in zip(parts, answers, strict=True):
        df[which] = found
    return df


def _view(columns: Columns, weight: jax.Array) -> jax.Array:
    """First set's columns, centered under these weights when there is an intercept to do so, times √weight."""
    x = (columns.x - columns.shift[0]) / columns.scale[0] * columns.free[0, 1:]
    mean = jnp.where(columns.free[0, 0], weight @ x / jnp.sum(weight), 0)
    return (x - mean) * jnp.sqrt(weight)[:, None]


@program()
def _gram(columns: Columns, weight: jax.Array) -> jax.Array:
    return own_moments(_view(columns, weight), jnp.ones((1, weight.size)), None)[0]


@program()
def _by_columns(
    about: Columns | jax.Array, order: jax.Array, chosen: jax.Array, ridge: jax.Array, weights: jax.Array
) -> jax.Array:
    """From the columns, with weights (L, n) of every fit; or from the one Gram that all fits have."""

    def one(task: tuple[jax.Array, ...]) -> jax.Array:
        which, real, shrinkage, weight = task
        gram = _gram.jitted(about, weight) if isinstance(about, Columns) else about
        gram = jnp.where(real[:, None] & real, gram[which[:, None], which], 0)
        # tr(S⁻¹G) = count − tr(S⁻¹Λ) for S = G + Λ; the jitter gives dependent, unpenalized columns no weight.
        jitter = 1e-12 * jnp.max(jnp.diagonal(gram))
        system = gram + jnp.diag(jnp.where(real, shrinkage + jitter, 1))
        inverse = definite.inverse_diagonal(system)
        return jnp.sum(real) - jnp.sum(jnp.where(real, shrinkage + jitter, 0) * inverse)

    return jax.lax.map(one, (order, chosen, ridge, weights))


@program()
def _by_samples(
    columns: Columns, order: jax.Array, chosen: jax.Array, ridge: jax.Array, weights: jax.Array
) -> jax.Array:
    def one(task: tuple[jax.Array, ...]) -> jax.Array:
        which, real, shrinkage, weight = task
        some = dataclasses.replace(
            columns,
            x=columns.x[:, which],
            shift=columns.shift[:, which],
            scale=columns.scale[:, which],
            free=columns.free[:, jnp.concatenate([jnp.zeros(1, int), 1 + which])],
        )
        x = _view(some, weight) * jnp.where(real, 1 / jnp.sqrt(jnp.where(real, shrinkage, 1)), 0)
        return x.shape[0] - jnp.sum(definite.inverse_diagonal(dot(x, x.T) + jnp.eye(x.shape[0])))

    return jax.lax.map(one, (order, chosen, ridge, weights))
