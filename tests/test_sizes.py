"""Sizes rounded up: data of a near size compile nothing, and what fills up changes no result."""

import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse

import jaxreg as jr
from jaxreg.linear import as_design, sizes
from tests.problems import gaussian, uneven_weights

TALL, WIDE = ((203, 47), (200, 50)), ((97, 350), (100, 333))
"""Two shapes each that are rounded alike."""


def classes(y):
    return (y > 0) * 1.0


def factor(x):
    """One column is not penalized."""
    return np.r_[0.0, np.linspace(0.5, 2, x.shape[1] - 1)]


def sparse(x):
    """A quarter of the entries, and one column without zeros, far from zero."""
    x = np.where(np.abs(x - 3) > np.quantile(np.abs(x - 3), 0.75, axis=0), x - 3, 0)
    x[:, 1] += 100
    return scipy.sparse.csc_array(x)


FITS = {
    "lasso": lambda x, y, o: jr.fit_path(x, y, penalty=jr.L1(weight=factor(x)), **o),
    "elastic net": lambda x, y, o: jr.fit_path(x, y, penalty=jr.ElasticNet(l1_ratio=0.5), **o),
    "ridge": lambda x, y, o: jr.fit_path(x, y, penalty=jr.L2(), **o),
    "sparse": lambda x, y, o: jr.fit_path(sparse(x), y, **o),
    "sparse ridge": lambda x, y, o: jr.fit_path(sparse(x), y, penalty=jr.L2(), **o),
    "logistic": lambda x, y, o: jr.fit_path(x, classes(y), loss=jr.Logistic(), **o),
    "folds": lambda x, y, o: jr.cross_validate(x, y, l1_ratios=[0.5, 1.0], **o),
    "ridge folds": lambda x, y, o: jr.cross_validate(x, y, penalty=jr.L2(), **o),
    "logistic folds": lambda x, y, o: jr.cross_validate(x, classes(y), loss=jr.Logistic(), **o),
    "leave one out": lambda x, y, o: jr.cross_validate(x, y, folds=len(y), penalty=jr.L2(), **o),
    "replicates": lambda x, y, o: jr.bootstrap(x, y, replicates=3, **o),
}
QUICK = [("folds", TALL), *(pytest.param(name, TALL, marks=pytest.mark.slow) for name in ("elastic net", "logistic"))]
SLOW = [
    ("logistic folds", TALL),
    *((name, WIDE) for name in ("lasso", "folds", "logistic", "logistic folds")),
    *((name, TALL) for name in ("sparse", "replicates")),
    *((name, WIDE) for name in ("ridge", "sparse ridge", "leave one out", "ridge folds")),
]
PATH = ("lams", "coef", "intercept", "gap", "kkt", "df", "deviance_ratio")
ARRAYS = {jr.Path: PATH, jr.Selection: ("lams", "scores", "null_scores"), jr.Bootstrap: ("slopes", "intercept", "gap")}


def data(shape, seed, least):
    """Weights, the first of them the least, and offsets, and columns of many sizes, one of them constant; not a path to saturation."""
    n, p = shape
    x, y = gaussian(n, p, 0.5, seed=seed)
    x = 3 + x * np.linspace(0.1, 3, p)
    x[:, 3] = 1.0
    weight = uneven_weights(n)
    weight[0] = least
    return (
        x,
        y,
        {"lams": 20, "lam_min_ratio": 0.1, "sample_weight": weight, "offset": np.sin(np.arange(n)), "tol": 1e-9},
    )


@pytest.mark.parametrize(
    ("name", "shapes"),
    [*QUICK, *(pytest.param(*case, marks=pytest.mark.deep) for case in SLOW)],
    ids=lambda case: case if isinstance(case, str) else str(case[0]),
)
def test_data_of_a_near_size_compile_nothing_and_change_no_result(name, shapes, compiled, monkeypatch):
    fit, least = FITS[name], 0.5 if name == "leave one out" else 0.0
    fit(*data(shapes[0], 0, least))
    given = data(shapes[1], 1, least)
    compiled.clear()
    filled = fit(*given)
    assert compiled == []
    monkeypatch.setattr(sizes, "rounded", lambda size, steps=8: size)
    plain = fit(*given)
    for one, other in [(filled, plain), *([] if isinstance(plain, jr.Path) else [(filled.path, plain.path)])]:
        for field in ARRAYS[type(one)]:
            a, b = getattr(one, field), getattr(other, field)
            # A gap is a difference that cancels, and follows residuals of 1e-10 up to 1e-7.
            accuracy = 1e-8 if field in ("gap", "kkt") else 1e-9 * np.abs(b).max()
            np.testing.assert_allclose(a, b, rtol=0, atol=accuracy, err_msg=field)


def test_sizes_are_few_and_near():
    for size in range(1, 5000):
        assert size <= sizes.rounded(size) <= max(8, 2 * size, size * 9 / 8)
        assert size <= sizes.rounded(size, steps=1) < max(9, 2 * size)
    assert all(sizes.rounded(size) <= size * 9 / 8 for size in range(65, 5000))
    assert len({sizes.rounded(size) for size in range(1024, 2048)}) == 9


@pytest.mark.parametrize("kind", [np.asarray, scipy.sparse.csc_array, "jax"], ids=["numpy", "sparse", "jax"])
def test_a_design_is_filled_up(kind, x64):
    X = np.where(np.arange(35.0).reshape(5, 7) % 3 == 0, np.arange(35.0).reshape(5, 7), 0)
    make = jnp.asarray if kind == "jax" else kind
    design = as_design(make(X), rounded=(True, True))
    assert design.shape == (8, 8)
    full = np.asarray(design.correlate(np.eye(8)))
    np.testing.assert_array_equal(full[:5, :7], X)
    np.testing.assert_array_equal(full[:, 7], 0)
    np.testing.assert_array_equal(full[5:, :7], 0 if kind is scipy.sparse.csc_array else np.tile(X[0], (3, 1)))
    assert as_design(make(X), rounded=(True, False)).shape == (8, 7)
    assert as_design(X).shape == (5, 7)


def test_what_has_its_size_is_not_copied(x64):
    X = np.ones((8, 16))
    assert sizes.fill_up(X, 8, 16) is X


@pytest.mark.parametrize(("shape", "ratio"), [((34, 33), 1e-3), ((39, 40), 1e-2)])
def test_whether_there_are_more_rows_than_columns_is_asked_of_the_data(shape, ratio):
    lams = jr.fit_path(*gaussian(*shape, 0.0), lams=3).lams
    assert lams[-1] / lams[0] == pytest.approx(ratio)


def test_a_large_matrix_is_not_copied(monkeypatch, x64):
    monkeypatch.setattr(sizes, "COPIED", 100)
    assert as_design(np.ones((5, 7)), rounded=(True, True)).shape == (5, 7)
