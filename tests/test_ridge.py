"""Ridge: its own certificate is that of the engine, and fold Grams by downdating are those of the folds."""

import dataclasses

import numpy as np
import pytest

import jaxreg as jr
from jaxreg.linear.active.certify import certify
from jaxreg.linear.active.grams import full_store
from jaxreg.linear.active.moments import disagreement, proven
from jaxreg.linear.active.ridge import fit_ridge
from jaxreg.linear.active.split import find_split
from jaxreg.linear.arguments import linear_data
from jaxreg.linear.columns import gather
from jaxreg.path import make_problem
from tests.problems import gaussian, uneven_weights

LAMS = np.array([[1.0, 0.1, 0.01]])


def problem(n, p, intercept, weights):
    """Every argument there is, and a constant column."""
    x, y = gaussian(n, p, 0.5)
    x = 1 + x * np.linspace(0.1, 3, p)
    x[:, 3] = 1.0
    penalty = jr.L2(weight=np.linspace(0.5, 2, p))
    data = linear_data(x, y + 2, jr.Squared(), penalty, uneven_weights(n), np.sin(np.arange(n)), None)
    return make_problem(data, jr.Squared(), weights * data.sample_weight, intercept, True)


@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize(("n", "p"), [(300, 20), (50, 120)], ids=["tall", "wide"])
def test_certificates_by_rows_and_by_moments_are_the_general_one(n, p, intercept, x64):
    """Near the solution, not at it, where both would be rounding; for ridge and for an elastic net."""
    weights = np.concatenate([np.ones((1, n)), np.arange(n) % 4 != np.arange(4)[:, None]])
    at = problem(n, p, intercept, weights)
    piece = fit_ridge(at, LAMS, 1e-6)
    assert piece.gap.max() < 1e-15
    assert piece.kkt.max() < 1e-11
    # One more column of padding, or another order: no longer all columns in their order, for which there is the short way.
    p = at.design.shape[1]
    columns, padded = (gather(at.design, at.views, np.arange(p), width, intercept) for width in (p, p + 1))
    order = np.roll(np.arange(p), 3)
    rolled = gather(at.design, at.views, order, p, intercept)
    free = np.asarray(columns.free)[None]
    b = piece.b + 1e-5 * np.random.default_rng(0).standard_normal((3, 5, 1, 1 + p)) * free[:, :, None]
    store = full_store(at.design, at.views, at.data, find_split(np.asarray(at.data.weights)), intercept, gram=True)
    assert proven(disagreement(store, at.data))
    for f, i, j in ((0, 0, 1), (4, 7, 7), (2, 19, 0)):
        assert not proven(
            disagreement(dataclasses.replace(store, moments=store.moments.at[f, i, j].add(1e-6)), at.data)
        )
    for l1 in (np.zeros_like(LAMS), 0.3 * LAMS):
        found = certify(at, l1, LAMS, columns, b)
        moments = certify(at, l1, LAMS, store.columns, b, moments=store.moments)
        general = certify(at, l1, LAMS, padded, np.pad(b, ((0, 0),) * 3 + ((0, 1),)))
        other = certify(at, l1, LAMS, rolled, b[..., np.r_[0, 1 + order]])
        for name, tol in (("gap", 1e-5), ("kkt", 1e-8), ("deviance", 1e-12), ("last", 1e-9), ("before", 1e-9)):
            np.testing.assert_allclose(getattr(found, name), getattr(general, name), rtol=tol, atol=1e-12)
            np.testing.assert_allclose(getattr(other, name), getattr(general, name), rtol=tol, atol=1e-12)
            np.testing.assert_allclose(getattr(moments, name), getattr(general, name), rtol=tol, atol=1e-12)


@pytest.mark.parametrize("unit", [1e-6, 1e6])
def test_moments_are_proven_in_any_unit(unit, x64):
    """Without standardizing, what is a large error depends on the columns."""
    n = 300
    weights = np.concatenate([np.ones((1, n)), np.arange(n) % 4 != np.arange(4)[:, None]])
    x, y = gaussian(n, 20, 0.5)
    data = linear_data(unit * x, y, jr.Squared(), jr.L2(), None, None, None)
    at = make_problem(data, jr.Squared(), weights, True, False)
    store = full_store(at.design, at.views, at.data, find_split(np.asarray(at.data.weights)), True, gram=True)
    assert proven(disagreement(store, at.data))
    for f, i, j in ((0, 0, 1), (4, 7, 7), (2, 19, 0)):
        spoilt = store.moments.at[f, i, j].add(1e-6 * unit**2)
        assert not proven(disagreement(dataclasses.replace(store, moments=spoilt), at.data))


def test_folds_by_downdating_equal_folds_by_themselves(x64):
    n, p = 300, 20
    folds = np.arange(n) % 4 != np.arange(4)[:, None]
    together = fit_ridge(problem(n, p, True, np.concatenate([np.ones((1, n)), folds])), LAMS, 1e-6)
    # A sixth set, which is no fold, and everything is computed set by set.
    apart = problem(n, p, True, np.concatenate([np.ones((1, n)), folds, np.arange(n)[None] % 3]))
    np.testing.assert_allclose(together.b, fit_ridge(apart, LAMS, 1e-6).b[:, :5], rtol=1e-9, atol=1e-12)
