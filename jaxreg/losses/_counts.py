"""Losses for counts, rates and positive amounts, with the log link: the expected target is μ = exp(η).

Each is half of its unit deviance, which is the negative log likelihood but for terms in y alone (and the scale
of the distribution, for gamma and Tweedie). So the smallest value over η is 0, and a primal value, which duality
gaps are relative to, is never negative.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import xlogy

from jaxreg import _check, _tree
from jaxreg.losses._base import Loss, refuse_constant


class LogLink(Loss):
    """What losses with mean exp(η) share. Their curvature grows without bound along η or y."""

    def mean(self, pred: jax.Array) -> jax.Array:
        """exp(η)."""
        return jnp.exp(pred)

    def link(self, mean: jax.Array) -> jax.Array:
        """log μ."""
        return jnp.log(mean)

    @property
    def curvature(self) -> float:
        """Infinite."""
        return float("inf")

    def deviance(self, pred: jax.Array, target: jax.Array) -> jax.Array:
        """Twice the loss."""
        return 2 * self.value(pred, target)


def _entropies(m: jax.Array, dual: jax.Array, target: jax.Array) -> jax.Array:
    """m log m − y log y for m = u + y ≥ 0: as y log(1 + u/y) + u log m where u is small beside y, lest it be lost."""
    small = jnp.abs(dual) < 0.5 * target
    share = jnp.where(small, dual, 0) / jnp.where(small, target, 1)
    together = target * jnp.log1p(share) + dual * jnp.log(jnp.where(small, m, 1))
    return jnp.where(small, together, xlogy(m, m) - xlogy(target, target))


@_tree.register
@dataclasses.dataclass(frozen=True)
class Poisson(LogLink):
    """Poisson loss with log link, ℓ(η, y) = exp(η) − yη − y + y log y for y ≥ 0: variance μ.

    Targets may be rates (counts over an exposure, which is then the sample weight), or counts with the log of
    the exposure as offset.

    Source: McCullagh & Nelder (1989), "Generalized linear models", chapter 6.

    >>> Poisson().value(jnp.log(jnp.array([1.0, 2.0])), jnp.array([0.0, 2.0]))
    Array([1., 0.], dtype=float32)
    """

    def value(self, pred: jax.Array, target: jax.Array) -> jax.Array:
        """exp(η) − y − y(η − log y), by y(exp(x) − 1 − x), x = η − log y, where x is small."""
        some = target > 0
        x = pred - jnp.log(jnp.where(some, target, 1))
        near = some & (jnp.abs(x) < 1)
        close = target * (jnp.expm1(jnp.where(near, x, 0)) - x)
        return jnp.where(near, close, jnp.exp(pred) - jnp.where(some, target * (1 + x), 0))

    def derivative(self, pred: jax.Array, target: jax.Array) -> jax.Array:
        """exp(η) − y."""
        return jnp.exp(pred) - target

    def second_derivative(self, pred: jax.Array, target: jax.Array) -> jax.Array:
        """exp(η)."""
        return jnp.broadcast_to(jnp.exp(pred), jnp.broadcast_shapes(pred.shape, target.shape))

    def conjugate(self, dual: jax.Array, target: jax.Array) -> jax.Array:
        """(m log m − m) − (y log y − y) with m = u + y ≥ 0 (to rounding); infinite below."""
        m, least = dual + target, -4 * jnp.finfo(dual.dtype).eps * target
        inside, m = m >= least, jnp.maximum(m, 0)
        return jnp.where(inside, _entropies(m, dual, target) - dual, jnp.inf)

    def check(self, target: np.ndarray) -> None:
        """Targets of at least 0 that are not constant."""
        _check.number("y", target, what="finite and at least 0 for the Poisson loss")
        refuse_constant(target)


@_tree.register
@dataclasses.dataclass(frozen=True)
class Gamma(LogLink):
    """Gamma loss with log link, ℓ(η, y) = y exp(−η) − 1 + η − log y for y > 0: variance in proportion to μ².

    Source: McCullagh & Nelder (1989), "Generalized linear models", chapter 8.

    >>> Gamma().value(jnp.log(jnp.array([1.0, 2.0])), jnp.array([1.0, 2.0]))
    Array([0., 0.], dtype=float32)
    """

    def value(self, pred: jax.Array, target: jax.Array) -> jax.Array:
        """exp(x) − 1 − x, with x = log y − η."""
        x = jnp.log(target) - pred
        return jnp.expm1(x) - x

    def derivative(self, pred: jax.Array, target: jax.Array) -> jax.Array:
        """1 − y exp(−η)."""
        return -jnp.expm1(jnp.log(target) - pred)

    def second_derivative(self, pred: jax.Array, target: jax.Array) -> jax.Array:
        """y exp(−η)."""
        return target * jnp.exp(-pred)

    def conjugate(self, dual: jax.Array, target: jax.Array) -> jax.Array:
        """t log t + u + u log y with t = 1 − u ≥ 0 (to rounding); infinite below."""
        t = 1 - dual
        inside, t = t >= -4 * jnp.finfo(dual.dtype).eps, jnp.maximum(t, 0)
        return jnp.where(inside, xlogy(t, t) + dual * (1 + jnp.log(target)), jnp.inf)

    def check(self, target: np.ndarray) -> None:
        """Positive targets that are not constant."""
        low = np.finfo(float).tiny
        _check.number("y", target, low=low, what="finite and positive for the gamma loss")
        refuse_constant(target)


@_tree.register
@dataclasses.dataclass(frozen=True)
class Tweedie(LogLink):
    """Tweedie loss with log link for y ≥ 0: variance in proportion to μ^p, 1 < p < 2.

    With a = 2 − p and b = p − 1: ℓ(η, y) = exp(aη)/a + y exp(−bη)/b − yᵃ/(ab). This is a compound Poisson-gamma
    model: exact zeros, and positive amounts. At the ends stand `Poisson` (p = 1) and `Gamma` (p = 2), which are
    losses of their own; p = 0 would be squared error, which is `Squared` (with the identity link); p = 3, the
    inverse Gaussian, is not convex in η.

    Args:
        power: p, strictly between 1 and 2.

    Raises:
        ValueError: if the power is not strictly between 1 and 2.

    Source: Jørgensen (1987), "Exponential dispersion models", JRSS B 49.

    >>> Tweedie(power=1.5).value(jnp.array([0.0, 0.0]), jnp.array([0.0, 1.0]))
    Array([2., 0.], dtype=float32)
    """

    power: Any = 1.5

    def __post_init__(self) -> None:
        ends = {1: "Poisson()", 2: "Gamma()", 0: "Squared()"}
        known = [name for power, name in ends.items() if isinstance(self.power, (int, float)) and self.power == power]
        hint = f" ({known[0]} is the loss of that power)" if known else ""
        low, high = np.nextafter(1.0, 2.0), np.nextafter(2.0, 1.0)
        _check.number("power", self.power, low=low, high=high, what=f"strictly between 1 and 2{hint}")

    def value(self, pred: jax.Array, target: jax.Array) -> jax.Array:
        """yᵃ((exp(ax) − 1)/a + (exp(−bx) − 1)/b) with x = η − log y; exp(aη)/a where y = 0."""
        a, b = self._exponents(pred)
        some = target > 0
        y = jnp.where(some, target, 1)
        x = pred - jnp.log(y)
        positive = y**a * (jnp.expm1(a * x) / a + jnp.expm1(-b * x) / b)
        return jnp.where(some, positive, jnp.exp(a * pred) / a)

    def derivative(self, pred: jax.Array, target: jax.Array) -> jax.Array:
        """exp(aη) − y exp(−bη)."""
        a, b = self._exponents(pred)
        return jnp.exp(a * pred) - target * jnp.exp(-b * pred)

    def second_derivative(self, pred: jax.Array, target: jax.Array) -> jax.Array:
        """a exp(aη) + by exp(−bη)."""
        a, b = self._exponents(pred)
        return a * jnp.exp(a * pred) + b * target * jnp.exp(-b * pred)

    def conjugate(self, dual: jax.Array, target: jax.Array) -> jax.Array:
        """Value of uη − ℓ(η, y) where u is the derivative; infinite if y = 0 and u < 0 (to rounding).

        In x = η − log y and v = u/yᵃ that is exp(ax) − exp(−bx) = v. For v ≥ 0 the equation reads
        ax = log(v + exp(−bx)), whose difference is concave and rises with x: Newton's method from 0 climbs to
        the root without overshooting, and a few steps reach rounding. For v < 0, reflect.
        """
        a, b = self._exponents(dual)
        some = target > 0
        y = jnp.where(some, target, 1)
        v = jax.lax.stop_gradient(dual / y**a)
        up = v >= 0
        near, far = jnp.where(up, a, b), jnp.where(up, b, a)
        size = jnp.abs(v)

        def newton(_: Any, x: jax.Array) -> jax.Array:
            share = jnp.exp(-far * x)
            total = size + share
            return x - (near * x - jnp.log(total)) / (near + far * share / total)

        x = jax.lax.fori_loop(0, 12, newton, jnp.zeros_like(size))
        eta = jnp.log(y) + jnp.where(up, x, -x)
        # The best η is held fixed: how it moves does not matter to first order.
        positive = dual * eta - self.value(eta, y)
        least = -4 * jnp.finfo(dual.dtype).eps
        u = jnp.where(dual > 0, dual, 1)
        zero = jnp.where(dual > 0, (u * jnp.log(u) - u) / a, jnp.where(dual >= least, 0, jnp.inf))
        return jnp.where(some, positive, zero)

    def check(self, target: np.ndarray) -> None:
        """Targets of at least 0 that are not constant."""
        _check.number("y", target, what="finite and at least 0 for the Tweedie loss")
        refuse_constant(target)

    def _exponents(self, like: jax.Array) -> tuple[jax.Array, jax.Array]:
        """a = 2 − p and b = p − 1."""
        power = jnp.asarray(self.power, like.dtype)
        return 2 - power, power - 1


@_tree.register
@dataclasses.dataclass(frozen=True)
class NegativeBinomial(LogLink):
    """Negative binomial loss with log link for y ≥ 0: variance μ + αμ², with a known dispersion α.

    ℓ(η, y) = y log(y/μ) + (y + 1/α) log((1 + αμ)/(1 + αy)), μ = exp(η). As α → 0 it becomes `Poisson`.

    Args:
        dispersion: α > 0, which is 1/θ in R's `glm.nb`.

    Raises:
        ValueError: if the dispersion is not positive and finite.

    Source: Lawless (1987), "Negative binomial and mixed Poisson regression", Canadian Journal of Statistics 15.

    >>> NegativeBinomial(dispersion=1.0).value(jnp.array([0.0, 0.0]), jnp.array([0.0, 1.0]))
    Array([0.6931472, 0.       ], dtype=float32)
    """

    dispersion: Any = 1.0

    def __post_init__(self) -> None:
        low = np.finfo(float).tiny
        _check.number("dispersion", self.dispersion, low=low, what="positive and finite (0 would be Poisson())")

    def value(self, pred: jax.Array, target: jax.Array) -> jax.Array:
        """With x = η − log y and A = αy, (1 + A) log((1 + A exp(x))/(1 + A)) − Ax, over α.

        Terms that cancel must not be larger than they need be. Where A < 1 they are of the order yx as they stand, if
        the ratio is taken as 1 + A/(1 + A) · (exp(x) − 1); far from x = 0 they do not cancel. Where A ≥ 1, x is taken
        out of the logarithm: x + (1 + A) log(1 + (exp(−x) − 1)/(1 + A)), whose terms are of the order of x, however
        large y is.
        """
        alpha = self._alpha(pred)
        _, _, log_growth = self._growth(pred)
        some = target > 0
        y = jnp.where(some, target, 1)
        x, rate = pred - jnp.log(y), alpha * y
        close = jnp.abs(x) < 1
        near = jnp.log1p(rate / (1 + rate) * jnp.expm1(jnp.where(close, x, 0)))
        few = (y + 1 / alpha) * jnp.where(close, near, log_growth - jnp.log1p(rate)) - y * x
        # exp(−x)/(1 + A), of which the logarithm is all that is left where it is huge.
        low, exponent = x < -1, -x - jnp.log1p(rate)
        huge = exponent > 40
        ahead = jnp.log1p(jnp.exp(jnp.where(low & ~huge, exponent, 0)) - 1 / (1 + rate))
        beside = jnp.log1p(jnp.expm1(jnp.where(low, 0, -x)) / (1 + rate))
        many = (x + (1 + rate) * jnp.where(low, jnp.where(huge, exponent, ahead), beside)) / alpha
        return jnp.where(some, jnp.where(rate < 1, few, many), log_growth / alpha)

    def derivative(self, pred: jax.Array, target: jax.Array) -> jax.Array:
        """(μ − y)/(1 + αμ)."""
        slope, share, _ = self._growth(pred)
        return slope - target * share

    def second_derivative(self, pred: jax.Array, target: jax.Array) -> jax.Array:
        """(1 + αy)μ/(1 + αμ)²."""
        slope, share, _ = self._growth(pred)
        return (1 + self._alpha(pred) * target) * slope * share

    def conjugate(self, dual: jax.Array, target: jax.Array) -> jax.Array:
        """m log m − y log y + (1/α − u) log(1 − αu) with m = u + y ≥ 0 and αu ≤ 1 (to rounding)."""
        alpha, eps = self._alpha(dual), 4 * jnp.finfo(dual.dtype).eps
        m, t = dual + target, 1 - alpha * dual
        inside = (m >= -eps * target) & (t >= -eps)
        m, t = jnp.maximum(m, 0), jnp.maximum(t, 0)
        log_t = jnp.log1p(-jnp.where(t > 0, alpha * dual, 0))
        return jnp.where(inside, _entropies(m, dual, target) + t * log_t / alpha, jnp.inf)

    def check(self, target: np.ndarray) -> None:
        """Targets of at least 0 that are not constant."""
        _check.number("y", target, what="finite and at least 0 for the negative binomial loss")
        refuse_constant(target)

    def _alpha(self, like: jax.Array) -> jax.Array:
        return jnp.asarray(self.dispersion, like.dtype)

    def _growth(self, pred: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        """μ/(1 + αμ), 1/(1 + αμ) and log(1 + αμ): without overflow where μ is huge, and exact where α is tiny."""
        alpha = self._alpha(pred)
        huge = pred > 40
        x = pred + jnp.log(alpha)
        mean = jnp.exp(jnp.where(huge, 0, pred))
        growth = 1 + alpha * mean
        return (
            jnp.where(huge, jax.nn.sigmoid(x) / alpha, mean / growth),
            jnp.where(huge, jax.nn.sigmoid(-x), 1 / growth),
            jnp.where(huge, jax.nn.softplus(x), jnp.log1p(alpha * mean)),
        )
