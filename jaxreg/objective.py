"""Loss ∘ predict + penalty, and the one place where the scaling convention stands.

Everything in jaxreg minimizes (1/Σw) Σᵢ wᵢ ℓ(predᵢ, yᵢ) + g_λ(params), with ½ in every square. A dual point
is a vector u of per-sample derivatives; with v = −(1/Σw) Σᵢ wᵢ uᵢ xᵢ the dual value is
(1/Σw) Σᵢ wᵢ (uᵢoᵢ − ℓ*(uᵢ, yᵢ)) − g_λ*(v), for offsets o.
"""

from collections.abc import Callable
from typing import Any, Self

import jax
import jax.numpy as jnp

from jaxreg import _tree
from jaxreg._tree import PyTree
from jaxreg.losses import Loss
from jaxreg.penalties import Penalty


def weighted_mean(values: jax.Array, sample_weight: jax.Array | None) -> jax.Array:
    """(1/Σw) Σᵢ wᵢ valuesᵢ over the first axis, summed over any others."""
    per_sample = jnp.sum(values, axis=tuple(range(1, values.ndim)))
    if sample_weight is None:
        return jnp.mean(per_sample)
    return jnp.sum(sample_weight * per_sample) / jnp.sum(sample_weight)


def dual_value(
    loss: Loss,
    penalty: Penalty,
    dual: jax.Array,
    correlation: jax.Array,
    target: jax.Array,
    sample_weight: jax.Array,
    offset: jax.Array | float = 0.0,
) -> jax.Array:
    """Return the dual objective of a linear model at u = `dual`: a lower bound of the primal, for any u.

    Args:
        loss: with a conjugate.
        penalty: with a conjugate; where it has none the result is NaN.
        dual: u, shape (n,), orthogonal (in the sample weights) to every unpenalized column; (n, k) for k outputs.
        correlation: (1/Σw) Σᵢ wᵢ uᵢ xᵢ, shape (p,) or (p, k).
        target: y, as encoded by the loss.
        sample_weight: w, shape (n,).
        offset: o, of the shape of u, or 0.

    Source: Fenchel duality; Borwein & Lewis (2006), "Convex analysis and nonlinear optimization", theorem
    3.3.5.
    """
    fit = weighted_mean(dual * offset, sample_weight) - weighted_mean(loss.conjugate(dual, target), sample_weight)
    return fit - penalty.conjugate(-correlation)


def ray_gap(
    loss: Loss,
    penalty: Penalty,
    pred: jax.Array,
    target: Any,
    sample_weight: jax.Array | None,
    params: PyTree,
    gradient: PyTree,
    share: Any = None,
) -> jax.Array:
    """Bound how far a linear model is above its minimum, for any convex loss, with or without a conjugate.

    With u the derivatives at the fit, the dual point is s·u. By convexity ℓ*(s·u) ≤ s ℓ*(u) + (1 − s) ℓ*(0), where
    ℓ*(u) = uη − ℓ(η) and ℓ*(0) = −min ℓ, so that primal − dual is at most

        (1 − s) · ½ mean deviance + s ⟨v, b⟩ + g(b) + g*(−s v),

    v being the gradient. Like any duality gap it is a bound at any point, and 0 at a solution, where s = 1 will do.

    Args:
        loss: any `Loss`; of those in `Loss.deviance` the minimum must be known.
        penalty: with a conjugate; where it has none the result is NaN.
        pred: predictions η, linear in `params` but for an offset.
        target: y, encoded.
        sample_weight: w, (n,), or None.
        params: b.
        gradient: v, that of the mean loss in b; 0 where b is unpenalized, as it is at a minimum there.
        share: s in [0, 1]; unless given, the largest that `penalty.shrink` knows to be feasible.

    Source: Fenchel duality, as for `dual_value`.
    """
    excess = 0.5 * weighted_mean(loss.weighing(sample_weight).deviance(pred, target), sample_weight)
    downhill = _tree.map_floats(jnp.negative, gradient)
    s = penalty.shrink(downhill) if share is None else share
    conjugate = penalty.conjugate(_tree.map_floats(lambda v: s * v, downhill))
    return (1 - s) * excess + s * _tree.vdot(gradient, params) + penalty.value(params) + conjugate


@jax.tree_util.register_pytree_with_keys_class
class Objective:
    """Weighted mean loss plus penalty, over any parameter pytree.

    Args:
        loss: a `Loss`, used as loss(predict(params, X), y); or any function f(params, data) that returns the
            smooth part as a scalar.
        penalty: a `Penalty` on `params`. Members of a `Sum` that go to the gradient side are counted with the smooth
            part; `objective.penalty` is what is left for the prox, and `objective.whole` what was given.
        predict: predict(params, X) → predictions of the shape of y, (n, k) for k classes, or (n,) for `Cox`; needed
            for a `Loss`, and only for it.

    Functions are compared by identity when JAX decides whether to compile: define them once.

    Data are `(X, y)` or `(X, y, sample_weight)` for a `Loss`, and whatever the function takes otherwise.

    Raises:
        TypeError: if an argument is not of its kind, or `predict` is missing or out of place.

    >>> from jaxreg import L1, Squared
    >>> objective = Objective(Squared(), L1(0.5), lambda params, X: X @ params)
    >>> X, y = jnp.eye(2), jnp.array([2.0, 0.0])
    >>> float(objective.value(jnp.array([1.0, 0.0]), (X, y)))
    0.75
    """

    def __init__(
        self,
        loss: Loss | Callable[[PyTree, Any], jax.Array],
        penalty: Penalty,
        predict: Callable[[PyTree, Any], jax.Array] | None = None,
    ) -> None:
        if not isinstance(penalty, Penalty):
            raise TypeError(f"penalty must be a jaxreg penalty, got {penalty!r}")
        if isinstance(loss, Loss):
            if not callable(predict):
                raise TypeError("predict must be a function predict(params, X) when loss is a jaxreg loss")
        elif not callable(loss):
            raise TypeError(f"loss must be a jaxreg loss or a function f(params, data), got {loss!r}")
        elif predict is not None:
            raise TypeError("predict has no place beside a function f(params, data), which predicts by itself")
        self.loss, self.whole, self.predict = loss, penalty, predict

    @property
    def penalty(self) -> Penalty:
        """What solvers take by its prox."""
        return self.whole.prox_part

    def smooth(self, params: PyTree, data: Any) -> jax.Array:
        """Return the smooth part: (1/Σw) Σᵢ wᵢ ℓ(predᵢ, yᵢ), and that of the penalty if it has one.

        Raises:
            TypeError: if `data` is not as said for a `Loss`.
            ValueError: if predictions and targets, or weights, do not fit in shape.
        """
        return self.risk(params, data) + self.whole.smooth_value(params)

    def risk(self, params: PyTree, data: Any) -> jax.Array:
        """Return the loss alone: (1/Σw) Σᵢ wᵢ ℓ(predᵢ, yᵢ), or f(params, data)."""
        if self.predict is None:
            return self.loss(params, data)  # type: ignore[operator]
        assert isinstance(self.loss, Loss)
        if not isinstance(data, (tuple, list)) or len(data) not in (2, 3):
            # Unpacking an array would take its first rows for X and y.
            raise TypeError(f"data must be (X, y) or (X, y, sample_weight), got {type(data).__name__}: {data!r:.100}")
        X, target, *rest = data
        pred = self.predict(params, X)
        target = self.loss.encode(target, pred)
        weight = jnp.asarray(rest[0]) if rest else None
        if weight is not None and weight.shape != pred.shape[:1]:
            raise ValueError(f"sample_weight has shape {weight.shape}, expected {pred.shape[:1]}")
        return weighted_mean(self.loss.weighing(weight).value(pred, target), weight)

    def value(self, params: PyTree, data: Any) -> jax.Array:
        """Smooth part plus penalty."""
        return self.smooth(params, data) + self.penalty.value(params)

    def value_and_gradient(self, params: PyTree, data: Any) -> tuple[jax.Array, PyTree]:
        """Smooth part, and its gradient in the floating-point leaves, with None for all others."""
        floats, rest = _tree.partition(params)
        return jax.value_and_grad(lambda p: self.smooth(_tree.overlay(p, rest), data))(floats)

    def stationarity(self, params: PyTree, data: Any) -> jax.Array:
        """Largest absolute entry of the residual of 0 ∈ ∇smooth + ∂g_λ: zero at a solution."""
        grads = self.value_and_gradient(params, data)[1]
        return _tree.max_abs(self.penalty.residual(_tree.partition(params)[0], grads))

    def at(self, lam: Any) -> Self:
        """Return the same objective with its penalty at strength `lam`."""
        return type(self)(self.loss, self.whole.at(lam), self.predict)

    def tree_flatten_with_keys(self) -> tuple[Any, Any]:
        """Loss (if it is a pytree) and penalty are children; functions are structure."""
        key = jax.tree_util.GetAttrKey
        if isinstance(self.loss, Loss):
            return ((key("loss"), self.loss), (key("penalty"), self.whole)), (None, self.predict)
        return ((key("loss"), None), (key("penalty"), self.whole)), (self.loss, None)

    @classmethod
    def tree_unflatten(cls, functions: Any, children: Any) -> Self:
        """Rebuild without looking at the children, which may be placeholders of JAX."""
        objective = object.__new__(cls)
        loss, objective.whole = children
        function, objective.predict = functions
        objective.loss = loss if function is None else function
        return objective

    def __repr__(self) -> str:
        """Show the parts."""
        return f"Objective({self.loss!r}, {self.whole!r}, {self.predict!r})"
