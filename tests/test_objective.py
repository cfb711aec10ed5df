"""`Objective` and its dual: values and gradients from the formulas, misfits refused, pytree manners."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from jaxreg import FISTA, L1, ElasticNet, Logistic, Masked, Objective, Squared, sweep
from jaxreg.objective import dual_value, weighted_mean
from tests.certificates import linear_problem
from tests.helpers_models import affine, arrays, classes, equinox_network, linear
from tests.problems import Problem, gaussian, uneven_weights

N, P = 40, 12


def numpy_value(kind, eta, y, w):
    loss = 0.5 * (eta - y) ** 2 if kind == "squared" else np.logaddexp(0, eta) - y * eta
    return np.sum(w * loss) / np.sum(w)


@pytest.mark.parametrize(("kind", "loss"), [("squared", Squared()), ("logistic", Logistic())])
def test_value_gradient_and_stationarity(kind, loss, x64):
    problem = classes(gaussian(N, P, 0.3))
    coef = np.random.default_rng(0).standard_normal(P) * (np.arange(P) % 2)
    objective = Objective(loss, L1(0.3), linear)
    for w in (np.ones(N), uneven_weights(N), 7 * uneven_weights(N), np.where(np.arange(N) < 20, 1.0, 0.0)):
        data = (*arrays(problem, np.float64), jnp.asarray(w))
        eta = problem.X @ coef
        expected = numpy_value(kind, eta, problem.y, w)
        np.testing.assert_allclose(objective.smooth(coef, data), expected, rtol=1e-14)
        np.testing.assert_allclose(objective.value(coef, data), expected + 0.3 * np.abs(coef).sum(), rtol=1e-14)
        value, gradient = objective.value_and_gradient(jnp.asarray(coef), data)
        slope = eta - problem.y if kind == "squared" else 1 / (1 + np.exp(-eta)) - problem.y
        expected_gradient = problem.X.T @ (w * slope) / w.sum()
        np.testing.assert_allclose(value, expected, rtol=1e-14)
        np.testing.assert_allclose(gradient, expected_gradient, atol=1e-14)
        residual = np.where(
            coef != 0,
            np.abs(expected_gradient + 0.3 * np.sign(coef)),
            np.maximum(np.abs(expected_gradient) - 0.3, 0),
        )
        np.testing.assert_allclose(objective.stationarity(jnp.asarray(coef), data), residual.max(), rtol=1e-12)
    check_grads(lambda c: objective.smooth(c, data), (jnp.asarray(coef),), order=1)


def test_equal_weights_are_none(dtype):
    X, y = arrays(gaussian(N, P, 0.3), dtype)
    objective, coef = Objective(Squared(), L1(0.3), linear), jnp.ones(P, dtype)
    alone, weighted = objective.value(coef, (X, y)), objective.value(coef, (X, y, jnp.full(N, 3, dtype)))
    assert alone.dtype == weighted.dtype == dtype
    np.testing.assert_allclose(alone, weighted, rtol=1e-6)


def test_several_responses_are_summed(x64):
    problem = gaussian(N, P, 0.3)
    coef = np.random.default_rng(1).standard_normal((P, 3))
    target = np.stack([problem.y, -problem.y, problem.y**2], axis=1)
    value = Objective(Squared(), L1(0.0), linear).value(coef, (problem.X, target))
    np.testing.assert_allclose(value, 0.5 * np.mean(np.sum((problem.X @ coef - target) ** 2, axis=1)))
    np.testing.assert_allclose(weighted_mean(jnp.ones((4, 2, 3)), jnp.arange(4.0)), 6.0)


def test_integer_targets_are_those_numbers():
    problem = classes(gaussian(N, P, 0.3))
    X, y = arrays(problem, np.float32)
    objective, coef = Objective(Logistic(), L1(0.1), linear), jnp.ones(P)
    for target in (y.astype(int), y.astype(bool), np.asarray(y)):
        assert objective.value(coef, (X, target)) == objective.value(coef, (X, y))
    assert objective.value_and_gradient(coef, (X, y.astype(int)))[1].dtype == np.float32


def log_cosh(params, data):
    X, y = data["X"], data["y"]
    return jnp.mean(jnp.logaddexp(affine(params, X) - y, y - affine(params, X)))


def test_any_function_is_a_loss(x64):
    problem = gaussian(N, P, 0.3)
    params = {"coef": jnp.ones(P), "intercept": jnp.asarray(0.5)}
    objective = Objective(log_cosh, Masked(L1(2.0), include="coef"))
    r = problem.X.sum(axis=1) + 0.5 - problem.y
    value, gradient = objective.value_and_gradient(params, problem._asdict())
    np.testing.assert_allclose(value, np.mean(np.log(2 * np.cosh(r))))
    np.testing.assert_allclose(gradient["coef"], problem.X.T @ np.tanh(r) / N)
    np.testing.assert_allclose(gradient["intercept"], np.tanh(r).mean())
    np.testing.assert_allclose(objective.value(params, problem._asdict()), value + 2 * P)


def test_leaves_that_are_no_parameters_get_no_gradient():
    model, predict = equinox_network()
    data = arrays(gaussian(N, 6, 0.0), np.float32)
    objective = Objective(Squared(), Masked(L1(0.1), include="*/weight"), predict)
    _, gradient = objective.value_and_gradient(model, data)
    assert gradient.activation is None
    assert gradient.final_activation is None
    assert gradient.layers[0].weight.shape == (16, 6)
    assert objective.stationarity(model, data) > 0
    weights = [layer.weight for layer in model.layers]
    expected = objective.smooth(model, data) + 0.1 * sum(jnp.abs(w).sum() for w in weights)
    np.testing.assert_allclose(objective.value(model, data), expected, rtol=1e-6)


# Pytree manners


def test_objective_is_a_pytree():
    data, coef = arrays(gaussian(N, P, 0.3), np.float32), jnp.ones(P)
    traces = []

    @jax.jit
    def value(objective, coef):
        traces.append(None)
        return objective.value(coef, data)

    for lam in (0.0, 0.5, 2.0):
        objective = Objective(Squared(), L1(lam), linear)
        np.testing.assert_allclose(value(objective, coef), objective.value(coef, data), rtol=1e-6)
    assert len(traces) == 1
    value(Objective(lambda p, X: jnp.sum(p), L1(1.0)), coef)
    assert len(traces) == 2

    lams = jnp.array([0.0, 0.5, 2.0])
    base = Objective(Squared(), ElasticNet(1.0, 0.5), linear)
    along = jax.vmap(lambda lam: base.at(lam).value(coef, data))(lams)
    np.testing.assert_allclose(along, [float(base.at(lam).value(coef, data)) for lam in lams], rtol=1e-6)
    axes = jax.vmap(lambda o: o.value(coef, data))(Objective(Squared(), L1(lams), linear))
    np.testing.assert_allclose(axes, [float(base.smooth(coef, data)) + lam * P for lam in lams], rtol=1e-6)
    slope = jax.grad(lambda lam: base.at(lam).value(coef, data))(0.3)
    np.testing.assert_allclose(slope, 0.5 * P + 0.25 * P, rtol=1e-6)


def test_tree_functions_keep_the_parts():
    def predict(params, X):
        return X @ params

    for objective in (Objective(Squared(), L1(1.5), predict), Objective(log_cosh, L1(1.5))):
        leaves, structure = jax.tree.flatten(objective)
        again = jax.tree.unflatten(structure, leaves)
        assert leaves == [1.5]
        assert again.loss == objective.loss
        assert (again.predict, again.penalty) == (objective.predict, objective.penalty)
        paths = [jax.tree_util.keystr(path) for path, _ in jax.tree_util.tree_leaves_with_path(objective)]
        assert paths == [".penalty.lam"]
        assert "L1(lam=1.5" in repr(objective)
    assert objective.at(0.5).penalty.lam == 0.5
    assert objective.penalty.lam == 1.5


# Duality


def test_weak_duality_at_random_points(x64):
    """No dual point, feasible or not, exceeds any primal value."""
    rng = np.random.default_rng(2)
    coefs = jnp.asarray(rng.standard_normal((300, P)) * 10.0 ** rng.uniform(-3, 1, (300, 1)))
    noise = jnp.asarray(rng.standard_normal((300, N)) * 10.0 ** rng.uniform(-3, 0, (300, 1)))
    w, offset = jnp.asarray(uneven_weights(N)), jnp.asarray(rng.standard_normal(N))
    for loss, penalty, problem in (
        (Squared(), L1(0.2), gaussian(N, P, 0.5)),
        (Squared(), ElasticNet(0.3, 0.5), gaussian(N, P, 0.5)),
        (Logistic(), L1(0.05), classes(gaussian(N, P, 0.5))),
        (Logistic(), ElasticNet(0.05, 0.2), classes(gaussian(N, P, 0.5))),
    ):
        X, y = arrays(problem, np.float64)

        @jax.jit
        @jax.vmap
        def primal(coef, loss=loss, penalty=penalty, X=X, y=y):
            return weighted_mean(loss.value(X @ coef + offset, y), w) + penalty.value(coef)

        @jax.jit
        @jax.vmap
        def dual(u, loss=loss, penalty=penalty, X=X, y=y):
            u = u * penalty.shrink(-X.T @ (w * u) / w.sum())
            return dual_value(loss, penalty, u, X.T @ (w * u) / w.sum(), y, w, offset)

        near = jax.vmap(lambda coef, loss=loss, X=X, y=y: loss.derivative(X @ coef + offset, y))(coefs)
        bounds = dual(jnp.concatenate([noise, near, jnp.clip(near, -y, 1 - y), jnp.zeros((1, N))]))
        assert np.isfinite(bounds).sum() > 300
        assert np.all(bounds <= primal(coefs).min() + 1e-12)


def shifted(coef, X_and_offset):
    X, offset = X_and_offset
    return X @ coef + offset


def test_strong_duality_at_the_optimum(x64):
    for loss, penalty, problem, kind, l1_ratio in (
        (Squared(), L1(), gaussian(N, P, 0.5), "squared", 1.0),
        (Squared(), ElasticNet(l1_ratio=0.5), gaussian(N, P, 0.5), "squared", 0.5),
        (Logistic(), L1(), classes(gaussian(N, P, 0.5)), "logistic", 1.0),
    ):
        X, y = arrays(problem, np.float64)
        w, offset = jnp.asarray(uneven_weights(N)), jnp.sin(jnp.arange(N))
        judged = linear_problem(
            *problem,
            loss=kind,
            sample_weight=w,
            offset=offset,
            l1_ratio=l1_ratio,
            intercept=False,
            standardize=False,
        )
        lams = judged.lam_max() * np.array([0.5, 0.1])
        objective = Objective(loss, penalty, shifted)
        found = sweep(objective, jnp.zeros(P), ((X, offset), y, w), lams, solver=FISTA(1e-13))
        for lam, coef, value in zip(lams, found.params, found.stats.objective, strict=True):
            u = loss.derivative(X @ coef + offset, y)
            at = penalty.at(lam)
            # A hard constraint on the dual holds at the optimum up to rounding, which is taken away.
            s = at.shrink(-X.T @ (w * u) / w.sum()) if l1_ratio == 1 else 1.0
            bound = dual_value(loss, at, s * u, X.T @ (w * s * u) / w.sum(), y, w, offset)
            np.testing.assert_allclose(bound, value, rtol=1e-11)
            np.testing.assert_allclose(judged.best_dual(np.asarray(u), lam), bound, rtol=1e-11)


def test_an_infeasible_dual_point_bounds_nothing():
    X, y = arrays(gaussian(N, P, 0.5), np.float32)
    u = 100 * y
    bound = dual_value(Squared(), L1(0.01), u, X.T @ u / N, y, jnp.ones(N))
    assert bound == -np.inf


# Arguments that make no sense


def test_shapes_must_agree():
    X, y = arrays(gaussian(N, P, 0.3), np.float32)
    objective = Objective(Squared(), L1(1.0), linear)
    with pytest.raises(ValueError, match=r"predict returned shape \(40, 1\), but y has shape \(40,\)"):
        objective.value(jnp.ones((P, 1)), (X, y))
    with pytest.raises(ValueError, match=r"\(40,\), but y has shape \(40, 1\)"):
        objective.value(jnp.ones(P), (X, y[:, None]))
    with pytest.raises(ValueError, match=r"sample_weight has shape \(40, 1\), expected \(40,\)"):
        objective.value(jnp.ones(P), (X, y, jnp.ones((N, 1))))
    with pytest.raises(ValueError, match="sample_weight has shape"):
        objective.value(jnp.ones(P), (X, y, jnp.ones(3)))


def test_data_must_have_two_or_three_parts():
    X, y = arrays(gaussian(N, P, 0.3), np.float32)
    objective = Objective(Squared(), L1(1.0), linear)
    for data in (X, (X,), (X, y, jnp.ones(N), 0.0), {"X": X, "y": y}):
        with pytest.raises(TypeError, match=r"data must be \(X, y\) or \(X, y, sample_weight\)"):
            objective.value(jnp.ones(P), data)
    assert objective.value(jnp.ones(P), Problem(X, y)) == objective.value(jnp.ones(P), [X, y])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((Squared(), "l1", linear), "penalty"),
        ((Squared(), L1), "penalty"),
        ((Squared(), L1()), "predict"),
        ((Squared(), L1(), "linear"), "predict"),
        ((log_cosh, L1(), linear), "predict has no place"),
        (("squared", L1(), linear), "loss"),
    ],
)
def test_parts_must_be_of_their_kinds(arguments, message):
    with pytest.raises(TypeError, match=message):
        Objective(*arguments)
