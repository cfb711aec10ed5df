"""Agreement with glmnet and scikit-learn: coefficients, supports, and what cross-validation chooses.

References are stored in tests/references beside the scripts that made them; each is certified here first.
"""

import json
import pathlib

import numpy as np
import pytest
from sklearn.linear_model import Lasso

import jaxreg as jr
from tests import problems
from tests.certificates import linear_problem

REFERENCES = {
    name: json.loads((pathlib.Path(__file__).parent / "references" / f"{name}.json").read_text("utf-8"))
    for name in ("glmnet", "sklearn")
}
FITS = [(source, name) for source, content in REFERENCES.items() for name in content["fits"]]
LOSSES = {"squared": jr.Squared(), "logistic": jr.Logistic()}


def weights_of(case, n):
    return problems.uneven_weights(n) if case.get("uneven_weights") else None


def judge_of(case, X, y):
    return linear_problem(
        X,
        y,
        loss=case["loss"],
        sample_weight=weights_of(case, len(y)),
        l1_ratio=case["l1_ratio"],
        factors=case["factors"],
        intercept=case["intercept_fitted"],
        standardize=case["standardize"],
    )


@pytest.mark.parametrize(("source", "name"), FITS)
def test_coefficients_agree(source, name):
    case = REFERENCES[source]["fits"][name]
    X, y = getattr(problems, case["problem"])()
    coef, intercept, lams = (np.array(case[key]) for key in ("coef", "intercept", "lams"))
    judge = judge_of(case, X, y)
    reference = [judge.certify(*one) for one in zip(coef, intercept, lams, strict=True)]
    assert max(one.gap for one in reference) <= 1e-11
    assert max(one.kkt for one in reference) <= 1e-11

    penalty = jr.ElasticNet(1.0, case["l1_ratio"], weight=case["factors"] and np.array(case["factors"]))
    path = jr.fit_path(
        X,
        y,
        loss=LOSSES[case["loss"]],
        penalty=penalty,
        lams=lams,
        sample_weight=weights_of(case, len(y)),
        intercept=case["intercept_fitted"],
        standardize=case["standardize"],
        tol=1e-10,
    )
    np.testing.assert_array_equal(path.lams, lams)
    np.testing.assert_array_equal(path.coef != 0, coef != 0)
    # On the standardized scale, where a small coefficient is one that matters little.
    expected = coef * judge.scale
    error = np.abs(path.coef * judge.scale - expected).max(axis=1) / np.abs(expected).max(axis=1)
    assert error.max() <= 1e-8
    np.testing.assert_allclose(path.intercept, intercept, rtol=1e-7, atol=1e-9)
    if "deviance_ratio" in case:
        np.testing.assert_allclose(path.deviance_ratio, case["deviance_ratio"], rtol=1e-8)
        np.testing.assert_allclose(path.predict(X[:5]).T, case["predictions"], rtol=1e-7)


def test_l1_and_l2_are_the_ends_of_the_elastic_net():
    """The penalties named for the ends of the mix fit what the mix fits there."""
    for name, penalty in (("diabetes_lasso", jr.L1()), ("diabetes_ridge", jr.L2())):
        case = REFERENCES["glmnet"]["fits"][name]
        X, y = problems.diabetes()
        path = jr.fit_path(X, y, penalty=penalty, lams=case["lams"], tol=1e-10)
        np.testing.assert_allclose(path.coef, case["coef"], rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize(
    ("n", "p", "correlation"),
    [
        (1000, 100, 0.0),
        (1000, 100, 0.5),
        (1000, 100, 0.95),
        pytest.param(100, 2000, 0.0, marks=pytest.mark.slow),
        pytest.param(100, 2000, 0.5, marks=pytest.mark.slow),
        pytest.param(100, 2000, 0.95, marks=pytest.mark.slow),
    ],
)
def test_supports_agree(n, p, correlation):
    """The columns that scikit-learn's coordinate descent selects, run to a gap that is certified."""
    X, y = problems.gaussian(n, p, correlation)
    judge = linear_problem(X, y)
    lams = judge.lam_max() * np.geomspace(0.9, 0.01 if n > p else 0.02, 10)
    model = Lasso(tol=1e-13, max_iter=10**6, warm_start=True, precompute=n > p)
    coef = np.array([model.set_params(alpha=lam).fit(X, y).coef_.copy() for lam in lams])
    path = jr.fit_path(X, y, lams=lams, tol=1e-10)
    assert (path.result == jr.Result.CONVERGED).all()
    for i, lam in enumerate(lams):
        assert judge.certify(coef[i], judge.best_intercept(coef[i]), lam).gap <= 1e-10
        assert judge.certify(path.coef[i], path.intercept[i], lam).gap <= 1e-10
    np.testing.assert_array_equal(path.coef != 0, coef != 0)
    np.testing.assert_allclose(path.coef, coef, atol=1e-8)


@pytest.mark.parametrize(
    "name", ["diabetes", "diabetes_weighted", pytest.param("breast_cancer", marks=pytest.mark.slow)]
)
def test_cross_validation_agrees_with_glmnet(name):
    case = REFERENCES["glmnet"]["selections"][name]
    X, y = getattr(problems, case["problem"])()
    cv = jr.cross_validate(
        X,
        y,
        loss=LOSSES[case["loss"]],
        lams=case["lams"],
        sample_weight=weights_of(case, len(y)),
        fold_id=np.array(case["fold_id"]),
        tol=1e-10,
    )
    np.testing.assert_array_equal(cv.lams, case["lams"])
    np.testing.assert_allclose(cv.mean, case["mean"], rtol=1e-8)
    np.testing.assert_allclose(cv.se, case["se"], rtol=1e-7)
    # As strict as the clipping of probabilities in glmnet's own scores allows.
    np.testing.assert_allclose(cv.mean, case["glmnet_mean"], rtol=1e-4)
    np.testing.assert_allclose(cv.se, case["glmnet_se"], rtol=1e-4)
    assert cv.lam_min == case["lam_min"] == case["glmnet_lam_min"]
    assert cv.lam_1se == case["lam_1se"] == case["glmnet_lam_1se"]


@pytest.mark.parametrize("name", REFERENCES["sklearn"]["selections"])
def test_cross_validation_agrees_with_sklearn(name):
    case = REFERENCES["sklearn"]["selections"][name]
    X, y = getattr(problems, case["problem"])()
    fold_id = np.array(case["fold_id"])
    cv = jr.cross_validate(
        X,
        y,
        loss=LOSSES[case["loss"]],
        penalty=jr.ElasticNet(1.0, case["l1_ratio"]),
        lams=case["lams"],
        fold_id=fold_id,
        tol=1e-10,
    )
    scores = np.array(case["scores"])
    np.testing.assert_allclose(cv.scores, scores, rtol=1e-8)
    share = np.bincount(fold_id) / len(y)
    mean = share @ scores
    se = np.sqrt(share @ (scores - mean) ** 2 / (len(share) - 1))
    np.testing.assert_allclose(cv.mean, mean, rtol=1e-8)
    np.testing.assert_allclose(cv.se, se, rtol=1e-7)
    best = mean.argmin()
    assert cv.lam_min == case["lams"][best]
    assert cv.lam_1se == np.max(np.array(case["lams"])[mean <= mean[best] + se[best]])
