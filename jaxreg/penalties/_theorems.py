"""Which sums of penalties have a prox, and by which theorem; all others are refused here, with the reason."""

import enum
from typing import Any, NoReturn

import jax
import numpy as np

from jaxreg.penalties._base import Absolute, Differences, Nonconvex, Penalty, Separable, Smooth
from jaxreg.penalties._elastic import L1, L2, Elastic
from jaxreg.penalties._intervals import Interval, NonNegative


class Role(enum.Enum):
    """What a member of a sum is there for."""

    ENTRY = "a sum over entries: alone, or before or after a core"
    RIDGE = "the same square for every entry of a core"
    CORE = "what binds entries together: at most one"
    SMOOTH = "what goes to the gradient side"


def assign(members: tuple[Penalty, ...]) -> tuple[Role, ...]:
    """Give every member of a sum its role.

    Raises:
        TypeError: if no theorem gives the prox; it names two of the members.
    """
    # Elastic penalties and intervals go with much. Of everything else one can have its prox, and a smooth one
    # need not: of many, the last smooth ones leave.
    heavy = [k for k, member in enumerate(members) if not consists_of(member, (Elastic, Interval))]
    smooth = [k for k in heavy if consists_of(members[k], Smooth)]
    moved = smooth if len(smooth) < len(heavy) else smooth[1:]
    main = [members[k] for k in heavy if k not in moved]
    if len(main) > 1:
        _refuse(main[0], main[1], "of penalties that are neither elastic nor intervals, only one can have its prox")
    bounded = [member for k, member in enumerate(members) if k not in moved and _has(member, Interval)]
    if len(bounded) > 1:
        _refuse(bounded[0], bounded[1], "whether two intervals meet is not known; write them as one Box, or as Blocks")

    core = main[0] if main and not consists_of(main[0], Separable) else None
    roles = []
    for k, member in enumerate(members):
        if k in moved:
            roles.append(Role.SMOOTH)
        elif k in heavy:
            roles.append(Role.ENTRY if core is None else Role.CORE)
        elif core is None:
            _check_entries(main, member)
            roles.append(Role.ENTRY)
        else:
            roles.append(_beside(core, member))
    return tuple(roles)


def _check_entries(main: list[Penalty], light: Penalty) -> None:
    """Refuse what is separable and yet has no known prox.

    Source: Combettes & Pesquet (2007), "Proximal thresholding algorithm for minimization over orthonormal bases",
    SIAM J. Optim. 18, proposition 3.6, for an L1 penalty; an interval clips any convex function of one number, and
    cuts off half of an even one that rises on either side.
    """
    atoms = [atom for member in main for atom in member.atoms]
    others = [atom for atom in atoms if not isinstance(atom, (Elastic, Interval))]
    even = all(isinstance(atom, Absolute) for atom in others)
    convex = not any(isinstance(atom, Nonconvex) for atom in others)
    half = even and all(isinstance(atom, NonNegative) for atom in light.atoms if isinstance(atom, Interval))
    if _has(light, Interval) and not (convex or half):
        _refuse(light, main[0], "bounds clip the prox of a convex penalty only; NonNegative goes with more")
    if _has_kink(light) and not even:
        _refuse(light, main[0], "an L1 penalty comes before an even penalty only, of the kind Absolute")


def _beside(core: Penalty, light: Penalty) -> Role:
    """Role of an elastic penalty or interval beside what binds entries together.

    Source: Yu (2013), "On decomposing the proximal map", NIPS, for L1 penalties and signs before a penalty of
    absolute values (theorem 1); the same, and Friedman, Hastie, Höfling & Tibshirani (2007), "Pathwise coordinate
    optimization", Ann. Appl. Stat. 1, for them after one of differences.
    """
    if consists_of(light, L2) and not _uniform(light):
        return Role.SMOOTH
    if any(isinstance(atom, Elastic) and not isinstance(atom, L1) for atom in light.atoms) and not _uniform(light):
        _refuse(light, core, "its squares have different weights; give them as an L2 by itself, which can be moved")
    if isinstance(light, L2):
        return Role.RIDGE
    if consists_of(core, Differences):
        if not _uniform(light):
            _refuse(light, core, "beside differences, all entries must be penalized alike, without mask or weights")
    elif not consists_of(core, Absolute):
        _refuse(light, core, f"the prox of {_name(core)} keeps neither signs nor the order of entries")
    elif not all(isinstance(atom, (Elastic, NonNegative)) for atom in light.atoms):
        _refuse(light, core, "of intervals only NonNegative comes before a penalty that binds entries together")
    return Role.ENTRY


def consists_of(penalty: Penalty, kinds: Any) -> bool:
    """Whether all atoms are of one of these kinds."""
    return all(isinstance(atom, kinds) for atom in penalty.atoms)


def _has(penalty: Penalty, kind: type) -> bool:
    return any(isinstance(atom, kind) for atom in penalty.atoms)


def _has_kink(penalty: Penalty) -> bool:
    return any(isinstance(atom, Elastic) and not isinstance(atom, L2) for atom in penalty.atoms)


def _uniform(penalty: Penalty) -> bool:
    """Whether every entry is treated alike."""
    if isinstance(penalty, Elastic):
        return _is_scalar(penalty.weight)
    return isinstance(penalty, Interval) and all(map(_is_scalar, penalty.bounds()))


def _is_scalar(value: Any) -> bool:
    return value is None or (jax.tree_util.all_leaves([value]) and np.ndim(value) == 0)


def _refuse(one: Penalty, other: Penalty, reason: str) -> NoReturn:
    raise TypeError(f"{_name(one)} + {_name(other)} has no known prox: {reason}")


def _name(penalty: Penalty) -> str:
    if len(penalty.atoms) == 1 and penalty.atoms[0] is penalty:
        return type(penalty).__name__
    return f"{type(penalty).__name__}({', '.join(type(atom).__name__ for atom in penalty.atoms)})"
