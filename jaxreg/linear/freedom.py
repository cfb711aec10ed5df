"""Effective degrees of freedom of an elastic-net fit."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxreg._programs import program
from jaxreg.linear import definite
from jaxreg.linear.columns import Columns, bucket, gather
from jaxreg.linear.pivot import dot
from jaxreg.linear.problem import Problem
from jaxreg.linear.sizes import rounded
from jaxreg.losses import Squared


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
    if not l2.any() or index.size == 0:
        return active.sum(axis=1).astype(np.float64)
    # Without a kink every column that varies is active, at whatever value.
    active = active | (l1 == 0)[:, None]
    n, width = problem.design.shape[0], rounded(index.size, steps=2)
    columns = gather(problem.design, problem.views, index, width, problem.intercept)
    spare = ((0, 0), (0, width - index.size))
    b, active = np.pad(b, spare), np.pad(active, spare)
    weights = problem.data.weights[0]
    if not isinstance(problem.loss, Squared):
        # (L, n): every fit has a curvature of its own.
        eta = columns.predict(jnp.zeros(len(b), int), jnp.asarray(b)) + problem.data.offset
        weights = weights * problem.loss.second_derivative(eta, problem.data.target)
    ridge = np.pad(l2[:, None] * problem.factor[index], spare)
    most = int(active.sum(axis=1).max())
    if most <= n:
        size = bucket(most, width)
        order = np.argsort(~active, axis=1, kind="stable")[:, :size]
        chosen = np.take_along_axis(active, order, axis=1)
        shrinkage = np.take_along_axis(ridge, order, axis=1)
        return np.asarray(_by_columns(columns, order, chosen, shrinkage, weights))
    weights = jnp.broadcast_to(weights, (len(b), n))
    return np.asarray(_by_samples(columns, active & (ridge > 0), ridge, weights))


def _view(columns: Columns, weight: jax.Array) -> jax.Array:
    """First set's columns, centered under these weights when there is an intercept to do so, times √weight."""
    x = (columns.x - columns.shift[0]) / columns.scale[0] * columns.free[0, 1:]
    mean = jnp.where(columns.free[0, 0], weight @ x / jnp.sum(weight), 0)
    return (x - mean) * jnp.sqrt(weight)[:, None]


@program()
def _by_columns(
    columns: Columns, order: jax.Array, chosen: jax.Array, ridge: jax.Array, weights: jax.Array
) -> jax.Array:
    def gram_of(weight: jax.Array) -> jax.Array:
        x = _view(columns, weight)
        return dot(x.T, x)

    def one(task: tuple[jax.Array, ...]) -> jax.Array:
        which, real, shrinkage, gram = task
        gram = jnp.where(real[:, None] & real, gram[which][:, which], 0)
        # tr(S⁻¹G) = count − tr(S⁻¹Λ) for S = G + Λ; the jitter gives dependent, unpenalized columns no weight.
        jitter = 1e-12 * jnp.max(jnp.diagonal(gram))
        system = gram + jnp.diag(jnp.where(real, shrinkage + jitter, 1))
        inverse = definite.solve(system, jnp.eye(system.shape[0]))
        return jnp.sum(real) - jnp.sum(jnp.where(real, shrinkage + jitter, 0) * jnp.diagonal(inverse))

    if weights.ndim == 1:
        gram = gram_of(weights)
        return jax.lax.map(lambda task: one((*task, gram)), (order, chosen, ridge))
    return jax.lax.map(lambda task: one((*task[:3], gram_of(task[3]))), (order, chosen, ridge, weights))


@program()
def _by_samples(columns: Columns, active: jax.Array, ridge: jax.Array, weights: jax.Array) -> jax.Array:
    def one(task: tuple[jax.Array, ...]) -> jax.Array:
        real, shrinkage, weight = task
        x = _view(columns, weight) * jnp.where(real, 1 / jnp.sqrt(jnp.where(real, shrinkage, 1)), 0)
        identity = jnp.eye(x.shape[0])
        return x.shape[0] - jnp.trace(definite.solve(x @ x.T + identity, identity))

    return jax.lax.map(one, (active, ridge, weights))
