"""The Cox loss: against the definition in O(n²), its own derivatives, R's survival and glmnet."""

import json
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxreg as jr
from jaxreg.losses import risk_sets
from jaxreg.objective import ray_gap, weighted_mean
from tests.problems import uneven_weights

REFERENCES = json.loads((pathlib.Path(__file__).parent / "references" / "survival.json").read_text("utf-8"))
TIES = ("efron", "breslow")
N = 30
FORMS = ("plain", "both")


def data(form, *, seed=0, n=N, ties=7):
    """A target of many ties, weights some of which are 0, and predictions."""
    rng = np.random.default_rng(seed)
    time = rng.integers(1, ties + 1, n).astype(float)
    event = rng.integers(0, 2, n).astype(float)
    event[0] = 1
    start = time - rng.integers(1, ties, n) if form == "both" else None
    strata = rng.integers(0, 3, n).astype(float) if form == "both" else None
    weight = rng.choice([0.0, 0.5, 1.0, 2.0], n)
    weight[0] = 1
    return (time, event, start, strata), weight, rng.normal(size=n) * 2


def logsumexp(x):
    top = x.max()
    return top + np.log(np.exp(x - top).sum())


def definition(pred, target, weight, ties):
    """−log partial likelihood, event time by event time; and the saturated model's."""
    time, event, start, strata = target
    start = np.full(len(time), -np.inf) if start is None else start
    strata = np.zeros(len(time)) if strata is None else strata
    total = least = 0.0
    with np.errstate(divide="ignore"):
        logs = np.log(weight) + pred
    for s in np.unique(strata):
        for t in np.unique(time[(strata == s) & (event == 1)]):
            tied = (strata == s) & (time == t) & (event == 1) & (weight > 0)
            others = (strata == s) & (start < t) & (t <= time) & ~((time == t) & (event == 1)) & (weight > 0)
            d = tied.sum()
            if d == 0:
                continue
            total -= weight[tied] @ pred[tied]
            least += weight[tied].sum() * np.log(weight[tied].sum())
            for k in range(d):
                left_out = k / d if ties == "efron" else 0.0
                risk = np.concatenate([logs[others], logs[tied] + np.log1p(-left_out)])
                total += weight[tied].mean() * logsumexp(risk)
                least += weight[tied].mean() * np.log1p(-left_out)
    return total, least


@jax.jit
def everything(loss, pred, target, weight, direction):
    loss = loss.weighing(weight)
    names = ("value", "derivative", "second_derivative", "deviance")
    return *(getattr(loss, name)(pred, target) for name in names), loss.hessian_product(pred, target, direction)


def total(loss, pred, target, weight):
    return jnp.sum(weight * loss.weighing(weight).value(pred, target))


plain = jax.jit(lambda loss, pred, target: loss.value(pred, target))
automatic = jax.jit(jax.grad(total, argnums=1))
automatic_hessian = jax.jit(jax.hessian(total, argnums=1))


@pytest.mark.slow
@pytest.mark.parametrize("ties", TIES)
@pytest.mark.parametrize("form", FORMS)
def test_against_the_definition(form, ties, x64):
    """Values, derivatives by finite differences and by automatic differentiation, the Hessian, and the deviance."""
    loss = jr.Cox(ties)
    for seed in range(5):
        target, weight, pred = data(form, seed=seed)
        rng = np.random.default_rng(100 + seed)
        direction = rng.normal(size=N)
        value, slope, second, deviance, bend = map(np.asarray, everything(loss, pred, target, weight, direction))
        expected, least = definition(pred, target, weight, ties)
        np.testing.assert_allclose(weight @ value, expected, rtol=1e-13)
        np.testing.assert_allclose(weight @ deviance, 2 * (expected - least), rtol=1e-12)
        assert (value[np.asarray(target[1]) == 0] == 0).all()
        up, down = (definition(pred + h * direction, target, weight, ties)[0] for h in (1e-5, -1e-5))
        np.testing.assert_allclose((weight * slope) @ direction, (up - down) / 2e-5, rtol=1e-8, atol=1e-8)
        np.testing.assert_allclose(weight * slope, automatic(loss, pred, target, weight), rtol=1e-12, atol=1e-13)
        hessian = np.asarray(automatic_hessian(loss, pred, target, weight))
        np.testing.assert_allclose(weight * second, np.diag(hessian), rtol=1e-12, atol=1e-13)
        np.testing.assert_allclose(weight * bend, hessian @ direction, rtol=1e-11, atol=1e-12)
        assert np.linalg.eigvalsh(hessian).min() >= -1e-13
        up, down = (everything(loss, pred + h * direction, target, weight, direction)[1] for h in (1e-5, -1e-5))
        np.testing.assert_allclose(bend, (up - down) / 2e-5, rtol=1e-7, atol=1e-8)


@pytest.mark.parametrize("n", [1, 2, 17])
def test_any_size(n, x64):
    target, weight, pred = data("both", n=n, seed=n, ties=4)
    found = jax.jit(total)(jr.Cox(), pred, target, weight)
    np.testing.assert_allclose(found, definition(pred, target, weight, "efron")[0], rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("form", FORMS)
def test_no_range_of_predictions_cancels_or_overflows(form, dtype):
    """Huge predictions that enter and leave risk sets: nothing is got by subtracting them."""
    eps = np.finfo(dtype).eps
    target, weight, pred = data(form, seed=3)
    for spread in (30.0, 1e3, 1e4):
        far = (pred * spread).astype(dtype)
        found = everything(jr.Cox(), far, target, weight.astype(dtype), np.ones(N, dtype))
        assert all(np.isfinite(part).all() for part in found)
        assert all(part.dtype == dtype for part in found)
        expected = definition(far.astype(float), target, weight, "efron")[0]
        np.testing.assert_allclose(weight @ np.asarray(found[0], float), expected, rtol=100 * eps)
        # A constant added to all predictions changes nothing, so that all slopes together are nothing, and no
        # product with a constant is anything. Slopes are exponentials, which round as far as predictions do.
        rounding = 20 * eps * np.abs(far).max() * np.abs(weight * found[1]).sum()
        assert abs(weight @ np.asarray(found[1], float)) <= rounding
        assert np.abs(weight * found[4]).max() <= rounding


def test_a_sample_of_no_weight_is_absent(x64):
    for form in FORMS:
        target, weight, pred = data(form, seed=4)
        some = weight > 0
        fewer = tuple(None if part is None else part[some] for part in target)
        whole = everything(jr.Cox(), pred, target, weight, np.cos(pred) * some)
        rest = everything(jr.Cox(), pred[some], fewer, weight[some], np.cos(pred[some]))
        for a, b in zip(whole, rest, strict=True):
            np.testing.assert_allclose(np.asarray(a)[some], b, rtol=1e-12, atol=1e-13)
            assert (np.asarray(a)[~some] == 0).all()


def test_weights_count_samples_by_breslow(x64):
    """A weight of 2 is the sample twice (up to terms without predictions, in none of which Efron's rule agrees)."""
    target, _, pred = data("both", seed=5)
    weight = np.random.default_rng(5).integers(0, 3, N)
    twice = np.repeat(np.arange(N), weight)
    repeated = tuple(part[twice] for part in target)
    one = everything(jr.Cox("breslow"), pred, target, weight.astype(float), np.ones(N))
    many = everything(jr.Cox("breslow"), pred[twice], repeated, np.ones(twice.size), np.ones(twice.size))
    np.testing.assert_allclose(weight @ one[0], np.sum(many[0]), rtol=1e-13)
    np.testing.assert_allclose(np.asarray(one[1])[twice], many[1], rtol=1e-12, atol=1e-13)


def test_forms_of_a_target_agree(x64):
    time, event, start, strata = data("both", seed=6)[0]
    pred = jnp.asarray(data("both", seed=6)[2])
    loss, never = jr.Cox(), np.full(N, -np.inf)
    for columns, same in (
        ((time, event), (time, event)),
        ((time, event, start), (time, event, start)),
        ((time, event, start, strata), (time, event, start, strata)),
        ((time, event, None, strata), (time, event, never, strata)),
        ((time, event), (time, event, never)),
    ):
        loss.check(columns)
        value = plain(loss, pred, risk_sets(*columns))
        for other in (np.stack(same, axis=1), columns):  # sorted by NumPy here, by JAX there
            np.testing.assert_allclose(plain(loss, pred, loss.encode(other, pred)), value, rtol=1e-13)
            np.testing.assert_allclose(plain(loss, pred, other), value, rtol=1e-13)
    sets = risk_sets(time, event)
    assert loss.encode(sets, pred) is sets
    assert loss.outputs((time, event)) == ()
    # Times are sorted in their own precision, whatever that of JAX.
    with jax.enable_x64(False):
        near = risk_sets(1 + 1e-12 * np.arange(4.0), np.ones(4))
    np.testing.assert_array_equal(near.own, np.arange(4))


def test_weights_batch_as_training_sets_do(x64):
    """Data are sorted once, and held-out rows have weight 0."""
    target, weight, pred = data("both", seed=7)
    sets = risk_sets(*target)
    weights = np.stack([weight, np.where(np.arange(N) % 3 == 0, 0, weight)])
    preds = np.stack([pred, -pred])
    slopes = jax.jit(jax.vmap(lambda w, eta: jr.Cox().weighing(w).derivative(eta, sets)))(weights, preds)
    for w, eta, slope in zip(weights, preds, slopes, strict=True):
        alone = everything(jr.Cox(), eta, sets, w, np.ones(N))[1]
        np.testing.assert_allclose(slope, alone, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize(
    ("target", "match"),
    [
        (np.ones(3), r"y must have columns time, event\[, start, strata\], got shape \(3,\)"),
        (np.ones((3, 5)), "y must have 2 to 4 columns .*got 5"),
        (([1.0, np.nan], [1, 0]), r"y \(time\) must be finite, got nan"),
        (([1.0, 2.0], [1, 2]), r"y \(event\) must be 0 or 1, got 2"),
        (([1.0, 2.0], [1, 0.5]), r"y \(event\) must be 0 or 1, got 0.5"),
        (([1.0, 2.0], [0, 0]), "y has no event"),
        (([1.0, 2.0], [1, 0], [0.0, 2.0]), r"y \(start\) must be before time, got 2 and 2 in row 1"),
        (([1.0, 2.0], [1, 0], None, [np.nan, 1]), r"y \(strata\) must be finite, got nan"),
    ],
)
def test_bad_targets_are_refused(target, match):
    with pytest.raises(ValueError, match=match):
        jr.Cox().check(target)


def test_bad_arguments_are_refused():
    with pytest.raises(ValueError, match='ties must be "efron" or "breslow", got \'exact\''):
        jr.Cox(ties="exact")
    with pytest.raises(ValueError, match=r"predict returned shape \(3, 1\), but y has \(3,\) times"):
        jr.Cox().encode((np.ones(3), np.ones(3)), jnp.zeros((3, 1)))


# R


def reference(name):
    """Data and coefficients of a fit: (X, target), weights, and the fit itself."""
    fit = REFERENCES["fits"][name]
    table = REFERENCES["tables"][fit["table"]]
    x = dict(zip(table["columns"], np.array(table["x"]).T, strict=True))
    y = list(np.array(table["y"]).T) + [None] * 2
    strata = x[fit["stratum"]] if fit["stratum"] else None
    X = np.stack([x[column] for column in fit["columns"]], axis=1).astype(float)
    weight = uneven_weights(len(X)) if fit["weighted"] else np.ones(len(X))
    return X, risk_sets(y[0], y[1], y[2], strata), weight, fit


@pytest.mark.parametrize("name", REFERENCES["fits"])
def test_likelihood_and_optimum_agree_with_coxph(name, x64):
    """Log likelihoods and martingale residuals to rounding; the slope at coxph's optimum; its standard errors."""
    X, sets, weight, fit = reference(name)
    coefs = np.array([0 * np.array(fit["at"]), fit["at"], fit["coef"]])
    value, slope, second = map(np.asarray, at_coefs(jr.Cox(fit["ties"]), X, coefs, sets, weight))
    expected = [-fit[loglik] for loglik in ("loglik_null", "loglik_at", "loglik")]
    np.testing.assert_allclose(value @ weight, expected, rtol=1e-13)
    np.testing.assert_allclose(-slope[1], fit["martingale_at"], rtol=1e-10, atol=1e-12)
    size = np.abs(X.T @ (weight * slope[0])).max()
    assert np.abs(X.T @ (weight * slope[2])).max() <= 1e-9 * size
    np.testing.assert_allclose(np.sqrt(np.diag(np.linalg.inv(second))), fit["se"], rtol=1e-8)


@jax.jit
def at_coefs(loss, X, coefs, sets, weight):
    """Values and derivatives of the samples for each coefficients, and the Hessian in the last of them."""
    loss = loss.weighing(weight)
    preds = coefs @ X.T
    product = jax.vmap(lambda column: loss.hessian_product(preds[-1], sets, column), in_axes=1, out_axes=1)
    values, slopes = (jax.vmap(method, in_axes=(0, None))(preds, sets) for method in (loss.value, loss.derivative))
    return values, slopes, X.T @ (weight[:, None] * product(X))


def linear(params, X):
    return X @ params


def test_solve_finds_the_optimum_of_coxph(x64):
    """Through the door of any model, unpenalized, from 0."""
    X, sets, weight, fit = reference("heart_strata_weighted")
    scale = X.std(axis=0)
    objective = jr.Objective(jr.Cox(), jr.L1(0.0), linear)
    found = jr.solve(objective, jnp.zeros(X.shape[1]), (X / scale, sets, weight), solver=jr.FISTA(1e-12))
    assert found.result == jr.Result.CONVERGED
    np.testing.assert_allclose(found.params / scale, fit["coef"], rtol=1e-8, atol=1e-10)


def test_lasso_path_agrees_with_glmnet(x64):
    """glmnet's fits are stationary here to its own tolerance, and ours, certified by a gap, agree to that."""
    path = REFERENCES["paths"]["lung"]
    table = REFERENCES["tables"]["lung"]
    X, y = np.array(table["x"]), np.array(table["y"], float)
    y[:, 0] += np.arange(1, len(y) + 1) / 1000  # no ties: see the script
    loss, n, sets = jr.Cox("breslow"), len(X), risk_sets(*y.T)
    scale = X.std(axis=0)
    objective = jr.Objective(loss, jr.L1(weight=1 / scale), linear)
    found = jr.sweep(objective, jnp.zeros(X.shape[1]), (X / scale, y), path["lams"], solver=jr.FISTA(1e-12))
    assert (np.asarray(found.result) == jr.Result.CONVERGED).all()
    coef = np.asarray(found.params) / scale
    np.testing.assert_allclose(coef, path["coef"], rtol=1e-6, atol=1e-8)
    np.testing.assert_array_equal(coef != 0, np.array(path["coef"]) != 0)

    @jax.jit
    @jax.vmap
    def judge(lam, b):
        pred = X / scale @ b
        gradient = (X / scale).T @ loss.derivative(pred, sets) / n
        gap = ray_gap(loss, objective.penalty.at(lam), pred, sets, None, b, gradient)
        return gap, jnp.sum(loss.deviance(pred, sets))

    gap, deviance = judge(np.array([0, *path["lams"]]), np.concatenate([np.zeros((1, X.shape[1])), found.params]))
    np.testing.assert_allclose(deviance[0], path["null_deviance"], rtol=1e-12)
    np.testing.assert_allclose(1 - deviance[1:] / deviance[0], path["deviance_ratio"], rtol=1e-6)
    assert (np.abs(gap[1:]) <= 1e-11 * deviance[0] / n).all()


def stratified_path():
    """X, target, weights and glmnet's path of the table in (start, stop] form; no ties: see the script."""
    path, table = REFERENCES["paths"]["heart"], REFERENCES["tables"]["heart"]
    x = dict(zip(table["columns"], np.array(table["x"]).T, strict=True))
    X, (time, event, start) = np.stack([x[name] for name in path["columns"]], axis=1), np.array(table["y"], float).T
    time += np.arange(1, len(X) + 1) / 1000
    penalty = jr.ElasticNet(1.0, path["l1_ratio"], weight=np.array(path["factors"]))
    return X, (time, event, start, x[path["stratum"]]), uneven_weights(len(X)), penalty, path


@pytest.mark.slow
def test_elastic_net_with_strata_and_start_times_agrees_with_glmnet(x64):
    """Weights and penalty factors too: both are stationary here, and to 1e-6 the same."""
    X, target, weight, penalty, path = stratified_path()
    data = (X, risk_sets(*target), weight)
    objective = jr.Objective(jr.Cox("breslow"), penalty, linear)
    found = jr.sweep(objective, jnp.zeros(3), data, path["lams"], solver=jr.FISTA(1e-12))
    assert (np.asarray(found.result) == jr.Result.CONVERGED).all()
    np.testing.assert_allclose(found.params, path["coef"], rtol=1e-6, atol=1e-8)
    np.testing.assert_array_equal(found.params != 0, np.array(path["coef"]) != 0)
    judge = jax.jit(jax.vmap(lambda lam, b: objective.at(lam).stationarity(b, data)))
    for coef in (found.params, np.array(path["coef"])):
        assert judge(np.array(path["lams"], float), coef).max() <= 1e-7


@pytest.mark.slow
def test_the_linear_door_agrees_with_glmnet():
    """The same path by `fit_path`."""
    X, target, weight, penalty, path = stratified_path()
    found = jr.fit_path(
        X,
        target,
        loss=jr.Cox("breslow"),
        penalty=penalty,
        lams=path["lams"],
        sample_weight=weight,
        standardize=False,
        tol=1e-10,
    )
    assert (found.result == jr.Result.CONVERGED).all()
    np.testing.assert_allclose(found.coef, path["coef"], rtol=1e-6, atol=1e-8)


def test_gap_without_a_conjugate_bounds_the_suboptimality(x64):
    """At any point: against the least value there is, which is found first."""
    target, weight, _ = data("both", seed=8)
    rng = np.random.default_rng(8)
    X, sets = rng.normal(size=(N, 4)), risk_sets(*target)
    loss = jr.Cox().weighing(weight)
    objective = jr.Objective(jr.Cox(), jr.L1(0.05), linear)
    best = jr.solve(objective, jnp.zeros(4), (X, sets, weight), solver=jr.FISTA(1e-13))

    @jax.jit
    def judge(b):
        value = weighted_mean(loss.value(X @ b, sets), weight) + objective.penalty.value(b)
        gradient = X.T @ (weight * loss.derivative(X @ b, sets)) / weight.sum()
        return value, ray_gap(loss, objective.penalty, X @ b, sets, weight, b, gradient)

    assert judge(best.params)[1] <= 1e-12
    size = np.repeat([1e-3, 0.1, 1.0, 10.0], 20)[:, None]
    value, gap = jax.vmap(judge)(best.params + size * rng.normal(size=(80, 4)))
    assert (gap >= value - best.stats.objective - 1e-14).all()
