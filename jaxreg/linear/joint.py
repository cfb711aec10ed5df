"""Null models and dual points of losses whose outputs, or samples, belong together.

What `null` and `judge` do for one output with sums of second derivatives is done here with products of the Hessian.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxreg._programs import program
from jaxreg.linear import definite
from jaxreg.linear.columns import Columns, Data
from jaxreg.linear.design import Design, Views
from jaxreg.linear.null import Null, orthonormal
from jaxreg.linear.outputs import alike, correlate_problems, per_sample
from jaxreg.losses import Loss
from jaxreg.losses._base import Coupled

ROUNDS = 100
"""Most Newton steps of a null model."""


class _Now(NamedTuple):
    gamma: jax.Array
    left: jax.Array
    stuck: jax.Array
    rounds: jax.Array


@program()
def fit_null_joint(design: Design, views: Views, loss: Loss, data: Data, unpenalized: Columns) -> Null:
    """Fit the null models, as `fit_null` does; fields have a last axis of outputs where a sample has several."""
    many = data.weights.shape[0]
    basis, whitening = jax.vmap(orthonormal, in_axes=(None, 0, 0))(unpenalized, jnp.arange(many), data.weights)
    level = unpenalized.free[:, None, :1] * jnp.ones((data.offset.shape[0], 1))

    def of_set(weights: jax.Array, basis: jax.Array, level: jax.Array) -> tuple[jax.Array, ...]:
        weighed = loss.weighing(weights)
        coupled = isinstance(loss, Coupled)
        # Coupled samples have no intercept, whose place comes first: then there is nothing to fit, nor to compile.
        nothing = coupled and basis.shape[1] == 1
        gamma = jnp.zeros(1) if nothing else _newton(weighed, data, weights, basis)
        eta = data.offset + _along(basis, gamma)
        derivative = weighed.derivative(eta, data.target)
        plain = data.offset if coupled else data.offset + _along(level, _newton(weighed, data, weights, level))
        # Of coupled samples only differences of losses mean anything: what is left to explain is their size.
        cost = 0.5 * weighed.deviance(eta, data.target) if coupled else weighed.value(eta, data.target)
        left = _across(basis, weights, derivative)
        size = jnp.sqrt(per_sample(weights, jnp.square(derivative)))
        return (
            per_sample(weights, cost),
            derivative,
            gamma,
            per_sample(weights, weighed.deviance(plain, data.target)),
            jnp.max(jnp.abs(left)) / jnp.where(size > 0, size, 1),
        )

    primal, derivative, gamma, deviance, astray = jax.vmap(of_set)(data.weights, basis, level)
    seen = jnp.where(alike(data.weights, derivative) > 0, derivative, 0)
    return Null(
        primal=primal,
        derivative=derivative,
        gradient=correlate_problems(design, views, seen[:, None])[:, 0],
        basis=basis,
        coef=jax.vmap(_along)(whitening, gamma),
        deviance=deviance,
        astray=astray,
    )


def orthogonal_joint(
    loss: Loss, data: Data, weights: jax.Array, basis: jax.Array, eta: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Derivatives (n, …) of one problem made orthogonal to the basis (n, m), and how far they were from it.

    As `judge.orthogonal` does: they move as one Newton step along those directions would move them.
    """
    derivative = loss.derivative(eta, data.target)
    astray = _across(basis, weights, derivative)
    step = _step(loss, data, weights, basis, eta, astray)
    return derivative - loss.hessian_product(eta, data.target, _along(basis, step)), jnp.max(jnp.abs(astray))


def _along(basis: jax.Array, gamma: jax.Array) -> jax.Array:
    """Basis (n, m) times coefficients (m, …)."""
    return jnp.tensordot(basis, gamma, axes=1, precision="highest")


def _across(basis: jax.Array, weights: jax.Array, rows: jax.Array) -> jax.Array:
    """Weighted inner products (m, …) of the basis with rows (n, …)."""
    weighted = jnp.where(alike(weights, rows) > 0, alike(weights, rows) * rows, 0)
    return jnp.tensordot(basis.T, weighted, axes=1, precision="highest")


def _step(loss: Loss, data: Data, weights: jax.Array, basis: jax.Array, eta: jax.Array, g: jax.Array) -> jax.Array:
    """Solve the Hessian along the basis for g (m, …): of the solutions of a singular one, one that is small."""
    units = jnp.eye(g.size).reshape(g.size, *g.shape)

    def product(unit: jax.Array) -> jax.Array:
        return _across(basis, weights, loss.hessian_product(eta, data.target, _along(basis, unit))).reshape(-1)

    hessian = jax.vmap(product)(units)
    top = jnp.max(jnp.diagonal(hessian))
    # Equal shifts of all classes change nothing, so a multinomial Hessian is singular: solved with a little more on
    # the diagonal, and refined, which is exact where the Hessian is not.
    more = hessian + 1e-6 * jnp.where(top > 0, top, 1) * jnp.eye(g.size)
    right = g.reshape(-1)
    x = definite.solve(more, right)
    for _ in range(2):
        x = x + definite.solve(more, right - hessian @ x)
    return x.reshape(g.shape)


def _newton(loss: Loss, data: Data, weights: jax.Array, basis: jax.Array) -> jax.Array:
    """Minimize the loss over the basis by damped Newton steps, from the intercepts that fit the mean target."""
    outputs = data.offset.shape[1:]
    gamma = jnp.zeros((basis.shape[1], *outputs))

    def gradient(gamma: jax.Array) -> jax.Array:
        return _across(basis, weights, loss.derivative(data.offset + _along(basis, gamma), data.target))

    def placed(gamma: jax.Array, before: jax.Array, rounds: jax.Array) -> _Now:
        left = jnp.max(jnp.abs(gradient(gamma)))
        return _Now(gamma, left, (left >= before) & (left <= 1e-9 * scale), rounds)

    def body(now: _Now) -> _Now:
        g = gradient(now.gamma)
        move = -_step(loss, data, weights, basis, data.offset + _along(basis, now.gamma), g)
        move = jnp.where(jnp.sum(move * g) < 0, move, -g)

        def uphill(t: jax.Array) -> jax.Array:
            slope = jnp.sum(move * gradient(now.gamma + t * move))
            return ~(slope <= 0.5 * jnp.abs(jnp.sum(move * g)))

        t = jax.lax.while_loop(lambda t: uphill(t) & (t > 1e-18), lambda t: 0.5 * t, jnp.ones(()))
        return placed(now.gamma + t * move, now.left, now.rounds + 1)

    scale = jnp.sqrt(per_sample(weights, jnp.square(loss.derivative(data.offset, data.target))))
    if outputs:
        # The first direction is the intercept, or nothing.
        mean = jnp.sum(weights[:, None] * data.target, axis=0)
        level = loss.link(mean) - jnp.sum(weights[:, None] * data.offset, axis=0)
        gamma = gamma.at[0].set(jnp.where(jnp.any(basis[:, 0] != 0) & jnp.isfinite(level), level, 0))
    first = placed(gamma, jnp.asarray(jnp.inf), jnp.asarray(0))

    def unfinished(now: _Now) -> jax.Array:
        return (now.left > 1e-14 * scale) & ~now.stuck & (now.rounds < ROUNDS)

    return jax.lax.while_loop(unfinished, body, first).gamma
