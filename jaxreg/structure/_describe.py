"""Which penalty acts on which parameter, in words."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxreg import _format, _tree
from jaxreg._tree import PyTree
from jaxreg.penalties import Grouped, Penalty, Separable, Units


def describe(penalty: Penalty, params: PyTree) -> None:
    """Print which penalty acts on which parameter, one line for each floating-point leaf.

    Args:
        penalty: any penalty.
        params: parameter pytree, or one of `jax.ShapeDtypeStruct`.

    Raises:
        TypeError: if `penalty` is not a penalty.
        ValueError: if a path pattern of the penalty matches nothing, or groups do not fit a parameter.

    >>> from jaxreg import L1, GroupLasso, Blocks, by_axis
    >>> penalty = Blocks({"enc/kernel": GroupLasso(0.1, groups=by_axis(-1)), "*/kernel": L1(0.02)})
    >>> params = {"enc": {"kernel": jnp.ones((4, 3)), "bias": jnp.ones(3)}, "out": {"kernel": jnp.ones((3, 1))}}
    >>> describe(penalty, params)
    parameter   shape  penalty
    enc/bias    3      none
    enc/kernel  4 × 3  GroupLasso(lam=0.1, groups=by_axis(-1)): 3 groups
    out/kernel  3 × 1  L1(lam=0.02)
    """
    if not isinstance(penalty, Penalty):
        raise TypeError(f"penalty must be a jaxreg penalty, got {penalty!r}")
    params = jax.tree.map(_like, params)
    rows = [("parameter", "shape", "penalty")]
    factors = _factors(penalty, params)
    leaves = jax.tree_util.tree_leaves_with_path(params)
    for (path, leaf), parts, off in zip(leaves, penalty.parts(params), factors, strict=True):
        if _tree.is_float(leaf):
            name = _tree.path_string(path)
            words = " + ".join(_part(part, name, leaf) for part in parts) or "none"
            rows.append((name or "(the parameter)", shape_text(leaf), words + (" (weight 0: none)" if off else "")))
    print(_format.columns(rows))


def _like(leaf: Any) -> Any:
    """An array in place of a shape."""
    shape = isinstance(leaf, jax.ShapeDtypeStruct)
    return np.broadcast_to(np.zeros((), leaf.dtype), leaf.shape) if shape else leaf


def _factors(penalty: Penalty, params: PyTree) -> list[bool]:
    """For each leaf, whether a separable penalty has the weight 0 for all of it."""
    try:
        terms = penalty.terms(params)
    except TypeError:  # it is no sum over entries, which is how penalties say so
        return [False] * len(jax.tree.leaves(params))
    found = []
    for leaf in terms:
        weights = [w for part, w in leaf if isinstance(part, Separable) and part.lam is not None]
        concrete = weights and not any(isinstance(w, jax.core.Tracer) for w in weights)
        found.append(bool(concrete) and len(weights) == len(leaf) and not any(np.any(w) for w in weights))
    return found


def _part(part: Penalty, path: str, leaf: Any) -> str:
    if isinstance(part, Units):
        axis = part.axis_of(path, leaf)
        return f"Units({_call(part.penalty)}): {_format.count(np.shape(leaf)[axis or 0], 'unit')} along axis {axis}"
    groups = f": {_format.count(group_count(part, leaf), 'group')}" if isinstance(part, Grouped) else ""
    return _call(part) + groups


def group_count(part: Grouped, leaf: Any) -> int:
    """Number of groups of a leaf."""
    return int(part.labels(jnp.shape(leaf)).max(initial=-1)) + 1


def _call(part: Penalty) -> str:
    """Write a penalty as it would be made, arrays by their shape."""
    if not dataclasses.is_dataclass(part):
        return type(part).__name__
    words = []
    for field in dataclasses.fields(part):
        value = getattr(part, field.name)
        if value is None or (field.name == "lam" and part.lam is None):
            continue
        words.append(f"{field.name}={_value(value)}")
    return f"{type(part).__name__}({', '.join(words)})"


def _value(value: Any) -> str:
    if isinstance(value, jax.core.Tracer):
        return "traced"
    if jax.tree_util.all_leaves([value]) and np.ndim(value) == 0 and _tree.is_float(value):
        return _format.number(float(value))
    if isinstance(value, Penalty):
        return _call(value)
    shapes = {np.shape(leaf) for leaf in jax.tree.leaves(value)}
    if jax.tree_util.all_leaves([value]) and hasattr(value, "shape"):
        return f"array of shape {value.shape}"
    return f"tree of {len(shapes)} shapes" if isinstance(value, dict) else f"{value!r:.60}"


def shape_text(leaf: Any) -> str:
    """Write a shape for people."""
    return " × ".join(map(str, np.shape(leaf))) or "number"
