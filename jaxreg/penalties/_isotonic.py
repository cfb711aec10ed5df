"""Isotonic regression, and the constraint that it projects onto."""

import dataclasses
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxreg import _tree
from jaxreg._tree import PyTree
from jaxreg.penalties._base import Constraint, Differences
from jaxreg.penalties._chain import chain_prox
from jaxreg.penalties._leafwise import frozen


@jax.jit
def isotonic(v: jax.Array, tied: jax.Array | None = None) -> jax.Array:
    """Return the closest nondecreasing vector to v, (n,): the chain on which a fall costs infinitely much.

    A vector that is in order is returned bit for bit. Derivatives are means over blocks of equal entries.

    Args:
        v: numbers, (n,).
        tied: which neighbours must be in order, (n − 1,); all unless given. Others do not see each other.

    Source: Barlow & Brunk (1972), "The isotonic regression problem and its dual", JASA 67.
    """
    if v.size < 2:
        return v
    must = jnp.ones(v.size - 1, bool) if tied is None else tied
    done = jnp.all(~must | (v[1:] >= v[:-1]))
    rise, fall = jnp.zeros(must.shape, v.dtype), jnp.where(must, jnp.inf, 0).astype(v.dtype)
    found = chain_prox(jnp.where(done, 0, v), rise, fall)
    # Means of neighbouring blocks may be out of order by rounding: a running maximum over what is tied mends it.
    fixed, chain = frozen(found), jnp.append(0, jnp.cumsum(~must))
    mended = jax.lax.associative_scan(_later, (chain, fixed))[1]
    return jnp.where(done, v, found + (mended - fixed))


def _later(first: Any, second: Any) -> Any:
    """Largest so far in the same chain."""
    (chain, top), (next_chain, x) = first, second
    return next_chain, jnp.where(chain == next_chain, jnp.maximum(top, x), x)


@_tree.register
@dataclasses.dataclass(frozen=True)
class Monotone(Constraint, Differences):
    """b₁ ≤ b₂ ≤ … along the last axis of each leaf: isotonic regression. Rows of a matrix are separate.

    Args:
        increasing: or else b₁ ≥ b₂ ≥ …; structure, not a number.

    Raises:
        TypeError: if `increasing` is neither True nor False.

    Prox: exact, in rounds of O(p), of which 5 to 20 are usual.

    Source: Barlow, Bartholomew, Bremner & Brunk (1972), "Statistical inference under order restrictions".

    >>> Monotone().prox(jnp.array([1.0, 3.0, 2.0, 0.0, 4.0]), 1.0)
    Array([1.       , 1.6666666, 1.6666666, 1.6666666, 4.       ], dtype=float32)
    """

    increasing: bool = dataclasses.field(default=True, metadata={"static": True})

    def __post_init__(self) -> None:
        if not isinstance(self.increasing, (bool, np.bool_)):
            raise TypeError(f"increasing must be True or False, got {self.increasing!r}")
        object.__setattr__(self, "increasing", bool(self.increasing))

    def _rows(self, x: jax.Array) -> jax.Array:
        """Rows that shall increase, in at least float32."""
        x = _tree.wide(x)
        rows = x.reshape(math.prod(x.shape[:-1]), x.shape[-1] if x.ndim else 1)
        return rows if self.increasing else jnp.flip(rows, axis=1)

    def _back(self, rows: jax.Array, x: jax.Array) -> jax.Array:
        return (rows if self.increasing else jnp.flip(rows, axis=1)).reshape(x.shape)

    def value(self, params: PyTree) -> jax.Array:
        """0 if all rows are in order, else infinite."""

        def one(x: jax.Array) -> jax.Array:
            rows = self._rows(x)
            return jnp.where(rows[:, 1:] >= rows[:, :-1], 0, jnp.inf).astype(rows.dtype)

        return _tree.total(_tree.map_floats(one, params))

    def prox(self, params: PyTree, step: Any) -> PyTree:
        """Isotonic regression of every row, whatever the step."""
        del step

        def one(x: jax.Array) -> jax.Array:
            return self._back(jax.vmap(isotonic)(self._rows(x)), x).astype(x.dtype)

        return _tree.map_floats(one, params)

    def residual(self, params: PyTree, grads: PyTree) -> PyTree:
        """Isotonic regression of −grads among neighbours that are equal; infinite where rows are not in order."""

        def one(x: jax.Array, grad: jax.Array) -> jax.Array:
            rows, y = self._rows(x), -self._rows(grad)
            way = jax.vmap(isotonic)(y, rows[:, 1:] == rows[:, :-1])
            ordered = jnp.all(rows[:, 1:] >= rows[:, :-1], axis=1, keepdims=True)
            return self._back(jnp.where(ordered, way, jnp.inf), x)

        return _tree.map_floats(one, params, grads)

    def conjugate(self, dual: PyTree) -> jax.Array:
        """0 if no increase gains, that is, sums over the ends of rows are at most 0, and 0 over rows; else infinite."""

        def one(v: jax.Array) -> jax.Array:
            gain = self._gain(v)
            return jnp.where(gain <= 0, 0.0, jnp.inf).astype(gain.dtype)  # NaN is infeasible

        return _tree.total(_tree.map_floats(one, dual))

    def shrink(self, dual: PyTree) -> jax.Array:
        """0 or 1, since the set is a cone."""
        feasible = jnp.isfinite(self.conjugate(dual))
        return jnp.where(feasible, 1, 0).astype(self.conjugate(dual).dtype)

    def _gain(self, v: jax.Array) -> jax.Array:
        """Largest gain along a direction that keeps the order, for each row, beyond rounding."""
        rows = self._rows(v)
        ends = jnp.cumsum(rows[:, ::-1], axis=1)
        rounding = 8 * jnp.finfo(rows.dtype).eps * jnp.sum(jnp.abs(rows), axis=1)
        return jnp.maximum(jnp.max(ends, axis=1, initial=-jnp.inf), jnp.abs(ends[:, -1])) - rounding
