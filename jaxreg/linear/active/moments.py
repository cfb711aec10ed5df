"""Certificates of squared error from second moments, once those are proven to be the data's.

Objective, dual and residuals of squared error are functions of the second moments alone. Where there are many more
rows than columns they cost p² a solution, not n·p. That the moments are the data's, in every training set, does
not rest on the code that made them, by blocks, halves and differences: a random vector tells (`disagreement`).
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from jaxreg._programs import program
from jaxreg.linear.active.grams import Store
from jaxreg.linear.active.judge import by_set, columns_of, gap_of_squares, of_sets, summary
from jaxreg.linear.active.sides import sides
from jaxreg.linear.columns import Columns, Data
from jaxreg.linear.design import EXACT, over_rows
from jaxreg.linear.null import Correlations, Null

ROWS = 1024
"""Rows that they are multiplied by at a time: read once, for the product with them and the product back."""
MANY, CACHED = 4, 512
"""Rows for each column from which moments are used, and up to how many columns they stay in a cache."""


def many_rows(n: int, p: int) -> bool:
    """Whether moments are the shorter way: p² a solution, against 2np, but read anew for each training set."""
    return 2 * n >= p and (n >= MANY * p or p <= CACHED)


def disagreement(store: Store, data: Data) -> jax.Array:
    """How far moments times a random vector are from what the data themselves make of it, in any training set.

    A wrong entry shows with probability one, by the size of the error times a normal variable. As a share of the
    lengths of columns and combined vector, on the device: nobody has to wait for it before it is needed.

    Source: Freivalds (1977), "Probabilistic machines can use less running time", IFIP Congress 77.
    """
    many, p = store.columns.shift.shape
    vectors = np.random.default_rng(0).normal(size=(many, 1, 1 + p))
    vectors[..., 0] = 0
    return _disagreement(store.columns, store.moments, data, vectors)


def proven(found: jax.Array) -> bool:
    """Whether moments with that `disagreement` are the data's."""
    return bool(found <= EXACT)


@program()
def _disagreement(columns: Columns, moments: jax.Array, data: Data, vectors: jax.Array) -> jax.Array:
    vectors = jnp.where(columns.free[:, None], vectors, 0)

    def part(first: jax.Array | int, size: int) -> jax.Array:
        some = dataclasses.replace(columns, x=jax.lax.dynamic_slice_in_dim(columns.x, first, size))
        weights = jax.lax.dynamic_slice_in_dim(data.weights, first, size, axis=1)
        return some.correlate(weights[:, None] * some.predict(vectors))

    truth = over_rows(len(columns.x), ROWS, part)
    found = _product(columns, moments, vectors[..., 1:]).look()
    error = jnp.where(columns.free[:, None, 1:], jnp.abs(found - truth), 0)
    # Columns need not be standardized: a share of what their lengths allow.
    squares = (jnp.diagonal(moments, axis1=1, axis2=2) - jnp.square(columns.shift)) / jnp.square(columns.scale)
    length = jnp.sqrt(jnp.maximum(squares, 0))[:, None]
    most = length * jnp.sum(jnp.abs(vectors[..., 1:]) * length, axis=2, keepdims=True)
    return jnp.max(jnp.where(error > 0, error / most, 0))


def _product(columns: Columns, moments: jax.Array, x: jax.Array) -> Correlations:
    """Standardized Grams times x (F, P, p)."""
    inverse = jnp.where(columns.free[:, 1:], 1 / columns.scale, 0)
    slopes = x * inverse[:, None]
    raw = jnp.einsum("fpc,fcd->fpd", slopes, moments, precision="highest")
    total = jnp.sum(columns.shift[:, None] * slopes, axis=2, keepdims=True)
    return Correlations(raw, total, columns.shift, inverse)


@program(static=("width",))
def judge_by_moments(
    null: Null,
    columns: Columns,
    moments: jax.Array,
    place: jax.Array,
    l1: jax.Array,
    l2: jax.Array,
    factor: jax.Array,
    b: jax.Array,
    which: jax.Array,
    *,
    width: int,
) -> tuple[jax.Array, ...]:
    """As `judge_by_rows`, from moments (F, p, p) of all columns in order, where every column is penalized.

    With c the null model's correlations and G the Gram, the gradient is Gb − c, and the residual's square its null
    value and bᵀ(Gb − c) − cᵀb.
    """
    null, moments = of_sets(which, null, moments)
    columns = columns_of(columns, which)
    b = by_set(b)
    x = b[..., 1:]
    product = _product(columns, moments, x)
    gradient = product._replace(raw=product.raw + (null.gradient * columns.scale)[:, None])
    found = sides((l1, l2), factor, gradient, null.gradient, jnp.zeros(b.shape[:2]), b, place, width)
    astray = b[..., 0] - null.coef[:, :1]
    orthogonal = (
        2 * null.primal[:, None] + found.along + jnp.einsum("fpc,fc->fp", x, null.gradient, precision="highest")
    )
    # Of a perfect fit nothing is left but rounding.
    orthogonal = jnp.maximum(orthogonal, 0)
    square = orthogonal + jnp.square(astray)
    gap = gap_of_squares(square, orthogonal, found)
    residual = jnp.maximum(found.residual, jnp.abs(astray))
    return summary(null, l1, l2, gap, residual, square, gradient, found.excess)
