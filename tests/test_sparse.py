"""Sparse matrices through the linear door: what is taken, and that the fits are those of the filled matrix."""

import re
import sys

import jax
import numpy as np
import pytest
import scipy.sparse

import jaxreg as jr
from jaxreg.linear import Dense, Sparse, as_design
from jaxreg.linear.design import is_sparse
from tests.certificates import linear_problem
from tests.problems import balanced_folds, uneven_weights

FORMATS = ("bsr", "coo", "csc", "csr", "dia", "dok", "lil")
LOSSES = {"squared": jr.Squared(), "logistic": jr.Logistic()}


def table(n=80, p=30, seed=0):
    """Counts and amounts, most of them zero; an empty column, a full one, and one that is rarely not zero."""
    rng = np.random.default_rng(seed)
    X = np.where(rng.uniform(size=(n, p)) < 0.2, rng.poisson(3.0, size=(n, p)) + rng.uniform(size=(n, p)), 0)
    X[:, 3], X[:, 4], X[:, 5] = 0, 50 + rng.normal(size=n), 0
    X[:3, 5] = 1
    y = X[:, :8] @ np.array([1.0, -2, 1, 1, 0.5, 1, 0, -1]) + rng.normal(size=n)
    return X, y


X, Y = table()
BINARY = (np.median(Y) < Y).astype(float)


def entries(design):
    return tuple(np.asarray(leaf) for leaf in jax.tree.leaves(design))


@pytest.mark.parametrize("kind", ["array", "matrix"])
def test_all_formats_are_one(x64, kind):
    short = X[:40]
    expected = entries(as_design(scipy.sparse.csc_array(short)))
    for name in FORMATS:
        given = getattr(scipy.sparse, f"{name}_{kind}")(short)
        for one, other in zip(entries(as_design(given)), expected, strict=True):
            np.testing.assert_array_equal(one, other)


def test_what_was_given_is_not_changed(x64):
    given = scipy.sparse.csr_array(
        (np.array([1.0, 2.0, 0.0, 4.0]), np.array([1, 1, 0, 0]), np.array([0, 2, 4])), (2, 9)
    )
    before = [part.copy() for part in (given.data, given.indices, given.indptr)]
    design = as_design(given)
    for part, copy in zip((given.data, given.indices, given.indptr), before, strict=True):
        np.testing.assert_array_equal(part, copy)
    np.testing.assert_array_equal(design.gather(np.arange(2), np.zeros(2)), [[0, 3], [4, 0]])


def test_integers_and_booleans_are_taken_without_overflow(x64):
    small = scipy.sparse.coo_array((np.array([100, 100], np.int8), ([0, 0], [1, 1])), shape=(3, 4))
    np.testing.assert_array_equal(as_design(small).correlate(np.eye(3))[0], [0, 200, 0, 0])
    flags = scipy.sparse.csr_array(np.eye(4, dtype=bool))
    np.testing.assert_array_equal(as_design(flags).correlate(np.eye(4)), np.eye(4))


def test_storage(x64):
    design = as_design(scipy.sparse.csc_array(X))
    nonzero = np.count_nonzero(X)
    assert nonzero <= design.data.size < 2 * nonzero
    assert as_design(scipy.sparse.csc_array(X), np.float32).data.dtype == np.float32
    # Where more than half is not zero, full storage is smaller.
    assert isinstance(as_design(scipy.sparse.csc_array(X + 1.0)), Dense)
    assert isinstance(as_design(scipy.sparse.csc_array(np.zeros((5, 3)))), Sparse)


def test_scipy_is_not_imported_to_recognize_it(monkeypatch):
    given = scipy.sparse.csc_array(X)
    assert is_sparse(given)
    assert not is_sparse(X)
    monkeypatch.delitem(sys.modules, "scipy.sparse")
    assert not is_sparse(given)
    assert "scipy.sparse" not in sys.modules


def holed(value):
    changed = X.copy()
    changed[[9, 3], [1, 2]] = value
    return scipy.sparse.csr_array(changed)


ERRORS = {
    "nan": (holed(np.nan), ValueError, "X has 2 NaN or infinite entries, the first at row 3, column 2"),
    "inf": (holed(-np.inf), ValueError, "X has 2 NaN or infinite entries, the first at row 3, column 2"),
    "complex": (scipy.sparse.csc_array(X * 1j), TypeError, "X must be numeric, got dtype complex128"),
    "flat": (scipy.sparse.coo_array(X[:, 0]), ValueError, "X must be two-dimensional"),
    "one row": (scipy.sparse.csc_array(X[:1]), ValueError, "X must have at least 2 rows"),
    "no column": (scipy.sparse.csc_array((80, 0)), ValueError, "1 column"),
    "too few rows": (scipy.sparse.csc_array(X[:-1]), ValueError, "y must have one value per row of X"),
    "all zero": (scipy.sparse.csc_array((80, 5)), ValueError, "no column of X is related to y"),
}


@pytest.mark.parametrize("name", ERRORS)
def test_bad_input_is_refused(name):
    given, error, message = ERRORS[name]
    with pytest.raises(error, match=re.escape(message)):
        jr.fit_path(given, Y)


SETTINGS = {
    "plain": {},
    "as they are": {"standardize": False},
    "no intercept": {"intercept": False},
    "neither, weights": {"standardize": False, "intercept": False, "sample_weight": uneven_weights(80)},
    "weights, some zero": {"sample_weight": uneven_weights(80) * (np.arange(80) % 7 > 0)},
}


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("setting", SETTINGS)
def test_the_path_is_that_of_the_filled_matrix(loss, setting):
    y = Y if loss == "squared" else BINARY
    options = {"loss": LOSSES[loss], "lams": 20, "tol": 1e-10, **SETTINGS[setting]}
    found, filled = jr.fit_path(scipy.sparse.csr_array(X), y, **options), jr.fit_path(X, y, **options)
    np.testing.assert_allclose(found.lams, filled.lams, rtol=1e-12)
    np.testing.assert_allclose(found.coef, filled.coef, rtol=1e-8, atol=1e-8)
    np.testing.assert_allclose(found.intercept, filled.intercept, rtol=1e-8, atol=1e-8)
    np.testing.assert_allclose(found.deviance_ratio, filled.deviance_ratio, atol=1e-10)
    np.testing.assert_array_equal(found.coef[:, 3], 0)
    assert (found.result == jr.Result.CONVERGED).all()
    judge = linear_problem(X, y, loss=loss, **SETTINGS[setting])
    assert max(judge.certify(*fit).gap for fit in zip(found.coef, found.intercept, found.lams, strict=True)) <= 1e-9


@pytest.mark.parametrize("loss", ["squared", pytest.param("logistic", marks=pytest.mark.slow)])
def test_cross_validation_is_that_of_the_filled_matrix(loss):
    y = Y if loss == "squared" else BINARY
    fold_id = balanced_folds(80, 4)
    fold_id[:3] = 0  # without fold 0, column 5 is empty
    options = {"loss": LOSSES[loss], "lams": 20, "tol": 1e-10, "fold_id": fold_id}
    found, filled = jr.cross_validate(scipy.sparse.coo_matrix(X), y, **options), jr.cross_validate(X, y, **options)
    np.testing.assert_allclose(found.scores, filled.scores, rtol=1e-8)
    np.testing.assert_allclose(found.fold_coef, filled.fold_coef, rtol=1e-8, atol=1e-8)
    np.testing.assert_array_equal(found.fold_coef[0, :, 5], 0)
    for given in (scipy.sparse.csr_array(X), scipy.sparse.coo_matrix(X)):
        np.testing.assert_allclose(found.predict(given, offset=Y), found.predict(X, offset=Y), rtol=1e-12)
        np.testing.assert_allclose(found.path.predict(given), found.path.predict(X), rtol=1e-12, atol=1e-12)
    with pytest.raises(ValueError, match="X must have shape"):
        found.predict(scipy.sparse.csr_array(X[:, :4]))


def test_wide_ridge_is_certified():
    """More columns than rows: solved in the kernel of the rows."""
    x, y = table(30, 80)[0], Y[:30]
    path = jr.fit_path(scipy.sparse.csr_array(x), y, penalty=jr.L2(), lams=10, tol=1e-9)
    judge = linear_problem(x, y, l1_ratio=0.0)
    assert max(judge.certify(*fit).gap for fit in zip(path.coef, path.intercept, path.lams, strict=True)) <= 1e-9


@pytest.mark.slow
def test_text_is_fitted_without_being_filled():
    """2000 × 20000 with one entry in a thousand, few columns of which are frequent: 320 MB if it were full."""
    rng = np.random.default_rng(0)
    n, p, size = 2000, 20000, 40_000
    column = np.minimum(np.floor(np.exp(rng.uniform(0, np.log(p), size=size))) - 1, p - 1).astype(int)
    x = scipy.sparse.coo_array((rng.exponential(size=size), (rng.integers(0, n, size=size), column)), shape=(n, p))
    x = x.tocsr()
    truth = np.zeros(p)
    truth[rng.choice(200, size=20, replace=False)] = rng.normal(size=20) * 3
    y = x @ truth + rng.normal(size=n)
    with jax.enable_x64(True):
        design = as_design(x)
        assert isinstance(design, Sparse)
        assert sum(leaf.nbytes for leaf in jax.tree.leaves(design)) <= 1e6
    path = jr.fit_path(x, y, lams=10, lam_min_ratio=0.2)
    assert path.nonzero[-1] >= 10
    assert (path.gap <= 1e-6).all()
    judge = linear_problem(x.toarray(), y)
    for fit in (4, 9):
        assert judge.certify(path.coef[fit], path.intercept[fit], path.lams[fit]).gap <= 1e-6
    np.testing.assert_allclose(path.predict(x), x @ path.coef.T + path.intercept)
