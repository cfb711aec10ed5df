"""Losses for outliers and for quantiles."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxreg import _check, _tree
from jaxreg.losses._base import Loss, Nonsmooth, refuse_constant


@_tree.register
@dataclasses.dataclass(frozen=True)
class Huber(Loss):
    """Huber loss of r = η − y: ½r² where |r| ≤ δ, and δ|r| − ½δ² beyond.

    Args:
        delta: δ > 0, in the units of y: residuals beyond it count linearly. The default, 1.35, has 95 %
            efficiency on Gaussian residuals of standard deviation 1; for others multiply it by (a robust
            estimate of) theirs. Unlike scikit-learn's `HuberRegressor`, no scale is fitted.

    Raises:
        ValueError: if delta is not positive and finite.

    Source: Huber (1964), "Robust estimation of a location parameter", Annals of Mathematical Statistics 35.

    >>> Huber(delta=1.0).value(jnp.array([0.5, 3.0]), jnp.array([0.0, 0.0]))
    Array([0.125, 2.5  ], dtype=float32)
    """

    delta: Any = 1.35

    def __post_init__(self) -> None:
        _check.number("delta", self.delta, low=np.finfo(float).tiny, what="positive and finite")

    def value(self, pred: jax.Array, target: jax.Array) -> jax.Array:
        """With c = r cut to [−δ, δ]: c(r − ½c)."""
        r = pred - target
        cut = self._cut(r)
        return cut * (r - 0.5 * cut)

    def derivative(self, pred: jax.Array, target: jax.Array) -> jax.Array:
        """r cut to [−δ, δ]."""
        return self._cut(pred - target)

    def second_derivative(self, pred: jax.Array, target: jax.Array) -> jax.Array:
        """1 where |r| ≤ δ, 0 beyond."""
        return jnp.where(jnp.abs(pred - target) <= self._delta(pred), 1, 0).astype(pred.dtype)

    def conjugate(self, dual: jax.Array, target: jax.Array) -> jax.Array:
        """½u² + uy for |u| ≤ δ (to rounding); infinite beyond."""
        inside = jnp.abs(dual) <= self._delta(dual) * (1 + 4 * jnp.finfo(dual.dtype).eps)
        return jnp.where(inside, dual * (0.5 * dual + target), jnp.inf)

    def mean(self, pred: jax.Array) -> jax.Array:
        """Identity link: the center of a symmetric distribution."""
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

    def _delta(self, like: jax.Array) -> jax.Array:
        return jnp.asarray(self.delta, like.dtype)

    def _cut(self, r: jax.Array) -> jax.Array:
        delta = self._delta(r)
        return jnp.clip(r, -delta, delta)


@_tree.register
@dataclasses.dataclass(frozen=True)
class Quantile(Nonsmooth):
    """Pinball loss of r = y − η: q·r where r ≥ 0, and (q − 1)·r where r < 0. Its minimizer is the q-quantile.

    With q = ½ it is half the absolute error. It has a kink at r = 0, so that it needs a solver for `Nonsmooth`
    losses, and no smooth approximation.

    Args:
        q: which quantile, strictly between 0 and 1.

    Raises:
        ValueError: if q is not strictly between 0 and 1.

    Source: Koenker & Bassett (1978), "Regression quantiles", Econometrica 46.

    >>> Quantile(q=0.75).value(jnp.array([0.0, 2.0]), jnp.array([1.0, 1.0]))
    Array([0.75, 0.25], dtype=float32)
    """

    q: Any = 0.5

    def __post_init__(self) -> None:
        low, high = np.finfo(float).tiny, 1 - np.finfo(float).epsneg
        _check.number("q", self.q, low=low, high=high, what="strictly between 0 and 1")

    def value(self, pred: jax.Array, target: jax.Array) -> jax.Array:
        """max(qr, (q − 1)r)."""
        r, (up, down) = target - pred, self._slopes(pred)
        return jnp.where(r < 0, -down * r, up * r)

    def derivative(self, pred: jax.Array, target: jax.Array) -> jax.Array:
        """−q where η < y, 1 − q where η > y, and of the subgradients at η = y the smallest, 0."""
        up, down = self._slopes(pred)
        return jnp.where(pred < target, -up, jnp.where(pred > target, down, 0))

    def second_derivative(self, pred: jax.Array, target: jax.Array) -> jax.Array:
        """0, off the kink."""
        return jnp.zeros_like(pred)

    def prox(self, pred: jax.Array, target: jax.Array, step: Any) -> jax.Array:
        """η moved towards y, by step·q at most on the way up and step·(1 − q) on the way down."""
        up, down = self._slopes(pred)
        return pred + jnp.clip(target - pred, -step * down, step * up)

    def conjugate(self, dual: jax.Array, target: jax.Array) -> jax.Array:
        """Product uy for −q ≤ u ≤ 1 − q (to rounding); infinite elsewhere."""
        up, down = self._slopes(dual)
        rounding = 4 * jnp.finfo(dual.dtype).eps
        inside = (dual >= -up * (1 + rounding)) & (dual <= down * (1 + rounding))
        return jnp.where(inside, dual * target, jnp.inf)

    def mean(self, pred: jax.Array) -> jax.Array:
        """Identity: the predicted quantile."""
        return pred

    def link(self, mean: jax.Array) -> jax.Array:
        """Identity."""
        return mean

    def check(self, target: np.ndarray) -> None:
        """Finite targets that are not constant."""
        _check.number("y", target, low=-np.inf)
        refuse_constant(target)

    def _slopes(self, like: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Slopes q of a prediction that is too low, and 1 − q of one that is too high."""
        q = jnp.asarray(self.q, like.dtype)
        return q, 1 - q
