"""The engine: every λ, l1 ratio and training set of a linear model, certified."""

import dataclasses
from collections.abc import Callable

import numpy as np

from jaxreg._result import Result
from jaxreg.linear.active.march import FINEST, March
from jaxreg.linear.active.ridge import fit_ridge
from jaxreg.linear.active.sprint import sprint, suits
from jaxreg.linear.problem import Fits, Piece, Problem
from jaxreg.linear.threads import in_threads
from jaxreg.losses import Squared

LARGE = 8
"""Root mean square of the largest column, up to which, and from whose inverse on, columns are left as they are."""
LARGE_RIDGE = 100
"""The same of the root of a ridge's strength."""


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
    unit = _unit(problem, l2)
    if unit != 1:
        fits = fit(_in_units(problem, unit), l1 / unit, l2 / unit**2, tol, report)
        return fits._replace(slopes=fits.slopes / unit)
    kinked = l1.any(axis=1)
    if kinked.any() and not kinked.all():
        # A ratio of 0 keeps every column active: apart from the others, so that it does not widen their systems.
        parts = [
            fit(problem, l1[kinked], l2[kinked], tol, report),
            fit(problem, l1[~kinked], l2[~kinked], tol),
        ]
        return _merge(parts, np.argsort(np.r_[np.flatnonzero(kinked), np.flatnonzero(~kinked)]))
    (n, p), length = problem.size, l1.shape[1]
    if not l1.any() and (problem.factor > 0).all() and l2.all() and (p > n or isinstance(problem.loss, Squared)):
        pieces = [fit_ridge(problem, l2, tol)]
        if report is not None:
            report(length, length)
    elif suits(problem, l1, l2) and (piece := sprint(problem, l1[0], tol, FINEST, report)) is not None:
        pieces = [piece]
    else:
        march = March(problem, l1, l2, tol)
        pieces = []
        for first in range(0, length, march.size):
            pieces.append(march.chunk(first))
            if report is not None:
                report(min(first + march.size, length), length)
    return _assemble(problem, pieces, tol)


def _unit(problem: Problem, l2: np.ndarray) -> float:
    """Power of two by which columns must be divided for the largest mean square, with its ridge, to be near 1.

    Tableaus add ones to numbers of that size: of unstandardized columns of size 10⁴ they would keep nothing. In units
    the intercept's residual, which has none, weighs as if columns were of size 1.
    """
    ridge = np.sqrt(np.max(l2) * np.max(problem.factor)) * LARGE / LARGE_RIDGE
    largest = float(max(np.max(np.asarray(problem.views.largest)), ridge))
    if not 0 < largest < np.inf or 1 / LARGE <= largest <= LARGE:
        return 1.0
    return 2.0 ** round(float(np.log2(largest)))


def _in_units(problem: Problem, unit: float) -> Problem:
    """The same problem, with the columns in other units."""
    views, null = problem.views, problem.null
    views = dataclasses.replace(views, scale=views.scale * unit, largest=views.largest / unit)
    coef = null.coef.at[:, 1:].multiply(unit)
    return dataclasses.replace(problem, views=views, null=null._replace(gradient=null.gradient / unit, coef=coef))


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


def _assemble(problem: Problem, pieces: list[Piece], tol: float) -> Fits:
    p = problem.size[1]
    ever = np.zeros(p, dtype=bool)
    for piece in pieces:
        ever[piece.working[piece.b[..., 1:].any(axis=(0, 1, 2))]] = True
    index = np.flatnonzero(ever)
    ends = np.cumsum([len(piece.b) for piece in pieces])
    slopes = np.empty((ends[-1], *pieces[0].b.shape[1:3], index.size))
    intercept = np.concatenate([piece.b[..., 0] for piece in pieces])

    def put(task: tuple[Piece, int]) -> None:
        piece, end = task
        b = piece.b if piece.b.flags.writeable else piece.b.copy()
        # A zero stands first, where the intercept was, for columns that the piece lacks.
        b[..., 0] = 0
        place = np.zeros(p, dtype=int)
        place[piece.working] = 1 + np.arange(piece.working.size)
        np.take(b, place[index], axis=3, out=slopes[end - len(b) : end], mode="clip")

    in_threads(put, list(zip(pieces, ends, strict=True)), lambda _: "assemble")
    gap, kkt, deviance, steps, df = (np.concatenate([piece[k] for piece in pieces]) for k in (2, 3, 4, 5, 6))
    measure = np.where(np.isnan(gap), kkt, gap)
    result = np.where(measure <= tol, Result.CONVERGED, np.where(steps >= 500, Result.MAX_STEPS, Result.STALLED))
    result = np.where(np.isfinite(measure), result, Result.DIVERGED)
    return Fits(index, intercept, slopes, gap, kkt, deviance, result.astype(np.int32), steps, df)
