"""Smaller models with equal outputs: units that do nothing are cut out."""

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxreg import _tree
from jaxreg._tree import PyTree
from jaxreg.structure._link import Link, arrays


class Compacted(NamedTuple):
    """Smaller parameters, and for each link's kernel path the units that were kept, in order."""

    params: PyTree
    kept: dict[str, np.ndarray]


def compact(params: PyTree, links: Sequence[Link], *, constant: Literal["refuse", "keep"] = "refuse") -> Compacted:
    """Cut out units that do nothing, so that a smaller model gives the same outputs.

    A unit does nothing if no weight leads out of it. If no weight leads into it, it gives the constant
    activation(bias), which is added to the biases of the next layer. Cutting one unit may leave others without use;
    they go as well. Outputs agree up to the rounding of sums of another order.

    The shapes of the arrays change, and nothing else. Equinox and flax nnx take them as they are (fields that only tell
    sizes keep the old ones); a flax linen or haiku model is to be made anew with the widths in `kept`.

    Args:
        params: parameter pytree, of concrete arrays.
        links: what leads where, `sequential(params)` for a plain chain.
        constant: what to do about a unit that gives a constant other than zero where no bias can take it up: the next
            layer has none, or pads with zeros. `"refuse"` raises; `"keep"` leaves the unit in.

    Raises:
        TypeError: if `links` holds something else.
        ValueError: if a path is unknown, sizes do not fit one another, or by `constant="refuse"`, which penalties on
            whole units (`Units`, bias included) never lead to with an activation that maps 0 to 0.

    >>> params = {"a": {"kernel": np.array([[1.0, 0.0]]), "bias": np.array([0.5, 2.0])},
    ...           "b": {"kernel": np.array([[1.0], [3.0]]), "bias": np.array([0.0])}}
    >>> from jaxreg.structure import sequential
    >>> small, kept = compact(params, sequential(params))
    >>> kept["a/kernel"], small["b"]["bias"]
    (array([0]), Array([6.], dtype=float32))
    """
    if isinstance(links, Link):
        links = [links]
    if not all(isinstance(link, Link) for link in links):
        raise TypeError(f"links must be a list of Link, got {links!r:.200}")
    if constant not in ("refuse", "keep"):
        raise ValueError(f"constant must be 'refuse' or 'keep', got {constant!r}")
    there_are = arrays(params)
    joints = [_Joint(link, there_are) for link in links]
    work = {path: np.asarray(leaf, np.float64).copy() for path, leaf in there_are.items()}
    changed = True
    while changed:
        changed = False
        for joint in [*reversed(joints), *joints]:
            changed |= joint.drop(work, constant == "keep")
    return _cut(params, joints, work)


class _Joint:
    """A link, its paths found and its sizes checked, with the units dropped so far."""

    def __init__(self, link: Link, leaves: dict[str, Any]) -> None:
        self.link = link
        self.kernel, self.into = _find("kernel", link.kernel, leaves), _find("into", link.into, leaves)
        self.bias = None if link.bias is None else _find("bias", link.bias, leaves)
        self.into_bias = None if link.into_bias is None else _find("into_bias", link.into_bias, leaves)
        self.also = {_find("also", path, leaves): axis for path, axis in link.also.items()}
        shapes = {path: np.shape(leaf) for path, leaf in leaves.items()}
        for path, axis in ((self.kernel, link.axis), (self.into, link.into_axis), (self.into, link.into_units)):
            if not -len(shapes[path]) <= axis < len(shapes[path]):
                raise ValueError(f"{path!r} of shape {shapes[path]} has no axis {axis}")
        self.units = shapes[self.kernel][link.axis]
        taken = shapes[self.into][link.into_axis]
        self.places, rest = divmod(taken, max(self.units, 1))
        if rest or self.places < 1:
            raise ValueError(f"{self.kernel!r} has {self.units} units, but {self.into!r} takes {taken} inputs")
        if self.places > 1 and len(shapes[self.into]) > 2:
            raise ValueError(f"{self.kernel!r} has {self.units} units, but {self.into!r} takes {taken} channels")
        self.bias_axis = 0
        if self.bias is not None:
            self.bias_axis = int(np.argmax(shapes[self.bias]))
            if int(np.prod(shapes[self.bias])) != self.units:
                raise ValueError(f"{self.bias!r} of shape {shapes[self.bias]} does not fit {self.units} units")
        self.dropped = np.zeros(self.units, bool)

    def inputs(self, units: np.ndarray) -> np.ndarray:
        """Places of these units along the axis of `into` that takes them."""
        if self.link.channels_last:
            return (np.arange(self.places)[:, None] * self.units + units).ravel()
        return (units[:, None] * self.places + np.arange(self.places)).ravel()

    def drop(self, work: dict[str, np.ndarray], keep: bool) -> bool:
        """Set units that do nothing to zero, and what they gave into the next bias; say whether there were any."""
        link = self.link
        leading_in = np.moveaxis(work[self.kernel], link.axis, 0)
        leading_out = np.moveaxis(work[self.into], link.into_axis, 0)  # a view: writing to it writes to the kernel
        alive = np.asarray(leading_in.reshape(self.units, -1).any(axis=1))
        by_unit = np.stack([leading_out[self.inputs(np.array([u]))].ravel() for u in range(self.units)])
        used = np.asarray(by_unit.any(axis=1))
        change = False
        constants = self._constants(work)
        for unit in np.flatnonzero(~((alive & used) | self.dropped)):
            rows = self.inputs(np.array([unit]))
            if used[unit] and constants[unit] != 0:
                if not self._can_fold(work):
                    if keep:
                        continue
                    raise ValueError(
                        f"unit {unit} of {self.kernel!r} gives the constant {constants[unit]:g}, which "
                        + (
                            f"{self.into!r} has no bias to take up"
                            if self.into_bias is None
                            else f"{self.into!r} sees fade at its zero padding (padded=False if it has none)"
                        )
                        + ": penalize biases with their units (Units), or pass constant='keep'"
                    )
                others = tuple(a for a in range(leading_out.ndim) if a != self._own_axis(leading_out.ndim))
                given = leading_out[rows].sum(axis=others)
                assert self.into_bias is not None
                work[self.into_bias] += (constants[unit] * given).reshape(work[self.into_bias].shape)
            leading_in[unit] = 0
            leading_out[rows] = 0
            self.dropped[unit] = True
            change = True
        return change

    def _own_axis(self, ndim: int) -> int:
        """Axis of the next layer's own units, once its inputs have been moved to the front."""
        own, taken = self.link.into_units % ndim, self.link.into_axis % ndim
        return own + 1 if own < taken else own

    def _can_fold(self, work: dict[str, np.ndarray]) -> bool:
        convolution = work[self.into].ndim > 2
        return self.into_bias is not None and not (convolution and self.link.padded)

    def _constants(self, work: dict[str, np.ndarray]) -> np.ndarray:
        bias = np.zeros(self.units) if self.bias is None else work[self.bias].ravel()
        return np.asarray(self.link.activation(jnp.asarray(bias)), np.float64)


def _find(name: str, path: str, leaves: dict[str, Any]) -> str:
    for found in (path, f"{path}/value"):
        if found in leaves:
            return found
    raise ValueError(f"{name} names {path!r}, but the paths there are: {', '.join(map(repr, leaves))}")


def _cut(params: PyTree, joints: list[_Joint], work: dict[str, np.ndarray]) -> Compacted:
    cuts: dict[str, list[tuple[int, np.ndarray]]] = {}
    kept = {}
    for joint in joints:
        # A layer without units is no layer: one that does nothing stays.
        units = np.flatnonzero(~joint.dropped)
        units = units if units.size else np.zeros(1, int)
        kept[joint.link.kernel] = units
        cuts.setdefault(joint.kernel, []).append((joint.link.axis, units))
        cuts.setdefault(joint.into, []).append((joint.link.into_axis, joint.inputs(units)))
        if joint.bias is not None:
            cuts.setdefault(joint.bias, []).append((joint.bias_axis, units))
        for path, axis in joint.also.items():
            cuts.setdefault(path, []).append((axis, units))
    touched = {joint.into_bias for joint in joints}
    pairs, structure = jax.tree_util.tree_flatten_with_path(params)
    leaves = []
    for place, leaf in pairs:
        name = _tree.path_string(place)
        if name not in cuts and name not in touched:
            leaves.append(leaf)
            continue
        array = work[name]
        for axis, places in cuts.get(name, []):
            array = np.take(array, places, axis=axis)
        leaves.append(jnp.asarray(array, jnp.result_type(leaf)))
    return Compacted(jax.tree.unflatten(structure, leaves), kept)
