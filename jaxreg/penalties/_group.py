"""Group penalties that are norms: group lasso, its sparse form, its latent overlapping form, rows of matrices."""

import dataclasses
from collections.abc import Sequence
from typing import Any, Self

import jax
import jax.numpy as jnp
import numpy as np

from jaxreg import _check, _tree
from jaxreg.penalties._groups import ROWS, Groups, Layout, Structure, group_weights, index_arrays, is_index_list
from jaxreg.penalties._leafwise import as_type, check_weights
from jaxreg.penalties._radial import GroupNorm


@_tree.register
@dataclasses.dataclass(frozen=True)
class GroupLasso(GroupNorm):
    """Group lasso λ Σ_g w_g ‖b_g‖₂, which sets whole groups exactly to zero.

    A parameter of shape (p,) is grouped entry by entry; one of shape (p, ...) row by row, with all entries of its
    rows in the group. Every floating-point leaf is grouped alike; `Masked` chooses leaves.

    Args:
        lam: strength λ ≥ 0.
        groups: integer labels of shape (p,), or a list of index arrays that are disjoint and cover 0, …, p − 1.
            Groups may be unequal and need not be contiguous. Or `by_axis(...)`, which fits parameters of any shape.
        weight: penalty factors w ≥ 0, a number or one a group, in the order of the sorted labels or of the list;
            0 leaves a group unpenalized. By default √(number of entries in the group).

    Raises:
        TypeError: if `groups` is missing, or does not hold integers.
        ValueError: if a number is negative, NaN or infinite; if a group is empty, or the list is not as said; on
            use, if groups or weights do not fit a parameter.

    Prox: O(p), in closed form.

    Source: Yuan & Lin (2006), "Model selection and estimation in regression with grouped variables", JRSS B 68.

    >>> GroupLasso(1.0, groups=[0, 0, 1], weight=1.0).prox(jnp.array([3.0, 4.0, 0.5]), 1.0)
    Array([2.4, 3.2, 0. ], dtype=float32)
    """

    lam: Any = 1.0
    groups: Any = dataclasses.field(default=None, metadata={"static": True})
    weight: Any = None

    def __post_init__(self) -> None:
        check_weights(self, "weight")
        object.__setattr__(self, "groups", Groups.parse(self.groups))

    def layout(self) -> Layout:
        """The groups."""
        return self.groups

    def group_weight(self, x: jax.Array) -> jax.Array:
        """Penalty factors as given, or √size."""
        return group_weights(self.groups, self.weight, x)

    def entry_factor(self, x: jax.Array) -> None:
        """None: groups only."""


@_tree.register
@dataclasses.dataclass(frozen=True)
class SparseGroupLasso(GroupNorm):
    """Sparse-group lasso λ(r‖ub‖₁ + (1 − r) Σ_g w_g ‖b_g‖₂): zero groups, and zeros within the others.

    Args:
        lam: strength λ ≥ 0.
        l1_ratio: share r in [0, 1] of the entries; 0 is `GroupLasso`, 1 is `L1`.
        groups: as in `GroupLasso`.
        weight: penalty factors w ≥ 0 of the groups, as in `GroupLasso`.
        entry_weight: penalty factors u ≥ 0 of the entries, by default 1: an array that broadcasts to the
            parameter. What neither part penalizes is unpenalized.

    Raises:
        TypeError: as `GroupLasso`.
        ValueError: as `GroupLasso`, or if `l1_ratio` is outside [0, 1].

    Prox: O(p), in closed form.

    Source: Simon, Friedman, Hastie & Tibshirani (2013), "A sparse-group lasso", JCGS 22.

    >>> penalty = SparseGroupLasso(2.0, l1_ratio=0.5, groups=[0, 0, 1], weight=1.0)
    >>> penalty.prox(jnp.array([3.5, 0.5, 1.5]), 1.0)
    Array([1.5, 0. , 0. ], dtype=float32)
    """

    lam: Any = 1.0
    l1_ratio: Any = 0.5
    groups: Any = dataclasses.field(default=None, metadata={"static": True})
    weight: Any = None
    entry_weight: Any = None

    def __post_init__(self) -> None:
        check_weights(self, "weight", "entry_weight")
        _check.number("l1_ratio", self.l1_ratio, high=1.0)
        object.__setattr__(self, "groups", Groups.parse(self.groups))

    def layout(self) -> Layout:
        """The groups."""
        return self.groups

    def group_weight(self, x: jax.Array) -> jax.Array:
        """(1 − r) times the factors as given, or √size."""
        return (1 - as_type(self.l1_ratio, x)) * group_weights(self.groups, self.weight, x)

    def entry_factor(self, x: jax.Array) -> jax.Array:
        """r times the factors of the entries."""
        return as_type(self.l1_ratio, x) * _tree.broadcast_weight(self.entry_weight, x)


@_tree.register
@dataclasses.dataclass(frozen=True)
class L21(GroupNorm):
    """Row sparsity λ Σ_i w_i ‖B_i‖₂ over the rows of a matrix: multi-task lasso, embeddings, grouped multinomial.

    A row is what lies along the last axis: for coefficients of shape (p, k) a feature's k entries, for an
    embedding table of shape (words, dimensions) a word's. A vector is refused, since it could be p rows of one
    entry or one row; a parameter of more axes has a row for every place on all but the last.

    Args:
        lam: strength λ ≥ 0.
        weight: penalty factors w ≥ 0, by default 1: a number, or one a row; 0 leaves a row unpenalized.

    Raises:
        TypeError: if a number is none.
        ValueError: if a number is negative, NaN or infinite; on use, if a parameter is a vector, or has another
            number of rows than there are weights.

    Prox: O(p), in closed form.

    Source: Obozinski, Taskar & Jordan (2010), "Joint covariate selection and joint subspace selection for multiple
    classification problems", Statistics and Computing 20.

    >>> L21(1.0).prox(jnp.array([[3.0, 4.0], [0.6, 0.0]]), 1.0)
    Array([[2.4, 3.2],
           [0. , 0. ]], dtype=float32)
    """

    lam: Any = 1.0
    weight: Any = None

    def __post_init__(self) -> None:
        check_weights(self, "weight")

    def layout(self) -> Layout:
        """The rows."""
        return ROWS

    def group_weight(self, x: jax.Array) -> jax.Array:
        """Penalty factors as given, or 1."""
        return group_weights(ROWS, 1.0 if self.weight is None else self.weight, x)

    def entry_factor(self, x: jax.Array) -> None:
        """None: groups only."""


@_tree.register
@dataclasses.dataclass(frozen=True)
class OverlappingGroupLasso(GroupNorm):
    """Latent group lasso: coefficients b = Σ_g v_g, each v_g zero outside of its group g, cost λ Σ_g w_g ‖v_g‖₂.

    Groups may overlap. What is selected is a union of groups (the group lasso of overlapping groups would select
    the complement of one). The penalty acts on the latent variables: all v_g end to end, Σ_g |g| of them. A column
    that lies in several groups is there several times: fit the columns `expand(X)`, and `collapse` the result.

    Args:
        lam: strength λ ≥ 0.
        groups: list of index arrays that together cover 0, …, p − 1.
        weight: penalty factors w ≥ 0, a number or one a group; by default √size.

    Raises:
        TypeError: if `groups` is no list of integer arrays.
        ValueError: if a number is negative, NaN or infinite; if a group is empty, holds a place twice, or a place
            is in none; on use, if groups do not fit a parameter.

    Prox: O(p), in closed form.

    Source: Obozinski, Jacob & Vert (2011), "Group lasso with overlaps: the latent group lasso approach",
    arXiv:1110.0413; Jacob, Obozinski & Vert (2009), ICML.

    >>> penalty = OverlappingGroupLasso(1.0, groups=[[0, 1], [1, 2]])
    >>> penalty.expand(np.array([[10, 20, 30]]))
    array([[10, 20, 20, 30]])
    >>> penalty.collapse(np.array([1.0, 2.0, 3.0, 4.0]))
    array([1., 5., 4.])
    """

    lam: Any = 1.0
    groups: Any = dataclasses.field(default=None, metadata={"static": True})
    weight: Any = None

    def __post_init__(self) -> None:
        check_weights(self, "weight")
        object.__setattr__(self, "groups", Cover.parse(self.groups))

    def layout(self) -> Layout:
        """The groups, end to end."""
        return self.groups.latent

    def group_weight(self, x: jax.Array) -> jax.Array:
        """Penalty factors as given, or √size."""
        return group_weights(self.groups.latent, self.weight, x)

    def entry_factor(self, x: jax.Array) -> None:
        """None: groups only."""

    def expand(self, X: Any) -> Any:
        """Repeat the columns of X (n, p), dense or sparse, once for each group that holds them: (n, Σ|g|)."""
        if X.shape[-1] != self.groups.size:
            raise ValueError(f"X has {X.shape[-1]} columns, but groups cover {self.groups.size}")
        return X[:, self.groups.places]

    def collapse(self, latent: Any, axis: int = -1) -> Any:
        """Add up the latent variables of each coefficient, along one axis: Σ|g| → p.

        That is the last axis for a vector or a path of them, (L, Σ|g|); it is the first for coefficients of
        several responses, (Σ|g|, k).
        """
        if latent.shape[axis] != len(self.groups.places):
            raise ValueError(f"latent has {latent.shape[axis]} entries, but groups hold {len(self.groups.places)}")
        places, size = self.groups.places, self.groups.size
        if isinstance(latent, jax.Array):
            first = jnp.moveaxis(latent, axis, 0)
            return jnp.moveaxis(jnp.zeros((size, *first.shape[1:]), first.dtype).at[places].add(first), 0, axis)
        moved = np.moveaxis(np.asarray(latent), axis, 0)
        total = np.zeros((size, *moved.shape[1:]), moved.dtype)
        np.add.at(total, places, moved)
        return np.moveaxis(total, 0, axis)


class Cover(Structure):
    """Groups that may overlap: the places they hold end to end, and the disjoint groups of those copies."""

    def __init__(self, places: bytes, latent: Groups) -> None:
        Structure.__init__(self, places, latent)
        self.places = np.frombuffer(places, np.int32)
        self.latent = latent
        self.size = int(self.places.max()) + 1

    @classmethod
    def parse(cls, groups: Any) -> Self:
        """Read a list of index arrays."""
        if isinstance(groups, cls):
            return groups
        if not isinstance(groups, Sequence) or not is_index_list(groups):
            raise TypeError(f"groups must be a list of index arrays, got {groups!r:.100}")
        arrays = index_arrays(groups)
        places = np.concatenate(arrays)
        missing = np.setdiff1d(np.arange(places.max()), places)
        if missing.size:
            raise ValueError(f"groups must cover 0, …, {places.max()}, but {missing[0]} is in none")
        labels = np.repeat(np.arange(len(arrays)), [len(array) for array in arrays])
        return cls(places.astype(np.int32).tobytes(), Groups.of(labels))

    def __repr__(self) -> str:
        return f"Cover({self.size} in {self.latent.count} groups)"
