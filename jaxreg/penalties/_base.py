"""What a penalty is, and what some can do more. All of these are abstract; penalties themselves are final."""

import abc
from typing import Any, Self

import jax
import jax.numpy as jnp
import numpy as np

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

        Unpenalized entries do not count: there the gradient is taken to vanish by itself. A penalty that is
        infinitely steep at zero holds every gradient there (`L0`, `Lq`); for it, this is the smallest λ at
        which zero stays where it is in a proximal gradient step of length 1.
        """

    @abc.abstractmethod
    def at(self, lam: Any) -> Self:
        """Return the same penalty at strength `lam`."""

    def scaled(self, factor: Any) -> Self:
        """Return the same penalty at `factor` times its own strength."""
        return self.at(factor * self.lam)

    @property
    def max_step(self) -> Any:
        """Step below which the objective of `prox` is strictly convex, so that its minimizer moves continuously.

        Infinite for a convex penalty. It is infinite also for one that has no such step: there, and from
        `max_step` on, `prox` returns a global minimizer all the same, which may jump.
        """
        return jnp.inf

    @property
    def atoms(self) -> "tuple[Penalty, ...]":
        """The penalties that a composition is made of; any other is its own atom."""
        return (self,)

    def terms(self, params: PyTree) -> "list[list[tuple[Separable, jax.Array]]]":
        """For every leaf, the separable penalties of its entries, each with what it calls w: for sums of these.

        Raises:
            TypeError: if this is no sum over entries.
        """
        raise TypeError(f"{type(self).__name__} is not a sum over entries")

    def parts(self, params: PyTree) -> "list[list[Penalty]]":
        """For every leaf, what acts on it, taken out of masks, blocks and sums: nothing, one penalty, or several."""
        return [[self] if _tree.is_float(leaf) else [] for leaf in jax.tree.leaves(params)]

    def metric_prox(self, params: PyTree, step: Any, metric: PyTree) -> PyTree:
        """argmin_z ½ Σ dᵢ(zᵢ − paramsᵢ)² + step · g_λ(z), the prox in the diagonal metric d > 0.

        `metric` holds d: an array for each leaf that broadcasts to it, or a tree prefix of these. Penalties of single
        entries have it, and norms of groups, and what `Masked`, `Blocks`, `Units` and sums make of them.

        Raises:
            TypeError: if no formula is known.
        """
        del params, step, metric
        raise TypeError(f"{type(self).__name__} has no known prox in a diagonal metric: use the Euclidean one")

    @property
    def prox_part(self) -> "Penalty":
        """What a solver takes by its prox. All of the penalty, but for sums; see `smooth_value`."""
        return self

    def smooth_value(self, params: PyTree) -> Any:
        """Return the value of what a solver takes by its gradient: g_λ = `smooth_value` + `prox_part.value`."""
        del params
        return 0.0

    def __add__(self, other: "Penalty") -> "Penalty":
        """Return the `Sum` of two penalties, where a theorem gives its prox."""
        if not isinstance(other, Penalty):
            return NotImplemented
        from jaxreg.penalties._sum import Sum  # above this module, since it knows the kinds of penalties

        return Sum(self, other)

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


class Smooth(Penalty):
    """A differentiable penalty with a Lipschitz-continuous gradient: a sum may move it to the gradient side."""

    @property
    @abc.abstractmethod
    def curvature(self) -> Any:
        """Bound on the second derivative, over all entries."""


class Nonconvex(Penalty):
    """A penalty that is not convex.

    Its prox is a global minimizer. Its `residual` measures from the regular (Fréchet) subdifferential: a point with
    none left is stationary, and may be a local minimum only.
    """


class Absolute(Penalty):
    """A penalty that depends on the absolute values of the entries only, and does not decrease with any.

    So are all norms that ignore signs (an "absolute norm"), and the balls of these. The prox keeps the sign of
    every entry and keeps zeros, wherefore the prox of a sum with an L1 penalty is theirs, one after the other
    (see `Sum`).
    """


class Differences(Penalty):
    """A penalty of differences between entries of one leaf that is positively homogeneous in each: Σ s(bᵢ − bⱼ).

    Whatever maps all entries by one nondecreasing function keeps its subgradients, wherefore the prox of a sum
    with a penalty that is the same for all entries is theirs, one after the other (see `Sum`).
    """


class Constraint(Penalty):
    """A penalty without a strength: 0 where a closed convex set holds the parameters, and infinite outside.

    - `value` is 0 also at points that are in the set up to rounding, as every projection is.
    - `prox` is the projection onto the set, whatever the step.
    - `residual` is −grads without its projection onto the normal cone; infinite outside of the set.
    - `conjugate` is the support function of the set.
    - `at` and `scaled` return the same constraint, and `lam` is None.
    - `lam_max` is 0 if the set holds zero, and infinite if not: as with unpenalized entries, the gradient is
      taken to vanish by itself in what the set leaves free.
    """

    lam = None

    def lam_max(self, grads: PyTree) -> jax.Array:
        """0 if zero satisfies the constraint, infinite otherwise."""
        return self.value(_tree.map_floats(jnp.zeros_like, grads))

    def at(self, lam: Any) -> Self:
        """Return the constraint itself: it has no strength."""
        del lam
        return self

    def scaled(self, factor: Any) -> Self:
        """Return the constraint itself: a multiple of it is no other."""
        del factor
        return self


class Separable(Penalty):
    """A penalty that is a sum over single entries: its prox is elementwise, and takes a step per entry.

    Members describe one entry at a time, with its penalty factor w: every other operation follows here.
    """

    weight: PyTree

    def factors(self, params: PyTree) -> PyTree:
        """What members call w, one array for each leaf: the penalty factors."""
        return _tree.broadcast_weight(self.weight, params)

    def terms(self, params: PyTree) -> "list[list[tuple[Separable, jax.Array]]]":
        """The penalty itself, for every floating-point leaf."""
        pairs = zip(jax.tree.leaves(params), jax.tree.leaves(self.factors(params)), strict=True)
        return [[(self, w)] if _tree.is_float(leaf) else [] for leaf, w in pairs]

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
        weight = self.factors(params)
        return _tree.total(_tree.map_floats(lambda x, w: self.entry_value(_tree.wide(x), w), params, weight))

    def prox(self, params: PyTree, step: Any) -> PyTree:
        """Proximal step, entry by entry. `step` is a number, or an array that broadcasts to every leaf."""
        weight = self.factors(params)

        def one(x: jax.Array, w: jax.Array) -> jax.Array:
            return self.entry_prox(_tree.wide(x), w, step).astype(x.dtype)

        return _tree.map_floats(one, params, weight)

    def metric_prox(self, params: PyTree, step: Any, metric: PyTree) -> PyTree:
        """The proximal step with step/d in place of step, entry by entry."""

        def one(x: jax.Array, w: jax.Array, d: jax.Array) -> jax.Array:
            return self.entry_prox(_tree.wide(x), w, jnp.asarray(step, d.dtype) / d).astype(x.dtype)

        return _tree.map_floats(one, params, self.factors(params), _tree.broadcast_weight(metric, params, "metric"))

    def residual(self, params: PyTree, grads: PyTree) -> PyTree:
        """Signed distance from −grads to the subdifferential interval, entry by entry."""
        weight = self.factors(params)

        def one(x: jax.Array, g: jax.Array, w: jax.Array) -> jax.Array:
            low, high = self.entry_subdifferential(x, w)
            return -g - jnp.clip(-g, low, high)

        return _tree.map_floats(one, params, grads, weight)


class Grouped(Absolute):
    """A penalty that sets whole groups of entries to zero at once: what working sets need to know of them."""

    @abc.abstractmethod
    def labels(self, shape: tuple[int, ...]) -> np.ndarray:
        """Group of each entry of a leaf of that shape: integers 0, …, m − 1, in an array of that shape."""

    @abc.abstractmethod
    def group_lam_max(self, grad: jax.Array) -> jax.Array:
        """Smallest λ at which a group of zeros is stationary by itself, for each group of one leaf: (m,)."""
