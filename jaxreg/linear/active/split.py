"""How folds divide the rows: disjoint blocks, whose moments give those of every training set."""

import dataclasses

import jax
import numpy as np

from jaxreg.linear import sizes


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Split:
    """Rows in disjoint blocks (K, m), with their weights among all rows (padding has none)."""

    rows: jax.Array
    weights: jax.Array
    kept: jax.Array
    """(F − 1,) weight of all rows but block k, for each training set that leaves one out."""


def find_split(weights: np.ndarray) -> Split | None:
    """Blocks of rows, if every training set but the first leaves out one of disjoint blocks of the first; or None.

    Not where a training set keeps little of the weight: its moments would be a small difference of large ones.
    """
    many, n = weights.shape
    if many < 3:
        return None
    whole = weights[0]
    held = (weights[1:] == 0) & (whole > 0)
    kept = np.where(held, 0, whole).sum(axis=1)
    if (held.sum(axis=0) > 1).any() or (kept < 0.1).any():
        return None
    if not np.allclose(weights[1:] * kept[:, None], np.where(held, 0, whole), rtol=1e-10, atol=0):
        return None
    rest = ~held.any(axis=0) & (whole > 0)
    blocks = [np.flatnonzero(block) for block in held] + ([np.flatnonzero(rest)] if rest.any() else [])
    most = max(block.size for block in blocks)
    if most * len(blocks) > 2 * n:
        return None
    # Even folds have room for as many rows as there are with those that fill up: of near sizes all have one shape.
    even = -(-n // len(blocks))
    rows = np.zeros((len(blocks), even if most <= even else sizes.rounded(most)), dtype=np.int64)
    share = np.zeros(rows.shape)
    for k, block in enumerate(blocks):
        rows[k, : block.size], share[k, : block.size] = block, whole[block]
    return Split(*jax.device_put((rows, share, kept)))
