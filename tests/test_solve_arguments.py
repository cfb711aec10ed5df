"""Arguments of solvers that make no sense are refused, by name."""

import jax.numpy as jnp
import numpy as np
import pytest

from jaxreg import FISTA, L1, Masked, Objective, OptaxSolver, Squared, solve, sweep
from tests.helpers_models import affine, arrays
from tests.problems import gaussian
from tests.solver_problems import LASSO, SGD, N, P


@pytest.mark.parametrize("lams", [[], [-1.0, 1.0], [np.nan], [np.inf], [[1.0, 2.0]], 1.0])
def test_bad_lams(lams):
    with pytest.raises(ValueError, match="lams"):
        sweep(LASSO, jnp.zeros(P), arrays(gaussian(N, P, 0.5), np.float32), lams)


@pytest.mark.parametrize("make", [FISTA, lambda **kwargs: OptaxSolver(SGD, 0.1, **kwargs)], ids=["fista", "optax"])
def test_bad_settings(make):
    for name, value in [
        ("tol", -1e-3),
        ("tol", np.nan),
        ("tol", np.inf),
        ("max_steps", 0),
        ("max_steps", -5),
    ]:
        with pytest.raises(ValueError, match=name):
            make(**{name: value})
    for name in ("tol", "max_steps"):
        with pytest.raises(TypeError, match=name):
            make(**{name: "many"})


def test_bad_steps_and_optimizers():
    for step in (0.0, -1.0, np.nan):
        with pytest.raises(ValueError, match="step"):
            FISTA(step=step)
    with pytest.raises(ValueError, match="learning_rate"):
        OptaxSolver(SGD, -0.1)
    with pytest.raises(TypeError, match="tx"):
        OptaxSolver(0.1, SGD)


def test_bad_kinds():
    data = arrays(gaussian(N, P, 0.5), np.float32)
    with pytest.raises(TypeError, match="OptaxSolver"):
        solve(LASSO, jnp.zeros(P), data, solver=SGD)
    with pytest.raises(TypeError, match="objective"):
        sweep(L1(), jnp.zeros(P), data, [1.0])
    with pytest.raises(ValueError, match=r"\*/kernel.*coef"):
        solve(
            Objective(Squared(), Masked(L1(), include="*/kernel"), affine),
            {"coef": jnp.zeros(P), "intercept": 0.0},
            data,
        )
