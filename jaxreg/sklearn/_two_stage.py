"""Lassos in two stages: penalty factors from a pilot fit, and coefficients refitted to what was selected."""

import dataclasses
from typing import Any

import numpy as np

from jaxreg import _check
from jaxreg.penalties import L1
from jaxreg.sklearn._base import LinearRegressor, boolean, columns_weight
from jaxreg.sklearn._fit import SQUARED, Batch, fit_sets, join_sets, warn_astray
from jaxreg.sklearn._linear_cv import ChosenByFolds
from jaxreg.sklearn._parameters import Factors, parameters
from jaxreg.sklearn._ridge import fit_ridge
from jaxreg.sklearn._ridge_cv import left_out
from jaxreg.sklearn._types import Array, Features

PILOTS = np.logspace(-6, 2, 17)
"""Strengths of ridge that the pilot may choose, in units of the mean squared column times the number of rows."""


def adaptive_factors(X: Features, y: Array, weights: Array, gamma: float, intercept: bool) -> Array:
    """Penalty factors 1/|b̃|^gamma (p,) of a ridge pilot b̃, whose strength leave-one-out chooses.

    They are over their smallest, so that the largest coefficient has factor 1, and at most 1e8.
    """
    rows = weights > 0
    X, y, weights = X[rows], y[rows], weights[rows]
    square = X.power(2) if hasattr(X, "power") else np.square(X)
    alphas = PILOTS * float(np.mean(square.T @ weights) or 1.0)
    errors = weights[:, None] * np.square(y[:, None] - left_out(X, y[:, None], weights, alphas, intercept)[:, 0])
    chosen = alphas[[int(errors.mean(axis=0).argmin())]]
    size = np.abs(fit_ridge(X, y[:, None], weights, chosen, intercept=intercept, tol=1e-6, name="pilot").coef[0])
    share = size / size.max() if size.max() > 0 else np.ones_like(size)
    return np.maximum(share, 1e-8) ** -float(gamma)


def relaxed(X: Features, y: Array, weights: Array, fits: Batch, phi: float, intercept: bool) -> Batch:
    """Fits of one set at all strengths, blended: phi of the lasso, 1 − phi of least squares on its columns.

    Least squares take moments of the columns that are ever selected, for which a sparse X stays as it is.
    """
    share = weights / weights.sum()
    coef = fits.coef.copy()
    ever = np.flatnonzero(coef.reshape(-1, X.shape[1]).any(axis=0))
    center, level = np.zeros(X.shape[1]), 0.0
    if intercept:
        center, level = np.asarray(X.T @ share), float(share @ y)
    some = X[:, ever]
    if hasattr(some, "multiply"):
        gram = (some.T @ some.multiply(share[:, None]).tocsr()).toarray() - np.outer(center[ever], center[ever])
        moment = some.T @ (share * (y - level))
    else:
        some = np.asarray(some, dtype=np.float64) - center[ever]
        gram, moment = some.T @ (some * share[:, None]), some.T @ ((y - level) * share)
    for row in coef.reshape(-1, X.shape[1]):
        kept = np.flatnonzero(row[ever])
        if kept.size:
            plain = np.linalg.lstsq(gram[np.ix_(kept, kept)], moment[kept], rcond=None)[0]
            row[ever[kept]] = phi * row[ever[kept]] + (1 - phi) * plain
    return dataclasses.replace(fits, coef=coef, intercept=level - coef @ center)


class _TwoStage(LinearRegressor):
    """What all share. Abstract."""

    fit_intercept: bool
    tol: float

    def _data(self, X: Any, y: Any, sample_weight: Any) -> tuple[Features, Array, Array]:
        _check.number("tol", self.tol)
        boolean(fit_intercept=self.fit_intercept)
        X, y, weights = self._checked(X, y, sample_weight, y_numeric=True)
        return X.tocsr() if hasattr(X, "tocsr") else X, y.astype(np.float64), weights

    def _first(self, X: Features, y: Array, weights: Array) -> L1:
        """The penalty of the lasso for one training set."""
        del X, y, weights
        return L1()

    def _second(self, X: Features, y: Array, weights: Array, fits: Batch) -> Batch:
        """What is made of the lasso's fits to one training set."""
        del X, y, weights
        return fits

    def _set(self, X: Features, y: Array, weights: Array, lams: Any, **options: Any) -> Batch:
        """Both stages on one training set."""
        penalty = self._first(X, y, weights)
        options |= {"penalty": penalty, "intercept": self.fit_intercept, "tol": self.tol}
        fits = fit_sets(X, y, loss=SQUARED, lams=lams, weights=weights[None], **options)
        return self._second(X, y, weights, fits)

    def _keep(self, X: Features, y: Array, weights: Array, fits: Batch, r: int, at: int) -> None:
        del y, weights
        self.coef_, self.intercept_ = fits.coef[0, r, at].astype(X.dtype), float(fits.intercept[0, r, at])
        self.dual_gap_, self.n_iter_ = float(fits.gap[0, r, at]), max(1, int(fits.steps[0, r, at]))


@parameters
class _TwoStageAt(_TwoStage):
    """One strength. Abstract."""

    alpha: float = dataclasses.field(default=1.0, kw_only=False)
    fit_intercept: bool = True
    tol: float = 1e-6

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Any:
        """Fit both stages.

        Args:
            X: features, (n, p), dense or scipy.sparse.
            y: target, (n,).
            sample_weight: weights, (n,).

        Raises:
            TypeError: if something is not of its kind.
            ValueError: if a parameter or value is outside its domain.
        """
        _check.number("alpha", self.alpha)
        X, y, weights = self._data(X, y, sample_weight)
        fits = self._set(X, y, weights, [self.alpha])
        warn_astray(fits.astray, self.tol, type(self).__name__)
        self._keep(X, y, weights, fits, 0, 0)
        return self


@parameters
class _TwoStageCV(_TwoStage, ChosenByFolds):
    """A strength chosen by folds, each of which goes through both stages by itself. Abstract."""

    l1_ratio = 1.0
    alphas: Any = 100
    eps: float = 1e-3
    cv: Any = None
    selection_rule: str = "min"
    fit_intercept: bool = True
    tol: float = 1e-6

    def _fits(self, X: Features, y: Array, weights: Array, sets: Array, grids: list[Any], mixes: Array) -> Batch:
        del weights, mixes
        fits = [self._set(X, y, sets[0], grids[0], lam_min_ratio=self.eps)]
        lams = fits[0].lams[0, 0]
        return join_sets(fits + [self._set(X, y, one, lams) for one in sets[1:]])


@parameters
class _Adaptive(_TwoStage):
    """Penalty factors from a pilot, of at least 1: nothing is selected where the lasso selects nothing. Abstract."""

    gamma: float = 1.0

    def _first(self, X: Features, y: Array, weights: Array) -> L1:
        _check.number("gamma", self.gamma)
        return L1(1.0, adaptive_factors(X, y, weights, self.gamma, self.fit_intercept))


@parameters
class _Relaxed(Factors, _TwoStage):
    """Least squares on what was selected. Abstract."""

    phi: float = 0.0

    @property
    def _grid_by_engine(self) -> bool:
        return self.penalty_factor is not None

    def _first(self, X: Features, y: Array, weights: Array) -> L1:
        del y, weights
        return L1(1.0, columns_weight(self.penalty_factor, X.shape[1]))

    def _second(self, X: Features, y: Array, weights: Array, fits: Batch) -> Batch:
        _check.number("phi", self.phi, high=1.0)
        return relaxed(X, y, weights, fits, self.phi, self.fit_intercept)


@parameters
class AdaptiveLasso(_Adaptive, _TwoStageAt):
    """Adaptive lasso: min 1/(2W) Σ w (y − x'b − b₀)² + alpha Σ |b_j| |b̃_max / b̃_j|^gamma, b̃ from a ridge pilot.

    The pilot's strength is chosen by leave-one-out in closed form.

    Args:
        alpha: strength.
        gamma: power of the pilot; 0 is the lasso.
        fit_intercept: whether to fit b₀.
        tol: duality gap, relative to the null model's objective, beyond which a `ConvergenceWarning` says so.

    Attributes:
        coef_: (p,).
        intercept_: number.
        dual_gap_: duality gap of the second stage, relative to the null model's objective.
        n_iter_: steps of the engine.

    Source: Zou (2006), "The adaptive lasso and its oracle properties", JASA 101.
    """


@parameters
class AdaptiveLassoCV(_Adaptive, _TwoStageCV):
    """`AdaptiveLasso` with the strength chosen by cross-validation; every training set has a pilot of its own.

    Args:
        gamma: power of the pilot; 0 is the lasso.
        eps: smallest strength as a share of the largest.
        alphas: number of strengths, or a list of them.
        cv: number of folds (5 unless given), a splitter, or a list of (train, test).
        selection_rule: "min" for the best mean error, "1se" for the largest strength within one standard error of it.
        fit_intercept: whether to fit an intercept.
        tol: duality gap, relative to the null model's objective, beyond which a `ConvergenceWarning` says so.

    Attributes are those of `AdaptiveLasso`, and `alpha_`, `alphas_` (L,) and `mse_path_` (L, K).
    """


@parameters
class RelaxedLasso(_Relaxed, _TwoStageAt):
    """Relaxed lasso: phi times the lasso's coefficients and 1 − phi times those of least squares on its columns.

    Args:
        alpha: strength of the lasso.
        phi: share of the lasso, from 0, least squares on what it selects, to 1, the lasso.
        penalty_factor: factors of the columns' penalties, (p,); 0 leaves one unpenalized.
        fit_intercept: whether to fit an intercept.
        tol: duality gap of the lasso, relative to the null model's, beyond which a `ConvergenceWarning` says so.

    Attributes:
        coef_: (p,).
        intercept_: number.
        dual_gap_: duality gap of the lasso, relative to the null model's objective.
        n_iter_: steps of the engine.

    Source: Meinshausen (2007), "Relaxed lasso", CSDA 52; Hastie, Tibshirani & Tibshirani (2020), "Best subset, forward
    stepwise or lasso?", Statistical Science 35, for this form.
    """


@parameters
class RelaxedLassoCV(_Relaxed, _TwoStageCV):
    """`RelaxedLasso` with the strength chosen by cross-validation.

    Args:
        phi: share of the lasso, from 0 to 1.
        penalty_factor: factors of the columns' penalties, (p,); 0 leaves one unpenalized.
        eps: smallest strength as a share of the largest.
        alphas: number of strengths, or a list of them.
        cv: number of folds (5 unless given), a splitter, or a list of (train, test).
        selection_rule: "min" for the best mean error, "1se" for the largest strength within one standard error of it.
        fit_intercept: whether to fit an intercept.
        tol: duality gap of the lasso, relative to the null model's, beyond which a `ConvergenceWarning` says so.

    Attributes are those of `RelaxedLasso`, and `alpha_`, `alphas_` (L,) and `mse_path_` (L, K).
    """
