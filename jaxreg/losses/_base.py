"""What a loss is, and the kinds that differ from the plain one. All of these are abstract; losses are final."""

import abc
from typing import Any, Self

import jax
import jax.numpy as jnp
import numpy as np


class Loss(abc.ABC):
    """A convex function ℓ(η, y) of a prediction η (on the link scale) and a target y, sample by sample.

    Methods are elementwise in `pred` and `target`, which have equal shapes: `(n,)`, or `(n, k)` for k
    responses, which an `Objective` sums over. Kinds that are not elementwise say so by their type: `Joint`,
    whose outputs belong together, and `Coupled`, whose samples do. `Nonsmooth` has kinks.

    A target comes as users write it, and `encode` turns it into what all other methods take, but for `check`
    and `outputs`, which look at it as it was given. Both forms are the same unless a loss says otherwise.

    A subclass is a frozen dataclass registered as a pytree, whose numeric fields are array leaves; it is final.
    """

    @abc.abstractmethod
    def value(self, pred: jax.Array, target: Any) -> jax.Array:
        """ℓ(η, y), per sample."""

    @abc.abstractmethod
    def conjugate(self, dual: jax.Array, target: Any) -> jax.Array:
        """ℓ*(u, y) = sup_η uη − ℓ(η, y), per sample; infinite outside its domain (to rounding)."""

    @abc.abstractmethod
    def mean(self, pred: jax.Array) -> jax.Array:
        """Inverse link: the expected target at η."""

    @property
    @abc.abstractmethod
    def curvature(self) -> float:
        """Least upper bound of ∂²ℓ/∂η² over η and y; infinite if there is none."""

    @abc.abstractmethod
    def check(self, target: Any) -> None:
        """Refuse a target outside the loss's domain, or one that no model can learn from.

        Raises:
            ValueError: saying what was found and what was expected.
        """

    def link(self, mean: jax.Array) -> jax.Array:
        """Prediction whose `mean` is this: where a search for an intercept may start. 0 unless a loss knows it."""
        return jnp.zeros_like(mean)

    def outputs(self, target: Any) -> tuple[int, ...]:
        """Shape of one sample's prediction, for a target that passed `check`: () for a number, (k,) for k."""
        return np.shape(target)[1:]

    def encode(self, target: Any, pred: Any) -> Any:
        """Turn a target into what the methods take beside predictions of the shape and dtype of `pred`.

        What was encoded may be encoded again, and stays as it is.

        Raises:
            ValueError: if the shapes do not fit.
        """
        target = jnp.asarray(target)
        if pred.shape != target.shape:
            # Broadcasting (n, 1) against (n,) would silently fit the wrong thing.
            raise ValueError(f"predict returned shape {pred.shape}, but y has shape {target.shape}")
        return target.astype(pred.dtype)

    def weighing(self, sample_weight: jax.Array | None) -> "Loss":
        """Return the loss whose `value`, averaged under these sample weights, is what is minimized.

        It is the same loss, unless samples are coupled: see `Coupled`.
        """
        del sample_weight
        return self

    def derivative(self, pred: jax.Array, target: Any) -> jax.Array:
        """∂ℓ/∂η, per sample; by automatic differentiation unless a loss knows better."""
        return jax.grad(lambda eta: jnp.sum(self.value(eta, target)))(pred)

    def second_derivative(self, pred: jax.Array, target: Any) -> jax.Array:
        """∂²ℓ/∂η², per sample; by automatic differentiation unless a loss knows better."""
        return jax.grad(lambda eta: jnp.sum(self.derivative(eta, target)))(pred)

    def hessian_product(self, pred: jax.Array, target: Any, direction: jax.Array) -> jax.Array:
        """Change of `derivative` as predictions move in a direction: second derivative times direction."""
        return self.second_derivative(pred, target) * direction

    def deviance(self, pred: jax.Array, target: Any) -> jax.Array:
        """2(ℓ(η, y) − min_η ℓ(η, y)), per sample. The minimum over η is −ℓ*(0, y)."""
        return 2.0 * (self.value(pred, target) + self.conjugate(jnp.zeros_like(pred), target))


class Nonsmooth(Loss):
    """A loss with kinks, whose derivative jumps. Steps along gradients do not settle at its minimum.

    `derivative` is a subgradient, and `second_derivative` is that off the kinks. Solvers for it use `prox` and
    `conjugate`; with them the gap of primal and dual values is certified as for any other loss.
    """

    @abc.abstractmethod
    def prox(self, pred: jax.Array, target: jax.Array, step: Any) -> jax.Array:
        """argmin_z ½(z − η)² + step · ℓ(z, y), per sample."""

    @property
    def curvature(self) -> float:
        """Infinite: the derivative jumps."""
        return float("inf")


class Joint(Loss):
    """A loss of k outputs per sample that belong together: predictions are (..., k), and values (...).

    The conjugate takes (..., k) and gives (...). The second derivative is the diagonal of each sample's k × k
    Hessian, which `hessian_product` knows whole; the curvature bounds the largest eigenvalue of that.
    """

    def second_derivative(self, pred: jax.Array, target: Any) -> jax.Array:
        """Diagonal of the Hessian; by automatic differentiation unless a loss knows better."""

        def entry(unit: jax.Array) -> jax.Array:
            direction = jnp.broadcast_to(unit, pred.shape)
            return jnp.sum(self.hessian_product(pred, target, direction) * unit, axis=-1)

        return jax.vmap(entry, out_axes=-1)(jnp.eye(pred.shape[-1], dtype=pred.dtype))

    def hessian_product(self, pred: jax.Array, target: Any, direction: jax.Array) -> jax.Array:
        """Each sample's Hessian times direction; by automatic differentiation unless a loss knows better."""
        return jax.jvp(lambda eta: self.derivative(eta, target), (pred,), (direction.astype(pred.dtype),))[1]


class Coupled(Loss):
    """A loss whose samples belong together, so that weights act inside it as well as on its mean.

    Weights are given by `weighing` before anything else is asked; None is all 1. Then the weighted mean
    (1/Σw) Σᵢ wᵢ valueᵢ is what is minimized, its gradient in the predictions is (wᵢ / Σw) derivativeᵢ, and its
    Hessian takes a direction to (wᵢ / Σw) hessian_productᵢ, of which the second derivative is the diagonal. A sample
    of weight 0 is as good as absent. Predictions are (n,), all samples at once; batch by `jax.vmap`.
    """

    @abc.abstractmethod
    def weighing(self, sample_weight: jax.Array | None) -> Self:
        """Return the loss under these sample weights, (n,)."""

    def hessian_product(self, pred: jax.Array, target: Any, direction: jax.Array) -> jax.Array:
        """Row i of the Hessian, over wᵢ, times direction; by automatic differentiation of `derivative`."""
        return jax.jvp(lambda eta: self.derivative(eta, target), (pred,), (direction.astype(pred.dtype),))[1]


class ConstantTargetError(ValueError):
    """A target has one value only, which an intercept alone explains."""


def refuse_constant(target: np.ndarray) -> None:
    """Refuse a target that has one value only.

    Raises:
        ConstantTargetError: saying which.
    """
    if np.ptp(target) == 0:
        raise ConstantTargetError(f"y is constant (every value is {target.flat[0]:g}): nothing to fit")
