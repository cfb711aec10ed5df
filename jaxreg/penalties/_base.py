"""What a penalty is, and what some can do more. All of these are abstract; penalties themselves are final."""

import abc
from typing import Any, Self

import jax
import jax.numpy as jnp

from jaxreg import _tree
from jaxreg._tree import PyTree


class Penalty(abc.ABC):
    """A function g_λ of a parameter pytree, with the operations that solvers and certificates need.

    A penalty is a frozen dataclass registered as a pytree: its strength `lam` and every other number are
    leaves, so that `vmap` and `grad` reach them and a new λ never recompiles. It acts on the floating-point
    leaves of `params`, each kept in its own dtype, and leaves all others alone.
    """

    lam: Any

    @abc.abstractmethod
    def value(self, params: PyTree) -> jax.Array:
        """g_λ(params), a scalar in at least float32."""

    @abc.abstractmethod
    def prox(self, params: PyTree, step: Any) -> PyTree:
        """argmin_z ½‖z − params‖² + step · g_λ(z)."""

    @abc.abstractmethod
    def residual(self, params: PyTree, grads: PyTree) -> PyTree:
        """Return the smallest element of −grads − ∂g_λ(params): zero if and only if `params` is stationary.

        `grads` is the gradient at `params` of what is added to the penalty.
        """

    @abc.abstractmethod
    def lam_max(self, grads: PyTree) -> jax.Array:
        """Return the smallest λ at which zero is stationary, given the gradient at zero; infinite if none is.

        Unpenalized entries do not count: there the gradient is taken to vanish by itself.
        """

    @abc.abstractmethod
    def at(self, lam: Any) -> Self:
        """Return the same penalty at strength `lam`."""

    def distance(self, params: PyTree, grads: PyTree) -> jax.Array:
        """Euclidean distance from −grads to the subdifferential of g_λ at `params`."""
        return _tree.norm(self.residual(params, grads))

    def conjugate(self, dual: PyTree) -> jax.Array:
        """g_λ*(dual) = sup_b ⟨dual, b⟩ − g_λ(b); NaN for a penalty without a useful one."""
        del dual
        return jnp.asarray(jnp.nan)

    def shrink(self, dual: PyTree) -> jax.Array:
        """Return an s in [0, 1] at which `conjugate(s · dual)` is surely finite, and small.

        The dual as it is, s = 1, may be better still where the conjugate is finite there too.
        """
        del dual
        return jnp.asarray(1.0)


class Norm(Penalty):
    """A penalty that is λ times a norm (a seminorm, where a weight is 0)."""

    @abc.abstractmethod
    def dual_norm(self, dual: PyTree) -> jax.Array:
        """sup ⟨dual, b⟩ over b whose norm is at most 1. The strength does not enter."""


class Separable(Penalty):
    """A penalty that is a sum over single entries: its prox is elementwise, and takes a step per entry.

    Members describe one entry at a time, with its penalty factor w: every other operation follows here.
    """

    weight: PyTree

    @abc.abstractmethod
    def entry_value(self, x: jax.Array, w: jax.Array) -> jax.Array:
        """Penalty of entries x."""

    @abc.abstractmethod
    def entry_prox(self, x: jax.Array, w: jax.Array, step: Any) -> jax.Array:
        """Proximal step of entries x."""

    @abc.abstractmethod
    def entry_subdifferential(self, x: jax.Array, w: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Lower and upper end of the subdifferential interval at x."""

    def value(self, params: PyTree) -> jax.Array:
        """Sum of the entries' penalties."""
        weight = _tree.broadcast_weight(self.weight, params)
        return _tree.total(_tree.map_floats(lambda x, w: self.entry_value(_tree.wide(x), w), params, weight))

    def prox(self, params: PyTree, step: Any) -> PyTree:
        """Proximal step, entry by entry. `step` is a number, or an array that broadcasts to every leaf."""
        weight = _tree.broadcast_weight(self.weight, params)

        def one(x: jax.Array, w: jax.Array) -> jax.Array:
            return self.entry_prox(_tree.wide(x), w, step).astype(x.dtype)

        return _tree.map_floats(one, params, weight)

    def residual(self, params: PyTree, grads: PyTree) -> PyTree:
        """Signed distance from −grads to the subdifferential interval, entry by entry."""
        weight = _tree.broadcast_weight(self.weight, params)

        def one(x: jax.Array, g: jax.Array, w: jax.Array) -> jax.Array:
            low, high = self.entry_subdifferential(x, w)
            return -g - jnp.clip(-g, low, high)

        return _tree.map_floats(one, params, grads, weight)
