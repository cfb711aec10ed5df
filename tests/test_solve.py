"""`solve` and `sweep` find solutions: judged by certificates from outside, in both precisions, from any start."""

import jax.numpy as jnp
import numpy as np
import pytest

from jaxreg import FISTA, L1, ElasticNet, Logistic, Masked, Objective, Result, Squared, solve, sweep
from tests.helpers_models import affine, arrays, classes, linear
from tests.problems import gaussian
from tests.solver_problems import FRACTIONS, LASSO, LOGISTIC, N, P, judge, lam_grid, quiet


@pytest.mark.parametrize("correlation", [0.0, 0.5, 0.95])
@pytest.mark.parametrize("kind", ["lasso", "elastic net", "ridge", "logistic"])
def test_linear_models_are_certified(kind, correlation, dtype):
    problem, loss, objective, l1_ratio = gaussian(N, P, correlation), "squared", LASSO, 1.0
    if kind == "logistic":
        problem, loss, objective = classes(problem), "logistic", LOGISTIC
    if kind in ("elastic net", "ridge"):
        l1_ratio = 0.5 if kind == "elastic net" else 0.0
        objective = Objective(Squared(), ElasticNet(l1_ratio=l1_ratio), linear)
    tol = 1e-5 if dtype == np.float32 else 1e-9
    lams = lam_grid(problem, loss)
    found = sweep(objective, jnp.zeros(P, dtype), arrays(problem, dtype), lams, solver=FISTA(tol))
    assert found.params.dtype == dtype
    assert np.all(found.result == Result.CONVERGED)
    for lam, coef in zip(lams, found.params, strict=True):
        certificate = judge(problem, coef, lam, loss=loss, l1_ratio=l1_ratio)
        assert certificate.kkt <= 1.5 * tol
        assert certificate.gap <= 100 * tol


@pytest.mark.parametrize("kind", ["lasso", "logistic"])
def test_badly_scaled_columns(kind, dtype):
    scales = 10.0 ** np.random.default_rng(1).permutation(np.linspace(-3, 3, P))
    X, y = gaussian(N, P, 0.5)
    problem = type(gaussian(2, 1, 0.0))(X * scales, y)
    objective, loss = LASSO, "squared"
    if kind == "logistic":
        problem, objective, loss = classes(problem), LOGISTIC, "logistic"
    lams = lam_grid(problem, loss)
    found = sweep(objective, jnp.zeros(P, dtype), arrays(problem, dtype), lams, solver=FISTA(2e-6))
    assert np.all(found.result == Result.CONVERGED)
    for lam, coef in zip(lams, found.params, strict=True):
        assert judge(problem, coef, lam, loss=loss).gap <= 1e-4


@pytest.mark.parametrize("objective", [LASSO, LOGISTIC], ids=["lasso", "logistic"])
def test_first_step_hardly_matters(objective, dtype):
    problem, loss = gaussian(N, P, 0.5), "squared"
    if objective is LOGISTIC:
        problem, loss = classes(problem), "logistic"
    lams, data = lam_grid(problem, loss), arrays(problem, dtype)
    for start in (0.0, 1.0):
        usual = sweep(objective, jnp.full(P, start, dtype), data, lams, solver=FISTA(1e-5))
        for step in (1e-20, 1e-8, 1e8, 1e20):
            found = sweep(objective, jnp.full(P, start, dtype), data, lams, solver=FISTA(1e-5, step=step))
            assert np.all(found.result == Result.CONVERGED)
            assert np.all(found.stats.steps <= 3 * usual.stats.steps + 200)
            gaps = [judge(problem, coef, lam, loss=loss).gap for lam, coef in zip(lams, found.params, strict=True)]
            assert max(gaps) <= 1e-3


@pytest.mark.parametrize("kind", ["lasso", "logistic"])
def test_masked_intercept(kind, x64):
    shifted = gaussian(N, P, 0.5)
    problem = type(shifted)(shifted.X, shifted.y + 2)
    loss, objective = "squared", Objective(Squared(), Masked(L1(), include=("coef",)), affine)
    if kind == "logistic":
        problem = classes(shifted)
        loss, objective = "logistic", Objective(Logistic(), Masked(L1(), include="coef"), affine)
    params = {"coef": jnp.zeros(P), "intercept": 0.0}
    lams = 0.2 * lam_grid(shifted, "squared")
    found = sweep(objective, params, arrays(problem, np.float64), lams, solver=FISTA(1e-10))
    for k, lam in enumerate(lams):
        certificate = judge(problem, found.params["coef"][k], lam, found.params["intercept"][k], loss=loss)
        assert certificate.kkt <= 1e-8
        assert certificate.gap <= 1e-7


def test_no_tolerance_ends_where_rounding_rules(dtype):
    """Columns far from centred: the rounding of the gradient exceeds any reasonable tolerance."""
    centred = gaussian(N, P, 0.5)
    problem = type(centred)(centred.X + 3000, centred.y)
    lam = lam_grid(problem)[0]
    data, start = arrays(problem, dtype), jnp.zeros(P, dtype)
    with pytest.warns(RuntimeWarning, match="1 stalled"):
        found = sweep(LASSO, start, data, [lam], solver=FISTA(tol=0))
    assert found.result[0] == Result.STALLED
    assert found.stats.steps[0] < 1000
    certificate = judge(problem, found.params[0], lam)
    assert certificate.kkt <= (1e-4 if dtype == np.float32 else 1e-12)
    assert certificate.gap <= (1e-4 if dtype == np.float32 else 1e-12)


def test_no_tolerance_ends_with_a_good_answer(dtype):
    problem = gaussian(N, P, 0.95)
    lams = lam_grid(problem)
    found = quiet(sweep, LASSO, jnp.zeros(P, dtype), arrays(problem, dtype), lams, solver=FISTA(tol=0))
    assert np.all(found.stats.steps < FISTA().max_steps)
    for lam, coef in zip(lams, found.params, strict=True):
        assert judge(problem, coef, lam).kkt <= 50 * np.finfo(dtype).eps


def test_warm_start(x64):
    problem = gaussian(N, P, 0.95)
    lams, data = lam_grid(problem), arrays(problem, np.float64)
    cold = solve(LASSO.at(lams[2]), jnp.zeros(P), data)
    again = solve(LASSO.at(lams[2]), cold.params, data)
    assert (again.result, again.stats.steps) == (Result.CONVERGED, 0)
    np.testing.assert_array_equal(again.params, cold.params)
    near = solve(LASSO.at(0.99 * lams[2]), cold.params, data)
    assert near.stats.steps < cold.stats.steps
    at_zero = solve(LASSO.at(1.01 * lams[0] / FRACTIONS[0]), jnp.zeros(P), data)
    assert at_zero.stats.steps == 0
