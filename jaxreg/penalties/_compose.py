"""Penalties on parts of a model: `Masked` picks leaves by path, `Blocks` gives each part its own penalty."""

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any, Self

import jax
import jax.numpy as jnp

from jaxreg import _check, _tree
from jaxreg._tree import PyTree
from jaxreg.penalties._base import Penalty, Separable


@_tree.register
@dataclasses.dataclass(frozen=True)
class Masked(Penalty):
    """A penalty on the leaves whose path matches a pattern; all others are unpenalized, and left untouched.

    Args:
        penalty: what acts on the chosen leaves.
        include: shell-style patterns on slash-separated paths. `*` crosses slashes: `*/kernel` is every leaf
            named kernel, `enc/*` everything under enc.

    Raises:
        TypeError: if `penalty` is not a penalty, or `include` holds no patterns.
        ValueError: on use, if a pattern matches no parameter; the message lists the paths there are.

    >>> from jaxreg import L1
    >>> penalty = Masked(L1(1.0), include=("*/kernel",))
    >>> params = {"dense": {"kernel": jnp.array([0.5, 3.0]), "bias": jnp.array([0.5])}}
    >>> penalty.prox(params, 1.0)["dense"]
    {'bias': Array([0.5], dtype=float32), 'kernel': Array([0., 2.], dtype=float32)}
    """

    penalty: Penalty
    include: tuple[str, ...] = dataclasses.field(default=("*",), metadata={"static": True})

    def __post_init__(self) -> None:
        if not isinstance(self.penalty, Penalty):
            raise TypeError(f"penalty must be a jaxreg penalty, got {self.penalty!r}")
        patterns = (self.include,) if isinstance(self.include, str) else tuple(self.include)
        if not patterns or not all(isinstance(pattern, str) for pattern in patterns):
            raise TypeError(f"include must be one or more path patterns, got {self.include!r}")
        object.__setattr__(self, "include", patterns)

    @property
    def lam(self) -> Any:
        """Strength of the inner penalty."""
        return self.penalty.lam

    def _chosen(self, tree: PyTree) -> PyTree:
        return _tree.keep(tree, [owner >= 0 for owner in _tree.owners(tree, self.include)])

    def value(self, params: PyTree) -> jax.Array:
        """Penalty of the chosen leaves."""
        return self.penalty.value(self._chosen(params))

    def prox(self, params: PyTree, step: Any) -> PyTree:
        """Proximal step on the chosen leaves; the others are returned as they are."""
        return _tree.overlay(self.penalty.prox(self._chosen(params), step), params)

    def residual(self, params: PyTree, grads: PyTree) -> PyTree:
        """Residual on the chosen leaves; −gradient on the others."""
        chosen = self.penalty.residual(self._chosen(params), self._chosen(grads))
        return _tree.overlay(chosen, _tree.map_floats(jnp.negative, grads))

    def lam_max(self, grads: PyTree) -> jax.Array:
        """λ_max of the inner penalty on the chosen leaves."""
        return self.penalty.lam_max(self._chosen(grads))

    def at(self, lam: Any) -> Self:
        """Return the inner penalty at strength `lam`, masked alike."""
        return dataclasses.replace(self, penalty=self.penalty.at(lam))

    def scaled(self, factor: Any) -> Self:
        """Return the inner penalty at a multiple of its strength, masked alike."""
        return dataclasses.replace(self, penalty=self.penalty.scaled(factor))

    def terms(self, params: PyTree) -> list[list[tuple[Separable, jax.Array]]]:
        """Those of the inner penalty on the chosen leaves; none on the others."""
        chosen = _tree.owners(params, self.include)
        inner = iter(self.penalty.terms(self._chosen(params)))
        return [next(inner) if owner >= 0 else [] for owner in chosen]

    @property
    def atoms(self) -> tuple[Penalty, ...]:
        """Those of the inner penalty."""
        return self.penalty.atoms

    @property
    def max_step(self) -> Any:
        """That of the inner penalty."""
        return self.penalty.max_step

    @property
    def prox_part(self) -> Self:
        """That of the inner penalty, masked alike."""
        part = self.penalty.prox_part
        return self if part is self.penalty else dataclasses.replace(self, penalty=part)

    def smooth_value(self, params: PyTree) -> Any:
        """Smooth value of the inner penalty on the chosen leaves."""
        return self.penalty.smooth_value(self._chosen(params))


@_tree.register
@dataclasses.dataclass(frozen=True, init=False)
class Blocks(Penalty):
    """A penalty for each part of a model, by path pattern; a leaf belongs to the first pattern it matches.

    Leaves that match no pattern are unpenalized. The strength `lam` of the whole multiplies the members' own
    strengths, which are thereby relative; it starts at 1.

    Args:
        blocks: mapping from path pattern to penalty, in order of precedence.
        lam: common factor.

    Raises:
        TypeError: if `blocks` is not a mapping from patterns to penalties.
        ValueError: if `lam` is negative, NaN or infinite; on use, if a pattern matches no parameter, and the
            message then lists the paths there are.

    >>> from jaxreg import L1, L2
    >>> penalty = Blocks({"head/*": L2(1.0), "*": L1(2.0)})
    >>> params = {"enc": {"w": jnp.array([3.0])}, "head": {"w": jnp.array([4.0])}}
    >>> float(penalty.value(params)), float(penalty.at(0.5).value(params))
    (14.0, 7.0)
    """

    patterns: tuple[str, ...] = dataclasses.field(metadata={"static": True})
    penalties: tuple[Penalty, ...]
    lam: Any

    def __init__(self, blocks: Mapping[str, Penalty], lam: Any = 1.0) -> None:
        if not isinstance(blocks, Mapping) or not blocks:
            raise TypeError(f"blocks must map path patterns to penalties, got {blocks!r}")
        for pattern, penalty in blocks.items():
            if not isinstance(pattern, str) or not isinstance(penalty, Penalty):
                raise TypeError(f"blocks must map path patterns to penalties, got {pattern!r}: {penalty!r}")
        _check.number("lam", lam)
        object.__setattr__(self, "patterns", tuple(blocks))
        object.__setattr__(self, "penalties", tuple(blocks.values()))
        object.__setattr__(self, "lam", lam)

    def _parts(self, *trees: PyTree) -> list[tuple[Penalty, list[PyTree]]]:
        """Each member at its own strength times the common factor, with its share of every tree."""
        owners = [_tree.owners(tree, self.patterns) for tree in trees]
        parts = []
        for k, penalty in enumerate(self.penalties):
            mine = [_tree.keep(tree, [o == k for o in owner]) for tree, owner in zip(trees, owners, strict=True)]
            parts.append((penalty.scaled(self.lam), mine))
        return parts

    def value(self, params: PyTree) -> jax.Array:
        """Sum of the members' penalties, each on its leaves."""
        return _tree.total([penalty.value(mine) for penalty, (mine,) in self._parts(params)])

    def prox(self, params: PyTree, step: Any) -> PyTree:
        """Each member's proximal step on its leaves; unmatched leaves are returned as they are."""
        for penalty, (mine,) in self._parts(params):
            params = _tree.overlay(penalty.prox(mine, step), params)
        return params

    def residual(self, params: PyTree, grads: PyTree) -> PyTree:
        """Each member's residual on its leaves; −gradient on unmatched leaves."""
        result = _tree.map_floats(jnp.negative, grads)
        for penalty, mine in self._parts(params, grads):
            result = _tree.overlay(penalty.residual(*mine), result)
        return result

    def lam_max(self, grads: PyTree) -> jax.Array:
        """Return the smallest common factor at which zero is stationary for every member."""
        ratios = []
        for penalty, (scaled, (mine,)) in zip(self.penalties, self._parts(grads), strict=True):
            needed = scaled.lam_max(mine)
            strength = 1.0 if penalty.lam is None else penalty.lam
            ratios.append(jnp.where(needed == 0, 0.0, needed / strength))
        return _tree.largest(ratios)

    def at(self, lam: Any) -> Self:
        """Return the same members under the common factor `lam`."""
        return type(self)(dict(zip(self.patterns, self.penalties, strict=True)), lam)

    def terms(self, params: PyTree) -> list[list[tuple[Separable, jax.Array]]]:
        """Those of the member that a leaf belongs to."""
        inner = [iter(penalty.terms(mine)) for penalty, (mine,) in self._parts(params)]
        return [next(inner[owner]) if owner >= 0 else [] for owner in _tree.owners(params, self.patterns)]

    @property
    def atoms(self) -> tuple[Penalty, ...]:
        """Those of all members."""
        return tuple(atom for penalty in self.penalties for atom in penalty.atoms)

    @property
    def max_step(self) -> Any:
        """The smallest of the members'."""
        return functools.reduce(jnp.minimum, [penalty.max_step for penalty in self.penalties])

    @property
    def prox_part(self) -> Self:
        """Those of the members."""
        parts = [penalty.prox_part for penalty in self.penalties]
        if all(part is penalty for part, penalty in zip(parts, self.penalties, strict=True)):
            return self
        return type(self)(dict(zip(self.patterns, parts, strict=True)), self.lam)

    def smooth_value(self, params: PyTree) -> Any:
        """Sum of the members' smooth values, each on its leaves."""
        return sum(penalty.smooth_value(mine) for penalty, (mine,) in self._parts(params))
