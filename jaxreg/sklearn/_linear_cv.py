"""Lasso and elastic net with the strength chosen by cross-validation: every alpha, l1 ratio and fold in one batch."""

import abc
from typing import Any

import numpy as np
from sklearn.model_selection import check_cv

from jaxreg import _check
from jaxreg.sklearn._base import LinearRegressor, Router, boolean, training_weights
from jaxreg.sklearn._fit import SQUARED, Batch, absolute_gap, fit_sets, join_mixes, warn_astray
from jaxreg.sklearn._linear import enet_path, lasso_path, penalty_of, strengths
from jaxreg.sklearn._types import Array, Features


def held_out_mse(X: Features, y: Array, weights: Array, folds: list[tuple[Array, Array]], fits: Batch) -> Array:
    """Weighted mean squared error (R, L, K) of every fold's fits on the rows it held out, averaged over targets."""
    scores = []
    for place, (_, test) in enumerate(folds, start=1):
        coef, level = fits.coef[place], fits.intercept[place]
        flat = np.moveaxis(coef, 2, 0).reshape(X.shape[1], -1)
        eta = np.asarray(X[test] @ flat).reshape(test.size, *level.shape) + level
        target = y[test].reshape(test.size, 1, 1, *y.shape[1:])
        error = np.square(eta - target).reshape(*eta.shape[:3], -1).mean(axis=3)
        scores.append(np.average(error, axis=0, weights=weights[test]))
    return np.stack(scores, axis=-1)


class _ManyStrengths(Router, LinearRegressor):
    """The elastic net with alpha and mix chosen by cross-validation. Abstract: classes below say which mixes."""

    eps: float
    alphas: Any
    fit_intercept: bool
    tol: float
    cv: Any
    positive: bool

    @abc.abstractmethod
    def _mixes(self) -> Any:
        """Shares of the absolute value, a number or a list."""

    def fit(self, X: Any, y: Any, sample_weight: Any = None, **params: Any) -> Any:
        """Choose the strength by cross-validation, and fit all rows at it: one batch does both.

        Args:
            X: features, (n, p), dense or scipy.sparse.
            y: target, (n,).
            sample_weight: weights, (n,), of fits and of held-out errors.
            **params: metadata for the splitter, where routing is enabled.

        Raises:
            TypeError: if something is not of its kind.
            ValueError: if a parameter or value is outside its domain.
        """
        boolean(fit_intercept=self.fit_intercept, positive=self.positive)
        _check.number("tol", self.tol)
        X, y, weights = self._checked(X, y, sample_weight, y_numeric=True)
        y = y.astype(np.float64)
        ratios = np.atleast_1d(np.asarray(self._mixes(), dtype=np.float64))
        X = X.tocsr() if hasattr(X, "tocsr") else X
        folds = self._folds(check_cv(self.cv), X, y, params)
        sets = training_weights(folds, weights)
        options: dict[str, Any] = {"intercept": self.fit_intercept, "positive": self.positive}
        grids = [strengths(X, y, weights, alphas=self.alphas, l1_ratio=r, eps=self.eps, **options) for r in ratios]
        fits = self._fits(X, y, weights, sets, grids, ratios)
        warn_astray(fits.astray, self.tol, type(self).__name__)

        paths = held_out_mse(X, y, weights, folds, fits)
        mean = paths.mean(axis=2)
        r, at = np.unravel_index(int(np.argmin(mean)), mean.shape)
        self.mse_path_ = paths.squeeze()
        grid = fits.lams[0].copy()
        self.alphas_ = grid[0] if len(ratios) == 1 or np.ndim(self.alphas) else grid
        self.alpha_ = float(grid[r, at])
        if hasattr(self, "l1_ratio"):
            self.l1_ratio_ = float(ratios[r])
        self.coef_ = fits.coef[0, r, at].astype(X.dtype)
        self.intercept_ = fits.intercept[0, r, at].astype(X.dtype)[()]
        self.dual_gap_ = float(absolute_gap(fits)[0, r, at])
        self.n_iter_ = max(1, int(fits.steps[0, r, at]))
        return self

    def _fits(self, X: Features, y: Array, weights: Array, sets: Array, grids: list[Array], ratios: Array) -> Batch:
        """Fit all sets at all strengths: all mixes as one batch, where they share a grid or the engine makes theirs."""
        options: dict[str, Any] = {
            "loss": SQUARED,
            "weights": sets,
            "sample_weight": weights,
            "intercept": self.fit_intercept,
        }
        options["tol"] = self.tol
        same = np.ndim(self.alphas) > 0 or len(ratios) == 1
        if self.positive or not (same or min(grid[0] / grid[-1] for grid in grids) > 1):
            parts = [
                fit_sets(X, y, penalty=penalty_of(ratio, self.positive), lams=grid, **options)
                for grid, ratio in zip(grids, ratios, strict=True)
            ]
            return join_mixes(parts)
        lams = grids[0] if same else int(self.alphas)
        return fit_sets(
            X, y, penalty=penalty_of(0.5, False), lams=lams, l1_ratios=ratios, lam_min_ratio=self.eps, **options
        )


class ElasticNetCV(_ManyStrengths):
    """Elastic net with alpha, and l1_ratio if several are given, chosen by cross-validation.

    As `sklearn.linear_model.ElasticNetCV`: every alpha, l1 ratio and fold is one batch, and certified.

    Args:
        l1_ratio: share of the absolute value, or a list of those to compare.
        eps: smallest alpha as a share of the largest.
        alphas: number of strengths, or a list of them.
        fit_intercept: whether to fit an intercept.
        precompute: without effect: the engine decides what to precompute.
        max_iter: without effect: the engine has a budget of its own.
        tol: duality gap, relative to the null model's objective, beyond which a `ConvergenceWarning` says so.
        cv: number of folds (5 unless given), a splitter, or a list of (train, test).
        copy_X: without effect: X is never written to.
        verbose: without effect.
        n_jobs: without effect: all folds are one batch.
        positive: whether coefficients must not be negative.
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

    def __init__(
        self,
        *,
        l1_ratio: Any = 0.5,
        eps: float = 1e-3,
        alphas: Any = 100,
        fit_intercept: bool = True,
        precompute: Any = "auto",
        max_iter: int = 1000,
        tol: float = 1e-4,
        cv: Any = None,
        copy_X: bool = True,
        verbose: Any = 0,
        n_jobs: Any = None,
        positive: bool = False,
        random_state: Any = None,
        selection: str = "cyclic",
    ) -> None:
        self.l1_ratio = l1_ratio
        self.eps = eps
        self.alphas = alphas
        self.fit_intercept = fit_intercept
        self.precompute = precompute
        self.max_iter = max_iter
        self.tol = tol
        self.cv = cv
        self.copy_X = copy_X
        self.verbose = verbose
        self.n_jobs = n_jobs
        self.positive = positive
        self.random_state = random_state
        self.selection = selection

    def _mixes(self) -> Any:
        return self.l1_ratio


class LassoCV(_ManyStrengths):
    """Lasso with alpha chosen by cross-validation.

    As `sklearn.linear_model.LassoCV`: every alpha and fold is one batch, and certified. Arguments and attributes are
    those of `ElasticNetCV` but for the mix.

    >>> from jaxreg.datasets import load_diabetes
    >>> X, y, _ = load_diabetes()
    >>> LassoCV(cv=5).fit(X, y).mse_path_.shape
    (100, 5)
    """

    path = staticmethod(lasso_path)

    def __init__(
        self,
        *,
        eps: float = 1e-3,
        alphas: Any = 100,
        fit_intercept: bool = True,
        precompute: Any = "auto",
        max_iter: int = 1000,
        tol: float = 1e-4,
        copy_X: bool = True,
        cv: Any = None,
        verbose: Any = False,
        n_jobs: Any = None,
        positive: bool = False,
        random_state: Any = None,
        selection: str = "cyclic",
    ) -> None:
        self.eps = eps
        self.alphas = alphas
        self.fit_intercept = fit_intercept
        self.precompute = precompute
        self.max_iter = max_iter
        self.tol = tol
        self.copy_X = copy_X
        self.cv = cv
        self.verbose = verbose
        self.n_jobs = n_jobs
        self.positive = positive
        self.random_state = random_state
        self.selection = selection

    def _mixes(self) -> Any:
        return 1.0
