"""Losses for several classes."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import xlogy

from jaxreg import _check, _tree
from jaxreg.losses._base import Joint


@_tree.register
@dataclasses.dataclass(frozen=True)
class Multinomial(Joint):
    """Multinomial logistic loss (softmax cross-entropy), ℓ(η, y) = log Σⱼ exp(ηⱼ) − η_y, for k classes.

    Targets are labels 0 … k − 1, of shape (n,), or shares of the classes, (n, k), whose rows sum to 1: a one-hot
    row is a label. Predictions are (n, k), and k is theirs to say. Adding a number to all of a sample's
    predictions changes nothing, so that coefficients are unique only up to what the penalty makes of that.

    Source: McCullagh & Nelder (1989), "Generalized linear models", chapter 5; glmnet's symmetric form is that of
    Friedman, Hastie & Tibshirani (2010), "Regularization paths for generalized linear models via coordinate
    descent", Journal of Statistical Software 33, section 4.

    >>> loss, pred = Multinomial(), jnp.zeros((2, 4))
    >>> loss.value(pred, loss.encode([3, 0], pred))  # log 4
    Array([1.3862944, 1.3862944], dtype=float32)
    """

    def outputs(self, target: Any) -> tuple[int, ...]:
        """(k,): the largest label plus 1, or the columns of shares."""
        target = np.asarray(target)
        return target.shape[1:] if target.ndim > 1 else (int(target.max()) + 1,)

    def encode(self, target: Any, pred: Any) -> jax.Array:
        """Labels become one-hot rows; one that is no class of the prediction becomes NaN, lest it pass unseen."""
        target = jnp.asarray(target)
        if len(pred.shape) != 2 or target.shape not in (pred.shape[:1], pred.shape):
            shapes = f"predict returned shape {pred.shape}, but y has shape {target.shape}"
            raise ValueError(f"{shapes}: expected (n, k), and labels (n,) or shares (n, k)")
        if target.ndim > 1:
            # Shares that were rounded in a lower precision would be outside the domain of the conjugate.
            target = target.astype(pred.dtype)
            total = jnp.sum(target, axis=1, keepdims=True)
            return jnp.where(jnp.abs(total - 1) > jnp.finfo(pred.dtype).eps * target.shape[1], target / total, target)
        classes = jnp.arange(pred.shape[1], dtype=target.dtype)
        chosen = target[:, None] == classes
        known = jnp.any(chosen, axis=1, keepdims=True)
        return jnp.where(known, chosen.astype(pred.dtype), jnp.nan)

    def value(self, pred: jax.Array, target: jax.Array) -> jax.Array:
        """log Σⱼ exp(ηⱼ) − Σⱼ yⱼηⱼ, without overflow: (..., k) → (...)."""
        # Relative to the largest, so that the difference of two large numbers is not taken.
        shifted = pred - jax.lax.stop_gradient(jnp.max(pred, axis=-1, keepdims=True))
        return jnp.log(jnp.sum(jnp.exp(shifted), axis=-1)) - jnp.sum(target * shifted, axis=-1)

    def derivative(self, pred: jax.Array, target: jax.Array) -> jax.Array:
        """softmax(η) − y."""
        return jax.nn.softmax(pred, axis=-1) - target

    def second_derivative(self, pred: jax.Array, target: jax.Array) -> jax.Array:
        """p(1 − p), for p = softmax(η), with 1 − p as the sum of the others: accurate in both tails."""
        p, others = self._shares(pred)
        return p * others

    def hessian_product(self, pred: jax.Array, target: jax.Array, direction: jax.Array) -> jax.Array:
        """p(v − Σⱼ pⱼvⱼ)."""
        p = jax.nn.softmax(pred, axis=-1)
        return p * (direction - jnp.sum(p * direction, axis=-1, keepdims=True))

    def conjugate(self, dual: jax.Array, target: jax.Array) -> jax.Array:
        """Σⱼ tⱼ log tⱼ with t = u + y, if t ≥ 0 and Σⱼ tⱼ = 1 (to rounding); infinite elsewhere."""
        t = dual + target
        rounding = 4 * jnp.finfo(t.dtype).eps
        off = jnp.abs(jnp.sum(t, axis=-1) - 1)
        inside = (jnp.min(t, axis=-1) >= -rounding) & (off <= rounding * t.shape[-1])
        t = jnp.maximum(t, 0)
        return jnp.where(inside, jnp.sum(xlogy(t, t), axis=-1), jnp.inf)

    def mean(self, pred: jax.Array) -> jax.Array:
        """Probabilities of the classes, softmax(η)."""
        return jax.nn.softmax(pred, axis=-1)

    def link(self, mean: jax.Array) -> jax.Array:
        """log p, less its mean over the classes."""
        logs = jnp.log(mean)
        return logs - jnp.mean(logs, axis=-1, keepdims=True)

    @property
    def curvature(self) -> float:
        """½, where two classes have all probability, half each."""
        return 0.5

    def check(self, target: Any) -> None:
        """Labels 0 … k − 1 of at least two classes, each of which occurs; or shares of classes, likewise."""
        array = np.asarray(target)
        if array.ndim not in (1, 2):
            raise ValueError(f"y must be labels (n,) or shares of classes (n, k), got shape {array.shape}")
        if array.ndim == 2:
            _check.number("y", array, high=1.0, what="shares of classes in [0, 1] for the multinomial loss")
            sums = array.sum(axis=1)
            astray = np.flatnonzero(np.abs(sums - 1) > 1e-6)
            if astray.size:
                raise ValueError(f"shares in y must sum to 1, got {sums[astray[0]]:g} in row {astray[0]}")
            size = array.sum(axis=0)
        else:
            _check.number("y", array, what="class labels 0, 1, 2, … for the multinomial loss")
            labels = array.astype(np.int64)
            if (labels != array).any():
                raise ValueError(f"y must be class labels 0, 1, 2, …, got {array[labels != array][0]:g}")
            size = np.bincount(labels)
        if size.size < 2:
            raise ValueError("y has one class only: nothing to fit")
        if not size.all():
            raise ValueError(f"y has no sample of class {int(np.argmin(size))}: label classes 0 … k − 1 without gaps")

    def _shares(self, pred: jax.Array) -> tuple[jax.Array, jax.Array]:
        """p = softmax(η), and 1 − p without cancellation where p is nearly 1."""
        shifted = pred - jnp.max(pred, axis=-1, keepdims=True)
        e = jnp.exp(shifted)
        total = jnp.sum(e, axis=-1, keepdims=True)
        largest = jax.nn.one_hot(jnp.argmax(pred, axis=-1), pred.shape[-1], dtype=pred.dtype)
        rest = jnp.sum(e * (1 - largest), axis=-1, keepdims=True)
        return e / total, jnp.where(largest > 0, rest, total - e) / total
