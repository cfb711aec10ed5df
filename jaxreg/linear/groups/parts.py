"""Penalties of groups of coefficients, as the group working sets see them: any columns, in groups of their own.

Where a sample has k outputs, coefficients are (p, k), and a group holds all entries of its rows.
"""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxreg import _tree
from jaxreg._programs import program
from jaxreg.linear.groups.ridged import Kind, Ridged
from jaxreg.linear.outputs import alike
from jaxreg.penalties import L2, L21, MCP, SCAD, GroupLasso, GroupMCP, GroupSCAD, Penalty, SparseGroupLasso, Sum
from jaxreg.penalties._groups import Groups
from jaxreg.penalties._radial import Radial

GROUPED = (GroupLasso, SparseGroupLasso, GroupMCP, GroupSCAD)
"""Penalties of groups that the working sets know."""
ROWWISE = (L21, GroupLasso, GroupMCP, GroupSCAD)
"""Those that they know where a sample has several outputs: groups hold whole rows."""
SINGLE: dict[type, type] = {MCP: GroupMCP, SCAD: GroupSCAD}
"""Penalties of single entries, and those of groups that they are with groups of one."""


class Parts(NamedTuple):
    """A penalty Σ_g φ(‖b_g‖; w_g) + λ Σ u|b| of p columns, taken apart: no program depends on the groups."""

    whole: Radial
    """Of all p columns, without a square that may stand beside it."""
    kind: Kind
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
        """Which groups hold a column that no kink holds at zero, (m,)."""
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
    """Whether the working sets know a penalty of coefficients (p,): of groups of columns, and folded of single ones."""
    return isinstance(penalty, GROUPED) or type(penalty) in SINGLE


def in_rows(penalty: Penalty) -> bool:
    """Whether they know it of coefficients (p, k)."""
    return isinstance(penalty, ROWWISE)


def apart(penalty: Penalty) -> tuple[Penalty, float]:
    """A penalty without the square that stands beside it, and the curvature of that: at a strength of 1."""
    if not isinstance(penalty, Sum) or sorted(role.name for role in penalty.roles) != ["CORE", "RIDGE"]:
        return penalty, 0.0
    core, square = sorted(penalty.members, key=lambda member: isinstance(member, L2))
    if not isinstance(core, (L21, GroupLasso, SparseGroupLasso)) or not isinstance(square, L2):
        return penalty, 0.0
    share = float(np.asarray(core.lam))
    changes: dict[str, Any] = {"weight": share * np.asarray(1.0 if core.weight is None else core.weight)}
    if isinstance(core, SparseGroupLasso):
        changes["entry_weight"] = share * np.asarray(1.0 if core.entry_weight is None else core.entry_weight)
    weight = 1.0 if square.weight is None else square.weight
    return dataclasses.replace(core, lam=1.0, **changes), float(np.asarray(square.lam * weight))


def parts_of(penalty: Penalty, p: int, outputs: tuple[int, ...] = ()) -> Parts:
    """Take apart a penalty of coefficients (p,), or (p, k) where a sample has outputs (k,)."""
    core, ridge = apart(weighted(penalty, p, outputs))
    whole = _grouped(core, p)
    labels = np.asarray(whole.labels((p, *outputs))).reshape(p, -1)[:, 0]
    weight, kink = (np.asarray(part) for part in _numbers(whole, np.zeros((p, *outputs))))
    bare: dict[str, Any] = {"weight": 1.0}
    if not isinstance(whole, L21):
        bare["groups"] = Groups.of(np.zeros(1))
    if isinstance(whole, SparseGroupLasso):
        bare["entry_weight"] = None
    kind: Radial = dataclasses.replace(whole, **bare)  # type: ignore[type-var]
    return Parts(whole, Ridged(kind, ridge) if ridge else kind, labels, weight, kink.reshape(p, -1)[:, 0])


def _grouped(penalty: Any, p: int) -> Radial:
    if type(penalty) not in SINGLE:
        return penalty
    weight = np.broadcast_to(np.asarray(_tree.broadcast_weight(penalty.weight, np.zeros(p))), (p,))
    group = SINGLE[type(penalty)]
    return group(penalty.lam, groups=Groups.of(np.arange(p)), gamma=penalty.gamma, weight=weight)


def weighted(penalty: Any, p: int, outputs: tuple[int, ...] = ()) -> Any:
    """The same with its groups' default weights as numbers: what is fixed the compiler would work out, and slowly."""
    if isinstance(penalty, Sum):
        return Sum(*(weighted(member, p, outputs) for member in penalty.members), lam=penalty.lam)
    if not isinstance(penalty, GROUPED) or penalty.weight is not None:
        return penalty
    return dataclasses.replace(penalty, weight=np.sqrt(penalty.layout().sizes((p, *outputs))))


@program()
def _numbers(whole: Radial, x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """w of the groups and u of the entries: κ at a strength of 1."""
    kink = whole.at(1.0).entry_kink(x)
    return whole.group_weight(x), jnp.zeros_like(x) if kink is None else jnp.broadcast_to(kink, x.shape)


@program()
def entering(whole: Radial, gradients: jax.Array) -> jax.Array:
    """Largest strength at which each group of zeros would begin to move, (F, m), by gradients (F, p, …)."""
    return jax.vmap(whole.group_lam_max)(gradients)


def sums(team: Team, x: jax.Array) -> jax.Array:
    """Sum over each group, (d,), of x (d, …)."""
    x = jnp.sum(x, axis=tuple(range(1, x.ndim)))
    return jax.ops.segment_sum(x, team.label, num_segments=team.label.size, indices_are_sorted=True)


def spread(team: Team, values: jax.Array, like: jax.Array) -> jax.Array:
    """Give every coordinate the value (d,) of its group, with an axis for outputs where `like` (d, …) has one."""
    return alike(values[team.label], like)


def norms(team: Team, b: jax.Array) -> jax.Array:
    """Euclidean norm of each group, (d,)."""
    return jnp.sqrt(sums(team, jnp.square(b)))


def value(kind: Kind, team: Team, b: jax.Array) -> jax.Array:
    """Penalty of b (d, …)."""
    return jnp.sum(kind.group_value(norms(team, b), team.weight)) + kind.lam * jnp.sum(alike(team.kink, b) * jnp.abs(b))


def residual(kind: Kind, team: Team, b: jax.Array, g: jax.Array) -> jax.Array:
    """Smallest element of −g − ∂(penalty) at b, (d, …); 0 where nothing is free."""
    norm = norms(team, b)
    slope = kind.group_slope(norm, team.weight)
    pull = jnp.where(norm > 0, slope / jnp.where(norm > 0, norm, 1), 0)
    kink = alike(kind.lam * team.kink, b)
    rest = -g - b * spread(team, pull, b)
    rest = jnp.where(b == 0, jnp.sign(rest) * jnp.maximum(jnp.abs(rest) - kink, 0), rest - kink * jnp.sign(b))
    rest = jnp.where(alike(team.free, b), rest, 0)
    length = norms(team, rest)
    cut = jnp.where(norm > 0, 1, jnp.where(length > slope, 1 - slope / jnp.where(length > slope, length, 1), 0))
    return rest * spread(team, cut, b)


def asleep(team: Team, b: jax.Array) -> jax.Array:
    """Which entries of b (d, …) only a step from zero can move: zero, or of a group of zeros."""
    still = spread(team, norms(team, b) == 0, b)
    return jnp.where(alike(team.kink > 0, b), b == 0, still)


class Nearby(NamedTuple):
    """What Σ φ(‖b_g‖) is near b, up to second order.

    Its gradient is `pull` (d, …), and its Hessian diag(extra) + along · unit unitᵀ within groups; both (d,), and the
    units (d, …). Of groups (d,): their norms, and which are nonzero or not held at zero.
    """

    norm: jax.Array
    awake: jax.Array
    pull: jax.Array
    unit: jax.Array
    extra: jax.Array
    along: jax.Array


def nearby(kind: Kind, team: Team, b: jax.Array, tame: jax.Array | bool) -> Nearby:
    """Differentiate at b (d, …). Tame, without its concave part, the model lies above a folded penalty."""
    norm = norms(team, b)
    slope, curve = jax.jvp(lambda x: kind.group_slope(x, team.weight), (norm,), (jnp.ones_like(norm),))
    curve = jnp.where(tame, jnp.maximum(curve, 0), curve)
    alive = norm > 0
    across = jnp.where(alive, slope / jnp.where(alive, norm, 1), 0)
    unit = b / spread(team, jnp.where(alive, norm, 1), b)
    along = jnp.where(alive, curve - across, 0)
    return Nearby(
        norm, alive | (team.weight == 0), spread(team, slope, b) * unit, unit, across[team.label], along[team.label]
    )


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
