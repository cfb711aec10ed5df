"""Ridge regression of one or several responses, at one strength."""

import dataclasses
from typing import Any, NamedTuple

import numpy as np

from jaxreg import _check
from jaxreg.penalties import L2, NonNegative
from jaxreg.sklearn._base import LinearRegressor, boolean
from jaxreg.sklearn._conventions import ridge_lam
from jaxreg.sklearn._fit import SQUARED, fit_one, warn_astray
from jaxreg.sklearn._parameters import parameters
from jaxreg.sklearn._types import Array, Features

SOLVERS = ("auto", "svd", "cholesky", "lsqr", "sparse_cg", "sag", "saga", "lbfgs")


class Ridges(NamedTuple):
    """Fits of k targets: coefficients (k, p), intercepts (k,), and duality gaps (k,) in units of the objective."""

    coef: Array
    intercept: Array
    gap: Array


def fit_ridge(
    X: Features,
    targets: Array,
    weights: Array,
    alphas: Array,
    *,
    intercept: bool,
    tol: float,
    name: str,
    positive: bool = False,
) -> Ridges:
    """Fit targets (n, k), each at its own alpha (k,)."""
    penalty = L2() + NonNegative() if positive else L2()
    total = weights.sum()
    options: dict[str, Any] = {"loss": SQUARED, "penalty": penalty, "intercept": intercept}
    pairs = zip(targets.T, alphas, strict=True)
    fits = [fit_one(X, target, ridge_lam(alpha, total).item(), weights, tol, **options) for target, alpha in pairs]
    warn_astray(np.array([fit.astray for fit in fits]), tol, name)
    coef, level = np.stack([fit.coef for fit in fits]), np.array([fit.intercept for fit in fits])
    return Ridges(coef, level, np.array([fit.gap * fit.null * total for fit in fits]))


@parameters
class RidgeParameters:
    """What ridge takes for one strength, beside that. Abstract."""

    fit_intercept: bool = True
    copy_X: bool = True
    max_iter: Any = None
    tol: float = 1e-4
    solver: str = "auto"
    positive: bool = False
    random_state: Any = None


@parameters
class Ridge(RidgeParameters, LinearRegressor):
    """Ridge regression: min Σ w (y − x'b − b₀)² + alpha ‖b‖².

    As `sklearn.linear_model.Ridge`.

    Args:
        alpha: strength, or (k,) of k targets.
        fit_intercept: whether to fit b₀.
        copy_X: without effect: X is never written to.
        max_iter: without effect: the solution is in closed form.
        tol: duality gap, relative to the null model's objective, beyond which a `ConvergenceWarning` says so.
        solver: without effect: all of scikit-learn's have the same solution, and this is that.
        positive: whether coefficients must not be negative.
        random_state: without effect: nothing is random.

    Attributes:
        coef_: (p,), or (k, p) where y is (n, k).
        intercept_: number, or (k,).
        dual_gap_: duality gap in units of the objective, a number or (k,); NaN at alpha = 0.
        n_iter_: ones, (k,): the solution is in closed form.
        solver_: "eigen", or "generic" with `positive`.

    Source: Hoerl & Kennard (1970), "Ridge regression", Technometrics 12.

    >>> from jaxreg.sklearn import Ridge
    >>> Ridge(alpha=1.0).fit([[0.0], [1.0], [2.0]], [0.0, 1.0, 2.0]).coef_.round(3)
    array([0.667])
    """

    alpha: Any = dataclasses.field(default=1.0, kw_only=False)
    many_targets = True

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> "Ridge":
        """Fit, and certify.

        Args:
            X: features, (n, p), dense or scipy.sparse.
            y: target, (n,) or (n, k).
            sample_weight: weights, (n,).

        Raises:
            TypeError: if something is not of its kind.
            ValueError: if a parameter or value is outside its domain.
        """
        check_ridge(self.alpha, self.tol, self.solver)
        boolean(fit_intercept=self.fit_intercept, positive=self.positive)
        X, y, weights = self._checked(X, y, sample_weight, multi_output=True, y_numeric=True)
        targets = y.reshape(len(y), -1).astype(np.float64)
        many, alphas = targets.shape[1], np.asarray(self.alpha, dtype=np.float64)
        if alphas.shape not in ((), (1,), (many,)):
            raise ValueError(f"alpha must be a number, or one for each of {many} targets, got shape {alphas.shape}")
        options: dict[str, Any] = {"intercept": self.fit_intercept, "positive": self.positive, "tol": self.tol}
        fits = fit_ridge(X, targets, weights, np.broadcast_to(alphas, many), name="Ridge", **options)
        coef, level = fits.coef.astype(X.dtype), fits.intercept.astype(X.dtype)
        self.coef_, self.intercept_ = (coef, level) if y.ndim > 1 else (coef[0], level[0])
        self.dual_gap_ = fits.gap if many > 1 else float(fits.gap[0])
        self.n_iter_ = np.ones(many, dtype=int)
        self.solver_ = "generic" if self.positive else "eigen"
        return self


def check_ridge(alpha: Any, tol: Any, solver: Any) -> None:
    """Check what ridge estimators are given.

    Raises:
        TypeError: if something is no number.
        ValueError: if it is outside its domain.
    """
    _check.number("alpha", alpha)
    _check.number("tol", tol)
    if solver not in SOLVERS:
        raise ValueError(f"solver must be one of {', '.join(SOLVERS)}, got {solver!r}")
