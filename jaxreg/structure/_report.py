"""How sparse a model is: zeros and zero groups, by path and in all."""

import dataclasses
from typing import Any

import jax
import numpy as np

from jaxreg import _format, _tree
from jaxreg._tree import PyTree
from jaxreg.penalties import Grouped, Penalty, Units, by_axis
from jaxreg.structure._describe import shape_text


@dataclasses.dataclass(frozen=True)
class LeafSparsity:
    """Zeros of one parameter; groups are 0 where no group penalty acts."""

    path: str
    shape: tuple[int, ...]
    zeros: int
    groups: int
    zero_groups: int
    penalized: bool

    @property
    def size(self) -> int:
        """Entries in all."""
        return int(np.prod(self.shape))


@dataclasses.dataclass(frozen=True)
class Sparsity:
    """Zeros of a model, by parameter (`leaves`) and in all. Printed, it is a table."""

    leaves: tuple[LeafSparsity, ...]

    @property
    def size(self) -> int:
        """Entries in all."""
        return sum(leaf.size for leaf in self.leaves)

    @property
    def zeros(self) -> int:
        """Entries that are exactly zero."""
        return sum(leaf.zeros for leaf in self.leaves)

    @property
    def groups(self) -> int:
        """Groups in all."""
        return sum(leaf.groups for leaf in self.leaves)

    @property
    def zero_groups(self) -> int:
        """Groups all of whose entries are exactly zero."""
        return sum(leaf.zero_groups for leaf in self.leaves)

    @property
    def share(self) -> float:
        """Share of entries that are exactly zero; 0 if there are none."""
        return self.zeros / max(self.size, 1)

    def __getitem__(self, path: str) -> LeafSparsity:
        """Return the parameter at a path."""
        for leaf in self.leaves:
            if leaf.path in (path, f"{path}/value"):
                return leaf
        raise KeyError(f"{path!r} is no parameter; the paths there are: {[leaf.path for leaf in self.leaves]}")

    def __str__(self) -> str:
        """Write a table, the totals last."""
        grouped = self.groups > 0
        head = ("parameter", "shape", "size", "zeros", "share")
        rows: list[tuple[str, ...]] = [(*head, "zero groups") if grouped else head]
        for leaf in self.leaves:
            row = (leaf.path, shape_text(np.broadcast_to(0, leaf.shape)), *_counts(leaf.zeros, leaf.size))
            rows.append((*row, _share(leaf.zero_groups, leaf.groups)) if grouped else row)
        last = ("in all", "", *_counts(self.zeros, self.size))
        rows.append((*last, _share(self.zero_groups, self.groups)) if grouped else last)
        return _format.columns(rows, right=(2, 3, 4, 5))


def sparsity(params: PyTree, penalty: Penalty | None = None) -> Sparsity:
    """Count exact zeros in every floating-point leaf, and groups that are zero as a whole.

    Args:
        params: parameter pytree, of concrete arrays.
        penalty: if given, only what it acts on is counted, and the groups of its group penalties are counted too.

    Raises:
        TypeError: if `penalty` is not a penalty.
        ValueError: if a path pattern of the penalty matches nothing.

    >>> from jaxreg import GroupLasso, by_axis
    >>> params = {"kernel": np.array([[0.0, 2.0], [0.0, 0.0]])}
    >>> print(sparsity(params, GroupLasso(groups=by_axis(-1))))
    parameter  shape  size  zeros  share  zero groups
    kernel     2 × 2     4      3  75.0%       1 of 2
    in all               4      3  75.0%       1 of 2
    """
    if penalty is not None and not isinstance(penalty, Penalty):
        raise TypeError(f"penalty must be a jaxreg penalty, got {penalty!r}")
    leaves = jax.tree_util.tree_leaves_with_path(params)
    parts = [[]] * len(leaves) if penalty is None else penalty.parts(params)
    rows = []
    for (path, leaf), mine in zip(leaves, parts, strict=True):
        if _tree.is_float(leaf) and (mine or penalty is None):
            rows.append(_count(_tree.path_string(path), leaf, mine))
    return Sparsity(tuple(rows))


def _count(path: str, leaf: Any, parts: list[Penalty]) -> LeafSparsity:
    dead = np.asarray(leaf) == 0
    groups = zero_groups = 0
    for part in parts:
        labels = _labels(part, path, leaf)
        if labels is not None:
            alive = np.bincount(labels[~dead], minlength=int(labels.max(initial=-1)) + 1)
            groups, zero_groups = groups + len(alive), zero_groups + int((alive == 0).sum())
    return LeafSparsity(path, dead.shape, int(dead.sum()), groups, zero_groups, bool(parts))


def _labels(part: Penalty, path: str, leaf: Any) -> np.ndarray | None:
    if isinstance(part, Units):
        axis = part.axis_of(path, leaf)
        return None if axis is None else by_axis(axis).labels(np.shape(leaf))
    return part.labels(np.shape(leaf)) if isinstance(part, Grouped) else None


def _counts(zeros: int, size: int) -> tuple[str, str, str]:
    return str(size), str(zeros), f"{100 * zeros / max(size, 1):.1f}%"


def _share(zero: int, groups: int) -> str:
    return f"{zero} of {groups}" if groups else ""
