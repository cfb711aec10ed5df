"""What the engine may ask of a feature matrix."""

import abc
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

LEVEL = 10
"""Mean of a column beside its spread, up to which its second moment about zero is accurate enough."""


class Design(abc.ABC):
    """A feature matrix X of shape (n, p), asked for few things only, so that dense is one kind among others.

    All results are float64: the data may be stored in less, but what is computed from them is not.
    """

    @property
    @abc.abstractmethod
    def shape(self) -> tuple[int, int]:
        """Rows n and columns p."""

    @abc.abstractmethod
    def moments(
        self, weights: jax.Array, response: jax.Array | None = None
    ) -> tuple[jax.Array, jax.Array, jax.Array | None]:
        """Weighted mean and variance of every column, each (F, p), for weights (F, n) whose rows sum to 1.

        The variance of a column that is constant under the weights is exactly 0. With a response (n,) its covariance
        with every column, (F, p), too: in a matrix in memory that costs no pass of its own.
        """

    @abc.abstractmethod
    def gather(self, columns: jax.Array | None, center: jax.Array) -> jax.Array:
        """Return the chosen columns minus their `center`, (n, w); all of them for None."""

    @abc.abstractmethod
    def apply(self, columns: jax.Array, coef: jax.Array) -> jax.Array:
        """Chosen columns times coefficients, (B, n), for coef (B, w)."""

    @abc.abstractmethod
    def correlate(self, rows: jax.Array) -> jax.Array:
        """rows @ X, (B, p), for rows (B, n): the one product that touches every entry of X."""

    @abc.abstractmethod
    def kernel(self, center: jax.Array, factor: jax.Array) -> jax.Array:
        """(X − center) diag(factor) (X − center)ᵀ, (n, n), for center and factor of shape (p,)."""


def wide_dot(a: jax.Array, b: jax.Array) -> jax.Array:
    """Matrix product in float64."""
    return jnp.matmul(a, b, precision="highest", preferred_element_type=jnp.float64)


def centered(weights: jax.Array, response: jax.Array) -> jax.Array:
    """The response (n,) about its mean in every training set, times the weights, (F, n).

    Each set by its own mean: a row that is held out, however far off, costs the others no digit.
    """
    return weights * (response - (weights @ response)[:, None])


def settle(variance: jax.Array, second: jax.Array, shift: jax.Array, exact: Callable[[], jax.Array]) -> jax.Array:
    """Variances (F, p) that come from differences of second moments: repaired where they cancelled.

    One shift serves all training sets, which costs a product instead of a pass over X for each. It cancels
    in a column that hardly varies in one set and is far from its mean there, such as one that is constant but
    for the rows held out: only then the exact variances are computed.

    Args:
        variance: as found.
        second: second moments about the shift, which bound what was subtracted.
        shift: what they are about, (p,).
        exact: computes all variances about each set's own means.
    """
    # A column whose spread is rounding of its entries is constant.
    info = jnp.finfo(jnp.float64)
    noise = jnp.minimum((64 * info.eps) ** 2 * (jnp.square(shift) + second), info.max)
    lost = (variance < 1e-6 * second) & (second > noise)
    variance = jax.lax.cond(jnp.any(lost), lambda: jnp.where(lost, exact(), variance), lambda: variance)
    # Squares that overflow are no reason to call a column constant.
    return jnp.where(variance <= noise, 0, variance)


def over_rows(n: int, size: int, part: Callable[[Any, int], Any], add: Callable[[Any, Any], Any] | None = None) -> Any:
    """Add up part(first row, number of rows), leaf by leaf, over blocks of at most `size` of n rows."""
    add = add or functools.partial(jax.tree.map, jnp.add)
    whole, rest = divmod(n, size)
    total = part(whole * size, rest)
    if whole == 0:
        return total
    return jax.lax.fori_loop(0, whole, lambda k, total: add(total, part(k * size, size)), total)
