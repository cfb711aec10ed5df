"""Penalties of the sorted magnitudes: SLOPE, and its end, the maximum norm."""

import dataclasses
import statistics
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxreg import _check, _tree
from jaxreg.penalties._base import Absolute
from jaxreg.penalties._chain import chain_prox
from jaxreg.penalties._leafwise import LeafwiseNorm, as_type, check_weights, frozen, unless_zero


@_tree.register
@dataclasses.dataclass(frozen=True)
class SLOPE(LeafwiseNorm, Absolute):
    """Sorted L1 penalty λ Σ_k w_k |b|₍ₖ₎, |b|₍₁₎ ≥ |b|₍₂₎ ≥ …: larger entries pay more, and correlated ones tie.

    Also known as OWL. With equal weights it is `L1`, with only the first `LInf`; with weights that fall linearly,
    OSCAR. It acts on all entries of a leaf, whatever its shape.

    Args:
        lam: strength λ ≥ 0.
        weights: w₁ ≥ w₂ ≥ … ≥ 0, one for each entry; `benjamini_hochberg` makes the sequence that controls the
            false discovery rate.

    Raises:
        TypeError: if `weights` is missing or holds no numbers.
        ValueError: if a number is negative, NaN or infinite; if `weights` rise, or are not a vector; on use, if there
            is not one for each entry.

    Prox: O(p log p) to sort, then exact averages in rounds of O(p), of which 5 to 20 are usual.

    Source: Bogdan, van den Berg, Sabatti, Su & Candès (2015), "SLOPE: adaptive variable selection via convex
    optimization", Ann. Appl. Stat. 9; Zeng & Figueiredo (2014), "The ordered weighted ℓ₁ norm", arXiv:1409.4271.

    >>> SLOPE(1.0, weights=[3.0, 2.0, 1.0]).prox(jnp.array([0.5, -5.0, 4.5]), 1.0)
    Array([ 0.  , -2.25,  2.25], dtype=float32)
    """

    lam: Any = 1.0
    weights: Any = None

    def __post_init__(self) -> None:
        if self.weights is None:
            raise TypeError("weights is needed: one for each entry, the largest first")
        check_weights(self, "weights")
        if not isinstance(self.weights, jax.core.Tracer):
            array = np.asarray(self.weights)
            if array.ndim != 1 or array.size == 0:
                raise ValueError(f"weights must be a vector, got shape {array.shape}")
            if (np.diff(array) > 0).any():
                raise ValueError("weights must not rise")

    def _weights(self, x: jax.Array) -> jax.Array:
        weights = jnp.asarray(self.weights, x.dtype)
        if weights.shape != (x.size,):
            raise ValueError(f"weights of shape {weights.shape} do not fit a parameter of {x.size} entries")
        return weights

    def leaf_value(self, x: jax.Array) -> jax.Array:
        """λ Σ w_k |x|₍ₖ₎."""
        return as_type(self.lam, x) * jnp.sum(self._weights(x) * _falling(jnp.abs(x.ravel())))

    def leaf_prox(self, x: jax.Array, step: jax.Array) -> jax.Array:
        """Sort, subtract step·λw, restore the order by averaging neighbours, cut at zero; then sort back."""
        t = step * as_type(self.lam, x)
        sign = jnp.where(x < 0, -1, 1).astype(x.dtype).ravel()
        size = sign * x.ravel()
        order = jnp.argsort(-size)
        moved = _pooled(size[order], t * self._weights(x), jnp.ones(x.size - 1, bool))
        moved = sign * jnp.zeros_like(size).at[order].set(moved, unique_indices=True)
        return unless_zero(t, moved.reshape(x.shape), x)

    def leaf_residual(self, x: jax.Array, grad: jax.Array) -> jax.Array:
        """Within a cluster of equal magnitudes the subgradients are all mixtures of its weights, in any order.

        What remains of −grad is then its prox in each cluster, with no cut at zero where the magnitude is not.
        """
        size, sign = jnp.abs(x.ravel()), jnp.sign(x.ravel())
        pull = -grad.ravel()
        sign = jnp.where(sign == 0, jnp.where(pull < 0, -1, 1), sign).astype(x.dtype)
        pull = sign * pull
        order = jnp.lexsort((-pull, -size))
        size = size[order]
        weights = as_type(self.lam, x) * self._weights(x)
        rest = _pooled(pull[order], weights, size[1:] == size[:-1], size == 0)
        return (sign * jnp.zeros_like(pull).at[order].set(rest, unique_indices=True)).reshape(x.shape)

    def leaf_lam_max(self, grad: jax.Array) -> jax.Array:
        """max_k of the sum of the k largest |gradients| over that of the k first weights."""
        totals, limits = jnp.cumsum(_falling(jnp.abs(grad.ravel()))), jnp.cumsum(self._weights(grad))
        return jnp.max(jnp.where(limits > 0, totals / jnp.where(limits > 0, limits, 1), 0), initial=0)

    def leaf_dual_norm(self, dual: jax.Array) -> jax.Array:
        """The same; infinite if all weights are 0 and `dual` is not."""
        free = (self._weights(dual)[0] == 0) & jnp.any(dual != 0)
        return jnp.where(free, jnp.inf, self.leaf_lam_max(dual))


@_tree.register
@dataclasses.dataclass(frozen=True)
class LInf(LeafwiseNorm, Absolute):
    """Maximum norm λ max |b|, which makes the largest entries of each leaf equal in magnitude.

    Its prox is what the projection onto the L1 ball of radius step·λ leaves over (Moreau's identity): magnitudes
    are cut at a level above which they exceed by step·λ in sum.

    Args:
        lam: strength λ ≥ 0.

    Raises:
        TypeError: if `lam` is no number.
        ValueError: if it is negative, NaN or infinite.

    Prox: O(p log p), exact by sorting.

    Source: Duchi, Shalev-Shwartz, Singer & Chandra (2008), "Efficient projections onto the ℓ₁-ball", ICML;
    Parikh & Boyd (2014), "Proximal algorithms", section 6.5.2.

    >>> LInf(2.0).prox(jnp.array([4.0, -3.0, 1.0]), 1.0)
    Array([ 2.5, -2.5,  1. ], dtype=float32)
    """

    lam: Any = 1.0

    def __post_init__(self) -> None:
        _check.number("lam", self.lam)

    def leaf_value(self, x: jax.Array) -> jax.Array:
        """λ max |x|."""
        return as_type(self.lam, x) * jnp.max(jnp.abs(x), initial=0)

    def leaf_prox(self, x: jax.Array, step: jax.Array) -> jax.Array:
        """Cut magnitudes at the level."""
        t = step * as_type(self.lam, x)
        sign = jnp.where(x < 0, -1, 1).astype(x.dtype)
        size = sign * x
        level = _level(size.ravel(), t)
        return unless_zero(t, sign * jnp.where(size > level, level, size), x)

    def leaf_residual(self, x: jax.Array, grad: jax.Array) -> jax.Array:
        """On the largest entries the subgradients are a simplex; −grad without its projection onto that."""
        lam, size = as_type(self.lam, x), jnp.abs(x)
        top = jnp.max(size, initial=0)
        sign = jnp.sign(x)
        pull = -sign * grad
        # The projection is (pull − level)₊ on the largest entries, with the level at which it sums to λ.
        largest = size == top
        level = _level(jnp.where(largest, pull, -jnp.inf).ravel(), lam, floor=-jnp.inf)
        off_zero = jnp.where(largest, sign * jnp.minimum(pull, level), -grad)
        return jnp.where(top > 0, off_zero, self.leaf_prox(-grad, jnp.ones((), x.dtype)))

    def leaf_lam_max(self, grad: jax.Array) -> jax.Array:
        """Σ |gradient|."""
        return jnp.sum(jnp.abs(grad))

    def leaf_dual_norm(self, dual: jax.Array) -> jax.Array:
        """Σ |v|."""
        return jnp.sum(jnp.abs(dual))


def benjamini_hochberg(size: int, rate: float = 0.1) -> np.ndarray:
    """Weights for `SLOPE` that control the false discovery rate of orthogonal designs: w_k = Φ⁻¹(1 − kq/2p).

    The noise's standard deviation is the λ that belongs to them, for columns of length 1.

    Args:
        size: number p of entries.
        rate: false discovery rate q in (0, 1).

    Raises:
        ValueError: if `size` is less than 1, or `rate` is outside (0, 1).

    Source: Bogdan et al. (2015), as for `SLOPE`, equation (1.6).

    >>> [round(float(w), 2) for w in benjamini_hochberg(4, rate=0.4)]
    [1.64, 1.28, 1.04, 0.84]
    """
    if size < 1:
        raise ValueError(f"size must be at least 1, got {size}")
    if not 0 < rate < 1:
        raise ValueError(f"rate must be in (0, 1), got {rate}")
    normal = statistics.NormalDist()
    return np.array([-normal.inv_cdf(k * rate / (2 * size)) for k in range(1, size + 1)])


def _falling(size: jax.Array) -> jax.Array:
    return -jnp.sort(-size)


def _pooled(size: jax.Array, weights: jax.Array, bound: jax.Array, cut: jax.Array | bool = True) -> jax.Array:
    """`size` − weights, made nonincreasing across bonds (n − 1,), and where `cut` not negative."""
    moved = chain_prox(size - weights, jnp.where(bound, jnp.inf, 0), jnp.zeros(bound.shape, size.dtype))
    return jnp.where(cut & ((moved < 0) | ((moved == 0) & (weights > 0))), 0, moved)


def _level(size: jax.Array, excess: jax.Array, floor: float = 0.0) -> jax.Array:
    """The level, at least `floor`, above which numbers exceed by `excess` > 0 in sum. −∞ stands for no number."""
    ranked = frozen(_falling(size))
    place = jnp.arange(1, size.size + 1, dtype=size.dtype)
    above = jnp.where(jnp.isfinite(ranked), jnp.cumsum(jnp.where(jnp.isfinite(ranked), ranked, 0)), -jnp.inf)
    count = jnp.maximum(jnp.sum(ranked * place > above - excess), 1)
    last = ranked[count - 1]
    inside = size >= last
    share = jnp.sum(jnp.where(inside, size - last, 0)) - excess
    return jnp.maximum(last + share / jnp.sum(inside), floor)
