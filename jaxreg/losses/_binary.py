"""Losses for two classes."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import xlogy

from jaxreg import _check, _tree
from jaxreg.losses._base import Loss


@_tree.register
@dataclasses.dataclass(frozen=True)
class Logistic(Loss):
    """Logistic loss, ℓ(η, y) = log(1 + exp(η)) − yη for y in {0, 1}, or a proportion in [0, 1].

    This is the negative Bernoulli log-likelihood with the logit link; its deviance is twice the loss when y
    is 0 or 1.

    >>> float(Logistic().mean(jnp.array(0.0)))
    0.5
    """

    def value(self, pred: jax.Array, target: jax.Array) -> jax.Array:
        """log(1 + exp(η)) − yη, without overflow."""
        return jax.nn.softplus(pred) - target * pred

    def derivative(self, pred: jax.Array, target: jax.Array) -> jax.Array:
        """σ(η) − y."""
        return jax.nn.sigmoid(pred) - target

    def second_derivative(self, pred: jax.Array, target: jax.Array) -> jax.Array:
        """σ(η)σ(−η), which keeps its relative accuracy in both tails."""
        return jax.nn.sigmoid(pred) * jax.nn.sigmoid(-pred)

    def conjugate(self, dual: jax.Array, target: jax.Array) -> jax.Array:
        """t log t + (1 − t) log(1 − t) with t = u + y in [0, 1] (to rounding); infinite outside."""
        t = dual + target
        rounding = 4 * jnp.finfo(t.dtype).eps
        inside = (t >= -rounding) & (t <= 1 + rounding)
        t = jnp.clip(t, 0, 1)
        return jnp.where(inside, xlogy(t, t) + xlogy(1 - t, 1 - t), jnp.inf)

    def mean(self, pred: jax.Array) -> jax.Array:
        """Probability of class 1, σ(η)."""
        return jax.nn.sigmoid(pred)

    @property
    def curvature(self) -> float:
        """¼, at η = 0."""
        return 0.25

    def check(self, target: np.ndarray) -> None:
        """Targets in [0, 1], of both classes."""
        _check.number("y", target, high=1.0, what="0 or 1 (or a proportion between) for the logistic loss")
        if np.ptp(target) == 0:
            raise ValueError(f"y has one class only (every value is {target.flat[0]:g}): nothing to fit")
