"""What a loss is."""

import abc

import jax
import jax.numpy as jnp
import numpy as np


class Loss(abc.ABC):
    """A convex function ℓ(η, y) of a prediction η (on the link scale) and a target y, sample by sample.

    Methods are elementwise in `pred` and `target`, which have equal shapes: `(n,)`, or `(n, k)` for k
    responses, which an `Objective` sums over. A subclass is a frozen dataclass registered as a pytree, whose
    numeric fields are array leaves; it is final.
    """

    @abc.abstractmethod
    def value(self, pred: jax.Array, target: jax.Array) -> jax.Array:
        """ℓ(η, y), per sample."""

    @abc.abstractmethod
    def conjugate(self, dual: jax.Array, target: jax.Array) -> jax.Array:
        """ℓ*(u, y) = sup_η uη − ℓ(η, y), per sample; infinite outside its domain (to rounding)."""

    @abc.abstractmethod
    def mean(self, pred: jax.Array) -> jax.Array:
        """Inverse link: the expected target at η."""

    @property
    @abc.abstractmethod
    def curvature(self) -> float:
        """Least upper bound of ∂²ℓ/∂η² over η and y; infinite if there is none."""

    @abc.abstractmethod
    def check(self, target: np.ndarray) -> None:
        """Refuse a target outside the loss's domain, or one that no model can learn from.

        Raises:
            ValueError: saying what was found and what was expected.
        """

    def derivative(self, pred: jax.Array, target: jax.Array) -> jax.Array:
        """∂ℓ/∂η, per sample; by automatic differentiation unless a loss knows better."""
        return jax.grad(lambda eta: jnp.sum(self.value(eta, target)))(pred)

    def second_derivative(self, pred: jax.Array, target: jax.Array) -> jax.Array:
        """∂²ℓ/∂η², per sample; by automatic differentiation unless a loss knows better."""
        return jax.grad(lambda eta: jnp.sum(self.derivative(eta, target)))(pred)

    def deviance(self, pred: jax.Array, target: jax.Array) -> jax.Array:
        """2(ℓ(η, y) − min_η ℓ(η, y)), per sample. The minimum over η is −ℓ*(0, y)."""
        return 2.0 * (self.value(pred, target) + self.conjugate(jnp.zeros_like(pred), target))
