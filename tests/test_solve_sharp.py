"""Penalties that are infinitely steep at zero: what `solve` calls a solution withstands a proximal step."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxreg as jr
from jaxreg.penalties import Settled, is_sharp, settled

TRUTH = np.array([3.0, -2.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0])


def linear(params, X):
    return X @ params


def problem(dtype, unit=1.0):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(100, 8))
    y = X @ TRUTH + 0.3 * rng.normal(size=100)
    return jnp.asarray(X / unit, dtype), jnp.asarray(y, dtype)


def moved(objective, params, data, curvature):
    """What a proximal gradient step of 0.3 / curvature changes."""
    step = 0.3 / curvature
    grads = objective.value_and_gradient(params, data)[1]
    return np.abs(np.asarray(objective.penalty.prox(params - step * grads, step) - params)).max() / step


@pytest.mark.parametrize("unit", [1.0, 1e3, 1e-3], ids=str)
def test_counting_penalty_finds_the_support_in_any_unit(dtype, unit):
    """Zero is stationary for every λ: that is not where it ends."""
    X, y = problem(dtype, unit)
    found = jr.solve(jr.Objective(jr.Squared(), jr.L0(0.05), linear), jnp.zeros(8, dtype), (X, y))
    assert found.result == jr.Result.CONVERGED
    fit = np.linalg.lstsq(np.asarray(X[:, :3], float), np.asarray(y, float))[0]
    np.testing.assert_allclose(found.params[:3], fit, rtol=1e-4)
    assert (found.params[3:] == 0).all()


def test_sweep_over_strengths_and_what_holds_zero(x64):
    X, y = problem(float)
    curvature = np.linalg.norm(X, 2) ** 2 / 100
    objective = jr.Objective(jr.Squared(), jr.Masked(jr.Lq(q=0.5), include=("w",)), lambda p, X: X @ p["w"] + p["b"])
    lams = np.array([1e-3, 0.05, 0.3, 30.0])
    found = jr.sweep(objective, {"w": jnp.zeros(8), "b": jnp.zeros(())}, (X, y), lams)
    assert (found.result == jr.Result.CONVERGED).all()
    kept = (np.asarray(found.params["w"]) != 0).sum(axis=1)
    assert kept[-1] == 0
    assert kept[1] == 3
    assert (np.diff(kept) <= 0).all()
    inner = jr.Objective(jr.Squared(), jr.Lq(q=0.5), linear)
    for lam, w, b in zip(lams, found.params["w"], found.params["b"], strict=True):
        assert moved(inner.at(lam), w, (X, y - b), curvature) < 1e-5 * np.abs(X.T @ y / 100).max()


def test_other_losses_and_optax():
    X, y = problem(jnp.float32)
    counts = jnp.asarray(np.random.default_rng(1).poisson(np.exp(0.4 * X @ TRUTH)), jnp.float32)
    found = jr.solve(jr.Objective(jr.Poisson(), jr.L0(0.02), linear), jnp.zeros(8), (X, counts))
    assert found.result == jr.Result.CONVERGED
    assert (found.params[:3] != 0).all()
    assert (found.params[3:] == 0).all()
    solver = jr.OptaxSolver(optax.sgd(0.3), 0.3, tol=1e-5)
    found = jr.solve(jr.Objective(jr.Squared(), jr.L0(0.05), linear), jnp.zeros(8), (X, y), solver=solver)
    assert found.result == jr.Result.CONVERGED
    assert (np.flatnonzero(found.params) == [0, 1, 2]).all()


def test_only_sharp_penalties_are_judged_so():
    sharp = [jr.L0(), jr.Masked(jr.Lq(), include=("w",)), jr.L0() + jr.L2(), jr.Blocks({"w": jr.L0(), "b": jr.L2()})]
    assert all(is_sharp(penalty) for penalty in sharp)
    assert not any(is_sharp(penalty) for penalty in (jr.MCP(), jr.L1(), jr.LogSum(), Settled(jr.L0(), 1.0)))
    plain = jr.L1()
    assert settled(plain, 0.5) is plain
    penalty = settled(jr.L0(2.0), 0.5)
    x, grads = jnp.array([0.0, 0.0, 3.0]), jnp.array([2.5, 4.0, 1.0])
    np.testing.assert_allclose(penalty.residual(x, grads), [0.0, -4.0, -1.0])
    assert penalty.at(7.0).lam == 7.0
    assert float(jax.jit(lambda p: p.value(x))(penalty)) == 2.0
