"""Checks of arguments: one clear sentence that names the argument, what was found and what was expected.

Only concrete values are looked at. Traced ones, and the placeholders that JAX puts into pytrees while it
transforms them, pass through: checking happens once, at the edge.
"""

from typing import Any

import jax
import numpy as np


def _is_concrete(value: Any) -> bool:
    if isinstance(value, jax.Array):
        return not isinstance(value, jax.core.Tracer) and value.is_fully_addressable
    return isinstance(value, (bool, int, float, np.ndarray, np.generic, list, tuple))


def number(
    name: str, value: Any, *, low: float = 0.0, high: float = np.inf, what: str = "", finite: bool = True
) -> None:
    """Refuse a concrete number, or array of them, that is NaN, infinite (if `finite`) or outside [low, high].

    Raises:
        TypeError: if `value` is no real number: a string, None, complex.
        ValueError: if an entry is outside.
    """

    def refusal() -> TypeError:
        # Made only when needed: to write out a long array takes longer than to check it.
        return TypeError(f"{name} must be a real number, or an array of them, got {value!r}")

    if value is None or isinstance(value, str) or np.iscomplexobj(value):
        raise refusal()
    if not _is_concrete(value):
        if not hasattr(value, "dtype"):  # what JAX traces has one; a dict, say, is no number
            raise refusal()
        return
    try:
        array = np.asarray(jax.device_get(value), dtype=np.float64)
    except (TypeError, ValueError):
        raise refusal() from None
    bad = ~((np.isfinite(array) | (not finite)) & (array >= low) & (array <= high))
    if bad.any():
        above = f" and at least {low:g}" if np.isfinite(low) else ""
        expected = what or "finite" + (f" and in [{low:g}, {high:g}]" if np.isfinite(high) else above)
        raise ValueError(f"{name} must be {expected}, got {array[bad].flat[0]:g}")


def numbers(name: str, tree: Any) -> None:
    """Refuse a tree of numbers, as `number` does, if one is negative, NaN or infinite; None is empty."""
    for leaf in jax.tree.leaves(tree):
        number(name, leaf)


def order(low_name: str, low: Any, high_name: str, high: Any) -> None:
    """Refuse concrete numbers, or arrays that broadcast to each other, of which a low one is above a high one.

    Raises:
        ValueError: as said.
    """
    if not (_is_concrete(low) and _is_concrete(high)):
        return
    low, high = np.broadcast_arrays(*(np.asarray(jax.device_get(value), np.float64) for value in (low, high)))
    bad = low > high
    if bad.any():
        raise ValueError(f"{low_name} must be at most {high_name}, got {low[bad][0]:g} and {high[bad][0]:g}")


def lams(value: Any, name: str = "lams") -> None:
    """Refuse an empty, negative or non-finite list of strengths, when it is concrete.

    Raises:
        ValueError: as said.
    """
    if isinstance(value, jax.core.Tracer):
        return
    array = np.asarray(value, dtype=np.float64)
    if array.ndim != 1:
        raise ValueError(f"{name} must be a one-dimensional list of strengths, got shape {array.shape}")
    if array.size == 0:
        raise ValueError(f"{name} is empty: at least one strength is needed")
    number(name, array, what="finite and not negative")
