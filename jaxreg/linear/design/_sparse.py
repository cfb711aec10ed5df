"""A sparse matrix: stored by columns, centered and scaled without filling it."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from jaxreg.linear import sizes
from jaxreg.linear.design._base import Design, centered, settle, wide_dot

ROWS = 32
"""Rows of a product done at once. Of 16 to 256 the quickest: so many rows of a dense factor stay in cache."""
ENTRIES = 2**24
"""Largest temporary array of a product where it is done by gather and scatter, in entries."""
COLUMNS = 256
"""Columns made dense at once, where all of a product's columns need not be."""
SMALL = 2**20
"""Stored entries up to which lengths are powers of two."""
PIECE = 2**13
"""Stored entries copied at once when columns are made dense."""


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Sparse(Design):
    """A matrix of mostly zeros in compressed columns: memory grows with the entries stored, not with n × p.

    Column j has the entries data[indptr[j]:indptr[j + 1]] in the rows indices[indptr[j]:indptr[j + 1]], without
    duplicates. Entries past indptr[-1] are padding, so that matrices of near sizes share compiled programs.
    """

    data: jax.Array
    indices: jax.Array
    indptr: jax.Array
    filled: jax.Array
    """How many rows there are but for those that only fill up, which stand last and have no entries."""
    rows: int = dataclasses.field(metadata={"static": True})

    @classmethod
    def make(cls, data: np.ndarray, indices: np.ndarray, indptr: np.ndarray, rows: int, filled: int) -> "Sparse":
        """Pad to a power of two, or to one of eight lengths for each where that would take much memory."""
        spare = sizes.rounded(max(data.size, 1), steps=1 if data.size < SMALL else 8) - data.size
        # Not by jnp.asarray, which is a program for every length.
        return cls(
            jax.device_put(np.pad(data, (0, spare))),
            jax.device_put(np.pad(indices, (0, spare)).astype(np.int32)),
            jax.device_put(indptr.astype(np.int32)),
            jax.device_put(np.int32(filled)),
            rows,
        )

    @property
    def shape(self) -> tuple[int, int]:
        """Rows n and columns p."""
        return self.rows, self.indptr.size - 1

    def moments(
        self, weights: jax.Array, response: jax.Array | None = None
    ) -> tuple[jax.Array, jax.Array, jax.Array | None]:
        """Split the variance into that among stored entries, and that between these and the zeros.

        With P the weight of a column's stored entries, μ their mean and V their variance, the column has mean
        Pμ and variance PV + P(1 − P)μ²: no difference of large numbers.
        """
        n = self.shape[0]
        size, owner = jnp.diff(self.indptr), self._owner()
        x = self.data.astype(jnp.float64)
        shift = self._times(x, jnp.ones((1, n)))[0] / jnp.maximum(size, 1)
        shifted = x - shift[owner]
        stored, first, second = jax.lax.map(
            lambda power: self._times(shifted**power, weights), jnp.arange(3, dtype=jnp.float64)
        )
        level = jnp.where(stored > 0, first / jnp.where(stored > 0, stored, 1), 0)
        # What is left of the weight is rounding, if no zero of the column has any.
        zeros = jnp.where((size < self.filled) & (1 - stored > 64 * jnp.finfo(jnp.float64).eps), 1 - stored, 0)
        between = stored * zeros * jnp.square(level + shift)

        def exact() -> jax.Array:
            def one(view: tuple[jax.Array, jax.Array]) -> jax.Array:
                return self._times(jnp.square(x - view[1][owner]), view[0][None])[0]

            return jax.lax.map(one, (weights, level + shift)) + between

        mean = first + stored * shift
        variance = settle(second - stored * jnp.square(level) + between, second, shift, exact)
        if response is None:
            return mean, variance, None
        rows = centered(weights, response)
        return mean, variance, self.correlate(rows) - jnp.sum(rows, axis=1, keepdims=True) * mean

    def gather(self, columns: jax.Array | None, center: jax.Array) -> jax.Array:
        """Make the chosen columns dense, at a cost that follows their own stored entries."""
        return self._dense(jnp.arange(self.shape[1]) if columns is None else columns) - center

    def apply(self, columns: jax.Array, coef: jax.Array) -> jax.Array:
        """Make the columns dense a block at a time."""
        width = min(COLUMNS, columns.size)
        if width == 0:
            return jnp.zeros((coef.shape[0], self.rows))
        spare = -columns.size % width
        columns = jnp.pad(columns, (0, spare)).reshape(-1, width)
        coef = jnp.pad(coef, ((0, 0), (0, spare))).reshape(coef.shape[0], -1, width)

        def add(total: jax.Array, block: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, None]:
            return total + wide_dot(block[1], self._dense(block[0]).T), None

        zero = jnp.zeros((coef.shape[0], self.rows))
        return jax.lax.scan(add, zero, (columns, jnp.moveaxis(coef, 1, 0)))[0]

    def correlate(self, rows: jax.Array) -> jax.Array:
        """One sparse product, in blocks of rows."""
        return self._times(self.data.astype(jnp.float64), rows)

    def kernel(self, center: jax.Array, factor: jax.Array) -> jax.Array:
        """Sparse products of X with blocks of its own scaled rows, and then the center's rank-two correction."""
        n = self.rows
        # Only a column without zeros can have a mean that is large beside its spread: it is centered in place.
        full = jnp.diff(self.indptr) == self.filled
        data = self.data.astype(jnp.float64) - jnp.where(full, center, 0)[self._owner()]
        center = jnp.where(full, 0, center)
        transposed = dataclasses.replace(self, data=data)._transposed()

        def block(rows: jax.Array) -> jax.Array:
            return transposed.correlate((transposed._dense(rows) * factor[:, None]).T)

        width = min(ROWS, n)
        rows = jnp.pad(jnp.arange(n), (0, -n % width)).reshape(-1, width)
        plain = jax.lax.map(block, rows).reshape(-1, n)[:n]
        tilt = transposed.correlate((factor * center)[None])[0]
        return plain - tilt[:, None] - tilt[None, :] + jnp.sum(factor * jnp.square(center))

    def _owner(self) -> jax.Array:
        """Column of each stored entry; that of padding is the last."""
        _, p = self.shape
        return jnp.repeat(jnp.arange(p), jnp.diff(self.indptr), total_repeat_length=self.data.size)

    def _times(self, data: jax.Array, rows: jax.Array) -> jax.Array:
        """rows @ X, (B, p), with `data` in place of the stored entries."""
        # Imported when needed: most fits are not sparse.
        from jax.experimental import sparse

        n, p = self.shape

        def product(block: jax.Array) -> jax.Array:
            # Compressed columns of X are compressed rows of Xᵀ.
            transposed = sparse.BCSR(
                (data, self.indices, self.indptr), shape=(p, n), indices_sorted=True, unique_indices=True
            )
            return (transposed @ block.T).T

        def blocks_of(width: int, rows: jax.Array) -> jax.Array:
            # As many blocks as that takes, of equal width: little of the last one is padding.
            count = max(1, -(-rows.shape[0] // max(1, width)))
            width = max(1, -(-rows.shape[0] // count))
            padded = jnp.pad(rows, ((0, -rows.shape[0] % width), (0, 0))).reshape(-1, width, n)
            return jax.lax.map(product, padded).reshape(-1, p)[: rows.shape[0]]

        # On CPU the product is a compiled kernel of jaxlib's; elsewhere it makes an array of entries × rows.
        return jax.lax.platform_dependent(
            rows,
            cpu=lambda rows: blocks_of(ROWS, rows),
            default=lambda rows: blocks_of(min(ROWS, ENTRIES // data.size), rows),
        )

    def _dense(self, columns: jax.Array) -> jax.Array:
        """Chosen columns, (n, w), in float64; each entry of one that is chosen twice is copied from the first."""
        n, p = self.shape
        if columns.size == 0:
            return jnp.zeros((n, 0))
        place = jnp.arange(columns.size)
        first = jnp.full(p, columns.size).at[columns].min(place)[columns]
        size = jnp.where(first == place, self.indptr[columns + 1] - self.indptr[columns], 0)
        end = jnp.cumsum(size)
        # Entry q of all chosen ones, in order, belongs to the first column that ends behind q.
        begin = self.indptr[columns] - (end - size)

        def copy(state: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
            done, dense = state
            q = done + jnp.arange(PIECE)
            slot = jnp.searchsorted(end, q, side="right", method="scan")
            entry = jnp.minimum(begin[jnp.minimum(slot, columns.size - 1)] + q, self.data.size - 1)
            value = self.data[entry].astype(jnp.float64)
            # Past the last entry the slot is out of range, and what would be written there is dropped.
            dense = dense.at[slot, self.indices[entry]].set(value, mode="drop")
            return done + PIECE, dense

        start = (jnp.zeros((), end.dtype), jnp.zeros((columns.size, n)))
        _, dense = jax.lax.while_loop(lambda state: state[0] < end[-1], copy, start)
        return dense[first].T

    def _transposed(self) -> "Sparse":
        """The same entries by rows."""
        n, p = self.shape
        real = jnp.arange(self.data.size) < self.indptr[-1]
        row = jnp.where(real, self.indices, n)
        order = jnp.argsort(row, stable=True)
        indptr = jnp.searchsorted(row[order], jnp.arange(n + 1)).astype(jnp.int32)
        return Sparse(self.data[order], self._owner()[order].astype(jnp.int32), indptr, jnp.int32(p), p)
