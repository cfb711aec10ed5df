"""How a solve ended, as data: codes and solutions that survive `jit` and `vmap`."""

import dataclasses
import enum
from typing import Any

import jax
import numpy as np


class Result(enum.IntEnum):
    """How one problem of a batch ended. Arrays of results hold these integers.

    Failure is data: one bad problem never stops the others, and nothing is raised inside a batch.

    >>> Result(0).name
    'CONVERGED'
    """

    CONVERGED = 0
    """The certificate is within the tolerance."""
    MAX_STEPS = 1
    """The budget of steps ran out; the best point found is returned."""
    STALLED = 2
    """No further progress at this floating-point precision; the best point found is returned."""
    DIVERGED = 3
    """A loss, gradient or parameter became NaN or infinite; the last finite point is returned."""


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Stats:
    """What a solver measured. Each field gains the batch axes of the solve.

    `stationarity` is the largest absolute entry of the residual of the optimality condition, relative to
    the gradient at the start or at zero, whichever is larger (`solve` says how). `objective` is loss plus penalty.
    """

    steps: Any
    stationarity: Any
    objective: Any


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Solution:
    """Parameters, how the solve ended (a `Result` code), and what was measured."""

    params: Any
    result: Any
    stats: Stats


def describe_failures(result: np.ndarray) -> str:
    """Say in words how many problems ended how, leaving out those that converged."""
    codes, counts = np.unique(np.asarray(result), return_counts=True)
    return ", ".join(
        f"{count} {Result(int(code)).name.lower()}"
        for code, count in zip(codes, counts, strict=True)
        if code != Result.CONVERGED
    )
