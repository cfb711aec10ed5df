"""Bad input to the linear door: one clear error, or a documented meaning."""

import re

import jax.numpy as jnp
import numpy as np
import pytest

import jaxreg as jr
from jaxreg.datasets import load_diabetes

X, Y, _ = load_diabetes()
X, Y = X[:60, :4], Y[:60]
BINARY = (Y > np.median(Y)).astype(float)


def changed(array, value, at=(3, 1)):
    array = np.array(array, dtype=float)
    array[at[: array.ndim]] = value
    return array


ERRORS = {
    "nan in X": ((changed(X, np.nan), Y), {}, ValueError, "X has 1 NaN or infinite entries, the first at row 3, column 1"),
    "inf in X": ((changed(X, np.inf), Y), {}, ValueError, "X has 1 NaN or infinite"),
    "squares of X that overflow": ((changed(X, 1e160), Y), {"lams": [0.1]}, ValueError, "X has columns whose squares overflow"),
    "X larger still": ((changed(X, 1e300), Y), {"penalty": jr.MCP()}, ValueError, "X has columns whose squares overflow"),
    "nan in y": ((X, changed(Y, np.nan)), {}, ValueError, "y has 1 NaN or infinite entries, the first at row 3"),
    "inf in y": ((X, changed(Y, -np.inf)), {}, ValueError, "y has 1 NaN"),
    "constant y": ((X, np.full(60, 7.0)), {}, ValueError, "y is constant (every value is 7)"),
    "one class": ((X, np.ones(60)), {"loss": jr.Logistic()}, ValueError, "y has one class only"),
    "labels -1 and 1": ((X, 2 * BINARY - 1), {"loss": jr.Logistic()}, ValueError, "y must be 0 or 1"),
    "text y": ((X, np.array(["a", "b"] * 30)), {}, TypeError, "y must be numeric"),
    "text X": ((np.full((60, 2), "a"), Y), {}, TypeError, "X must be numeric"),
    "one row": ((X[:1], Y[:1]), {}, ValueError, "X must have at least 2 rows"),
    "no column": ((X[:, :0], Y), {}, ValueError, "1 column"),
    "flat X": ((X[:, 0], Y), {}, ValueError, "X must be two-dimensional"),
    "short y": ((X, Y[:-1]), {}, ValueError, "y must have one value per row of X, shape (60,), got shape (59,)"),
    "wide y": ((X, np.stack([Y, Y], 1)[1:]), {}, ValueError, "y must have one value per row"),
    "short weights": ((X, Y), {"sample_weight": np.ones(3)}, ValueError, "sample_weight must have one value"),
    "negative weights": ((X, Y), {"sample_weight": -np.ones(60)}, ValueError, "sample_weight must not be negative"),
    "no weight": ((X, Y), {"sample_weight": np.zeros(60)}, ValueError, "positive for at least 2 rows"),
    "short offset": ((X, Y), {"offset": np.ones(3)}, ValueError, "offset must have one value"),
    "empty lams": ((X, Y), {"lams": []}, ValueError, "lams is empty"),
    "no lams": ((X, Y), {"lams": 0}, ValueError, "lams must be a positive number"),
    "fraction of lams": ((X, Y), {"lams": 2.5}, ValueError, "lams must be a positive number"),
    "negative lam": ((X, Y), {"lams": [1.0, -0.5]}, ValueError, "lams must be finite and not negative, got -0.5"),
    "nan lam": ((X, Y), {"lams": [1.0, np.nan]}, ValueError, "lams must be finite"),
    "two-dimensional lams": ((X, Y), {"lams": [[1.0]]}, ValueError, "lams must be a one-dimensional list"),
    "text lams": ((X, Y), {"lams": "many"}, TypeError, "lams must be a number of strengths"),
    "ratio of 2": ((X, Y), {"lam_min_ratio": 2.0}, ValueError, "lam_min_ratio must be between 0 and 1"),
    "tol of 0": ((X, Y), {"tol": 0.0}, ValueError, "tol must be positive"),
    "half precision": ((X, Y), {"dtype": "float16"}, TypeError, "dtype must be float32 or float64"),
    "loss by name": ((X, Y), {"loss": "squared"}, TypeError, "loss must be a jaxreg loss"),
    "penalty by name": ((X, Y), {"penalty": "l1"}, TypeError, "penalty must be a jaxreg penalty"),
    "masked penalty": ((X, Y), {"penalty": jr.Masked(jr.L1())}, TypeError, "linear models have no parts"),
    "short factors": ((X, Y), {"penalty": jr.L1(weight=np.ones(3))}, ValueError, "one factor per column of X"),
    "nothing penalized": ((X, Y), {"penalty": jr.L1(weight=np.zeros(4))}, ValueError, "leaves every column unpenalized"),
    "factor tree": ((X, Y), {"penalty": jr.L1(weight={"a": 1.0})}, TypeError, "weight must be a number or an array"),
    "y of zeros through the origin": (
        (X, np.zeros(60)),
        {"intercept": False},
        ValueError,
        "y is constant (every value is 0)",
    ),
    "constant columns only": ((np.ones((60, 2)), Y), {}, ValueError, "no column of X is related to y"),
}  # fmt: skip

CV_ERRORS = {
    "one fold": ({"folds": 1}, ValueError, "folds must be between 2 and the number of rows (60), got 1"),
    "more folds than rows": ({"folds": 61}, ValueError, "folds must be between 2 and the number of rows"),
    "half a fold": ({"folds": 2.5}, TypeError, "folds must be an integer"),
    "short fold_id": ({"fold_id": [0, 1]}, ValueError, "fold_id must have one label per row"),
    "one label": ({"fold_id": np.zeros(60, int)}, ValueError, "fold_id must name at least 2 folds"),
    "text fold_id": ({"fold_id": ["a"] * 60}, TypeError, "fold_id must be integers"),
    "unknown measure": ({"measure": "r2"}, ValueError, "measure must be one of deviance, mse"),
    "auc of a number": ({"measure": "auc"}, ValueError, "measure 'auc' is for two classes"),
    "ratios of L1": ({"penalty": jr.L1(), "l1_ratios": [0.5]}, TypeError, "l1_ratios needs penalty=ElasticNet()"),
    "no ratios": ({"l1_ratios": []}, ValueError, "l1_ratios must be a list"),
    "ratio of 2": ({"l1_ratios": [0.5, 2.0]}, ValueError, "l1_ratios must be finite and in [0, 1], got 2"),
    "class in one fold": (
        {"loss": jr.Logistic(), "y": np.r_[np.zeros(59), 1.0], "fold_id": np.arange(60) // 30},
        ValueError,
        "without fold 1 there is nothing to train on: y has one class only",
    ),
    "auc without a class": (
        {"loss": jr.Logistic(), "y": np.tile([0.0, 0.0, 1.0, 1.0], 15), "fold_id": np.tile([0, 1, 2, 3], 15), "measure": "auc"},
        ValueError,
        "auc needs both classes in every held-out fold",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", ERRORS)
def test_fit_path_refuses(name):
    arguments, options, error, message = ERRORS[name]
    with pytest.raises(error, match=re.escape(message)):
        jr.fit_path(*arguments, **options)


@pytest.mark.parametrize("name", CV_ERRORS)
def test_cross_validate_refuses(name):
    options, error, message = CV_ERRORS[name]
    options = {"lams": 5, **options}
    with pytest.raises(error, match=re.escape(message)):
        jr.cross_validate(X, options.pop("y", Y), **options)


def test_a_constant_column_has_coefficient_zero():
    path = jr.fit_path(np.column_stack([X[:, :3], np.full(60, 3.0)]), Y, lams=20)
    np.testing.assert_array_equal(path.coef[:, -1], 0)
    np.testing.assert_allclose(path.coef[:, :-1], jr.fit_path(X[:, :3], Y, lams=20).coef, atol=1e-9)


def test_a_column_constant_in_one_fold_only():
    rare = np.zeros(60)
    rare[:3] = 1.0
    fold_id = np.arange(60) // 20  # fold 0 holds out every row in which the column is not zero
    cv = jr.cross_validate(np.column_stack([X[:, :3], rare]), Y, fold_id=fold_id, lams=20)
    np.testing.assert_array_equal(cv.fold_coef[0, :, -1], 0)
    assert cv.fold_coef[1, :, -1].any()
    assert np.isfinite(cv.scores).all()


def test_duplicate_columns_share_and_are_certified():
    path = jr.fit_path(np.column_stack([X[:, :3], X[:, 0]]), Y, lams=20)
    single = jr.fit_path(X[:, :3], Y, lams=20)
    assert (path.gap <= 1e-6).all()
    together = path.coef[:, :3] + np.outer(path.coef[:, 3], [1, 0, 0])
    np.testing.assert_allclose(together, single.coef, atol=1e-7)


def test_lam_zero_is_least_squares_and_judged_by_its_residual():
    path = jr.fit_path(X, Y, lams=[1.0, 0.0])
    assert np.isnan(path.gap[1])
    assert path.kkt[1] <= 1e-6
    assert path.result[1] == jr.Result.CONVERGED
    expected = np.linalg.lstsq(np.column_stack([np.ones(60), X]), Y, rcond=None)[0]
    np.testing.assert_allclose(np.r_[path.intercept[1], path.coef[1]], expected, rtol=1e-8)


def test_prediction_arguments():
    path = jr.fit_path(X, Y, lams=5)
    with pytest.raises(ValueError, match="X must have shape"):
        path.predict(X[:, :2])
    with pytest.raises(ValueError, match="lam must be within the path"):
        path.predict(X, lam=1e9)
    with pytest.raises(ValueError, match='kind must be "mean" or "link"'):
        path.predict(X, kind="probability")
    with pytest.raises(ValueError, match='which must be "min" or "1se"'):
        jr.cross_validate(X, Y, lams=5, folds=3).coef("best")


def test_what_numpy_understands_is_taken():
    expected = jr.fit_path(X, Y, lams=5).coef
    for other in (X.tolist(), jnp.asarray(X), X.astype(np.float32), np.asfortranarray(X)):
        np.testing.assert_allclose(jr.fit_path(other, Y.tolist(), lams=5).coef, expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(jr.fit_path(X, Y[:, None], lams=5).coef, expected)


def test_a_grid_above_lam_max_selects_nothing_and_scores_the_null_model():
    cv = jr.cross_validate(X, Y, lams=[1e4], folds=3)
    np.testing.assert_array_equal(cv.coef(), 0)
    np.testing.assert_allclose(cv.scores[:, 0], cv.null_scores)


def test_a_constant_through_the_origin_is_a_regression():
    """Against the normal equations of an active set whose signs are right; with the intercept there is nothing to fit."""
    y = np.full(60, 7.0)
    path = jr.fit_path(X, y, intercept=False, standardize=False, lams=5)
    assert path.gap.max() <= 1e-6
    assert path.nonzero[-1] > 0
    for lam, coef in zip(path.lams, path.coef, strict=True):
        gradient = X.T @ (X @ coef - y) / 60
        np.testing.assert_allclose(gradient[coef != 0], -lam * np.sign(coef[coef != 0]), atol=1e-5)
        assert np.abs(gradient).max() <= lam * (1 + 1e-5)
    scores = jr.cross_validate(X, y, intercept=False, lams=3, folds=3).mean
    assert (np.diff(scores) < 0).all()
