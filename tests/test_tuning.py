"""`tune` and `descend` find strengths that no grid of a hundred points finds."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxreg import FISTA, L1, L2, Logistic, NonNegative, Objective, Result, Squared, descend, solve, sweep, tune
from jaxreg._descent import lbfgs, stepwise
from tests.helpers_models import arrays, classes, linear
from tests.problems import diabetes, gaussian

CLOSE = FISTA(1e-8)
LASSO = Objective(Squared(), L1(), linear)
SPLIT = 180
KINDS = np.repeat([0, 1], [10, 54])


def by_kind(lams):
    """One strength for the ten measurements, and one for their squares and products."""
    return L1(weight=jnp.stack([jnp.asarray(lams["measured"]), jnp.asarray(lams["made"])])[KINDS])


def bent_diabetes():
    """Measurements of the diabetes table with their squares and products; patients to learn from, and others."""
    X, y = diabetes()
    Z = (X - X.mean(axis=0)) / X.std(axis=0)
    pairs = [(i, j) for i, j in itertools.combinations_with_replacement(range(10), 2) if (i, j) != (1, 1)]
    Z = np.column_stack([Z, *(Z[:, i] * Z[:, j] for i, j in pairs)])
    order = np.random.default_rng(0).permutation(len(y))
    train, held_out = order[:SPLIT], order[SPLIT : SPLIT + 131]
    Z = (Z - Z[train].mean(axis=0)) / Z[train].std(axis=0)
    t = (y - y[train].mean()) / y[train].std()
    return [(jnp.asarray(Z[rows]), jnp.asarray(t[rows])) for rows in (train, held_out)]


@pytest.mark.deep
def test_two_strengths_beat_a_hundred_points(x64):
    train, held_out = bent_diabetes()
    start = jnp.zeros(64)
    found = tune(
        LASSO, start, train, {"measured": 0.05, "made": 0.05}, held_out=held_out, penalty=by_kind, solver=CLOSE
    )
    top = float(L1().lam_max(LASSO.value_and_gradient(start, train)[1]))
    one = sweep(LASSO, start, train, top * np.geomspace(1, 1e-3, 100), solver=CLOSE).params

    @jax.jit
    def fits(lams):
        def fit(pair):
            penalty = by_kind({"measured": pair[0], "made": pair[1]})
            return solve(Objective(Squared(), penalty, linear), start, train, solver=CLOSE).params

        return jax.vmap(fit)(lams)

    side = top * np.geomspace(1, 1e-3, 10)
    two = fits(np.stack(np.meshgrid(side, side), axis=-1).reshape(-1, 2))
    losses = [float(jax.vmap(lambda b: LASSO.risk(b, held_out))(coef).min()) for coef in (one, two)]
    assert found.value < min(losses) - 1e-4
    assert found.evaluations < 100
    np.testing.assert_allclose(LASSO.risk(found.params, held_out), found.value, rtol=1e-6)
    np.testing.assert_allclose(np.asarray(found.penalty.weight)[[0, -1]], [found.lams["measured"], found.lams["made"]])
    values, kept = found.history["value"], found.history["lams"]["made"]
    assert (np.diff(values) <= 0).all()
    assert (values[-1], kept[-1]) == (found.value, found.lams["made"])


def test_folds_and_steps_of_optax(x64):
    X, y = arrays(classes(gaussian(60, 6, 0.3)), np.float64)
    objective = Objective(Logistic(), L1(), linear)
    fold_id = np.arange(60) % 3
    found = tune(objective, jnp.zeros(6), (X, y), folds=3, solver=CLOSE)
    assert found.result in (Result.CONVERGED, Result.STALLED)
    weights = [np.where(fold_id == k, 0.0, 1.0) for k in range(3)]
    coef = [solve(objective.at(found.lams), jnp.zeros(6), (X, y, w), solver=CLOSE).params for w in weights]
    risks = [objective.risk(b, (X, y, 1 - w)) for b, w in zip(coef, weights, strict=True)]
    np.testing.assert_allclose(found.value, np.mean(risks), rtol=1e-6)
    whole = solve(objective.at(found.lams), jnp.zeros(6), (X, y), solver=CLOSE).params
    np.testing.assert_allclose(found.params, whole, atol=1e-6)
    again = tune(objective, jnp.zeros(6), (X, y), folds=fold_id, solver=CLOSE, optimizer=optax.adam(0.2), steps=40)
    np.testing.assert_allclose(again.value, found.value, rtol=1e-3)


def test_descend():
    found = descend(
        lambda s: (jnp.log(s["a"]) - 1) ** 2 + jnp.sum((jnp.log(s["b"]) + 2) ** 2), {"a": 1.0, "b": np.ones(3)}
    )
    np.testing.assert_allclose(found.lams["a"], np.e, rtol=1e-3)
    np.testing.assert_allclose(found.lams["b"], np.full(3, np.exp(-2)), rtol=1e-3)
    assert found.params is None
    assert repr(found).startswith("Tuning(4 strengths: 13 → ")


def test_descent_at_kinks_and_beyond_reach():
    kinked = lbfgs(lambda x: (1 + abs(x[0] - 1), np.sign(x - 1)), np.array([2.9]), 50, 1e-6)
    assert kinked.result is Result.STALLED
    assert abs(kinked.best[0] - 1) < 1e-3
    lost = lbfgs(lambda x: (np.nan, x), np.array([3.0]), 50, 1e-6)
    assert (lost.result, lost.evaluations, lost.best) == (Result.DIVERGED, 1, [3.0])
    fenced = lbfgs(lambda x: (np.nan if x[0] < 1 else 1 + (x[0] - 1.1) ** 2, 2 * (x - 1.1)), np.array([3.0]), 50, 1e-6)
    np.testing.assert_allclose(fenced.best, 1.1, atol=1e-5)
    assert fenced.result is Result.CONVERGED
    short = stepwise(lambda x: (x @ x, 2 * x), np.array([3.0]), optax.sgd(0.1), 2, 0.0)
    assert (short.result, len(short.points)) == (Result.MAX_STEPS, 3)
    np.testing.assert_allclose(short.best, 3 * 0.8**2)


def test_bad_input():
    data = jnp.eye(4), jnp.ones(4)
    with pytest.raises(ValueError, match="either held_out data or folds"):
        tune(LASSO, jnp.zeros(4), data)
    with pytest.raises(ValueError, match="lams must be positive and finite, got 0"):
        tune(LASSO, jnp.zeros(4), data, 0.0, held_out=data)
    with pytest.raises(ValueError, match="lams is needed: strengths"):
        tune(LASSO, jnp.zeros(4), data, held_out=data, penalty=lambda s: L1(s))
    with pytest.raises(ValueError, match="lams is needed: L2 has no strength"):
        tune(Objective(Squared(), L2(), linear), jnp.zeros(4), data, held_out=data)
    with pytest.raises(ValueError, match="lams is needed: NonNegative has no strength"):
        tune(Objective(Squared(), NonNegative(), linear), jnp.zeros(4), data, held_out=data)
    with pytest.raises(TypeError, match="penalty must make"):
        tune(LASSO, jnp.zeros(4), data, 0.1, held_out=data, penalty=lambda s: s)
    with pytest.raises(ValueError, match="folds must be a number from 2 to 4"):
        tune(LASSO, jnp.zeros(4), data, folds=9)
    with pytest.raises(ValueError, match="folds must have one number per row"):
        tune(LASSO, jnp.zeros(4), data, folds=[0, 1])
    with pytest.raises(TypeError, match="optimizer must be"):
        tune(LASSO, jnp.zeros(4), data, held_out=data, optimizer="adam")
    with pytest.raises(TypeError, match="criterion must be"):
        descend(1.0, 1.0)
