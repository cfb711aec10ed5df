"""Folded concave penalties: large entries are shrunk less than small ones, or not at all."""

import abc
import dataclasses
from typing import Any, Self

import jax
import jax.numpy as jnp
import numpy as np

from jaxreg import _check, _tree
from jaxreg._tree import PyTree
from jaxreg.penalties._base import Absolute, Nonconvex, Separable
from jaxreg.penalties._leafwise import as_type, frozen, soft, unless_zero


class Folded(Absolute, Separable, Nonconvex):
    """Σ p(|b|; λw) for a function p that rises from 0 and is concave: members describe it on magnitudes a ≥ 0.

    A penalty factor w multiplies λ, also where λ enters in other ways than by a multiple.
    """

    @abc.abstractmethod
    def rise(self, a: jax.Array, t: jax.Array) -> jax.Array:
        """p(a; t) at strength t = λw."""

    @abc.abstractmethod
    def slope(self, a: jax.Array, t: jax.Array) -> jax.Array:
        """p′(a; t), at zero that from the right."""

    @abc.abstractmethod
    def cut(self, a: jax.Array, t: jax.Array, step: Any) -> jax.Array:
        """Return the global minimizer of ½(z − a)² + step · p(z; t) over z ≥ 0."""

    @abc.abstractmethod
    def needed(self, a: jax.Array, w: jax.Array) -> jax.Array:
        """Smallest λ that holds a gradient of magnitude a at zero, for w > 0."""

    def _strength(self, w: jax.Array) -> jax.Array:
        return as_type(self.lam, w) * w

    def entry_value(self, x: jax.Array, w: jax.Array) -> jax.Array:
        """p(|x|; λw)."""
        return self.rise(jnp.abs(x), self._strength(w))

    def entry_prox(self, x: jax.Array, w: jax.Array, step: Any) -> jax.Array:
        """Global minimizer, of the sign of x; of two that are equally good, the one closer to zero."""
        t, step = self._strength(w), as_type(step, x)
        moved = self.cut(jnp.abs(x), t, step)
        moved = unless_zero(step * t, jnp.where(x < 0, -moved, moved), frozen(x))
        # x = 0 has its derivative too, and NaN passes on.
        return jnp.where(((step * t > 0) | (x != 0)) & (x == x), moved, x)

    def entry_subdifferential(self, x: jax.Array, w: jax.Array) -> tuple[jax.Array, jax.Array]:
        """p′(|x|) sign(x) off zero, [−p′(0), p′(0)] at zero: the regular (Fréchet) subdifferential."""
        slope = self.slope(jnp.abs(x), self._strength(w))
        return jnp.where(x > 0, slope, -slope), jnp.where(x < 0, -slope, slope)

    def lam_max(self, grads: PyTree) -> jax.Array:
        """Largest over the penalized entries."""
        weight = _tree.broadcast_weight(self.weight, grads)

        def one(g: jax.Array, w: jax.Array) -> jax.Array:
            return jnp.where(w > 0, self.needed(jnp.abs(_tree.wide(g)), jnp.where(w > 0, w, 1)), 0)

        return _tree.largest(_tree.map_floats(one, grads, weight))

    def at(self, lam: Any) -> Self:
        """Return the same penalty at strength `lam`."""
        return dataclasses.replace(self, lam=lam)  # type: ignore[type-var]


def _least(moved: jax.Array, a: jax.Array) -> jax.Array:
    """No more than a, from which rounding may differ; at a tie with the derivative of `moved`."""
    return jnp.where(moved > a, a, moved)


def check_fields(penalty: Folded) -> None:
    """Refuse strengths and weights that are negative, NaN or infinite."""
    _check.number("lam", penalty.lam)
    _check.numbers("weight", penalty.weight)


@_tree.register
@dataclasses.dataclass(frozen=True)
class MCP(Folded):
    """Minimax concave penalty Σ p(|b|; λw), p(a; t) = ta − a²/2γ up to a = γt, and constant γt²/2 beyond.

    Large entries are not shrunk at all. For steps below `max_step` = γ the prox is continuous ("firm
    thresholding"); from there on it is a hard threshold at t√(step · γ).

    Args:
        lam: strength λ ≥ 0.
        gamma: γ > 0; the penalty becomes `L1` as γ grows, and its curvature is −1/γ.
        weight: penalty factors w ≥ 0, as in `L1`.

    Raises:
        ValueError: if a number is outside its range, NaN or infinite.

    Prox: O(p), in closed form.

    Source: Zhang (2010), "Nearly unbiased variable selection under minimax concave penalty", Ann. Statist. 38.

    >>> MCP(1.0, gamma=2.0).prox(jnp.array([-3.0, 0.5, 1.5]), 1.0)
    Array([-3.,  0.,  1.], dtype=float32)
    """

    lam: Any = 1.0
    gamma: Any = 3.0
    weight: PyTree = None

    def __post_init__(self) -> None:
        check_fields(self)
        _check.number("gamma", self.gamma, low=float(np.finfo(np.float32).tiny), what="positive and finite")

    @property
    def max_step(self) -> Any:
        """γ."""
        return self.gamma

    def rise(self, a: jax.Array, t: jax.Array) -> jax.Array:
        """ta − a²/2γ, constant from γt on."""
        gamma = as_type(self.gamma, a)
        a = jnp.minimum(a, gamma * t)
        return t * a - 0.5 * a * (a / gamma)

    def slope(self, a: jax.Array, t: jax.Array) -> jax.Array:
        """(t − a/γ)₊."""
        return jnp.maximum(t - a / as_type(self.gamma, a), 0)

    def cut(self, a: jax.Array, t: jax.Array, step: Any) -> jax.Array:
        """soft(a, step · t) / (1 − step/γ) up to γt, a beyond; for long steps a hard threshold."""
        gamma = as_type(self.gamma, a)
        short = step < gamma
        shrunk = soft(a, step * t) / jnp.where(short, 1 - step / gamma, 1)
        firm = jnp.where(a <= gamma * t, _least(shrunk, a), a)
        # On [0, γt] the objective is concave now, so that 0 or a is best; they cost a²/2 and step · γt²/2.
        hard = jnp.where(a <= t * jnp.sqrt(step * gamma), 0, a)
        return jnp.where(short, firm, hard)

    def needed(self, a: jax.Array, w: jax.Array) -> jax.Array:
        """a/w."""
        return a / w


@_tree.register
@dataclasses.dataclass(frozen=True)
class SCAD(Folded):
    """Smoothly clipped absolute deviation Σ p(|b|; λw): slope t up to a = t, then (γt − a)/(γ − 1), 0 from γt on.

    That is p(a; t) = ta, then (2γta − a² − t²) / 2(γ − 1), then t²(γ + 1)/2, at t = λw. Large entries are not
    shrunk at all. The prox is continuous for steps below `max_step` = γ − 1, and jumps from there on.

    Args:
        lam: strength λ ≥ 0.
        gamma: γ > 1; beyond t the curvature is −1/(γ − 1).
        weight: penalty factors w ≥ 0, as in `L1`.

    Raises:
        ValueError: if a number is outside its range, NaN or infinite.

    Prox: O(p), in closed form.

    Source: Fan & Li (2001), "Variable selection via nonconcave penalized likelihood", JASA 96.

    >>> SCAD(1.0, gamma=3.0).prox(jnp.array([-4.0, 0.5, 1.5, 2.5]), 1.0)
    Array([-4. ,  0. ,  0.5,  2. ], dtype=float32)
    """

    lam: Any = 1.0
    gamma: Any = 3.7
    weight: PyTree = None

    def __post_init__(self) -> None:
        check_fields(self)
        _check.number("gamma", self.gamma, low=1 + float(np.finfo(np.float32).eps), what="finite and above 1")

    @property
    def max_step(self) -> Any:
        """γ − 1."""
        return self.gamma - 1

    def rise(self, a: jax.Array, t: jax.Array) -> jax.Array:
        """Integral of the slope."""
        gamma = as_type(self.gamma, a)
        bent = jnp.clip(a, t, gamma * t)
        return t * jnp.minimum(a, t) + (bent - t) * ((2 * gamma - 1) * t - bent) / (2 * (gamma - 1))

    def slope(self, a: jax.Array, t: jax.Array) -> jax.Array:
        """t, (γt − a)/(γ − 1), 0."""
        gamma = as_type(self.gamma, a)
        return jnp.where(a <= t, t, jnp.maximum(gamma * t - a, 0) / (gamma - 1))

    def cut(self, a: jax.Array, t: jax.Array, step: Any) -> jax.Array:
        """soft(a, step · t) up to (1 + step)t, a from γt on, a line in between; for long steps a jump."""
        gamma = as_type(self.gamma, a)
        short = step < gamma - 1
        low = soft(a, step * t)
        # soft(a, step · γt/(γ − 1)) / (1 − step/(γ − 1)), which does not cancel.
        middle = ((gamma - 1) * a - step * gamma * t) / jnp.where(short, gamma - 1 - step, 1)
        bent = jnp.where(a <= (1 + step) * t, low, jnp.where(a <= gamma * t, _least(middle, a), a))
        # The middle piece is concave now, so that the minimizer of the first piece or a itself is best.
        equal = t * jnp.where(step > gamma + 1, jnp.sqrt(step * (gamma + 1)), (gamma + 1 + step) / 2)
        return jnp.where(short, bent, jnp.where(a <= equal, low, a))

    def needed(self, a: jax.Array, w: jax.Array) -> jax.Array:
        """a/w."""
        return a / w


@_tree.register
@dataclasses.dataclass(frozen=True)
class LogSum(Folded):
    """Log-sum penalty λ Σ w log(1 + |b|/ε), the smaller ε, the closer to counting nonzero entries.

    The prox is continuous where step · λw ≤ ε²; beyond, it jumps.

    Args:
        lam: strength λ ≥ 0. The slope at zero is λw/ε.
        eps: ε > 0, on the scale of the entries.
        weight: penalty factors w ≥ 0, as in `L1`.

    Raises:
        ValueError: if a number is outside its range, NaN or infinite.

    Prox: O(p), in closed form.

    Source: Candès, Wakin & Boyd (2008), "Enhancing sparsity by reweighted ℓ₁ minimization", J. Fourier Anal.
    Appl. 14; the prox: Gong et al. (2013), "A general iterative shrinkage and thresholding algorithm", ICML.

    >>> LogSum(1.0, eps=1.0).prox(jnp.array([0.5, 3.0]), 1.0)
    Array([0. ..., 2.7320...], dtype=float32)
    """

    lam: Any = 1.0
    eps: Any = 1.0
    weight: PyTree = None

    def __post_init__(self) -> None:
        check_fields(self)
        _check.number("eps", self.eps, low=float(np.finfo(np.float32).tiny), what="positive and finite")

    def _log(self, a: jax.Array) -> jax.Array:
        """log(1 + a/ε), also where a/ε overflows."""
        eps = as_type(self.eps, a)
        large = a > 1e9 * eps
        near = jnp.where(large, 0, a)
        return jnp.where(large, jnp.log(a + eps) - jnp.log(eps), jnp.log1p(near / eps))

    def rise(self, a: jax.Array, t: jax.Array) -> jax.Array:
        """t log(1 + a/ε)."""
        return t * self._log(a)

    def slope(self, a: jax.Array, t: jax.Array) -> jax.Array:
        """t/(ε + a)."""
        return t / (as_type(self.eps, a) + a)

    def cut(self, a: jax.Array, t: jax.Array, step: Any) -> jax.Array:
        """Return the larger root z of (z − a)(z + ε) + step · t = 0, where that is better than 0."""
        eps, t = as_type(self.eps, a), step * t
        root_t = jnp.sqrt(jnp.where(t > 0, t, 1)) * jnp.where(t > 0, 1, 0)
        far = a + eps - 2 * root_t
        real = far > 0
        spread = jnp.sqrt(jnp.where(real, far, 1)) * jnp.sqrt(a + eps + 2 * root_t)
        behind = a < eps
        root = jnp.where(behind, 2 * (eps * a - t) / (spread + jnp.where(behind, eps - a, 0)), (a - eps + spread) / 2)
        root = _least(root, a)
        better = (t <= eps * eps) | (root * (0.5 * root - a) + t * self._log(jnp.maximum(root, 0)) < 0)
        return jnp.where(real & (root > 0) & better, root, 0)

    def needed(self, a: jax.Array, w: jax.Array) -> jax.Array:
        """εa/w."""
        return as_type(self.eps, a) * a / w
