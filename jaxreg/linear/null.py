"""The null model of every training set: intercept, unpenalized columns and offset only."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxreg._programs import program
from jaxreg.linear import definite
from jaxreg.linear.active.tableau import dot
from jaxreg.linear.columns import Columns, Data
from jaxreg.linear.design import Design, Views
from jaxreg.losses import Loss

ROUNDS = 100
"""Most Newton steps of a null model."""


class Null(NamedTuple):
    """Where every path starts, and what certificates are relative to."""

    primal: jax.Array
    """(F,) weighted mean loss; of coupled samples, what it is above that of the saturated model."""
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
    astray: jax.Array
    """(F,) gradient left along unpenalized directions, relative to the size of the derivatives."""


@program()
def fit_null(
    design: Design | None, views: Views, loss: Loss, data: Data, unpenalized: Columns, along: jax.Array | None = None
) -> Null:
    """Fit the null model by Newton's method and correlate what it leaves with every column.

    The covariance (F, p) of the target with the columns, where that is known, tells what the mean leaves of it: then no
    design is needed.
    """
    many = data.weights.shape[0]
    sets = jnp.arange(many)
    basis, whitening = jax.vmap(orthonormal, in_axes=(None, 0, 0))(unpenalized, sets, data.weights)
    gamma = jax.vmap(_newton, in_axes=(None, None, 0, 0))(loss, data, data.weights, basis)
    eta = data.offset + jnp.einsum("fnm,fm->fn", basis, gamma, precision="highest")
    eta = jnp.where(data.weights > 0, eta, 0)
    derivative = loss.derivative(eta, data.target)
    left = jnp.einsum("fn,fnm->fm", jnp.where(data.weights > 0, data.weights * derivative, 0), basis)
    size = jnp.sqrt(jnp.sum(data.weights * jnp.square(derivative), axis=1))
    level = unpenalized.free[:, None, :1] * jnp.ones((data.target.size, 1))
    plain = data.offset + level[..., 0] * jax.vmap(_newton, in_axes=(None, None, 0, 0))(loss, data, data.weights, level)

    if along is not None:
        gradient = -along
    else:
        assert design is not None
        gradient = correlate_views(design, views, derivative[:, None])[:, 0]
    return Null(
        primal=jnp.sum(data.weights * loss.value(eta, data.target), axis=1),
        derivative=derivative,
        gradient=gradient,
        basis=basis,
        coef=jnp.einsum("fdm,fm->fd", whitening, gamma, precision="highest"),
        deviance=jnp.sum(data.weights * loss.deviance(plain, data.target), axis=1),
        astray=jnp.max(jnp.abs(left), axis=1) / jnp.where(size > 0, size, 1),
    )


class Correlations(NamedTuple):
    """Inner products of C rows with the columns of X in every training set, standardized when they are looked at."""

    raw: jax.Array
    """(F, C, p) with X as it is."""
    total: jax.Array
    """(F, C, 1) sum of each row."""
    mean: jax.Array
    """(F, p) of the columns."""
    inverse: jax.Array
    """(F, p) of their scales; 0 for a column that does not vary."""

    def look(self, first: jax.Array | int = 0, width: int | None = None) -> jax.Array:
        """Those with `width` standardized columns from `first` on, (F, C, width); with all of them unless told."""
        if width is None:
            raw, mean, inverse = self.raw, self.mean, self.inverse
        else:
            raw, mean, inverse = (
                jax.lax.dynamic_slice_in_dim(a, first, width, axis=-1) for a in (self.raw, self.mean, self.inverse)
            )
        return (raw - self.total * mean[:, None]) * inverse[:, None]

    def of_rows(self, which: slice) -> jax.Array:
        """Those of some rows with all standardized columns, (F, C', p)."""
        return self._replace(raw=self.raw[:, which], total=self.total[:, which]).look()


def correlations(design: Design, views: Views, rows: jax.Array) -> Correlations:
    """Weighted inner products of rows (F, C, n) with the columns of every training set."""
    many, count, n = rows.shape
    rows = views.weights[:, None] * rows
    raw = design.correlate(rows.reshape(-1, n)).reshape(many, count, -1)
    inverse = jnp.where(views.varies, 1 / views.scale, 0)
    return Correlations(raw, jnp.sum(rows, axis=2, keepdims=True), views.mean, inverse)


def correlate_views(design: Design, views: Views, rows: jax.Array) -> jax.Array:
    """Weighted inner products (F, C, p) of rows (F, C, n) with the standardized columns of every training set."""
    return correlations(design, views, rows).look()


def orthonormal(columns: Columns, f: jax.Array, weight: jax.Array) -> tuple[jax.Array, jax.Array]:
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


class _State(NamedTuple):
    gamma: jax.Array
    eta: jax.Array
    left: jax.Array
    stuck: jax.Array
    rounds: jax.Array


def _newton(loss: Loss, data: Data, weight: jax.Array, basis: jax.Array) -> jax.Array:
    """Minimize the loss over the basis by Newton steps, from the intercept alone that fits the mean of the target.

    A step is as long as slopes say, which do not cancel as values do where the loss is large: to where the slope has
    halved, farther if it has not (a Huber loss is straight far from its data), and back to where it is zero else.
    """

    def value(eta: jax.Array) -> jax.Array:
        return jnp.sum(jnp.where(weight > 0, weight * loss.value(eta, data.target), 0))

    def gradient(eta: jax.Array) -> jax.Array:
        return basis.T @ jnp.where(weight > 0, weight * loss.derivative(eta, data.target), 0)

    def placed(gamma: jax.Array, eta: jax.Array, before: jax.Array, rounds: jax.Array) -> _State:
        left = jnp.max(jnp.abs(gradient(eta)))
        return _State(gamma, eta, left, (left >= before) & (left <= 1e-9 * scale), rounds)

    def body(state: _State) -> _State:
        eta, g = state.eta, gradient(state.eta)
        second = jnp.where(weight > 0, loss.second_derivative(eta, data.target), 0)
        bound = jnp.asarray(loss.curvature, second.dtype)
        floor = 1e-9 * jnp.where(jnp.isfinite(bound), bound, jnp.max(second))
        hessian = basis.T @ (basis * (weight * jnp.maximum(second, floor))[:, None])
        absent = jnp.diagonal(hessian) == 0
        move = -definite.solve(hessian + jnp.diag(jnp.where(absent, 1.0, 0.0)), g)
        move = jnp.where(jnp.sum(move * g) < 0, move, -g)
        eta_move = basis @ move
        steep = jnp.abs(jnp.sum(move * g))

        def slope(t: jax.Array) -> jax.Array:
            return jnp.sum(move * gradient(eta + t * eta_move))

        def halve(ends: tuple[jax.Array, jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array, jax.Array]:
            low, high, count = ends
            middle = 0.5 * (low + high)
            down = slope(middle) < 0
            return jnp.where(down, middle, low), jnp.where(down, high, middle), count + 1

        one = jnp.ones_like(steep)
        far = jax.lax.while_loop(lambda t: (slope(t) < -0.5 * steep) & (t < 1e18), lambda t: 2 * t, one)
        # Not so far that anything overflows.
        over = ~(slope(far) <= 0.5 * steep)
        ends = jnp.where(over, 0, far), far, jnp.asarray(0)
        t = jax.lax.while_loop(lambda ends: over & (ends[2] < 60), halve, ends)[0]
        return placed(state.gamma + t * move, eta + t * eta_move, state.left, state.rounds + 1)

    def unfinished(state: _State) -> jax.Array:
        return (state.left > 1e-14 * scale) & ~state.stuck & (state.rounds < ROUNDS)

    scale = jnp.sqrt(jnp.sum(weight * jnp.square(loss.derivative(data.offset, data.target))))
    # The first direction is the intercept, or nothing.
    level = loss.link(jnp.sum(weight * data.target)) - jnp.sum(weight * data.offset)
    level = jnp.where(value(data.offset + level * basis[:, 0]) < value(data.offset), level, 0)
    gamma, eta = jnp.zeros(basis.shape[1]).at[0].set(level), data.offset + level * basis[:, 0]
    first = placed(gamma, eta, jnp.asarray(jnp.inf), jnp.asarray(0))
    return jax.lax.while_loop(unfinished, body, first).gamma
