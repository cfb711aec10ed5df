"""Failure is data: a lane that fails says so, and leaves the others alone."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxreg import FISTA, L2, Objective, OptaxSolver, Result, Squared, solve, sweep
from tests.helpers_models import arrays, linear
from tests.problems import gaussian
from tests.solver_problems import LASSO, N, P, judge, lam_grid, quiet


def test_a_diverging_lane_leaves_the_others_alone(dtype):
    """Gradient steps of 0.5 with ridge shrink errors by |1 − L/2| / (1 + λ/2): below 1 where λ > L − 4."""
    problem = gaussian(N, P, 0.5)
    largest = np.linalg.eigvalsh(problem.X.T @ problem.X / N)[-1]
    good, bad = largest + np.array([0.0, 5.0, 20.0]), 0.1
    assert largest > 5
    objective = Objective(Squared(), L2(), linear)
    solver = OptaxSolver(optax.sgd(0.5), 0.5, tol=1e-5)
    data, start = arrays(problem, dtype), jnp.zeros(P, dtype)
    with pytest.warns(RuntimeWarning, match="of 4 problems: 1 diverged") as record:
        mixed = sweep(objective, start, data, [good[0], bad, *good[1:]], solver=solver)
    assert len(record) == 1
    assert list(mixed.result) == [Result.CONVERGED, Result.DIVERGED, Result.CONVERGED, Result.CONVERGED]
    assert np.all(np.isfinite(mixed.params))
    healthy = sweep(objective, start, data, [good[0], good[0], *good[1:]], solver=solver)
    for k in (0, 2, 3):
        np.testing.assert_array_equal(mixed.params[k], healthy.params[k])
        assert mixed.stats.steps[k] == healthy.stats.steps[k] > 0
    for lam, coef in zip(good, mixed.params[jnp.array([0, 2, 3])], strict=True):
        assert judge(problem, coef, lam, l1_ratio=0.0).kkt <= 2e-5


def test_bad_data_in_one_lane():
    X, y = arrays(gaussian(N, P, 0.5), np.float32)
    ys = jnp.stack([y, y.at[3].set(jnp.nan), y.at[3].set(jnp.inf), -y])
    found = jax.vmap(lambda target: solve(LASSO.at(0.1), jnp.zeros(P), (X, target)))(ys)
    assert list(found.result) == [Result.CONVERGED, Result.DIVERGED, Result.DIVERGED, Result.CONVERGED]
    np.testing.assert_array_equal(found.params[0], -found.params[3])
    np.testing.assert_array_equal(found.params[1:3], 0)
    with pytest.warns(RuntimeWarning, match="of 1 problems: 1 diverged"):
        assert solve(LASSO.at(0.1), jnp.zeros(P), (X, ys[1])).result == Result.DIVERGED


def test_budget_is_kept_and_reported():
    problem = gaussian(N, P, 0.95)
    data, start, lams = arrays(problem, np.float32), jnp.zeros(P), lam_grid(problem)
    with pytest.warns(RuntimeWarning, match="of 5 problems: 5 max_steps") as record:
        short = sweep(LASSO, start, data, lams, solver=FISTA(max_steps=3))
    assert len(record) == 1
    assert record[0].filename == __file__
    assert np.all(short.result == Result.MAX_STEPS)
    assert np.all(short.stats.steps == 3)
    more = quiet(sweep, LASSO, start, data, lams, solver=FISTA(max_steps=30))
    assert np.all(more.stats.objective < short.stats.objective)
