"""Constraints that bind all entries together: the simplex, and balls."""

import abc
import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp

from jaxreg import _check, _tree
from jaxreg._tree import PyTree
from jaxreg.penalties._base import Absolute, Constraint


class Joint(Constraint):
    """A constraint on all entries of all floating-point parameters together, taken as one vector.

    It is one vector as for the norms: `L1Ball` bounds what `L1` penalizes. For one set a leaf, give each leaf its
    own by `Blocks`; `Masked` takes leaves out of the vector. Members describe the vector, in the widest precision
    of the leaves, and in at least float32.
    """

    radius: Any

    @abc.abstractmethod
    def project(self, x: jax.Array) -> jax.Array:
        """Closest point of the set."""

    @abc.abstractmethod
    def excess(self, x: jax.Array) -> jax.Array:
        """How far x is outside of the set, relative to the radius, up to rounding of the entries."""

    @abc.abstractmethod
    def tangent(self, x: jax.Array, y: jax.Array, slack: float) -> jax.Array:
        """Project y onto the tangent cone at x, a point that is in the set up to the relative `slack`."""

    @abc.abstractmethod
    def support(self, v: jax.Array) -> jax.Array:
        """sup ⟨v, b⟩ over the set."""

    def value(self, params: PyTree) -> jax.Array:
        """0 in the set, up to rounding, and infinite outside."""
        x = _flat(params)
        return jnp.where(self.excess(x) <= _slack(params), 0, jnp.inf).astype(x.dtype)

    def prox(self, params: PyTree, step: Any) -> PyTree:
        """Projection, whatever the step."""
        del step
        return _split(self.project(_flat(params)), params)

    def residual(self, params: PyTree, grads: PyTree) -> PyTree:
        """Projection of −grads onto the tangent cone; infinite outside of the set."""
        grads = _tree.map_floats(lambda x, grad: _tree.wide(grad), params, grads)
        x, y, slack = _flat(params), -_flat(grads), _slack(params)
        way = self.tangent(x, y, slack)
        return _split(jnp.where(self.excess(x) <= slack, way, jnp.inf), grads)

    def conjugate(self, dual: PyTree) -> jax.Array:
        """Return the support function."""
        return self.support(_flat(dual))

    def shrink(self, dual: PyTree) -> jax.Array:
        """1: a bounded set has a finite support function."""
        return jnp.ones((), _flat(dual).dtype)


def _flat(tree: PyTree) -> jax.Array:
    """All floating-point entries, one after another."""
    return jnp.concatenate([jnp.zeros(0, jnp.float32), *(jnp.ravel(_tree.wide(leaf)) for leaf in _tree.floats(tree))])


def _split(x: jax.Array, tree: PyTree) -> PyTree:
    """Put the entries where they belong, in the precision of each leaf."""
    start = 0

    def one(leaf: jax.Array) -> jax.Array:
        nonlocal start
        part, start = x[start : start + leaf.size], start + leaf.size
        return part.reshape(leaf.shape).astype(leaf.dtype)

    return _tree.map_floats(one, tree)


def _slack(tree: PyTree) -> float:
    """Relative rounding of a sum over the entries, in the coarsest precision that there is."""
    coarsest = max((float(jnp.finfo(jnp.result_type(leaf)).eps) for leaf in _tree.floats(tree)), default=0.0)
    return 4 * coarsest * (1 + _tree.size(tree) ** 0.5)


def _water(y: jax.Array, always: jax.Array | bool, total: Any) -> jax.Array:
    """Pour y out down to the level at which a given total stands above it: y − level, or 0 below.

    The level solves Σ (y − level)₊ = total, where of the entries in `always` also the negative part counts. This is
    the projection onto a simplex, and onto its tangent cones.

    Source: Held, Wolfe & Crowder (1974), "Validation of subgradient optimization", Math. Program. 6, by sorting.
    """
    always, fixed = jnp.broadcast_to(always, y.shape), jax.lax.stop_gradient(y)
    order = jnp.lexsort((-fixed, ~always))
    sums, counts = jnp.cumsum(fixed[order]), jnp.arange(1, y.size + 1)
    total = jnp.asarray(total, y.dtype)
    above = always[order] | (fixed[order] * counts > sums - jax.lax.stop_gradient(total))
    chosen = jnp.zeros(y.shape, bool).at[order].set(above)
    for _ in range(2):
        # Of the running sums only the choice is used, and corrected once: they round, as this mean does not.
        count = jnp.sum(chosen)
        level = (jnp.sum(jnp.where(chosen, y, 0)) - total) / jnp.where(count > 0, count, 1)
        level = jnp.where(count > 0, level, jnp.max(y, initial=-jnp.inf))
        chosen = always | (fixed > jax.lax.stop_gradient(level))
    return jnp.where(chosen, y - level, jnp.where(jnp.isnan(level), level, 0))


def _simplex(x: jax.Array, radius: jax.Array) -> jax.Array:
    """Project onto {b ≥ 0, Σb = radius}; shifted first, so that huge numbers neither overflow nor cancel."""
    top = jax.lax.stop_gradient(jnp.max(x, initial=-jnp.inf))
    return _water(jnp.maximum(x - top, -radius), False, radius)


@_tree.register
@dataclasses.dataclass(frozen=True)
class Simplex(Joint):
    """b ≥ 0, Σb = radius, over all entries of all parameters together.

    Args:
        radius: at least 0; 1 for the probability simplex.

    Raises:
        ValueError: if it is negative, NaN or infinite.

    Prox: O(p log p), exact by sorting.

    Source: Duchi, Shalev-Shwartz, Singer & Chandra (2008), "Efficient projections onto the ℓ₁-ball", ICML.

    >>> Simplex().prox(jnp.array([0.75, 0.5, -1.0]), 1.0)
    Array([0.625, 0.375, 0.   ], dtype=float32)
    """

    radius: Any = 1.0

    def __post_init__(self) -> None:
        _check.number("radius", self.radius)

    def project(self, x: jax.Array) -> jax.Array:
        """x minus a level, at least 0."""
        return _simplex(x, jnp.asarray(self.radius, x.dtype))

    def excess(self, x: jax.Array) -> jax.Array:
        """|Σx − radius| / radius; infinite with a negative entry."""
        off = _over(jnp.abs(jnp.sum(x) - self.radius), self.radius)
        return jnp.where(jnp.all(x >= 0), off, jnp.inf)

    def tangent(self, x: jax.Array, y: jax.Array, slack: float) -> jax.Array:
        """y minus a level, at least 0 where x is 0; the sum is 0."""
        return _water(y, x > 0, 0.0)

    def support(self, v: jax.Array) -> jax.Array:
        """radius · max v."""
        return _times(self.radius, jnp.max(v, initial=-jnp.inf))


@_tree.register
@dataclasses.dataclass(frozen=True)
class L1Ball(Joint, Absolute):
    """Σ|b| ≤ radius, over all entries of all parameters together: the lasso's other form.

    Args:
        radius: at least 0.

    Raises:
        ValueError: if it is negative, NaN or infinite.

    Prox: O(p log p), exact by sorting.

    Source: Duchi, Shalev-Shwartz, Singer & Chandra (2008), "Efficient projections onto the ℓ₁-ball", ICML.

    >>> L1Ball(2.0).prox(jnp.array([-3.0, 0.5, 2.0]), 1.0)
    Array([-1.5,  0. ,  0.5], dtype=float32)
    """

    radius: Any = 1.0

    def __post_init__(self) -> None:
        _check.number("radius", self.radius)

    def project(self, x: jax.Array) -> jax.Array:
        """x itself inside; outside, |x| on the simplex, with the signs of x."""
        size = jnp.abs(x)
        surface = jnp.sign(x) * _simplex(size, jnp.asarray(self.radius, x.dtype))
        return jnp.where(jnp.sum(size) <= self.radius, x, surface)

    def excess(self, x: jax.Array) -> jax.Array:
        """Σ|x| / radius − 1."""
        return _over(jnp.sum(jnp.abs(x)) - self.radius, self.radius)

    def tangent(self, x: jax.Array, y: jax.Array, slack: float) -> jax.Array:
        """y inside; on the surface y minus a level ≥ 0 in the directions that go outside."""
        out = jnp.where(x == 0, jnp.abs(y), y * jnp.sign(x))
        along = jnp.where(x == 0, jnp.sign(y), jnp.sign(x)) * _water(out, x != 0, 0.0)
        return jnp.where((self.excess(x) >= -slack) & (jnp.sum(out) > 0), along, y)

    def support(self, v: jax.Array) -> jax.Array:
        """radius · max |v|."""
        return _times(self.radius, jnp.max(jnp.abs(v), initial=0))


@_tree.register
@dataclasses.dataclass(frozen=True)
class L2Ball(Joint, Absolute):
    """‖b‖₂ ≤ radius, over all entries of all parameters together.

    Args:
        radius: at least 0.

    Raises:
        ValueError: if it is negative, NaN or infinite.

    Prox: O(p), in closed form.

    Source: Parikh & Boyd (2014), "Proximal algorithms", Found. Trends Optim. 1, section 6.5.

    >>> L2Ball(5.0).prox(jnp.array([6.0, -8.0]), 1.0)
    Array([ 3., -4.], dtype=float32)
    """

    radius: Any = 1.0

    def __post_init__(self) -> None:
        _check.number("radius", self.radius)

    def project(self, x: jax.Array) -> jax.Array:
        """x itself inside; outside, x scaled to the radius."""
        way, length = _direction(x)
        return jnp.where(length <= self.radius, x, way * jnp.asarray(self.radius, x.dtype))

    def excess(self, x: jax.Array) -> jax.Array:
        """‖x‖ / radius − 1."""
        return _over(_direction(x)[1] - self.radius, self.radius)

    def tangent(self, x: jax.Array, y: jax.Array, slack: float) -> jax.Array:
        """y inside; on the surface y without what goes outside."""
        way = _direction(x)[0]
        along = jnp.where(jnp.asarray(self.radius) > 0, y - jnp.maximum(jnp.sum(way * y), 0) * way, 0)
        return jnp.where(self.excess(x) >= -slack, along, y)

    def support(self, v: jax.Array) -> jax.Array:
        """radius · ‖v‖."""
        return _times(self.radius, _direction(v)[1])


def _direction(x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """x/‖x‖, or 0, and ‖x‖, without overflow."""
    top = jax.lax.stop_gradient(jnp.max(jnp.abs(x), initial=0))
    # By powers of two, which round nothing, and in two steps, since the inverse of a huge number is flushed to zero.
    exponent = jnp.frexp(top)[1]
    half = exponent // 2
    down = (jnp.ldexp(jnp.ones_like(top), power) for power in (-half, half - exponent))
    up = (jnp.ldexp(jnp.ones_like(top), power) for power in (half, exponent - half))
    unit = functools.reduce(jnp.multiply, down, x)
    nonzero = top != 0  # NaN passes on
    length = jnp.sqrt(jnp.sum(jnp.where(nonzero, unit, 1) ** 2) + (x.size == 0))
    return unit / length, jnp.where(nonzero, functools.reduce(jnp.multiply, up, length), 0)


def _over(gap: jax.Array, radius: Any) -> jax.Array:
    """gap/radius; for a radius of 0, infinite or 0."""
    radius = jnp.asarray(radius, gap.dtype)
    return jnp.where(radius > 0, gap / jnp.where(radius > 0, radius, 1), jnp.where(gap > 0, jnp.inf, 0))


def _times(radius: Any, size: jax.Array) -> jax.Array:
    """radius · size; 0 for a radius of 0."""
    return jnp.asarray(radius, size.dtype) * size
