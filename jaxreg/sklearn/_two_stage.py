"""Lassos in two stages: penalty factors from a pilot fit, and coefficients refitted to what was selected."""

from typing import Any

import numpy as np
from sklearn.model_selection import check_cv

from jaxreg import _check
from jaxreg.penalties import L1
from jaxreg.sklearn._base import LinearRegressor, Router, boolean, one_of, training_weights
from jaxreg.sklearn._fit import SQUARED, Batch, fit_sets, warn_astray
from jaxreg.sklearn._linear import strengths
from jaxreg.sklearn._linear_cv import held_out_mse
from jaxreg.sklearn._ridge import fit_ridge, left_out
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
    alphas = PILOTS * float(weights.sum() * square.mean() or 1.0)
    errors = weights[:, None] * np.square(y[:, None] - left_out(X, y[:, None], weights, alphas, intercept)[:, 0])
    chosen = alphas[[int(errors.mean(axis=0).argmin())]]
    options: dict[str, Any] = {"intercept": intercept, "positive": False, "tol": 1e-6, "name": "pilot"}
    size = np.abs(fit_ridge(X, y[:, None], weights, chosen, **options)[0][0])
    share = size / size.max() if size.max() > 0 else np.ones_like(size)
    return np.maximum(share, 1e-8) ** -float(gamma)


def relaxed(X: Features, y: Array, weights: Array, fits: Batch, phi: float, intercept: bool) -> Batch:
    """Fits of one set at all strengths, blended: phi of the lasso, 1 − phi of least squares on its columns."""
    share = weights / weights.sum()
    dense = X.toarray() if hasattr(X, "toarray") else np.asarray(X, dtype=np.float64)
    center = share @ dense if intercept else np.zeros(X.shape[1])
    level = share @ y if intercept else 0.0
    gram = (dense - center).T @ ((dense - center) * share[:, None])
    moment = (dense - center).T @ ((y - level) * share)
    coef = fits.coef.copy()
    for row in coef.reshape(-1, X.shape[1]):
        kept = np.flatnonzero(row)
        if kept.size:
            plain = np.linalg.lstsq(gram[np.ix_(kept, kept)], moment[kept], rcond=None)[0]
            row[kept] = phi * row[kept] + (1 - phi) * plain
    return Batch(fits.lams, coef, level - coef @ center, fits.gap, fits.kkt, fits.steps, fits.null)


class _TwoStage(LinearRegressor):
    """What all share. Abstract."""

    fit_intercept: bool
    tol: float

    def _pair(self, X: Any, y: Any, sample_weight: Any) -> tuple[Features, Array, Array]:
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

    def _set(self, X: Features, y: Array, weights: Array, lams: Any) -> Batch:
        """Both stages on one training set."""
        fits = fit_sets(
            X,
            y,
            loss=SQUARED,
            penalty=self._first(X, y, weights),
            lams=lams,
            weights=weights[None],
            intercept=self.fit_intercept,
            tol=self.tol,
        )
        warn_astray(fits.astray, self.tol, type(self).__name__)
        return self._second(X, y, weights, fits)

    def _take(self, X: Features, fits: Batch, at: int) -> None:
        self.coef_ = fits.coef[0, 0, at].astype(X.dtype)
        self.intercept_ = float(fits.intercept[0, 0, at])
        self.dual_gap_ = float(fits.gap[0, 0, at])
        self.n_iter_ = max(1, int(fits.steps[0, 0, at]))


class _TwoStageAt(_TwoStage):
    """One strength. Abstract."""

    alpha: float

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
        X, y, weights = self._pair(X, y, sample_weight)
        self._take(X, self._set(X, y, weights, [self.alpha]), 0)
        return self


class _TwoStageCV(Router, _TwoStage):
    """A strength chosen by folds, each of which goes through both stages by itself. Abstract."""

    alphas: Any
    eps: float
    selection_rule: str

    def fit(self, X: Any, y: Any, sample_weight: Any = None, **params: Any) -> Any:
        """Choose the strength by cross-validation, and fit all rows at it.

        Args:
            X: features, (n, p), dense or scipy.sparse.
            y: target, (n,).
            sample_weight: weights, (n,), of fits and of held-out errors.
            **params: metadata for the splitter, where routing is enabled.

        Raises:
            TypeError: if something is not of its kind.
            ValueError: if a parameter or value is outside its domain.
        """
        one_of("selection_rule", self.selection_rule, ("min", "1se"))
        X, y, weights = self._pair(X, y, sample_weight)
        folds = self._folds(check_cv(self.cv), X, y, params)
        grid = strengths(
            X,
            y,
            weights,
            alphas=self.alphas,
            l1_ratio=1.0,
            intercept=self.fit_intercept,
            positive=False,
            eps=self.eps,
        )
        # Factors are at least 1, so that the lasso's grid begins where nothing is selected here either.
        sets = [self._set(X, y, one, grid) for one in training_weights(folds, weights)]
        joined = Batch(*(np.concatenate(parts) for parts in zip(*(vars(one).values() for one in sets), strict=True)))
        scores = held_out_mse(X, y, weights, folds, joined)[0]
        mean = scores.mean(axis=1)
        at = int(mean.argmin())
        if self.selection_rule == "1se":
            bar = mean[at] + scores[at].std() / np.sqrt(max(1, len(folds) - 1))
            at = int(np.argmax(mean <= bar))
        self.alphas_, self.alpha_, self.mse_path_ = grid, float(grid[at]), scores
        self._take(X, sets[0], at)
        return self


class _Adaptive(_TwoStage):
    """Penalty factors from a pilot. Abstract."""

    gamma: float

    def _first(self, X: Features, y: Array, weights: Array) -> L1:
        _check.number("gamma", self.gamma)
        return L1(1.0, adaptive_factors(X, y, weights, self.gamma, self.fit_intercept))


class _Relaxed(_TwoStage):
    """Least squares on what was selected. Abstract."""

    phi: float

    def _second(self, X: Features, y: Array, weights: Array, fits: Batch) -> Batch:
        _check.number("phi", self.phi, high=1.0)
        return relaxed(X, y, weights, fits, self.phi, self.fit_intercept)


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

    def __init__(
        self, alpha: float = 1.0, *, gamma: float = 1.0, fit_intercept: bool = True, tol: float = 1e-6
    ) -> None:
        self.alpha = alpha
        self.gamma = gamma
        self.fit_intercept = fit_intercept
        self.tol = tol


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

    def __init__(
        self,
        *,
        gamma: float = 1.0,
        eps: float = 1e-3,
        alphas: Any = 100,
        cv: Any = None,
        selection_rule: str = "min",
        fit_intercept: bool = True,
        tol: float = 1e-6,
    ) -> None:
        self.gamma = gamma
        self.eps = eps
        self.alphas = alphas
        self.cv = cv
        self.selection_rule = selection_rule
        self.fit_intercept = fit_intercept
        self.tol = tol


class RelaxedLasso(_Relaxed, _TwoStageAt):
    """Relaxed lasso: phi times the lasso's coefficients and 1 − phi times those of least squares on its columns.

    Args:
        alpha: strength of the lasso.
        phi: share of the lasso, from 0, least squares on what it selects, to 1, the lasso.
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

    def __init__(self, alpha: float = 1.0, *, phi: float = 0.0, fit_intercept: bool = True, tol: float = 1e-6) -> None:
        self.alpha = alpha
        self.phi = phi
        self.fit_intercept = fit_intercept
        self.tol = tol


class RelaxedLassoCV(_Relaxed, _TwoStageCV):
    """`RelaxedLasso` with the strength chosen by cross-validation.

    Args:
        phi: share of the lasso, from 0 to 1.
        eps: smallest strength as a share of the largest.
        alphas: number of strengths, or a list of them.
        cv: number of folds (5 unless given), a splitter, or a list of (train, test).
        selection_rule: "min" for the best mean error, "1se" for the largest strength within one standard error of it.
        fit_intercept: whether to fit an intercept.
        tol: duality gap of the lasso, relative to the null model's, beyond which a `ConvergenceWarning` says so.

    Attributes are those of `RelaxedLasso`, and `alpha_`, `alphas_` (L,) and `mse_path_` (L, K).
    """

    def __init__(
        self,
        *,
        phi: float = 0.0,
        eps: float = 1e-3,
        alphas: Any = 100,
        cv: Any = None,
        selection_rule: str = "min",
        fit_intercept: bool = True,
        tol: float = 1e-6,
    ) -> None:
        self.phi = phi
        self.eps = eps
        self.alphas = alphas
        self.cv = cv
        self.selection_rule = selection_rule
        self.fit_intercept = fit_intercept
        self.tol = tol
