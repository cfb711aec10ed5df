"""Regressors for outliers and for quantiles."""

from typing import Any, NamedTuple

import numpy as np
from scipy.optimize import brentq

from jaxreg import _check
from jaxreg.losses import Huber, Quantile
from jaxreg.penalties import L1, L2
from jaxreg.sklearn._base import LinearRegressor, boolean
from jaxreg.sklearn._conventions import huber_lam
from jaxreg.sklearn._fit import Batch, fit_sets, warn_astray
from jaxreg.sklearn._types import Array, Features

TINY = 1e-10
"""Scale, relative to that of y, below which residuals count as none."""


class Scaled(NamedTuple):
    """A fit at a scale of residuals, its residuals, and the slope of the objective in the scale."""

    fits: Batch
    residual: Array
    slope: float


class HuberRegressor(LinearRegressor):
    """Huber regression with its scale: min over b, b₀, σ of Σ w (σ + σ H_ε((y − x'b − b₀)/σ)) + alpha ‖b‖².

    H_ε(z) = z² up to ε, then 2ε|z| − ε². As `sklearn.linear_model.HuberRegressor`. The objective is convex in all of
    its arguments: at each scale the rest is a certified fit of jaxreg's `Huber(δ = εσ)`, and the scale is the root
    of the slope that remains, which rises with σ (Brent's method).

    Args:
        epsilon: ε ≥ 1: residuals beyond ε scales count linearly.
        max_iter: most evaluations of the slope.
        alpha: strength.
        warm_start: without effect: solutions do not depend on where one starts.
        fit_intercept: whether to fit b₀.
        tol: duality gap, relative to the null model's objective, beyond which a `ConvergenceWarning` says so.

    Attributes:
        coef_: (p,).
        intercept_: number.
        scale_: σ.
        outliers_: which rows count linearly, (n,).
        n_iter_: evaluations of the slope.

    Source: Owen (2007), "A robust hybrid of lasso and ridge regression", Contemporary Mathematics 443.

    >>> from jaxreg.sklearn import HuberRegressor
    >>> HuberRegressor().fit([[0.0], [1.0], [2.0], [3.0], [4.0]], [0.1, 1.0, 1.9, 3.1, 30.0]).outliers_.nonzero()[0]
    array([4])
    """

    def __init__(
        self,
        *,
        epsilon: float = 1.35,
        max_iter: int = 100,
        alpha: float = 0.0001,
        warm_start: bool = False,
        fit_intercept: bool = True,
        tol: float = 1e-5,
    ) -> None:
        self.epsilon = epsilon
        self.max_iter = max_iter
        self.alpha = alpha
        self.warm_start = warm_start
        self.fit_intercept = fit_intercept
        self.tol = tol

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> "HuberRegressor":
        """Fit coefficients and scale.

        Args:
            X: features, (n, p), dense or scipy.sparse.
            y: target, (n,).
            sample_weight: weights, (n,).

        Raises:
            TypeError: if something is not of its kind.
            ValueError: if a parameter or value is outside its domain.
        """
        _check.number("epsilon", self.epsilon, low=1.0)
        _check.number("alpha", self.alpha)
        _check.number("tol", self.tol)
        boolean(fit_intercept=self.fit_intercept)
        X, y, weights = self._checked(X, y, sample_weight, y_numeric=True)
        y = y.astype(np.float64)
        center = np.average(y, weights=weights) if self.fit_intercept else 0.0
        spread = float(np.sqrt(np.average(np.square(y - center), weights=weights))) or 1.0
        seen: dict[float, Scaled] = {}

        def slope(log_scale: float) -> float:
            if log_scale not in seen:
                seen[log_scale] = self._at(X, y, weights, float(np.exp(log_scale)))
            return seen[log_scale].slope

        low = high = float(np.log(spread))
        while slope(high) < 0:
            high += 1.0
        step = 1.0
        while slope(low) > 0 and low > np.log(spread * TINY):
            low, step = low - step, 2 * step
        # With a slope that stays positive the fit is exact, and the scale zero.
        best = low
        if slope(low) < 0 < slope(high):
            best = brentq(slope, low, high, xtol=1e-12, maxiter=max(2, self.max_iter))
        slope(best)
        found = seen[best]
        warn_astray(found.fits.astray, self.tol, "HuberRegressor")
        self.coef_ = found.fits.coef[0, 0, 0].astype(X.dtype)
        self.intercept_ = float(found.fits.intercept.item())
        self.scale_ = float(np.exp(best))
        self.outliers_ = np.abs(found.residual) > self.scale_ * self.epsilon
        self.n_iter_ = len(seen)
        return self

    def _at(self, X: Features, y: Array, weights: Array, scale: float) -> Scaled:
        """Fit at a scale, and the slope of the mean objective in the scale: 1 − mean of (r/σ)², at most ε² each."""
        fits = fit_sets(
            X,
            y,
            loss=Huber(self.epsilon * scale),
            penalty=L2(),
            lams=[huber_lam(self.alpha, scale, weights.sum())],
            weights=weights[None],
            intercept=self.fit_intercept,
            tol=self.tol,
        )
        residual = y - np.asarray(X @ fits.coef[0, 0, 0]) - fits.intercept.item()
        used = np.minimum(np.square(residual / scale), self.epsilon**2)
        return Scaled(fits, residual, float(1 - np.average(used, weights=weights)))


class QuantileRegressor(LinearRegressor):
    """Quantile regression: min 1/W Σ w pinball(y − x'b − b₀) + alpha ‖b‖₁.

    As `sklearn.linear_model.QuantileRegressor`, by splitting and a basis instead of linear programming. Where many
    coefficients are optimal, one of them is returned.

    Args:
        quantile: which, strictly between 0 and 1.
        alpha: strength.
        fit_intercept: whether to fit b₀.
        solver: without effect: one engine for all.
        solver_options: without effect.

    Attributes:
        coef_: (p,).
        intercept_: number.
        n_iter_: steps of the engine.
        dual_gap_: duality gap relative to the null model's objective; NaN at alpha = 0.

    Source: Koenker & Bassett (1978), "Regression quantiles", Econometrica 46.
    """

    def __init__(
        self,
        *,
        quantile: float = 0.5,
        alpha: float = 1.0,
        fit_intercept: bool = True,
        solver: str = "highs",
        solver_options: Any = None,
    ) -> None:
        self.quantile = quantile
        self.alpha = alpha
        self.fit_intercept = fit_intercept
        self.solver = solver
        self.solver_options = solver_options

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> "QuantileRegressor":
        """Fit, and certify.

        Args:
            X: features, (n, p), dense or scipy.sparse.
            y: target, (n,).
            sample_weight: weights, (n,).

        Raises:
            TypeError: if something is not of its kind.
            ValueError: if a parameter or value is outside its domain.
        """
        _check.number("alpha", self.alpha)
        boolean(fit_intercept=self.fit_intercept)
        loss = Quantile(self.quantile)
        X, y, weights = self._checked(X, y, sample_weight, y_numeric=True)
        fits = fit_sets(
            X,
            y.astype(np.float64),
            loss=loss,
            penalty=L1(),
            lams=[self.alpha],
            weights=weights[None],
            intercept=self.fit_intercept,
            tol=1e-6,
        )
        # Without a penalty the dual point has to be exact, which no rounding allows: there the residual rules.
        warn_astray(fits.astray if self.alpha > 0 else fits.kkt, 1e-6, "QuantileRegressor")
        self.coef_ = fits.coef[0, 0, 0].astype(X.dtype)
        self.intercept_ = float(fits.intercept.item())
        self.dual_gap_ = float(fits.gap.item()) if self.alpha > 0 else float("nan")
        self.n_iter_ = max(1, int(fits.steps.item()))
        return self
