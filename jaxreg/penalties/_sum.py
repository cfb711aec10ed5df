"""Sums of penalties, where a theorem gives the prox of the sum."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, Self

import jax
import jax.numpy as jnp

from jaxreg import _check, _tree
from jaxreg._tree import PyTree
from jaxreg.penalties._base import Absolute, Differences, Penalty, Separable
from jaxreg.penalties._elastic import L1, L2, Elastic
from jaxreg.penalties._entries import Entry, collect, each
from jaxreg.penalties._intervals import Interval, NonNegative
from jaxreg.penalties._radial import GroupNorm
from jaxreg.penalties._sharp import Sharp
from jaxreg.penalties._theorems import Role, assign, consists_of


@_tree.register
@dataclasses.dataclass(frozen=True, init=False)
class Sum(Penalty):
    """A sum of penalties; `p1 + p2` makes one. The strength `lam` of the whole multiplies the members' own.

    There is no general prox of a sum. These are known, together as well where they can be:

    | sum | prox |
    |---|---|
    | `L2` + any penalty | scaled: prox of the other at v/(1 + step·λ) and step/(1 + step·λ) |
    | `L1` + any even separable one (`MCP`, `HuberizedL1`, ...) | that of the other after the soft threshold |
    | `Box` + convex separable, `NonNegative` + any even separable one | clipped |
    | `L1`, `NonNegative` + groups, or another `Absolute` one | that of the other after the threshold, the cut |
    | `L1`, `Box`, `NonNegative` + `Differences` (`TotalVariation`, `Monotone`) | thresholded, clipped |

    `ElasticNet` is the sum of `L1` and `L2`, and `Masked` and `Blocks` of these are like them; L2 beside a penalty
    that binds entries together, and all that comes beside `Differences`, must have one strength for all entries.

    A smooth member that has no place among these goes to the gradient side: `smooth_value` and `smooth_part` hold it,
    `prox_part` all others, and `Objective` adds it to the loss by itself. `prox` then raises: there is none.

    Args:
        members: two or more penalties. Sums among them are taken apart.
        lam: common factor.

    Raises:
        TypeError: if a member is not a penalty, or if no theorem gives the prox; it names two members and the reason.
        ValueError: if `lam` is negative, NaN or infinite.

    >>> from jaxreg import L1, NonNegative
    >>> penalty = L1(1.0) + NonNegative()
    >>> penalty.prox(jnp.array([-3.0, 0.5, 2.0]), 1.0)
    Array([0., 0., 1.], dtype=float32)
    """

    members: tuple[Penalty, ...]
    lam: Any
    roles: tuple[Role, ...] = dataclasses.field(metadata={"static": True}, repr=False)

    def __init__(self, *members: Penalty, lam: Any = 1.0) -> None:
        flat: list[Penalty] = []
        for member in members:
            if not isinstance(member, Penalty):
                raise TypeError(f"members must be jaxreg penalties, got {member!r}")
            inner = member.members if isinstance(member, Sum) else ()
            flat += [one.scaled(member.lam) for one in inner] or [member]
        if len(flat) < 2:
            raise TypeError(f"a sum needs two or more penalties, got {len(flat)}")
        _check.number("lam", lam)
        self.__dict__.update(members=tuple(flat), lam=lam, roles=assign(tuple(flat)))

    @classmethod
    def _of(cls, members: tuple[Penalty, ...], lam: Any, roles: tuple[Role, ...]) -> Self:
        """Make one whose roles are known."""
        made = object.__new__(cls)
        made.__dict__.update(members=members, lam=lam, roles=roles)
        return made

    def _only(self, keep: Callable[[Role], bool]) -> list[Penalty]:
        """Members of these roles, at their strength times the common factor."""
        return [m.scaled(self.lam) for m, role in zip(self.members, self.roles, strict=True) if keep(role)]

    @property
    def _core(self) -> Penalty | None:
        return next(iter(self._only(lambda role: role is Role.CORE)), None)

    def _entries(self, params: PyTree) -> list[Entry | None]:
        """What the separable members are to each leaf."""
        return collect(self._only(lambda role: role is Role.ENTRY), params, squares=Role.CORE not in self.roles)

    def _ridge(self) -> Any:
        """Curvature that is the same for every entry, beside a core."""
        total: Any = 0.0
        for member in self._only(lambda role: role in (Role.ENTRY, Role.RIDGE)):
            if isinstance(member, Elastic) and not isinstance(member, L1):
                weight = 1.0 if member.weight is None else member.weight
                total = total + member.lam * weight * (1 - member.mix)
        return total

    def parts(self, params: PyTree) -> list[list[Penalty]]:
        """Those of all members."""
        lists = [member.parts(params) for member in self._only(lambda _: True)]
        return [[part for parts in leaf for part in parts] for leaf in zip(*lists, strict=True)]

    @property
    def atoms(self) -> tuple[Penalty, ...]:
        """Those of all members."""
        return tuple(atom for member in self.members for atom in member.atoms)

    @property
    def smooth_part(self) -> tuple[Penalty, ...]:
        """Members that go to the gradient side, at their strength in the sum."""
        return tuple(self._only(lambda role: role is Role.SMOOTH))

    @property
    def prox_part(self) -> Self:
        """The sum of all other members."""
        pairs = [(member, role) for member, role in zip(self.members, self.roles, strict=True) if role != Role.SMOOTH]
        parts = tuple(member.prox_part for member, _ in pairs)
        if len(parts) == len(self.members) and all(a is b for a, b in zip(parts, self.members, strict=True)):
            return self
        return self._of(parts, self.lam, tuple(role for _, role in pairs))

    def smooth_value(self, params: PyTree) -> Any:
        """Value of the smooth part, and of what members have of it."""
        inner = [member.smooth_value(params) for member in self._only(lambda role: role is not Role.SMOOTH)]
        return sum([*inner, *(member.value(params) for member in self.smooth_part)])

    @property
    def max_step(self) -> Any:
        """The smallest of the members'; longer where a square for all entries makes up for it."""
        bounds = [member.max_step for member in self._only(lambda role: role is not Role.SMOOTH)]
        if all(isinstance(bound, float) and bound == jnp.inf for bound in bounds):
            return jnp.inf
        bound = functools.reduce(jnp.minimum, bounds)
        even = [m for m in self.members if isinstance(m, Elastic) and m.weight is None]
        ridge = sum(m.lam * self.lam * (1 - m.mix) for m in even)
        rest = 1 - jnp.where(jnp.isfinite(bound), bound, 0) * ridge
        return jnp.where(rest > 0, bound / jnp.where(rest > 0, rest, 1), jnp.inf)

    def value(self, params: PyTree) -> jax.Array:
        """Sum of the members' values."""
        return _tree.total([member.value(params) for member in self._only(lambda _: True)])

    def _need_prox(self) -> None:
        if self.prox_part is not self:
            names = " and ".join(type(member).__name__ for member in self.smooth_part) or "a part of a member"
            raise TypeError(
                f"{names} has no prox within this sum and goes to the gradient side: take prox_part here, and add "
                "smooth_value to the loss, as Objective does"
            )

    def prox(self, params: PyTree, step: Any) -> PyTree:
        """Proximal step, by theorem.

        Raises:
            TypeError: if a member goes to the gradient side.
        """
        self._need_prox()
        x = _tree.map_floats(_tree.wide, params)
        if self._core is None:
            x = each(lambda entry, x: entry.prox(x, step), self._entries(params), x)
        else:
            more = 1 + step * self._ridge()
            x = self._prox_beside(_tree.map_floats(lambda x: x / jnp.asarray(more, x.dtype), x), step / more)
        return _tree.map_floats(lambda leaf, moved: moved.astype(leaf.dtype), params, x)

    def _prox_beside(self, x: PyTree, step: Any) -> PyTree:
        """Proximal step of all but what is the same square for every entry, beside a core."""
        entries, core = self._entries(x), self._core
        assert core is not None
        first = consists_of(core, Absolute)
        x = each(lambda entry, x: entry.prox(x, step), entries, x) if first else x
        x = core.prox(x, step)
        return x if first else each(lambda entry, x: entry.prox(x, step), entries, x)

    def metric_prox(self, params: PyTree, step: Any, metric: PyTree) -> PyTree:
        """Proximal step in a diagonal metric: of single entries, and of these before norms of groups.

        What binds entries together must have one itself, which at present are norms of groups. They keep signs in
        every diagonal metric, wherefore what comes first in `prox` comes first here.

        Raises:
            TypeError: if a member goes to the gradient side, or has no prox in a metric.
        """
        self._need_prox()
        x = _tree.map_floats(_tree.wide, params)
        d = _tree.broadcast_weight(metric, params, "metric")
        entries, core = self._entries(params), self._core
        if core is not None:
            ridge = self._ridge()
            bent = _tree.map_floats(lambda d: d + jnp.asarray(step * ridge, d.dtype), d)
            x = _tree.map_floats(lambda x, d, bent: x * (d / bent), x, d, bent)
            d = bent
        # `each` lets the last tree pass where nothing acts.
        x = each(lambda entry, d, x: entry.prox(x, jnp.asarray(step, d.dtype) / d), entries, d, x)
        x = x if core is None else core.metric_prox(x, step, d)
        return _tree.map_floats(lambda leaf, moved: moved.astype(leaf.dtype), params, x)

    def residual(self, params: PyTree, grads: PyTree) -> PyTree:
        """Smallest element of −grads − ∂g, the smooth part included.

        The subdifferential is a sum of sets; the distance to it is taken in the order in which `prox` goes, because it
        is the prox of the directional derivative at `params`, a sum of the same kind.
        """
        if self.prox_part is not self:
            floats, rest = _tree.partition(params)
            extra = jax.grad(lambda p: self.smooth_value(_tree.overlay(p, rest)))(_tree.map_floats(_tree.wide, floats))
            grads = _tree.map_floats(lambda _, g, e: g + e, params, grads, extra)
            return self.prox_part.residual(params, grads)
        y = _tree.map_floats(lambda _, g: -_tree.wide(g), params, grads)
        entries, core = self._entries(params), self._core
        if core is None:
            return each(Entry.residual, entries, params, y)
        ridge, first = self._ridge(), consists_of(core, Absolute)
        y = _tree.map_floats(lambda x, y: y - jnp.asarray(ridge, y.dtype) * x, params, y)
        y = each(Entry.residual, entries, params, y) if first else y
        # An entry out of bounds is infinitely far from stationary, which must not reach the others.
        outside = _tree.map_floats(jnp.isinf, y)
        y = core.residual(params, _tree.map_floats(lambda y, bad: jnp.where(bad, 0, -y), y, outside))
        y = _tree.map_floats(lambda y, bad: jnp.where(bad, jnp.inf, y), y, outside)
        return y if first else each(Entry.residual, entries, params, y)

    def terms(self, params: PyTree) -> list[list[tuple[Separable, jax.Array]]]:
        """Those of all members."""
        lists = [member.terms(params) for member in self._only(lambda _: True)]
        return [[term for terms in leaf for term in terms] for leaf in zip(*lists, strict=True)]

    def lam_max(self, grads: PyTree) -> jax.Array:
        """Return the smallest common factor at which zero is stationary, by bisection to the last digits."""
        rest, sharp = self.prox_part.at(1.0), any(isinstance(atom, Sharp) for atom in self.atoms)
        grads = _tree.map_floats(_tree.wide, grads)
        zero, top = _tree.map_floats(jnp.zeros_like, grads), _tree.max_abs(grads)
        # Cones and strengths can be brought to scale; what is infinitely steep cannot.
        unit = jnp.where((top == 0) | sharp, 1, top)
        grads = _tree.map_floats(lambda g: g / unit.astype(g.dtype), grads)
        low, high = (jnp.asarray(2.0**power, top.dtype) for power in (-90, 90))
        # Where constants cost nothing, zero is only reached up to rounding.
        kinked = any(isinstance(atom, Elastic) and not isinstance(atom, L2) for atom in self.atoms)
        loose = any(isinstance(atom, Differences) for atom in self.atoms) and not kinked
        tolerance = 4 * jnp.finfo(top.dtype).eps if loose else 0
        # What no factor holds is free, and not counted, unless something else penalizes it, in vain.
        free = rest.at(high).residual(zero, grads)
        separable = [member for member in self._only(lambda _: True) if consists_of(member, Separable)]
        pulled = each(Entry.penalized, collect(separable, zero), zero)
        in_vain = _tree.max_abs(_tree.map_floats(lambda free, pulled: free * pulled, free, pulled)) > tolerance
        held = _tree.add(grads, free)

        def holds(factor: jax.Array) -> jax.Array:
            if sharp:
                return _tree.max_abs(rest.at(factor).prox(_tree.map_floats(jnp.negative, held), 1.0)) == 0
            return _tree.max_abs(rest.at(factor).residual(zero, held)) <= tolerance

        def halve(_: int, ends: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
            low, high = ends
            middle = jnp.where(high > 2 * low, jnp.sqrt(low) * jnp.sqrt(high), low + (high - low) / 2)
            good = holds(middle)
            return jnp.where(good, low, middle), jnp.where(good, middle, high)

        found = jax.lax.fori_loop(0, 64, halve, (low, high))[1] * unit
        found = jnp.where((top == 0) | holds(low), 0, found)
        possible = jnp.isfinite(self.value(zero)) & ~in_vain
        return jnp.where(jnp.isnan(top), top, jnp.where(possible, found, jnp.inf))

    def conjugate(self, dual: PyTree) -> jax.Array:
        """v·b − g(b) at the b that is best, of two kinds of sums; NaN of others.

        Elastic penalties and an interval go entry by entry. Of norms of groups beside a square ρ/2‖b‖² (and L1
        penalties and signs) it is ρ/2‖b‖², where b is the prox of all but the square at v/ρ, in a step of 1/ρ.
        """
        dual = _tree.map_floats(_tree.wide, dual)
        if consists_of(self, (Elastic, Interval)) and Role.SMOOTH not in self.roles:
            return _tree.total(each(Entry.conjugate, self._entries(dual), dual))
        if Role.SMOOTH in self.roles or not consists_of(self, (Elastic, GroupNorm, NonNegative)):
            return jnp.asarray(jnp.nan)
        ridge = jnp.asarray(self._ridge())
        short = 1 / jnp.where(ridge > 0, ridge, 1)
        best = self._prox_beside(_tree.map_floats(lambda v: v * short.astype(v.dtype), dual), short)
        # Subgradients s of a norm n have s·b = n(b), those of a cone s·b = 0, which leaves the square alone.
        slope = _tree.map_floats(lambda b: 0.5 * ridge.astype(b.dtype) * b, best)
        return jnp.where(ridge > 0, _tree.vdot(slope, best), jnp.nan)

    def shrink(self, dual: PyTree) -> jax.Array:
        """Smallest kink / |v| among the entries that nothing else bounds, at most 1."""
        if not consists_of(self, (Elastic, Interval)) or Role.SMOOTH in self.roles:
            return jnp.ones_like(_tree.max_abs(dual))
        dual = _tree.map_floats(_tree.wide, dual)
        return 1 / jnp.maximum(_tree.largest(each(Entry.excess, self._entries(dual), dual)), 1)

    def at(self, lam: Any) -> Self:
        """Return the same members under the common factor `lam`."""
        _check.number("lam", lam)
        return self._of(self.members, lam, self.roles)
