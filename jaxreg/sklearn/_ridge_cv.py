"""Ridge regression at the strength that leave-one-out or folds choose."""

import copy
import dataclasses
from typing import Any

import jax
import numpy as np
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.metrics import check_scoring
from sklearn.model_selection import check_cv
from sklearn.utils.validation import check_array

from jaxreg import _check
from jaxreg._threads import one_lapack_thread
from jaxreg.linear.active.leave_one_out import leave_one_out
from jaxreg.linear.arguments import linear_data
from jaxreg.path import make_problem
from jaxreg.penalties import L2
from jaxreg.sklearn._base import LinearRegressor, boolean, training_weights
from jaxreg.sklearn._conventions import ridge_lam
from jaxreg.sklearn._fit import SQUARED, fit_each
from jaxreg.sklearn._parameters import parameters
from jaxreg.sklearn._ridge import fit_ridge
from jaxreg.sklearn._types import Array, Features


def ridge_alphas(alphas: Any) -> Array:
    """Strengths (L,) in the order given.

    Raises:
        TypeError: if one is no number.
        ValueError: if one is not positive.
    """
    _check.number("alphas", alphas, low=np.finfo(float).tiny, what="positive and finite")
    return np.atleast_1d(np.asarray(alphas, dtype=np.float64))


def left_out(X: Features, targets: Array, weights: Array, alphas: Array, intercept: bool) -> Array:
    """Prediction of every row by the fit to all others, (n, k, L), for targets (n, k)."""
    every, total = [], weights.sum()
    for target in targets.T:
        if np.ptp(target[weights > 0]) == 0:  # an intercept alone predicts it
            every.append(np.tile(target[:, None], len(alphas)) * float(intercept))
            continue
        with jax.enable_x64(True), one_lapack_thread():
            data = linear_data(X, target, SQUARED, L2(), weights, None, None)
            problem = make_problem(data, SQUARED, weights[None], intercept, standardize=False)
            every.append(leave_one_out(problem, ridge_lam(alphas, total)[None], fixed=True)[:, :-1])
    return np.stack(every, axis=1)


@parameters
class RidgeCVParameters:
    """What ridge takes where it chooses the strength. Abstract."""

    alphas: Any = dataclasses.field(default=(0.1, 1.0, 10.0), kw_only=False)
    fit_intercept: bool = True
    scoring: Any = None
    cv: Any = None
    store_cv_results: bool = False


@parameters
class RidgeCV(RidgeCVParameters, LinearRegressor):
    """Ridge regression with alpha chosen by leave-one-out in closed form, or by folds.

    As `sklearn.linear_model.RidgeCV`.

    Args:
        alphas: strengths, positive.
        fit_intercept: whether to fit an intercept.
        scoring: a scorer or its name; negative mean squared error unless given (R² with `cv`).
        cv: None for leave-one-out; a number of folds, a splitter, or a list of (train, test).
        gcv_mode: without effect: the shorter side of X decides.
        store_cv_results: whether to keep what leave-one-out gave, in `cv_results_`.
        alpha_per_target: whether targets choose apart, by leave-one-out.

    Attributes:
        alpha_: the chosen strength, or (k,).
        best_score_: its score, or (k,).
        cv_results_: squared errors of leave-one-out, (n, L) or (n, k, L); predictions, with `scoring`.
        dual_gap_: duality gap of the fit to all rows, in units of its objective, a number or (k,).
        coef_: (p,), or (k, p) where y is (n, k).
        intercept_: number, or (k,).

    Source: Golub, Heath & Wahba (1979), "Generalized cross-validation", Technometrics 21.

    >>> from jaxreg.datasets import load_diabetes
    >>> X, y, _ = load_diabetes()
    >>> RidgeCV(alphas=[0.1, 1.0, 10.0]).fit(X, y).alpha_
    0.1
    """

    gcv_mode: Any = None
    alpha_per_target: bool = False
    many_targets = True

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> "RidgeCV":
        """Choose the strength, and fit all rows at it.

        Args:
            X: features, (n, p), dense or scipy.sparse.
            y: target, (n,) or (n, k).
            sample_weight: weights, (n,).

        Raises:
            TypeError: if something is not of its kind.
            ValueError: if a parameter or value is outside its domain, or parameters contradict each other.
        """
        boolean(fit_intercept=self.fit_intercept, store_cv_results=self.store_cv_results)
        alphas = ridge_alphas(self.alphas)
        if self.cv is not None and (self.store_cv_results or self.alpha_per_target):
            raise ValueError("store_cv_results and alpha_per_target are for leave-one-out: they need cv=None")
        X, y, weights = self._checked(X, y, sample_weight, multi_output=True, y_numeric=True)
        targets = y.reshape(len(y), -1).astype(np.float64)
        judged = None if sample_weight is None else weights
        if self.cv is None:
            chosen = self._leave_one_out(X, y, targets, weights, judged, alphas)
        else:
            folds = [(np.asarray(train), np.asarray(test)) for train, test in check_cv(self.cv).split(X, y)]
            scores = by_folds(X, targets, y, weights, judged, alphas, folds, self, self.fit_intercept)
            self.best_score_ = float(scores.max())
            chosen = np.full(targets.shape[1], alphas[scores.argmax()])
        fits = fit_ridge(X, targets, weights, chosen, intercept=self.fit_intercept, tol=1e-4, name="RidgeCV")
        coef, level = fits.coef.astype(X.dtype), fits.intercept.astype(X.dtype)
        many = targets.shape[1] > 1
        self.alpha_ = chosen if self.alpha_per_target and many else float(chosen[0])
        self.coef_ = coef if many else coef[0]
        self.dual_gap_: Any = fits.gap if many else float(fits.gap[0])
        self.intercept_ = level if y.ndim > 1 else level[0]
        return self

    def _leave_one_out(
        self, X: Features, y: Array, targets: Array, weights: Array, judged: Array | None, alphas: Array
    ) -> Array:
        """Chosen alpha of every target, (k,). Sets the score, and what is to be kept."""
        held = left_out(X, targets, weights, alphas, self.fit_intercept)
        apart = self.alpha_per_target and targets.shape[1] > 1
        errors = weights[:, None, None] * np.square(targets[:, :, None] - held)
        if self.scoring is None:
            scores = -errors.mean(axis=0)  # (k, L)
            scores = scores if apart else scores.mean(axis=0, keepdims=True)
        else:
            scores = scores_of(self, held, y, judged, apart)
        if self.store_cv_results:
            kept = errors if self.scoring is None else held
            self.cv_results_ = check_array(kept[:, 0] if y.ndim == 1 else kept, allow_nd=True).astype(X.dtype)
        best = scores.argmax(axis=1)
        top = scores[np.arange(len(best)), best]
        self.best_score_ = top if apart else float(top[0])
        return np.broadcast_to(alphas[best], targets.shape[1]).copy()


class _Oracle(RegressorMixin, BaseEstimator):
    """An estimator that answers with predictions made before: what a scorer asks."""

    def __init__(self, answers: Array) -> None:
        self.answers = answers

    def predict(self, X: Any) -> Array:
        """Answer whatever is asked."""
        del X
        return self.answers


def scores_of(estimator: RidgeCV, held: Array, y: Array, judged: Array | None, apart: bool) -> Array:
    """Scores (1, L), or (k, L) of targets judged apart, of predictions (n, k, L) by the estimator's scorer.

    The scorer is told the weights `judged`, if any.
    """
    scorer = check_scoring(estimator, scoring=estimator.scoring)
    told = {} if judged is None else {"sample_weight": judged}
    lengths = range(held.shape[2])
    if not apart:
        return np.array([[scorer(_Oracle(held[:, :, at].reshape(y.shape)), None, y, **told) for at in lengths]])
    targets = range(held.shape[1])
    return np.array([[scorer(_Oracle(held[:, k, at]), None, y[:, k], **told) for at in lengths] for k in targets])


def by_folds(
    X: Features,
    targets: Array,
    y: Array,
    weights: Array,
    judged: Array | None,
    alphas: Array,
    folds: list[tuple[Array, Array]],
    estimator: Any,
    fit_intercept: bool,
) -> Array:
    """Mean score (L,) of every alpha over folds, by the estimator's scorer: folds of equal weight are one batch.

    Args:
        X: features, (n, p).
        targets: what is fitted, (n, k).
        y: what the scorer judges predictions by.
        weights: sample weights of the fits, (n,).
        judged: those that the scorer is told, if any.
        alphas: strengths, (L,).
        folds: rows that train and rows held out.
        estimator: whose scoring is meant; a copy of it predicts.
        fit_intercept: whether to fit an intercept.
    """
    X = X.tocsr() if hasattr(X, "tocsr") else X
    sets = training_weights(folds, weights)[1:]
    order = np.argsort(-alphas, kind="stable")
    lams = ridge_lam(alphas[order], sets.sum(axis=1, keepdims=True))
    options: dict[str, Any] = {"loss": SQUARED, "penalty": L2(), "sample_weight": weights, "intercept": fit_intercept}
    fits = [fit_each(X, target, lams=lams, weights=sets, **options) for target in targets.T]
    scorer, judge = check_scoring(estimator, scoring=estimator.scoring), copy.copy(estimator)
    scores = np.empty((len(folds), len(alphas)))
    for k, (_, test) in enumerate(folds):
        for place, at in enumerate(order):
            coef = np.stack([fit.coef[k, 0, place] for fit in fits])
            level = np.array([fit.intercept[k, 0, place] for fit in fits])
            flat = y.ndim == 1 and not hasattr(estimator, "classes_")
            judge.coef_, judge.intercept_ = (coef[0], level[0]) if flat else (coef, level)
            told = {} if judged is None else {"sample_weight": judged[test]}
            scores[k, at] = scorer(judge, X[test], y[test], **told)
    return scores.mean(axis=0)
