"""One program for many λ: a sweep is a loop of solves, and new numbers compile nothing."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxreg import FISTA, L1, Objective, Squared, solve, sweep
from jaxreg.solvers._loop import _compiled
from tests.helpers_models import arrays, classes, linear
from tests.problems import gaussian
from tests.solver_problems import LASSO, LOGISTIC, N, P, lam_grid


def test_sweep_is_a_loop_of_solves(x64):
    for objective, problem in ((LASSO, gaussian(N, P, 0.5)), (LOGISTIC, classes(gaussian(N, P, 0.5)))):
        lams = lam_grid(problem, "logistic" if objective is LOGISTIC else "squared")
        data = arrays(problem, np.float64)
        together = sweep(objective, jnp.zeros(P), data, lams, solver=FISTA(1e-11))
        alone = [solve(objective.at(lam), jnp.zeros(P), data, solver=FISTA(1e-11)) for lam in lams]
        for k, one in enumerate(alone):
            np.testing.assert_allclose(together.params[k], one.params, atol=1e-9)
            np.testing.assert_array_equal(together.params[k] != 0, one.params != 0)
        np.testing.assert_array_equal(np.count_nonzero(together.params, axis=1) > 0, True)


def test_new_numbers_compile_nothing():
    data = arrays(gaussian(N, P, 0.5), np.float32)
    other = arrays(gaussian(N, P, 0.5, seed=1), np.float32)
    start = jnp.zeros(P)
    sweep(LASSO, start, data, [0.3, 0.2])
    solve(LASSO.at(0.25), start, data)
    compiled = _compiled._cache_size()
    for lams in ([0.4, 0.1], np.array([0.5, 0.3]), jnp.array([0.7, 0.2]), (1, 2)):
        sweep(LASSO, start, data, lams)
    for lam in (0.35, 0.15, 1.5):
        solve(Objective(Squared(), L1(lam), linear), start, other, solver=FISTA(1e-4, 5000, step=0.5))
    assert _compiled._cache_size() == compiled


def test_solve_under_transformations(x64):
    problem = gaussian(N, P, 0.5)
    lams, data = jnp.asarray(lam_grid(problem)), arrays(problem, np.float64)

    def coef(lam):
        return solve(LASSO.at(lam), jnp.zeros(P), data).params

    expected = sweep(LASSO, jnp.zeros(P), data, lams).params
    np.testing.assert_allclose(jax.vmap(coef)(lams), expected, atol=1e-12)
    np.testing.assert_allclose(jax.jit(coef)(lams[2]), expected[2], atol=1e-5)
