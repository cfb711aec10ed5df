"""Lasso and elastic net with the strength chosen by cross-validation: every alpha, l1 ratio and fold in one batch."""

import abc
from typing import Any

import numpy as np
from sklearn.model_selection import check_cv

from jaxreg._threads import one_lapack_thread
from jaxreg.sklearn._base import LinearRegressor, Router, one_of, training_weights
from jaxreg.sklearn._fit import SQUARED, Batch, absolute_gap, best_of, fit_sets, join_mixes, warn_astray
from jaxreg.sklearn._linear import SingleResponseFit, enet_path, lasso_path, strengths
from jaxreg.sklearn._parameters import DescentCV, Mix, SingleResponse, parameters
from jaxreg.sklearn._types import Array, Features


def held_out_mse(X: Features, y: Array, weights: Array, folds: list[tuple[Array, Array]], fits: Batch) -> Array:
    """Weighted mean squared error (R, L, K) of every fold's fits on the rows it held out, averaged over targets."""
    scores = []
    with one_lapack_thread():
        for place, (_, test) in enumerate(folds, start=1):
            coef, level = fits.coef[place], fits.intercept[place]
            flat = np.moveaxis(coef, 2, 0).reshape(X.shape[1], -1)
            eta = np.asarray(X[test] @ flat).reshape(test.size, *level.shape) + level
            target = y[test].reshape(test.size, 1, 1, *level.shape[2:])
            error = np.square(eta - target).reshape(*eta.shape[:3], -1).mean(axis=3)
            scores.append(np.average(error, axis=0, weights=weights[test]))
    return np.stack(scores, axis=-1)


class ChosenByFolds(Router, LinearRegressor):
    """An alpha, and a mix if there are several, chosen by the mean squared error of held-out rows. Abstract."""

    l1_ratio: Any
    eps: float
    alphas: Any
    fit_intercept: bool
    tol: float
    cv: Any
    selection_rule: str
    positive: bool = False

    @abc.abstractmethod
    def _data(self, X: Any, y: Any, sample_weight: Any) -> tuple[Features, Array, Array]:
        """Check parameters and data."""

    @property
    def _grid_by_engine(self) -> bool:
        """Whether the engine has to find the strengths, because the penalty is no plain elastic net."""
        return False

    def _grid(self, X: Features, y: Array, weights: Array, mix: float) -> Any:
        """Strengths of a mix (L,), or their number if the engine is to find them."""
        options: dict[str, Any] = {"alphas": self.alphas, "intercept": self.fit_intercept, "eps": self.eps}
        grid = strengths(X, y, weights, l1_ratio=mix, positive=self.positive, **options)
        return len(grid) if self._grid_by_engine and np.ndim(self.alphas) == 0 else grid

    @abc.abstractmethod
    def _fits(self, X: Features, y: Array, weights: Array, sets: Array, grids: list[Any], mixes: Array) -> Batch:
        """Fit all training sets at the strengths of every mix."""

    @abc.abstractmethod
    def _keep(self, X: Features, y: Array, weights: Array, fits: Batch, r: int, at: int) -> None:
        """Set coefficients and certificate of the fit to all rows at a mix and strength."""

    def fit(self, X: Any, y: Any, sample_weight: Any = None, **params: Any) -> Any:
        """Choose the strength by cross-validation, and fit all rows at it: one batch does both.

        Args:
            X: features, (n, p), dense or scipy.sparse.
            y: target, (n,), or targets (n, k) of tasks.
            sample_weight: weights, (n,), of fits and of held-out errors.
            **params: metadata for the splitter, where routing is enabled.

        Raises:
            TypeError: if something is not of its kind.
            ValueError: if a parameter or value is outside its domain.
        """
        one_of("selection_rule", self.selection_rule, ("min", "1se"))
        X, y, weights = self._data(X, y, sample_weight)
        X = X.tocsr() if hasattr(X, "tocsr") else X
        folds = self._folds(check_cv(self.cv), X, y, params)
        mixes = np.atleast_1d(np.asarray(self.l1_ratio, dtype=np.float64))
        grids = [self._grid(X, y, weights, mix) for mix in mixes]
        fits = self._fits(X, y, weights, training_weights(folds, weights), grids, mixes)
        warn_astray(fits.astray, self.tol, type(self).__name__)
        paths = held_out_mse(X, y, weights, folds, fits)
        grid = fits.lams[0].copy()
        r, at = best_of(paths, grid, self.selection_rule)
        self.mse_path_ = paths.squeeze()
        self.alphas_ = grid[0] if len(mixes) == 1 or np.ndim(self.alphas) else grid
        self.alpha_, self.l1_ratio_ = float(grid[r, at]), float(mixes[r])
        self.n_iter_ = max(1, int(fits.steps[0, r, at]))
        self._keep(X, y, weights, fits, r, at)
        return self


class _ManyStrengths(SingleResponseFit, ChosenByFolds):
    """The elastic net with alpha and mix chosen by cross-validation. Abstract."""

    def _data(self, X: Any, y: Any, sample_weight: Any) -> tuple[Features, Array, Array]:
        self._check_parameters()
        X, y, weights = self._checked(X, y, sample_weight, y_numeric=True)
        return X, y.astype(np.float64), weights

    @property
    def _grid_by_engine(self) -> bool:
        return self.penalty_factor is not None or self._bounded

    def _fits(self, X: Features, y: Array, weights: Array, sets: Array, grids: list[Any], mixes: Array) -> Batch:
        """Fit all sets at all strengths: all mixes as one batch, where they share a grid or the engine makes theirs."""
        options: dict[str, Any] = {"weights": sets, "sample_weight": weights, "intercept": self.fit_intercept}
        options |= {"loss": SQUARED, "tol": self.tol, "lam_min_ratio": self.eps}
        penalties = [self._penalty(mix, X.shape[1]) for mix in mixes]
        same = np.ndim(self.alphas) > 0 or len(mixes) == 1
        flat = any(np.ndim(grid) and grid[0] == grid[-1] for grid in grids)
        if self.positive or self._bounded or (flat and not same):
            pairs = zip(penalties, grids, strict=True)
            return join_mixes([fit_sets(X, y, penalty=penalty, lams=grid, **options) for penalty, grid in pairs])
        lams = grids[0] if same else int(self.alphas)
        return fit_sets(X, y, penalty=penalties[0], lams=lams, l1_ratios=mixes, **options)

    def _keep(self, X: Features, y: Array, weights: Array, fits: Batch, r: int, at: int) -> None:
        del y, weights
        self.coef_ = fits.coef[0, r, at].astype(X.dtype)
        self.intercept_ = fits.intercept[0, r, at].astype(X.dtype)[()]
        self.dual_gap_ = float(absolute_gap(fits)[0, r, at])


@parameters
class ElasticNetCV(Mix, SingleResponse, DescentCV, _ManyStrengths):
    """Elastic net with alpha, and l1_ratio if several are given, chosen by cross-validation.

    As `sklearn.linear_model.ElasticNetCV`: every alpha, l1 ratio and fold is one batch, and certified.

    Args:
        l1_ratio: share of the absolute value, or a list of those to compare.
        eps: smallest alpha as a share of the largest.
        alphas: number of strengths, or a list of them.
        cv: number of folds (5 unless given), a splitter, or a list of (train, test).
        selection_rule: "min" for the best mean error, "1se" for the largest strength, of the best mix, within one
            standard error of it.
        fit_intercept: whether to fit an intercept.
        tol: duality gap, relative to the null model's objective, beyond which a `ConvergenceWarning` says so.
        positive: whether coefficients must not be negative.
        penalty_factor: factors of the columns' penalties, (p,); 0 leaves one unpenalized.
        lower: lower bounds of coefficients, at most 0: a number or (p,).
        upper: upper bounds, at least 0, likewise.
        precompute: without effect: the engine decides what to precompute.
        max_iter: without effect: the engine has a budget of its own.
        copy_X: without effect: X is never written to.
        verbose: without effect.
        n_jobs: without effect: all folds are one batch.
        random_state: without effect: nothing is random.
        selection: without effect: no coordinate descent is done.

    Attributes:
        alpha_: the chosen strength.
        l1_ratio_: the chosen mix.
        alphas_: strengths, (L,); (R, L) where R mixes have grids of their own.
        mse_path_: mean squared errors of the folds, (L, K), or (R, L, K) for several mixes.
        coef_: coefficients of the fit to all rows, (p,).
        intercept_: its intercept.
        dual_gap_: its duality gap in units of the objective.
        n_iter_: its steps.

    >>> from jaxreg.datasets import load_diabetes
    >>> X, y, _ = load_diabetes()
    >>> ElasticNetCV(l1_ratio=[0.5, 1.0], cv=5).fit(X, y).l1_ratio_
    1.0
    """

    path = staticmethod(enet_path)


@parameters
class LassoCV(SingleResponse, DescentCV, _ManyStrengths):
    """Lasso with alpha chosen by cross-validation.

    As `sklearn.linear_model.LassoCV`: every alpha and fold is one batch, and certified. Arguments and attributes are
    those of `ElasticNetCV` but for the mix.

    >>> from jaxreg.datasets import load_diabetes
    >>> X, y, _ = load_diabetes()
    >>> LassoCV(cv=5).fit(X, y).mse_path_.shape
    (100, 5)
    """

    l1_ratio = 1.0
    path = staticmethod(lasso_path)
