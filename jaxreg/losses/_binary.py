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

    Source: McCullagh & Nelder (1989), "Generalized linear models", chapter 4.

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

    def link(self, mean: jax.Array) -> jax.Array:
        """log(p/(1 − p))."""
        return jnp.log(mean) - jnp.log1p(-mean)

    @property
    def curvature(self) -> float:
        """¼, at η = 0."""
        return 0.25

    def check(self, target: np.ndarray) -> None:
        """Targets in [0, 1], of both classes."""
        _check.number("y", target, high=1.0, what="0 or 1 (or a proportion between) for the logistic loss")
        _refuse_one_class(target)


@_tree.register
@dataclasses.dataclass(frozen=True)
class SquaredHinge(Loss):
    """Squared hinge loss, ℓ(η, y) = ½(1 − sη)₊², with the sign s = 2y − 1 of a class y in {0, 1}.

    Classes are 0 and 1, as for `Logistic`. A proportion y in [0, 1] is y samples of class 1 and 1 − y of class
    0: ½y(1 − η)₊² + ½(1 − y)(1 + η)₊². The prediction that minimizes it is η = 2y − 1.

    Source: Chang, Hsieh & Lin (2008), "Coordinate descent method for large-scale L2-loss linear support vector
    machines", JMLR 9. The probability is that of Zhang (2004), "Statistical behavior and consistency of
    classification methods based on convex risk minimization", Annals of Statistics 32.

    >>> SquaredHinge().value(jnp.array([-1.0, 0.0, 1.5]), jnp.array([1.0, 1.0, 1.0]))
    Array([2. , 0.5, 0. ], dtype=float32)
    """

    def value(self, pred: jax.Array, target: jax.Array) -> jax.Array:
        """½y(1 − η)₊² + ½(1 − y)(1 + η)₊²."""
        low, high = jnp.maximum(1 - pred, 0), jnp.maximum(1 + pred, 0)
        return 0.5 * (target * jnp.square(low) + (1 - target) * jnp.square(high))

    def derivative(self, pred: jax.Array, target: jax.Array) -> jax.Array:
        """(1 − y)(1 + η)₊ − y(1 − η)₊."""
        return (1 - target) * jnp.maximum(1 + pred, 0) - target * jnp.maximum(1 - pred, 0)

    def second_derivative(self, pred: jax.Array, target: jax.Array) -> jax.Array:
        """y where η < 1, and 1 − y where η > −1, summed."""
        return jnp.where(pred < 1, target, 0) + jnp.where(pred > -1, 1 - target, 0)

    def conjugate(self, dual: jax.Array, target: jax.Array) -> jax.Array:
        """½u² + u for −2 ≤ u ≤ 0 and beyond, if y = 1; by the inverse of the derivative in general.

        Infinite above 0 if y = 1, and below 0 if y = 0 (to rounding).
        """
        rounding = 4 * jnp.finfo(dual.dtype).eps
        inside = ((target > 0) | (dual >= -rounding)) & ((target < 1) | (dual <= rounding))
        # The derivative rises in three pieces, of slopes y, 1 and 1 − y, that meet at η = ∓1.
        middle = jnp.clip(dual - 1 + 2 * target, -1, 1)
        below = jnp.minimum(dual + 2 * target, 0) / jnp.where(target > 0, target, 1)
        above = jnp.maximum(dual - 2 * (1 - target), 0) / jnp.where(target < 1, 1 - target, 1)
        best = middle + jnp.where(target > 0, below, 0) + jnp.where(target < 1, above, 0)
        return jnp.where(inside, dual * best - self.value(best, target), jnp.inf)

    def mean(self, pred: jax.Array) -> jax.Array:
        """Probability of class 1 at which η would be the best prediction: ½(1 + η), cut to [0, 1]."""
        return jnp.clip(0.5 * (1 + pred), 0, 1)

    def link(self, mean: jax.Array) -> jax.Array:
        """2p − 1."""
        return 2 * mean - 1

    @property
    def curvature(self) -> float:
        """1."""
        return 1.0

    def check(self, target: np.ndarray) -> None:
        """Targets in [0, 1], of both classes."""
        _check.number("y", target, high=1.0, what="0 or 1 (or a proportion between) for the squared hinge loss")
        _refuse_one_class(target)


def _refuse_one_class(target: np.ndarray) -> None:
    if np.ptp(target) == 0:
        raise ValueError(f"y has one class only (every value is {target.flat[0]:g}): nothing to fit")
