"""Every fit of a default grid is optimal to the tolerance, on all data and in every fold.

The judge is tests/certificates.py, which shares nothing with jaxreg; what jaxreg says of itself must agree.
"""

import numpy as np
import pytest

import jaxreg as jr
from tests import problems
from tests.certificates import linear_problem

TOL = 1e-6
FOLDS = 10

CASES = {
    "diabetes, lasso": (problems.diabetes, (), "squared", 1.0),
    "diabetes, elastic net": (problems.diabetes, (), "squared", 0.5),
    "diabetes, ridge": (problems.diabetes, (), "squared", 0.0),
    "breast cancer, lasso": (problems.breast_cancer, (), "logistic", 1.0),
    "breast cancer, elastic net": (problems.breast_cancer, (), "logistic", 0.5),
    "breast cancer, ridge": (problems.breast_cancer, (), "logistic", 0.0),
    "tall, independent columns": (problems.gaussian, (1000, 100, 0.0), "squared", 1.0),
    "tall, correlated columns": (problems.gaussian, (1000, 100, 0.5), "squared", 1.0),
    "tall, nearly equal columns": (problems.gaussian, (1000, 100, 0.95), "squared", 1.0),
    "wide, independent columns": (problems.gaussian, (100, 2000, 0.0), "squared", 1.0),
    "wide, correlated columns": (problems.gaussian, (100, 2000, 0.5), "squared", 1.0),
    "wide, nearly equal columns": (problems.gaussian, (100, 2000, 0.95), "squared", 1.0),
}
# Working sets that grow take many compiled shapes. Wide paths without folds are certified in test_agreement.
SLOW = {name for name in CASES if name.startswith("wide")} | {"breast cancer, lasso"}
PENALTIES = {1.0: jr.L1(), 0.5: jr.ElasticNet(1.0, 0.5), 0.0: jr.L2()}
LOSSES = {"squared": jr.Squared(), "logistic": jr.Logistic()}


@pytest.mark.parametrize("case", [pytest.param(name, marks=pytest.mark.slow if name in SLOW else ()) for name in CASES])
def test_every_fit_is_certified(case):
    make, arguments, loss, l1_ratio = CASES[case]
    X, y = make(*arguments)
    fold_id = problems.balanced_folds(len(y), FOLDS)
    options = {"loss": LOSSES[loss], "penalty": PENALTIES[l1_ratio], "tol": TOL}
    cv = jr.cross_validate(X, y, fold_id=fold_id, **options)
    path = cv.path
    assert path.lams.shape == (100,)
    assert (path.result == jr.Result.CONVERGED).all()

    whole = linear_problem(X, y, loss=loss, l1_ratio=l1_ratio)
    judged = np.array([whole.certify(*fit) for fit in zip(path.coef, path.intercept, path.lams, strict=True)])
    gap, kkt = judged[:, 2], judged[:, 3]
    assert gap.max() <= TOL
    # What jaxreg says of itself is not too kind, nor too harsh. Of the second a little is allowed: to stay
    # inside the domain of the conjugate, jaxreg moves a dual point further than the judge.
    for ours, theirs in ((path.gap, gap), (path.kkt, kkt)):
        assert np.all(theirs <= 2 * ours + 1e-12)
        assert np.all(ours <= 2 * theirs + 1e-10)
    if l1_ratio > 0:
        assert path.lams[0] == pytest.approx(whole.lam_max(), rel=1e-9)
        assert not path.coef[0].any() or np.abs(path.coef[0] * whole.scale).max() <= 1e-9

    assert cv.fold_coef.shape == (FOLDS, 100, X.shape[1])
    for k in range(FOLDS):
        fold = linear_problem(X[fold_id != k], y[fold_id != k], loss=loss, l1_ratio=l1_ratio)
        fits = zip(cv.fold_coef[k], cv.fold_intercept[k], cv.lams, strict=True)
        assert max(fold.certify(*fit).gap for fit in fits) <= TOL


def test_a_path_by_itself_is_the_path_of_the_selection():
    X, y = problems.diabetes()
    path = jr.fit_path(X, y, lams=10, tol=1e-10)
    cv = jr.cross_validate(X, y, lams=100, tol=1e-10, fold_id=problems.balanced_folds(len(y), FOLDS))
    np.testing.assert_allclose(cv.lams[::11], path.lams, rtol=1e-12)
    np.testing.assert_allclose(cv.path.coef[::11], path.coef, rtol=1e-7, atol=1e-7)
    np.testing.assert_allclose(cv.path.intercept[::11], path.intercept, rtol=1e-9)


@pytest.mark.parametrize("unpenalized", [[0], [2, 7]])
def test_a_saturated_fit_knows_that_it_is_optimal(unpenalized):
    """Strong unpenalized columns drive probabilities to 0 and 1, in the null model too.

    A dual point then has no room to be made orthogonal to those columns by projection alone: the certificate
    has to find one that is feasible and still good, or exact solutions would be called stalled.
    """
    X, y = problems.breast_cancer()
    factors = np.ones(X.shape[1])
    factors[unpenalized] = 0
    weight, offset = problems.uneven_weights(len(y)), 2 * np.sin(np.arange(len(y)))
    path = jr.fit_path(
        X,
        y,
        loss=jr.Logistic(),
        penalty=jr.ElasticNet(1.0, 0.5, weight=factors),
        lams=np.geomspace(0.3, 3e-5, 10),
        sample_weight=weight,
        offset=offset,
        tol=1e-9,
    )
    judge = linear_problem(X, y, loss="logistic", l1_ratio=0.5, factors=factors, sample_weight=weight, offset=offset)
    judged = [judge.certify(*fit) for fit in zip(path.coef, path.intercept, path.lams, strict=True)]
    assert max(one.gap for one in judged) <= 1e-9
    assert path.gap.max() <= 1e-9
    assert (path.result == jr.Result.CONVERGED).all()
