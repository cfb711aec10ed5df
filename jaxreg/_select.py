"""Selectors: which leaves of a model are meant, by glob pattern, regular expression, or predicate."""

import fnmatch
import functools
import inspect
import re
from collections.abc import Callable, Iterable
from typing import Any

import jax

from jaxreg import _tree
from jaxreg._tree import PyTree

Selector = str | re.Pattern[str] | Callable[[str, Any], bool]
"""A shell-style pattern for the whole path; a compiled regular expression, searched for in the path; or a plain
function of the path and the leaf, which may look at shape and dtype only, as it also sees traced arrays and gradients.

`*` crosses slashes: `*/kernel` is every leaf named kernel, `enc/*` everything under enc. The last part of a path in
flax nnx, `/value`, may be left out.
"""


def check(name: str, selector: Any) -> Selector:
    """Refuse what is no selector.

    Being callable does not make a predicate: models and their layers are callable too. It must be a function.

    Raises:
        TypeError: as said.
    """
    function = inspect.isfunction(selector) or inspect.ismethod(selector) or isinstance(selector, functools.partial)
    text = isinstance(selector.pattern if isinstance(selector, re.Pattern) else selector, str)
    if not (text or function):
        raise TypeError(
            f"{name} must be path patterns, compiled regular expressions, or functions of (path, leaf); "
            f"got {type(selector).__name__}: {selector!r:.100}"
        )
    return selector


def check_all(name: str, selectors: Any) -> tuple[Selector, ...]:
    """Read one selector or several of them.

    Raises:
        TypeError: if there is none, or something else among them.
    """
    several = isinstance(selectors, (tuple, list, set, frozenset))
    found = tuple(check(name, one) for one in (selectors if several else (selectors,)))
    if not found:
        raise TypeError(f"{name} must be one or more path patterns, got {selectors!r}")
    return found


def matches(path: str, selector: Selector, leaf: Any = None) -> bool:
    """Whether a selector chooses the leaf at a path; the pattern `*/kernel` also matches a `kernel` at the top.

    Raises:
        TypeError: if a predicate answers with something else than a truth value.

    >>> matches("enc/0/kernel", "*/kernel"), matches("enc/0/kernel", re.compile("^head|/1/"))
    (True, False)
    """
    if isinstance(selector, str):
        return any(fnmatch.fnmatchcase(lead + name, selector) for name in _names(path) for lead in ("", "/"))
    if isinstance(selector, re.Pattern):
        return any(selector.search(name) is not None for name in _names(path))
    answer = selector(path, leaf)
    if not isinstance(answer, bool) and type(answer).__name__ not in ("bool", "bool_"):
        raise TypeError(f"{describe(selector)} must answer True or False, got {answer!r:.100} for {path!r}")
    return bool(answer)


def _names(path: str) -> tuple[str, ...]:
    """A path, and for a leaf that sits in a variable of flax nnx that of the variable."""
    return (path, path.removesuffix("/value")) if path.endswith("/value") else (path,)


def describe(selector: Selector) -> str:
    """Write a selector for people."""
    if isinstance(selector, str):
        return f"pattern {selector!r}"
    if isinstance(selector, re.Pattern):
        return f"regular expression {selector.pattern!r}"
    return f"predicate {getattr(selector, '__qualname__', repr(selector))}"


def owners(tree: PyTree, selectors: Iterable[Selector]) -> list[int]:
    """For each leaf of any kind, the index of the first selector that chooses it, or −1.

    Raises:
        ValueError: if a selector chooses no floating-point leaf; the message lists the paths there are.
    """
    selectors = tuple(selectors)
    leaves = [(_tree.path_string(path), leaf) for path, leaf in jax.tree_util.tree_leaves_with_path(tree)]
    found = [-1] * len(leaves)
    used = set()
    for index, (name, leaf) in enumerate(leaves):
        if not _tree.is_float(leaf):
            continue
        hits = [k for k, selector in enumerate(selectors) if matches(name, selector, leaf)]
        used.update(hits)
        found[index] = hits[0] if hits else -1
    for k, selector in enumerate(selectors):
        if k not in used:
            there_are = ", ".join(map(repr, _tree.paths(tree))) or "none at all"
            raise ValueError(f"{describe(selector)} matches no parameter; the paths there are: {there_are}")
    return found
