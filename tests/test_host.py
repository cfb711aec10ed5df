"""Large matrices that stay where the caller has them: the same answers without a copy, or with one where it is needed."""

import numpy as np
import pytest

import jaxreg as jr
from jaxreg.linear.design import _blas, _check, _host
from tests.problems import gaussian, uneven_offset, uneven_weights

N, P = 300, 40
X, Y = gaussian(N, P, 0.5)
RAW = X * np.geomspace(0.1, 30, P) + 5 * np.geomspace(0.1, 30, P)


@pytest.fixture
def waits(monkeypatch):
    """Any NumPy matrix in float64 is large enough; how often one was copied."""
    copies = []
    place = _host.placed

    def counted(*args):
        copies.append(args[0].shape)
        return place(*args)

    monkeypatch.setattr(_check, "worth_waiting", lambda X: True)
    monkeypatch.setattr(_host, "placed", counted)
    monkeypatch.setattr(_blas, "ROWS", 64)
    monkeypatch.setattr(_host, "BLOCK", 64 * P)
    return copies


READ_ONCE = {
    "plain": {},
    "raw columns": {"X": RAW, "standardize": False},
    "by columns": {"X": np.asfortranarray(RAW)},
    "every second": {"X": np.repeat(RAW, 2, axis=0)[::2, :]},
    "weights and offset": {"sample_weight": uneven_weights(N), "offset": uneven_offset(N)},
    "penalty factors": {"penalty": jr.L1(weight=np.linspace(0.5, 2, P))},
    "own strengths": {"lams": [0.3, 0.01]},
}


@pytest.mark.parametrize("case", READ_ONCE)
def test_a_lasso_is_fitted_without_a_copy(case, waits, monkeypatch):
    options = {"X": X, "y": Y, "lams": 20, "tol": 1e-9, **READ_ONCE[case]}
    found = jr.fit_path(**options)
    assert waits == []
    monkeypatch.undo()
    right = jr.fit_path(**options)
    assert found.gap.max() <= 1e-9
    np.testing.assert_allclose(found.lams, right.lams, rtol=1e-12)
    for name in ("coef", "intercept", "deviance_ratio"):
        one, other = getattr(found, name), getattr(right, name)
        np.testing.assert_allclose(one, other, rtol=1e-8, atol=1e-9 * max(1e-3, np.abs(other).max()))


def test_a_matrix_on_disk_stays_there(waits, tmp_path):
    mapped = np.memmap(tmp_path / "x", np.float64, "w+", shape=X.shape)
    mapped[:] = X
    found = jr.fit_path(mapped, Y, lams=20)
    assert waits == []
    masked = np.ma.masked_array(X, mask=X > 9)  # a subclass whose products are of another kind
    np.testing.assert_array_equal(jr.fit_path(masked, Y, lams=20).coef, found.coef)
    np.testing.assert_allclose(found.coef, jr.fit_path(X, Y, lams=20).coef)


CONSTANT = np.where(np.arange(P) == 3, 7.0, X)
RARE = X.copy()
RARE[:, 4] = 0
RARE[-5:, 4] = 1e4

COPIED = {
    "a large mean": {"X": X + 1e5},
    "a constant column": {"X": CONSTANT},
    "unlike its sample": {"X": RARE},
    "no intercept": {"intercept": False},
    "rows without weight": {"sample_weight": np.arange(N) % 3.0},
    "unpenalized columns": {"penalty": jr.L1(weight=np.arange(P) > 1)},
    "ridge beside": {"penalty": jr.ElasticNet(l1_ratio=0.5)},
}


OTHER_PROGRAMS = {"no intercept", "unpenalized columns"}


@pytest.mark.parametrize(
    "case", [pytest.param(case, marks=pytest.mark.slow) if case in OTHER_PROGRAMS else case for case in COPIED]
)
def test_what_needs_more_is_given_a_copy(case, waits, monkeypatch):
    monkeypatch.setattr(_host, "SAMPLE", 2)
    options = {"X": X, "y": Y, "lams": 20, "tol": 1e-9, **COPIED[case]}
    found = jr.fit_path(**options)
    assert waits == [(N, P)]
    monkeypatch.undo()
    right = jr.fit_path(**options)
    assert found.gap.max() <= 1e-9
    np.testing.assert_allclose(found.coef, right.coef, atol=1e-8 * np.abs(right.coef).max())
    np.testing.assert_allclose(found.df, right.df, rtol=1e-8)


def test_folds_share_one_copy(waits):
    found = jr.cross_validate(X, Y, folds=3, lams=20)
    assert waits == [(N, P)]
    assert found.fold_gap.max() <= 1e-6


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("weighted", [False, True])
def test_what_is_not_finite_is_found(bad, weighted, waits):
    x = X.copy()
    x[7, 3] = bad
    weight = (np.arange(N) != 7).astype(float) if weighted else None
    with pytest.raises(ValueError, match="X has 1 NaN or infinite entries, the first at row 7, column 3"):
        jr.fit_path(x, Y, sample_weight=weight)


def test_squares_that_overflow_are_an_error(waits):
    with pytest.raises(ValueError, match="squares overflow"):
        jr.fit_path(X * np.where(np.arange(P) == 5, 1e200, 1), Y)


@pytest.mark.parametrize("error", [1e-7, np.nan])
def test_moments_that_are_wrong_are_not_used(error, waits, monkeypatch):
    """One entry is off; the matrix is placed, and the answer is right."""
    right = _host.moments_by_blas

    def wrong(*args):
        second = right(*args)
        second[3, 8] += error
        return second

    monkeypatch.setattr(_host, "moments_by_blas", wrong)
    found = jr.fit_path(X, Y, lams=20, tol=1e-9)
    assert waits == [(N, P)]
    assert found.gap.max() <= 1e-9


def test_large_and_tall_is_worth_it(monkeypatch):
    def worth(n, p):
        return _host.worth_waiting(np.lib.stride_tricks.as_strided(np.zeros(1), (n, p), (0, 0)))

    assert worth(50000, 500)
    assert worth(10000, 1000)
    assert not worth(1000, 500)  # a copy takes no time
    assert not worth(3000, 1000)  # not tall
    assert not worth(20000, 4000)  # a Gram of all columns may not be needed
