"""Penalties of singular values."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from jaxreg import _check, _tree
from jaxreg.penalties._leafwise import LeafwiseNorm, as_type, unless_zero


@_tree.register
@dataclasses.dataclass(frozen=True)
class Nuclear(LeafwiseNorm):
    """Nuclear norm λ Σ_k σ_k(B), the sum of the singular values of a matrix: low rank.

    The last two axes of a parameter are a matrix; more axes hold more matrices, and vectors are refused. The prox
    thresholds singular values, of which all below step·λ vanish: the rank falls up to rounding, and a matrix that
    vanishes is exactly zero. Derivatives of value and prox are right also where singular values are equal, or zero,
    and those of a singular value decomposition are not finite.

    Args:
        lam: strength λ ≥ 0.

    Raises:
        TypeError: if `lam` is no number.
        ValueError: if it is negative, NaN or infinite; on use, if a parameter is a vector.

    Prox: a singular value decomposition, O(mn min(m, n)) for a matrix of m × n.

    Source: Fazel, Hindi & Boyd (2001), "A rank minimization heuristic", ACC; Cai, Candès & Shen (2010), "A singular
    value thresholding algorithm for matrix completion", SIAM J. Optim. 20, for the prox.

    >>> Nuclear(1.0).prox(jnp.array([[3.0, 0.0], [0.0, 0.5]]), 1.0)
    Array([[2., 0.],
           [0., 0.]], dtype=float32)
    """

    lam: Any = 1.0

    def __post_init__(self) -> None:
        _check.number("lam", self.lam)

    def leaf_value(self, x: jax.Array) -> jax.Array:
        """λ Σ σ_k."""
        return as_type(self.lam, x) * _sum_of_singular_values(_matrices(x))

    def leaf_prox(self, x: jax.Array, step: jax.Array) -> jax.Array:
        """Soft threshold of the singular values."""
        t = step * as_type(self.lam, x)
        return unless_zero(t, _threshold(_matrices(x), t), x)

    def leaf_residual(self, x: jax.Array, grad: jax.Array) -> jax.Array:
        """−grad − λUVᵀ, of which the part outside of the row and column space of x is thresholded by λ.

        Singular values of x within rounding of zero count as zero.
        """
        u, s, vt = _decompose(_matrices(x))
        noise = 2 * max(x.shape[-2:]) * jnp.finfo(x.dtype).eps * s[..., :1]
        kept = (s > noise).astype(x.dtype)[..., None, :]
        u, v = u * kept, _turned(vt) * kept
        rest = -grad - as_type(self.lam, x) * _product(u, _turned(v))
        outside = rest - _product(u, _product(_turned(u), rest))
        outside = outside - _product(_product(outside, v), _turned(v))
        return rest - outside + _threshold(outside, as_type(self.lam, x))

    def leaf_lam_max(self, grad: jax.Array) -> jax.Array:
        """Largest singular value of the gradient."""
        return self.leaf_dual_norm(grad)

    def leaf_dual_norm(self, dual: jax.Array) -> jax.Array:
        """Largest singular value."""
        return jnp.max(jnp.linalg.svd(_matrices(dual), compute_uv=False), initial=0)


def _matrices(x: jax.Array) -> jax.Array:
    if x.ndim < 2:
        raise ValueError(f"the nuclear norm needs a matrix, got a parameter of shape {x.shape}")
    return x


def _turned(x: jax.Array) -> jax.Array:
    return jnp.swapaxes(x, -1, -2)


def _product(a: jax.Array, b: jax.Array) -> jax.Array:
    return jnp.matmul(a, b, precision="highest")


def _decompose(x: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    u, s, vt = jnp.linalg.svd(x, full_matrices=False)
    return u, s, vt


@jax.custom_jvp
def _sum_of_singular_values(x: jax.Array) -> jax.Array:
    return jnp.sum(jnp.linalg.svd(x, compute_uv=False))


@_sum_of_singular_values.defjvp
def _polar(primals: Any, tangents: Any) -> tuple[jax.Array, jax.Array]:
    """⟨UVᵀ, change⟩ over the nonzero singular values: of all subgradients the one of least norm."""
    u, s, vt = _decompose(primals[0])
    return jnp.sum(s), jnp.sum(_product(u * (s > 0)[..., None, :], vt) * tangents[0])


@jax.custom_jvp
def _threshold(x: jax.Array, t: jax.Array) -> jax.Array:
    """Soft threshold of the singular values."""
    u, s, vt = _decompose(x)
    return _product(u * jnp.maximum(s - t, 0)[..., None, :], vt)


@_threshold.defjvp
def _threshold_jvp(primals: Any, tangents: Any) -> tuple[jax.Array, jax.Array]:
    """Divided differences of f(σ) = (σ − t)₊, which need no division where singular values are equal.

    In the bases U and V the symmetric part of the change is multiplied by (f_i − f_j)/(σ_i − σ_j), the skew part by
    (f_i + f_j)/(σ_i + σ_j), and what lies outside of U or V by f_i/σ_i.

    Source: Lewis & Sendov (2005), "Nonsmooth analysis of singular values, part II", Set-Valued Anal. 13.
    """
    (x, t), (change, change_t) = primals, tangents
    u, s, vt = _decompose(x)
    f = jnp.maximum(s - t, 0)
    nothing = jnp.where(t > 0, 0, 1).astype(x.dtype)  # f/σ at σ = 0
    rise, fall = s[..., :, None], s[..., None, :]
    high, low, total = jnp.maximum(rise, fall), jnp.minimum(rise, fall), rise + fall
    between = (low < t) & (high > t)
    differences = jnp.where(between, (high - t) / jnp.where(between, high - low, 1), jnp.where(low >= t, 1, 0))
    sums = (f[..., :, None] + f[..., None, :]) / jnp.where(total > 0, total, 1)
    sums = jnp.where(total > 0, sums, nothing)
    ratio = jnp.where(s > 0, f / jnp.where(s > 0, s, 1), nothing)[..., None, :]
    v = _turned(vt)
    right, left = _product(change, v), _product(_turned(u), change)
    inside = _product(_turned(u), right)
    symmetric, skew = 0.5 * (inside + _turned(inside)), 0.5 * (inside - _turned(inside))
    core = differences * symmetric + sums * skew - change_t * jnp.eye(s.shape[-1], dtype=x.dtype) * (rise > t)
    moved = _product(_product(u, core) + (right - _product(u, inside)) * ratio, vt)
    moved = moved + _product(u * ratio, left - _product(inside, vt))
    return _product(u * f[..., None, :], vt), moved
