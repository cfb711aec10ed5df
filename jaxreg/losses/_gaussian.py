"""Squared error."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from jaxreg import _check, _tree
from jaxreg.losses._base import Loss, refuse_constant


@_tree.register
@dataclasses.dataclass(frozen=True)
class Squared(Loss):
    """Half the squared error, ℓ(η, y) = ½(η − y)²: the Gaussian log-likelihood up to scale.

    Its mean over samples is half the mean squared error; its deviance is the squared error.

    Source: McCullagh & Nelder (1989), "Generalized linear models", chapter 3.

    >>> float(Squared().value(jnp.array(3.0), jnp.array(1.0)))
    2.0
    """

    def value(self, pred: jax.Array, target: jax.Array) -> jax.Array:
        """½(η − y)²."""
        return 0.5 * jnp.square(pred - target)

    def derivative(self, pred: jax.Array, target: jax.Array) -> jax.Array:
        """η − y."""
        return pred - target

    def second_derivative(self, pred: jax.Array, target: jax.Array) -> jax.Array:
        """1."""
        return jnp.ones_like(pred)

    def conjugate(self, dual: jax.Array, target: jax.Array) -> jax.Array:
        """½u² + uy."""
        return dual * (0.5 * dual + target)

    def mean(self, pred: jax.Array) -> jax.Array:
        """Identity link."""
        return pred

    def link(self, mean: jax.Array) -> jax.Array:
        """Identity."""
        return mean

    @property
    def curvature(self) -> float:
        """1."""
        return 1.0

    def check(self, target: np.ndarray) -> None:
        """Finite targets that are not constant."""
        _check.number("y", target, low=-np.inf)
        refuse_constant(target)
