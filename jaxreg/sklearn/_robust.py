"""Regressors for outliers and for quantiles."""

from typing import Any

import numpy as np

from jaxreg import _check
from jaxreg.losses import Loss, Quantile
from jaxreg.penalties import L1, Penalty
from jaxreg.sklearn._base import LinearRegressor, boolean, columns_weight
from jaxreg.sklearn._fit import Fit, warn_astray
from jaxreg.sklearn._huber import fit_huber
from jaxreg.sklearn._parameters import Factors, parameters
from jaxreg.sklearn._penalized import OneStrength


@parameters
class HuberRegressor(LinearRegressor):
    """Huber regression with its scale: min over b, b₀, σ of Σ w (σ + σ H_ε((y − x'b − b₀)/σ)) + alpha ‖b‖².

    H_ε(z) = z² up to ε, then 2ε|z| − ε². As `sklearn.linear_model.HuberRegressor`, by Newton's method in all arguments
    at once. Where rows are fitted exactly, the scale ends at 1e-10 of the standard deviation of y.

    Args:
        epsilon: ε ≥ 1: residuals beyond ε scales count linearly.
        max_iter: most Newton steps.
        alpha: strength.
        warm_start: without effect: solutions do not depend on where one starts.
        fit_intercept: whether to fit b₀.
        tol: duality gap, relative to the null model's objective, beyond which a `ConvergenceWarning` says so.

    Attributes:
        coef_: (p,).
        intercept_: number.
        scale_: σ.
        outliers_: which rows count linearly, (n,).
        dual_gap_: duality gap at the scale, relative to the null model's objective; NaN at alpha = 0.
        kkt_: largest entry of the gradient, relative to its largest on the way.
        n_iter_: Newton steps.

    Source: Owen (2007), "A robust hybrid of lasso and ridge regression", Contemporary Mathematics 443.

    >>> from jaxreg.sklearn import HuberRegressor
    >>> HuberRegressor().fit([[0.0], [1.0], [2.0], [3.0], [4.0]], [0.1, 1.0, 1.9, 3.1, 30.0]).outliers_.nonzero()[0]
    array([4])
    """

    epsilon: float = 1.35
    max_iter: int = 100
    alpha: float = 0.0001
    warm_start: bool = False
    fit_intercept: bool = True
    tol: float = 1e-5

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
        X, dtype = X.tocsr() if hasattr(X, "tocsr") else X, X.dtype
        options: dict[str, Any] = {"alpha": self.alpha, "epsilon": self.epsilon, "intercept": self.fit_intercept}
        found = fit_huber(X, y.astype(np.float64), weights, max_steps=max(1, self.max_iter), **options)
        warn_astray(np.array(found.kkt if np.isnan(found.gap) else found.gap), self.tol, "HuberRegressor")
        self.coef_, self.intercept_, self.scale_ = found.coef.astype(dtype), found.intercept, found.scale
        self.outliers_ = np.abs(found.residual) > self.scale_ * self.epsilon
        self.dual_gap_, self.kkt_, self.n_iter_ = found.gap, found.kkt, found.steps
        return self


@parameters
class QuantileRegressor(Factors, OneStrength):
    """Quantile regression: min 1/W Σ w pinball(y − x'b − b₀ − o) + alpha ‖b‖₁.

    As `sklearn.linear_model.QuantileRegressor`, by splitting and a basis instead of linear programming. Where many
    coefficients are optimal, one of them is returned. `score` is R².

    Args:
        quantile: which, strictly between 0 and 1.
        alpha: strength.
        fit_intercept: whether to fit b₀.
        penalty_factor: factors of the columns' penalties, (p,); 0 leaves one unpenalized.
        solver: without effect: one engine for all.
        solver_options: without effect.

    Attributes:
        coef_: (p,).
        intercept_: number.
        n_iter_: steps of the engine.
        dual_gap_: duality gap relative to the null model's objective; NaN at alpha = 0.
        kkt_: residual of the optimality condition, relative to the gradient at the null model.

    Source: Koenker & Bassett (1978), "Regression quantiles", Econometrica 46.
    """

    quantile: float = 0.5
    alpha: float = 1.0
    fit_intercept: bool = True
    solver: str = "highs"
    solver_options: Any = None
    tol = 1e-6

    def _loss(self) -> Loss:
        return Quantile(self.quantile)

    def _penalty(self, p: int) -> Penalty:
        return L1(1.0, columns_weight(self.penalty_factor, p))

    def _judged(self, fit: Fit) -> Fit:
        # Without a penalty the dual point has to be exact, which no rounding allows: there the residual rules.
        return fit if self.alpha > 0 else fit._replace(gap=float("nan"))

    score = LinearRegressor.score
