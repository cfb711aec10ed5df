"""The null model of every training set: intercept, unpenalized columns and offset only."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxreg._programs import program
from jaxreg.linear import definite
from jaxreg.linear.columns import Columns, Data
from jaxreg.linear.design import Design, Views
from jaxreg.linear.tableau import dot
from jaxreg.losses import Loss


class Null(NamedTuple):
    """Where every path starts, and what certificates are relative to."""

    primal: jax.Array
    """(F,) weighted mean loss."""
    derivative: jax.Array
    """(F, n) derivative of the loss."""
    gradient: jax.Array
    """(F, p) gradient in the standardized columns."""
    basis: jax.Array
    """(F, n, m) orthonormal (under each set's weights) basis of the unpenalized directions, intercept included."""
    coef: jax.Array
    """(F, 1 + u) intercept and coefficients of the unpenalized columns, standardized."""
    deviance: jax.Array
    """(F,) weighted mean deviance of intercept and offset alone, which `deviance_ratio` compares with."""


@program()
def fit_null(design: Design, views: Views, loss: Loss, data: Data, unpenalized: Columns) -> Null:
    """Fit the null model by Newton's method and correlate what it leaves with every column."""
    many = data.weights.shape[0]
    sets = jnp.arange(many)
    basis, whitening = jax.vmap(_orthonormal, in_axes=(None, 0, 0))(unpenalized, sets, data.weights)
    gamma = jax.vmap(_newton, in_axes=(None, None, 0, 0))(loss, data, data.weights, basis)
    eta = data.offset + jnp.einsum("fnm,fm->fn", basis, gamma, precision="highest")
    derivative = loss.derivative(eta, data.target)
    level = unpenalized.free[:, None, :1] * jnp.ones((data.target.size, 1))
    plain = data.offset + level[..., 0] * jax.vmap(_newton, in_axes=(None, None, 0, 0))(loss, data, data.weights, level)

    return Null(
        primal=jnp.sum(data.weights * loss.value(eta, data.target), axis=1),
        derivative=derivative,
        gradient=correlate_views(design, views, derivative[:, None])[:, 0],
        basis=basis,
        coef=jnp.einsum("fdm,fm->fd", whitening, gamma, precision="highest"),
        deviance=jnp.sum(data.weights * loss.deviance(plain, data.target), axis=1),
    )


def correlate_views(design: Design, views: Views, rows: jax.Array) -> jax.Array:
    """Weighted inner products (F, C, p) of rows (F, C, n) with the standardized columns of every training set."""
    many, count, n = rows.shape
    rows = views.weights[:, None] * rows
    total = jnp.sum(rows, axis=2, keepdims=True)
    raw = design.correlate(rows.reshape(-1, n)).reshape(many, count, -1)
    return (raw - total * views.mean[:, None]) * jnp.where(views.varies, 1 / views.scale, 0)[:, None]


def _orthonormal(columns: Columns, f: jax.Array, weight: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Whiten ones and unpenalized columns: the basis (n, m), and the map (m, m) from it to coefficients.

    Gram-Schmidt, each column twice. Directions that are absent, or depend on others, become zero.
    """
    x = columns.standardized(f) * columns.free[f]
    m = x.shape[1]

    def step(j: jax.Array, state: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        basis, whitening = state
        column, coef = x[:, j], jnp.arange(m) == j
        left, coef = column, coef.astype(x.dtype)
        for _ in range(2):
            along = dot(weight * left, basis)
            left, coef = left - dot(basis, along), coef - dot(whitening, along)
        size, whole = (jnp.sqrt(jnp.sum(weight * jnp.square(v))) for v in (left, column))
        scale = jnp.where(size > 1e-6 * whole, 1 / jnp.where(size > 0, size, 1), 0)
        return basis.at[:, j].set(left * scale), whitening.at[:, j].set(coef * scale)

    return jax.lax.fori_loop(0, m, step, (jnp.zeros_like(x), jnp.zeros((m, m))))


def _newton(loss: Loss, data: Data, weight: jax.Array, basis: jax.Array) -> jax.Array:
    """Minimize the loss over the basis: Newton steps, halved until they descend."""

    def value(eta: jax.Array) -> jax.Array:
        return jnp.sum(weight * loss.value(eta, data.target))

    def gradient(eta: jax.Array) -> jax.Array:
        return basis.T @ (weight * loss.derivative(eta, data.target))

    def body(state: tuple[jax.Array, jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array, jax.Array]:
        gamma, eta, rounds = state
        hessian = basis.T @ (basis * (weight * loss.second_derivative(eta, data.target))[:, None])
        absent = jnp.diagonal(hessian) == 0
        move = -definite.solve(hessian + jnp.diag(jnp.where(absent, 1.0, 0.0)), gradient(eta))
        eta_move = basis @ move

        def halve(t: jax.Array) -> jax.Array:
            return 0.5 * t

        def worse(t: jax.Array) -> jax.Array:
            trial = value(eta + t * eta_move)
            now = value(eta)
            return ~(trial <= now + 1e-14 * jnp.abs(now)) & (t > 1e-10)

        t = jax.lax.while_loop(worse, halve, jnp.asarray(1.0))
        return gamma + t * move, eta + t * eta_move, rounds + 1

    scale = jnp.sqrt(jnp.sum(weight * jnp.square(loss.derivative(data.offset, data.target))))

    def unfinished(state: tuple[jax.Array, jax.Array, jax.Array]) -> jax.Array:
        return (jnp.max(jnp.abs(gradient(state[1]))) > 1e-14 * scale) & (state[2] < 30)

    start = (jnp.zeros(basis.shape[1]), data.offset, jnp.asarray(0))
    return jax.lax.while_loop(unfinished, body, start)[0]
