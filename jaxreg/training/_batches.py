"""Streams of minibatches: what `train_sweep` may be given, and one that can be resumed at any epoch."""

import dataclasses
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import jax
import numpy as np

from jaxreg import _check
from jaxreg._tree import PyTree

Stream = Callable[[int], Iterable[Any]]


@dataclasses.dataclass(frozen=True, eq=False)
class Minibatches:
    """A function from the number of an epoch to its minibatches; `minibatches` makes it."""

    data: PyTree
    size: int
    seed: int

    def __call__(self, epoch: int) -> Iterator[PyTree]:
        """Minibatches of an epoch, all rows once, in an order that depends on seed and epoch alone."""
        rows = len(jax.tree.leaves(self.data)[0])
        order = np.random.default_rng((self.seed, epoch)).permutation(rows)
        for first in range(0, rows, self.size):
            chosen = order[first : first + self.size]
            yield jax.tree.map(lambda leaf: leaf[chosen], self.data)  # noqa: B023  the tree is mapped at once


def minibatches(data: PyTree, size: int, *, seed: int = 0) -> Minibatches:
    """Cut arrays into minibatches, anew in every epoch; the last one of an epoch may be smaller.

    Args:
        data: `(X, y)`, or any pytree of arrays with one row for each sample.
        size: rows of a minibatch.
        seed: of the orders. Epoch e has the same minibatches whenever it is asked for.

    Raises:
        TypeError: if `size` or `seed` is no integer.
        ValueError: if there are no arrays, they differ in the number of rows, or `size` is below 1.

    >>> batches = minibatches((np.arange(5), np.arange(5) ** 2), 3)
    >>> [X.tolist() for X, y in batches(0)]
    [[2, 4, 3], [0, 1]]
    """
    for name, value, low in (("size", size, 1), ("seed", seed, 0)):
        integer(name, value, low)
    leaves = jax.tree.leaves(data)
    if not leaves or any(np.ndim(leaf) == 0 for leaf in leaves):
        raise ValueError("data must hold arrays with one row for each sample, such as (X, y)")
    rows = sorted({len(leaf) for leaf in leaves})
    if len(rows) > 1 or rows[0] == 0:
        raise ValueError(f"the arrays of data must have one number of rows, and at least one; they have {rows}")
    # On the host, where picking rows costs no program of its own.
    return Minibatches(jax.tree.map(np.asarray, data), size, seed)


def as_stream(batches: Any) -> Stream:
    """Return a function from epoch to minibatches.

    Raises:
        TypeError: if `batches` is neither iterable nor a function.
        ValueError: if it can be iterated only once.
    """
    if isinstance(batches, Iterator):
        raise ValueError(
            "batches can be read only once, and every epoch reads them: give a list, a data loader, or a function "
            "epoch → iterable such as jr.minibatches makes"
        )
    if isinstance(batches, Iterable):
        return lambda epoch: batches
    if callable(batches):
        return batches
    raise TypeError(f"batches must be an iterable of minibatches, or a function epoch → iterable, got {batches!r:.100}")


def opened(stream: Stream, epoch: int) -> tuple[Any, Iterator[Any]]:
    """First minibatch of an epoch, and an iterator over those that follow it.

    Raises:
        TypeError: if the function of the epoch does not return something to iterate over.
        ValueError: if there is none.
    """
    made = stream(epoch)
    if not isinstance(made, Iterable):
        raise TypeError(f"batches({epoch}) must return an iterable of minibatches, got {made!r:.100}")
    rest = iter(made)
    for first in rest:
        return first, rest
    raise ValueError(f"batches has no minibatch in epoch {epoch}")


class Opening:
    """Opens epochs; the first minibatch of all, which tells the shapes, is not asked for twice."""

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self.first, self._others = opened(stream, 0)
        self._fresh = True

    def __call__(self, epoch: int) -> tuple[Any, Iterator[Any]]:
        """First minibatch of an epoch, and an iterator over those that follow it."""
        fresh, self._fresh = self._fresh, False
        return (self.first, self._others) if fresh and epoch == 0 else opened(self.stream, epoch)


def integer(name: str, value: Any, low: int) -> None:
    """Refuse what is no integer, or too small.

    Raises:
        TypeError: as said.
        ValueError: as said.
    """
    if not isinstance(value, (int, np.integer)) or isinstance(value, bool):
        raise TypeError(f"{name} must be an integer, got {value!r}")
    _check.number(name, value, low=low)
