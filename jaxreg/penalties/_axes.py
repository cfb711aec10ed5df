"""Groups along the axes of an array: the units of a layer, the channels of a convolution, the heads of attention."""

import math

import jax
import jax.numpy as jnp
import numpy as np

from jaxreg.penalties._groups import Layout, Structure


class Axes(Structure, Layout):
    """All entries that share their place on the kept axes are a group; `width` neighbouring places are one."""

    def __init__(self, axes: tuple[int, ...], width: int) -> None:
        Structure.__init__(self, axes, width)
        self.axes, self.width = axes, width

    def _kept(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Kept axes, counted from the front, in order."""
        if any(not -len(shape) <= axis < len(shape) for axis in self.axes):
            raise ValueError(f"{self!r} does not fit a parameter of shape {shape}")
        kept = sorted({axis % len(shape) for axis in self.axes})
        if len(kept) < len(self.axes):
            raise ValueError(f"{self!r} names an axis of a parameter of shape {shape} twice")
        if shape[kept[-1]] % self.width:
            raise ValueError(
                f"{self!r} does not fit a parameter of shape {shape}: {shape[kept[-1]]} is no multiple of the width"
            )
        return tuple(kept)

    def _rest(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(sorted(set(range(len(shape))) - set(self._kept(shape))))

    def labels(self, shape: tuple[int, ...]) -> np.ndarray:
        """Number of the place, row by row."""
        kept = self._kept(shape)
        places = np.arange(math.prod(shape[axis] for axis in kept)) // self.width
        return np.broadcast_to(places.reshape([n if axis in kept else 1 for axis, n in enumerate(shape)]), shape)

    def sizes(self, shape: tuple[int, ...]) -> np.ndarray:
        """The same for all groups."""
        count = math.prod(shape[axis] for axis in self._kept(shape)) // self.width
        return np.full(count, math.prod(shape) // max(count, 1))

    def sum(self, x: jax.Array) -> jax.Array:
        """Over the other axes, then over neighbours."""
        return jnp.sum(jnp.sum(x, axis=self._rest(x.shape)).reshape(-1, self.width), axis=1)

    def largest(self, x: jax.Array) -> jax.Array:
        """Over the other axes, then over neighbours."""
        return jnp.max(jnp.max(x, axis=self._rest(x.shape), initial=0).reshape(-1, self.width), axis=1, initial=0)

    def spread(self, values: jax.Array, shape: tuple[int, ...]) -> jax.Array:
        """One value a place."""
        kept = self._kept(shape)
        places = values if self.width == 1 else jnp.repeat(values, self.width)
        return places.reshape([n if axis in kept else 1 for axis, n in enumerate(shape)])

    def __repr__(self) -> str:
        width = f", width={self.width}" if self.width > 1 else ""
        return f"by_axis({', '.join(map(str, self.axes))}{width})"


def by_axis(*axes: int, width: int = 1) -> Axes:
    """Groups of a parameter of any shape: all entries that share their place on these axes. For `groups=`.

    | kernel | its shape | groups |
    |---|---|---|
    | dense, in flax and haiku | (in, out) | `by_axis(-1)`: units; `by_axis(0)`: inputs |
    | linear, in equinox | (out, in) | `by_axis(0)`: units |
    | convolution, in flax and haiku | (height, width, in, out) | `by_axis(-1)`: channels; `by_axis(-2, -1)`: filters |
    | convolution, in equinox | (out, in, height, width) | `by_axis(0)`: channels |
    | attention, in flax | (in, heads, size) | `by_axis(1)`: heads |
    | attention, heads in one axis | (in, heads · size) | `by_axis(-1, width=size)`: heads |
    | embedding | (words, size) | `by_axis(0)`: words |

    Args:
        axes: one or more axes, negative ones counted from the end.
        width: so many neighbouring places along the last of the axes are one group.

    Raises:
        TypeError: if an axis or the width is no integer.
        ValueError: if there is no axis, or the width is below 1; on use, if a parameter has no such axis, or its length
            is no multiple of the width.

    >>> from jaxreg import GroupLasso
    >>> kernel = jnp.array([[3.0, 0.5], [4.0, 0.5]])
    >>> GroupLasso(1.0, groups=by_axis(-1), weight=1.0).prox(kernel, 1.0)
    Array([[2.4, 0. ],
           [3.2, 0. ]], dtype=float32)
    """
    integer = (int, np.integer)
    for name, value in (*(("axes", axis) for axis in axes), ("width", width)):
        if not isinstance(value, integer) or isinstance(value, bool):
            raise TypeError(f"{name} must be integers, got {value!r}")
    if not axes:
        raise ValueError("axes is empty: at least one axis is needed")
    if width < 1:
        raise ValueError(f"width must be at least 1, got {width}")
    return Axes(tuple(int(axis) for axis in axes), int(width))
