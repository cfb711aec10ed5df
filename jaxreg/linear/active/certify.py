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
    lanes: Collection[int] | None = None,
    moments: jax.Array | None = None,
) -> Certificate:
    """Certify solutions b (L, F, R, 1 + w) for strengths (R, L) in every training set.

    Coefficients of columns that are not among `columns` are zero. Works through blocks of λ, and few lanes (training
    sets, where all their ratios are judged together) at a time: that bounds the memory, and what a core works on
    stays in its cache.

    Args:
        problem: data and null models.
        l1: strengths of the absolute value.
        l2: strengths of the square.
        columns: those that b is of.
        b: intercepts and slopes.
        found: an earlier certificate, to be brought up to date.
        lanes: those, numbered by training set and ratio, where b has changed since; all of them unless told.
        moments: second moments (F, p, p) of all columns, `proven`, in place of the data.
    """
    (n, p), (length, sets, ratios, _) = problem.size, b.shape
    index = np.asarray(columns.index)
    by_rows = isinstance(problem.loss, Squared) and np.array_equal(index, np.arange(p))
    # With all columns at hand the ratios of a training set share its products; else each lane is judged by itself.
    each = ratios if by_rows else 1
    b = b.reshape(length, -1, each, b.shape[3])
    many = b.shape[1]
    strengths = tuple(np.tile(s.reshape(-1, each, length), (sets, 1, 1)) for s in (l1, l2))
    work = each * (p if by_rows else max(n, p))
    block = max(1, -(-length // -(-length * work // BLOCK)))
    size = min(many, max(1, GROUP // (block * work)))
    # As many groups for each core, and as few in them as serve: what fills up the last one is judged twice.
    groups = -(-many // size)
    size = -(-many // (groups + -groups % cores() if groups > 1 else 1))
    width = columns_at_once(size * block * each, p, problem.data.on_cpu)
    # Where each column of X stands in b; 0, the intercept's place, if nowhere.
    place = np.zeros(p, dtype=np.int64)
    used = np.flatnonzero(np.asarray(columns.free)[:, 1:].max(axis=0))
    place[index[used]] = 1 + used
    unseen = columns if moments is None else dataclasses.replace(columns, x=jnp.zeros((0, 0)))

    def certify_part(task: tuple[int, int]) -> list[np.ndarray]:
        group, at = task
        which = np.minimum(np.arange(at, at + block), length - 1)
        mine = chosen[group]
        of = mine if by_rows else mine // ratios
        about = *(s[mine][..., which] for s in strengths), problem.factor
        part = b[which[:, None], mine]
        if moments is not None:
            answer = judge_by_moments(problem.null, unseen, moments, place, *about, part, of, width=width)
        elif by_rows:
            answer = judge_by_rows(problem.data, problem.null, columns, place, *about, part, of, width=width)
        else:
            data = problem.design, problem.views, problem.loss, problem.data, problem.null
            some, where, narrow = _narrowed(columns, place, part, shown[group])
            answer = judge(*data, some, where, *about, narrow, of, width=width)
        return [np.asarray(field) for field in answer]

    found = found or Certificate.blank(length, sets * ratios, p)
    units = np.arange(many) if lanes is None else np.unique(np.asarray(list(lanes), dtype=np.int64) // each)
    # Lanes of one ratio have many columns in common.
    units = units if by_rows else units[np.argsort(units % ratios, kind="stable")]
    chosen = units[np.minimum(np.arange(-(-units.size // size) * size), units.size - 1)].reshape(-1, size)
    tasks = list(itertools.product(range(len(chosen)), range(0, length, block)))
    shown = [] if by_rows else [_shown(b[:, mine]) for mine in chosen]

    def kind(task: tuple[int, int]) -> tuple:
        held = p if by_rows else shown[task[0]].size
        return by_rows, moments is None, type(problem.loss), n, p, held, sets, each, block, size

    for (group, at), answer in zip(tasks, in_threads(certify_part, tasks, kind), strict=True):
        mine = (chosen[group][:, None] * each + np.arange(each)).ravel()
        rows = slice(at, min(at + block, length))
        for k in range(3):
            found[k][rows, mine] = answer[k].reshape(block, -1)[: rows.stop - at]
        excess, last, before = answer[3:]
        found.excess[mine] = excess if at == 0 else np.maximum(found.excess[mine], excess)
        found.before[mine] = found.last[mine] if block == 1 and at > 0 else before
        found.last[mine] = last
    return found


def _shown(b: np.ndarray) -> np.ndarray:
    """Places of nonzero slopes in b (L, G, R, 1 + w), then −1 up to a power of two; all, if that saves too little."""
    count, many = b[..., 0].size, b.shape[3] - 1
    used = np.flatnonzero(b[..., 1:].any(axis=(0, 1, 2)))
    width = max(SHOWN, bucket(used.size, many))
    if count * (many - width) < DEAR * width:
        return np.arange(many)
    shown = np.full(width, -1)
    shown[: used.size] = used
    return shown


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
