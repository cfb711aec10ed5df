"""Folded penalties again: from other starts at every strength, of whose stationary points the lowest is kept.

What is not convex has many stationary points, and a march down λ is held by one that was good at the λ before. So every
λ is solved from the convex solution, too (γ = ∞: a lasso, or group lasso, of the same factors); from where what is kept
leads at half of λ, and at twice γ; and then up λ from the smallest and down again, each from what is kept at the
neighbour. What is lower takes the place of what was there.

Source: Zou & Li (2008), "One-step sparse estimates in nonconcave penalized likelihood models", Annals of Statistics 36,
for the convex solution as a start; Mazumder, Friedman & Hastie (2011), "SparseNet: coordinate descent with nonconvex
penalties", JASA 106, section 4, for starts along a grid.
"""

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from jaxreg._programs import program
from jaxreg._result import Result
from jaxreg.linear.active.grams import Store
from jaxreg.linear.active.tableau import dot
from jaxreg.linear.assess import good
from jaxreg.linear.columns import Data
from jaxreg.linear.groups import lanes as group_lanes
from jaxreg.linear.groups.judge import Certificate, certify
from jaxreg.linear.groups.lanes import Chunk, Task
from jaxreg.linear.groups.parts import Parts, team_of, value
from jaxreg.linear.problem import Fits, Problem
from jaxreg.linear.threads import in_threads
from jaxreg.losses import Loss, Squared
from jaxreg.penalties import Penalty

CONVEX = 1e8
"""γ at which a folded penalty is as good as convex."""
ROUGH = 1e-3
"""Tolerance of the convex solutions, which are but starts."""
CLEAR = 1e-9
"""What a solution must gain to be preferred, as a share of the null model's objective."""
ROUNDS = 200
"""Most rounds of the inner solver from one start."""
DETOURS = (1.0, 1.0), (1.0, 0.5), (2.0, 1.0)
"""γ and λ, as multiples of their own, by way of which each λ is solved again: the first from the convex solutions."""
GROW, MOST = 5, 64
"""How often columns may be added, and how many each time for each chunk."""


Answers = list[tuple[np.ndarray, np.ndarray]]


class March(Protocol):
    """What is asked of the march down λ, after its end."""

    problem: Problem
    penalty: Penalty
    lams: np.ndarray
    tol: float
    parts: Parts
    store: Store
    slot: np.ndarray
    """Where each column is in the store, (p,); −1 if it is not there."""
    fixed: np.ndarray
    """Intercepts (F,) of squared error, which takes no part in its solutions."""
    size: int
    """λ solved by one program."""
    widest: int
    """Bound on the columns of a group."""
    one_by_one: bool
    everything: bool
    """Whether all columns are in every working set."""

    def hold(self, columns: list[np.ndarray]) -> None:
        """See that the store has these columns."""

    def width(self, size: int) -> int:
        """Room for so many columns."""


class _Lane:
    """One training set: its solutions b (L, d) so far, by the columns that any of them uses."""

    def __init__(self, march: March, f: int, fits: Fits, convex: Fits) -> None:
        """Begin with what the march found; the convex solutions are starts."""
        problem, labels = march.problem, march.parts.labels
        self.f, self.lead = f, int(not isinstance(problem.loss, Squared))
        used = np.concatenate([fit.working[(fit.slopes[:, f, 0] != 0).any(axis=0)] for fit in (fits, convex)])
        self.columns = np.flatnonzero(np.isin(labels, labels[used]) | march.parts.free[labels] | march.everything)
        self.goal = np.float64(max(0.01 * march.tol, 1e-13) * problem.scale()[f])
        self.clear = np.float64(CLEAR * np.asarray(problem.null.primal)[f])
        self.first, self.start = (self._wide(fit) for fit in (fits, convex))
        self.b, self.rounds = self.first.copy(), np.zeros(len(march.lams), dtype=int)

    def _wide(self, fits: Fits) -> np.ndarray:
        """Intercepts and the coefficients of the columns, (L, 1 + w)."""
        wide = np.zeros((len(fits.slopes), 1 + max(self.columns.max(initial=0), fits.working.max(initial=0))))
        wide[:, fits.working] = fits.slopes[:, self.f, 0]
        return np.concatenate([fits.intercept[:, self.f], wide[:, self.columns]], axis=1)

    @property
    def changed(self) -> np.ndarray:
        """Which solutions (L,) are not the march's."""
        changed: np.ndarray = (self.b != self.first).any(axis=1)
        return changed

    def add(self, march: March, lost: np.ndarray) -> None:
        """Make room for the groups of more columns."""
        labels = march.parts.labels
        columns = np.flatnonzero(np.isin(labels, labels[np.union1d(self.columns, lost)]))
        for name in ("b", "first", "start"):
            old, new = getattr(self, name), np.zeros((len(self.b), 1 + columns.size))
            new[:, 0], new[:, 1 + np.searchsorted(columns, self.columns)] = old[:, 0], old[:, 1:]
            setattr(self, name, new)
        self.columns = columns

    def job(self, march: March, width: int, which: np.ndarray, before: int, rivals: np.ndarray) -> "_Job":
        """Solve λ number `which` again from its starts, or (NaN) from what is kept, first at number `before`."""
        order = np.argsort(march.parts.labels[self.columns], kind="stable")
        columns = self.columns[order]
        take = np.zeros(width, dtype=np.int64)
        take[: columns.size] = march.slot[columns]

        def inside(b: np.ndarray) -> np.ndarray:
            held = np.concatenate([b[..., : self.lead], b[..., 1 + order]], axis=-1)
            return np.pad(held, [(0, 0)] * (b.ndim - 1) + [(0, width - columns.size)])

        team = team_of(march.parts, columns, width, bool(self.lead))
        task = Task(
            np.int64(self.f), take, team, march.lams[which], inside(self.b[before]), self.goal, np.int64(ROUNDS)
        )
        return _Job(task, inside(self.start[which]), inside(rivals), self.clear)

    def taken(self, march: March, b: np.ndarray) -> np.ndarray:
        """The answers (L, d) of such a job as intercepts and coefficients (L, 1 + w)."""
        order = np.argsort(march.parts.labels[self.columns], kind="stable")
        wide = np.empty((len(b), 1 + order.size))
        wide[:, 0] = b[:, 0] if self.lead else self.b[0, 0]
        wide[:, 1 + order] = b[:, self.lead : self.lead + order.size]
        return wide


def improve(march: March, fits: Fits, convex: Fits) -> Fits:
    """Solve again from other starts, and take what is lower and certified.

    Args:
        march: that down λ.
        fits: its solutions.
        convex: those for γ = ∞.
    """
    lanes = [_Lane(march, f, fits, convex) for f in range(len(march.problem.data.weights))]
    march.hold([lane.columns for lane in lanes])
    down = np.arange(len(march.lams))
    for gamma, lam in DETOURS:
        if (gamma, lam) != (1, 1):
            _move(march, lanes, gamma, lam)
        _compete(march, lanes, down)
        for lane in lanes:
            lane.start = lane.b.copy()
    _settle(march, lanes)
    for lane in lanes:
        lane.start = np.full_like(lane.b, np.nan)
    _compete(march, lanes, down[::-1])
    _compete(march, lanes, down)
    found = _settle(march, lanes)
    return _merged(march, lanes, fits, found)


def _move(march: March, lanes: list[_Lane], gamma: float = 1.0, lam: float = 1.0) -> None:
    """Move all starts to where they lead, for these multiples of γ and λ."""
    kind: Any = march.parts.kind
    kind = dataclasses.replace(kind, gamma=gamma * kind.gamma)
    for which, kept, before, width in _chunks(march, lanes, np.arange(len(march.lams))):
        jobs = [lane.job(march, width, which, before, np.full_like(lane.b[which], np.nan)) for lane in lanes]
        jobs = [job._replace(task=job.task._replace(lams=lam * job.task.lams)) for job in jobs]
        for lane, (b, rounds) in zip(lanes, _answers(march, kind, jobs), strict=True):
            lane.start[which[kept]] = lane.taken(march, b[kept])
            lane.rounds[which[kept]] += rounds[kept]


def _compete(march: March, lanes: list[_Lane], order: np.ndarray) -> None:
    """Solve every λ, in this order, from its start, or (NaN) from what was kept at the λ before: keep what is lower."""
    for which, kept, before, width in _chunks(march, lanes, order):
        jobs = [lane.job(march, width, which, before, lane.b[which]) for lane in lanes]
        for lane, (b, rounds) in zip(lanes, _answers(march, march.parts.kind, jobs), strict=True):
            lane.b[which[kept]] = lane.taken(march, b[kept])
            lane.rounds[which[kept]] += rounds[kept]


def _chunks(march: March, lanes: list[_Lane], order: np.ndarray) -> Iterator[tuple[np.ndarray, slice, int, int]]:
    """Chunks of λ in an order: which, how many of them count, what is before; and the room that all lanes take."""
    width = march.width(max(lane.columns.size for lane in lanes))
    for first in range(0, len(order), march.size):
        # A last, shorter chunk repeats its last λ rather than compile for another length.
        which = order[np.minimum(np.arange(first, first + march.size), len(order) - 1)]
        yield which, slice(0, len(order) - first), int(order[max(first - 1, 0)]), width


def _settle(march: March, lanes: list[_Lane]) -> Certificate:
    """Add the columns that new solutions lack; those without a certificate in the end go back to what they were."""
    length, p = len(march.lams), march.problem.design.shape[1]
    for attempt in range(1 + GROW):
        found = Certificate.blank(length, len(lanes), p, ())
        lost: list[np.ndarray] = [np.zeros(0, dtype=np.int64)] * len(lanes)
        for first in range(0, length, march.size):
            which = np.minimum(np.arange(first, first + march.size), length - 1)
            sets = [f for f, lane in enumerate(lanes) if lane.changed[which].any()]
            if not sets:
                continue
            full = np.zeros((len(which), len(lanes), 1 + march.store.capacity))
            for f in sets:
                lane = lanes[f]
                full[:, f, 0] = lane.b[which, 0] if lane.lead else march.fixed[f]
                full[:, f, 1 + march.slot[lane.columns]] = lane.b[which, 1:]
            part = certify(march.problem, march.penalty, march.lams[which], march.store.columns, full, None, sets)
            for k in range(3):
                found[k][which] = part[k]
            for f in sets:
                excess = np.nan_to_num(part.excess[f])
                excess[lanes[f].columns] = 0
                bad = np.flatnonzero(excess > 10 * lanes[f].goal)
                lost[f] = np.union1d(lost[f], bad[np.argsort(-excess[bad])][:MOST])
        if attempt == GROW or not any(part.size for part in lost):
            break
        for lane, more in zip(lanes, lost, strict=True):
            lane.add(march, more)
        march.hold([lane.columns for lane in lanes])
        for lane in lanes:
            lane.start = lane.b.copy()
        _move(march, lanes)
        for lane in lanes:
            lane.b = lane.start
    for f, lane in enumerate(lanes):
        sound = good(found.gap[:, f], found.kkt[:, f], march.tol)
        lane.b = np.where(sound[:, None], lane.b, lane.first)
    return found


def _merged(march: March, lanes: list[_Lane], fits: Fits, found: Certificate) -> Fits:
    """The fits, with what changed in their places."""
    working = np.unique(np.concatenate([fits.working, *(lane.columns for lane in lanes)]))
    slopes = np.zeros((*fits.slopes.shape[:3], working.size))
    slopes[..., np.searchsorted(working, fits.working)] = fits.slopes
    changed = np.stack([lane.changed for lane in lanes], axis=1)[:, :, None]
    level = fits.intercept.copy()
    for f, lane in enumerate(lanes):
        held = np.searchsorted(working, lane.columns)
        slopes[:, f, 0, held] = lane.b[:, 1:]
        level[:, f, 0] = lane.b[:, 0]
    gap, kkt, deviance = (
        np.where(changed, new[:, :, None], old)
        for new, old in zip(found[:3], (fits.gap, fits.kkt, fits.deviance), strict=True)
    )
    steps = fits.steps + np.stack([lane.rounds for lane in lanes], axis=1)[:, :, None]
    used = (slopes != 0).any(axis=(0, 1, 2))
    result = np.where(changed, Result.CONVERGED, fits.result).astype(np.int32)
    return Fits(working[used], level, slopes[..., used], gap, kkt, deviance, result, steps, fits.df)


class _Job(NamedTuple):
    """A chunk: for each λ where it begins, (L, d), or NaN, as the last λ ended; what is there; and the least gain."""

    task: Task
    starts: Any
    rivals: Any
    clear: Any


def _answers(march: March, kind: Any, jobs: list[_Job]) -> Answers:
    return _work(
        march.problem.loss, march.problem.data, march.store, kind, jobs, march.widest, one_by_one=march.one_by_one
    )


def solve(
    loss: Loss, data: Data, store: Store, kind: Any, tasks: Sequence[Task], size: int, one_by_one: bool
) -> Answers:
    """Solve tasks as `lanes.solve` does, by the program that solves them again: one program is soon enough compiled."""
    nothing = [np.full((task.lams.size, *task.start.shape), np.nan) for task in tasks]
    jobs = [_Job(task, part, part, np.float64(0)) for task, part in zip(tasks, nothing, strict=True)]
    return _work(loss, data, store, kind, jobs, size, one_by_one=one_by_one)


def _work(loss: Loss, data: Data, store: Store, kind: Any, jobs: list[_Job], size: int, *, one_by_one: bool) -> Answers:
    """What is kept (L, d) and rounds (L,) of every job: in threads, or as one batch of jobs of one width."""
    if not one_by_one:
        found = _retry_all(loss, data, store, kind, jax.tree.map(lambda *leaves: np.stack(leaves), *jobs), size=size)
        return list(zip(*map(np.asarray, found), strict=True))

    def run(job: _Job) -> tuple[np.ndarray, np.ndarray]:
        prepared = group_lanes.prepare(loss, data, store, job.task)
        b, rounds = _retry(loss, prepared, kind, job, size=size)
        return np.asarray(b), np.asarray(rounds)

    kinds = type(loss), type(kind), store.capacity, store.columns.x.shape, store.moments.shape, size
    return in_threads(run, jobs, lambda job: ("again", kinds, job.starts.shape))


@program(static=("size",))
def _retry(loss: Loss, prepared: Any, kind: Any, job: _Job, *, size: int) -> Chunk:
    """Solve a chunk again, and keep what is lower."""
    task = job.task

    def objective(kind: Any, b: jax.Array) -> jax.Array:
        if isinstance(loss, Squared):
            gram, linear, _ = prepared
            return jnp.sum(b * (0.5 * dot(gram, b) - linear)) + value(kind, task.team, b)
        samples, _ = prepared
        fit = samples.weights * loss.value(samples.predict(b) + samples.offset, samples.target)
        return jnp.sum(jnp.where(samples.weights > 0, fit, 0)) + value(kind, task.team, b)

    def step(last: jax.Array, at: tuple[jax.Array, ...]) -> tuple[jax.Array, Chunk]:
        lam, start, rival = at
        begin = jnp.where(jnp.isnan(start), last, start)
        found = group_lanes.solve_lane.jitted(
            loss, prepared, kind, task._replace(lams=lam[None], start=begin), size=size
        )
        b, here = found.b[0], kind.at(lam)
        ended = jnp.all(jnp.isfinite(b)) & (found.rounds[0] < task.budget)
        lower = ended & ~(objective(here, b) >= objective(here, rival) - job.clear)
        kept = jnp.where(lower | jnp.all(jnp.isnan(rival)), b, rival)
        return kept, Chunk(kept, found.rounds[0])

    return jax.lax.scan(step, task.start, (task.lams, job.starts, job.rivals))[1]


@program(static=("size",))
def _retry_all(loss: Loss, data: Data, store: Store, kind: Any, jobs: _Job, *, size: int) -> Chunk:
    def one(job: _Job) -> Chunk:
        prepared = group_lanes.prepare.jitted(loss, data, store, job.task)
        return _retry.jitted(loss, prepared, kind, job, size=size)

    return jax.vmap(one)(jobs)
