"""The elastic net and its two ends: L1 (lasso) and L2 (ridge)."""

import abc
import dataclasses
from typing import Any, Self

import jax
import jax.numpy as jnp

from jaxreg import _check, _tree
from jaxreg._tree import PyTree
from jaxreg.penalties._base import Absolute, Norm, Separable, Smooth


class Elastic(Absolute, Separable):
    """λ Σ w(r|b| + (1 − r)b²/2), for some mix r in [0, 1]: the formulas that L1, L2 and ElasticNet share."""

    @property
    @abc.abstractmethod
    def mix(self) -> Any:
        """Share r of the absolute value: 1 for L1, 0 for L2."""

    def kink_and_curvature(self, w: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Kink λwr and curvature λw(1 − r) of an entry with penalty factor w, in the precision of w."""
        strength, mix = _as(self.lam, w) * w, _as(self.mix, w)
        return strength * mix, strength * (1 - mix)

    def entry_value(self, x: jax.Array, w: jax.Array) -> jax.Array:
        """λw(r|x| + (1 − r)x²/2)."""
        kink, curvature = self.kink_and_curvature(w)
        return kink * jnp.abs(x) + 0.5 * curvature * jnp.square(x)

    def entry_prox(self, x: jax.Array, w: jax.Array, step: Any) -> jax.Array:
        """Soft threshold at step·λwr, then division by 1 + step·λw(1 − r)."""
        kink, curvature = self.kink_and_curvature(w)
        t = _as(step * kink, x)
        # With no threshold nothing is cut, so that the derivative at zero is that of a smooth map.
        moved = jnp.where((jnp.abs(x) <= t) & (t > 0), 0, jnp.where(x < 0, x + t, x - t))
        return moved / _as(1 + step * curvature, x)

    def entry_subdifferential(self, x: jax.Array, w: jax.Array) -> tuple[jax.Array, jax.Array]:
        """λw(r·sign(x) + (1 − r)x) off zero, [−λwr, λwr] at zero."""
        kink, curvature = self.kink_and_curvature(w)
        low = curvature * x + jnp.where(x > 0, kink, -kink)
        high = curvature * x + jnp.where(x < 0, -kink, kink)
        return low, high

    def lam_max(self, grads: PyTree) -> jax.Array:
        """max |gradient| / (w·r) over penalized entries; infinite for L2 unless the gradient is zero."""
        weight = _tree.broadcast_weight(self.weight, grads)

        def one(g: jax.Array, w: jax.Array) -> jax.Array:
            kink = w * _as(self.mix, w)
            needed = jnp.abs(g) / jnp.where(kink > 0, kink, 1)
            impossible = (kink == 0) & (w > 0) & (g != 0)
            return jnp.where(impossible, jnp.inf, jnp.where(kink > 0, needed, 0))

        return _tree.largest(_tree.map_floats(one, grads, weight))

    def conjugate(self, dual: PyTree) -> jax.Array:
        """Σ (|v| − λwr)₊² / (2λw(1 − r)); where w(1 − r) = 0, infinite unless |v| ≤ λwr (to rounding)."""
        weight = _tree.broadcast_weight(self.weight, dual)

        def one(v: jax.Array, w: jax.Array) -> jax.Array:
            kink, curvature = self.kink_and_curvature(w)
            excess = jnp.maximum(jnp.abs(v) - kink, 0)
            rounding = 8 * jnp.finfo(v.dtype).eps * jnp.abs(v)
            hard = jnp.where(excess <= rounding, 0.0, jnp.inf)  # NaN is infeasible
            return jnp.where(curvature > 0, 0.5 * excess**2 / jnp.where(curvature > 0, curvature, 1), hard)

        return _tree.total(_tree.map_floats(one, dual, weight))

    def shrink(self, dual: PyTree) -> jax.Array:
        """min λwr / |v|, at most 1: the conjugate is 0 there."""
        weight = _tree.broadcast_weight(self.weight, dual)

        def excess(v: jax.Array, w: jax.Array) -> jax.Array:
            kink, _ = self.kink_and_curvature(w)
            outside = jnp.abs(v) > kink
            return jnp.where(outside, jnp.abs(v), 0) / jnp.where(outside, kink, 1)

        return 1 / jnp.maximum(_tree.largest(_tree.map_floats(excess, dual, weight)), 1)

    def at(self, lam: Any) -> Self:
        """Return the same penalty at strength `lam`."""
        return dataclasses.replace(self, lam=lam)  # type: ignore[type-var]


def _as(value: Any, like: jax.Array) -> jax.Array:
    return jnp.asarray(value, like.dtype)


def _check_fields(penalty: Elastic) -> None:
    _check.number("lam", penalty.lam)
    _check.numbers("weight", penalty.weight)


@_tree.register
@dataclasses.dataclass(frozen=True)
class L1(Elastic, Norm):
    """Lasso penalty λ Σ w|b|, which sets entries exactly to zero.

    Args:
        lam: strength λ ≥ 0.
        weight: penalty factors w ≥ 0: None (all 1), an array that broadcasts to the parameters, or a tree of
            such arrays; 0 leaves an entry unpenalized.

    Raises:
        ValueError: if a number is negative, NaN or infinite.

    Prox: O(p), in closed form.

    Source: Tibshirani (1996), "Regression shrinkage and selection via the lasso", JRSS B 58.

    >>> L1(1.0).prox(jnp.array([-3.0, 0.5, 2.0]), 1.0)
    Array([-2.,  0.,  1.], dtype=float32)
    """

    lam: Any = 1.0
    weight: PyTree = None

    def __post_init__(self) -> None:
        _check_fields(self)

    @property
    def mix(self) -> float:
        """1: absolute value only."""
        return 1.0

    def dual_norm(self, dual: PyTree) -> jax.Array:
        """max |v| / w; infinite where w = 0 and v ≠ 0."""
        weight = _tree.broadcast_weight(self.weight, dual)

        def one(v: jax.Array, w: jax.Array) -> jax.Array:
            return jnp.where((w == 0) & (v != 0), jnp.inf, jnp.abs(v) / jnp.where(w > 0, w, 1))

        return _tree.largest(_tree.map_floats(one, dual, weight))


@_tree.register
@dataclasses.dataclass(frozen=True)
class L2(Elastic, Smooth):
    """Ridge penalty λ/2 Σ wb², which shrinks entries and keeps them all.

    Args:
        lam: strength λ ≥ 0.
        weight: penalty factors w ≥ 0, as in `L1`.

    Raises:
        ValueError: if a number is negative, NaN or infinite.

    Prox: O(p), in closed form.

    Source: Hoerl & Kennard (1970), "Ridge regression", Technometrics 12.

    >>> L2(1.0).prox(jnp.array([-3.0, 0.5, 2.0]), 1.0)
    Array([-1.5 ,  0.25,  1.  ], dtype=float32)
    """

    lam: Any = 1.0
    weight: PyTree = None

    def __post_init__(self) -> None:
        _check_fields(self)

    @property
    def mix(self) -> float:
        """0: square only."""
        return 0.0

    @property
    def curvature(self) -> Any:
        """λ times the largest weight."""
        return self.lam * (1.0 if self.weight is None else _tree.largest(jax.tree.map(jnp.asarray, self.weight)))


@_tree.register
@dataclasses.dataclass(frozen=True)
class ElasticNet(Elastic):
    """Elastic net λ Σ w(r|b| + (1 − r)b²/2): selects like L1, and shares weight among correlated entries.

    Args:
        lam: strength λ ≥ 0.
        l1_ratio: mix r in [0, 1]; 1 is `L1`, 0 is `L2`.
        weight: penalty factors w ≥ 0, as in `L1`.

    Raises:
        ValueError: if a number is outside its range, NaN or infinite.

    Prox: O(p), in closed form.

    Source: Zou & Hastie (2005), "Regularization and variable selection via the elastic net", JRSS B 67.

    >>> ElasticNet(1.0, l1_ratio=0.5).prox(jnp.array([-3.5, 0.5, 2.0]), 1.0)
    Array([-2.,  0.,  1.], dtype=float32)
    """

    lam: Any = 1.0
    l1_ratio: Any = 0.5
    weight: PyTree = None

    def __post_init__(self) -> None:
        _check_fields(self)
        _check.number("l1_ratio", self.l1_ratio, high=1.0)

    @property
    def mix(self) -> Any:
        """The l1_ratio."""
        return self.l1_ratio
