"""Lasso and elastic net of several responses that keep or drop a feature for all of them together."""

import abc
from typing import Any

import numpy as np
from sklearn.model_selection import check_cv

from jaxreg import _check
from jaxreg.penalties import L2, L21, Penalty
from jaxreg.sklearn._base import LinearRegressor, Router, boolean, training_weights
from jaxreg.sklearn._fit import SQUARED, Batch, absolute_gap, fit_sets, join_mixes, warn_astray
from jaxreg.sklearn._linear import penalty_of, strengths
from jaxreg.sklearn._linear_cv import held_out_mse
from jaxreg.sklearn._types import Array, Features


def rows_penalty(l1_ratio: float) -> Penalty:
    """r Σ ‖W_j‖₂ + (1 − r)/2 ‖W‖², of rows W_j of coefficients (p, k)."""
    if l1_ratio in (0, 1):
        return L21() if l1_ratio else L2()
    return L21(l1_ratio) + L2(1 - l1_ratio)


class _Rows(LinearRegressor):
    """What the estimators below share. Abstract."""

    fit_intercept: bool
    tol: float

    def _several(self, X: Any, y: Any, sample_weight: Any) -> tuple[Features, Array, Array]:
        """Check data, of which the target has to be (n, k)."""
        boolean(fit_intercept=self.fit_intercept)
        _check.number("tol", self.tol)
        X, y, weights = self._checked(X, y, sample_weight, multi_output=True, y_numeric=True)
        if y.ndim == 1:
            plain = type(self).__name__.removeprefix("MultiTask")
            raise ValueError(f"y must have shape (n, k), one column for each task, got {y.shape}; for one use {plain}")
        return X, y.astype(np.float64), weights

    def _keep(self, X: Features, y: Array, fits: Batch, at: tuple[int, int]) -> None:
        """Set what was fitted, at a mix and strength of the fit to all rows."""
        coef, level = fits.coef[0][at], fits.intercept[0][at]
        if y.shape[1] == 1:
            coef, level = coef.reshape(-1, 1), level.reshape(1)
        self.coef_ = coef.T.astype(X.dtype)
        self.intercept_ = level.astype(X.dtype)
        self.dual_gap_ = float(absolute_gap(fits)[0][at])
        self.n_iter_ = max(1, int(fits.steps[0][at]))

    def _fits(self, X: Features, y: Array, weights: Array, sets: Array, grids: list[Array], mixes: Any) -> Batch:
        """Fit all sets at the strengths (L,) of every mix."""
        options: dict[str, Any] = {
            "weights": sets,
            "sample_weight": weights,
            "intercept": self.fit_intercept,
            "tol": self.tol,
        }
        # Of one task only, a row is a number.
        penalties = [rows_penalty(r) if y.shape[1] > 1 else penalty_of(r, False) for r in mixes]
        target = y if y.shape[1] > 1 else y[:, 0]
        parts = [
            fit_sets(X, target, loss=SQUARED, penalty=penalty, lams=grid, **options)
            for penalty, grid in zip(penalties, grids, strict=True)
        ]
        return join_mixes(parts)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.single_output = False
        tags.target_tags.multi_output = True
        return tags


class _RowsAt(_Rows):
    """One strength. Abstract."""

    alpha: float

    @abc.abstractmethod
    def _mix(self) -> float:
        """Share of the norms of rows."""

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Any:
        """Fit, and certify.

        Args:
            X: features, (n, p), dense or scipy.sparse.
            y: targets, (n, k).
            sample_weight: weights, (n,).

        Raises:
            TypeError: if something is not of its kind.
            ValueError: if a parameter or value is outside its domain.
        """
        _check.number("alpha", self.alpha)
        _check.number("l1_ratio", self._mix(), high=1.0)
        X, y, weights = self._several(X, y, sample_weight)
        fits = self._fits(X, y, weights, weights[None], [np.array([self.alpha])], [self._mix()])
        warn_astray(fits.astray, self.tol, type(self).__name__)
        self._keep(X, y, fits, (0, 0))
        return self


class _RowsCV(Router, _Rows):
    """Strength and mix by cross-validation. Abstract."""

    eps: float
    alphas: Any
    cv: Any

    @abc.abstractmethod
    def _mixes(self) -> Any:
        """Shares of the norms of rows, a number or a list."""

    def fit(self, X: Any, y: Any, sample_weight: Any = None, **params: Any) -> Any:
        """Choose the strength by cross-validation, and fit all rows at it: one batch for every mix.

        Args:
            X: features, (n, p), dense or scipy.sparse.
            y: targets, (n, k).
            sample_weight: weights, (n,), of fits and of held-out errors.
            **params: metadata for the splitter, where routing is enabled.

        Raises:
            TypeError: if something is not of its kind.
            ValueError: if a parameter or value is outside its domain.
        """
        X, y, weights = self._several(X, y, sample_weight)
        X = X.tocsr() if hasattr(X, "tocsr") else X
        ratios = np.atleast_1d(np.asarray(self._mixes(), dtype=np.float64))
        folds = self._folds(check_cv(self.cv), X, y, params)
        options: dict[str, Any] = {
            "alphas": self.alphas,
            "intercept": self.fit_intercept,
            "positive": False,
            "eps": self.eps,
        }
        grids = [strengths(X, y, weights, l1_ratio=r, **options) for r in ratios]
        fits = self._fits(X, y, weights, training_weights(folds, weights), grids, ratios)
        warn_astray(fits.astray, self.tol, type(self).__name__)
        paths = held_out_mse(X, y if y.shape[1] > 1 else y[:, 0], weights, folds, fits)
        mean = paths.mean(axis=2)
        r, at = (int(i) for i in np.unravel_index(int(np.argmin(mean)), mean.shape))
        self.mse_path_ = paths.squeeze()
        self.alphas_ = grids[0] if len(ratios) == 1 or np.ndim(self.alphas) else np.stack(grids)
        self.alpha_ = float(grids[r][at])
        if hasattr(self, "l1_ratio"):
            self.l1_ratio_ = float(ratios[r])
        self._keep(X, y, fits, (r, at))
        return self


class MultiTaskElasticNet(_RowsAt):
    """Elastic net of tasks: min 1/(2W) Σ w ‖y − x'B − b₀‖² + alpha (l1_ratio Σ ‖B_j‖₂ + (1 − l1_ratio)/2 ‖B‖²).

    As `sklearn.linear_model.MultiTaskElasticNet`; sample weights and sparse X are welcome, too.

    Args:
        alpha: strength.
        l1_ratio: share of the norms of rows, in [0, 1].
        fit_intercept: whether to fit b₀, (k,).
        copy_X: without effect: X is never written to.
        max_iter: without effect: the engine has a budget of its own.
        tol: duality gap, relative to the null model's objective, beyond which a `ConvergenceWarning` says so.
        warm_start: without effect: solutions do not depend on where one starts.
        random_state: without effect: nothing is random.
        selection: without effect: no coordinate descent is done.

    Attributes:
        coef_: (k, p).
        intercept_: (k,).
        dual_gap_: duality gap in units of the objective; NaN at alpha = 0.
        n_iter_: steps of the engine.

    Source: Obozinski, Taskar & Jordan (2010), "Joint covariate selection and joint subspace selection for multiple
    classification problems", Statistics and Computing 20.
    """

    def __init__(
        self,
        alpha: float = 1.0,
        *,
        l1_ratio: float = 0.5,
        fit_intercept: bool = True,
        copy_X: bool = True,
        max_iter: int = 1000,
        tol: float = 1e-4,
        warm_start: bool = False,
        random_state: Any = None,
        selection: str = "cyclic",
    ) -> None:
        self.alpha = alpha
        self.l1_ratio = l1_ratio
        self.fit_intercept = fit_intercept
        self.copy_X = copy_X
        self.max_iter = max_iter
        self.tol = tol
        self.warm_start = warm_start
        self.random_state = random_state
        self.selection = selection

    def _mix(self) -> float:
        return self.l1_ratio


class MultiTaskLasso(_RowsAt):
    """Lasso of tasks: min 1/(2W) Σ w ‖y − x'B − b₀‖² + alpha Σ ‖B_j‖₂.

    As `sklearn.linear_model.MultiTaskLasso`. Arguments and attributes are those of `MultiTaskElasticNet`.
    """

    def __init__(
        self,
        alpha: float = 1.0,
        *,
        fit_intercept: bool = True,
        copy_X: bool = True,
        max_iter: int = 1000,
        tol: float = 1e-4,
        warm_start: bool = False,
        random_state: Any = None,
        selection: str = "cyclic",
    ) -> None:
        self.alpha = alpha
        self.fit_intercept = fit_intercept
        self.copy_X = copy_X
        self.max_iter = max_iter
        self.tol = tol
        self.warm_start = warm_start
        self.random_state = random_state
        self.selection = selection

    def _mix(self) -> float:
        return 1.0


class MultiTaskElasticNetCV(_RowsCV):
    """Elastic net of tasks with alpha, and l1_ratio if several are given, chosen by cross-validation.

    As `sklearn.linear_model.MultiTaskElasticNetCV`. Arguments and attributes are those of `ElasticNetCV`; `coef_` is
    (k, p) and `intercept_` (k,).
    """

    def __init__(
        self,
        *,
        l1_ratio: Any = 0.5,
        eps: float = 1e-3,
        alphas: Any = 100,
        fit_intercept: bool = True,
        max_iter: int = 1000,
        tol: float = 1e-4,
        cv: Any = None,
        copy_X: bool = True,
        verbose: Any = 0,
        n_jobs: Any = None,
        random_state: Any = None,
        selection: str = "cyclic",
    ) -> None:
        self.l1_ratio = l1_ratio
        self.eps = eps
        self.alphas = alphas
        self.fit_intercept = fit_intercept
        self.max_iter = max_iter
        self.tol = tol
        self.cv = cv
        self.copy_X = copy_X
        self.verbose = verbose
        self.n_jobs = n_jobs
        self.random_state = random_state
        self.selection = selection

    def _mixes(self) -> Any:
        return self.l1_ratio


class MultiTaskLassoCV(_RowsCV):
    """Lasso of tasks with alpha chosen by cross-validation.

    As `sklearn.linear_model.MultiTaskLassoCV`. Arguments and attributes are those of `LassoCV`; `coef_` is (k, p) and
    `intercept_` (k,).
    """

    def __init__(
        self,
        *,
        eps: float = 1e-3,
        alphas: Any = 100,
        fit_intercept: bool = True,
        max_iter: int = 1000,
        tol: float = 1e-4,
        copy_X: bool = True,
        cv: Any = None,
        verbose: Any = False,
        n_jobs: Any = None,
        random_state: Any = None,
        selection: str = "cyclic",
    ) -> None:
        self.eps = eps
        self.alphas = alphas
        self.fit_intercept = fit_intercept
        self.max_iter = max_iter
        self.tol = tol
        self.copy_X = copy_X
        self.cv = cv
        self.verbose = verbose
        self.n_jobs = n_jobs
        self.random_state = random_state
        self.selection = selection

    def _mixes(self) -> Any:
        return 1.0
