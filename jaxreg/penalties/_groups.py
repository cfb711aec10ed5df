"""Layouts: which entries of a leaf belong together. Structure, fixed when a program is compiled."""

import abc
from collections.abc import Sequence
from typing import Any, Self

import jax
import jax.numpy as jnp
import numpy as np


class Structure:
    """What is static in a penalty: compared by its key, which is hashed once and not at every call."""

    def __init__(self, *key: Any) -> None:
        self._key = key
        self._hash = hash(key)

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        return isinstance(other, Structure) and self._hash == other._hash and self._key == other._key

    def __hash__(self) -> int:
        return self._hash

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), self._key


class Layout(abc.ABC):
    """Disjoint groups that cover a leaf, with sums over groups and back."""

    @abc.abstractmethod
    def labels(self, shape: tuple[int, ...]) -> np.ndarray:
        """Group of each entry of a leaf of that shape: integers 0, …, m − 1, in an array of that shape."""

    @abc.abstractmethod
    def sizes(self, shape: tuple[int, ...]) -> np.ndarray:
        """Entries in each group of a leaf of that shape, (m,)."""

    @abc.abstractmethod
    def sum(self, x: jax.Array) -> jax.Array:
        """Sum over each group, (m,)."""

    @abc.abstractmethod
    def largest(self, x: jax.Array) -> jax.Array:
        """Largest entry of each group, at least 0, (m,)."""

    @abc.abstractmethod
    def spread(self, values: jax.Array, shape: tuple[int, ...]) -> jax.Array:
        """Give every entry the value (m,) of its group, in an array that broadcasts to the leaf's shape."""


class Groups(Structure, Layout):
    """Groups of the first axis, unequal and in any order. Each holds all of its rows, if there are more axes.

    Sums run over segments: measured against padded gathers and against a product with 0/1 columns, alone and under
    `vmap`, they are the quickest at every size, and they need no room for padding.
    """

    def __init__(self, labels: bytes) -> None:
        Structure.__init__(self, labels)
        self._labels = np.frombuffer(labels, np.int32)
        self.count = int(self._labels.max()) + 1
        self._sizes = np.bincount(self._labels, minlength=self.count)

    @classmethod
    def of(cls, labels: np.ndarray) -> Self:
        """Groups by label 0, …, m − 1."""
        return cls(labels.astype(np.int32).tobytes())

    @classmethod
    def parse(cls, groups: Any) -> Layout:
        """Read integer labels of shape (p,), or a list of index arrays; other layouts pass.

        Raises:
            TypeError: if they are neither.
            ValueError: if a group is empty, or the index arrays are not disjoint or leave an entry out.
        """
        if isinstance(groups, Layout):
            return groups
        if is_index_list(groups):
            arrays = index_arrays(groups)
            every = np.concatenate(arrays)
            found, times = np.unique(every, return_counts=True)
            if (times > 1).any():
                raise ValueError(f"groups must be disjoint, but {found[times > 1][0]} is in more than one")
            if found[-1] != len(found) - 1:
                missing = np.setdiff1d(np.arange(found[-1]), found)[0]
                raise ValueError(f"groups must cover 0, …, {found[-1]}, but {missing} is in none")
            labels = np.empty(len(every), np.int32)
            labels[every] = np.repeat(np.arange(len(arrays)), [len(array) for array in arrays])
            return cls.of(labels)
        if groups is None:
            raise TypeError("groups is needed: integer labels of shape (p,), a list of index arrays, or by_axis(...)")
        array = np.asarray(groups)
        if array.ndim != 1 or not np.issubdtype(array.dtype, np.integer):
            if array.size == 0:
                raise ValueError("groups is empty")
            raise TypeError(
                "groups must be integer labels of shape (p,), or a list of index arrays, "
                f"got {array.dtype} of shape {array.shape}"
            )
        if array.size == 0:
            raise ValueError("groups is empty")
        return cls.of(np.unique(array, return_inverse=True)[1])

    def _check(self, shape: tuple[int, ...]) -> None:
        if not shape or shape[0] != len(self._labels):
            raise ValueError(
                f"groups label {len(self._labels)} entries, which does not fit a parameter of shape {shape}"
            )

    def labels(self, shape: tuple[int, ...]) -> np.ndarray:
        """Label of the entry's place on the first axis."""
        self._check(shape)
        return np.broadcast_to(self._labels.reshape(-1, *(1,) * (len(shape) - 1)), shape)

    def sizes(self, shape: tuple[int, ...]) -> np.ndarray:
        """Places on the first axis, times the size of a row."""
        self._check(shape)
        return self._sizes * int(np.prod(shape[1:]))

    def sum(self, x: jax.Array) -> jax.Array:
        """Rows first, then segments."""
        self._check(x.shape)
        rows = jnp.sum(x, axis=tuple(range(1, x.ndim)))
        return jax.ops.segment_sum(rows, self._labels, num_segments=self.count)

    def largest(self, x: jax.Array) -> jax.Array:
        """Rows first, then segments."""
        self._check(x.shape)
        rows = jnp.max(x, axis=tuple(range(1, x.ndim)), initial=0)
        return jax.ops.segment_max(rows, self._labels, num_segments=self.count)

    def spread(self, values: jax.Array, shape: tuple[int, ...]) -> jax.Array:
        """One value a row."""
        return values[self._labels].reshape(-1, *(1,) * (len(shape) - 1))

    def __repr__(self) -> str:
        low, high = self._sizes.min(), self._sizes.max()
        return f"Groups({len(self._labels)} in {self.count} groups of {low if low == high else f'{low} to {high}'})"


class Rows(Layout):
    """Rows of a matrix: all places but those on the last axis. Every instance is the same."""

    def _check(self, shape: tuple[int, ...]) -> None:
        if len(shape) < 2:
            raise ValueError(
                f"rows need a matrix, got a parameter of shape {shape}: reshape a vector to (p, 1) for p rows "
                "of one entry, or to (1, k) for one row"
            )

    def labels(self, shape: tuple[int, ...]) -> np.ndarray:
        """Number of the row."""
        self._check(shape)
        return np.broadcast_to(np.arange(int(np.prod(shape[:-1]))).reshape(*shape[:-1], 1), shape)

    def sizes(self, shape: tuple[int, ...]) -> np.ndarray:
        """Length of the last axis."""
        self._check(shape)
        return np.full(int(np.prod(shape[:-1])), shape[-1])

    def sum(self, x: jax.Array) -> jax.Array:
        """Over the last axis."""
        self._check(x.shape)
        return jnp.sum(x, axis=-1).ravel()

    def largest(self, x: jax.Array) -> jax.Array:
        """Over the last axis."""
        self._check(x.shape)
        return jnp.max(x, axis=-1, initial=0).ravel()

    def spread(self, values: jax.Array, shape: tuple[int, ...]) -> jax.Array:
        """Along the last axis."""
        return values.reshape(*shape[:-1], 1)


ROWS = Rows()


def is_index_list(groups: Any) -> bool:
    """Whether `groups` is a list of lists or arrays, rather than of labels."""
    return isinstance(groups, Sequence) and not isinstance(groups, str) and any(np.ndim(g) for g in groups)


def index_arrays(groups: Sequence[Any]) -> list[np.ndarray]:
    """Read the members of a list of groups of places.

    Raises:
        TypeError: if a group does not hold integers.
        ValueError: if a group is empty, holds a place twice, or a negative one.
    """
    arrays = []
    for k, group in enumerate(groups):
        array = np.asarray(group)
        if array.size == 0:
            raise ValueError(f"group {k} is empty")
        if array.ndim != 1 or not np.issubdtype(array.dtype, np.integer):
            raise TypeError(f"a group must be a list of integer places, got {group!r} for group {k}")
        if array.min() < 0:
            raise ValueError(f"places in groups must not be negative, got {array.min()} in group {k}")
        if len(np.unique(array)) < len(array):
            raise ValueError(f"group {k} holds a place twice")
        arrays.append(array)
    return arrays


def group_norms(layout: Layout, x: jax.Array) -> jax.Array:
    """Euclidean norm of each group, (m,), without overflow, and with derivative 0 at zero groups."""
    top = jax.lax.stop_gradient(layout.largest(jnp.abs(x)))
    scale = jnp.where(top == 0, 1, top)
    squares = layout.sum(jnp.square(x / layout.spread(scale, x.shape)))
    return jnp.where(top == 0, 0, scale * jnp.sqrt(jnp.where(top == 0, 1, squares)))  # NaN stays NaN


def group_weights(layout: Layout, weight: Any, x: jax.Array) -> jax.Array:
    """Penalty factor of each group, (m,): those given, or else √size.

    Raises:
        ValueError: if they are not one a group.
    """
    sizes = layout.sizes(x.shape)
    if weight is None:
        return jnp.asarray(np.sqrt(sizes), x.dtype)
    factor = jnp.asarray(weight, x.dtype)
    if factor.shape not in ((), (1,), sizes.shape):
        raise ValueError(f"weight of shape {factor.shape} does not fit {len(sizes)} groups")
    return jnp.broadcast_to(factor, sizes.shape)
