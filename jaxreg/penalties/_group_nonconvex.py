"""Folded concave penalties of the norms of groups: large groups are hardly shrunk, or not at all."""

import abc
import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from jaxreg import _tree
from jaxreg.penalties._base import Nonconvex
from jaxreg.penalties._groups import Groups, Layout, group_weights
from jaxreg.penalties._leafwise import as_type, check_weights
from jaxreg.penalties._nonconvex import MCP, SCAD, Folded
from jaxreg.penalties._radial import Radial


class FoldedGroups(Radial, Nonconvex):
    """Σ_g p(‖b_g‖₂; λw_g), for the function p of a separable penalty of the same name."""

    groups: Any
    weight: Any

    @abc.abstractmethod
    def single(self) -> Folded:
        """Return the penalty of single entries whose function this is."""

    @property
    def max_step(self) -> Any:
        """As for single entries."""
        return self.single().max_step

    def layout(self) -> Layout:
        """The groups."""
        return self.groups

    def group_weight(self, x: jax.Array) -> jax.Array:
        """Penalty factors as given, or √size."""
        return group_weights(self.groups, self.weight, x)

    def entry_kink(self, x: jax.Array) -> None:
        """None: groups only."""

    def group_value(self, norm: jax.Array, w: jax.Array) -> jax.Array:
        """p(‖b‖; λw)."""
        return self.single().rise(norm, as_type(self.lam, norm) * w)

    def group_prox(self, norm: jax.Array, w: jax.Array, step: jax.Array) -> jax.Array:
        """Global minimizer, of the norm."""
        return self.single().cut(norm, as_type(self.lam, norm) * w, step)

    def group_slope(self, norm: jax.Array, w: jax.Array) -> jax.Array:
        """p′(‖b‖; λw)."""
        return self.single().slope(norm, as_type(self.lam, norm) * w)

    def group_lam_max(self, grad: jax.Array) -> jax.Array:
        """The λ of single entries, for the norms of groups; 0 for unpenalized groups."""
        norm, w = self.norms(grad), self.group_weight(grad)
        return jnp.where(w > 0, self.single().needed(norm, jnp.where(w > 0, w, 1)), 0)


@_tree.register
@dataclasses.dataclass(frozen=True)
class GroupMCP(FoldedGroups):
    """Group MCP Σ_g p(‖b_g‖₂; λw_g), p(a; t) = ta − a²/2γ up to a = γt, and constant γt²/2 beyond.

    Large groups are not shrunk at all. `max_step` is γ, as for `MCP`.

    Args:
        lam: strength λ ≥ 0.
        groups: as in `GroupLasso`.
        gamma: γ > 0; the penalty becomes `GroupLasso` as γ grows.
        weight: penalty factors w ≥ 0 of the groups, as in `GroupLasso`.

    Raises:
        TypeError: as `GroupLasso`.
        ValueError: as `GroupLasso`, or if `gamma` is not positive.

    Prox: O(p), in closed form.

    Source: Breheny & Huang (2015), "Group descent algorithms for nonconvex penalized linear and logistic regression
    models with grouped predictors", Statistics and Computing 25.

    >>> GroupMCP(1.0, groups=[0, 0, 1], gamma=2.0, weight=1.0).prox(jnp.array([3.0, 4.0, 1.5]), 1.0)
    Array([3., 4., 1.], dtype=float32)
    """

    lam: Any = 1.0
    groups: Any = dataclasses.field(default=None, metadata={"static": True})
    gamma: Any = 3.0
    weight: Any = None

    def __post_init__(self) -> None:
        _check_fields(self)

    def single(self) -> Folded:
        """MCP."""
        return MCP(self.lam, self.gamma)


@_tree.register
@dataclasses.dataclass(frozen=True)
class GroupSCAD(FoldedGroups):
    """Group SCAD Σ_g p(‖b_g‖₂; λw_g), for the function p of `SCAD`: slope t up to a = t, falling to 0 at a = γt.

    Large groups are not shrunk at all. `max_step` is γ − 1, as for `SCAD`.

    Args:
        lam: strength λ ≥ 0.
        groups: as in `GroupLasso`.
        gamma: γ > 1.
        weight: penalty factors w ≥ 0 of the groups, as in `GroupLasso`.

    Raises:
        TypeError: as `GroupLasso`.
        ValueError: as `GroupLasso`, or if `gamma` is not above 1.

    Prox: O(p), in closed form.

    Source: Wang, Chen & Li (2007), "Group SCAD regression analysis for microarray time course gene expression data",
    Bioinformatics 23; Breheny & Huang (2015), as for `GroupMCP`.

    >>> GroupSCAD(1.0, groups=[0, 0, 1], gamma=3.0, weight=1.0).prox(jnp.array([3.0, 4.0, 1.5]), 1.0)
    Array([3. , 4. , 0.5], dtype=float32)
    """

    lam: Any = 1.0
    groups: Any = dataclasses.field(default=None, metadata={"static": True})
    gamma: Any = 3.7
    weight: Any = None

    def __post_init__(self) -> None:
        _check_fields(self)

    def single(self) -> Folded:
        """SCAD."""
        return SCAD(self.lam, self.gamma)


def _check_fields(penalty: FoldedGroups) -> None:
    penalty.single()  # checks γ
    check_weights(penalty, "weight")
    object.__setattr__(penalty, "groups", Groups.parse(penalty.groups))
