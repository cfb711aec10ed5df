"""Displays show what estimators learned: the numbers in the pictures are theirs, and alpha and C are where they are."""

import sys

import matplotlib.pyplot as plt
import numpy as np
import pytest
import sklearn.linear_model as theirs
from sklearn.datasets import load_iris
from sklearn.ensemble import RandomForestRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import jaxreg.sklearn as ours
from jaxreg.datasets import load_diabetes
from jaxreg.sklearn import BatchedSearchCV, CoefficientDisplay, CVDisplay, PathDisplay
from jaxreg.sklearn._display_data import Curves

X, Y, NAMES = load_diabetes()
IRIS, KIND = load_iris(return_X_y=True)
TWO = np.stack([Y, 10 * np.sqrt(Y)], axis=1)


@pytest.fixture(autouse=True)
def _closed():
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def lasso():
    return make_pipeline(StandardScaler(), ours.LassoCV(cv=5, alphas=30)).fit(X, Y)


@pytest.fixture(scope="module")
def logistic():
    options = {"Cs": 5, "l1_ratios": [1.0, 0.5], "cv": 3, "scoring": "neg_log_loss", "use_legacy_attributes": False}
    return ours.LogisticRegressionCV(**options).fit(IRIS, KIND)


def texts(ax):
    return [text.get_text() for text in ax.texts]


def test_path_of_a_pipeline(lasso):
    display = PathDisplay.from_estimator(lasso, X, Y, feature_names=NAMES)
    final = lasso[-1]
    at = np.flatnonzero(np.isclose(display.curves.strengths, final.alpha_))
    np.testing.assert_allclose(display.curves.coef[at[0], :, 0], final.coef_, rtol=1e-6, atol=1e-6)
    assert display.curves.strengths.size == 30
    assert "alpha (log scale)" in display.ax_.get_xlabel()
    assert f"alpha = {final.alpha_:.3g}" in texts(display.ax_)
    assert "bmi" in texts(display.ax_)
    fresh = plt.figure().subplots()
    assert display.plot(fresh).ax_ is fresh
    assert display.figure_ is fresh.figure


def test_scores_of_a_pipeline(lasso):
    display = CVDisplay.from_estimator(lasso, X, Y)
    final = lasso[-1]
    line = display.lines_[0]
    np.testing.assert_allclose(line.get_xdata(), final.alphas_)
    np.testing.assert_allclose(line.get_ydata(), final.mse_path_.mean(axis=1))
    best, sparse = display.scores.choices()
    assert best == final.alpha_ <= sparse
    assert {"best", "1 se"} <= set(texts(display.ax_))
    assert display.nonzero[np.argmin(np.abs(final.alphas_ - best))] == np.count_nonzero(final.coef_)
    assert (np.diff(display.nonzero) >= -2).all()
    assert display.nonzero[0] == 0


@pytest.mark.deep
def test_classes_have_panels(logistic):
    display = PathDisplay.from_estimator(logistic, IRIS, KIND)
    assert [ax.get_title() for ax in display.ax_] == ["class 0", "class 1", "class 2"]
    chosen = int(np.argmin(np.abs(display.curves.strengths - logistic.C_)))
    np.testing.assert_allclose(display.curves.coef[chosen].T, logistic.coef_, rtol=1e-3, atol=1e-3)
    scores = CVDisplay.from_estimator(logistic)
    assert scores.scores.choices()[0] == logistic.C_
    assert scores.scores.measure == "log loss"
    assert (scores.scores.mean > 0).all()
    assert scores.lines_[0].get_label() == f"l1_ratio {logistic.l1_ratio_:g} (best)"
    assert len(scores.lines_) == 2
    one = PathDisplay.from_estimator(logistic, IRIS, KIND, outputs=2)
    assert one.ax_.get_title() == "class 2"
    bars = CoefficientDisplay.from_estimator(logistic, feature_names=["a", "b", "c", "d"])
    assert [ax.get_title() for ax in bars.axes_] == ["class 0", "class 1", "class 2"]


def test_c_grows_to_the_right():
    curves = Curves("C", np.array([0.01, 0.1, 1.0, 10.0]), np.arange(16.0).reshape(4, 2, 2), 0.1)
    display = PathDisplay(curves, feature_names=["a", "b"], titles=["one", "two"]).plot()
    ax = display.axes_[0]
    display.figure_.canvas.draw()
    ticks = {tick.get_text(): ax.transData.transform((x, 1))[0] for x, tick in zip(ax.get_xticks(), ax.get_xticklabels(), strict=True)}  # fmt: skip
    assert ticks["0.01"] < ticks["0.1"] < ticks["1"] < ticks["10"]
    assert len({ax.get_ylim() for ax in display.axes_}) == 1
    assert display.ax_[1].get_title() == "two"
    assert "C = 0.1" in texts(ax)


def test_estimators_at_one_strength_and_many_targets():
    model = ours.Lasso(alpha=2.0).fit(X, TWO)
    display = PathDisplay.from_estimator(model, X, TWO, ax=plt.figure().subplots(1, 2)[0])
    strengths, coef = display.curves.strengths, display.curves.coef
    assert coef.shape == (100, 10, 2)
    assert not coef[0].any()
    near = int(np.argmin(np.abs(strengths - 2.0)))
    other = theirs.Lasso(alpha=strengths[near], tol=1e-10, max_iter=100_000).fit(X, TWO)
    np.testing.assert_allclose(coef[near].T, other.coef_, rtol=1e-4, atol=1e-4)


@pytest.mark.deep
def test_path_of_tasks():
    tasks = ours.MultiTaskLassoCV(cv=3, alphas=[3.0, 1.0, 0.3]).fit(X, TWO)
    drawn = PathDisplay.from_estimator(tasks, X, TWO).curves
    at = drawn.strengths.tolist().index(tasks.alpha_)
    np.testing.assert_allclose(drawn.coef[at].T, tasks.coef_, rtol=1e-6)


def test_ridge_is_drawn_at_its_own_alpha():
    model = ours.RidgeCV(alphas=[10.0, 0.1]).fit(X, Y)
    curves = PathDisplay.from_estimator(model, X, Y).curves
    np.testing.assert_allclose(curves.coef[curves.strengths.tolist().index(model.alpha_), :, 0], model.coef_, rtol=1e-6)


def test_searches():
    grid = {"elasticnet__alpha": [0.1, 10.0, 1.0], "elasticnet__l1_ratio": [0.5, 1.0], "elasticnet__tol": [1e-4, 1e-3]}
    pipeline = make_pipeline(StandardScaler(), ours.ElasticNet())
    scoring = ["neg_mean_squared_error", "r2"]
    search = BatchedSearchCV(pipeline, grid, cv=3, scoring=scoring, refit=scoring[0]).fit(X, Y)
    display = CVDisplay.from_estimator(search)
    assert display.scores.measure == "mean squared error"
    np.testing.assert_allclose(display.scores.mean.min(), -search.best_score_)
    assert display.scores.choices()[0] == search.best_params_["elasticnet__alpha"]
    assert len(display.lines_) == 2
    bars = CoefficientDisplay.from_estimator(search, feature_names=NAMES, most=4)
    widths = [bar.get_width() for bar in bars.bars_[0]]
    np.testing.assert_allclose(widths, search.best_estimator_[-1].coef_[bars.shown_])
    assert (np.diff(np.abs(widths)) <= 0).all()
    assert [label.get_text() for label in bars.ax_.get_yticklabels()] == [NAMES[j] for j in bars.shown_]
    assert any("6 smaller" in text for text in texts(bars.ax_))


def test_selections_keep_their_paths():
    model = ours.GroupLassoCV(groups=[0, 0, 1, 1, 2, 2, 2, 2, 2, 2], alphas=10, cv=3, standardize=True).fit(X, Y)
    curves = PathDisplay.from_estimator(model).curves
    np.testing.assert_allclose(curves.strengths, model.alphas_)
    display = CVDisplay.from_estimator(model)
    np.testing.assert_allclose(display.scores.mean, model.selection_.mean)
    np.testing.assert_array_equal(display.nonzero, model.selection_.path.nonzero)


def test_coefficients_of_targets():
    display = CoefficientDisplay.from_estimator(ours.Ridge().fit(X, TWO))
    assert [ax.get_title() for ax in display.ax_] == ["target 0", "target 1"]
    assert len({ax.get_xlim() for ax in display.axes_}) == 1
    none = CoefficientDisplay(np.zeros((10, 1)), feature_names=NAMES).plot()
    assert none.shown_ == []
    assert texts(none.ax_) == ["not shown: 10 zero"]


def test_bad_input_is_told_of(lasso, monkeypatch):
    with pytest.raises(ValueError, match="X and y must be given"):
        PathDisplay.from_estimator(lasso)
    with pytest.raises(ValueError, match="feature_names must have one name for each of 10 features, got 1"):
        CoefficientDisplay.from_estimator(lasso, feature_names=["a"])
    with pytest.raises(ValueError, match="outputs must be places from 0 to 0, got 3"):
        CoefficientDisplay.from_estimator(lasso, outputs=3)
    with pytest.raises(ValueError, match="most must be at least 1"):
        CoefficientDisplay.from_estimator(lasso, most=0)
    with pytest.raises(TypeError, match="must keep scores of folds"):
        CVDisplay.from_estimator(ours.Lasso().fit(X, Y))
    with pytest.raises(TypeError, match="must be one of CoxRegression"):
        PathDisplay.from_estimator(ours.HuberRegressor().fit(X, Y), X, Y)
    with pytest.raises(TypeError, match="must have coefficients"):
        PathDisplay.from_estimator(RandomForestRegressor(2).fit(X, Y), X, Y)
    many = ours.Ridge().fit(X, np.tile(Y[:, None], 9))
    with pytest.raises(ValueError, match="choose some with outputs="):
        CoefficientDisplay.from_estimator(many)
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    with pytest.raises(ImportError, match=r"jaxreg\[plot\]"):
        CVDisplay.from_estimator(lasso)
