"""A matrix in memory."""

import dataclasses

import jax
import jax.numpy as jnp

from jaxreg.linear.design._base import Design, centered, over_rows, settle, wide_dot

ENTRIES = 2**17
"""Entries worked on at a time, so that what is derived from them stays in the cache."""


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Dense(Design):
    """A matrix in memory, on whatever device JAX keeps it, in float32 or float64."""

    X: jax.Array

    @property
    def shape(self) -> tuple[int, int]:
        """Rows n and columns p."""
        n, p = self.X.shape
        return n, p

    def moments(
        self, weights: jax.Array, response: jax.Array | None = None
    ) -> tuple[jax.Array, jax.Array, jax.Array | None]:
        """Shift by rough means first, so that large ones do not cancel in the variance; in blocks of rows."""
        (n, p), many = self.shape, len(weights)
        rows = weights if response is None else jnp.concatenate([weights, centered(weights, response)])
        shift = jnp.mean(self.X[:: max(1, n // 256)].astype(jnp.float64), axis=0)

        def block(first: jax.Array | int, size: int) -> tuple[jax.Array, jax.Array]:
            shifted = jax.lax.dynamic_slice_in_dim(self.X, first, size).astype(jnp.float64) - shift
            some = jax.lax.dynamic_slice_in_dim(rows, first, size, axis=1)
            return wide_dot(some, shifted), wide_dot(some[:many], jnp.square(shifted))

        sums, second = over_rows(n, min(max(ENTRIES // p, 32), 256), block)
        mean = sums[:many]
        along = None if response is None else sums[many:] - jnp.sum(rows[many:], axis=1, keepdims=True) * mean

        def exact() -> jax.Array:
            X = self.X.astype(jnp.float64)
            return jax.lax.map(lambda view: view[0] @ jnp.square(X - view[1]), (weights, mean + shift))

        variance = settle(second - jnp.square(mean), second, shift, exact)
        return mean + shift, variance, along

    def gather(self, columns: jax.Array | None, center: jax.Array) -> jax.Array:
        """Copy the chosen columns, in float64."""
        chosen = self.X if columns is None else self.X[:, columns]
        return chosen.astype(jnp.float64) - center

    def apply(self, columns: jax.Array, coef: jax.Array) -> jax.Array:
        """One matrix product with a copy of the chosen columns."""
        return wide_dot(coef, self.X[:, columns].astype(jnp.float64).T)

    def correlate(self, rows: jax.Array) -> jax.Array:
        """One matrix product."""
        return wide_dot(rows, self.X.astype(jnp.float64))

    def kernel(self, center: jax.Array, factor: jax.Array) -> jax.Array:
        """One matrix product."""
        centered = self.X.astype(jnp.float64) - center
        return wide_dot(centered * factor, centered.T)
