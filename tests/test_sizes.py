"""Sizes rounded up: data of a near size compile nothing, and what fills up changes no result."""

import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse

import jaxreg as jr
from jaxreg.linear import as_design, sizes
from tests.problems import gaussian, uneven_weights


def classes(y):
    return (y > 0) * 1.0


def sparse(X):
    return scipy.sparse.csc_array(np.where(np.abs(X) > 1.2, X, 0))


FITS = {
    "lasso": lambda X, y: jr.fit_path(X, y, lams=20),
    "elastic net": lambda X, y: jr.fit_path(X, y, lams=20, penalty=jr.ElasticNet(l1_ratio=0.5)),
    "sparse": lambda X, y: jr.fit_path(sparse(X), y, lams=20),
    "logistic": lambda X, y: jr.fit_path(X, classes(y), lams=20, loss=jr.Logistic()),
    "folds": lambda X, y: jr.cross_validate(X, y, lams=20, folds=5),
    "ridge folds": lambda X, y: jr.cross_validate(X, y, lams=20, folds=5, penalty=jr.L2()),
    "leave one out": lambda X, y: jr.cross_validate(X, y, lams=20, folds=len(y), penalty=jr.L2()),
    "logistic folds": lambda X, y: jr.cross_validate(X, classes(y), lams=20, folds=5, loss=jr.Logistic()),
}
TALL, WIDE = ((203, 17), (199, 18)), ((101, 700), (97, 690))
CASES = [(name, TALL) for name in FITS] + [(name, WIDE) for name in ("lasso", "folds", "ridge folds", "leave one out")]


@pytest.mark.parametrize(("name", "shapes"), CASES, ids=lambda case: case if isinstance(case, str) else str(case[0]))
def test_data_of_a_near_size_compile_nothing(name, shapes, compiled):
    FITS[name](*gaussian(*shapes[0], 0.5))
    compiled.clear()
    found = FITS[name](*gaussian(*shapes[1], 0.5, seed=1))
    assert compiled == []
    path = found if isinstance(found, jr.Path) else found.path
    assert path.coef.shape == (20, shapes[1][1])
    assert path.gap.max() < 1e-6


def test_sizes_are_few_and_near():
    for size in range(1, 5000):
        assert size <= sizes.rounded(size) <= max(size + 7, size * 9 / 8)
        assert size <= sizes.rounded(size, steps=1) < max(size + 8, 2 * size)
    assert len({sizes.rounded(size) for size in range(1024, 2048)}) == 9


@pytest.mark.parametrize("kind", [np.asarray, scipy.sparse.csc_array, "jax"], ids=["numpy", "sparse", "jax"])
def test_a_design_is_filled_up(kind, x64):
    X = np.where(np.arange(35.0).reshape(5, 7) % 3 == 0, np.arange(35.0).reshape(5, 7), 0)
    design = as_design((jnp.asarray if kind == "jax" else kind)(X), rounded=(True, True))
    assert design.shape == (8, 8)
    full = np.asarray(design.correlate(np.eye(8)))
    np.testing.assert_array_equal(full[:5, :7], X)
    np.testing.assert_array_equal(full[:, 7], 0)
    np.testing.assert_array_equal(full[5:, :7], 0 if kind is scipy.sparse.csc_array else np.tile(X[0], (3, 1)))
    assert as_design(X).shape == (5, 7)


@pytest.mark.parametrize(("shape", "ratio"), [((34, 33), 1e-3), ((39, 40), 1e-2)])
def test_whether_there_are_more_rows_than_columns_is_asked_of_the_data(shape, ratio):
    lams = jr.fit_path(*gaussian(*shape, 0.0), lams=3).lams
    assert lams[-1] / lams[0] == pytest.approx(ratio)


def test_a_large_matrix_is_not_copied(monkeypatch, x64):
    monkeypatch.setattr("jaxreg.linear.sizes.COPIED", 100)
    assert as_design(np.ones((5, 7)), rounded=(True, True)).shape == (5, 7)


X, Y = gaussian(101, 21, 0.5)
X = 3 + X * np.linspace(0.1, 3, 21)
X[:, 3] = 1.0  # constant, which is a feature where there is no intercept
XW, YW = gaussian(35, 69, 0.5)
WEIGHT, OFFSET = uneven_weights(101), np.sin(np.arange(101))
FACTOR = np.r_[0.0, np.linspace(0.5, 2, 20)]


def settings(n, p):
    """Not to saturation, where solutions are no better determined than to `tol`."""
    ratio = 1e-3 if n > p else 0.2
    return {"lams": 20, "lam_min_ratio": ratio, "sample_weight": WEIGHT[:n], "offset": OFFSET[:n], "intercept": p > n}


SAME = {
    "lasso": lambda x, y, o: jr.fit_path(x, y, penalty=jr.L1(weight=np.resize(FACTOR, x.shape[1])), **o),
    "elastic net": lambda x, y, o: jr.fit_path(x, y, penalty=jr.ElasticNet(l1_ratio=0.5), **o),
    "ridge": lambda x, y, o: jr.fit_path(x, y, penalty=jr.L2(), **o),
    "sparse": lambda x, y, o: jr.fit_path(sparse(x - x.mean(axis=0)), y, **o),
    "no penalty": lambda x, y, o: jr.fit_path(x[:, :9], y, **o | {"lams": [0.1, 0.0]}),
    "logistic": lambda x, y, o: jr.fit_path(x, classes(y), loss=jr.Logistic(), **o),
    "logistic ridge": lambda x, y, o: jr.fit_path(x, classes(y), loss=jr.Logistic(), penalty=jr.L2(), **o),
    "folds": lambda x, y, o: jr.cross_validate(x, y, l1_ratios=[0.5, 0.0], folds=5, **o),
    "logistic folds": lambda x, y, o: jr.cross_validate(x, classes(y), loss=jr.Logistic(), folds=5, **o),
    "leave one out": lambda x, y, o: jr.cross_validate(x, y, folds=len(y), penalty=jr.L2(), **o),
    "replicates": lambda x, y, o: jr.bootstrap(x, y, replicates=3, **o),
}
PATH = ("lams", "coef", "intercept", "gap", "kkt", "df", "deviance_ratio")
ARRAYS = {jr.Path: PATH, jr.Selection: ("lams", "scores", "null_scores"), jr.Bootstrap: ("slopes", "intercept", "gap")}


@pytest.mark.parametrize("name", SAME)
@pytest.mark.parametrize("data", [(X, Y), (XW, YW)], ids=["tall", "wide"])
def test_what_fills_up_changes_no_result(name, data, monkeypatch):
    options = settings(*data[0].shape)
    filled = SAME[name](*data, options)
    for module in ("linear.sizes", "linear.design._sparse", "linear.grams", "linear.freedom", "selection._measures"):
        monkeypatch.setattr(f"jaxreg.{module}.rounded", lambda size, steps=8: size)
    plain = SAME[name](*data, options)
    for one, other in [(filled, plain), *([] if isinstance(plain, jr.Path) else [(filled.path, plain.path)])]:
        for field in ARRAYS[type(one)]:
            a, b = getattr(one, field), getattr(other, field)
            # A gap is a difference that cancels, and follows residuals of 1e-10 up to 1e-7.
            accuracy = {"gap": 1e-8, "kkt": 1e-11}.get(field, 1e-11 * np.abs(b).max())
            np.testing.assert_allclose(a, b, rtol=0, atol=accuracy, err_msg=field)
