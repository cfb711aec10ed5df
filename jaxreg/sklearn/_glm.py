"""Generalized linear models with a log link, ridge penalized: Poisson, gamma and Tweedie."""

import abc
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from sklearn.utils.validation import check_is_fitted, column_or_1d

from jaxreg import _check
from jaxreg.losses import Gamma, Loss, Poisson, Squared, Tweedie
from jaxreg.penalties import L2
from jaxreg.sklearn._base import LinearRegressor, boolean, one_of, weights_of
from jaxreg.sklearn._fit import fit_sets, warn_astray
from jaxreg.sklearn._types import Array


def explained(loss: Loss, link: Array, y: Array, weights: Array) -> float:
    """D², the share of the deviance of the mean that predictions on the link scale explain."""
    with jax.enable_x64(True):
        level = loss.link(jnp.asarray(np.average(y, weights=weights)))
        null = np.asarray(loss.deviance(jnp.full(y.shape, level), jnp.asarray(y)))
        own = np.asarray(loss.deviance(jnp.asarray(link), jnp.asarray(y)))
    return float(1 - np.average(own, weights=weights) / np.average(null, weights=weights))


class _DevianceRegressor(LinearRegressor):
    """min 1/(2W) Σ w deviance(y, μ(x'b + b₀)) + alpha/2 ‖b‖². Abstract."""

    alpha: float
    fit_intercept: bool
    tol: float

    @abc.abstractmethod
    def _loss(self) -> Loss:
        """Half the deviance, as a function of the linear predictor."""

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Any:
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
        _check.number("tol", self.tol)
        boolean(fit_intercept=self.fit_intercept)
        loss = self._loss()
        X, y, weights = self._checked(X, y, sample_weight, y_numeric=True)
        fits = fit_sets(
            X,
            y.astype(np.float64),
            loss=loss,
            penalty=L2(),
            lams=[self.alpha],
            weights=weights[None],
            intercept=self.fit_intercept,
            tol=self.tol,
        )
        warn_astray(fits.astray, self.tol, type(self).__name__)
        self.coef_ = fits.coef[0, 0, 0].astype(X.dtype)
        self.intercept_ = float(fits.intercept.item())
        self.dual_gap_ = float(fits.gap.item())
        self.n_iter_ = max(1, int(fits.steps.item()))
        return self

    def predict(self, X: Any) -> Array:
        """Predict the mean, (n,).

        Args:
            X: features, (n, p), dense or scipy.sparse.
        """
        link = self._link(X)
        with jax.enable_x64(True):
            return np.asarray(self._loss().mean(jnp.asarray(link, dtype=np.float64))).astype(link.dtype)

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """D², the share of the deviance that is explained; R² for squared error.

        Args:
            X: features, (n, p), dense or scipy.sparse.
            y: target, (n,).
            sample_weight: weights, (n,).

        Raises:
            ValueError: if the target is outside the loss's domain.
        """
        check_is_fitted(self)
        y = column_or_1d(y, warn=True).astype(np.float64)
        loss = self._loss()
        loss.check(y)
        return explained(loss, self._link(X).astype(np.float64), y, weights_of(sample_weight, y.size))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.positive_only = getattr(self, "power", 1) >= 1
        return tags


class PoissonRegressor(_DevianceRegressor):
    """Poisson regression with a log link: min 1/(2W) Σ w deviance + alpha/2 ‖b‖², for y ≥ 0.

    As `sklearn.linear_model.PoissonRegressor`.

    Args:
        alpha: strength.
        fit_intercept: whether to fit an intercept.
        solver: without effect: one engine for all.
        max_iter: without effect: the engine has a budget of its own.
        tol: duality gap, relative to the null model's objective, beyond which a `ConvergenceWarning` says so.
        warm_start: without effect: solutions do not depend on where one starts.
        verbose: without effect.

    Attributes:
        coef_: (p,).
        intercept_: number.
        n_iter_: steps of the engine.
        dual_gap_: duality gap relative to the null model's objective; NaN at alpha = 0.

    >>> from jaxreg.sklearn import PoissonRegressor
    >>> PoissonRegressor(alpha=0.1).fit([[0.0], [1.0], [2.0]], [1.0, 3.0, 7.0]).coef_.round(3)
    array([0.879])
    """

    def __init__(
        self,
        *,
        alpha: float = 1.0,
        fit_intercept: bool = True,
        solver: str = "lbfgs",
        max_iter: int = 100,
        tol: float = 1e-4,
        warm_start: bool = False,
        verbose: int = 0,
    ) -> None:
        self.alpha = alpha
        self.fit_intercept = fit_intercept
        self.solver = solver
        self.max_iter = max_iter
        self.tol = tol
        self.warm_start = warm_start
        self.verbose = verbose

    def _loss(self) -> Loss:
        return Poisson()


class GammaRegressor(_DevianceRegressor):
    """Gamma regression with a log link: min 1/(2W) Σ w deviance + alpha/2 ‖b‖², for y > 0.

    As `sklearn.linear_model.GammaRegressor`. Arguments and attributes are those of `PoissonRegressor`.
    """

    def __init__(
        self,
        *,
        alpha: float = 1.0,
        fit_intercept: bool = True,
        solver: str = "lbfgs",
        max_iter: int = 100,
        tol: float = 1e-4,
        warm_start: bool = False,
        verbose: int = 0,
    ) -> None:
        self.alpha = alpha
        self.fit_intercept = fit_intercept
        self.solver = solver
        self.max_iter = max_iter
        self.tol = tol
        self.warm_start = warm_start
        self.verbose = verbose

    def _loss(self) -> Loss:
        return Gamma()


class TweedieRegressor(_DevianceRegressor):
    """Tweedie regression, variance μ^power: min 1/(2W) Σ w deviance + alpha/2 ‖b‖².

    As `sklearn.linear_model.TweedieRegressor`, for power 0 with the identity link, and 1 to 2 with a log link; others
    are refused. Other arguments and attributes are those of `PoissonRegressor`.

    Args:
        power: 0 for squared error, 1 for Poisson, 2 for gamma, or between 1 and 2.
        alpha: strength.
        fit_intercept: whether to fit an intercept.
        link: "auto", or "identity" with power 0, or "log" with a power of 1 to 2.
        solver: without effect: one engine for all.
        max_iter: without effect: the engine has a budget of its own.
        tol: duality gap, relative to the null model's objective, beyond which a `ConvergenceWarning` says so.
        warm_start: without effect: solutions do not depend on where one starts.
        verbose: without effect.
    """

    def __init__(
        self,
        *,
        power: float = 0.0,
        alpha: float = 1.0,
        fit_intercept: bool = True,
        link: str = "auto",
        solver: str = "lbfgs",
        max_iter: int = 100,
        tol: float = 1e-4,
        warm_start: bool = False,
        verbose: int = 0,
    ) -> None:
        self.power = power
        self.alpha = alpha
        self.fit_intercept = fit_intercept
        self.link = link
        self.solver = solver
        self.max_iter = max_iter
        self.tol = tol
        self.warm_start = warm_start
        self.verbose = verbose

    def _loss(self) -> Loss:
        one_of("link", self.link, ("auto", "identity", "log"))
        _check.number("power", self.power, low=-np.inf)
        if self.power != 0 and not 1 <= self.power <= 2:
            raise ValueError(f"power must be 0, or from 1 to 2, got {self.power:g}")
        known: dict[float, Loss] = {0: Squared(), 1: Poisson(), 2: Gamma()}
        if self.link != "auto" and (self.link == "log") != (self.power != 0):
            raise ValueError(
                f'link must be "auto" here: "identity" goes with power 0 and "log" with powers from 1 to 2, got '
                f"{self.link!r} with power {self.power:g}"
            )
        return known.get(self.power) or Tweedie(self.power)
