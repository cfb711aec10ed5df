"""The march of all lanes along λ, chunk by chunk.

Screen → gather a padded working set → solve the chunk in every lane → certify by one correlation over all
columns → add violators and repeat, or go on to the next chunk.
"""

import functools

import jax
import numpy as np

from jaxreg.linear.active import screen
from jaxreg.linear.active.certify import Certificate, certify
from jaxreg.linear.active.grams import empty_store, extend, full_store, store_of
from jaxreg.linear.active.lanes import Task, make_lanes
from jaxreg.linear.active.moments import disagreement, many_rows, proven
from jaxreg.linear.active.split import find_split
from jaxreg.linear.columns import bucket
from jaxreg.linear.problem import Piece, Problem
from jaxreg.losses import Squared

ALL_COLUMNS = 512
"""Up to this many columns the working set of squared error is all of them."""
FEW_COLUMNS = 128
"""The same for other losses, whose Grams are made anew."""
MANY_COLUMNS = 2048
"""Up to this many columns the store has all of them at once, if `FULL_GRAM` allows their Grams."""
FULL_GRAM = 2**27
"""Entries of all training sets' Grams, up to which they are made of all columns at once: 1 GiB."""
FOLLOWED, FOLLOWED_ALONE = 512, 1024
"""Columns up to which a lane without a ridge goes from breakpoint to breakpoint; the same if it has all cores."""
CHUNK = 10
"""λ solved between certificates. All chunks have one length, so that the number of λ compiles nothing."""
LONG_CHUNKS = 50, 100
"""The same where nothing is screened; the shorter one if that is all there are, or lanes are many."""
MANY_ENTRIES = 2**17
"""Entries of one λ's coefficients in all lanes, from which they are many."""
SPARE = 64
"""Room for columns that enter: one and a quarter times as many as the last chunk brought, and these. With a ridge, as
many as it brought, and half of these: a width too many costs such a lane more than another round."""
MANY = 224
"""Most missing columns added at once to a working set that is not twice as wide."""
FINEST = 1e-13
"""Least residual asked of a lane, as a share of the gradient at the null model."""
WIDTH = 64
"""Narrowest working set; wider ones are powers of two."""


class March:
    """Where every lane stands: M lanes, one per training set and l1 ratio, ordered by training set."""

    def __init__(self, problem: Problem, l1: np.ndarray, l2: np.ndarray, tol: float) -> None:
        """Start at the null models, for strengths (R, L)."""
        self.problem, self.tol = problem, tol
        n, p = problem.size
        self.sets, self.ratios = problem.data.weights.shape[0], l1.shape[0]
        self.f = np.repeat(np.arange(self.sets), self.ratios)
        self.l1, self.l2 = (np.tile(s.T, (1, self.sets)) for s in (l1, l2))

        gram = isinstance(problem.loss, Squared)
        most = ALL_COLUMNS if gram else FEW_COLUMNS
        self.followed = 0
        if gram:
            self.followed = FOLLOWED_ALONE if self.f.size == 1 else FOLLOWED
            most = max(most, self.followed) if n >= p and not l2.any() else most
        everything = p <= most or not l1.all()
        self.everything = np.arange(p) if everything else None
        long = len(self.l1) > LONG_CHUNKS[0] and self.f.size * p < MANY_ENTRIES
        self.size = LONG_CHUNKS[long] if everything else CHUNK
        self.lanes = make_lanes(problem.loss, problem.data)
        self.split = find_split(np.asarray(problem.data.weights)) if gram else None
        mean_only = problem.null.basis.shape[2] == 1
        if problem.moments is not None:
            self.store = store_of(problem.moments, problem.views, problem.data, problem.null.gradient)
            self.slot, self.filled = np.arange(p), p
        elif everything or (p <= MANY_COLUMNS and (self.sets * p**2 <= FULL_GRAM or not gram)):
            about = problem.design, problem.views, problem.data, self.split, problem.intercept
            gradient = problem.null.gradient if mean_only else None
            self.store = full_store(*about, gram=gram, at_once=everything, gradient=gradient)
            self.slot, self.filled = np.arange(p), p
        else:
            self.store = empty_store(problem.views, n, min(p, 2 * WIDTH), gram)
            self.slot, self.filled = np.full(p, -1), 0

        self.disagreement = None
        if problem.moments is None and self.filled == p and self.store.moments.size and many_rows(n, p) and mean_only:
            self.disagreement = disagreement(self.store, problem.data)

        null = np.asarray(problem.null.coef)[self.f]
        self.always = np.flatnonzero(problem.factor == 0)
        self.b = np.zeros((self.f.size, 1 + p))
        self.b[:, 0], self.b[:, 1 + self.always] = null[:, 0], null[:, 1:]
        self.scale = problem.scale()[self.f]
        self.varies = np.asarray(problem.views.varies)[self.f]
        self.level = np.zeros(self.f.size)
        if gram and problem.intercept:
            # Centered columns leave the intercept at the mean: it takes no part in the solution.
            data = problem.data
            self.level = (np.asarray(data.weights) @ (np.asarray(data.target) - np.asarray(data.offset)))[self.f]
        self.gradient = np.asarray(problem.null.gradient)[self.f]
        self.before = self.gradient
        self.last = [np.empty(0, dtype=np.int64)] * self.f.size
        self.active = np.zeros(self.f.size, dtype=int)
        self.rows = np.count_nonzero(problem.data.weights, axis=1)[self.f]
        # The null model is the solution down to the λ where the first column enters.
        penalized = problem.factor > 0
        enters = np.max(np.abs(self.gradient[:, penalized]) / problem.factor[penalized], axis=1, initial=0)
        self.here = self.there = np.maximum(enters, self.l1[0])
        self.begin = self.here.copy()

    @functools.cached_property
    def moments(self) -> jax.Array | None:
        """Those of all columns, if they serve certificates and are proven."""
        if self.problem.moments is not None:
            return self.problem.moments
        return self.store.moments if self.disagreement is not None and proven(self.disagreement) else None

    def chunk(self, first: int) -> Piece:
        """Solve the chunk from λ number `first`, add what the certificate finds missing, sharpen what is short."""
        # A last, shorter chunk repeats its last λ rather than compile for another length.
        which = np.minimum(np.arange(first, first + self.size), len(self.l1) - 1)
        l1, l2 = self.l1[which], self.l2[which]
        lanes = range(self.f.size)
        wanted = [self._candidates(m, l1[-1, m], l2[-1, m]) for m in lanes]
        found_b: list = [None] * len(lanes)
        steps = np.zeros(l1.shape, dtype=int)
        kept: dict[int, tuple[np.ndarray, np.ndarray]] = {}
        found = None
        # Without a ridge a residual r may cost r‖b‖₁ of the gap, with one r² over its strength at the most.
        precision = np.where(l2[-1] > 0, self.tol, 1e-2 * self.tol).clip(FINEST)
        sharpened, rounds, todo = 0, 0, list(lanes)
        followed: set[int] = set()
        may_follow = np.ones(len(lanes), dtype=bool)
        while True:
            if not self.lanes.individual:
                # One batch: all lanes run again, on columns that all share.
                todo = list(lanes)
                wanted = [functools.reduce(np.union1d, wanted)] * len(lanes)
            self._hold(wanted)
            width = max(self._width(wanted[m].size) for m in todo)
            tasks = []
            for m in todo:
                # What was solved before the first λ that lacked a column stays; later ones begin there.
                order = np.maximum(np.arange(self.size), len(kept[m][1]) if m in kept else 0)
                strengths = l1[order, m], l2[order, m]
                tasks.append(self._task(m, wanted[m], width, *strengths, precision[m], may_follow[m]))
            followed.update(task.lane for task in tasks if task.follows)
            for m, (b, taken) in zip(todo, self.lanes.solve(self.store, tasks), strict=True):
                if m in kept:
                    columns, before = kept.pop(m)
                    b = b.copy()
                    b[: len(before)] = 0
                    b[: len(before), np.r_[0, 1 + np.searchsorted(wanted[m], columns)]] = before
                found_b[m] = b
                steps[:, m] += taken
            full = self._spread(wanted, found_b, l1.shape)
            by_set = full.reshape(len(full), self.sets, self.ratios, -1)
            strengths = l1[:, : self.ratios].T, l2[:, : self.ratios].T
            found = certify(self.problem, *strengths, self.store.columns, by_set, found, todo, self.moments)
            todo = []
            for m in lanes if self.everything is None else ():
                lost = screen.missing(found.excess[m], 10 * precision[m] * self.scale[m], wanted[m])
                if lost.size:
                    good = int(np.argmax(found.kkt[:, m] > 10 * precision[m])) if self.lanes.individual else 0
                    if good or m not in followed:
                        self._place(m, wanted[m], found_b[m][max(good - 1, 0)], l1[max(good - 1, 0), m])
                    used = (found_b[m][:, 1:] != 0).any(axis=0)
                    if good:
                        kept[m] = wanted[m][used], found_b[m][:good, np.r_[True, used]]
                    lost = lost[: max(WIDTH, min(MANY, wanted[m].size // 2))]
                    wanted[m] = self._widened(wanted[m], used, lost, again=rounds > 0)
                    todo.append(m)
            rounds += 1
            if not todo:
                measure = np.where(np.isnan(found.gap), found.kkt, found.gap)
                todo = np.flatnonzero(~(measure <= self.tol).all(axis=0)).tolist()
                strayed = list(followed.intersection(todo))
                if strayed:
                    may_follow[strayed] = False
                    followed.difference_update(strayed)
                    continue
                if not todo or sharpened == 3 or (precision[todo] <= FINEST).all():
                    break
                precision[todo] = (1e-2 * precision[todo]).clip(FINEST)
                sharpened += 1
        for m in lanes:
            self._place(m, wanted[m], found_b[m][-1], l1[-1, m])
        self.last = wanted
        self.gradient, self.before = found.last, found.before
        self.here, self.there = l1[-1], l1[-2]
        return self._piece(full[: len(self.l1) - first], found, steps)

    def _candidates(self, m: int, l1: float, ridge: float) -> np.ndarray:
        """Columns that lane m may need down to strengths l1 and `ridge`."""
        if self.everything is not None:
            return self.everything
        known = self.gradient[m], self.before[m], self.problem.factor
        near = screen.closeness(*known, self.here[m], self.there[m], l1)
        active = np.union1d(np.flatnonzero(self.b[m, 1:]), self.always)
        near[~self.varies[m]] = -1
        near[active] = np.inf
        grown = max(active.size - int(self.active[m]), 0)
        if ridge > 0:
            most = active.size + grown + SPARE // 2
        else:
            # A lasso has no more active columns than there are rows; some of them change.
            most = min(active.size + 5 * grown // 4 + SPARE, int(self.rows[m]) + active.size // 4)
        self.active[m] = active.size
        width = self._width(max(active.size, min(most, int(np.count_nonzero(near >= 1)))))
        # What is in the store costs little more, and what the lane had last nothing: they fill what room there is.
        near = np.where((near >= 1) | (self.slot >= 0), near, -1)
        near[self.last[m]] = np.maximum(near[self.last[m]], 0.999)
        best = np.argpartition(-near, width - 1)[:width] if width < near.size else np.arange(near.size)
        return np.sort(best[near[best] >= 0])

    def _hold(self, wanted: list[np.ndarray]) -> None:
        """See that the store has all columns that any lane wants."""
        new = np.unique(np.concatenate(wanted))
        new = new[self.slot[new] < 0]
        if new.size:
            p = self.problem
            self.store = extend(self.store, p.design, p.views, p.data, self.split, p.intercept, self.filled, new)
            self.slot[new] = self.filled + np.arange(new.size)
            self.filled += new.size

    def _width(self, size: int) -> int:
        """Room for so many columns: a power of two, or one and a half times it where that saves much."""
        p = self.b.shape[1] - 1
        width = bucket(size, 2 * p)
        return min(width * 3 // 4 if width >= 1024 and size <= width * 3 // 4 else width, p)

    def _widened(self, mine: np.ndarray, used: np.ndarray, lost: np.ndarray, again: bool) -> np.ndarray:
        """A working set with lost columns: the first time those that no λ used make room, if that keeps it narrow."""
        everyone = np.union1d(mine, lost)
        if again or self._width(everyone.size) == self._width(mine.size):
            return everyone
        return np.union1d(mine[used | (self.problem.factor[mine] == 0)], lost)

    def _task(
        self, m: int, mine: np.ndarray, width: int, l1: np.ndarray, l2: np.ndarray, precision: float, may_follow: bool
    ) -> Task:
        width = self._width(mine.size) if self.lanes.individual else width
        start = self.b[m, np.r_[0, 1 + mine]]
        factor, tol = self.problem.factor[mine], precision * self.scale[m]
        follows = bool(may_follow) and width <= self.followed and not l2.any()
        return Task(m, self.f[m], self.slot[mine], width, factor, start, l1, l2, tol, self.begin[m], follows)

    def _place(self, m: int, mine: np.ndarray, b: np.ndarray, l1: float) -> None:
        self.b[m], self.begin[m] = 0, l1
        self.b[m, 0], self.b[m, 1 + mine] = b[0], b[1:]

    def _spread(self, wanted: list[np.ndarray], b: list[np.ndarray], shape: tuple[int, int]) -> np.ndarray:
        """Coefficients of all lanes on the columns of the store, (L, M, 1 + c)."""
        full = np.zeros((*shape, 1 + self.store.capacity))
        for m, mine in enumerate(wanted):
            full[:, m, 0], full[:, m, 1 + self.slot[mine]] = b[m][:, 0] + self.level[m], b[m][:, 1:]
        return full

    def _piece(self, full: np.ndarray, found: Certificate, steps: np.ndarray) -> Piece:
        """By λ, training set and ratio; the columns in their order in X."""
        kept = min(len(full), self.size)
        used: np.ndarray = (full != 0).any(axis=(0, 1))
        held = np.flatnonzero((self.slot >= 0) & used[1 + self.slot])
        shape = (kept, self.sets, self.ratios)
        b = full[:kept][..., np.r_[0, 1 + self.slot[held]]].reshape(*shape, -1)
        gap, kkt, deviance = (part[:kept].reshape(shape) for part in found[:3])
        return Piece(held, b, gap, kkt, deviance, steps[:kept].reshape(shape), np.full(shape, np.nan))
