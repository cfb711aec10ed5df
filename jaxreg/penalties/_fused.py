"""Total variation and the fused lasso in one dimension: solutions that are constant in pieces."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from jaxreg import _check, _tree
from jaxreg.penalties._base import Differences
from jaxreg.penalties._chain import chain_prox
from jaxreg.penalties._leafwise import Leafwise, LeafwiseNorm, as_type, check_weights, dual_by_prox, soft, unless_zero


@_tree.register
@dataclasses.dataclass(frozen=True)
class TotalVariation(Leafwise, Differences):
    """Total variation λ Σ_j w_j |b_{j+1} − b_j|: neighbours become exactly equal, and what is left are jumps.

    A parameter of shape (p,) is one chain; of one of shape (p, ...) every column is a chain. Constants cost nothing.
    The prox is exact and direct, without iterations to a tolerance. There is no conjugate: it would be infinite for
    every dual point that does not sum to 0 in each chain, which no scaling mends.

    Args:
        lam: strength λ ≥ 0.
        weight: penalty factors w ≥ 0 of the p − 1 differences: a number or an array, by default 1; 0 breaks the
            chain.

    Raises:
        TypeError: if a number is none.
        ValueError: if a number is negative, NaN or infinite; on use, if a parameter is a scalar, or the weights
            do not fit.

    Prox: exact, in rounds of O(p), of which 5 to 20 are usual.

    Source: Rudin, Osher & Fatemi (1992), "Nonlinear total variation based noise removal algorithms", Physica D 60;
    in one dimension Mammen & van de Geer (1997), "Locally adaptive regression splines", Ann. Stat. 25.

    >>> TotalVariation(1.0).prox(jnp.array([0.0, 1.0, 5.0, 6.0]), 1.0)
    Array([1., 1., 5., 5.], dtype=float32)
    """

    lam: Any = 1.0
    weight: Any = None

    def __post_init__(self) -> None:
        check_weights(self, "weight")

    def leaf_value(self, x: jax.Array) -> jax.Array:
        """λ Σ w|x_{j+1} − x_j|."""
        return as_type(self.lam, x) * _variation(x, _bonds(self.weight, x))

    def leaf_prox(self, x: jax.Array, step: jax.Array) -> jax.Array:
        """Exact, chain by chain."""
        t = step * as_type(self.lam, x)
        return unless_zero(t, _smoothed(x, t * _bonds(self.weight, x)), x)

    def leaf_residual(self, x: jax.Array, grad: jax.Array) -> jax.Array:
        """Where x jumps the subgradient is given; between jumps, the prox of what remains."""
        return _residual(x, -grad, as_type(self.lam, x) * _bonds(self.weight, x))

    def leaf_lam_max(self, grad: jax.Array) -> jax.Array:
        """max |cumulative sum of the gradient| / w, each chain's gradient taken to sum to 0."""
        bonds = _bonds(self.weight, grad)
        return _largest_force(_centred(grad, bonds), bonds)


@_tree.register
@dataclasses.dataclass(frozen=True)
class FusedLasso(LeafwiseNorm):
    """Fused lasso λ(r Σ|b_j| + (1 − r) Σ_j w_j |b_{j+1} − b_j|): sparse, and constant in pieces.

    Chains are those of `TotalVariation`. The prox is its prox, and then the soft threshold.

    Args:
        lam: strength λ ≥ 0.
        l1_ratio: share r in [0, 1] of the entries; 0 is `TotalVariation`, 1 is `L1`.
        weight: penalty factors w ≥ 0 of the p − 1 differences, as in `TotalVariation`.

    Raises:
        TypeError: as `TotalVariation`.
        ValueError: as `TotalVariation`, or if `l1_ratio` is outside [0, 1].

    Prox: exact, in rounds of O(p), of which 5 to 20 are usual.

    Source: Tibshirani, Saunders, Rosset, Zhu & Knight (2005), "Sparsity and smoothness via the fused lasso", JRSS B 67;
    Friedman, Hastie, Höfling & Tibshirani (2007), "Pathwise coordinate optimization", Ann. Appl. Stat. 1, for the prox.

    >>> FusedLasso(2.0, l1_ratio=0.5).prox(jnp.array([0.0, 1.0, 5.0, 6.0]), 1.0)
    Array([0., 0., 4., 4.], dtype=float32)
    """

    lam: Any = 1.0
    l1_ratio: Any = 0.5
    weight: Any = None

    def __post_init__(self) -> None:
        check_weights(self, "weight")
        _check.number("l1_ratio", self.l1_ratio, high=1.0)

    def _parts(self, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        """r, and (1 − r)w of each difference."""
        mix = as_type(self.l1_ratio, x)
        return mix, (1 - mix) * _bonds(self.weight, x)

    def leaf_value(self, x: jax.Array) -> jax.Array:
        """λ(r Σ|x| + (1 − r) Σ w|x_{j+1} − x_j|)."""
        mix, bonds = self._parts(x)
        return as_type(self.lam, x) * (mix * jnp.sum(jnp.abs(x)) + _variation(x, bonds))

    def leaf_prox(self, x: jax.Array, step: jax.Array) -> jax.Array:
        """Soft threshold of the prox of total variation."""
        t = step * as_type(self.lam, x)
        mix, bonds = self._parts(x)
        return unless_zero(t, soft(_smoothed(x, t * bonds), t * mix), x)

    def leaf_residual(self, x: jax.Array, grad: jax.Array) -> jax.Array:
        """As for total variation, with the sign of x, or any number in [−1, 1] where x is 0, times λr."""
        mix, bonds = self._parts(x)
        lam = as_type(self.lam, x)
        rest = _residual(x, -grad - lam * mix * jnp.sign(x), lam * bonds)
        return jnp.where(x == 0, soft(rest, lam * mix), rest)

    def leaf_lam_max(self, grad: jax.Array) -> jax.Array:
        """Smallest λ at which the prox of the gradient is 0; without an l1 part, that of total variation."""
        mix, bonds = self._parts(grad)
        # At r = 0 a constant costs nothing, and Newton's method would not begin.
        return jnp.where(mix > 0, dual_by_prox(self.at(1.0), grad), _largest_force(_centred(grad, bonds), bonds))

    def leaf_dual_norm(self, dual: jax.Array) -> jax.Array:
        """Smallest threshold whose prox is 0; without an l1 part, that of total variation."""
        mix, bonds = self._parts(dual)
        hidden = (mix == 0) & ~_sums_to_zero(dual, bonds)
        return jnp.where(hidden, jnp.inf, self.leaf_lam_max(dual))


def _bonds(weight: Any, x: jax.Array) -> jax.Array:
    """Weight of each difference along the first axis, (p − 1,)."""
    if x.ndim == 0:
        raise ValueError("total variation needs neighbours, got a parameter that is a scalar")
    factor = jnp.asarray(1.0 if weight is None else weight, x.dtype)
    if factor.shape not in ((), (1,), (x.shape[0] - 1,)):
        raise ValueError(f"weight of shape {factor.shape} does not fit the {x.shape[0] - 1} differences of a parameter")
    return jnp.broadcast_to(factor, (x.shape[0] - 1,))


def _variation(x: jax.Array, bonds: jax.Array) -> jax.Array:
    return jnp.sum(jnp.abs(jnp.diff(x, axis=0)).reshape(len(bonds), -1) * bonds[:, None])


def _columns(fn: Any, x: jax.Array, *rest: jax.Array) -> jax.Array:
    """Map over all columns: arrays of p or p − 1 rows."""
    if x.ndim == 1:
        return fn(x, *rest)
    flat = (leaf.reshape(leaf.shape[0], -1) for leaf in (x, *rest))
    return jax.vmap(fn, in_axes=1, out_axes=1)(*flat).reshape(x.shape)


def _smoothed(x: jax.Array, costs: jax.Array) -> jax.Array:
    return _columns(lambda column: chain_prox(column, costs, costs), x)


def _residual(x: jax.Array, pull: jax.Array, costs: jax.Array) -> jax.Array:
    """Smallest element of pull − ∂TV(x): the prox, on each constant piece, of pull less what the jumps give."""

    def one(x: jax.Array, pull: jax.Array) -> jax.Array:
        rise = jnp.sign(jnp.diff(x))
        force = costs * rise
        moved = pull + jnp.append(force, 0) - jnp.append(jnp.zeros(1, x.dtype), force)
        inside = jnp.where(rise == 0, costs, 0)
        return chain_prox(moved, inside, inside)

    return _columns(one, x, pull)


def _chains(bonds: jax.Array) -> jax.Array:
    """Number of the chain that each place belongs to."""
    return jnp.append(0, jnp.cumsum(bonds == 0))


def _centred(x: jax.Array, bonds: jax.Array) -> jax.Array:
    """Less its mean over each chain."""
    chain, n = _chains(bonds), x.shape[0]
    size = jax.ops.segment_sum(jnp.ones(n, x.dtype), chain, num_segments=n)
    mean = jax.ops.segment_sum(x, chain, num_segments=n) / jnp.maximum(size, 1).reshape(-1, *(1,) * (x.ndim - 1))
    return x - mean[chain]


def _sums_to_zero(x: jax.Array, bonds: jax.Array) -> jax.Array:
    chain, n = _chains(bonds), x.shape[0]
    sums, sizes = (jax.ops.segment_sum(part, chain, num_segments=n) for part in (x, jnp.abs(x)))
    return jnp.all(jnp.abs(sums) <= 8 * jnp.finfo(x.dtype).eps * sizes)


def _largest_force(x: jax.Array, bonds: jax.Array) -> jax.Array:
    """Largest |cumulative sum| / bond, for chains that sum to 0."""
    force = jnp.abs(jnp.cumsum(x, axis=0)[:-1]).reshape(len(bonds), -1)
    return jnp.max(jnp.where(bonds > 0, 1 / jnp.where(bonds > 0, bonds, 1), 0)[:, None] * force, initial=0)
