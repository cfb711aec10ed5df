"""The store: columns that were ever in a working set, and their second moments in every training set.

Folds are disjoint: with S_k the moments of the rows that fold k holds out, those of all rows are their sum T, and
those of training set k are T − S_k. All K + 1 of them cost one pass over the rows. A column's products
with the others are computed once, when it enters.
"""

import dataclasses
import functools
import itertools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxreg._programs import program
from jaxreg.linear.active.split import Split
from jaxreg.linear.active.tableau import dot
from jaxreg.linear.columns import Columns, Data
from jaxreg.linear.design import LEVEL, Dense, Design, Views, moments_by_blas, over_rows, worth_blas

BLOCK, LEAST_ROWS, MOST_ROWS = 2**17, 256, 1024
"""Entries, and rows, multiplied at a time: a block stays in a core's cache."""
PANELS = 4
"""Panels that the symmetric half of a Gram is made in, if they have `LEAST` columns at least."""
FEW_ROWS = 256
"""Up to this many rows a Gram of some columns is sooner made from them than taken from that of all columns."""
LEAST = 64
"""Fewest columns added at a time; more are added by powers of two, so that few shapes are compiled."""

Rows = Callable[[jax.Array], jax.Array]
"""Takes some rows of a matrix."""


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Store:
    """Columns (n, c), of which the first few are filled, and what every training set makes of them."""

    columns: Columns
    moments: jax.Array
    """(F, c, c) second moments about the columns' centers; (F, 0, 0) where nobody asks for them, or rows are few."""
    linear: jax.Array
    """(F, c) inner products of the standardized columns with the centered target, (F, k, c) with those of k outputs;
    none, (F, 0), where nobody asks."""

    @property
    def capacity(self) -> int:
        """Columns that there is room for."""
        return self.columns.index.size


def store_of(moments: jax.Array, views: Views, data: Data, gradient: jax.Array) -> Store:
    """All columns without their entries: their moments (F, p, p) about zero and the null model's gradient tell all."""
    center, without = np.zeros(moments.shape[1]), np.zeros((0, 0))
    store = _full(without, views, data, None, True, center, gradient, gram=True, moments=False)
    return dataclasses.replace(store, moments=moments)


def second_moments(left: jax.Array, right: jax.Array, weights: jax.Array, split: Split | None) -> jax.Array:
    """Σᵢ w_fi left_i right_iᵀ of every training set, (F, a, b), for left (n, a) and right (n, b)."""
    block = _rows(left.shape[1])
    return _of_sets(lambda rows, w: dot(rows(left).T, rows(right) * w[:, None]), lambda m: m, weights, split, block)


def own_moments(x: jax.Array, weights: jax.Array, split: Split | None) -> jax.Array:
    """The same for x (n, p) with itself: the symmetric half, in panels, costs 1.5 times less than all of it."""
    p = x.shape[1]
    many = PANELS if p >= PANELS * LEAST else 1
    cuts = [p * k // many for k in range(many + 1)]

    def panels(rows: Rows, weight: jax.Array) -> tuple[jax.Array, ...]:
        part = rows(x) * jnp.sqrt(weight)[:, None]
        return tuple(dot(part[:, a:b].T, part[:, a:]) for a, b in itertools.pairwise(cuts))

    def whole(found: tuple[jax.Array, ...]) -> jax.Array:
        rows = []
        for k, (a, b) in enumerate(itertools.pairwise(cuts)):
            before = [found[j][:, a - cuts[j] : b - cuts[j]].T for j in range(k)]
            # Of the block on the diagonal, too, half is enough, and the other half may have been rounded otherwise.
            own = jnp.triu(found[k][:, : b - a])
            rows.append(jnp.concatenate([*before, own + jnp.triu(own, 1).T, found[k][:, b - a :]], axis=1))
        return jnp.concatenate(rows)

    return _of_sets(panels, whole, weights, split, _rows(p))


def _rows(p: int) -> int:
    return min(MOST_ROWS, max(LEAST_ROWS, BLOCK // p))


def _of_sets(
    product: Callable[[Rows, jax.Array], Any],
    whole: Callable[[Any], jax.Array],
    weights: jax.Array,
    split: Split | None,
    block: int,
) -> jax.Array:
    """What `whole` makes, for every training set, of the sum over its rows of `product` of some rows and their weights.

    Stacked, in one array that is written in place: with many training sets it is memory that takes the time.
    """
    if split is None:

        def of_set(weight: jax.Array) -> Any:
            def part(first: jax.Array | int, size: int) -> Any:
                rows = functools.partial(jax.lax.dynamic_slice_in_dim, start_index=first, slice_size=size)
                return product(rows, rows(weight))

            return whole(over_rows(weight.size, block, part))

        return jax.lax.map(of_set, weights)
    rows, share, kept = split.rows, split.weights, split.kept

    def held(k: jax.Array | int) -> jax.Array:
        return whole(product(lambda x: x[rows[k]], share[k]))

    def put(out: jax.Array, k: jax.Array | int, found: jax.Array) -> jax.Array:
        return jax.lax.dynamic_update_index_in_dim(out, found, k, 0)

    def add(k: jax.Array, out: jax.Array) -> jax.Array:
        found = held(k)
        return put(out.at[0].add(found), k + 1, found)

    def without(k: jax.Array, out: jax.Array) -> jax.Array:
        return put(out, k + 1, (out[0] - out[k + 1]) / kept[k])

    # First the moments of all rows and of those held out, then those of the rest; a last block may be held out by none.
    shape = jax.eval_shape(held, 0)
    out = jax.lax.fori_loop(0, kept.size, add, jnp.zeros((1 + kept.size, *shape.shape), shape.dtype))
    for k in range(kept.size, len(rows)):
        out = out.at[0].add(held(k))
    return jax.lax.fori_loop(0, kept.size, without, out)


def full_store(
    design: Design,
    views: Views,
    data: Data,
    split: Split | None,
    intercept: bool,
    *,
    gram: bool,
    at_once: bool = True,
    gradient: jax.Array | None = None,
) -> Store:
    """All columns of the design, in their order; without a Gram where a loss makes its own.

    Nor is there one where rows are few, unless all columns are wanted `at_once`. The `gradient` (F, p) of a null model
    that is no more than the mean tells the inner products with the target. A dense matrix in float64 is used as it
    stands, without a copy, where no mean is large beside its spread.
    """
    mean, scale = np.asarray(views.mean)[0], np.asarray(views.scale)[0]
    exact = isinstance(design, Dense) and design.X.dtype == np.float64
    if isinstance(design, Dense) and exact and (np.abs(mean) <= LEVEL * scale).all():
        x, center = design.X, np.zeros_like(mean)
    else:
        x, center = _centered(design, mean), mean
    moments = gram and (at_once or len(x) > FEW_ROWS)
    by_blas = moments and split is None and worth_blas(x, len(data.weights))
    store = _full(x, views, data, split, intercept, center, gradient, gram=gram, moments=moments and not by_blas)
    found = store.moments
    if by_blas:
        found = jax.device_put(moments_by_blas(np.asarray(x), np.asarray(data.weights)[0])[None])
    return dataclasses.replace(store, columns=dataclasses.replace(store.columns, x=x), moments=found)


@program()
def _centered(design: Design, center: jax.Array) -> jax.Array:
    return design.gather(None, center)


@program(static=("gram", "moments"))
def _full(
    x: jax.Array,
    views: Views,
    data: Data,
    split: Split | None,
    intercept: jax.Array,
    center: jax.Array,
    gradient: jax.Array | None,
    *,
    gram: bool,
    moments: bool,
) -> Store:
    """The store of x, but for x itself: a program would copy it."""
    many, p = views.mean.shape
    first = jnp.broadcast_to(intercept, (many, 1))
    free = jnp.concatenate([first, views.varies], axis=1)
    columns = Columns(x, views.mean - center, views.scale, free, jnp.arange(p))
    without = dataclasses.replace(columns, x=jnp.zeros((0, 0)))
    linear = jnp.zeros((many, 0))
    if gram:
        linear = _linear(columns, data, intercept) if gradient is None else -gradient
    return Store(without, own_moments(x, data.weights, split) if moments else jnp.zeros((many, 0, 0)), linear)


def _linear(columns: Columns, data: Data, intercept: jax.Array) -> jax.Array:
    target = data.target - data.offset
    outputs = target[None] if target.ndim == 1 else target.T
    residual = outputs - jnp.where(intercept, data.weights @ outputs.T, 0)[:, :, None]
    found = columns.correlate(data.weights[:, None] * residual)
    return found[:, 0] if target.ndim == 1 else found


def empty_store(views: Views, n: int, capacity: int, gram: bool, outputs: tuple[int, ...] = ()) -> Store:
    """Room for `capacity` columns; without a Gram where a loss makes its own."""
    many = views.weights.shape[0]
    return _empty(many=many, n=n, capacity=capacity, gram=gram, outputs=outputs)


@program(static=("many", "n", "capacity", "gram", "outputs"))
def _empty(*, many: int, n: int, capacity: int, gram: bool, outputs: tuple[int, ...]) -> Store:
    columns = Columns(
        jnp.zeros((n, capacity)),
        jnp.zeros((many, capacity)),
        jnp.ones((many, capacity)),
        jnp.zeros((many, 1 + capacity), bool),
        jnp.zeros(capacity, jnp.int64),
    )
    size = capacity if gram and n > FEW_ROWS else 0
    return Store(columns, jnp.zeros((many, size, size)), jnp.zeros((many, *outputs, capacity) if gram else (many, 0)))


def extend(
    store: Store,
    design: Design,
    views: Views,
    data: Data,
    split: Split | None,
    intercept: bool,
    at: int,
    new: np.ndarray,
) -> Store:
    """Append columns `new` of the design at position `at`, making room where there is none."""
    p = design.shape[1]
    size = min(max(LEAST, 1 << (new.size - 1).bit_length()), p)
    if at + size > store.capacity:
        store = _enlarge(store, capacity=min(max(2 * store.capacity, 1 << (at + size - 1).bit_length()), p + LEAST))
    size = min(size, store.capacity - at)
    index = np.zeros(size, dtype=np.int64)
    index[: new.size] = new
    return _extend(store, design, views, data, split, intercept, at, index, new.size)


@program(static=("capacity",))
def _enlarge(store: Store, *, capacity: int) -> Store:
    more = capacity - store.capacity
    c = store.columns
    columns = Columns(
        jnp.pad(c.x, ((0, 0), (0, more))),
        jnp.pad(c.shift, ((0, 0), (0, more))),
        jnp.pad(c.scale, ((0, 0), (0, more)), constant_values=1),
        jnp.pad(c.free, ((0, 0), (0, more))),
        jnp.pad(c.index, (0, more)),
    )
    moments = jnp.pad(store.moments, ((0, 0), (0, more), (0, more))) if store.moments.size else store.moments
    room = [(0, 0)] * (store.linear.ndim - 1) + [(0, more)]
    return Store(columns, moments, jnp.pad(store.linear, room) if store.linear.size else store.linear)


@functools.partial(jax.jit, donate_argnums=0)
def _extend(
    store: Store,
    design: Design,
    views: Views,
    data: Data,
    split: Split | None,
    intercept: jax.Array,
    at: jax.Array,
    index: jax.Array,
    count: jax.Array,
) -> Store:
    real = jnp.arange(index.size) < count
    center = views.mean[0][index]
    new = jnp.where(real, design.gather(index, center), 0)
    c = store.columns

    def put(old: jax.Array, part: jax.Array, offset: int = 0) -> jax.Array:
        return jax.lax.dynamic_update_slice_in_dim(old, part, at + offset, axis=-1)

    columns = Columns(
        put(c.x, new),
        put(c.shift, jnp.where(real, views.mean[:, index] - center, 0)),
        put(c.scale, jnp.where(real, views.scale[:, index], 1)),
        put(c.free, views.varies[:, index] & real, 1).at[:, 0].set(intercept),
        put(c.index, index),
    )
    linear = _linear(columns, data, intercept) if store.linear.size else store.linear
    if not store.moments.size:
        return Store(columns, store.moments, linear)
    cross = second_moments(columns.x, new, data.weights, split)
    moments = jax.lax.dynamic_update_slice_in_dim(store.moments, cross, at, axis=2)
    moments = jax.lax.dynamic_update_slice_in_dim(moments, cross.transpose(0, 2, 1), at, axis=1)
    return Store(columns, moments, linear)


def gram_of(store: Store, weights: jax.Array, f: jax.Array, take: jax.Array) -> jax.Array:
    """Gram (w, w) of the standardized columns `take` (w,) of the store, in training set f."""
    columns = store.columns
    shift, scale = columns.shift[f][take], columns.scale[f][take]
    if store.moments.size:
        second = store.moments[f, take[:, None], take]
    else:
        x = columns.x[:, take]
        second = dot(x.T, x * weights[f][:, None])
    return (second - shift[:, None] * shift) / (scale[:, None] * scale)
