"""Penalties of groups of coefficients, as the group working sets see them: any columns, in groups of their own."""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxreg import _tree
from jaxreg._programs import program
from jaxreg.penalties import MCP, SCAD, GroupLasso, GroupMCP, GroupSCAD, Penalty, SparseGroupLasso
from jaxreg.penalties._groups import Groups
from jaxreg.penalties._radial import Radial

GROUPED = (GroupLasso, SparseGroupLasso, GroupMCP, GroupSCAD)
"""Penalties of groups that the working sets know."""
SINGLE: dict[type, type] = {MCP: GroupMCP, SCAD: GroupSCAD}
"""Penalties of single entries, and those of groups that they are with groups of one."""


class Parts(NamedTuple):
    """A penalty Σ_g φ(‖b_g‖; w_g) + λ Σ u|b| of p columns, taken apart: no program depends on the groups."""

    whole: Radial
    """Of all p columns."""
    kind: Radial
    """What φ is, with numbers alone: its groups are not used."""
    labels: np.ndarray
    """Group of each column, (p,)."""
    weight: np.ndarray
    """w of each group, (m,)."""
    kink: np.ndarray
    """u of each column, (p,)."""

    @property
    def widest(self) -> int:
        """Columns of the largest group."""
        return int(np.bincount(self.labels).max())

    @property
    def free(self) -> np.ndarray:
        """Which groups hold a column that nothing penalizes, (m,)."""
        return np.bincount(self.labels, (self.kink == 0) & (self.weight[self.labels] == 0)) > 0


class Team(NamedTuple):
    """Groups of the d coordinates of a working set, each in one piece; k ≤ d of them, then empty ones.

    `label` (d,) is the group of a coordinate (that of padding is the last), `start` (d,) the group's first coordinate,
    `count` the number of groups; `weight` (d,) of the groups, `kink` (d,) of the coordinates, and which of them may
    be nonzero, `free` (d,).
    """

    label: Any
    start: Any
    count: Any
    weight: Any
    kink: Any
    free: Any


def in_groups(penalty: Penalty) -> bool:
    """Whether the working sets know a penalty: those of groups of columns, and folded ones of single columns."""
    return isinstance(penalty, GROUPED) or type(penalty) in SINGLE


def parts_of(penalty: Penalty, p: int) -> Parts:
    """Take apart a penalty of p columns."""
    whole = _grouped(penalty, p)
    labels = np.asarray(whole.labels((p,)))
    weight, kink = (np.asarray(part) for part in _numbers(whole, np.zeros(p)))
    bare: dict[str, Any] = {"groups": Groups.of(np.zeros(1)), "weight": 1.0}
    if isinstance(whole, SparseGroupLasso):
        bare["entry_weight"] = None
    return Parts(whole, dataclasses.replace(whole, **bare), labels, weight, kink)  # type: ignore[type-var]


def _grouped(penalty: Any, p: int) -> Radial:
    if isinstance(penalty, GROUPED):
        return weighted(penalty, p)
    weight = np.broadcast_to(np.asarray(_tree.broadcast_weight(penalty.weight, np.zeros(p))), (p,))
    group = SINGLE[type(penalty)]
    return group(penalty.lam, groups=Groups.of(np.arange(p)), gamma=penalty.gamma, weight=weight)


def weighted(penalty: Any, p: int) -> Any:
    """The same with its groups' default weights as numbers: what is fixed the compiler would work out, and slowly."""
    if not isinstance(penalty, GROUPED) or penalty.weight is not None:
        return penalty
    return dataclasses.replace(penalty, weight=np.sqrt(penalty.layout().sizes((p,))))


@program()
def _numbers(whole: Radial, x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """w of the groups and u of the entries: κ at a strength of 1."""
    kink = whole.at(1.0).entry_kink(x)
    return whole.group_weight(x), jnp.zeros_like(x) if kink is None else jnp.broadcast_to(kink, x.shape)


@program()
def entering(whole: Radial, gradients: jax.Array) -> jax.Array:
    """Largest strength at which each group of zeros would begin to move, (F, m), by gradients (F, p)."""
    return jax.vmap(whole.group_lam_max)(gradients)


def sums(team: Team, x: jax.Array) -> jax.Array:
    """Sum over each group, (d,)."""
    return jax.ops.segment_sum(x, team.label, num_segments=team.label.size, indices_are_sorted=True)


def norms(team: Team, b: jax.Array) -> jax.Array:
    """Euclidean norm of each group, (d,)."""
    return jnp.sqrt(sums(team, jnp.square(b)))


def value(kind: Radial, team: Team, b: jax.Array) -> jax.Array:
    """Penalty of b (d,)."""
    return jnp.sum(kind.group_value(norms(team, b), team.weight)) + kind.lam * jnp.sum(team.kink * jnp.abs(b))


def residual(kind: Radial, team: Team, b: jax.Array, g: jax.Array) -> jax.Array:
    """Smallest element of −g − ∂(penalty) at b, (d,); 0 where nothing is free."""
    norm = norms(team, b)
    slope = kind.group_slope(norm, team.weight)
    pull = jnp.where(norm > 0, slope / jnp.where(norm > 0, norm, 1), 0)
    kink = kind.lam * team.kink
    rest = -g - b * pull[team.label]
    rest = jnp.where(b == 0, jnp.sign(rest) * jnp.maximum(jnp.abs(rest) - kink, 0), rest - kink * jnp.sign(b))
    rest = jnp.where(team.free, rest, 0)
    length = norms(team, rest)
    cut = jnp.where(norm > 0, 1, jnp.where(length > slope, 1 - slope / jnp.where(length > slope, length, 1), 0))
    return rest * cut[team.label]


def team_of(parts: Parts, columns: np.ndarray, width: int, intercept: bool) -> Team:
    """Groups of working columns, sorted by group, padded to a width; with an intercept of its own in front."""
    first = int(intercept)
    d, end = width + first, columns.size + first
    groups, begins, local = np.unique(parts.labels[columns], return_index=True, return_inverse=True)
    label, start = np.full(d, d - 1), np.zeros(d, dtype=np.int64)
    label[:first], label[first:end] = 0, local + first
    start[first : first + groups.size] = begins + first
    weight, kink, free = np.zeros(d), np.zeros(d), np.zeros(d, dtype=bool)
    weight[first : first + groups.size] = parts.weight[groups]
    kink[first:end], free[:end] = parts.kink[columns], True
    return Team(label, start, np.int64(groups.size + first), weight, kink, free)
