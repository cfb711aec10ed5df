"""Parameter pytrees: paths and patterns, which leaves count, and a little linear algebra on trees."""

import fnmatch
import math
from collections.abc import Callable, Iterable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

PyTree = Any


def is_float(leaf: Any) -> bool:
    """Whether a leaf holds real numbers that a penalty can act on (functions, integers and keys do not)."""
    if isinstance(leaf, float):
        return True
    dtype = getattr(leaf, "dtype", None)
    return dtype is not None and jnp.issubdtype(dtype, jnp.floating)


def map_floats(fn: Callable[..., Any], tree: PyTree, *rest: PyTree) -> PyTree:
    """`jax.tree.map` over the floating-point leaves; other leaves of the first tree pass through."""
    return jax.tree.map(lambda leaf, *others: fn(leaf, *others) if is_float(leaf) else leaf, tree, *rest)


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


def matches(path: str, pattern: str) -> bool:
    """Whether a shell-style pattern matches a path; `*/kernel` also matches a `kernel` at the top.

    `*` crosses slashes, so `enc/*` is everything under `enc`.
    """
    return fnmatch.fnmatchcase(path, pattern) or fnmatch.fnmatchcase("/" + path, pattern)


def owners(tree: PyTree, patterns: tuple[str, ...]) -> list[int]:
    """For each leaf of any kind, the index of the first pattern that matches its path, or −1.

    Raises:
        ValueError: if a pattern matches no floating-point leaf; the message lists the paths there are.
    """
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    names = [path_string(path) for path, leaf in leaves if is_float(leaf)]
    for pattern in patterns:
        if not any(matches(name, pattern) for name in names):
            there_are = ", ".join(repr(name) for name in names) or "none at all"
            raise ValueError(f"pattern {pattern!r} matches no parameter; the paths there are: {there_are}")
    found = []
    for path, leaf in leaves:
        hits = (k for k, pattern in enumerate(patterns) if matches(path_string(path), pattern))
        found.append(next(hits, -1) if is_float(leaf) else -1)
    return found


def keep(tree: PyTree, chosen: list[bool]) -> PyTree:
    """Replace the leaves that are not chosen by None, which JAX takes as an empty subtree."""
    leaves, structure = jax.tree.flatten(tree)
    return structure.unflatten([leaf if yes else None for leaf, yes in zip(leaves, chosen, strict=True)])


def overlay(top: PyTree, bottom: PyTree) -> PyTree:
    """Take each leaf from `top`, or from `bottom` where `top` has None."""
    return jax.tree.map(lambda a, b: b if a is None else a, top, bottom, is_leaf=lambda x: x is None)


def partition(tree: PyTree) -> tuple[PyTree, PyTree]:
    """Split into the floating-point leaves and the rest, each with None where the other has its leaves."""
    float_leaf = [is_float(leaf) for leaf in jax.tree.leaves(tree)]
    return keep(tree, float_leaf), keep(tree, [not yes for yes in float_leaf])


def broadcast_weight(weight: PyTree, params: PyTree) -> PyTree:
    """Give every leaf of `params` its penalty factor: from None (all 1), one array, or a tree prefix.

    Raises:
        ValueError: if a factor does not broadcast to its leaf.
    """
    if weight is None:
        return jax.tree.map(lambda _: 1.0, params)
    if isinstance(weight, (list, np.ndarray, jax.Array)) and not isinstance(params, list):
        weight = jnp.asarray(weight)
    full = jax.tree.broadcast(weight, params)

    def check(leaf: Any, factor: Any) -> Any:
        shape, needed = jnp.shape(factor), jnp.shape(leaf)
        try:
            fits = np.broadcast_shapes(shape, needed) == needed
        except ValueError:
            fits = False
        if is_float(leaf) and not fits:
            raise ValueError(f"weight of shape {shape} does not fit a parameter of shape {needed}")
        return factor

    return jax.tree.map(check, params, full)


def total(values: PyTree) -> jax.Array:
    """Sum over all leaves, in at least float32; 0 for an empty tree."""
    leaves = jax.tree.leaves(values)
    if not leaves:
        return jnp.zeros(())
    wide = [jnp.promote_types(jnp.result_type(leaf), jnp.float32) for leaf in leaves]
    return sum((jnp.sum(leaf, dtype=dtype) for leaf, dtype in zip(leaves, wide, strict=True)), start=0.0)  # type: ignore[return-value]


def largest(values: PyTree) -> jax.Array:
    """Return the largest leaf entry, at least 0; NaN if any entry is NaN."""
    leaves = [jnp.max(leaf, initial=0.0) for leaf in floats(values)]
    return jnp.max(jnp.stack([jnp.asarray(leaf, _widest(leaves)) for leaf in leaves])) if leaves else jnp.zeros(())


def max_abs(tree: PyTree) -> jax.Array:
    """Largest absolute entry over all floating-point leaves."""
    return largest([jnp.abs(leaf) for leaf in floats(tree)])


def vdot(a: PyTree, b: PyTree) -> jax.Array:
    """Inner product over all floating-point leaves."""
    return total([x * y for x, y in zip(floats(a), floats(b), strict=True)])


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


def _widest(leaves: list[Any]) -> Any:
    return jnp.result_type(*leaves, jnp.float32) if leaves else jnp.float32
