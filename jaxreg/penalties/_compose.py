"""Penalties on parts of a model: `Masked` picks leaves by path, `Blocks` gives each part its own penalty."""

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any, Self

import jax
import jax.numpy as jnp

from jaxreg import _check, _select, _tree
from jaxreg._select import Selector
from jaxreg._tree import PyTree
from jaxreg.penalties._base import Penalty, Separable


@_tree.register
@dataclasses.dataclass(frozen=True)
class Masked(Penalty):
    """A penalty on the leaves whose path matches a pattern; all others are unpenalized, and left untouched.

    Args:
        penalty: what acts on the chosen leaves.
        include: one or more of these. A shell-style pattern on slash-separated paths, in which `*` crosses slashes:
            `*/kernel` is every leaf named kernel, `enc/*` everything under enc. A compiled regular expression,
            searched for in the path. A function of (path, leaf) that answers True or False by the path, and the
            leaf's shape and dtype. Functions are compared by identity: a new one compiles anew.

    Raises:
        TypeError: if `penalty` is not a penalty, or `include` holds something else; models are callable, but no
            functions.
        ValueError: on use, if one matches no parameter; the message lists the paths there are.

    >>> from jaxreg import L1
    >>> penalty = Masked(L1(1.0), include=("*/kernel",))
    >>> params = {"dense": {"kernel": jnp.array([0.5, 3.0]), "bias": jnp.array([0.5])}}
    >>> penalty.prox(params, 1.0)["dense"]
    {'bias': Array([0.5], dtype=float32), 'kernel': Array([0., 2.], dtype=float32)}
    """

    penalty: Penalty
    include: tuple[Selector, ...] = dataclasses.field(default=("*",), metadata={"static": True})

    def __post_init__(self) -> None:
        if not isinstance(self.penalty, Penalty):
            raise TypeError(f"penalty must be a jaxreg penalty, got {self.penalty!r}")
        object.__setattr__(self, "include", _select.check_all("include", self.include))

    @property
    def lam(self) -> Any:
        """Strength of the inner penalty."""
        return self.penalty.lam

    def _chosen(self, tree: PyTree) -> PyTree:
        return _tree.keep(tree, [owner >= 0 for owner in _select.owners(tree, self.include)])

    def value(self, params: PyTree) -> jax.Array:
        """Penalty of the chosen leaves."""
        return self.penalty.value(self._chosen(params))

    def prox(self, params: PyTree, step: Any) -> PyTree:
        """Proximal step on the chosen leaves; the others are returned as they are."""
        return _tree.overlay(self.penalty.prox(self._chosen(params), step), params)

    def metric_prox(self, params: PyTree, step: Any, metric: PyTree) -> PyTree:
        """Proximal step on the chosen leaves, in the metric."""
        chosen = [owner >= 0 for owner in _select.owners(params, self.include)]
        metric = _tree.keep(_tree.broadcast_weight(metric, params, "metric"), chosen)
        return _tree.overlay(self.penalty.metric_prox(_tree.keep(params, chosen), step, metric), params)

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
        chosen = _select.owners(params, self.include)
        inner = iter(self.penalty.terms(self._chosen(params)))
        return [next(inner) if owner >= 0 else [] for owner in chosen]

    def parts(self, params: PyTree) -> list[list[Penalty]]:
        """Those of the inner penalty on the chosen leaves; none on the others."""
        inner = iter(self.penalty.parts(self._chosen(params)))
        return [next(inner) if owner >= 0 else [] for owner in _select.owners(params, self.include)]

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
        blocks: mapping from path pattern (or regular expression, or predicate, as in `Masked`) to penalty, in order of
            precedence.
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

    patterns: tuple[Selector, ...] = dataclasses.field(metadata={"static": True})
    penalties: tuple[Penalty, ...]
    lam: Any

    def __init__(self, blocks: Mapping[Selector, Penalty], lam: Any = 1.0) -> None:
        if not isinstance(blocks, Mapping) or not blocks:
            raise TypeError(f"blocks must map path patterns to penalties, got {blocks!r}")
        for pattern, penalty in blocks.items():
            _select.check("blocks", pattern)
            if not isinstance(penalty, Penalty):
                raise TypeError(f"blocks must map path patterns to penalties, got {pattern!r}: {penalty!r}")
        _check.number("lam", lam)
        object.__setattr__(self, "patterns", tuple(blocks))
        object.__setattr__(self, "penalties", tuple(blocks.values()))
        object.__setattr__(self, "lam", lam)

    def _parts(self, *trees: PyTree) -> list[tuple[Penalty, list[PyTree]]]:
        """Each member at its own strength times the common factor, with its share of every tree."""
        owners = [_select.owners(tree, self.patterns) for tree in trees]
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

    def metric_prox(self, params: PyTree, step: Any, metric: PyTree) -> PyTree:
        """Each member's proximal step on its leaves, in the metric."""
        owner = _select.owners(params, self.patterns)
        full, result = _tree.broadcast_weight(metric, params, "metric"), params
        for k, (penalty, (mine,)) in enumerate(self._parts(params)):
            share = _tree.keep(full, [one == k for one in owner])
            result = _tree.overlay(penalty.metric_prox(mine, step, share), result)
        return result

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
        return [next(inner[owner]) if owner >= 0 else [] for owner in _select.owners(params, self.patterns)]

    def parts(self, params: PyTree) -> list[list[Penalty]]:
        """Those of the member that a leaf belongs to."""
        inner = [iter(penalty.parts(mine)) for penalty, (mine,) in self._parts(params)]
        return [next(inner[owner]) if owner >= 0 else [] for owner in _select.owners(params, self.patterns)]

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
