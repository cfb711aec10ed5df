"""Parameters of any shape, kind and precision, networks included; and optimizers of optax."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxreg import FISTA, L1, Masked, Objective, OptaxSolver, Result, Squared, solve, sweep
from tests.helpers_models import arrays, curved, equinox_network, flax_network, zeros_and_size
from tests.problems import gaussian
from tests.solver_problems import LASSO, SGD, N, P, lam_grid, quiet


def test_parameters_of_any_shape_and_kind():
    """The same lasso, its coefficients cut into a nested tree beside leaves that are no parameters."""
    dtype = np.float32
    problem = gaussian(N, P, 0.5)
    data, lam = arrays(problem, dtype), lam_grid(problem)[2]

    def nested(params, X):
        coef = jnp.concatenate([params["first"]["a"].ravel(), params["second"][0], params["second"][1][None]])
        return params["act"](X @ coef) * params["count"]

    def identity(x):
        return x

    params = {
        "first": {"a": jnp.zeros((3, 4), dtype)},
        "second": [np.zeros(7, dtype), jnp.zeros((), dtype)],
        "act": identity,
        "count": 1,
        "name": "lasso",
        "nothing": None,
    }
    expected = solve(LASSO.at(lam), jnp.zeros(P, dtype), data).params
    found = solve(Objective(Squared(), L1(lam), nested), params, data)
    assert found.params["act"] is identity
    assert (found.params["count"], found.params["name"], found.params["nothing"]) == (1, "lasso", None)
    coef = np.concatenate(
        [found.params["first"]["a"].ravel(), found.params["second"][0], found.params["second"][1][None]]
    )
    assert coef.dtype == dtype
    np.testing.assert_allclose(coef, expected, atol=1e-4)
    swept = sweep(Objective(Squared(), L1(lam), nested), params, data, [lam, 2 * lam])
    assert swept.params["first"]["a"].shape == (2, 3, 4)
    assert swept.params["count"] == 1
    np.testing.assert_allclose(swept.params["first"]["a"][0], found.params["first"]["a"], atol=1e-4)


@pytest.mark.parametrize("network", [flax_network, equinox_network], ids=["flax", "equinox"])
def test_networks(network):
    params, predict = network()
    data = arrays(curved(), np.float32)
    kernels = "*/weight" if isinstance(params, eqx.Module) else "*/kernel"
    objective = Objective(Squared(), Masked(L1(), include=kernels), predict)
    start = float(objective.at(0.03).value(params, data))
    found = quiet(sweep, objective, params, data, [0.03, 0.003], solver=FISTA(max_steps=500))
    assert jax.tree.structure(found.params) == jax.tree.structure(params)
    first = jax.tree.map(lambda leaf: leaf[0] if eqx.is_array(leaf) else leaf, found.params)
    assert float(objective.at(0.03).value(first, data)) < 0.7 * start
    zeros, size = zeros_and_size(first)
    assert size > 120
    assert 60 < zeros < size
    assert np.all(np.isfinite(predict(first, data[0])))


def test_precision_is_that_of_the_parameters(x64):
    """Strengths and data of double precision beside parameters of single and of half precision."""
    problem = gaussian(N, P, 0.5)
    lams, data = lam_grid(problem), arrays(problem, np.float64)
    exact = sweep(LASSO, jnp.zeros(P), data, lams)
    for dtype, bound in ((jnp.float32, 1e-5), (jnp.bfloat16, 0.05)):
        found = quiet(sweep, LASSO, jnp.zeros(P, dtype), data, lams)
        assert found.params.dtype == dtype
        assert found.stats.objective.dtype == np.float32
        np.testing.assert_allclose(found.stats.objective, exact.stats.objective, rtol=bound)
    found = sweep(LASSO, jnp.zeros(P, jnp.float32), data, lams[:2], solver=OptaxSolver(SGD, 0.1, tol=1e-5))
    assert found.params.dtype == found.stats.objective.dtype == np.float32
    np.testing.assert_allclose(found.stats.objective, exact.stats.objective[:2], rtol=1e-5)


def test_optax_solvers_agree_with_fista(x64):
    problem = gaussian(N, P, 0.5)
    lams, data, start = lam_grid(problem)[:3], arrays(problem, np.float64), jnp.zeros(P)
    expected = sweep(LASSO, start, data, lams, solver=FISTA(1e-10)).params
    gradient_descent = sweep(LASSO, start, data, lams, solver=OptaxSolver(SGD, 0.1, tol=1e-8))
    assert np.all(gradient_descent.result == Result.CONVERGED)
    np.testing.assert_allclose(gradient_descent.params, expected, atol=1e-6)
    np.testing.assert_array_equal(gradient_descent.params != 0, expected != 0)
    decay = optax.exponential_decay(0.05, 100, 0.9)
    # Adam rescales the gradient and not the prox: only without a penalty is its limit the same.
    adam = sweep(LASSO, start, data, [0.0], solver=OptaxSolver(optax.adam(decay), decay, tol=1e-6))
    assert adam.result[0] == Result.CONVERGED
    np.testing.assert_allclose(adam.params[0], np.linalg.lstsq(*problem)[0], atol=1e-4)
