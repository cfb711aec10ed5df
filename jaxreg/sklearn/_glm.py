"""Generalized linear models with a log link, ridge penalized: Poisson, gamma and Tweedie."""

from typing import Any

import numpy as np

from jaxreg import _check
from jaxreg.losses import Gamma, Loss, Poisson, Squared, Tweedie
from jaxreg.penalties import L2, Penalty
from jaxreg.sklearn._base import columns_weight, one_of
from jaxreg.sklearn._fit import Fit
from jaxreg.sklearn._parameters import Factors, parameters
from jaxreg.sklearn._penalized import OneStrength
from jaxreg.sklearn._tweedie import SteepTweedie


@parameters
class _DevianceRegressor(Factors, OneStrength):
    """min 1/(2W) Σ w deviance(y, μ(x'b + b₀ + o)) + alpha/2 ‖b‖². Abstract: classes below say which deviance."""

    alpha: float = 1.0
    fit_intercept: bool = True
    solver: str = "lbfgs"
    max_iter: int = 100
    tol: float = 1e-4
    warm_start: bool = False
    verbose: int = 0

    def _penalty(self, p: int) -> Penalty:
        return L2(1.0, columns_weight(self.penalty_factor, p))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.positive_only = getattr(self, "power", 1) >= 1
        return tags


@parameters
class PoissonRegressor(_DevianceRegressor):
    """Poisson regression with a log link: min 1/(2W) Σ w deviance + alpha/2 ‖b‖², for y ≥ 0.

    As `sklearn.linear_model.PoissonRegressor`; `fit`, `predict` and `score` take an `offset` as well: the log of an
    exposure, for example.

    Args:
        alpha: strength.
        fit_intercept: whether to fit an intercept.
        tol: duality gap, relative to the null model's objective, beyond which a `ConvergenceWarning` says so.
        penalty_factor: factors of the columns' penalties, (p,); 0 leaves one unpenalized.
        solver: without effect: one engine for all.
        max_iter: without effect: the engine has a budget of its own.
        warm_start: without effect: solutions do not depend on where one starts.
        verbose: without effect.

    Attributes:
        coef_: (p,).
        intercept_: number.
        n_iter_: steps of the engine.
        dual_gap_: duality gap relative to the null model's objective; NaN at alpha = 0.
        kkt_: residual of the optimality condition, relative to the gradient at the null model.

    >>> from jaxreg.sklearn import PoissonRegressor
    >>> PoissonRegressor(alpha=0.1).fit([[0.0], [1.0], [2.0]], [1.0, 3.0, 7.0]).coef_.round(3)
    array([0.879])
    """

    def _loss(self) -> Loss:
        return Poisson()


@parameters
class GammaRegressor(_DevianceRegressor):
    """Gamma regression with a log link: min 1/(2W) Σ w deviance + alpha/2 ‖b‖², for y > 0.

    As `sklearn.linear_model.GammaRegressor`. Arguments and attributes are those of `PoissonRegressor`.
    """

    def _loss(self) -> Loss:
        return Gamma()


@parameters
class TweedieRegressor(_DevianceRegressor):
    """Tweedie regression, variance μ^power: min 1/(2W) Σ w deviance + alpha/2 ‖b‖².

    As `sklearn.linear_model.TweedieRegressor`, for power 0 with the identity link, and from 1 on with a log link;
    others are refused. Other arguments and attributes are those of `PoissonRegressor`. Beyond power 2 the deviance is
    not convex: fits are stationary, and their gap is NaN.

    Args:
        power: 0 for squared error, 1 for Poisson, 2 for gamma, 3 for inverse Gaussian, or any other of at least 1.
        link: "auto", or "identity" with power 0, or "log" with a power of at least 1.
    """

    power: float = 0.0
    link: str = "auto"

    def _loss(self) -> Loss:
        one_of("link", self.link, ("auto", "identity", "log"))
        _check.number("power", self.power, low=-np.inf)
        if self.power != 0 and self.power < 1:
            raise ValueError(f"power must be 0, or at least 1, got {self.power:g}")
        known: dict[float, Loss] = {0: Squared(), 1: Poisson(), 2: Gamma()}
        if self.link != "auto" and (self.link == "log") != (self.power != 0):
            raise ValueError(
                f'link must be "auto" here: "identity" goes with power 0 and "log" with powers from 1 on, got '
                f"{self.link!r} with power {self.power:g}"
            )
        return known.get(self.power) or (Tweedie if self.power < 2 else SteepTweedie)(self.power)

    def _judged(self, fit: Fit) -> Fit:
        return fit._replace(gap=float("nan")) if self.power > 2 else fit
