"""Cox regression as an estimator: scikit-survival's conventions, and R's survival and glmnet."""

import json
import pathlib

import numpy as np
import pytest
from sklearn.model_selection import GridSearchCV, KFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from jaxreg.sklearn import CoxRegression, CoxRegressionCV
from jaxreg.sklearn._survival_functions import baseline_hazard, concordance, survival_columns
from tests.problems import uneven_weights

R = json.loads((pathlib.Path(__file__).parent / "references" / "survival.json").read_text("utf-8"))
X = np.array(R["tables"]["lung"]["x"])
COLUMNS = np.array(R["tables"]["lung"]["y"])
TIME, EVENT = COLUMNS.T
Y = np.array(list(zip(EVENT == 1, TIME, strict=True)), dtype=[("event", bool), ("time", float)])


@pytest.fixture(scope="module")
def model():
    """Ties by Breslow's rule, without a penalty."""
    return CoxRegression(0.0).fit(X, Y)


def test_coefficients_are_those_of_coxph(model):
    np.testing.assert_allclose(model.coef_, R["fits"]["lung_breslow"]["coef"], rtol=1e-6)
    assert model.intercept_ == 0
    assert model.kkt_ < 1e-6


def test_path_is_that_of_glmnet():
    path = R["paths"]["lung"]
    untied = np.stack([TIME + np.arange(1, len(X) + 1) / 1000, EVENT], axis=1)
    for lam, coef in zip(path["lams"], path["coef"], strict=True):
        np.testing.assert_allclose(CoxRegression(lam).fit(X, untied).coef_, coef, atol=1e-6)


@pytest.mark.parametrize("name", ["lung_breslow", "lung_efron", "lung_weighted"])
def test_baseline_hazard_leaves_the_martingale_residuals_of_coxph(name):
    """They are event − H₀(time) exp(risk). Under Efron's rule, tied deaths share theirs otherwise."""
    fit = R["fits"][name]
    weights = uneven_weights(len(X)) if fit["weighted"] else np.ones(len(X))
    risk = X @ fit["at"]
    times, hazard = baseline_hazard(risk, COLUMNS, weights, fit["ties"])
    rows = (EVENT == 0) | (fit["ties"] == "breslow")
    left = EVENT - hazard[np.searchsorted(times, TIME)] * np.exp(risk)
    np.testing.assert_allclose(left[rows], np.array(fit["martingale_at"])[rows], atol=1e-9)


def test_survival_functions(model):
    curves = model.predict_survival_function(X[:3])
    table = model.predict_survival_function(X[:3], return_array=True)
    hazard = model.predict_cumulative_hazard_function(X[:3], return_array=True)
    assert table.shape == (3, model.unique_times_.size)
    np.testing.assert_allclose(table, np.exp(-hazard))
    np.testing.assert_allclose(table[1], model.baseline_survival_.y ** np.exp(model.predict(X[1:2])))
    assert (np.diff(table, axis=1) <= 0).all()
    times = model.unique_times_
    assert curves[0](0.0) == 1.0
    assert (curves[0](times) == table[0]).all()
    assert curves[0](times[3] + 0.5 * (times[4] - times[3])) == table[0, 3]
    assert model.predict_cumulative_hazard_function(X[:3])[0](times[-1]) == hazard[0, -1]
    # What the model expects to happen is what happened: martingale residuals sum to zero.
    risk = np.exp(model.predict(X))
    expected = model.cum_baseline_hazard_(TIME) * risk
    assert np.isclose(expected.sum(), EVENT.sum())
    with pytest.raises(ValueError, match="times must be from 0 to"):
        curves[0]([-1.0])


def test_concordance_by_pairs():
    rng = np.random.default_rng(0)
    time, event, risk = rng.integers(1, 6, 40).astype(float), rng.integers(0, 2, 40), rng.integers(0, 4, 40)
    right = total = 0.0
    for i in range(40):
        for j in range(40):
            if event[i] and (time[j] > time[i] or (time[j] == time[i] and not event[j])):
                total += 1
                right += 1.0 if risk[i] > risk[j] else 0.5 if risk[i] == risk[j] else 0.0
    columns = np.stack([time, event], axis=1)
    assert np.isclose(concordance(risk, columns, np.ones(40)), right / total)
    twice = np.repeat(np.arange(40), 2)
    assert np.isclose(concordance(risk[twice], columns[twice], np.ones(80)), concordance(risk, columns, np.full(40, 2)))


def test_targets_in_every_form(model):
    signed = np.where(EVENT == 1, TIME, -TIME)
    for target in (Y, COLUMNS, signed, signed[:, None]):
        assert (survival_columns(target, len(X)) == COLUMNS).all()
    for bad, message in (
        (COLUMNS[:5], "a time and an event for each of"),
        (COLUMNS + 1, "events that are True or False"),
        (np.zeros(len(X), dtype=[("a", bool)]), "2 fields"),
    ):
        with pytest.raises(ValueError, match=message):
            model.score(X, bad)


@pytest.mark.slow
def test_offsets_and_factors():
    """An offset of a column's own risk leaves nothing to its coefficient; a factor of 0 leaves it unpenalized."""
    plain = CoxRegression(0.0).fit(X, Y)
    shifted = CoxRegression(0.0).fit(X, Y, offset=X[:, 1] * plain.coef_[1])
    np.testing.assert_allclose(shifted.coef_, plain.coef_ * [1, 0, 1], atol=1e-6)
    np.testing.assert_allclose(shifted.predict(X, offset=X[:, 1] * plain.coef_[1]), plain.predict(X), atol=1e-5)
    np.testing.assert_allclose(shifted.cum_baseline_hazard_.y, plain.cum_baseline_hazard_.y, rtol=1e-4)
    spared = CoxRegression(10.0, penalty_factor=[0.0, 1.0, 1.0]).fit(X, Y)
    assert (spared.coef_ != 0).tolist() == [True, False, False]


@pytest.mark.deep
def test_inside_a_grid_search():
    search = GridSearchCV(
        make_pipeline(StandardScaler(), CoxRegression()), {"coxregression__alpha": [0.02, 0.5]}, cv=KFold(3)
    ).fit(X, Y)
    assert search.best_params_["coxregression__alpha"] == 0.02
    assert 0.55 < search.best_score_ < 0.75


@pytest.mark.slow
def test_strength_by_cross_validation():
    by_deal = CoxRegressionCV(alphas=15, standardize=True).fit(X, Y)
    assert by_deal.alpha_ == by_deal.selection_.lam_min
    assert by_deal.score_path_.shape == (5, 15)
    assert 0.55 < by_deal.score(X, Y) < 0.75
    at = CoxRegression(by_deal.alpha_, standardize=True).fit(X, Y)
    np.testing.assert_allclose(by_deal.coef_, at.coef_, atol=1e-5)
    assert (np.diff(by_deal.baseline_survival_.y) <= 0).all()
    folds = [np.flatnonzero(by_deal.selection_.fold_id == k) for k in range(5)]
    splits = [(np.setdiff1d(np.arange(len(X)), test), test) for test in folds]
    again = CoxRegressionCV(alphas=15, standardize=True, cv=splits, selection_rule="1se").fit(X, Y)
    np.testing.assert_allclose(again.score_path_, by_deal.score_path_, rtol=1e-6)
    assert again.alpha_ == by_deal.selection_.lam_1se
