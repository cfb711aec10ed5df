"""Derivatives of `solve` and `sweep` under transformations, where there are many parameters, and where there are none."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxreg import FISTA, L1, SLOPE, ElasticNet, Logistic, Objective, Result, Squared, solve, sweep
from jaxreg.implicit import SMALL
from tests.helpers_models import affine, arrays, classes, equinox_network, linear
from tests.problems import gaussian
from tests.solver_problems import LASSO, quiet

P = 160
EXACT = FISTA(1e-13, 5_000)
LAMS = np.array([0.4, 0.2, 0.15])


def wide():
    """More parameters than systems are formed for under `jit`."""
    assert P > SMALL
    X, y = arrays(gaussian(50, P, 0.3), np.float64)
    weights = np.random.default_rng(0).normal(size=P)
    return X, y, weights, lambda lam: solve(LASSO.at(lam), jnp.zeros(P), (X, y), solver=EXACT).params @ weights


@pytest.mark.slow
def test_all_ways_agree(x64):
    X, y, weights, along = wide()
    step = 1e-6
    values = sweep(LASSO, jnp.zeros(P), (X, y), np.concatenate([LAMS + step, LAMS - step]), solver=EXACT).params
    expected = (values[:3] - values[3:]) @ weights / (2 * step)
    grad = jax.grad(along)
    np.testing.assert_allclose([grad(lam) for lam in LAMS], expected, rtol=1e-6)
    np.testing.assert_allclose(jax.vmap(grad)(LAMS), expected, rtol=1e-6)
    np.testing.assert_allclose(jax.jit(grad)(LAMS[1]), expected[1], rtol=1e-6)
    np.testing.assert_allclose(jax.jvp(along, (LAMS[1],), (1.0,))[1], expected[1], rtol=1e-6)
    jacobian = jax.jacrev(lambda lams: sweep(LASSO, jnp.zeros(P), (X, y), lams, solver=EXACT).params @ weights)
    np.testing.assert_allclose(jacobian(jnp.asarray(LAMS)), np.diag(expected), rtol=1e-6, atol=1e-12)


def test_second_derivatives(x64):
    X, y = arrays(classes(gaussian(50, 6, 0.3)), np.float64)
    way = np.random.default_rng(0).normal(size=6)

    @jax.jit
    def slope(weight):
        def value(weight):
            objective = Objective(Logistic(), ElasticNet(0.05, 0.5, weight=weight), linear)
            return solve(objective, jnp.zeros(6), (X, y), solver=EXACT).params @ way

        return jax.jvp(jax.grad(value), (weight,), (way,))

    weight = jnp.ones(6)
    first, second = slope(weight)
    differences = (slope(weight + 1e-5 * way)[0] - slope(weight - 1e-5 * way)[0]) / 2e-5
    np.testing.assert_allclose(second, differences, rtol=1e-5, atol=1e-8)
    assert np.abs(first).max() > 0.01


def test_optimal_value_and_start(x64):
    X, y = arrays(gaussian(50, 6, 0.3), np.float64)

    def end(lam, start):
        solution = solve(LASSO.at(lam), start, (X, y), solver=EXACT)
        return solution.stats.objective, solution.params

    value_slope, params_slope = jax.jacrev(end, argnums=(0, 1))(0.1, jnp.ones(6))
    np.testing.assert_allclose(value_slope[0], np.abs(end(0.1, jnp.ones(6))[1]).sum(), rtol=1e-9)
    assert not np.any(value_slope[1])
    assert not np.any(params_slope[1])
    assert np.any(params_slope[0])


def test_unrolled_derivatives_become_implicit_ones(x64):
    X, y = arrays(gaussian(50, 6, 0.3), np.float64)

    def total(lam, start, unroll):
        return quiet(solve, LASSO.at(lam), start, (X, y), solver=EXACT, unroll=unroll).params.sum()

    implicit = jax.grad(total)(0.1, jnp.ones(6), None)
    few, start_few = jax.grad(total, argnums=(0, 1))(0.1, jnp.ones(6), 5)
    many, start_many = jax.grad(total, argnums=(0, 1))(0.1, jnp.ones(6), 200)
    np.testing.assert_allclose(many, implicit, rtol=1e-8)
    assert abs(few - implicit) > 1e-3 * abs(implicit)
    assert np.abs(start_many).max() < 1e-8 < np.abs(start_few).max()
    solution = quiet(solve, LASSO.at(0.1), jnp.ones(6), (X, y), solver=EXACT, unroll=5)
    assert (int(solution.result), int(solution.stats.steps)) == (Result.MAX_STEPS, 5)


@pytest.mark.parametrize(
    ("unroll", "error"), [(0, ValueError), (2.5, TypeError), ("all", TypeError), (True, TypeError)]
)
def test_unroll_is_checked(unroll, error):
    with pytest.raises(error, match="unroll must be"):
        solve(LASSO, jnp.zeros(2), (jnp.eye(2), jnp.ones(2)), unroll=unroll)


def test_on_the_edge_the_support_found_counts(x64):
    X, y = jnp.eye(4)[:, :2] * 2, jnp.array([1.0, 0.5, 0.0, 0.0])  # b = y/2 − λ, cut at zero

    def coef(lam):
        return solve(LASSO.at(lam), jnp.zeros(2), (X, y), solver=EXACT).params

    np.testing.assert_allclose(jax.jacfwd(coef)(0.2), [-1.0, -1.0])
    np.testing.assert_allclose(jax.jacfwd(coef)(0.25), [-1.0, 0.0])  # the second is about to enter
    np.testing.assert_allclose(jax.jacfwd(coef)(0.3), [-1.0, 0.0])

    def tied(y):
        return solve(Objective(Squared(), SLOPE(0.1, weights=[2.0, 1.0]), linear), jnp.zeros(2), (X, y)).params

    np.testing.assert_allclose(jax.jacfwd(tied)(jnp.array([1.0, 0.9, 0.0, 0.0]))[:, :2], [[0.25, 0.25], [0.25, 0.25]])


def test_what_is_not_unique_has_no_derivative(x64):
    x = gaussian(30, 1, 0.0).X
    X, y = jnp.concatenate([x, x], axis=1), jnp.asarray(x[:, 0])

    def coef(X, lam):
        return solve(LASSO.at(lam), jnp.zeros(2), (X, y), solver=EXACT).params

    # Both columns alike: of all shares the even one is followed, and its sum is certain.
    np.testing.assert_allclose(jax.jacfwd(coef, argnums=1)(X, 0.1), [-0.5, -0.5], rtol=1e-9)
    apart = jax.jvp(lambda X: coef(X, 0.1), (X,), (X * jnp.array([1.0, 0.0]),))[1]
    assert np.isnan(apart).all()


def test_diverged_has_no_derivative(x64):
    X, y = arrays(gaussian(20, 3, 0.0), np.float64)
    slope = jax.jacfwd(lambda lam: sweep(LASSO, jnp.zeros(3), (X, y.at[0].set(lam * jnp.inf)), lam[None]).params[0])
    assert np.isnan(quiet(slope, jnp.asarray(0.1))).all()


@pytest.mark.slow
def test_models_and_trees(x64):
    X, y = arrays(gaussian(40, 6, 0.0), np.float64)
    objective = Objective(Squared(), L1(0.1, weight={"coef": 1.0, "intercept": 0.0}), affine)
    start = {"coef": jnp.zeros(6), "intercept": jnp.zeros(())}
    slopes = jax.jacfwd(lambda y: solve(objective, start, (X, y), solver=EXACT).params)(y)
    assert slopes["coef"].shape == (6, 40)
    np.testing.assert_allclose(slopes["intercept"].sum() + X.mean(axis=0) @ slopes["coef"].sum(axis=1), 1.0, atol=1e-9)
    network, predict = equinox_network()
    network = jax.tree.map(lambda leaf: leaf.astype(float) if hasattr(leaf, "dtype") else leaf, network)
    model = Objective(Squared(), L1(), predict)
    slope = jax.grad(
        lambda lam: quiet(solve, model.at(lam), network, (X, y), solver=FISTA(max_steps=5)).stats.objective
    )
    assert np.isfinite(slope(0.05))


def test_what_a_function_closes_over_is_refused(x64):
    X, y = arrays(gaussian(20, 3, 0.0), np.float64)

    def total(a):
        return solve(Objective(Squared(), L1(0.1), lambda b, X: a * X @ b), jnp.zeros(3), (X, y)).params.sum()

    with pytest.raises(Exception, match="tracer"):
        jax.grad(total)(1.0)
