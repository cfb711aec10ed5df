"""Penalties of the units of a layer: groups that reach over several parameters."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, Self

import jax
import jax.numpy as jnp
import numpy as np

from jaxreg import _select, _tree
from jaxreg._select import Selector
from jaxreg._tree import PyTree
from jaxreg.penalties._base import Penalty


@_tree.register
@dataclasses.dataclass(frozen=True, init=False)
class Units(Penalty):
    """A penalty of the units of a layer, all of whose parameters are penalized together.

    The parameters are put side by side in one matrix (units, entries), a row of which holds all that belongs to a unit:
    its column of the kernel, its bias, and what else is named. The penalty acts on that matrix. With `GroupLasso` by
    rows a unit goes as a whole, bias included, so that a network can be made smaller (see `compact`).

    Args:
        penalty: what acts on the matrix, such as `GroupLasso(lam, groups=by_axis(0))` or `L21(lam)`.
        axes: mapping from path pattern (or regular expression, or predicate, as in `Masked`) to the axis along which
            the parameter's units lie. Parameters that no pattern matches are unpenalized.

    Raises:
        TypeError: if `penalty` is not a penalty, or `axes` not such a mapping.
        ValueError: on use, if a pattern matches no parameter, a parameter has no such axis, or parameters differ in
            the number of units.

    Source: Alvarez & Salzmann (2016), "Learning the number of neurons in deep networks", NIPS.

    >>> from jaxreg import L21
    >>> params = {"kernel": jnp.array([[3.0, 0.1], [0.0, 0.2]]), "bias": jnp.array([4.0, 0.2])}
    >>> Units(L21(1.0), {"kernel": -1, "bias": 0}).prox(params, 1.0)["bias"]
    Array([3.2, 0. ], dtype=float32)
    """

    penalty: Penalty
    patterns: tuple[Selector, ...] = dataclasses.field(metadata={"static": True})
    places: tuple[int, ...] = dataclasses.field(metadata={"static": True})

    def __init__(self, penalty: Penalty, axes: Mapping[Selector, int]) -> None:
        if not isinstance(penalty, Penalty):
            raise TypeError(f"penalty must be a jaxreg penalty, got {penalty!r}")
        if not isinstance(axes, Mapping) or not axes:
            raise TypeError(f"axes must map path patterns to axes, got {axes!r}")
        for pattern, axis in axes.items():
            _select.check("axes", pattern)
            if not isinstance(axis, (int, np.integer)) or isinstance(axis, bool):
                raise TypeError(f"axes must map path patterns to axes, got {pattern!r}: {axis!r}")
        self.__dict__.update(penalty=penalty, patterns=tuple(axes), places=tuple(int(axis) for axis in axes.values()))

    @property
    def lam(self) -> Any:
        """Strength of the inner penalty."""
        return self.penalty.lam

    def axis_of(self, path: str, leaf: Any) -> int | None:
        """Axis of the units of one parameter; None if it is unpenalized."""
        pairs = zip(self.patterns, self.places, strict=True)
        return next((axis for pattern, axis in pairs if _select.matches(path, pattern, leaf)), None)

    def _owners(self, params: PyTree) -> list[int]:
        """For each leaf the pattern that it belongs to, or −1.

        Raises:
            ValueError: as the class says.
        """
        owners = _select.owners(params, self.patterns)
        counts = {}
        for (path, leaf), owner in zip(jax.tree_util.tree_leaves_with_path(params), owners, strict=True):
            if owner < 0:
                continue
            name, axis, shape = _tree.path_string(path), self.places[owner], jnp.shape(leaf)
            if not -len(shape) <= axis < len(shape):
                raise ValueError(f"axes gives axis {axis} for {name!r}, whose shape is {shape}")
            counts[name] = shape[axis]
        if len(set(counts.values())) > 1:
            found = ", ".join(f"{count} in {name!r}" for name, count in counts.items())
            raise ValueError(f"axes must lead to as many units in every parameter, got {found}")
        return owners

    def _rows(self, tree: PyTree, owners: list[int]) -> list[jax.Array]:
        """The units' entries in each leaf that has some, (units, entries)."""
        rows = []
        for leaf, owner in zip(jax.tree.leaves(tree), owners, strict=True):
            if owner >= 0:
                moved = jnp.moveaxis(_tree.wide(leaf), self.places[owner], 0)
                rows.append(moved.reshape(moved.shape[0], -1))
        return rows

    def _matrix(self, tree: PyTree) -> jax.Array:
        return jnp.concatenate(self._rows(tree, self._owners(tree)), axis=1)

    def _apply(self, fn: Callable[..., jax.Array], bottom: PyTree, params: PyTree, *trees: PyTree) -> PyTree:
        """Replace the units' entries by fn(matrices); `bottom` gives all others, and types."""
        owners = self._owners(params)
        rows = self._rows(params, owners)
        others = [jnp.concatenate(self._rows(tree, owners), axis=1) for tree in trees]
        result = fn(jnp.concatenate(rows, axis=1), *others)
        parts = iter(jnp.split(result, np.cumsum([row.shape[1] for row in rows])[:-1], axis=1))
        leaves, structure = jax.tree.flatten(bottom)
        for k, owner in enumerate(owners):
            if owner >= 0:
                axis, shape = self.places[owner], jnp.shape(leaves[k])
                front = (shape[axis], *(n for place, n in enumerate(shape) if place != axis % len(shape)))
                back = jnp.moveaxis(next(parts).reshape(front), 0, axis)
                leaves[k] = back.astype(jnp.result_type(leaves[k]))
        return jax.tree.unflatten(structure, leaves)

    def value(self, params: PyTree) -> jax.Array:
        """Penalty of the matrix."""
        return self.penalty.value(self._matrix(params))

    def prox(self, params: PyTree, step: Any) -> PyTree:
        """Proximal step of the matrix; unmatched leaves are returned as they are."""
        return self._apply(lambda x: self.penalty.prox(x, step), params, params)

    def metric_prox(self, params: PyTree, step: Any, metric: PyTree) -> PyTree:
        """Proximal step of the matrix, in the metric."""
        full = _tree.broadcast_weight(metric, params, "metric")
        full = _tree.map_floats(lambda x, d: jnp.broadcast_to(d, x.shape), params, full)
        return self._apply(lambda x, d: self.penalty.metric_prox(x, step, d), params, params, full)

    def residual(self, params: PyTree, grads: PyTree) -> PyTree:
        """Residual of the matrix; −gradient on unmatched leaves."""
        return self._apply(self.penalty.residual, _tree.map_floats(jnp.negative, grads), params, grads)

    def lam_max(self, grads: PyTree) -> jax.Array:
        """λ_max of the matrix."""
        return self.penalty.lam_max(self._matrix(grads))

    def at(self, lam: Any) -> Self:
        """Return the inner penalty at strength `lam`, on the same units."""
        return self._with(self.penalty.at(lam))

    def scaled(self, factor: Any) -> Self:
        """Return the inner penalty at a multiple of its strength, on the same units."""
        return self._with(self.penalty.scaled(factor))

    def _with(self, penalty: Penalty) -> Self:
        return type(self)(penalty, dict(zip(self.patterns, self.places, strict=True)))

    def parts(self, params: PyTree) -> list[list[Penalty]]:
        """Itself, on the leaves that hold its units."""
        return [[self] if owner >= 0 else [] for owner in self._owners(params)]

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
        """That of the inner penalty, on the same units."""
        part = self.penalty.prox_part
        return self if part is self.penalty else self._with(part)

    def smooth_value(self, params: PyTree) -> Any:
        """Smooth value of the inner penalty."""
        return self.penalty.smooth_value(self._matrix(params))
