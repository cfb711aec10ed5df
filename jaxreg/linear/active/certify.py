"""Certificates: how far from optimal a solution can be, from one correlation with every column.

Computed in float64 from the data and the coefficients alone: no Gram, no solver state and no stopping rule
enters, so that an error in any of those shows here.
"""

import itertools
from collections.abc import Collection
from typing import Any, NamedTuple

import numpy as np

from jaxreg.linear.active.judge import judge, judge_by_rows
from jaxreg.linear.columns import Columns
from jaxreg.linear.problem import Problem
from jaxreg.linear.threads import cores, in_threads
from jaxreg.losses import Squared

BLOCK = 2**22
"""Entries of the largest temporary array: 32 MiB in float64."""
GROUP = 2**18
"""The same, below which training sets are judged several at a time."""


class Certificate(NamedTuple):
    """Of L strengths in M lanes, relative to the null model: duality gap and largest optimality residual (L, M).

    Beside it the weighted mean deviance (L, M), since the predictors are at hand. For screening, per lane and
    column (M, p): the largest |gradient| − kink over the strengths, and the gradients at the last of them and at
    the one before it.
    """

    gap: np.ndarray
    kkt: np.ndarray
    deviance: np.ndarray
    excess: np.ndarray
    last: np.ndarray
    before: np.ndarray

    @classmethod
    def blank(cls, length: int, lanes: int, p: int) -> "Certificate":
        """Nothing certified yet."""
        each, wide = (length, lanes), (lanes, p)
        return cls(*(np.full(shape, np.nan) for shape in (each, each, each, wide, wide, wide)))


def certify(
    problem: Problem,
    l1: np.ndarray,
    l2: np.ndarray,
    columns: Columns,
    b: np.ndarray,
    found: Certificate | None = None,
    sets: Collection[int] | None = None,
) -> Certificate:
    """Certify solutions b (L, F, R, 1 + w) for strengths (R, L) in every training set.

    Coefficients of columns that are not among `columns` are zero. Works through blocks of λ, and few training sets at
    a time: that bounds the memory, and what a core works on stays in its cache.

    Args:
        problem: data and null models.
        l1: strengths of the absolute value.
        l2: strengths of the square.
        columns: those that b is of.
        b: intercepts and slopes.
        found: an earlier certificate, to be brought up to date.
        sets: training sets where b has changed since; all of them unless told.
    """
    (n, p), (length, many, ratios, _) = problem.design.shape, b.shape
    index = np.asarray(columns.index)
    by_rows = isinstance(problem.loss, Squared) and np.array_equal(index, np.arange(p))
    work = ratios * (p if by_rows else max(n, p))
    block = max(1, -(-length // -(-length * work // BLOCK)))
    size = min(many, max(1, GROUP // (block * work)))
    # As many groups for each core, and as few sets in them as serve: the last one judges some of others' again.
    groups = -(-many // size)
    size = -(-many // (groups + -groups % cores() if groups > 1 else 1))
    # Where each column of X stands in b; 0, the intercept's place, if nowhere.
    place = np.zeros(p, dtype=np.int64)
    used = np.flatnonzero(np.asarray(columns.free)[:, 1:].max(axis=0))
    place[index[used]] = 1 + used
    about: tuple[Any, ...] = (problem.data, problem.null, columns, place)
    if not by_rows:
        about = (problem.design, problem.views, problem.loss, *about)

    def certify_part(task: tuple[int, int]) -> list[np.ndarray]:
        first, at = task
        which = np.minimum(np.arange(at, at + block), length - 1)
        part = np.ascontiguousarray(b[which, first : first + size])
        answer = (judge_by_rows if by_rows else judge)(
            *about, l1[:, which], l2[:, which], problem.factor, part, np.int64(first)
        )
        return [np.asarray(field) for field in answer]

    found = found or Certificate.blank(length, many * ratios, p)
    firsts = sorted({min(first, many - size) for first in range(0, many, size)})
    firsts = [first for first in firsts if sets is None or any(first <= f < first + size for f in sets)]
    tasks = list(itertools.product(firsts, range(0, length, block)))
    kind = (by_rows, type(problem.loss), n, p, index.size, many, ratios, block, size)
    for (first, at), answer in zip(tasks, in_threads(certify_part, tasks, lambda _: kind), strict=True):
        lanes, rows = slice(first * ratios, (first + size) * ratios), slice(at, min(at + block, length))
        for k in range(3):
            found[k][rows, lanes] = answer[k].reshape(block, -1)[: rows.stop - at]
        excess, last, before = answer[3:]
        found.excess[lanes] = excess if at == 0 else np.maximum(found.excess[lanes], excess)
        found.before[lanes] = found.last[lanes] if block == 1 and at > 0 else before
        found.last[lanes] = last
    return found
