"""Losses at the linear door where Newton's method meets no curvature, or predictions are far away to begin with."""

import numpy as np
import pytest

import jaxreg as jr
from jaxreg.datasets import load_diabetes
from tests.problems import gaussian

X, SIGNAL = gaussian(60, 8, 0.3)
RNG = np.random.default_rng(0)
COUNT = RNG.poisson(np.exp(SIGNAL)).astype(float)
AMOUNT = RNG.gamma(2.0, np.exp(SIGNAL) / 2)


def certified(path):
    return (path.result == jr.Result.CONVERGED).all() and path.gap.max() <= 1e-6


@pytest.mark.slow
def test_huber_far_from_its_data():
    """Where it begins all residuals are beyond delta, and with more columns than rows few are ever within."""
    table = load_diabetes()
    assert certified(jr.fit_path(table.X, table.y, loss=jr.Huber(1.35), lams=20))
    rng = np.random.default_rng(1)
    wide = rng.normal(size=(50, 100))
    y = 300 * wide[:, 0] + 100 * rng.standard_t(2, size=50)
    assert certified(jr.fit_path(wide, y, loss=jr.Huber(1.35), lams=20))


@pytest.mark.parametrize(
    ("loss", "y", "units"),
    [
        (jr.Poisson(), COUNT, (1e6,)),
        (jr.Gamma(), AMOUNT, (1e14, 1e-14)),
        (jr.NegativeBinomial(0.5), COUNT, (1e8,)),
    ],
    ids=lambda x: type(x).__name__ if isinstance(x, jr.Loss) else "",
)
def test_units_of_the_target_do_not_matter(loss, y, units):
    plain = jr.fit_path(X, y, loss=loss, lams=20)
    assert certified(plain)
    for unit in units:
        path = jr.fit_path(X, unit * y, loss=loss, lams=20)
        assert certified(path)
        np.testing.assert_allclose(path.predict(X, kind="mean")[:, 0], unit * y.mean(), rtol=1e-6)
        if isinstance(loss, jr.Gamma):
            np.testing.assert_allclose(path.coef, plain.coef, atol=1e-6)


def test_a_null_model_that_did_not_converge_warns(monkeypatch):
    monkeypatch.setattr("jaxreg.linear.problem.LOST", -1.0)
    with pytest.warns(RuntimeWarning, match="the null models of 1 of 1 training sets did not converge"):
        jr.fit_path(X, COUNT, loss=jr.Poisson(), lams=20)


def test_a_row_without_weight_may_hold_anything():
    """Features far from all others, whose prediction overflows, and a target that no count can be."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(203, 5))
    y = rng.poisson(np.exp(0.5 * x[:, 0])).astype(float)
    x[0], y[0] = 1e4, -1.0
    weight, options = np.arange(203) > 0, {"loss": jr.Poisson(), "lams": 5, "penalty": jr.ElasticNet(l1_ratio=0.5)}
    found = jr.cross_validate(x, y, sample_weight=weight, fold_id=np.arange(203) % 3, **options)
    expected = jr.cross_validate(x[1:], y[1:], fold_id=np.arange(1, 203) % 3, **options)
    np.testing.assert_allclose(found.scores, expected.scores, rtol=1e-7)
    for name in ("lams", "coef", "intercept", "gap", "df", "deviance_ratio"):
        one, other = getattr(found.path, name), getattr(expected.path, name)
        np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-8, err_msg=name)
