"""Group working sets: paths of penalties that are sums over groups, chunk by chunk, all training sets side by side.

Screen groups by where their gradients are heading → solve the chunk on the Gram of those that may matter → certify on
all columns from the data → add groups that are missing and repeat, or go on to the next chunk.
"""

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from jaxreg._result import Result
from jaxreg.linear.active.grams import empty_store, extend, full_store
from jaxreg.linear.active.screen import MARGIN
from jaxreg.linear.active.split import find_split
from jaxreg.linear.assess import good, null_coefficients
from jaxreg.linear.columns import bucket
from jaxreg.linear.groups import again
from jaxreg.linear.groups import lanes as group_lanes
from jaxreg.linear.groups.judge import Certificate, certify
from jaxreg.linear.groups.parts import apart, entering, in_groups, in_rows, parts_of, team_of, weighted
from jaxreg.linear.problem import Fits, Problem
from jaxreg.losses import Squared
from jaxreg.losses._base import Coupled, Nonsmooth
from jaxreg.penalties import Nonconvex, Penalty

ALL_COLUMNS = 128
"""Up to this many columns the working set is all of them."""
FULL = 2048
"""Up to this many columns all training sets' Grams are made of all of them at once, if `ENTRIES` allows."""
ENTRIES = 2**27
"""Entries of these Grams, at most: 1 GiB."""
WIDTHS = 128, 512
"""Widths of working sets; wider ones are powers of two, or three quarters of one."""
CHUNK, LONG_CHUNK = 10, 50
"""λ solved between certificates, and where nothing is screened. All chunks have one length."""
SPARE, MANY = 64, 224
"""Room for columns that enter: as many as are active up to the second, and the first."""
ROUNDS = 200
"""Most rounds of the inner solver at one λ."""
SHARPER = 3
"""How often a chunk that misses the tolerance is solved again, to a hundredth of the residual."""


def works(problem: Problem, penalty: Penalty) -> bool:
    """Whether group working sets solve this: a penalty that they know, and a smooth loss of separate samples.

    Of several predictions groups are of whole rows. A square beside the penalty goes with squared error alone.
    """
    if isinstance(problem.loss, (Coupled, Nonsmooth)):
        return False
    core, _ = apart(penalty)
    known = in_groups(core) if problem.data.offset.ndim == 1 else in_rows(core)
    return known and (isinstance(problem.loss, Squared) or core is penalty)


class _Piece(NamedTuple):
    """A chunk: columns (a,), levels (L, F, …), slopes (L, F, a, …), certificate; rounds and whether they ran out."""

    columns: np.ndarray
    level: np.ndarray
    slopes: np.ndarray
    found: Certificate
    rounds: np.ndarray
    spent: np.ndarray


def fit_groups(
    problem: Problem,
    penalty: Penalty,
    lams: np.ndarray,
    tol: float,
    report: Callable[[int, int], None] | None = None,
) -> Fits:
    """Solve for strengths (L,), in decreasing order, in every training set: `Fits` of one l1 ratio.

    Args:
        problem: data and null models.
        penalty: one that `works`.
        lams: strengths.
        tol: bound on the relative residual, and on the relative duality gap where there is one.
        report: called with the number of λ done and their total.

    Source: Tibshirani et al. (2012), "Strong rules for discarding predictors in lasso-type problems", JRSS B 74.
    """
    march = _March(problem, penalty, lams, tol)
    fits = march.path(report)
    if not march.folded:
        return fits
    rough = _March(problem, dataclasses.replace(penalty, gamma=again.CONVEX), lams, again.ROUGH)  # type: ignore[type-var]
    rough.store, rough.slot, rough.filled = march.store, march.slot, march.filled
    convex = rough.path(None)
    march.store, march.slot, march.filled = rough.store, rough.slot, rough.filled
    return again.improve(march, fits, convex)


class _March:
    """Where every training set stands along λ."""

    def __init__(self, problem: Problem, penalty: Penalty, lams: np.ndarray, tol: float) -> None:
        """Start at the null models."""
        n, p = problem.design.shape
        outputs = problem.data.offset.shape[1:]
        self.problem, self.penalty, self.lams, self.tol = problem, weighted(penalty, p, outputs), lams, tol
        many = self.many = len(problem.data.weights)
        self.outputs = outputs
        # Other starts are for coefficients of one output.
        self.folded = isinstance(penalty, Nonconvex) and not outputs
        self.parts = parts_of(penalty, p, outputs)
        # Columns by group, and where each group begins among them.
        self.order = np.argsort(self.parts.labels, kind="stable")
        self.sizes = np.bincount(self.parts.labels)
        self.widest = min(1 << (self.parts.widest - 1).bit_length(), p)
        self.one_by_one = problem.data.on_cpu

        self.gram = isinstance(problem.loss, Squared)
        self.everything = p <= ALL_COLUMNS
        self.size = LONG_CHUNK if self.everything else CHUNK
        self.split = find_split(np.asarray(problem.data.weights)) if self.gram else None
        if self.everything or (self.gram and p <= FULL and many * p**2 <= ENTRIES):
            self.store = full_store(
                problem.design, problem.views, problem.data, self.split, problem.intercept, gram=self.gram
            )
            self.slot, self.filled = np.arange(p), p
        else:
            self.store = empty_store(problem.views, n, min(p, 256), self.gram, outputs)
            self.slot, self.filled = np.full(p, -1), 0

        self.level, self.slopes = (part.copy() for part in null_coefficients(problem))
        self.fixed = np.zeros_like(self.level)
        if self.gram and problem.intercept:
            # Centered columns leave the intercept at the mean: it takes no part in the solution.
            data = problem.data
            self.fixed = np.asarray(data.weights) @ (np.asarray(data.target) - np.asarray(data.offset))
        self.scale = problem.scale()
        self.gradient = np.asarray(problem.null.gradient)
        self.before: np.ndarray | None = None
        self.here = self.there = max(float(self._reach(self.gradient).max(initial=0)), float(lams[0]))
        self.precision = max(1e-1 * tol, 1e-13)

    def path(self, report: Callable[[int, int], None] | None) -> Fits:
        """All chunks."""
        pieces, length = [], len(self.lams)
        for first in range(0, length, self.size):
            pieces.append(self.chunk(first))
            if report is not None:
                report(min(first + self.size, length), length)
        return _assemble(pieces, length, self.tol)

    def chunk(self, first: int) -> _Piece:
        """Solve the chunk from λ number `first`, add what the certificate finds missing, sharpen what is short."""
        # A last, shorter chunk repeats its last λ rather than compile for another length.
        which = np.minimum(np.arange(first, first + self.size), len(self.lams) - 1)
        lams, sets = self.lams[which], range(self.many)
        wanted = self._candidates(lams[-1])
        b: list[np.ndarray] = [np.empty(0)] * self.many
        rounds = np.zeros((len(lams), self.many), dtype=int)
        spent = np.zeros((len(lams), self.many), dtype=bool)
        done = np.zeros(self.many, dtype=int)
        precision, sharpened, repeats, todo, found = self.precision, 0, 0, list(sets), None
        full = np.zeros((len(lams), self.many, 1, *self.outputs))
        while True:
            if not self.one_by_one:
                todo, done = list(sets), np.zeros(self.many, dtype=int)
                wanted = np.broadcast_to(wanted.any(axis=0), wanted.shape).copy()
            columns = [self.order[wanted[f][self.parts.labels[self.order]]] for f in sets]
            self.hold(columns)
            full = _padded(full, 1 + self.store.capacity)
            tasks = [self._task(f, columns[f], lams, done[f], full, precision) for f in todo]
            kind, size = self.parts.kind, self.widest
            p = self.problem
            solve = again.solve if self.folded else group_lanes.solve
            answers = solve(p.loss, p.data, self.store, kind, tasks, size, self.one_by_one)
            for f, (found_b, taken) in zip(todo, answers, strict=True):
                b[f], k = found_b, done[f]
                rounds[k:, f] += taken[k:]
                spent[k:, f] = taken[k:] >= ROUNDS
                held = 1 + self.slot[columns[f]]
                full[k:, f] = 0
                lead = 0 if self.gram else 1
                full[k:, f, 0] = self.fixed[f] if self.gram else found_b[k:, 0]
                full[k:, f, held] = found_b[k:, lead : lead + held.size]
            found = certify(p, self.penalty, lams, self.store.columns, full, found, todo)
            todo = []
            for f in sets if not self.everything else ():
                lost = self._missing(found.excess[f], 10 * precision * self.scale[f], wanted[f])
                if lost.size:
                    bad = found.kkt[:, f] > 10 * precision
                    done[f] = int(np.argmax(bad)) if bad.any() else 0
                    wanted[f][lost] = True
                    todo.append(f)
            repeats += 1
            if not todo:
                short = ~good(found.gap, found.kkt, self.tol)
                todo = np.flatnonzero(short.any(axis=0)).tolist()
                if not todo or sharpened == SHARPER or precision <= 1e-13:
                    break
                done[todo] = np.argmax(short[:, todo], axis=0)
                precision, sharpened = max(1e-2 * precision, 1e-13), sharpened + 1
        end = np.where(np.isfinite(full[-1]), full[-1], 0)
        held_slots = np.flatnonzero(self.slot >= 0)
        self.slopes[:] = 0
        self.slopes[:, held_slots] = end[:, 1 + self.slot[held_slots]]
        self.level = end[:, 0]
        self.gradient, self.before = found.last.copy(), found.before.copy()
        self.here, self.there = float(lams[-1]), float(lams[-2])
        kept = min(len(self.lams) - first, self.size)
        used = held_slots[(full[:, :, 1 + self.slot[held_slots]] != 0).any(axis=(0, 1, *range(3, full.ndim)))]
        each = found._replace(gap=found.gap[:kept], kkt=found.kkt[:kept], deviance=found.deviance[:kept])
        slopes = full[:kept, :, 1 + self.slot[used]]
        return _Piece(used, full[:kept, :, 0], slopes, each, rounds[:kept], spent[:kept])

    def _reach(self, gradient: np.ndarray) -> np.ndarray:
        """Strength up to which each group would leave zero, (F, m); infinite for those with what is not penalized."""
        reach = np.asarray(entering(self.parts.whole, np.nan_to_num(gradient)))
        return np.where(self.parts.free, 0, reach)

    def _candidates(self, lam: float) -> np.ndarray:
        """Groups that each training set may need down to a strength, (F, m)."""
        many, m = self.many, self.sizes.size
        if self.everything:
            return np.ones((many, m), dtype=bool)
        step = self.here - lam
        reach = self._reach(self.gradient)
        if self.before is None or not self.there > self.here:
            reach = reach + step
        else:
            ahead = self.gradient + (self.gradient - self.before) * (step / (self.there - self.here))
            reach = np.maximum(self._reach(ahead), reach) + MARGIN * step
        near = reach / lam if lam > 0 else np.full(reach.shape, np.inf)
        chosen = np.zeros((many, m), dtype=bool)
        rows = self.problem.design.shape[0] * math.prod(self.outputs)
        for f in range(many):
            alive = np.zeros(m, dtype=bool)
            alive[self.parts.labels[(self.slopes[f] != 0).reshape(len(self.slopes[f]), -1).any(axis=1)]] = True
            alive |= self.parts.free
            active = int(self.sizes[alive].sum())
            most = self.width(min(active + min(active, MANY), rows + active // 4) + SPARE)
            ranked = np.argsort(-np.where(alive, np.inf, near[f]), kind="stable")
            inside = (np.cumsum(self.sizes[ranked]) <= most) & (near[f][ranked] >= 1)
            chosen[f, ranked[inside]] = True
            chosen[f] |= alive
        return chosen

    def _missing(self, excess: np.ndarray, slack: float, inside: np.ndarray) -> np.ndarray:
        """Groups outside the working set that should not be zero, worst first, and not too many."""
        worst = np.zeros(self.sizes.size)
        np.maximum.at(worst, self.parts.labels, np.nan_to_num(excess))
        worst[inside] = 0
        lost = np.flatnonzero(worst > slack)
        lost = lost[np.argsort(-worst[lost])]
        room = max(SPARE, min(MANY, int(self.sizes[inside].sum()) // 2))
        return lost[: max(1, int(np.count_nonzero(np.cumsum(self.sizes[lost]) <= room)))]

    def hold(self, columns: list[np.ndarray]) -> None:
        """See that the store has all columns that any training set wants."""
        new = np.unique(np.concatenate(columns))
        new = new[self.slot[new] < 0]
        if new.size:
            p = self.problem
            self.store = extend(self.store, p.design, p.views, p.data, self.split, p.intercept, self.filled, new)
            self.slot[new] = self.filled + np.arange(new.size)
            self.filled += new.size

    def width(self, size: int) -> int:
        """Room for so many columns: one of few widths, since each costs a program."""
        p = len(self.parts.labels)
        if size <= WIDTHS[-1]:
            return min(next(width for width in WIDTHS if size <= width), p)
        width = bucket(size, 2 * p)
        return min(width * 3 // 4 if size <= width * 3 // 4 else width, p)

    def _task(
        self, f: int, mine: np.ndarray, lams: np.ndarray, done: int, full: np.ndarray, precision: float
    ) -> group_lanes.Task:
        width = self.width(mine.size)
        take = np.zeros(width, dtype=np.int64)
        take[: mine.size] = self.slot[mine]
        lead = 0 if self.gram else 1
        start = np.zeros((width + lead, *self.outputs))
        if done:
            start[:lead], start[lead : lead + mine.size] = (
                full[done - 1, f, :lead],
                full[done - 1, f, 1 + self.slot[mine]],
            )
        else:
            start[:lead], start[lead : lead + mine.size] = self.level[f], self.slopes[f, mine]
        # What was solved before the first λ that fell short stays; later ones begin there.
        which = np.maximum(np.arange(len(lams)), done)
        team = team_of(self.parts, mine, width, bool(lead))
        tol = np.float64(precision * self.scale[f])
        return group_lanes.Task(np.int64(f), take, team, lams[which], start, tol, np.int64(ROUNDS))


def _padded(full: np.ndarray, size: int) -> np.ndarray:
    return np.pad(full, ((0, 0), (0, 0), (0, size - full.shape[2]), *[(0, 0)] * (full.ndim - 3)))


def _assemble(pieces: list[_Piece], length: int, tol: float) -> Fits:
    working = functools.reduce(np.union1d, [piece.columns for piece in pieces])
    many, *outputs = pieces[0].level.shape[1:]
    slopes = np.zeros((length, many, 1, working.size, *outputs))
    first = 0
    for piece in pieces:
        rows = slice(first, first + len(piece.level))
        slopes[rows, :, 0, np.searchsorted(working, piece.columns)] = piece.slopes
        first = rows.stop
    level, rounds, spent = (
        np.concatenate(parts)[:, :, None] for parts in zip(*((q.level, q.rounds, q.spent) for q in pieces), strict=True)
    )
    gap, kkt, deviance = (np.concatenate([piece.found[k] for piece in pieces])[:, :, None] for k in range(3))
    result = np.where(good(gap, kkt, tol), Result.CONVERGED, np.where(spent, Result.MAX_STEPS, Result.STALLED))
    result = np.where(np.isfinite(kkt), result, Result.DIVERGED)
    return Fits(
        working=working,
        intercept=level,
        slopes=slopes,
        gap=gap,
        kkt=kkt,
        deviance=deviance,
        result=result.astype(np.int32),
        steps=rounds,
        df=np.full(gap.shape, np.nan),
    )
