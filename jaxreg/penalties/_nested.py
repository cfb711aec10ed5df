"""Tree-structured group lasso: groups within groups."""

import dataclasses
import functools
from typing import Any, Self

import jax
import jax.numpy as jnp
import numpy as np

from jaxreg import _tree
from jaxreg.penalties._base import Absolute
from jaxreg.penalties._groups import Groups, Structure, group_norms, index_arrays, is_index_list
from jaxreg.penalties._leafwise import LeafwiseNorm, as_type, check_weights, dual_by_prox


@_tree.register
@dataclasses.dataclass(frozen=True)
class TreeGroupLasso(LeafwiseNorm, Absolute):
    """Tree-structured group lasso λ Σ_g w_g ‖b_g‖₂, for groups of which any two are disjoint or nested.

    A group that is zero takes all groups within it along: what is selected are subtrees that contain the root. A
    single entry may be a group. The prox is that of all groups one after another, from the leaves to the root. A
    parameter of shape (p, ...) is grouped row by row; entries in no group are unpenalized.

    Args:
        lam: strength λ ≥ 0.
        groups: list of index arrays, in any order.
        weight: penalty factors w ≥ 0, a number or one a group, by default √(number of entries in the group).

    Raises:
        TypeError: if `groups` is no list of integer arrays.
        ValueError: if a number is negative, NaN or infinite; if a group is empty, is given twice, or crosses
            another; on use, if groups or weights do not fit a parameter.

    Prox: O(p × depth of the tree), in closed form.

    Source: Jenatton, Mairal, Obozinski & Bach (2011), "Proximal methods for hierarchical sparse coding", JMLR 12.

    >>> penalty = TreeGroupLasso(1.0, groups=[[0, 1, 2], [1, 2], [2]], weight=1.0)
    >>> penalty.prox(jnp.array([6.0, 2.0, 0.5]), 1.0)
    Array([5.013606, 0.835601, 0.      ], dtype=float32)
    """

    lam: Any = 1.0
    groups: Any = dataclasses.field(default=None, metadata={"static": True})
    weight: Any = None

    def __post_init__(self) -> None:
        check_weights(self, "weight")
        object.__setattr__(self, "groups", Nested.parse(self.groups))

    def _levels(self, x: jax.Array) -> list[tuple[Groups, jax.Array]]:
        """Disjoint groups and their factors, level by level, from the leaves to the root.

        What no group of a level holds is a last group there, with factor 0.
        """
        levels = _levels(self.groups, x.shape[0] if x.ndim else 0)
        sizes = np.array([len(group) for group in self.groups.groups]) * int(np.prod(x.shape[1:]))
        factor = jnp.asarray(np.sqrt(sizes) if self.weight is None else self.weight, x.dtype)
        if factor.shape not in ((), (1,), sizes.shape):
            raise ValueError(f"weight of shape {factor.shape} does not fit {len(sizes)} groups")
        factor = jnp.append(jnp.broadcast_to(factor, sizes.shape), 0)
        return [(groups, factor[members]) for groups, members in levels]

    def leaf_value(self, x: jax.Array) -> jax.Array:
        """λ Σ_g w_g ‖x_g‖."""
        return as_type(self.lam, x) * sum(jnp.sum(w * group_norms(groups, x)) for groups, w in self._levels(x))

    def leaf_prox(self, x: jax.Array, step: jax.Array) -> jax.Array:
        """Threshold the norms of all groups, those within others first."""
        return self._shrunk(x, [step * as_type(self.lam, x) * w for _, w in self._levels(x)])

    def _shrunk(self, x: jax.Array, thresholds: list[jax.Array]) -> jax.Array:
        for (groups, _), t in zip(self._levels(x), thresholds, strict=True):
            norm = group_norms(groups, x)
            kept = norm > t
            factor = jnp.where(kept, 1 - t / jnp.where(kept, norm, 1), jnp.where(t > 0, 0, 1))
            x = x * groups.spread(factor.astype(x.dtype), x.shape)
        return x

    def leaf_residual(self, x: jax.Array, grad: jax.Array) -> jax.Array:
        """−grad − λw x_g/‖x_g‖ of every nonzero group, then the prox of the groups that are zero."""
        rest, thresholds = -grad, []
        for groups, w in self._levels(x):
            norm, t = group_norms(groups, x), as_type(self.lam, x) * w
            alive = norm > 0
            spread = groups.spread(jnp.where(alive, norm, 1), x.shape)
            rest = rest - x / spread * groups.spread(t, x.shape)  # 0 in a zero group
            thresholds.append(jnp.where(alive, 0, t))
        return self._shrunk(rest, thresholds)

    def _seen(self, x: jax.Array) -> jax.Array:
        return sum(groups.spread(w, x.shape) for groups, w in self._levels(x)) > 0  # type: ignore[return-value]

    def leaf_lam_max(self, grad: jax.Array) -> jax.Array:
        """Dual norm of what is penalized."""
        return dual_by_prox(self.at(1.0), jnp.where(self._seen(grad), grad, 0))

    def leaf_dual_norm(self, dual: jax.Array) -> jax.Array:
        """The smallest threshold whose prox is 0; infinite where an entry that is not penalized is not 0."""
        return jnp.where(jnp.any(~self._seen(dual) & (dual != 0)), jnp.inf, self.leaf_lam_max(dual))


class Nested(Structure):
    """Groups of which any two are disjoint or nested, each a sorted array of places."""

    def __init__(self, *groups: bytes) -> None:
        Structure.__init__(self, *groups)
        self.groups = [np.frombuffer(group, np.int32) for group in groups]

    @classmethod
    def parse(cls, groups: Any) -> Self:
        """Read a list of index arrays."""
        if isinstance(groups, cls):
            return groups
        if not isinstance(groups, (list, tuple)) or not is_index_list(groups):
            raise TypeError(f"groups must be a list of index arrays, got {groups!r:.100}")
        arrays = [np.sort(array).astype(np.int32) for array in index_arrays(groups)]
        holder: dict[int, int] = {}  # the largest group so far that holds a place
        for k in _upwards(arrays):
            for other in {holder[place] for place in arrays[k].tolist() if place in holder}:
                if len(arrays[other]) == len(arrays[k]):
                    raise ValueError(f"groups must differ: {other} and {k} are the same, or cross")
                if not np.isin(arrays[other], arrays[k]).all():
                    raise ValueError(f"groups must be disjoint or nested, but {other} and {k} cross")
            holder.update(dict.fromkeys(arrays[k].tolist(), k))
        return cls(*(array.tobytes() for array in arrays))

    def __repr__(self) -> str:
        return f"Nested({len(self.groups)} groups)"


def _upwards(groups: list[np.ndarray]) -> list[int]:
    """Order in which every group comes after those within it."""
    return sorted(range(len(groups)), key=lambda k: len(groups[k]))


@functools.lru_cache(maxsize=64)
def _levels(nested: Nested, size: int) -> list[tuple[Groups, np.ndarray]]:
    """Levels of disjoint groups, leaves first, and which group each of their labels is; −1 is none."""
    groups = nested.groups
    last = max(group[-1] for group in groups)
    if last >= size:
        raise ValueError(f"groups name place {last}, but a parameter has {size} on its first axis")
    height = np.zeros(size, int)  # of the groups so far above a place
    levels: list[np.ndarray] = []
    for k in _upwards(groups):
        level = int(height[groups[k]].max())
        if level == len(levels):
            levels.append(np.full(size, -1))
        levels[level][groups[k]] = k
        height[groups[k]] = level + 1
    result = []
    for holders in levels:
        members, labels = np.unique(holders, return_inverse=True)
        result.append((Groups.of(labels), members))
    return result
