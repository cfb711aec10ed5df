"""The engine: every λ, l1 ratio and training set of a linear model, chunk by chunk, certified.

Screen → gather a padded working set → solve the chunk for all problems at once → certify by one correlation
over all columns → add violators and repeat, or go on to the next chunk.
"""

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from jaxreg._result import Result
from jaxreg._threads import one_lapack_thread
from jaxreg.linear import screen
from jaxreg.linear.certify import certify
from jaxreg.linear.chunk import Chunk, Strengths, newton_chunk, squared_chunk
from jaxreg.linear.columns import Columns, Data, bucket, gather, padded_width
from jaxreg.linear.design import Design, Views
from jaxreg.linear.null import Null, fit_null
from jaxreg.linear.ridge import ridge_path
from jaxreg.losses import Loss, Squared

ALL_COLUMNS = 512
"""Up to this many columns the working set is all of them."""
CHUNK = 10
"""λ solved between certificates. All chunks have one length, so that the number of λ compiles nothing anew."""
BLOCK = 2**24
"""Entries of the largest temporary array of a certificate: 128 MiB in float64."""


SMALL = 160
"""Up to this many columns every linear system spans them all."""


class _Room(NamedTuple):
    """Sizes of the compiled program: columns of the working set, and of a linear system. They only grow."""

    width: int
    capacity: int


@dataclasses.dataclass(frozen=True)
class Problem:
    """A linear model over F training sets of one design, standardized, ready for any strengths."""

    design: Design
    views: Views
    loss: Loss
    data: Data
    factor: np.ndarray
    intercept: bool
    null: Null

    @classmethod
    def make(
        cls,
        design: Design,
        views: Views,
        loss: Loss,
        target: np.ndarray,
        offset: np.ndarray,
        factor: np.ndarray,
        intercept: bool,
    ) -> "Problem":
        """Fit the null models."""
        data = Data(jnp.asarray(target), jnp.asarray(offset), views.weights)
        unpenalized = np.flatnonzero(factor == 0)
        columns = gather(design, views, unpenalized, unpenalized.size, intercept)
        null = fit_null(design, views, loss, data, columns)
        return cls(design, views, loss, data, factor, intercept, null)


class Fits(NamedTuple):
    """Solutions in standardized units, for the columns that are ever active (a of them).

    The columns are `working` (a,); `intercept` is (L, F, R) and `slopes` (L, F, R, a). Per problem (L, F, R): the
    relative gap, the relative residual, the `Result` code, inner steps, and effective degrees of freedom where
    known (else NaN).
    """

    working: np.ndarray
    intercept: np.ndarray
    slopes: np.ndarray
    gap: np.ndarray
    kkt: np.ndarray
    result: np.ndarray
    steps: np.ndarray
    df: np.ndarray


class _Piece(NamedTuple):
    working: np.ndarray
    b: np.ndarray
    gap: np.ndarray
    kkt: np.ndarray
    steps: np.ndarray
    df: np.ndarray


def fit(
    problem: Problem,
    l1: np.ndarray,
    l2: np.ndarray,
    tol: float,
    report: Callable[[int, int], None] | None = None,
) -> Fits:
    """Solve for strengths l1 and l2, each (R, L) with λ decreasing along L, in every training set.

    Args:
        problem: data and null models.
        l1: strengths of the absolute value.
        l2: strengths of the square.
        tol: bound on the relative duality gap (on the relative residual where there is no gap).
        report: called with the number of λ done and their total.
    """
    kinked = l1.any(axis=1)
    if kinked.any() and not kinked.all():
        # A ratio of 0 keeps every column active: apart from the others, so that it does not widen their systems.
        parts = [
            fit(problem, l1[kinked], l2[kinked], tol, report),
            fit(problem, l1[~kinked], l2[~kinked], tol),
        ]
        return _merge(parts, np.argsort(np.r_[np.flatnonzero(kinked), np.flatnonzero(~kinked)]))
    n, p = problem.design.shape
    if not l1.any() and (problem.factor > 0).all() and l2.all() and (p > n or isinstance(problem.loss, Squared)):
        pieces = [_ridge(problem, l2, tol)]
        if report is not None:
            report(l2.shape[1], l2.shape[1])
    else:
        pieces = _path(problem, l1, l2, tol, report)
    return _assemble(problem, pieces, tol)


def _merge(parts: list[Fits], order: np.ndarray) -> Fits:
    """Join fits of different ratios along R, and put the ratios in order."""
    working = np.unique(np.concatenate([part.working for part in parts]))
    slopes = []
    for part in parts:
        wide = np.zeros((*part.slopes.shape[:3], working.size))
        wide[..., np.searchsorted(working, part.working)] = part.slopes
        slopes.append(wide)
    columns = [slopes, *([part[k] for part in parts] for k in range(len(Fits._fields)) if k not in (0, 2))]
    joined, intercept, *rest = (np.concatenate(column, axis=2)[:, :, order] for column in columns)
    return Fits(working, intercept, joined, *rest)


def _scale(problem: Problem) -> np.ndarray:
    """Size of gradients, per training set: that at the null model."""
    size = np.abs(np.asarray(problem.null.gradient)).max(axis=1)
    return np.where(size > 0, size, 1.0)


def _ridge(problem: Problem, l2: np.ndarray, tol: float) -> _Piece:
    p = problem.design.shape[1]
    columns = gather(problem.design, problem.views, np.arange(p), p, problem.intercept)
    with one_lapack_thread():
        found = ridge_path(
            problem.design, problem.views, problem.loss, problem.data, l2, problem.factor, columns,
            problem.intercept, max(1e-3 * tol, 1e-13) * _scale(problem),
        )  # fmt: skip
        b = np.asarray(found.b)
    gap, kkt, _ = _certify(problem, np.zeros_like(l2), l2, columns, b)
    return _Piece(np.arange(p), b, gap, kkt, np.ones(gap.shape, dtype=int), np.asarray(found.df))


def _path(
    problem: Problem, l1: np.ndarray, l2: np.ndarray, tol: float, report: Callable[[int, int], None] | None
) -> list[_Piece]:
    p = problem.design.shape[1]
    many, (ratios, length) = problem.data.weights.shape[0], l1.shape
    slack = _scale(problem)
    everything = p <= ALL_COLUMNS or not l1.all()
    size = 2 * CHUNK if p <= SMALL else CHUNK

    active = np.flatnonzero(problem.factor == 0)
    start = np.zeros((many, ratios, 1 + p))
    null = np.asarray(problem.null.coef)
    start[:, :, 0] = null[:, :1]
    start[:, :, 1 + active] = null[:, None, 1:]
    gradient = np.repeat(np.asarray(problem.null.gradient)[:, None], ratios, axis=1)
    room = _Room(0, 0)
    before = np.abs(gradient).max(axis=(0, 2)) if p else np.zeros(ratios)
    pieces = []
    for first in range(0, length, size):
        # A last, shorter chunk repeats its last λ rather than compile for another length.
        which = np.minimum(np.arange(first, first + size), length - 1)
        here_l1, here_l2 = l1[:, which], l2[:, which]
        if everything:
            working = np.arange(p)
        else:
            closeness = screen.strong(gradient, problem.factor, before, here_l1[:, -1])
            closeness[active] = np.inf
            most = max(room.width, padded_width(2 * active.size, p))
            near = np.argsort(-closeness)[:most]
            working = np.sort(near[closeness[near] > 0])
        piece, gradient, room = _certified_chunk(problem, here_l1, here_l2, working, room, start, tol, slack)
        kept = min(size, length - first)
        pieces.append(_Piece(piece.working, *(part[:kept] for part in piece[1:])))
        start = np.zeros_like(start)
        start[:, :, 0] = piece.b[-1, :, :, 0]
        start[:, :, 1 + piece.working] = piece.b[-1, :, :, 1:]
        active = np.flatnonzero(start[:, :, 1:].any(axis=(0, 1)) | (problem.factor == 0))
        before = here_l1[:, -1]
        if report is not None:
            report(first + kept, length)
    return pieces


def _certified_chunk(
    problem: Problem,
    l1: np.ndarray,
    l2: np.ndarray,
    working: np.ndarray,
    room: _Room,
    start: np.ndarray,
    tol: float,
    scale: np.ndarray,
) -> tuple[_Piece, np.ndarray, _Room]:
    """Solve one chunk, add what the certificate finds missing, sharpen where it is not enough; then done."""
    p = problem.design.shape[1]
    precision = max(1e-4 * tol, 1e-13)
    sharpened = 0
    while True:
        room = room._replace(width=p if working.size == p else max(room.width, padded_width(working.size, p)))
        columns = gather(problem.design, problem.views, working, room.width, problem.intercept)
        found, room = _solve(problem, columns, l1, l2, working, start, precision * scale, room)
        b = np.asarray(found.b)
        gap, kkt, gradient = _certify(problem, l1, l2, columns, b)
        b = b[..., : 1 + working.size]
        outside = np.ones(p, dtype=bool)
        outside[working] = False
        missing = screen.violators(gradient, problem.factor, l1, outside, 10 * precision * scale)
        short = ~(np.where(np.isnan(gap), kkt, gap) <= tol)
        if missing.size:
            working = np.union1d(working, missing[: max(64, working.size)])
        elif short.any() and sharpened < 2 and precision > 1e-13:
            precision, sharpened = max(1e-2 * precision, 1e-13), sharpened + 1
        else:
            df = np.full(gap.shape, np.nan)
            return _Piece(working, b, gap, kkt, np.asarray(found.steps), df), gradient[-1], room
        # Warm-start the repeat at the chunk's own first solution.
        start = start.copy()
        start[:, :, 0] = b[0, :, :, 0]
        start[:, :, 1 + np.arange(p)[~outside]] = b[0, :, :, 1:]


def _solve(
    problem: Problem,
    columns: Columns,
    l1: np.ndarray,
    l2: np.ndarray,
    working: np.ndarray,
    start: np.ndarray,
    slack: np.ndarray,
    room: _Room,
) -> tuple[Chunk, _Room]:
    """Run the compiled chunk, with room for more active columns whenever a problem used all it had."""
    d = columns.free.shape[1]
    factor = np.zeros(d - 1)
    factor[: working.size] = problem.factor[working]
    strengths = Strengths(jnp.asarray(l1), jnp.asarray(l2), jnp.asarray(factor))
    first = np.zeros((*start.shape[:2], d))
    first[:, :, 0] = start[:, :, 0]
    first[:, :, 1 : 1 + working.size] = start[:, :, 1 + working]
    if d <= SMALL or not l1.all():
        capacity = d
    else:
        always = 1 + int((problem.factor[working] == 0).sum())
        used = int((first != 0).sum(axis=2).max())
        capacity = max(room.capacity, bucket(used + used // 2 + always + 16, d))
        if not l2.any():
            # A lasso solution needs no more active columns than there are rows.
            capacity = min(capacity, bucket(problem.design.shape[0] + always, d))
    while True:
        arguments = (columns, problem.data, strengths, first, slack)
        if isinstance(problem.loss, Squared):
            found = squared_chunk(*arguments, capacity=capacity)
        else:
            found = newton_chunk(problem.loss, *arguments, capacity=capacity)
        if capacity >= d or int((np.asarray(found.b) != 0).sum(axis=3).max()) < capacity:
            return found, room._replace(capacity=capacity)
        capacity = bucket(2 * capacity, d)


def _certify(
    problem: Problem, l1: np.ndarray, l2: np.ndarray, columns: Columns, b: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Gap and residual (L, F, R) and gradient (L, F, R, p), in blocks of λ that bound the memory."""
    (n, p), (length, many, ratios, d) = problem.design.shape, b.shape
    block = max(1, min(length, BLOCK // (many * ratios * max(n, p))))
    f = np.tile(np.repeat(np.arange(many), ratios), block)
    parts = []
    for first in range(0, length, block):
        which = np.minimum(np.arange(first, first + block), length - 1)
        strengths = [np.repeat(s.T[which][:, None], many, axis=1).reshape(-1) for s in (l1, l2)]
        found = certify(
            problem.design, problem.views, problem.loss, problem.data, problem.null, columns,
            f, *strengths, problem.factor, b[which].reshape(f.size, d),
        )  # fmt: skip
        parts.append([np.asarray(part).reshape(block, many, ratios, *part.shape[1:]) for part in found])
    gap, kkt, gradient = (np.concatenate(part)[:length] for part in zip(*parts, strict=True))
    return gap, kkt, gradient


def _assemble(problem: Problem, pieces: list[_Piece], tol: float) -> Fits:
    p = problem.design.shape[1]
    ever = np.zeros(p, dtype=bool)
    for piece in pieces:
        ever[piece.working[piece.b[..., 1:].any(axis=(0, 1, 2))]] = True
    index = np.flatnonzero(ever)
    place = np.cumsum(ever) - 1
    slopes = []
    for piece in pieces:
        part = np.zeros((*piece.b.shape[:3], index.size))
        mine = ever[piece.working]
        part[..., place[piece.working[mine]]] = piece.b[..., 1:][..., mine]
        slopes.append(part)
    intercept, gap, kkt, steps, df = (
        np.concatenate(parts)
        for parts in ([q.b[..., 0] for q in pieces], *([q[k] for q in pieces] for k in (2, 3, 4, 5)))
    )
    measure = np.where(np.isnan(gap), kkt, gap)
    result = np.where(measure <= tol, Result.CONVERGED, np.where(steps >= 500, Result.MAX_STEPS, Result.STALLED))
    result = np.where(np.isfinite(measure), result, Result.DIVERGED)
    return Fits(index, intercept, np.concatenate(slopes), gap, kkt, result.astype(np.int32), steps, df)
