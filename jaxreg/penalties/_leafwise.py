"""Penalties that act on each leaf of the parameters as a whole, and on every leaf by itself."""

import abc
import dataclasses
from typing import Any, Self

import jax
import jax.numpy as jnp
import numpy as np

from jaxreg import _check, _tree
from jaxreg._tree import PyTree
from jaxreg.penalties._base import Norm, Penalty


class Leafwise(Penalty):
    """A sum over the floating-point leaves. Members describe one leaf, given in at least float32.

    Which leaves, is for `Masked` to say: `Masked(SLOPE(...), include=("*/kernel",))`.
    """

    @abc.abstractmethod
    def leaf_value(self, x: jax.Array) -> jax.Array:
        """Penalty of a leaf."""

    @abc.abstractmethod
    def leaf_prox(self, x: jax.Array, step: jax.Array) -> jax.Array:
        """Proximal step of a leaf."""

    @abc.abstractmethod
    def leaf_residual(self, x: jax.Array, grad: jax.Array) -> jax.Array:
        """Smallest element of −grad − ∂g at x."""

    @abc.abstractmethod
    def leaf_lam_max(self, grad: jax.Array) -> jax.Array:
        """Smallest λ at which a leaf of zeros is stationary."""

    def value(self, params: PyTree) -> jax.Array:
        """Sum of the leaves' penalties."""
        return _tree.total(_tree.map_floats(lambda x: self.leaf_value(_tree.wide(x)), params))

    def prox(self, params: PyTree, step: Any) -> PyTree:
        """Proximal step, leaf by leaf; `step` is one number."""
        if jnp.ndim(step):
            raise ValueError(f"step must be one number for {type(self).__name__}, got shape {jnp.shape(step)}")

        def one(x: jax.Array) -> jax.Array:
            full = _tree.wide(x)
            return self.leaf_prox(full, as_type(step, full)).astype(x.dtype)

        return _tree.map_floats(one, params)

    def residual(self, params: PyTree, grads: PyTree) -> PyTree:
        """Residual, leaf by leaf."""

        def one(x: jax.Array, grad: jax.Array) -> jax.Array:
            full = _tree.wide(grad)
            return self.leaf_residual(x.astype(full.dtype), full).astype(jnp.result_type(grad))

        return _tree.map_floats(one, params, grads)

    def lam_max(self, grads: PyTree) -> jax.Array:
        """Largest λ_max of a leaf."""
        return _tree.largest(_tree.map_floats(lambda grad: self.leaf_lam_max(_tree.wide(grad)), grads))

    def at(self, lam: Any) -> Self:
        """Return the same penalty at strength `lam`."""
        return dataclasses.replace(self, lam=lam)  # type: ignore[type-var]


class LeafwiseNorm(Leafwise, Norm):
    """λ times a sum of norms, one a leaf: what duality needs follows from the dual norm."""

    @abc.abstractmethod
    def leaf_dual_norm(self, dual: jax.Array) -> jax.Array:
        """Dual norm of a leaf; infinite where the penalty is only a seminorm and `dual` sees it."""

    def dual_norm(self, dual: PyTree) -> jax.Array:
        """Largest dual norm of a leaf."""
        return _tree.largest(_tree.map_floats(lambda v: self.leaf_dual_norm(_tree.wide(v)), dual))

    def conjugate(self, dual: PyTree) -> jax.Array:
        """0 where the dual norm is at most λ (to rounding), infinite elsewhere."""
        norm = self.dual_norm(dual)
        limit = as_type(self.lam, norm) * (1 + 32 * jnp.finfo(norm.dtype).eps)
        return jnp.where(norm <= limit, 0.0, jnp.inf).astype(norm.dtype)  # NaN is infeasible

    def shrink(self, dual: PyTree) -> jax.Array:
        """λ over the dual norm, at most 1: the conjugate is 0 there."""
        norm = self.dual_norm(dual)
        lam = as_type(self.lam, norm)
        outside = norm > lam
        return jnp.where(outside, lam / jnp.where(outside, norm, 1), 1)


def check_weights(penalty: Penalty, *names: str) -> None:
    """Check the strength and the weights that fields hold; lists become arrays, which are one leaf and not many.

    Raises:
        TypeError: if there is something else than numbers.
        ValueError: if a number is negative, NaN or infinite.
    """
    _check.number("lam", penalty.lam)
    for name in names:
        weight = getattr(penalty, name)
        _check.numbers(name, weight)
        if isinstance(weight, (list, tuple)):
            object.__setattr__(penalty, name, np.asarray(weight, np.float64))


def as_type(value: Any, like: jax.Array) -> jax.Array:
    """Convert a number to the precision of `like`."""
    return jnp.asarray(value, like.dtype)


def soft(x: jax.Array, t: jax.Array) -> jax.Array:
    """Soft threshold; with no threshold nothing is cut, so that the derivative at zero is that of a smooth map."""
    return jnp.where((jnp.abs(x) <= t) & (t > 0), 0, jnp.where(x < 0, x + t, x - t))


def unless_zero(t: jax.Array, moved: jax.Array, x: jax.Array) -> jax.Array:
    """`moved`, or bit for bit x where the threshold t is 0, with the derivatives of `moved` there too."""
    change = jax.lax.stop_gradient(moved) - moved
    return jnp.where(t > 0, moved, x - jnp.where(jnp.isfinite(change), change, 0))


def frozen(tree: PyTree) -> PyTree:
    """Cut derivatives, so that loops without a fixed end can be run on the numbers."""
    return jax.tree.map(jax.lax.stop_gradient, tree)


def dual_by_prox(norm: Leafwise, v: jax.Array) -> jax.Array:
    """Dual norm of v for a norm given at strength 1, from its prox and value alone.

    The prox x of v at threshold λ is 0 from the dual norm on; below it ⟨v, x⟩ / ‖x‖ is a better lower bound than
    λ, and the next λ. This is Newton's method for the convex function λ ↦ |prox_λ(v)|₂: it climbs monotonically,
    and the last quotient is exact to rounding, because x maximizes it. Where the norm is only a seminorm, v must
    be orthogonal to its kernel.

    Source: Dinkelbach (1967), "On nonlinear fractional programming", Management Science 13.
    """
    top = frozen(jnp.max(jnp.abs(v), initial=0))
    unit = v / jnp.where(top == 0, 1, top)
    fixed, start = frozen(norm), frozen(unit)

    def quotient(norm: Leafwise, unit: jax.Array, x: jax.Array) -> jax.Array:
        size = norm.leaf_value(x)
        return jnp.where(size > 0, jnp.sum(unit * x) / jnp.where(size > 0, size, 1), 0)

    def climb(state: Any) -> Any:
        count, lam, x, _ = state
        ahead = fixed.leaf_prox(start, lam)
        lam_ahead = quotient(fixed, start, ahead)
        going = lam_ahead > lam * (1 + 2 * jnp.finfo(v.dtype).eps)
        return count + 1, jnp.where(going, lam_ahead, lam), jnp.where(going, ahead, x), going

    begin = (0, quotient(fixed, start, start), start, jnp.asarray(True))
    x = jax.lax.while_loop(lambda state: state[3] & (state[0] < 200), climb, begin)[2]
    return jnp.where(jnp.isnan(top), top, quotient(norm, unit, x) * top)
