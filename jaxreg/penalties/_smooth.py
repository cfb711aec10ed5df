"""Smooth penalties: the absolute value, rounded off at zero over a width δ. They shrink, and keep every entry."""

import abc
import dataclasses
from typing import Any, Self

import jax
import jax.numpy as jnp
import numpy as np

from jaxreg import _check, _tree
from jaxreg._tree import PyTree
from jaxreg.penalties._base import Absolute, Separable, Smooth
from jaxreg.penalties._leafwise import as_type, frozen, unless_zero


class Rounded(Absolute, Separable, Smooth):
    """λ Σ w δ φ(b/δ) for an even convex φ with φ′(0) = 0, φ″ ≤ 1, and slopes that tend to ±1."""

    delta: Any

    @abc.abstractmethod
    def entry_slope(self, x: jax.Array) -> jax.Array:
        """Derivative φ′(x/δ)."""

    @abc.abstractmethod
    def entry_conjugate(self, slope: jax.Array) -> jax.Array:
        """δ φ*(slope), for slopes in [−1, 1]."""

    def _strength(self, w: jax.Array) -> jax.Array:
        return as_type(self.lam, w) * w

    def _width(self, x: jax.Array) -> jax.Array:
        return as_type(self.delta, x)

    @property
    def curvature(self) -> Any:
        """λ/δ times the largest weight."""
        return (
            self.lam
            / self.delta
            * (1.0 if self.weight is None else _tree.largest(jax.tree.map(jnp.asarray, self.weight)))
        )

    def entry_subdifferential(self, x: jax.Array, w: jax.Array) -> tuple[jax.Array, jax.Array]:
        """The derivative, twice."""
        slope = self._strength(w) * self.entry_slope(_tree.wide(x))
        return slope, slope

    def lam_max(self, grads: PyTree) -> jax.Array:
        """Infinite, unless the gradient is zero wherever there is a penalty."""
        weight = _tree.broadcast_weight(self.weight, grads)
        held = _tree.map_floats(lambda g, w: jnp.where((w > 0) & (g != 0), jnp.inf, jnp.zeros_like(w)), grads, weight)
        return _tree.largest(held)

    def conjugate(self, dual: PyTree) -> jax.Array:
        """Σ λwδ φ*(v/λw); infinite unless |v| ≤ λw (to rounding)."""
        weight = _tree.broadcast_weight(self.weight, dual)

        def one(v: jax.Array, w: jax.Array) -> jax.Array:
            t = self._strength(w)
            excess = jnp.abs(v) - t
            feasible = excess <= 8 * jnp.finfo(v.dtype).eps * jnp.abs(v)  # NaN is infeasible
            slope = jnp.clip(jnp.where(t > 0, v / jnp.where(t > 0, t, 1), 0), -1, 1)
            return jnp.where(feasible, t * self.entry_conjugate(slope), jnp.inf)

        return _tree.total(_tree.map_floats(lambda v, w: one(_tree.wide(v), w), dual, weight))

    def shrink(self, dual: PyTree) -> jax.Array:
        """min λw / |v|, at most 1."""
        weight = _tree.broadcast_weight(self.weight, dual)

        def excess(v: jax.Array, w: jax.Array) -> jax.Array:
            t = self._strength(w)
            outside = jnp.abs(v) > t
            return jnp.where(outside, jnp.abs(v), 0) / jnp.where(outside, t, 1)

        return 1 / jnp.maximum(_tree.largest(_tree.map_floats(excess, dual, weight)), 1)

    def at(self, lam: Any) -> Self:
        """Return the same penalty at strength `lam`."""
        return dataclasses.replace(self, lam=lam)  # type: ignore[type-var]


def _check_fields(penalty: Rounded) -> None:
    _check.number("lam", penalty.lam)
    _check.number("delta", penalty.delta, low=float(np.finfo(np.float32).tiny), what="positive and finite")
    _check.numbers("weight", penalty.weight)


@_tree.register
@dataclasses.dataclass(frozen=True)
class HuberizedL1(Rounded):
    """Huberized absolute value λ Σ w h(b): h(b) = b²/2δ up to |b| = δ, and |b| − δ/2 beyond.

    Args:
        lam: strength λ ≥ 0, the slope far from zero.
        delta: width δ > 0 of the round part; `L1` as it shrinks.
        weight: penalty factors w ≥ 0, as in `L1`.

    Raises:
        ValueError: if a number is outside its range, NaN or infinite.

    Prox: O(p), in closed form.

    Source: Huber (1964), "Robust estimation of a location parameter", Ann. Math. Statist. 35; it is the Moreau
    envelope of the absolute value.

    >>> HuberizedL1(1.0, delta=1.0).prox(jnp.array([-3.0, 0.5, 2.0]), 1.0)
    Array([-2.  ,  0.25,  1.  ], dtype=float32)
    """

    lam: Any = 1.0
    delta: Any = 1.0
    weight: PyTree = None

    def __post_init__(self) -> None:
        _check_fields(self)

    def entry_value(self, x: jax.Array, w: jax.Array) -> jax.Array:
        """λw h(x)."""
        size, width = jnp.abs(x), self._width(x)
        bent = jnp.minimum(size, width)
        return self._strength(w) * (0.5 * bent * (bent / width) + (size - bent))

    def entry_slope(self, x: jax.Array) -> jax.Array:
        """x/δ, clipped to [−1, 1]."""
        return jnp.clip(x / self._width(x), -1, 1)

    def entry_conjugate(self, slope: jax.Array) -> jax.Array:
        """δ slope²/2."""
        return 0.5 * self._width(slope) * slope**2

    def entry_prox(self, x: jax.Array, w: jax.Array, step: Any) -> jax.Array:
        """x / (1 + step·λw/δ) up to |x| = δ + step·λw; beyond, x moves by step·λw."""
        t, width = as_type(step, x) * self._strength(w), self._width(x)
        far = jnp.where(x < 0, x + t, x - t)
        return jnp.where(jnp.abs(x) <= width + t, x / (1 + t / width), far)


@_tree.register
@dataclasses.dataclass(frozen=True)
class PseudoHuber(Rounded):
    """Smooth absolute value λ Σ w(√(b² + δ²) − δ), which has derivatives of every order.

    The prox solves z + step·λw z/√(z² + δ²) = x by Newton's method from below, to full precision.

    Args:
        lam: strength λ ≥ 0, the slope far from zero.
        delta: width δ > 0 of the round part; `L1` as it shrinks.
        weight: penalty factors w ≥ 0, as in `L1`.

    Raises:
        ValueError: if a number is outside its range, NaN or infinite.

    Prox: O(p), by 8 steps of Newton's method for every entry.

    Source: Charbonnier, Blanc-Féraud, Aubert & Barlaud (1997), "Deterministic edge-preserving regularization in
    computed imaging", IEEE Trans. Image Process. 6.

    >>> PseudoHuber(1.0, delta=3.0).prox(jnp.array([-4.8, 0.0, 4.8]), 1.0)
    Array([-4.,  0.,  4.], dtype=float32)
    """

    lam: Any = 1.0
    delta: Any = 1.0
    weight: PyTree = None

    def __post_init__(self) -> None:
        _check_fields(self)

    def entry_value(self, x: jax.Array, w: jax.Array) -> jax.Array:
        """λw x² / (√(x² + δ²) + δ)."""
        sine, cosine = _angle(x, self._width(x))
        return self._strength(w) * x * sine / (1 + cosine)

    def entry_slope(self, x: jax.Array) -> jax.Array:
        """x/√(x² + δ²)."""
        return _angle(x, self._width(x))[0]

    def entry_conjugate(self, slope: jax.Array) -> jax.Array:
        """δ(1 − √(1 − slope²))."""
        rest = jnp.sqrt((1 - slope) * (1 + slope))
        return self._width(slope) * slope**2 / (1 + rest)

    def entry_prox(self, x: jax.Array, w: jax.Array, step: Any) -> jax.Array:
        """Return the root, of the sign of x."""
        t = as_type(step, x) * self._strength(w)
        return unless_zero(t, _root(x, t, self._width(x)), frozen(x))


# Iterations of Newton's method: its start is within a small factor of the root everywhere, so that 7 suffice.
NEWTON = 8


def _angle(x: jax.Array, width: jax.Array) -> tuple[jax.Array, jax.Array]:
    """x/√(x² + width²) and width/√(x² + width²), without overflow."""
    scale = frozen(jnp.maximum(jnp.abs(x), width))
    x, width = x / scale, width / scale
    length = jnp.sqrt(x**2 + width**2)
    return x / length, width / length


@jax.custom_jvp
def _root(x: jax.Array, t: jax.Array, width: jax.Array) -> jax.Array:
    """Root z of z + tz/√(z² + width²) = x, which is increasing and, where z ≥ 0, concave."""
    size = jnp.abs(x)
    # Lower bounds, each sharp somewhere: for large z the slope is below 1; for small z it is below z/width; where
    # x ≈ t it is below 1 − width²/2(z² + width²), which leaves a cubic inequality that these satisfy.
    product = jnp.cbrt(t / 8) * jnp.cbrt(width) ** 2
    short = jnp.maximum(t - size, 0)
    behind = jnp.sqrt(t / jnp.where(short > 0, short, 1) / 8) * width
    between = jnp.where(short > 0, jnp.minimum(product, behind), product)
    start = jnp.maximum(size - t, size / (1 + t / width))
    start = jnp.maximum(start, jnp.where(between >= width, between, 0))

    def closer(_: int, z: jax.Array) -> jax.Array:
        sine, cosine = _angle(z, width)
        return jnp.clip(z + (size - z - t * sine) / (1 + t * (cosine**3 / width)), start, size)

    z = jax.lax.fori_loop(0, NEWTON, closer, jnp.minimum(start, size))
    return jnp.where(x < 0, -z, z)


@_root.defjvp
def _derivative(primals: tuple[jax.Array, ...], tangents: tuple[jax.Array, ...]) -> tuple[jax.Array, jax.Array]:
    x, t, width = primals
    by_x, by_t, by_width = tangents
    z = _root(x, t, width)
    sine, cosine = _angle(z, width)
    turn = by_x - sine * by_t + t * sine * cosine**2 * (by_width / width)
    return z, turn / (1 + t * (cosine**3 / width))
