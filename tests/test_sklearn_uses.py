"""The estimators inside scikit-learn's machinery, in the ways that its examples show, give what its own give."""

import pickle

import numpy as np
import polars
import pytest
import sklearn
import sklearn.linear_model as theirs
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import load_diabetes
from sklearn.ensemble import StackingRegressor
from sklearn.feature_selection import SelectFromModel
from sklearn.inspection import partial_dependence, permutation_importance
from sklearn.model_selection import GridSearchCV, GroupKFold, cross_val_score
from sklearn.multioutput import MultiOutputRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import jaxreg as jr
import jaxreg.sklearn as ours

X, Y = load_diabetes(return_X_y=True)
X = 20 * X
CLASS = (Y > np.median(Y)).astype(int)
EXACT = {"tol": 1e-10, "max_iter": 100_000}


def pair(name, **options):
    """Ours, and theirs to a tight tolerance."""
    exact = {} if name.startswith("Ridge") else EXACT
    return getattr(ours, name)(**options), getattr(theirs, name)(**options, **exact)


def predictions(models):
    return [model.fit(X, Y).predict(X) for model in models]


def test_pipeline_and_grid_search():
    searches = [
        GridSearchCV(
            make_pipeline(StandardScaler(), model), {f"{type(model).__name__.lower()}__alpha": [0.5, 5.0]}, cv=3
        )
        for model in pair("Lasso")
    ]
    mine, other = (search.fit(X, Y) for search in searches)
    np.testing.assert_allclose(mine.cv_results_["mean_test_score"], other.cv_results_["mean_test_score"], rtol=1e-6)
    np.testing.assert_allclose(mine.predict(X), other.predict(X), rtol=1e-6)


@pytest.mark.deep
def test_cross_val_score_in_processes():
    mine, other = (cross_val_score(model, X, Y, cv=3, n_jobs=2) for model in pair("Ridge"))
    np.testing.assert_allclose(mine, other, rtol=1e-8)


def test_select_from_model():
    mine, other = (SelectFromModel(model).fit(X, Y).get_support() for model in pair("Lasso", alpha=3.0))
    assert (mine == other).all()
    assert 0 < mine.sum() < mine.size


def test_multi_output_and_stacking():
    both = [MultiOutputRegressor(model).fit(X, np.stack([Y, -Y], axis=1)).predict(X) for model in pair("Lasso")]
    np.testing.assert_allclose(*both, rtol=1e-6)
    stacks = [
        StackingRegressor([("lasso", lasso), ("ridge", ridge)], final_estimator=final, cv=3)
        for lasso, ridge, final in zip(pair("Lasso"), pair("Ridge"), pair("RidgeCV"), strict=True)
    ]
    np.testing.assert_allclose(*predictions(stacks), rtol=1e-6)


@pytest.mark.slow
def test_calibrated_classifier():
    mine, other = (
        CalibratedClassifierCV(model, cv=3).fit(X, CLASS).predict_proba(X)
        for model in (ours.LogisticRegression(), theirs.LogisticRegression(**EXACT))
    )
    np.testing.assert_allclose(mine, other, atol=1e-5)


def test_inspection():
    mine, other = (model.fit(X, Y) for model in pair("Ridge"))
    scores = [permutation_importance(model, X, Y, n_repeats=2, random_state=0).importances for model in (mine, other)]
    np.testing.assert_allclose(*scores, atol=1e-8)
    curves = [partial_dependence(model, X, [2], grid_resolution=5)["average"] for model in (mine, other)]
    np.testing.assert_allclose(*curves, rtol=1e-8)


def test_frames_names_and_pickles():
    frame = polars.DataFrame({f"x{j}": X[:, j] for j in range(4)})
    model = ours.Lasso(alpha=1.0).fit(frame, Y)
    assert model.feature_names_in_.tolist() == ["x0", "x1", "x2", "x3"]
    again = pickle.loads(pickle.dumps(model))
    assert (again.predict(frame) == model.predict(frame)).all()
    with pytest.raises(ValueError, match="feature names"):
        model.predict(frame[:, ::-1])


def test_jax_arrays():
    import jax.numpy as jnp

    model = ours.Ridge().fit(jnp.asarray(X, dtype=jnp.float32), jnp.asarray(Y))
    assert model.coef_.dtype == np.float32
    np.testing.assert_allclose(model.coef_, theirs.Ridge().fit(X, Y).coef_, rtol=1e-4, atol=1e-3)


def test_metadata_routing_to_a_splitter():
    groups = np.arange(len(Y)) % 4
    with sklearn.config_context(enable_metadata_routing=True):
        model = ours.LassoCV(alphas=10, cv=GroupKFold(4)).fit(X, Y, groups=groups)
        other = theirs.LassoCV(alphas=10, cv=GroupKFold(4), **EXACT).fit(X, Y, groups=groups)
    np.testing.assert_allclose(model.mse_path_, other.mse_path_, rtol=1e-6)
    with pytest.raises(ValueError, match="enable_metadata_routing"):
        ours.LassoCV(cv=GroupKFold(4)).fit(X, Y, groups=groups)


def test_constant_target():
    model = ours.Lasso().fit(X, np.full(len(Y), 3.0))
    assert (model.coef_ == 0).all()
    assert model.intercept_ == 3.0
    ones = np.ones(len(Y))
    plain, other = (house.Ridge(fit_intercept=False, alpha=2.0).fit(X + 1, ones) for house in (ours, theirs))
    np.testing.assert_allclose(plain.coef_, other.coef_, rtol=1e-7)


@pytest.mark.deep
def test_any_loss_and_penalty_with_offset_and_one_standard_error():
    counts, shift = np.round(Y / 50), np.linspace(-0.5, 0.5, len(Y))
    weight = [0.0, *[1.0] * 9]
    at = ours.GeneralizedLinear(jr.Poisson(), jr.L1(weight=weight), alpha=0.1).fit(X, counts, offset=shift)
    path = jr.fit_path(
        X, counts, loss=jr.Poisson(), penalty=jr.L1(weight=weight), lams=[0.1], offset=shift, standardize=False
    )
    np.testing.assert_allclose(at.coef_, path.coef[0], atol=1e-7)
    np.testing.assert_allclose(at.predict(X, offset=shift), path.predict(X, 0.1, offset=shift), rtol=1e-6)
    assert at.dual_gap_ < 1e-6
    cv = ours.GeneralizedLinearCV(jr.Poisson(), alphas=20, cv=4, selection_rule="1se").fit(X, counts)
    assert cv.alpha_ == cv.selection_.lam_1se > cv.selection_.lam_min
    assert cv.score_path_.shape == (4, 20)


def test_two_stages():
    model = ours.RelaxedLasso(alpha=5.0).fit(X, Y)
    kept = model.coef_ != 0
    plain = theirs.LinearRegression().fit(X[:, kept], Y)
    np.testing.assert_allclose(model.coef_[kept], plain.coef_, rtol=1e-8)
    assert np.isclose(model.intercept_, plain.intercept_)
    # Of factors that are all one, the adaptive lasso is the lasso; else that of scaled columns.
    np.testing.assert_allclose(
        ours.AdaptiveLasso(alpha=5.0, gamma=0.0).fit(X, Y).coef_, ours.Lasso(alpha=5.0).fit(X, Y).coef_, atol=1e-6
    )
    pilot = theirs.Ridge(alpha=1.0).fit(X, Y).coef_
    adaptive = ours.AdaptiveLassoCV(alphas=20, cv=4).fit(X, Y)
    assert adaptive.coef_[np.abs(pilot).argmax()] != 0
    assert (adaptive.coef_ != 0).sum() <= (ours.LassoCV(alphas=20, cv=4).fit(X, Y).coef_ != 0).sum()
