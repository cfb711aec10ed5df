"""BatchedSearchCV finds what GridSearchCV finds with the same estimator, for every kind of estimator, split and score."""

import numpy as np
import polars
import pytest
import sklearn
from scipy import sparse
from sklearn.ensemble import RandomForestRegressor
from sklearn.metrics import make_scorer, mean_absolute_error
from sklearn.model_selection import GridSearchCV, GroupKFold, LeaveOneOut, ShuffleSplit, StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

import jaxreg as jr
import jaxreg.sklearn as ours
from jaxreg.datasets import load_diabetes
from jaxreg.sklearn import BatchedSearchCV

X, Y, NAMES = load_diabetes()
X, Y = X[:120], Y[:120]
CLASS = np.where(np.median(Y) < Y, "high", "low")
THREE = np.digitize(Y, np.quantile(Y, [0.3, 0.7]))
COUNT = np.round(Y / 40)
TWO = np.stack([Y, np.sqrt(Y)], axis=1)
WEIGHTS = 1.0 + np.arange(len(Y)) % 3
BLOCKS = [0, 0, 1, 1, 2, 2, 2, 2, 2, 2]
ALPHAS = [0.3, 30.0, 3.0]


def scaled(estimator):
    return make_pipeline(StandardScaler(), estimator)


def results(kind, estimator, grid, y=Y, X=X, fit=None, **options):
    search = kind(estimator, grid, **({"cv": 3} | options))
    return search.fit(X, y, **(fit or {}))


def assert_alike(mine, other, rtol=1e-6, places=None):
    """All results are the same but for the times; batched are those at some places, or all."""
    assert list(mine.cv_results_) == list(other.cv_results_)
    for name, value in other.cv_results_.items():
        got = mine.cv_results_[name]
        assert type(got) is type(value), name
        if name == "params":
            assert got == value
            continue
        assert (got.dtype, got.shape) == (value.dtype, value.shape), name
        if "_time" in name:
            assert (got >= 0).all()
        elif name.startswith("param_"):
            assert got.tolist() == value.tolist()
        else:
            np.testing.assert_allclose(got, value, rtol=rtol, atol=rtol, err_msg=name)
    many = len(value)
    expected = np.ones(many, bool) if places is None else np.isin(np.arange(many), places)
    assert mine.batched_candidates_.tolist() == expected.tolist()


def compare(estimator, grid, rtol=1e-6, places=None, **more):
    mine, other = (results(kind, estimator, grid, **more) for kind in (BatchedSearchCV, GridSearchCV))
    assert_alike(mine, other, rtol, places)
    return mine, other


REGRESSORS = {
    "lasso": (ours.Lasso(), {"alpha": ALPHAS}, {}),
    "elastic net": (ours.ElasticNet(), {"alpha": ALPHAS, "l1_ratio": [0.9, 0.2]}, {"return_train_score": True}),
    "no intercept": (ours.Lasso(), {"alpha": ALPHAS, "fit_intercept": [False, True]}, {}),
    "positive": (ours.ElasticNet(positive=True), {"alpha": ALPHAS, "l1_ratio": [0.9, 0.2]}, {}),
    "mix alone": (ours.ElasticNet(alpha=2.0), {"l1_ratio": [0.9, 0.2]}, {}),
    "scaled": (scaled(ours.Lasso()), {"lasso__alpha": ALPHAS}, {}),
    "scaled, not centered": (
        make_pipeline(StandardScaler(with_std=False), ours.Lasso(fit_intercept=False)),
        {"lasso__alpha": ALPHAS, "standardscaler__with_mean": [False, True]},
        {},
    ),
    "ridge": (scaled(ours.Ridge()), {"ridge__alpha": ALPHAS}, {"scoring": ["r2", "neg_mean_absolute_error"], "refit": "r2"}),
    "two targets": (ours.Ridge(), {"alpha": ALPHAS}, {"y": TWO}),
    "two targets, lasso": (ours.Lasso(), {"alpha": ALPHAS}, {"y": TWO}),
    "weights": (ours.Ridge(), {"alpha": ALPHAS}, {"fit": {"sample_weight": WEIGHTS}}),
    "weights behind a scaler": (scaled(ours.Lasso()), {"lasso__alpha": ALPHAS}, {"fit": {"lasso__sample_weight": WEIGHTS}}),
    "groups": (scaled(ours.GroupLasso(groups=BLOCKS)), {"grouplasso__alpha": [20.0, 2.0]}, {}),
    "concave": (ours.MCPRegression(gamma=50.0, standardize=True), {"alpha": [20.0, 2.0]}, {"scoring": "neg_root_mean_squared_error"}),
    "sparse": (
        make_pipeline(StandardScaler(with_mean=False), ours.Lasso()),
        {"lasso__alpha": ALPHAS},
        {"X": sparse.csr_matrix(X)},
    ),
    "frame": (scaled(ours.Lasso()), {"lasso__alpha": ALPHAS}, {"X": polars.DataFrame(X, schema=NAMES)}),
    "single precision": (ours.Lasso(), {"alpha": ALPHAS}, {"X": X.astype(np.float32), "rtol": 1e-4}),
    "rows drawn at random": (ours.Lasso(), {"alpha": ALPHAS}, {"cv": ShuffleSplit(3, random_state=0)}),
    "groups of rows": (ours.Lasso(), {"alpha": ALPHAS}, {"cv": GroupKFold(3), "fit": {"groups": np.arange(len(Y)) % 7}}),
}  # fmt: skip
CLASSIFIERS = {
    "logistic": (ours.LogisticRegression(l1_ratio=1.0), {"C": [1.0, 0.01, 0.1]}, {"y": CLASS}),
    "elastic": (scaled(ours.LogisticRegression()), {"logisticregression__C": [0.01, 0.1], "logisticregression__l1_ratio": [1.0, 0.0]}, {"y": CLASS, "scoring": "roc_auc"}),
    "old words": (ours.LogisticRegression(), {"C": [0.01, 0.1], "penalty": ["l1", None]}, {"y": CLASS, "cv": StratifiedKFold(3)}),
    "balanced": (ours.LogisticRegression(class_weight="balanced"), {"C": [0.01, 0.1]}, {"y": THREE, "scoring": ["accuracy", "neg_log_loss"], "refit": False}),
    "ridge classifier": (ours.RidgeClassifier(), {"alpha": ALPHAS}, {"y": THREE}),
}  # fmt: skip


SLOW = (
    "balanced",
    "concave",
    "elastic",
    "groups",
    "groups of rows",
    "logistic",
    "old words",
    "lasso",
    "positive",
    "rows drawn at random",
    "single precision",
)
"""Cases that need programs of their own, or shapes."""


@pytest.mark.parametrize(
    ("estimator", "grid", "more"),
    [
        pytest.param(*case, id=name, marks=[pytest.mark.slow] if name in SLOW else [])
        for name, case in (REGRESSORS | CLASSIFIERS).items()
    ],
)
def test_results_are_those_of_grid_search(estimator, grid, more):
    mine, other = compare(estimator, grid, **more)
    if mine.refit:
        assert mine.best_params_ == other.best_params_
        rows = more.get("X", X)
        np.testing.assert_array_equal(mine.predict(rows), other.predict(rows))


OTHERS = {
    "generalized": (ours.GeneralizedLinear(jr.Poisson(), jr.L1()), [3.0, 1.0], COUNT),
    "poisson": (ours.PoissonRegressor(), [3.0, 0.3], COUNT),
    "gamma": (ours.GammaRegressor(), [3.0, 0.3], Y),
    "tweedie": (ours.TweedieRegressor(power=1.5), [3.0, 0.3], Y),
    "quantile": (ours.QuantileRegressor(), [3.0, 0.3], Y),
    "sparse groups": (ours.SparseGroupLasso(groups=BLOCKS), [20.0, 2.0], Y),
    "scad": (ours.SCADRegression(), [1.0, 0.5], Y),
    "slope": (ours.SLOPE(), [3.0, 0.3], Y),
    "tasks": (ours.MultiTaskLasso(), [3.0, 0.3], TWO),
    "task": (ours.MultiTaskElasticNet(), [3.0, 0.3], Y[:, None]),
    "survival": (ours.CoxRegression(), [0.1, 0.01], np.stack([Y, np.arange(len(Y)) % 2], axis=1)),
}


@pytest.mark.deep
@pytest.mark.parametrize("name", OTHERS)
def test_every_other_estimator(name):
    estimator, alphas, y = OTHERS[name]
    compare(scaled(estimator), {f"{type(estimator).__name__.lower()}__alpha": alphas}, y=y, rtol=1e-4)


def test_steps_are_fitted_once_for_each_training_set_and_never_see_the_rest():
    seen = []

    def note(rows):
        seen.append(len(rows))
        return rows

    pipeline = make_pipeline(FunctionTransformer(note), StandardScaler(), ours.Lasso())
    search = results(BatchedSearchCV, pipeline, {"lasso__alpha": np.geomspace(100, 1, 20)}, refit=False)
    assert search.batched_candidates_.all()
    # Training and test rows of every fold once, and those of the one fit that scikit-learn does itself.
    assert sorted(seen) == sorted([80, 40] * 3 + [80, 40])


def test_programs_do_not_grow_with_the_grid(compiled):
    pipeline = scaled(ours.ElasticNet())

    def search(alphas, ratios):
        grid = {"elasticnet__alpha": np.geomspace(100, 1, alphas), "elasticnet__l1_ratio": np.linspace(0.1, 1, ratios)}
        return results(BatchedSearchCV, pipeline, grid, refit=False)

    search(10, 2)
    del compiled[:]
    found = search(40, 2)
    assert found.batched_candidates_.sum() == 80
    assert compiled == []


def test_splits_may_be_an_iterator_and_a_search_may_be_fitted_again():
    def halves():
        yield np.arange(60), np.arange(60, 120)
        yield np.arange(60, 120), np.arange(60)

    searches = [kind(ours.Lasso(), {"alpha": ALPHAS}, cv=halves()) for kind in (BatchedSearchCV, GridSearchCV)]
    mine, other = (search.fit(X, Y) for search in searches)
    assert_alike(mine, other)
    mine.set_params(cv=3).fit(X, Y)
    assert_alike(mine, other.set_params(cv=3).fit(X, Y))


@pytest.mark.slow
def test_leave_one_out():
    options = {"cv": LeaveOneOut(), "scoring": "neg_mean_squared_error", "X": X[:24], "y": Y[:24]}
    compare(ours.Lasso(), {"alpha": ALPHAS}, **options)


def test_lists_of_grids_and_what_cannot_be_batched():
    grid = [
        {"lasso": [ours.Lasso(), ours.ElasticNet(0.1)], "lasso__alpha": [1.0, 3.0]},
        {"lasso": [RandomForestRegressor(2, random_state=0)], "lasso__max_depth": [1, 2]},
        {"lasso__fit_intercept": [False]},
    ]
    mine, _ = compare(scaled(ours.Lasso()), grid, places=[0, 1, 2, 3])
    assert mine.best_index_ < 4
    compare(RandomForestRegressor(2, random_state=0), {"max_depth": [1, 2]}, places=[])


def test_a_rule_chooses_and_scores_may_look_inside():
    def sparsest(found):
        return int(np.argmax(found["mean_test_zeros"]))

    def score(model, X, y):
        coef = model[-1].coef_
        return {"error": mean_absolute_error(y, model.predict(X)), "zeros": float((coef == 0).sum())}

    mine, other = compare(scaled(ours.Lasso()), {"lasso__alpha": ALPHAS}, scoring=score, refit=sparsest)
    assert mine.best_params_ == other.best_params_ == {"lasso__alpha": 30.0}
    scoring = {"mae": make_scorer(mean_absolute_error, greater_is_better=False), "r2": "r2"}
    compare(scaled(ours.Lasso()), {"lasso__alpha": ALPHAS}, scoring=scoring, refit="mae")


def test_candidates_that_fail_are_told_of_as_by_grid_search():
    grid = {"alpha": [1.0, -1.0, 2.0]}
    with pytest.warns(sklearn.exceptions.FitFailedWarning), pytest.warns(UserWarning, match="non-finite"):
        mine = results(BatchedSearchCV, ours.Lasso(), grid)
    with pytest.warns(sklearn.exceptions.FitFailedWarning), pytest.warns(UserWarning, match="non-finite"):
        other = results(GridSearchCV, ours.Lasso(), grid)
    assert_alike(mine, other, places=[0, 2])
    with pytest.raises(ValueError, match=r"alpha must be .* got -1"):
        results(BatchedSearchCV, ours.Lasso(), grid, error_score="raise")
    with pytest.raises(ValueError, match="tol must be"):
        results(BatchedSearchCV, ours.Lasso(tol=-1.0), {"alpha": [1.0]}, error_score="raise")
    with pytest.raises(ValueError, match="Input y contains NaN"):
        results(BatchedSearchCV, ours.Lasso(), {"alpha": [1.0]}, y=np.full(len(Y), np.nan), error_score="raise")
    with pytest.raises(ValueError, match="Invalid parameter 'beta'"):
        results(BatchedSearchCV, ours.Lasso(), {"alpha": [1.0], "beta": [1.0]})


@pytest.mark.slow
def test_a_class_may_be_missing_from_a_training_set():
    rare = np.where(np.arange(len(Y)) < 5, "rare", CLASS)
    options = {"y": rare, "cv": [(np.arange(40, 120), np.arange(40)), (np.arange(80), np.arange(80, 120))]}
    compare(ours.LogisticRegression(), {"C": [0.01, 0.1]}, **options)


def test_metadata_is_routed():
    with sklearn.config_context(enable_metadata_routing=True):
        ridge = ours.Ridge().set_fit_request(sample_weight=True).set_score_request(sample_weight=True)
        fit = {"sample_weight": WEIGHTS}
        for scaler, places in (
            (StandardScaler().set_fit_request(sample_weight=False), None),
            (StandardScaler().set_fit_request(sample_weight=True), []),
        ):
            compare(make_pipeline(scaler, ridge), {"ridge__alpha": ALPHAS}, places=places, fit=fit)


def test_nothing_is_left_behind(capsys):
    search = results(BatchedSearchCV, ours.Lasso(), {"alpha": ALPHAS}, verbose=1)
    assert "3 of 3 candidates in batches" in capsys.readouterr().out
    other = results(GridSearchCV, ours.Lasso(), {"alpha": ALPHAS})
    assert vars(search).keys() - vars(other).keys() == {"batched_candidates_"}
    assert search.n_splits_ == 3
    assert sklearn.base.clone(search).get_params().keys() == other.get_params().keys()
