"""`solve` and `sweep`: judged by certificates from outside, in both precisions, under transformations."""

import warnings

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxreg import (
    FISTA,
    L1,
    L2,
    ElasticNet,
    Logistic,
    Masked,
    Objective,
    OptaxSolver,
    Result,
    Squared,
    solve,
    sweep,
)
from jaxreg.solvers._loop import _compiled
from tests.certificates import linear_problem
from tests.helpers_models import (
    affine,
    arrays,
    classes,
    curved,
    equinox_network,
    flax_network,
    linear,
    zeros_and_size,
)
from tests.problems import gaussian

N, P = 80, 20
FRACTIONS = np.array([0.9, 0.3, 0.1, 0.03, 0.01])
SGD = optax.sgd(0.1)

LASSO = Objective(Squared(), L1(), linear)
NET = Objective(Squared(), ElasticNet(), linear)
LOGISTIC = Objective(Logistic(), L1(), linear)


def quiet(fn, *args, **kwargs):
    """Call without the warning that some problems did not converge."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        return fn(*args, **kwargs)


def judge(problem, coef, lam, intercept=None, *, loss="squared", l1_ratio=1.0):
    """Certify one fit in float64, on the columns as they are."""
    judged = linear_problem(*problem, loss=loss, l1_ratio=l1_ratio, intercept=intercept is not None, standardize=False)
    return judged.certify(coef, 0.0 if intercept is None else intercept, lam)


def lam_grid(problem, loss="squared"):
    return FRACTIONS * linear_problem(*problem, loss=loss, intercept=False, standardize=False).lam_max()


# Certificates


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


# Losses that overflow, and ones that are not convex


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
            assert np.all(reported <= before + 1e-5 * np.abs(before))
            np.testing.assert_allclose(value, reported, rtol=1e-5, atol=1e-6)
            before = reported
        assert np.all(before < first)


# One program for many λ


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


# Failure is data


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


# Other solvers


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


# Any parameters


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


# Arguments that make no sense


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
