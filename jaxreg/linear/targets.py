"""Checks of targets and of what else has a row per sample."""

from typing import Any

import numpy as np

from jaxreg.losses import Loss
from jaxreg.losses._base import ConstantTargetError


def vector(name: str, value: Any, n: int) -> np.ndarray:
    """Check a finite numeric vector of length n, and return it in float64.

    Raises:
        TypeError: if it is not numeric.
        ValueError: if it has another shape, or NaN or infinite entries.
    """
    array = np.asarray(value)
    if array.dtype.kind not in "biuf":
        raise TypeError(f"{name} must be numeric, got dtype {array.dtype}")
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.shape != (n,):
        raise ValueError(f"{name} must have one value per row of X, shape ({n},), got shape {array.shape}")
    array = array.astype(np.float64)
    bad = np.flatnonzero(~np.isfinite(array))
    if bad.size:
        raise ValueError(f"{name} has {bad.size} NaN or infinite entries, the first at row {bad[0]}")
    return array


def check_target(loss: Loss, target: np.ndarray, intercept: bool) -> None:
    """Refuse what a loss does not know, or cannot learn from: a constant, unless nothing explains it beforehand.

    Raises:
        ValueError: as `loss.check` does.
    """
    try:
        loss.check(target)
    except ConstantTargetError:
        # Through the origin a constant is a regression like any other; only zero is there already.
        if intercept or not target.any():
            raise


def responses(name: str, value: Any, n: int) -> np.ndarray:
    """Check one number per row, or several, (n,) or (n, k), and return them in float64."""
    array = np.asarray(value)
    if array.ndim != 2 or array.shape[1] < 2 or array.shape[0] != n:
        return vector(name, value, n)
    return np.stack([vector(f"{name} (column {k})", array[:, k], n) for k in range(array.shape[1])], axis=1)


def offsets(offset: Any, n: int, outputs: tuple[int, ...]) -> np.ndarray:
    """Offsets (n, …): the same for all outputs, if they are (n,)."""
    array = responses("offset", offset, n)
    if array.shape not in ((n,), (n, *outputs)):
        raise ValueError(f"offset must have shape ({n},) or {(n, *outputs)}, got {array.shape}")
    return np.broadcast_to(array if array.ndim > len(outputs) else array[:, None], (n, *outputs)).copy()


def survival(y: Any, n: int) -> np.ndarray:
    """Columns time, event[, start, strata] of a survival target; rows of one that is a tuple, too."""
    if not isinstance(y, tuple):
        y = np.asarray(y)
        y = tuple(y.T) if y.ndim == 2 else (y,)
    if not 2 <= len(y) <= 4:
        raise ValueError(f"y must have 2 to 4 columns (time, event, start, strata) for this loss, got {len(y)}")
    columns = []
    for name, part in zip(("time", "event", "start", "strata"), y, strict=False):
        if name == "start":
            # −∞, or no column, says that a row was watched from the beginning.
            always = np.ones(n, bool) if part is None else np.asarray(part) == -np.inf
            known = np.zeros(n) if part is None else np.where(always, 0, part) if always.shape == (n,) else part
            columns.append(np.where(always, -np.inf, vector("y (start)", known, n)))
        else:
            columns.append(vector(f"y ({name})", part, n))
    if len(columns) == 3 and not np.isfinite(columns[2]).any():
        columns.pop()
    return np.stack(columns, axis=1)
