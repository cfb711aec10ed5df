"""Parameter pytrees: paths, which leaves count, and a little linear algebra on trees."""

import dataclasses
import functools
import math
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

PyTree = Any
Class = TypeVar("Class", bound=type)

LANES = 64
"""Entries that a maximum is taken of side by side."""


def register(cls: Class) -> Class:
    """Register a frozen dataclass as a pytree; fields marked `static` in their metadata are structure.

    Unlike `jax.tree_util.register_dataclass`, rebuilding runs no `__post_init__`. JAX, and users of
    `jax.tree.map`, rebuild pytrees around gradients, axis numbers and names, which are no arguments to check.
    """
    static = tuple(field.name for field in dataclasses.fields(cls) if field.metadata.get("static"))
    data = tuple(field.name for field in dataclasses.fields(cls) if field.name not in static)

    def flatten(instance: Any) -> tuple[Any, Any]:
        values = instance.__dict__
        return tuple(values[name] for name in data), tuple(values[name] for name in static)

    def flatten_with_keys(instance: Any) -> tuple[Any, Any]:
        children, structure = flatten(instance)
        return tuple(zip(map(jax.tree_util.GetAttrKey, data), children, strict=True)), structure

    def unflatten(structure: Any, children: Any) -> Any:
        instance: Any = object.__new__(cls)
        instance.__dict__.update(zip(data + static, (*children, *structure), strict=True))
        return instance

    jax.tree_util.register_pytree_with_keys(cls, flatten_with_keys, unflatten, flatten)
    return cls


def is_float(leaf: Any) -> bool:
    """Whether a leaf holds real numbers that a penalty can act on (functions, integers and keys do not)."""
    if isinstance(leaf, float):
        return True
    dtype = getattr(leaf, "dtype", None)
    return dtype is not None and jnp.issubdtype(dtype, jnp.floating)


def map_floats(fn: Callable[..., Any], tree: PyTree, *rest: PyTree) -> PyTree:
    """`jax.tree.map` over the floating-point leaves, as arrays; other leaves of `tree` pass through."""

    def one(leaf: Any, *others: Any) -> Any:
        return fn(jnp.asarray(leaf), *others) if is_float(leaf) else leaf

    return jax.tree.map(one, tree, *rest)


def floats(tree: PyTree) -> list[Any]:
    """Return the floating-point leaves."""
    return [leaf for leaf in jax.tree.leaves(tree) if is_float(leaf)]


def path_string(path: Iterable[Any]) -> str:
    """Write a key path with slashes: `params/Dense_0/kernel`, `layers/0/weight`.

    >>> tree = {"enc": [{"w": 1.0}]}
    >>> path_string(jax.tree_util.tree_leaves_with_path(tree)[0][0])
    'enc/0/w'
    """
    return jax.tree_util.keystr(tuple(path), simple=True, separator="/")


def paths(tree: PyTree) -> list[str]:
    """List the paths of the floating-point leaves, in order."""
    return [path_string(path) for path, leaf in jax.tree_util.tree_leaves_with_path(tree) if is_float(leaf)]


def keep(tree: PyTree, chosen: list[bool]) -> PyTree:
    """Replace the leaves that are not chosen by None, which JAX takes as an empty subtree."""
    leaves, structure = jax.tree.flatten(tree)
    kept = [leaf if yes else None for leaf, yes in zip(leaves, chosen, strict=True)]
    return jax.tree.unflatten(structure, kept)


def overlay(top: PyTree, bottom: PyTree) -> PyTree:
    """Take each leaf from `top`, or from `bottom` where `top` has None."""
    return jax.tree.map(lambda a, b: b if a is None else a, top, bottom, is_leaf=lambda x: x is None)


def partition(tree: PyTree) -> tuple[PyTree, PyTree]:
    """Split into the floating-point leaves and the rest, each with None where the other has its leaves."""
    float_leaf = [is_float(leaf) for leaf in jax.tree.leaves(tree)]
    return keep(tree, float_leaf), keep(tree, [not yes for yes in float_leaf])


def broadcast_weight(weight: PyTree, params: PyTree, name: str = "weight", default: float = 1.0) -> PyTree:
    """Give every leaf of `params` its penalty factor, from None (all 1), an array, or a tree prefix of these.

    Other numbers of entries, such as bounds, have another name and default. They come in the leaf's own precision,
    and in at least float32.

    Raises:
        ValueError: if a factor does not broadcast to its leaf, or the tree is not a prefix of `params`.
    """
    if isinstance(weight, list) and not isinstance(params, list):
        weight = jnp.asarray(weight)
    try:
        full = jax.tree.broadcast(weight, params, is_leaf=lambda factor: factor is None)
    except ValueError:
        names = ", ".join(map(repr, paths(params)))
        there_are = f"the parameters {names}" if names != "''" else "parameters that are a single array"
        shown = ", ".join(map(repr, paths(jax.tree.map(lambda _: 0.0, weight)))) or "nothing"
        raise ValueError(f"{name} is a tree that does not fit {there_are}: it has {shown}") from None

    def one(leaf: jax.Array, factor: Any) -> jax.Array:
        factor = jnp.asarray(default if factor is None else factor, wide(leaf).dtype)
        try:
            fits = np.broadcast_shapes(factor.shape, leaf.shape) == leaf.shape
        except ValueError:
            fits = False
        if not fits:
            raise ValueError(f"{name} of shape {factor.shape} does not fit a parameter of shape {leaf.shape}")
        return factor

    return map_floats(one, params, full)


def wide(leaf: Any) -> jax.Array:
    """Convert to an array of at least float32: half precision holds parameters, but does not compute."""
    return jnp.asarray(leaf, jnp.promote_types(jnp.result_type(leaf), jnp.float32))


def total(values: PyTree) -> jax.Array:
    """Sum over all floating-point leaves, in at least float32; 0 for an empty tree."""
    return sum((jnp.sum(wide(leaf)) for leaf in floats(values)), start=jnp.zeros((), jnp.float32))


def largest(values: PyTree) -> jax.Array:
    """Return the largest leaf entry, at least 0; NaN if any entry is NaN."""
    leaves = (peak(wide(leaf)) for leaf in floats(values) if jnp.size(leaf))
    return functools.reduce(jnp.maximum, leaves, jnp.zeros((), jnp.float32))


def peak(x: jax.Array) -> jax.Array:
    """Return the largest entry of an array; NaN if any entry is NaN.

    In two stages, across and then along: XLA on CPU takes what leads to a maximum one entry at a time, ten times
    slower, when both run along the same axis.
    """
    flat = x.reshape(-1)
    rows = flat.size // LANES
    if rows < 4:
        return jnp.max(flat)
    across = jnp.max(jnp.max(flat[: rows * LANES].reshape(rows, LANES), axis=0))
    return across if rows * LANES == flat.size else jnp.maximum(across, jnp.max(flat[rows * LANES :]))


def max_abs(tree: PyTree) -> jax.Array:
    """Largest absolute entry over all floating-point leaves."""
    return largest([jnp.abs(leaf) for leaf in floats(tree)])


def vdot(a: PyTree, b: PyTree) -> jax.Array:
    """Inner product over all floating-point leaves."""
    return total([wide(x) * wide(y) for x, y in zip(floats(a), floats(b), strict=True)])


def norm(tree: PyTree) -> jax.Array:
    """Euclidean norm over all floating-point leaves."""
    return jnp.sqrt(vdot(tree, tree))


def add(a: PyTree, b: PyTree, scale: Any = 1.0) -> PyTree:
    """`a + scale · b` on the floating-point leaves, in the type of `a`."""
    return map_floats(lambda x, y: (x + scale * y).astype(jnp.result_type(x)), a, b)


def where(condition: Any, a: PyTree, b: PyTree) -> PyTree:
    """Choose between two trees of one structure by a scalar condition."""
    return jax.tree.map(lambda x, y: jnp.where(condition, x, y), a, b)


def all_finite(tree: PyTree) -> jax.Array:
    """Whether every floating-point entry is finite."""
    finite = [jnp.all(jnp.isfinite(leaf)) for leaf in floats(tree)]
    return jnp.all(jnp.stack(finite)) if finite else jnp.asarray(True)


def size(tree: PyTree) -> int:
    """Count the floating-point entries."""
    return sum(math.prod(jnp.shape(leaf)) for leaf in floats(tree))
