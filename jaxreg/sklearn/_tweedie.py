"""Tweedie's loss beyond power 2, which is not convex and hence no loss of jaxreg's own."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxreg import _check, _tree
from jaxreg.losses._counts import LogLink


@_tree.register
@dataclasses.dataclass(frozen=True)
class SteepTweedie(LogLink):
    """Half the Tweedie deviance with log link for y > 0: variance in proportion to μ^p, p > 2.

    With a = p − 2 and b = p − 1: ℓ(η, y) = y exp(−bη)/b − exp(−aη)/a + y^(−a)/(ab). It is convex up to some η beyond
    log y only, so that a fit is certified to be stationary and no more. `second_derivative` is the expected one,
    exp(−aη), which is positive everywhere: Newton's steps with it are Fisher's scoring.

    Args:
        power: p, above 2; 3 is the inverse Gaussian.

    Source: Jørgensen (1987), "Exponential dispersion models", JRSS B 49.
    """

    power: Any = 3.0

    def value(self, pred: jax.Array, target: jax.Array) -> jax.Array:
        """y^(−a) (expm1(−bx)/b − expm1(−ax)/a) with x = η − log y."""
        a, b = self.power - 2, self.power - 1
        x = pred - jnp.log(target)
        return target**-a * (jnp.expm1(-b * x) / b - jnp.expm1(-a * x) / a)

    def derivative(self, pred: jax.Array, target: jax.Array) -> jax.Array:
        """exp(−aη) − y exp(−bη)."""
        return jnp.exp((2 - self.power) * pred) - target * jnp.exp((1 - self.power) * pred)

    def second_derivative(self, pred: jax.Array, target: jax.Array) -> jax.Array:
        """exp(−aη), what is expected if exp(η) is the mean of y."""
        return jnp.exp((2 - self.power) * pred) + 0 * target

    def conjugate(self, dual: jax.Array, target: jax.Array) -> jax.Array:
        """NaN: without convexity it bounds nothing."""
        return jnp.nan * (dual + target)

    def check(self, target: np.ndarray) -> None:
        """Targets of more than 0 that are not constant."""
        _check.number("y", target, low=np.finfo(float).tiny, what=f"positive and finite for power {self.power:g}")
