"""The same numbers as scikit-learn's estimators of the same names, on its own tables."""

import numpy as np
import pytest
import sklearn.linear_model as theirs
from scipy import sparse
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris

import jaxreg.sklearn as ours

DIABETES, PROGRESSION = load_diabetes(return_X_y=True)
DIABETES = 20 * DIABETES
CANCER, MALIGNANT = load_breast_cancer(return_X_y=True)
CANCER = (CANCER - CANCER.mean(axis=0)) / CANCER.std(axis=0)
CANCER = CANCER[:, :10]
IRIS, SPECIES = load_iris(return_X_y=True)
TASKS = np.stack([PROGRESSION, PROGRESSION[::-1], PROGRESSION**2 / 100], axis=1)
WEIGHTS = np.random.default_rng(0).integers(1, 4, PROGRESSION.size).astype(float)
EXACT = {"tol": 1e-12, "max_iter": 100_000}
NEWTON = {"tol": 1e-10, "solver": "newton-cholesky"}
LINEAR = ("coef_", "intercept_")
ALONG = (*LINEAR, "alpha_", "alphas_", "mse_path_")


def agree(name, mine, extra, X, y, attributes, weight=None, rtol=1e-6):
    """Fit both; their attributes must have the same shapes and dtypes, and agree."""
    told = {} if weight is None else {"sample_weight": weight}
    a = getattr(ours, name)(**mine).fit(X, y, **told)
    b = getattr(theirs, name)(**mine, **extra).fit(X, y, **told)
    for attribute in attributes:
        left, right = np.asarray(getattr(a, attribute)), np.asarray(getattr(b, attribute))
        assert left.shape == right.shape, attribute
        assert left.dtype == right.dtype, attribute
        np.testing.assert_allclose(left, right, rtol=rtol, atol=rtol * np.abs(right).max(), err_msg=attribute)
    return a, b


@pytest.mark.parametrize("weight", [None, WEIGHTS], ids=["even", "weighted"])
@pytest.mark.parametrize(
    ("name", "mine", "extra", "y", "attributes"),
    [
        ("Lasso", {"alpha": 2.0}, EXACT, PROGRESSION, LINEAR),
        ("Lasso", {"alpha": 2.0, "fit_intercept": False}, EXACT, PROGRESSION, LINEAR),
        ("ElasticNet", {"alpha": 0.5, "l1_ratio": 0.3}, EXACT, TASKS, LINEAR),
        ("LassoCV", {"cv": 4, "alphas": 30}, EXACT, PROGRESSION, ALONG),
        ("ElasticNetCV", {"cv": 4, "alphas": 30, "l1_ratio": [0.5, 1.0]}, EXACT, PROGRESSION, (*ALONG, "l1_ratio_")),
        ("Ridge", {"alpha": 3.0}, {}, PROGRESSION, LINEAR),
        ("Ridge", {"alpha": [1.0, 2.0, 3.0]}, {}, TASKS, LINEAR),
        ("Ridge", {"alpha": 0.0}, {}, PROGRESSION, LINEAR),
        ("RidgeCV", {"store_cv_results": True}, {}, PROGRESSION, (*LINEAR, "alpha_", "best_score_", "cv_results_")),
        ("RidgeCV", {"cv": 4}, {}, PROGRESSION, (*LINEAR, "alpha_", "best_score_")),
        ("RidgeCV", {"alpha_per_target": True, "scoring": "r2"}, {}, TASKS, (*LINEAR, "alpha_", "best_score_")),
    ],
)
def test_regressors(name, mine, extra, y, attributes, weight):
    agree(name, mine, extra, DIABETES, y, attributes, weight)


def test_gap_is_in_their_units():
    model = ours.Lasso(alpha=2.0).fit(DIABETES, PROGRESSION)
    b, r = model.coef_, PROGRESSION - model.predict(DIABETES)
    primal = 0.5 * np.mean(r**2) + 2.0 * np.abs(b).sum()
    y = PROGRESSION - PROGRESSION.mean()
    dual = 0.5 * np.mean(y**2) - 0.5 * np.mean((y - r) ** 2)
    assert abs(primal - dual - model.dual_gap_) < 1e-8 * primal


@pytest.mark.deep
@pytest.mark.parametrize("name", ["Lasso", "Ridge"])
def test_sparse_and_positive(name):
    rng = np.random.default_rng(1)
    X = sparse.random_array(DIABETES.shape, density=0.2, rng=rng, format="csr")
    extra = EXACT if name == "Lasso" else {"tol": 1e-12}
    agree(name, {"alpha": 0.01}, extra, X, PROGRESSION, LINEAR)
    model = getattr(ours, name)(alpha=0.1, positive=True).fit(DIABETES, PROGRESSION)
    assert model.coef_.min() >= 0
    gradient = DIABETES.T @ (PROGRESSION - model.predict(DIABETES)) / len(DIABETES)
    slope = gradient - (0.1 if name == "Lasso" else 0.1 / len(DIABETES) * model.coef_)
    np.testing.assert_allclose(slope[model.coef_ > 0], 0, atol=1e-4)
    assert slope[model.coef_ == 0].max() <= 1e-4


@pytest.mark.deep
@pytest.mark.parametrize(
    ("name", "mine"),
    [
        ("MultiTaskLasso", {"alpha": 2.0}),
        ("MultiTaskElasticNet", {"alpha": 1.0, "l1_ratio": 0.3}),
        ("MultiTaskLassoCV", {"cv": 3, "alphas": 10, "eps": 0.05}),
        ("MultiTaskElasticNetCV", {"cv": 3, "alphas": 10, "l1_ratio": [0.3, 0.8], "eps": 0.05}),
    ],
)
def test_tasks(name, mine):
    attributes = ALONG if name.endswith("CV") else LINEAR
    a, _ = agree(name, mine, EXACT, DIABETES, TASKS, attributes)
    assert a.dual_gap_ < 1e-5 * TASKS.var()


def test_paths():
    y = PROGRESSION - PROGRESSION.mean()
    for name, options in (("lasso_path", {}), ("enet_path", {"l1_ratio": 0.5})):
        mine = getattr(ours, name)(DIABETES, y, alphas=20, **options)
        other = getattr(theirs, name)(DIABETES, y, alphas=20, **EXACT, **options)
        for left, right in zip(mine[:2], other[:2], strict=True):
            np.testing.assert_allclose(left, right, rtol=1e-6, atol=1e-6 * np.abs(right).max())


@pytest.mark.parametrize(
    ("mine", "extra", "X", "y"),
    [
        ({}, NEWTON, CANCER, MALIGNANT),
        ({"C": np.inf}, NEWTON, CANCER, MALIGNANT),
        ({"C": 0.1, "class_weight": "balanced", "fit_intercept": False}, NEWTON, CANCER, MALIGNANT),
        ({"C": 0.1, "l1_ratio": 1.0}, {"solver": "saga", **EXACT}, CANCER, MALIGNANT),
        ({"C": 0.1, "l1_ratio": 0.4}, {"solver": "saga", **EXACT}, CANCER, MALIGNANT),
        pytest.param({}, NEWTON, IRIS, SPECIES, marks=pytest.mark.deep),
        pytest.param(
            {"l1_ratio": 0.5, "class_weight": {1: 2.0}},
            {"solver": "saga", **EXACT},
            IRIS,
            SPECIES,
            marks=pytest.mark.deep,
        ),
    ],
)
def test_logistic_regression(mine, extra, X, y):
    a, b = agree("LogisticRegression", mine, extra, X, y, LINEAR, rtol=1e-5)
    np.testing.assert_allclose(a.predict_proba(X), b.predict_proba(X), atol=1e-5)
    np.testing.assert_allclose(a.predict_log_proba(X), b.predict_log_proba(X), atol=1e-4)


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("scoring", [None, "neg_log_loss"])
def test_logistic_regression_cv(scoring):
    mine = {"Cs": [0.1, 10.0, 1.0], "cv": 3, "scoring": scoring}
    a, b = agree("LogisticRegressionCV", mine, NEWTON, CANCER, MALIGNANT, (*LINEAR, "C_", "Cs_"))
    for label, path in b.coefs_paths_.items():
        np.testing.assert_allclose(a.coefs_paths_[label], path, rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(a.scores_[label], b.scores_[label], rtol=1e-6)
    assert np.isclose(a.score(CANCER, MALIGNANT), b.score(CANCER, MALIGNANT))


@pytest.mark.deep
@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_logistic_regression_cv_of_many_classes():
    mine = {"Cs": [0.1, 1.0], "cv": 3, "use_legacy_attributes": False, "l1_ratios": [0.0]}
    a, b = agree("LogisticRegressionCV", mine, NEWTON, IRIS, SPECIES, LINEAR)
    for name in ("coefs_paths_", "scores_"):
        np.testing.assert_allclose(getattr(a, name), getattr(b, name), rtol=1e-5, atol=1e-5)
    assert (a.C_, a.l1_ratio_) == (b.C_, b.l1_ratio_)


@pytest.mark.parametrize(
    ("name", "mine", "X", "y"),
    [
        ("RidgeClassifier", {"class_weight": "balanced"}, CANCER, MALIGNANT),
        ("RidgeClassifier", {"alpha": 2.0}, IRIS, SPECIES),
        ("RidgeClassifierCV", {}, IRIS, SPECIES),
        ("RidgeClassifierCV", {"cv": 4}, CANCER, MALIGNANT),
    ],
)
def test_ridge_classifiers(name, mine, X, y):
    a, b = agree(name, mine, {}, X, y, LINEAR)
    assert (a.predict(X) == b.predict(X)).all()


@pytest.mark.parametrize(
    ("name", "mine"),
    [
        pytest.param("PoissonRegressor", {"alpha": 0.5}, marks=pytest.mark.deep),
        pytest.param("GammaRegressor", {"alpha": 0.5}, marks=pytest.mark.deep),
        pytest.param("TweedieRegressor", {"alpha": 0.5, "power": 1.5}, marks=pytest.mark.deep),
        ("TweedieRegressor", {"alpha": 0.5, "power": 0}),
    ],
)
def test_generalized_linear(name, mine):
    a, b = agree(name, mine, NEWTON, DIABETES, PROGRESSION, LINEAR, WEIGHTS)
    np.testing.assert_allclose(a.predict(DIABETES), b.predict(DIABETES), rtol=1e-6)
    assert np.isclose(a.score(DIABETES, PROGRESSION, WEIGHTS), b.score(DIABETES, PROGRESSION, WEIGHTS))


def huber_objective(model, alpha, epsilon):
    z = np.abs(PROGRESSION - model.predict(DIABETES)) / model.scale_
    losses = np.where(z < epsilon, z**2, 2 * epsilon * z - epsilon**2)
    return (model.scale_ * (1 + losses)).sum() + alpha * (model.coef_**2).sum()


def test_huber():
    mine = {"alpha": 1.0, "epsilon": 1.2}
    a, b = agree("HuberRegressor", mine, {"max_iter": 10_000, "tol": 1e-10}, DIABETES, PROGRESSION, LINEAR, rtol=1e-3)
    assert huber_objective(a, **mine) <= huber_objective(b, **mine) * (1 + 1e-12)
    assert (a.outliers_ == b.outliers_).all()


@pytest.mark.deep
@pytest.mark.parametrize("alpha", [0.0, 0.3])
def test_quantile(alpha):
    mine = {"quantile": 0.3, "alpha": alpha}
    a, b = (house.QuantileRegressor(**mine).fit(DIABETES, PROGRESSION) for house in (ours, theirs))

    def objective(model):
        r = PROGRESSION - model.predict(DIABETES)
        return np.maximum(0.3 * r, -0.7 * r).mean() + alpha * np.abs(model.coef_).sum()

    assert np.isclose(objective(a), objective(b), rtol=1e-8)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (ours.Lasso(alpha=-1.0), "alpha must be finite and at least 0"),
        (ours.ElasticNet(l1_ratio=2.0), "l1_ratio must be"),
        (ours.LogisticRegression(C=0.0), "C must be positive"),
        (ours.LogisticRegression(solver="magic"), "solver must be one of"),
        (ours.ElasticNetCV(l1_ratio=0.0), "l1_ratio=0 has no strength"),
        (ours.TweedieRegressor(power=0.5), "power must be 0, or at least 1"),
        (ours.HuberRegressor(epsilon=0.5), "epsilon must be"),
        (ours.RidgeCV(cv=3, store_cv_results=True), "cv=None"),
        (ours.GroupLassoCV(selection_rule="best"), "selection_rule must be one of"),
        (ours.MCPRegression(penalty_factor=[1.0]), "penalty_factor must have one factor per column"),
    ],
)
def test_refusals_name_the_argument(model, message):
    with pytest.raises(ValueError, match=message):
        model.fit(IRIS, SPECIES)
