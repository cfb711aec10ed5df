"""Working-set columns as each training set sees them: predictions, correlations and Grams, lazily standardized.

A coefficient vector here has d = 1 + w entries: the intercept, then the working set in standardized units.
"""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxreg._programs import program
from jaxreg.linear.active.tableau import dot
from jaxreg.linear.design import Design, Views


class Data(NamedTuple):
    """Target as the loss encodes it, offset (n,) or (n, k), and the training sets' weights (F, n)."""

    target: Any
    offset: jax.Array
    weights: jax.Array

    @property
    def on_cpu(self) -> bool:
        """Whether they are on a CPU, where lanes run one by one, each on columns of its own."""
        return next(iter(self.offset.devices())).platform == "cpu"


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Columns:
    """Gathered columns x (n, w) shared by all training sets, with each set's shift and scale (F, w).

    The standardized column is (x − shift) / scale. `free` (F, 1 + w) marks the entries that may be nonzero:
    the intercept if there is one, and columns that vary; padding is not free.
    """

    x: jax.Array
    shift: jax.Array
    scale: jax.Array
    free: jax.Array
    index: jax.Array
    """(w,) which column of X each is; padding repeats one."""

    def some(self, take: np.ndarray) -> "Columns":
        """Those at some places; −1 is padding, which is never free."""
        return _some(self, np.maximum(take, 0), take >= 0)

    def standardized(self, f: jax.Array) -> jax.Array:
        """Ones and the standardized columns of training set f, (n, 1 + w)."""
        x = (self.x - self.shift[f]) / self.scale[f]
        return jnp.concatenate([jnp.ones((x.shape[0], 1)), x], axis=1)

    def predict(self, b: jax.Array) -> jax.Array:
        """Linear predictors (F, C, n) of every training set's coefficients (F, C, d); (F, C, n, k) of (F, C, d, k)."""
        if b.ndim > 3:
            many, count, d, k = b.shape
            flat = self.predict(jnp.swapaxes(b, 2, 3).reshape(many, count * k, d))
            return jnp.swapaxes(flat.reshape(many, count, k, -1), 2, 3)
        slopes = b[..., 1:] / self.scale[:, None]
        level = b[..., :1] - jnp.sum(self.shift[:, None] * slopes, axis=2, keepdims=True)
        return dot(slopes.reshape(-1, slopes.shape[2]), self.x.T).reshape(*b.shape[:2], len(self.x)) + level

    def correlate(self, rows: jax.Array) -> jax.Array:
        """Inner products (F, C, w) of every training set's rows (F, C, n) with its standardized columns."""
        total = jnp.sum(rows, axis=2, keepdims=True)
        many, count, n = rows.shape
        raw = dot(rows.reshape(many * count, n), self.x).reshape(many, count, -1)
        return (raw - total * self.shift[:, None]) / self.scale[:, None]


def no_columns(views: Views, n: int, intercept: bool) -> Columns:
    """None of the columns; the intercept alone may be free."""
    many = len(views.weights)
    none, free = np.zeros((many, 0)), np.full((many, 1), intercept)
    return Columns(np.zeros((n, 0)), none, none, free, np.zeros(0, dtype=np.int64))  # type: ignore[arg-type]


def gather(design: Design, views: Views, index: np.ndarray, width: int, intercept: bool) -> Columns:
    """Gather the columns of a working set, padded to `width` columns that are never free."""
    if width == 0:
        return no_columns(views, design.shape[0], intercept)
    padded = np.zeros(width, dtype=np.int64)
    padded[: index.size] = index
    return gather_padded(design, views, padded, np.arange(width) < index.size, intercept)


@program()
def gather_padded(design: Design, views: Views, index: jax.Array, real: jax.Array, intercept: jax.Array) -> Columns:
    """The same as a program, of columns `index` (w,) that are `real`."""
    center = views.mean[0][index]
    x = design.gather(index, center)
    free = views.varies[:, index] & real
    first = jnp.broadcast_to(intercept, (free.shape[0], 1))
    free = jnp.concatenate([first, free], axis=1)
    return Columns(x, views.mean[:, index] - center, views.scale[:, index], free, index)


@program()
def _some(columns: Columns, take: jax.Array, real: jax.Array) -> Columns:
    free = jnp.concatenate([columns.free[:, :1], columns.free[:, 1:][:, take] & real], axis=1)
    return Columns(columns.x[:, take], columns.shift[:, take], columns.scale[:, take], free, columns.index[take])


def bucket(size: int, most: int) -> int:
    """Round up to a power of two, 64 at least, so that few shapes are compiled; at most `most`."""
    return min(max(64, 1 << (size - 1).bit_length()), most)
