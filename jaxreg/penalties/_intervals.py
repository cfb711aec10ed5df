"""Constraints that hold entry by entry."""

import abc
import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxreg import _check, _tree
from jaxreg._tree import PyTree
from jaxreg.penalties._base import Absolute, Constraint, Separable


class Interval(Constraint, Separable):
    """lower ≤ b ≤ upper, entry by entry. What `Separable` calls w are the two bounds, one after the other.

    Bounds are rounded to the precision of the parameters.
    """

    weight = None

    @abc.abstractmethod
    def bounds(self) -> tuple[PyTree, PyTree]:
        """Lower and upper bound: each a number, an array that broadcasts to the parameters, or a tree of these."""

    def factors(self, params: PyTree) -> PyTree:
        """Bounds of every entry, (2, ...) for a leaf."""
        lower, upper = self.bounds()
        low = _tree.broadcast_weight(lower, params, "lower", -jnp.inf)
        high = _tree.broadcast_weight(upper, params, "upper", jnp.inf)

        def one(x: jax.Array, low: jax.Array, high: jax.Array) -> jax.Array:
            _check.order("lower", low, "upper", high)
            pair = [jnp.broadcast_to(bound, x.shape) for bound in (low, high)]
            return _tree.wide(jnp.stack(pair).astype(x.dtype))

        return _tree.map_floats(one, params, low, high)

    def entry_value(self, x: jax.Array, w: jax.Array) -> jax.Array:
        """0 within the bounds, infinite beyond."""
        return jnp.where((x >= w[0]) & (x <= w[1]), 0, jnp.inf).astype(x.dtype)

    def entry_prox(self, x: jax.Array, w: jax.Array, step: Any) -> jax.Array:
        """Closest point in the interval."""
        del step
        return jnp.where((x < w[0]) | ((w[0] == w[1]) & (x == x)), w[0], jnp.where(x > w[1], w[1], x))

    def entry_subdifferential(self, x: jax.Array, w: jax.Array) -> tuple[jax.Array, jax.Array]:
        """(−∞, 0] at the lower bound, [0, ∞) at the upper one, {0} in between; outside, out of reach."""
        outside = ~((x >= w[0]) & (x <= w[1]))
        low = jnp.where(outside | (x == w[0]), -jnp.inf, 0)
        return low.astype(w.dtype), jnp.where(outside, -jnp.inf, jnp.where(x == w[1], jnp.inf, 0)).astype(w.dtype)

    def conjugate(self, dual: PyTree) -> jax.Array:
        """Σ max(lower · v, upper · v)."""

        def one(v: jax.Array, w: jax.Array) -> jax.Array:
            bound = jnp.where(v > 0, w[1], w[0])
            return jnp.where(v == 0, 0, v * jnp.where(v == 0, 0, bound))

        return _tree.total(_tree.map_floats(lambda v, w: one(_tree.wide(v), w), dual, self.factors(dual)))

    def shrink(self, dual: PyTree) -> jax.Array:
        """0 if `dual` points to where there is no bound, else 1."""

        def one(v: jax.Array, w: jax.Array) -> jax.Array:
            return jnp.where(((v > 0) & (w[1] == jnp.inf)) | ((v < 0) & (w[0] == -jnp.inf)), 1.0, 0.0).astype(w.dtype)

        return 1 - _tree.largest(_tree.map_floats(one, dual, self.factors(dual)))


@_tree.register
@dataclasses.dataclass(frozen=True)
class NonNegative(Interval):
    """b ≥ 0, entry by entry.

    Prox: O(p), in closed form.

    Source: Lawson & Hanson (1974), "Solving least squares problems", chapter 23.

    >>> NonNegative().prox(jnp.array([-3.0, 0.5, 2.0]), 1.0)
    Array([0. , 0.5, 2. ], dtype=float32)
    """

    def bounds(self) -> tuple[PyTree, PyTree]:
        """0 and infinity."""
        return 0.0, jnp.inf


@_tree.register
@dataclasses.dataclass(frozen=True)
class Box(Interval):
    """lower ≤ b ≤ upper, entry by entry.

    Args:
        lower: lower bounds: a number, an array that broadcasts to the parameters, or a tree of such arrays; −∞
            leaves an entry unbounded.
        upper: upper bounds, likewise; at least `lower`.

    Raises:
        ValueError: if a bound is NaN, or an upper bound below the lower one.

    Prox: O(p), in closed form.

    Source: Bertsekas (1982), "Projected Newton methods for optimization problems with simple constraints", SIAM J.
    Control Optim. 20.

    >>> Box(-1.0, 2.0).prox(jnp.array([-3.0, 0.5, 2.5]), 1.0)
    Array([-1. ,  0.5,  2. ], dtype=float32)
    """

    lower: PyTree = -np.inf
    upper: PyTree = np.inf

    def __post_init__(self) -> None:
        for name, bounds in (("lower", self.lower), ("upper", self.upper)):
            for bound in jax.tree.leaves(bounds):
                _check.number(name, bound, low=-np.inf, what="a number, or infinite", finite=False)
        # Two trees that differ are compared when the parameters say how they meet.
        below, above = jax.tree.structure(self.lower), jax.tree.structure(self.upper)
        if below is not None and below == above:
            jax.tree.map(lambda low, high: _check.order("lower", low, "upper", high), self.lower, self.upper)

    def bounds(self) -> tuple[PyTree, PyTree]:
        """As given."""
        return self.lower, self.upper


@_tree.register
@dataclasses.dataclass(frozen=True)
class LInfBall(Interval, Absolute):
    """max |b| ≤ radius, over all entries of all parameters; that is, every |b| ≤ radius.

    Args:
        radius: at least 0.

    Raises:
        ValueError: if it is negative, NaN or infinite.

    Prox: O(p), in closed form.

    Source: Parikh & Boyd (2014), "Proximal algorithms", Found. Trends Optim. 1, section 6.5.

    >>> LInfBall(1.0).prox(jnp.array([-3.0, 0.5]), 1.0)
    Array([-1. ,  0.5], dtype=float32)
    """

    radius: Any = 1.0

    def __post_init__(self) -> None:
        _check.number("radius", self.radius)

    def bounds(self) -> tuple[PyTree, PyTree]:
        """−radius and radius."""
        return -self.radius, self.radius
