"""Certificates: how far from optimal a solution can be, from one correlation with every column.

Computed in float64 from the data and the coefficients alone, or from second moments that were proven to be the
data's: no solver state and no stopping rule enters, so that an error in any of those shows here.
"""

import dataclasses
import itertools
from collections.abc import Collection
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxreg.linear.active.judge import judge, judge_by_rows
from jaxreg.linear.active.moments import judge_by_moments
from jaxreg.linear.active.sides import columns_at_once
from jaxreg.linear.columns import Columns, bucket
from jaxreg.linear.problem import Problem
from jaxreg.linear.threads import cores, in_threads
from jaxreg.losses import Squared

BLOCK = 2**22
"""Entries of the largest temporary array: 32 MiB in float64."""
GROUP = 2**18
"""The same, below which training sets are judged several at a time."""
SHOWN = 256
"""Fewest columns that a training set's coefficients are gathered on, unless there are fewer."""
DEAR = 64
"""What gathering a column costs beside leaving it out of one prediction."""


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
    moments: jax.Array | None = None,
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
        moments: second moments (F, p, p) of all columns, `proven`, in place of the data.
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
    on_cpu = next(iter(problem.data.target.devices())).platform == "cpu"
    width = columns_at_once(size * block * ratios, p, on_cpu)
    # Where each column of X stands in b; 0, the intercept's place, if nowhere.
    place = np.zeros(p, dtype=np.int64)
    used = np.flatnonzero(np.asarray(columns.free)[:, 1:].max(axis=0))
    place[index[used]] = 1 + used
    unseen = dataclasses.replace(columns, x=jnp.zeros((0, 0)))

    def certify_part(task: tuple[int, int]) -> list[np.ndarray]:
        first, at = task
        which = np.minimum(np.arange(at, at + block), length - 1)
        strengths = l1[:, which], l2[:, which], problem.factor
        part, start = b[which, first : first + size], np.int64(first)
        whole = np.ascontiguousarray(part) if by_rows else part
        if moments is not None:
            answer = judge_by_moments(problem.null, unseen, moments, place, *strengths, whole, start, width=width)
        elif by_rows:
            answer = judge_by_rows(problem.data, problem.null, columns, place, *strengths, whole, start, width=width)
        else:
            about = problem.design, problem.views, problem.loss, problem.data, problem.null
            some, where, narrow = _narrowed(columns, place, part, shown[first])
            answer = judge(*about, some, where, *strengths, narrow, start, width=width)
        return [np.asarray(field) for field in answer]

    found = found or Certificate.blank(length, many * ratios, p)
    firsts = sorted({min(first, many - size) for first in range(0, many, size)})
    firsts = [first for first in firsts if sets is None or any(first <= f < first + size for f in sets)]
    tasks = list(itertools.product(firsts, range(0, length, block)))
    shown = {first: _shown(b[:, first : first + size]) for first in firsts} if not by_rows else {}

    def kind(task: tuple[int, int]) -> tuple:
        held = shown[task[0]].size if shown else p
        return by_rows, moments is None, type(problem.loss), n, p, held, many, ratios, block, size

    for (first, at), answer in zip(tasks, in_threads(certify_part, tasks, kind), strict=True):
        lanes, rows = slice(first * ratios, (first + size) * ratios), slice(at, min(at + block, length))
        for k in range(3):
            found[k][rows, lanes] = answer[k].reshape(block, -1)[: rows.stop - at]
        excess, last, before = answer[3:]
        found.excess[lanes] = excess if at == 0 else np.maximum(found.excess[lanes], excess)
        found.before[lanes] = found.last[lanes] if block == 1 and at > 0 else before
        found.last[lanes] = last
    return found


def _shown(b: np.ndarray) -> np.ndarray:
    """Places of nonzero slopes in b (L, G, R, 1 + w), then −1 up to a power of two; all, if that saves too little."""
    count, many = b[..., 0].size, b.shape[3] - 1
    used = np.flatnonzero(b[..., 1:].any(axis=(0, 1, 2)))
    width = max(SHOWN, bucket(used.size, many))
    if count * (many - width) < DEAR * width:
        return np.arange(many)
    return np.pad(used, (0, width - used.size), constant_values=-1)


def _narrowed(
    columns: Columns, place: np.ndarray, b: np.ndarray, shown: np.ndarray
) -> tuple[Columns, np.ndarray, np.ndarray]:
    """The columns that are shown, where in `b` each column of X stands now, and b without the others."""
    if shown.size == columns.index.size:
        return columns, place, np.ascontiguousarray(b)
    to = np.zeros(b.shape[3], dtype=np.int64)
    real = shown[shown >= 0]
    to[1 + real] = 1 + np.arange(real.size)
    part = np.zeros((*b.shape[:3], 1 + shown.size))
    part[..., 0], part[..., 1 : 1 + real.size] = b[..., 0], b[..., 1 + real]
    return columns.some(shown), to[place], part
