"""The k-support norm: the tightest convex stand-in for a ridge penalty on k entries."""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxreg import _check, _tree
from jaxreg._tree import PyTree
from jaxreg.penalties._base import Absolute
from jaxreg.penalties._leafwise import Leafwise, as_type, check_weights, frozen, soft, unless_zero


@_tree.register
@dataclasses.dataclass(frozen=True)
class KSupport(Leafwise, Absolute):
    """Half the squared k-support norm, (λ/2)‖b‖²ₖ = min_s (λ/2) Σ b²/s over shares 0 ≤ s ≤ 1 with Σ s ≤ k.

    The unit ball of ‖·‖ₖ is the convex hull of all vectors of length at most 1 with at most k nonzero entries. So
    this is the largest convex function that is no more than ridge, λ/2 ‖b‖², on them: of correlated entries it keeps
    about k, and shrinks those as ridge does. With k = 1 it is λ/2 ‖b‖₁², with k the number of entries or more it is
    `L2`. It acts on all entries of a leaf, whatever its shape. As a square it has no largest useful λ: `lam_max` is
    infinite, as for `L2`, and the prox is never all zero.

    Args:
        lam: strength λ ≥ 0.
        k: number of shares, at least 1, common to all leaves. It is a leaf, and may lie between two integers.

    Raises:
        TypeError: if `k` is missing, or a number is none.
        ValueError: if `lam` is negative or `k` less than 1, or if one is NaN or infinite.

    Prox: O(p log p), exact by sorting.

    Source: Argyriou, Foygel & Srebro (2012), "Sparse prediction with the k-support norm", NeurIPS; McDonald, Pontil &
    Stamos (2016), "New perspectives on k-support and cluster norms", JMLR 17, for the shares.

    >>> KSupport(1.0, k=2).prox(jnp.array([-4.0, 3.0, 1.0, 0.5]), 1.0)
    Array([-2. ,  1.5,  0. ,  0. ], dtype=float32)
    """

    lam: Any = 1.0
    k: Any = None

    def __post_init__(self) -> None:
        if self.k is None:
            raise TypeError("k is needed: about how many entries are to be kept, at least 1")
        check_weights(self)
        _check.number("k", self.k, low=1.0)

    def leaf_value(self, x: jax.Array) -> jax.Array:
        """(λ/2) Σ |x| max(|x|, α), where α is the level of magnitude from which on a share is whole."""
        size = jnp.abs(x)
        shares = self._shares(size, jnp.zeros((), x.dtype))
        return 0.5 * as_type(self.lam, x) * jnp.sum(size * jnp.where(shares.whole, size, shares.level))

    def leaf_prox(self, x: jax.Array, step: jax.Array) -> jax.Array:
        """x s/(s + step·λ): the largest are shrunk as by ridge, others moved by step·λα, the smallest cut off."""
        t = step * as_type(self.lam, x)
        sign = jnp.where(x < 0, -1, 1).astype(x.dtype)
        size = sign * x
        shares = self._shares(size, t)
        cut = 0 * size  # NaN stays NaN
        moved = jnp.where(shares.whole, size / (1 + t), jnp.where(shares.part, shares.moved, cut))
        return unless_zero(t, sign * moved, x)

    def leaf_residual(self, x: jax.Array, grad: jax.Array) -> jax.Array:
        """−grad − λ sign(x) max(|x|, α); an entry of zero may use up to λα."""
        lam, size = as_type(self.lam, x), jnp.abs(x)
        shares = self._shares(size, jnp.zeros((), x.dtype))
        pull = lam * jnp.where(shares.whole, size, shares.level)
        return jnp.where(x == 0, soft(-grad, lam * shares.level), -grad - jnp.sign(x) * pull)

    def leaf_lam_max(self, grad: jax.Array) -> jax.Array:
        """Infinite unless the gradient is zero."""
        return jnp.where(jnp.all(grad == 0), 0, jnp.inf).astype(grad.dtype)

    def conjugate(self, dual: PyTree) -> jax.Array:
        """Sum of the k largest squares over 2λ, leaf by leaf."""

        def one(v: jax.Array) -> jax.Array:
            lam, squares = as_type(self.lam, v), jnp.square(jnp.sort(jnp.abs(v.ravel()))[::-1])
            largest = jnp.sum(squares * jnp.clip(as_type(self.k, v) - jnp.arange(v.size), 0, 1))
            hard = jnp.where(largest == 0, 0, jnp.inf)
            return jnp.where(lam > 0, 0.5 * largest / jnp.where(lam > 0, lam, 1), hard)

        return _tree.total(_tree.map_floats(lambda v: one(_tree.wide(v)), dual))

    def shrink(self, dual: PyTree) -> jax.Array:
        """1, since the conjugate is finite everywhere; 0 at λ = 0, unless the dual is zero."""
        size = _tree.max_abs(dual)
        return jnp.where((as_type(self.lam, size) > 0) | (size == 0), 1, 0).astype(size.dtype)

    def _shares(self, size: jax.Array, t: jax.Array) -> "_Shares":
        """Solve Σ clip(|v|/α − t, 0, 1) = k for the level α, which makes these the shares that the prox at t wants.

        The sum falls with α, and bends where a share becomes whole or leaves zero. It is taken at all bends from the
        sums of the sorted magnitudes; between two bends the equation is linear in 1/α. At t = 0 the shares are those
        of the value. No level, α = 0, is left where there are not k nonzero entries.
        """
        top = frozen(jnp.max(size, initial=0))
        unit = size / jnp.where(top == 0, 1, top)
        ranked, scale, k = jnp.sort(frozen(unit).ravel()), frozen(t), as_type(self.k, size)

        def bends(x: jax.Array) -> tuple[jax.Array, jax.Array]:
            """Levels at which entries get their share, and at which it is whole."""
            return jnp.where(scale > 0, x / scale, jnp.where(x > 0, jnp.inf, 0)), x / (1 + scale)

        begins, ends = bends(ranked)
        level = jnp.concatenate([begins, ends])
        some, whole = jnp.searchsorted(begins, level, side="right"), jnp.searchsorted(ends, level)
        sums = jnp.append(0, jnp.cumsum(ranked))  # from below, lest the large ones swamp the small
        between = (whole - some).astype(size.dtype)
        filled = (size.size - whole) + (sums[whole] - sums[some]) / jnp.where(level > 0, level, 1) - between * scale
        bound = jnp.min(jnp.where((level > 0) & (filled < frozen(k)), level, jnp.inf), initial=jnp.inf)

        begins, ends = bends(frozen(unit))
        whole, part = ends >= bound, (begins >= bound) & (ends < bound) & (unit > 0)
        room, count = k - jnp.sum(whole), jnp.sum(part).astype(size.dtype)
        spread = room + count * t
        spread = jnp.where((count > 0) & (spread > 0), spread, 1)
        # Small differences of what is moved far are exact only if they are taken first.
        apart = jnp.where(part, unit - frozen(jnp.max(jnp.where(part, unit, 0), initial=0)), 0)
        moved = (room * unit + t * (count * apart - jnp.sum(apart))) / spread
        alpha = jnp.sum(jnp.where(part, unit, 0)) / spread
        return _Shares(whole, part, top * jnp.where(moved > 0, moved, 0), top * alpha)


class _Shares(NamedTuple):
    """Which entries have whole shares, and which have parts; where the prox moves the latter; the level α."""

    whole: jax.Array
    part: jax.Array
    moved: jax.Array
    level: jax.Array
