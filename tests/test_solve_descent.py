"""FISTA on losses that overflow, have no minimum, or are not convex: the objective never rises."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxreg import FISTA, L1, Objective, Result, Squared, solve
from tests.helpers_models import arrays, curved, flax_network
from tests.problems import gaussian
from tests.solver_problems import N, P, quiet


def poisson(coef, data):
    X, y = data
    eta = X @ coef
    return jnp.mean(jnp.exp(eta) - y * eta)


def test_a_loss_that_overflows(x64):
    """From starts whose loss is up to 1e37 times that of the solution, and with first steps that overflow."""
    X, _ = gaussian(N, P, 0.5)
    y = np.random.default_rng(0).poisson(np.exp(0.3 * X[:, 0] - 0.3 * X[:, 1])).astype(np.float64)
    lam = 0.05 * np.abs(X.T @ (1 - y)).max() / N
    starts = jnp.array([0.0, 1.0, 3.0])[:, None] * jnp.ones(P)
    objective = Objective(poisson, L1(lam))
    assert objective.value(starts[2], (X, y)) > 1e20
    for step in (1e-8, 1.0, 1e8):
        found = jax.vmap(lambda start, t=step: solve(objective, start, (X, y), solver=FISTA(step=t)))(starts)
        assert np.all(found.result == Result.CONVERGED)
        for coef in np.asarray(found.params):
            gradient = X.T @ (np.exp(X @ coef) - y) / N
            off = np.where(coef != 0, gradient + lam * np.sign(coef), np.maximum(np.abs(gradient) - lam, 0))
            assert np.abs(off).max() <= 1e-5 * np.abs(X.T @ (1 - y)).max() / N


def test_a_loss_without_a_minimum_is_not_called_solved(dtype):
    falling = Objective(lambda x, data: jnp.sum(x) * data, L1(0.0))
    end = quiet(solve, falling, jnp.zeros(3, dtype), 1.0)
    assert Result(int(end.result)) in (Result.STALLED, Result.MAX_STEPS, Result.DIVERGED)
    assert end.stats.steps <= FISTA().max_steps
    assert np.all(np.isfinite(end.params))


def ripples(x, data):
    """Waves of curvatures of both signs, of which a long step crosses many."""
    return jnp.mean(jnp.sin(5 * x) + 0.1 * x**2 + 0.5 * jnp.cos(3 * x * data))


def network_problem():
    """Six random starts of a small network, some of them wild."""
    params, predict = flax_network()
    scales = 3.0 ** jnp.arange(-2, 4)
    keys = jax.random.split(jax.random.key(1), 6)
    starts = jax.vmap(lambda key, scale: jax.tree.map(lambda w: scale * jax.random.normal(key, w.shape), params))(
        keys, scales
    )
    return Objective(Squared(), L1(1e-3), predict), starts, arrays(curved(), np.float32)


def ripple_problem():
    return Objective(ripples, L1(0.01)), 3 * jax.random.normal(jax.random.key(2), (6, 5)), 2.0


@pytest.mark.slow
@pytest.mark.parametrize("problem", [network_problem, ripple_problem])
def test_the_objective_never_rises(problem):
    objective, starts, data = problem()

    @jax.jit
    def run(step, budget):
        found = jax.vmap(lambda start: solve(objective, start, data, solver=FISTA(max_steps=budget, step=step)))(starts)
        return found.stats.objective, jax.vmap(lambda end: objective.value(end, data))(found.params)

    first = jax.vmap(lambda start: objective.value(start, data))(starts)
    for step in (1e-8, 1.0, 1e8):
        before = first
        # Budgets small and large: the objective is watched along the way, not only where it ends.
        for budget in (1, 2, 5, 20, 100, 500):
            reported, value = run(step, budget)
            # Terms of size 1 may cancel in the mean, and leave their rounding.
            assert np.all(reported <= before + 1e-5 * np.abs(before) + 1e-6)
            np.testing.assert_allclose(value, reported, rtol=1e-5, atol=1e-6)
            before = reported
        assert np.all(before < first)
