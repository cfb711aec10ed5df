"""Which columns may matter: the sequential strong rule, and what it missed."""

import numpy as np


def strong(gradient: np.ndarray, factor: np.ndarray, l1_before: np.ndarray, l1_after: np.ndarray) -> np.ndarray:
    """Columns that the sequential strong rule keeps for any training set and ratio, and how close each is.

    A column stays out while |gradient| < w(2λ_after − λ_before): a rule that may err, so certificates follow.

    Args:
        gradient: at the last solved λ, (F, R, p).
        factor: penalty factors, (p,).
        l1_before: strength of the absolute value there, (R,).
        l1_after: and at the last λ of the chunk to come, (R,).

    Returns:
        Largest |gradient| / (w · λ_after) over sets and ratios, (p,), zero for columns that are screened out.

    Source: Tibshirani et al. (2012), "Strong rules for discarding predictors in lasso-type problems", JRSS B 74.
    """
    # Over a long chunk 2λ_after − λ_before may fall so low that it keeps everything; then closeness decides.
    bar = np.maximum(2 * l1_after - l1_before, 0.5 * l1_after)[None, :, None] * factor
    kept = np.abs(gradient) >= bar
    closeness = np.abs(gradient) / (l1_after[None, :, None] * np.where(factor > 0, factor, np.inf))
    return np.where(kept, closeness, 0).max(axis=(0, 1))


def violators(
    gradient: np.ndarray, factor: np.ndarray, l1: np.ndarray, outside: np.ndarray, tol: np.ndarray
) -> np.ndarray:
    """Columns outside the working set whose gradient exceeds their kink somewhere, worst first.

    Args:
        gradient: (L, F, R, p).
        factor: penalty factors, (p,).
        l1: (R, L).
        outside: mask of columns outside the working set, (p,).
        tol: absolute slack per training set, (F,).
    """
    allowed = l1.T[:, None, :, None] * factor + tol[None, :, None, None]
    excess = np.where(outside, np.abs(gradient) - allowed, -np.inf).max(axis=(0, 1, 2))
    worst = np.argsort(-excess)
    return worst[excess[worst] > 0]
