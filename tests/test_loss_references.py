"""Losses against scikit-learn and statsmodels: deviances, and fits that are optimal in their terms and in ours."""

import decimal
import itertools
import json
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn import metrics
from sklearn.linear_model import HuberRegressor
from sklearn.svm import LinearSVC

import jaxreg as jr
from jaxreg.objective import weighted_mean
from tests import problems

N = 200
FITS = json.loads((pathlib.Path(__file__).parent / "references" / "statsmodels.json").read_text("utf-8"))["fits"]
LOSSES = {
    "poisson": jr.Poisson(),
    "gamma": jr.Gamma(),
    "tweedie-1.2": jr.Tweedie(power=1.2),
    "tweedie-1.5": jr.Tweedie(power=1.5),
    "tweedie-1.8": jr.Tweedie(power=1.8),
    "negative_binomial-0.1": jr.NegativeBinomial(dispersion=0.1),
    "negative_binomial-2": jr.NegativeBinomial(dispersion=2.0),
}


def deviance(loss, eta, y, w):
    pred = jnp.asarray(eta)
    return float(weighted_mean(loss.deviance(pred, loss.encode(y, pred)), w))


@pytest.mark.parametrize(
    ("loss", "measure"),
    [
        (jr.Squared(), metrics.mean_squared_error),
        (jr.Poisson(), metrics.mean_poisson_deviance),
        (jr.Gamma(), metrics.mean_gamma_deviance),
        (jr.Tweedie(1.3), lambda *a, **k: metrics.mean_tweedie_deviance(*a, power=1.3, **k)),
        (jr.Tweedie(1.9), lambda *a, **k: metrics.mean_tweedie_deviance(*a, power=1.9, **k)),
        (jr.Quantile(0.3), lambda *a, **k: 2 * metrics.mean_pinball_loss(*a, alpha=0.3, **k)),
        (jr.Quantile(0.5), metrics.mean_absolute_error),
        (jr.Logistic(), lambda *a, **k: 2 * metrics.log_loss(*a, **k)),
        (jr.Multinomial(), lambda *a, **k: 2 * metrics.log_loss(*a, **k)),
    ],
)
def test_deviances_are_those_of_scikit_learn(loss, measure, x64):
    rng = np.random.default_rng(0)
    w = problems.uneven_weights(N)
    eta = rng.normal(size=(N, 4) if isinstance(loss, jr.Multinomial) else N)
    if isinstance(loss, jr.Gamma):
        y = rng.gamma(2.0, 1.0, size=N)
    elif isinstance(loss, (jr.Logistic, jr.Multinomial)):
        y = rng.integers(0, eta.shape[1] if eta.ndim > 1 else 2, size=N)
    else:
        y = rng.poisson(2.0, size=N).astype(float)
    found = deviance(loss, eta, y, w)
    expected = measure(y, np.asarray(loss.mean(jnp.asarray(eta))), sample_weight=w)
    np.testing.assert_allclose(found, expected, rtol=1e-13)
    if isinstance(loss, (jr.Poisson, jr.Tweedie)):
        power = loss.power if isinstance(loss, jr.Tweedie) else 1
        null = deviance(loss, np.full(N, np.log(np.average(y, weights=w))), y, w)
        share = metrics.d2_tweedie_score(y, np.exp(eta), sample_weight=w, power=power)
        np.testing.assert_allclose(1 - found / null, share, rtol=1e-12)


@pytest.mark.parametrize("name", FITS)
def test_generalized_linear_models_agree_with_statsmodels(name, x64):
    """Its deviance at its optimum and at the null model, weights and offsets included, and our slope there."""
    loss, fit = LOSSES[name], FITS[name]
    X, y = problems.diabetes()
    y = np.where(np.arange(len(y)) % 3 == 0, 0.0, y) if fit["zeros"] else y
    loss.check(y)
    Z = np.column_stack([np.ones(len(y)), (X - X.mean(axis=0)) / X.std(axis=0)])
    w, o = problems.uneven_weights(len(y)), problems.uneven_offset(len(y))
    eta = Z @ np.array([fit["intercept"], *fit["coef"]]) + o
    np.testing.assert_allclose(w.sum() * deviance(loss, eta, y, w), fit["deviance"], rtol=1e-10)

    def slope(eta):
        return np.abs(Z.T @ (w * np.asarray(loss.derivative(jnp.asarray(eta), jnp.asarray(y))))).max()

    assert slope(eta) <= 1e-8 * slope(o)

    @jax.jit
    def newton(b):
        value = lambda b: weighted_mean(loss.value(b + o, y), w)  # noqa: E731
        return b - jax.grad(value)(b) / jax.grad(jax.grad(value))(b)

    level = jnp.log(jnp.average(y, weights=w))
    for _ in range(20):
        level = newton(level)
    np.testing.assert_allclose(w.sum() * deviance(loss, level + o, y, w), fit["null_deviance"], rtol=1e-10)


def test_huber_convention_of_scikit_learn(x64):
    """Its coefficients are stationary here, with delta = epsilon · (the scale it fits) and lam = alpha · scale / n."""
    X, y = problems.diabetes()
    X = (X - X.mean(axis=0)) / X.std(axis=0)
    model = HuberRegressor(epsilon=1.5, alpha=0.1, tol=1e-10, max_iter=10_000).fit(X, y)
    loss = jr.Huber(delta=1.5 * model.scale_)
    slope = np.asarray(loss.derivative(jnp.asarray(X @ model.coef_ + model.intercept_), jnp.asarray(y)))
    assert 10 < (np.abs(slope) == 1.5 * model.scale_).sum() < len(y) / 2
    size = np.abs(X.T @ (y - y.mean())).max()
    lam = model.alpha * model.scale_ / len(y)
    assert np.abs(X.T @ slope / len(y) + lam * model.coef_).max() <= 1e-5 * size / len(y)
    assert abs(slope.mean()) <= 1e-5 * model.scale_


def test_squared_hinge_convention_of_scikit_learn(x64):
    """LinearSVC counts ½‖b‖² + C Σ (1 − sη)₊², so lam = 1/(2Cn)."""
    X, y = problems.iris_pair()
    X = (X - X.mean(axis=0)) / X.std(axis=0)
    model = LinearSVC(loss="squared_hinge", C=0.3, dual=False, fit_intercept=False, tol=1e-10, max_iter=100_000)
    coef = model.fit(X, y).coef_[0]
    slope = np.asarray(jr.SquaredHinge().derivative(jnp.asarray(X @ coef), jnp.asarray(y)))
    assert np.abs(X.T @ slope / len(y) + coef / (2 * 0.3 * len(y))).max() <= 1e-7


def test_negative_binomial_keeps_its_digits_at_any_count(x64, monkeypatch):
    """Against 60 decimal digits: an error of few roundings of x = η − log y, not of y, in values and gaps."""
    exact = decimal.Decimal
    monkeypatch.setattr(decimal.getcontext(), "prec", 60)
    for dispersion in (1e-3, 0.5, 10.0):
        loss, a = jr.NegativeBinomial(dispersion=dispersion), exact(dispersion)
        for y, x in itertools.product((1.0, 3.0, 1e5, 1e10, 1e14), (-60.0, -1.5, -0.9, -1e-6, 1e-3, 0.9, 5.0, 60.0)):
            eta = np.log(y) + x
            mean, count = exact(eta).exp(), exact(y)
            value = count * (count / mean).ln() + (count + 1 / a) * ((1 + a * mean) / (1 + a * count)).ln()
            slope = (mean - count) / (1 + a * mean)
            found = float(loss.value(jnp.asarray(eta), jnp.asarray(y)))
            size = abs(float(slope) * eta) + min(y, 1 / dispersion) * abs(x) + float(value)
            assert abs(found - float(value)) <= 4e-15 * size, (dispersion, y, x)
            u = float(slope) * (1 - 1e-9)  # inside the domain also after rounding
            conjugate = exact(u) * (exact(u) + count).ln() + count * (1 + exact(u) / count).ln()
            conjugate += (1 / a - exact(u)) * (1 - a * exact(u)).ln()
            found = float(loss.conjugate(jnp.asarray(u), jnp.asarray(y)))
            assert abs(found - float(conjugate)) <= 4e-15 * (abs(u) * 40 + abs(float(conjugate))), (dispersion, y, x)


@pytest.mark.slow
def test_negative_binomial_paths_converge_at_huge_counts():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(120, 5))
    mean = 1e11 * np.exp(X[:, :2] @ [0.5, -0.4])
    y = rng.negative_binomial(2, 1 / (1 + 0.5 * mean)).astype(float)
    path = jr.fit_path(X, y, loss=jr.NegativeBinomial(dispersion=0.5), penalty=jr.L1(), lams=10)
    assert (path.result == jr.Result.CONVERGED).all()
    assert path.gap.max() <= 1e-6
