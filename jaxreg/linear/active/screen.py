"""Which columns may matter: those that the path is heading for, and what that missed."""

from typing import Any

import numpy as np

MARGIN = 0.3
"""How far a gradient may stray from its prediction, as a share of the step in λ."""


def closeness(gradient: Any, before: Any, factor: Any, l1: Any, l1_before: Any, l1_after: Any) -> Any:
    """How near each column comes to entering until `l1_after`: 1 or more if it is expected to.

    Along a path gradients are nearly linear in λ between changes of the active set: the last two tell
    where they are heading. With one only, the strong rule bounds the slope by one.

    Args:
        gradient: at the last solved λ, (p,); NumPy's or, in a program, JAX's.
        before: at the λ before that, (p,).
        factor: penalty factors, (p,).
        l1: strength of the absolute value at the last solved λ.
        l1_before: at the λ before; no larger if there was none.
        l1_after: at the last λ of the chunk to come.

    Source: Tibshirani et al. (2012), "Strong rules for discarding predictors in lasso-type problems", JRSS B 74;
    Larsson & Wallin (2022), "The Hessian screening rule", NeurIPS 35, for the prediction.
    """
    xp = gradient.__array_namespace__()
    step, knows = l1 - l1_after, l1_before > l1
    size = xp.abs(gradient)
    predicted = gradient + (gradient - before) * (step / xp.where(knows, l1_before - l1, 1))
    heading = xp.maximum(xp.abs(predicted), size) + MARGIN * step * factor
    return xp.where(knows, heading, size + step * factor) / xp.where(factor > 0, l1_after * factor, xp.inf)


def missing(excess: np.ndarray, slack: float, inside: np.ndarray) -> np.ndarray:
    """Columns outside the working set whose gradient exceeds their kink by more than `slack`, worst first."""
    outside = excess.copy()
    outside[inside] = -np.inf
    found = np.flatnonzero(outside > slack)
    return found[np.argsort(-outside[found])]
