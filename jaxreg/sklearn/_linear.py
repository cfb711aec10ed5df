"""Lasso and elastic net of one response, at one strength."""

from typing import Any

import numpy as np
from sklearn.utils.validation import check_array

from jaxreg import _check
from jaxreg.penalties import Box, NonNegative, Penalty
from jaxreg.penalties import ElasticNet as ElasticNetPenalty
from jaxreg.sklearn._base import FLOATS, LinearRegressor, boolean, columns_weight, weights_of
from jaxreg.sklearn._conventions import alpha_grid
from jaxreg.sklearn._fit import SQUARED, absolute_gap, fit_one, fit_sets, warn_astray
from jaxreg.sklearn._parameters import DescentAt, Mix, SingleResponse, parameters
from jaxreg.sklearn._types import Array


def penalty_of(l1_ratio: float, positive: bool, factor: Array | None = None) -> Penalty:
    """The elastic net of a mix, with coefficients that are not negative if asked for."""
    penalty = ElasticNetPenalty(1.0, l1_ratio, factor)
    return penalty + NonNegative() if positive else penalty


class SingleResponseFit(LinearRegressor):
    """The elastic net with what it may be told of columns. Abstract."""

    l1_ratio: Any
    fit_intercept: bool
    tol: float
    positive: bool
    penalty_factor: Any
    lower: Any
    upper: Any

    def _check_parameters(self) -> None:
        """Check what does not depend on the data."""
        _check.number("l1_ratio", self.l1_ratio, high=1.0)
        _check.number("tol", self.tol)
        boolean(fit_intercept=self.fit_intercept, positive=self.positive)

    @property
    def _bounded(self) -> bool:
        return self.lower is not None or self.upper is not None

    def _penalty(self, mix: float, p: int) -> Penalty:
        """The penalty of p columns.

        Raises:
            ValueError: if bounds are not p numbers, or exclude zero.
        """
        factor = columns_weight(self.penalty_factor, p)
        if not self._bounded:
            return penalty_of(mix, self.positive, factor)
        lower = bounds_of("lower", self.lower, p, low=-np.inf, high=0.0, unless=-np.inf)
        upper = bounds_of("upper", self.upper, p, low=0.0, high=np.inf, unless=np.inf)
        return ElasticNetPenalty(1.0, mix, factor) + Box(np.zeros(p) if self.positive else lower, upper)


def bounds_of(name: str, bounds: Any, p: int, *, low: float, high: float, unless: float) -> Array:
    """Bounds (p,) of coefficients.

    Raises:
        ValueError: if they are not one number, or p, between `low` and `high`.
    """
    array = np.asarray(unless if bounds is None else bounds, dtype=np.float64)
    if array.shape not in ((), (p,)):
        raise ValueError(f"{name} must be a number or have one bound per column of X, shape ({p},), got {array.shape}")
    _check.number(name, array, low=low, high=high, finite=False)
    return np.broadcast_to(array, p)


class _OneStrength(SingleResponseFit):
    """The elastic net at one alpha. Abstract."""

    alpha: float
    many_targets = True

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Any:
        """Fit, and certify.

        Args:
            X: features, (n, p), dense or scipy.sparse.
            y: target, (n,), or (n, k) for k targets, each fitted on its own.
            sample_weight: weights, (n,).

        Raises:
            TypeError: if something is not of its kind.
            ValueError: if a parameter or value is outside its domain.
        """
        _check.number("alpha", self.alpha)
        self._check_parameters()
        X, y, weights = self._checked(X, y, sample_weight, multi_output=True, y_numeric=True)
        penalty = self._penalty(self.l1_ratio, X.shape[1])
        options: dict[str, Any] = {"loss": SQUARED, "penalty": penalty, "intercept": self.fit_intercept}
        targets = y.reshape(len(y), -1).astype(np.float64).T
        fits = [fit_one(X, target, self.alpha, weights, self.tol, **options) for target in targets]
        warn_astray(np.array([fit.astray for fit in fits]), self.tol, type(self).__name__)
        coef = np.stack([fit.coef for fit in fits]).astype(X.dtype)
        level = np.array([fit.intercept for fit in fits]).astype(X.dtype)
        # In units of the objective, as scikit-learn reports it.
        gap, steps = np.array([0.5 * fit.gap * fit.null for fit in fits]), [fit.steps for fit in fits]
        single = len(fits) == 1
        self.coef_, self.intercept_ = coef[0] if single else coef, level if y.ndim > 1 else level[0]
        self.dual_gap_: Any = float(gap[0]) if single else gap
        self.n_iter_: Any = steps[0] if single else steps
        return self


@parameters
class ElasticNet(Mix, SingleResponse, DescentAt, _OneStrength):
    """Elastic net: min 1/(2W) Σ w (y − x'b − b₀)² + alpha (l1_ratio ‖b‖₁ + (1 − l1_ratio)/2 ‖b‖²), W = Σ w.

    As `sklearn.linear_model.ElasticNet`, with every fit certified.

    Args:
        alpha: strength.
        l1_ratio: share of the absolute value, in [0, 1].
        fit_intercept: whether to fit b₀.
        tol: duality gap, relative to the null model's objective, beyond which a `ConvergenceWarning` says so. Fits are
            usually far more exact.
        positive: whether coefficients must not be negative.
        penalty_factor: factors of the columns' penalties, (p,); 0 leaves one unpenalized.
        lower: lower bounds of coefficients, at most 0: a number or (p,).
        upper: upper bounds, at least 0, likewise.
        precompute: without effect: the engine decides what to precompute.
        max_iter: without effect: the engine has a budget of its own.
        copy_X: without effect: X is never written to.
        warm_start: without effect: solutions do not depend on where one starts.
        random_state: without effect: nothing is random.
        selection: without effect: no coordinate descent is done.

    Attributes:
        coef_: (p,), or (k, p) for k targets.
        intercept_: number, or (k,).
        dual_gap_: duality gap in units of the objective, a number or (k,); NaN at alpha = 0.
        n_iter_: steps of the engine, a number or a list of k.
        n_features_in_: p.
        feature_names_in_: names of features, if X had any.

    Source: Zou & Hastie (2005), "Regularization and variable selection via the elastic net", JRSS B 67.

    >>> from jaxreg.sklearn import ElasticNet
    >>> ElasticNet(alpha=0.1).fit([[0.0, 1.0], [1.0, 0.0], [2.0, 2.0]], [0.0, 1.0, 2.0]).coef_.round(3)
    array([0.86, 0.  ])
    """


@parameters
class Lasso(SingleResponse, DescentAt, _OneStrength):
    """Lasso: min 1/(2W) Σ w (y − x'b − b₀)² + alpha ‖b‖₁.

    As `sklearn.linear_model.Lasso`, with every fit certified. Arguments and attributes are those of `ElasticNet`.

    Source: Tibshirani (1996), "Regression shrinkage and selection via the lasso", JRSS B 58.

    >>> from jaxreg.sklearn import Lasso
    >>> Lasso(alpha=0.1).fit([[0.0, 0.0], [1.0, 1.0], [2.0, 2.0]], [0.0, 1.0, 2.0]).coef_.sum().round(3)
    np.float64(0.85)
    """

    l1_ratio = 1.0


def enet_path(
    X: Any,
    y: Any,
    *,
    l1_ratio: float = 0.5,
    eps: float = 1e-3,
    alphas: Any = 100,
    positive: bool = False,
    return_n_iter: bool = False,
    sample_weight: Any = None,
    tol: float = 1e-4,
    precompute: Any = "auto",
    Xy: Any = None,
    copy_X: bool = True,
    coef_init: Any = None,
    verbose: Any = False,
    max_iter: int = 1000,
) -> tuple[Array, ...]:
    """Elastic net at every strength, without an intercept: center X and y first if there should be one.

    As `sklearn.linear_model.enet_path`, for one target.

    Args:
        X: features, (n, p), dense or scipy.sparse.
        y: target, (n,). For several targets use `MultiTaskElasticNet.path`.
        l1_ratio: share of the absolute value, in (0, 1]; 0 with a list of alphas.
        eps: smallest strength as a share of the largest.
        alphas: number of strengths, or the strengths.
        positive: whether coefficients must not be negative.
        return_n_iter: whether to return the steps, too.
        sample_weight: weights, (n,).
        tol: duality gap, relative to the null model's, beyond which a warning says so.
        precompute: without effect, like all below.
        Xy: without effect.
        copy_X: without effect.
        coef_init: without effect.
        verbose: without effect.
        max_iter: without effect.

    Returns:
        Strengths in decreasing order, (L,); coefficients (p, L); duality gaps (L,); and steps if asked for.

    Raises:
        TypeError: if something is not of its kind.
        ValueError: if a value is outside its domain.
    """
    del precompute, Xy, copy_X, coef_init, verbose, max_iter
    X = check_array(X, accept_sparse=["csc", "csr", "coo"], dtype=FLOATS)
    y = check_array(y, dtype=np.float64, ensure_2d=False)
    if y.shape != X.shape[:1]:
        raise ValueError(f"y must have one value per row of X, shape {X.shape[:1]}, got shape {y.shape}")
    weights = weights_of(sample_weight, len(y))
    alphas = strengths(X, y, weights, alphas=alphas, l1_ratio=l1_ratio, intercept=False, positive=positive, eps=eps)
    penalty = penalty_of(l1_ratio, positive)
    fits = fit_sets(X, y, loss=SQUARED, penalty=penalty, lams=alphas, weights=weights[None], intercept=False, tol=tol)
    warn_astray(fits.astray, tol, "enet_path")
    out = (fits.lams[0, 0].copy(), fits.coef[0, 0].T.astype(X.dtype), absolute_gap(fits)[0, 0])
    return (*out, fits.steps[0, 0].astype(int).tolist()) if return_n_iter else out


def lasso_path(X: Any, y: Any, **options: Any) -> tuple[Array, ...]:
    """Lasso at every strength, without an intercept: `enet_path` with `l1_ratio=1`.

    As `sklearn.linear_model.lasso_path`, for one target. Arguments, results and errors are those of `enet_path`.
    """
    return enet_path(X, y, l1_ratio=1.0, **options)


def strengths(
    X: Any,
    y: Array,
    weights: Array,
    *,
    alphas: Any,
    l1_ratio: float,
    intercept: bool,
    positive: bool,
    eps: float,
) -> Array:
    """Strengths in decreasing order: those given, or so many from the data.

    Raises:
        TypeError: if `alphas` is no number or list.
        ValueError: if one is negative, or `eps` is outside (0, 1).
    """
    _check.number("l1_ratio", l1_ratio, high=1.0)
    if isinstance(alphas, (bool, str)) or alphas is None:
        raise TypeError(f"alphas must be a number of strengths or a list of them, got {alphas!r}")
    if not isinstance(alphas, (int, np.integer)):
        _check.lams(alphas, "alphas")
        return np.sort(np.asarray(alphas, dtype=np.float64))[::-1].copy()
    if alphas < 1:
        raise ValueError(f"alphas must be at least 1 strength, got {alphas}")
    if not 0 < eps < 1:
        raise ValueError(f"eps must be between 0 and 1, got {eps!r}")
    return alpha_grid(
        X, y, weights, l1_ratio=l1_ratio, intercept=intercept, positive=positive, eps=eps, count=int(alphas)
    )
