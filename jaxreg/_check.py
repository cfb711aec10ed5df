"""Checks of arguments: one clear sentence that names the argument, what was found and what was expected.

Only concrete numbers are looked at. Traced values, and the placeholders that JAX puts into pytrees while it
transforms them, pass through: checking happens once, at the edge.
"""

from typing import Any

import jax
import numpy as np


def _concrete(value: Any) -> np.ndarray | None:
    if isinstance(value, (bool, int, float, np.ndarray, np.generic, list, tuple)):
        try:
            return np.asarray(value, dtype=np.float64)
        except (TypeError, ValueError):
            return None
    return None


def number(name: str, value: Any, *, low: float = 0.0, high: float = np.inf, what: str = "") -> None:
    """Refuse a concrete number, or array of them, that is NaN, infinite or outside [low, high].

    Raises:
        TypeError: if `value` is a string.
        ValueError: if an entry is outside.
    """
    if isinstance(value, str):
        raise TypeError(f"{name} must be a number, got the string {value!r}")
    array = _concrete(value)
    if array is None or array.size == 0:
        return
    bad = ~(np.isfinite(array) & (array >= low) & (array <= high))
    if bad.any():
        span = f"in [{low:g}, {high:g}]" if np.isfinite(high) else f"at least {low:g}"
        expected = what or f"finite and {span}"
        raise ValueError(f"{name} must be {expected}, got {array[bad].flat[0]:g}")


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
