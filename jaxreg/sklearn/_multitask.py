"""Lasso and elastic net of several responses that keep or drop a feature for all of them together."""

from typing import Any

import numpy as np

from jaxreg import _check
from jaxreg.penalties import L2, L21, Penalty
from jaxreg.sklearn._base import LinearRegressor, boolean
from jaxreg.sklearn._fit import SQUARED, Batch, absolute_gap, fit_sets, join_mixes, warn_astray
from jaxreg.sklearn._linear import penalty_of
from jaxreg.sklearn._linear_cv import ChosenByFolds
from jaxreg.sklearn._parameters import DescentAt, DescentCV, Mix, parameters
from jaxreg.sklearn._types import Array, Features


def rows_penalty(l1_ratio: float) -> Penalty:
    """r Σ ‖W_j‖₂ + (1 − r)/2 ‖W‖², of rows W_j of coefficients (p, k)."""
    if l1_ratio in (0, 1):
        return L21() if l1_ratio else L2()
    return L21(l1_ratio) + L2(1 - l1_ratio)


class _Rows(LinearRegressor):
    """What the estimators below share. Abstract."""

    l1_ratio: Any
    fit_intercept: bool
    tol: float
    one_target = False
    many_targets = True

    def _data(self, X: Any, y: Any, sample_weight: Any) -> tuple[Features, Array, Array]:
        """Check parameters and data, of which the target has to be (n, k)."""
        boolean(fit_intercept=self.fit_intercept)
        _check.number("tol", self.tol)
        _check.number("l1_ratio", self.l1_ratio, high=1.0)
        X, y, weights = self._checked(X, y, sample_weight, multi_output=True, y_numeric=True)
        if y.ndim == 1:
            plain = type(self).__name__.removeprefix("MultiTask")
            raise ValueError(f"y must have shape (n, k), one column for each task, got {y.shape}; for one use {plain}")
        return X, y.astype(np.float64), weights

    def _fits(self, X: Features, y: Array, weights: Array, sets: Array, grids: list[Any], mixes: Any) -> Batch:
        """Fit all sets at the strengths (L,) of every mix."""
        options: dict[str, Any] = {"weights": sets, "sample_weight": weights, "intercept": self.fit_intercept}
        options |= {"loss": SQUARED, "tol": self.tol}
        # Of one task only, a row is a number.
        several = y.shape[1] > 1
        penalties = [rows_penalty(mix) if several else penalty_of(mix, False) for mix in mixes]
        target, pairs = y if several else y[:, 0], zip(penalties, grids, strict=True)
        return join_mixes([fit_sets(X, target, penalty=penalty, lams=grid, **options) for penalty, grid in pairs])

    def _keep(self, X: Features, y: Array, weights: Array, fits: Batch, r: int, at: int) -> None:
        del y, weights
        coef, level = fits.coef[0, r, at].reshape(X.shape[1], -1), fits.intercept[0, r, at].reshape(-1)
        self.coef_, self.intercept_ = coef.T.astype(X.dtype), level.astype(X.dtype)
        self.dual_gap_ = float(absolute_gap(fits)[0, r, at])


class _RowsAt(_Rows):
    """One strength. Abstract."""

    alpha: float

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
        X, y, weights = self._data(X, y, sample_weight)
        fits = self._fits(X, y, weights, weights[None], [[self.alpha]], [self.l1_ratio])
        warn_astray(fits.astray, self.tol, type(self).__name__)
        self.n_iter_ = max(1, int(fits.steps.item()))
        self._keep(X, y, weights, fits, 0, 0)
        return self


@parameters
class MultiTaskElasticNet(Mix, DescentAt, _RowsAt):
    """Elastic net of tasks: min 1/(2W) Σ w ‖y − x'B − b₀‖² + alpha (l1_ratio Σ ‖B_j‖₂ + (1 − l1_ratio)/2 ‖B‖²).

    As `sklearn.linear_model.MultiTaskElasticNet`; sample weights and sparse X are welcome, too.

    Args:
        alpha: strength.
        l1_ratio: share of the norms of rows, in [0, 1].
        fit_intercept: whether to fit b₀, (k,).
        tol: duality gap, relative to the null model's objective, beyond which a `ConvergenceWarning` says so.
        copy_X: without effect: X is never written to.
        max_iter: without effect: the engine has a budget of its own.
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


@parameters
class MultiTaskLasso(DescentAt, _RowsAt):
    """Lasso of tasks: min 1/(2W) Σ w ‖y − x'B − b₀‖² + alpha Σ ‖B_j‖₂.

    As `sklearn.linear_model.MultiTaskLasso`. Arguments and attributes are those of `MultiTaskElasticNet`.
    """

    l1_ratio = 1.0


@parameters
class MultiTaskElasticNetCV(Mix, DescentCV, _Rows, ChosenByFolds):
    """Elastic net of tasks with alpha, and l1_ratio if several are given, chosen by cross-validation.

    As `sklearn.linear_model.MultiTaskElasticNetCV`. Arguments and attributes are those of `ElasticNetCV`; `coef_` is
    (k, p) and `intercept_` (k,).
    """


@parameters
class MultiTaskLassoCV(DescentCV, _Rows, ChosenByFolds):
    """Lasso of tasks with alpha chosen by cross-validation.

    As `sklearn.linear_model.MultiTaskLassoCV`. Arguments and attributes are those of `LassoCV`; `coef_` is (k, p) and
    `intercept_` (k,).
    """

    l1_ratio = 1.0
