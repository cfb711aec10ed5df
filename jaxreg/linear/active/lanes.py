"""Lanes: one per training set and l1 ratio, advanced along λ together.

The programs are written for one lane. On a CPU each lane runs by itself, on its own few columns, one per thread:
what a lane touches then stays in the core's cache, and no lane waits for the slowest in lockstep. (Batched by
vmap, eleven lanes of 500 columns took eight times as long.) On an accelerator all lanes are one batch.
"""

import functools
import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxreg._programs import program
from jaxreg.linear.active.breakpoints import follow
from jaxreg.linear.active.chunk import STEPS_ROUGH, Chunk, Samples, Strengths, newton_chunk, squared_chunk
from jaxreg.linear.active.grams import Store, gram_of
from jaxreg.linear.active.tableau import Tableau, rearranged, worth
from jaxreg.linear.columns import Data
from jaxreg.linear.threads import cores, in_threads
from jaxreg.losses import Loss, Squared

WIDE = 768
"""Columns from which lanes without a ridge have a tableau in single precision, too."""
ANEW = 256
"""Columns up to which a path is sooner followed with a new tableau than with that of the last chunk."""
GROUP = 32
"""Most lanes followed by one call."""
ROOM = 0.7
"""Share of an accelerator's free memory that a batch of lanes may take."""


class Task(NamedTuple):
    """What a lane is to do: solve strengths l1 and l2 (L,) on columns `slots` of the store, padded to `width`.

    `start` is the intercept and coefficients of these columns, (1 + w,), `factor` their penalty factors (w,).
    """

    lane: int
    f: int
    slots: np.ndarray
    width: int
    factor: np.ndarray
    start: np.ndarray
    l1: np.ndarray
    l2: np.ndarray
    tol: float
    here: float
    """The l1 at which `start` is the solution."""
    follows: bool
    """Whether to go from breakpoint to breakpoint: without a ridge only."""


class _Job(NamedTuple):
    """A task as arrays of fixed shapes: NumPy's, until a program takes them."""

    f: Any
    take: Any
    real: Any
    strengths: Strengths
    start: Any
    tol: Any
    here: Any


def _job(task: Task, width: int) -> _Job:
    size = task.slots.size
    take, factor, start = np.zeros(width, dtype=np.int64), np.zeros(1 + width), np.zeros(1 + width)
    take[:size], factor[1 : 1 + size], start[: 1 + size] = task.slots, task.factor, task.start
    strengths = Strengths(task.l1, task.l2, factor)
    return _Job(
        np.int64(task.f), take, np.arange(width) < size, strengths, start, np.float64(task.tol), np.float64(task.here)
    )


@program()
def _prepare(
    store: Store, weights: jax.Array, f: jax.Array, take: jax.Array, real: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Standardized Gram, inner products with the target, and free entries, of a lane's columns."""
    free = store.columns.free[f, 1:][take] & real
    return gram_of(store, weights, f, take), store.linear[f][take], free


@program()
def _squared(prepared: tuple[jax.Array, jax.Array, jax.Array], job: _Job, tableau: Tableau) -> tuple[Chunk, Tableau]:
    strengths = job.strengths._replace(factor=job.strengths.factor[1:])
    return squared_chunk(*prepared, strengths, job.start[1:], tableau, job.tol)


@program()
def _follow(prepared: tuple[jax.Array, jax.Array, jax.Array], job: _Job, tableau: Tableau) -> tuple[Chunk, Tableau]:
    """The same without a ridge."""
    return follow(*prepared, job.strengths.l1, job.strengths.factor[1:], job.start[1:], job.here, tableau)


@program()
def _follow_anew(store: Store, weights: jax.Array, jobs: _Job) -> Chunk:
    """The same for a few lanes, one after the other, and without a tableau to begin with."""

    def one(job: _Job) -> Chunk:
        prepared = _prepare.jitted(store, weights, job.f, job.take, job.real)
        return _follow.jitted(prepared, job, Tableau.empty(job.take.size))[0]

    return jax.lax.map(one, jobs)


@program()
def _newton(loss: Loss, data: Data, store: Store, job: _Job, shared: jax.Array | None = None) -> Chunk:
    columns, f = store.columns, job.f
    x = columns.x[:, job.take] if shared is None else shared
    shift, scale = columns.shift[f][job.take], columns.scale[f][job.take]
    samples = Samples(x, shift, scale, data.target, data.offset, data.weights[f])
    free = jnp.concatenate([columns.free[f, :1], columns.free[f, 1:][job.take] & job.real])
    return newton_chunk(loss, samples, free, job.strengths, job.start, job.tol)


@program(static=("rough",))
def _rearrange(
    tableau: Tableau, prepared: tuple[jax.Array, ...], job: _Job, position: jax.Array, *, rough: bool = False
) -> Tableau:
    extra = job.strengths.l2[0] * job.strengths.factor[1:]
    return rearranged(tableau, prepared[0], extra, position, jnp.float32 if rough else float)


@program(static=("width", "rough"))
def _empty(*, width: int, rough: bool = False) -> Tableau:
    return Tableau.empty(width, jnp.float32 if rough else float)


_prepare_all = jax.jit(jax.vmap(_prepare.jitted, in_axes=(None, None, 0, 0, 0)))
_squared_all = jax.jit(jax.vmap(_squared.jitted))
_follow_all = jax.jit(jax.vmap(_follow.jitted))
_rearrange_all = jax.jit(jax.vmap(_rearrange.jitted))


@jax.jit
def _newton_all(loss: Loss, data: Data, store: Store, jobs: _Job) -> Chunk:
    # All lanes have the same columns: one copy serves them.
    shared = store.columns.x[:, jobs.take[0]]
    return jax.vmap(_newton.jitted, in_axes=(None, None, None, 0, None))(loss, data, store, jobs, shared)


def lost(found: Chunk) -> bool:
    """Whether a tableau in single precision was not up to some λ."""
    return bool(np.max(found.steps) >= STEPS_ROUGH)


class Threads:
    """Lanes that run one by one, as many at a time as there are cores."""

    individual = True
    """Each lane may have columns of its own, in its own number."""

    def __init__(self, loss: Loss, data: Data) -> None:
        self.loss, self.data = loss, data
        self.slots: dict[int, np.ndarray] = {}
        self.tableaus: dict[int, Tableau] = {}
        self.prepared: dict[tuple[int, bytes], Any] = {}
        self.exacting: set[int] = set()
        """Lanes for which single precision was not enough."""

    def solve(self, store: Store, tasks: Sequence[Task]) -> list[tuple[np.ndarray, np.ndarray]]:
        """Coefficients (L, 1 + w) and steps (L,) of every task; without an intercept for squared error."""
        self.prepared = {}
        groups = _groups(tasks, store.capacity)
        found = in_threads(functools.partial(self._some, store), groups, _signature, lambda g: len(g) * g[0].slots.size)
        lanes = [task.lane for group in groups for task in group]
        by_lane = dict(zip(lanes, itertools.chain(*found), strict=True))
        return [by_lane[task.lane] for task in tasks]

    def _some(self, store: Store, tasks: Sequence[Task]) -> list[tuple[np.ndarray, np.ndarray]]:
        if not _anew(tasks[0], store.capacity):
            return [self._one(store, task) for task in tasks]
        jobs = jax.tree.map(lambda *leaves: np.stack(leaves), *(_job(task, task.width) for task in tasks))
        found = _follow_anew(store, self.data.weights, jobs)
        b, steps = np.asarray(found.b), np.asarray(found.steps)
        return [(_after_zero(b[k][:, : task.slots.size]), steps[k]) for k, task in enumerate(tasks)]

    def _one(self, store: Store, task: Task) -> tuple[np.ndarray, np.ndarray]:
        job = _job(task, task.width)
        if not isinstance(self.loss, Squared):
            found = _newton(self.loss, self.data, store, job)
            return np.asarray(found.b)[:, : 1 + task.slots.size], np.asarray(found.steps)
        key = (task.f, task.slots.tobytes())
        prepared = self.prepared.get(key)
        if prepared is None:
            # Ratios of one training set share it, where they have the same columns.
            prepared = self.prepared[key] = _prepare(store, self.data.weights, job.f, job.take, job.real)
        tableau = self._tableau(task, prepared, job)
        found, after = (_follow if task.follows else _squared)(prepared, job, tableau)
        if tableau.rough and lost(found):
            self.exacting.add(task.lane)
            found, after = _squared(prepared, job, _empty(width=task.width))
        self.slots[task.lane], self.tableaus[task.lane] = task.slots, after
        return _after_zero(np.asarray(found.b)[:, : task.slots.size]), np.asarray(found.steps)

    def _rough(self, task: Task) -> bool:
        """Whether single precision will do, as steps in double make good what it lacks.

        A ridge keeps the equations well conditioned. Without one there is less to gain, and only in wide systems.
        """
        return not task.follows and (bool(task.l2.all()) or task.width >= WIDE) and task.lane not in self.exacting

    def _tableau(self, task: Task, prepared: Any, job: _Job) -> Tableau:
        old, tableau, rough = self.slots.get(task.lane), self.tableaus.get(task.lane), self._rough(task)
        if old is None or tableau is None or task.l2.any():
            # A changing ridge makes the last chunk's tableau as dear to use as a new one is to make.
            return _empty(width=task.width, rough=rough)
        if tableau.members.size == task.width and tableau.rough == rough and np.array_equal(old, task.slots):
            return tableau
        position = _positions(old, task.slots, task.width)
        if worth(int((position[: task.slots.size] < 0).sum()), int((task.start[1:] != 0).sum())):
            return _rearrange(tableau, prepared, job, position, rough=rough)
        return _empty(width=task.width, rough=rough)


class Batch:
    """All lanes as one batch, on the same columns for a loss that needs its Gram anew.

    Where the device has no room for all of them at once, they go in groups of one size.
    """

    individual = False

    def __init__(self, loss: Loss, data: Data) -> None:
        self.loss, self.data = loss, data
        self.slots: list[np.ndarray] = []
        self.tableaus: list[Tableau] = []

    def solve(self, store: Store, tasks: Sequence[Task]) -> list[tuple[np.ndarray, np.ndarray]]:
        """As for `Threads`; the tasks are all lanes in order, of one width."""
        # The Gram, the tableau now and after, its gathered rows, and a product of its size; each sample for a Hessian.
        each = 8 * (6 * tasks[0].width ** 2 + 4 * self.data.target.size)
        size = group_size(len(tasks), each, self.data)
        groups = [min(first, len(tasks) - size) for first in range(0, len(tasks), size)]
        if len(groups) != len(self.tableaus):
            self.tableaus = []  # begun anew in other groups
        found: list[tuple[np.ndarray, np.ndarray] | None] = [None] * len(tasks)
        for group, first in enumerate(groups):
            found[first : first + size] = self._group(store, tasks[first : first + size], group, first)
        self.slots = [task.slots for task in tasks]
        return found  # type: ignore[return-value]

    def _group(self, store: Store, tasks: Sequence[Task], group: int, first: int) -> list:
        width = tasks[0].width
        jobs = jax.tree.map(lambda *leaves: np.stack(leaves), *(_job(task, width) for task in tasks))
        if not isinstance(self.loss, Squared):
            found = _newton_all(self.loss, self.data, store, jobs)
            b, steps = np.asarray(found.b), np.asarray(found.steps)
            return [(b[k][:, : 1 + task.slots.size], steps[k]) for k, task in enumerate(tasks)]
        prepared = _prepare_all(store, self.data.weights, jobs.f, jobs.take, jobs.real)
        if len(self.tableaus) <= group or jobs.strengths.l2.any():
            empty = _empty(width=width)
            begun = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (len(tasks), *leaf.shape)), empty)
            self.tableaus[group : group + 1] = [begun]
        else:
            slots = self.slots[first : first + len(tasks)]
            positions = [_positions(old, task.slots, width) for old, task in zip(slots, tasks, strict=True)]
            self.tableaus[group] = _rearrange_all(self.tableaus[group], prepared, jobs, np.stack(positions))
        solve = _follow_all if all(task.follows for task in tasks) else _squared_all
        found, self.tableaus[group] = solve(prepared, jobs, self.tableaus[group])
        b, steps = np.asarray(found.b), np.asarray(found.steps)
        return [(_after_zero(b[k][:, : t.slots.size]), steps[k]) for k, t in enumerate(tasks)]


def group_size(lanes: int, each: int, data: Data) -> int:
    """How many lanes of so many bytes the device has room for, by its own account; all of them if it gives none."""
    stats = next(iter(data.target.devices())).memory_stats() or {}
    if "bytes_limit" not in stats:
        return lanes
    free = stats["bytes_limit"] - stats.get("bytes_in_use", 0)
    return int(np.clip(ROOM * free // each, 1, lanes))


def make_lanes(loss: Loss, data: Data) -> Threads | Batch:
    """What suits the device that the data are on."""
    return Threads(loss, data) if data.on_cpu else Batch(loss, data)


def _after_zero(b: np.ndarray) -> np.ndarray:
    """Slopes (L, w) behind an intercept of zero; `np.pad` would take fifty times as long."""
    out = np.zeros((len(b), 1 + b.shape[1]))
    out[:, 1:] = b
    return out


def _positions(old: np.ndarray, new: np.ndarray, width: int) -> np.ndarray:
    """Where each new slot stood among the old ones; −1 if nowhere, and for padding."""
    place = np.full(max(old.max(initial=-1), new.max(initial=-1)) + 1, -1, dtype=np.int64)
    place[old] = np.arange(old.size)
    position = np.full(width, -1, dtype=np.int64)
    position[: new.size] = place[new]
    return position


def _anew(task: Task, capacity: int) -> bool:
    """Whether a lane follows its path without the last chunk's tableau: it is narrow, or has all columns at once."""
    return task.follows and (task.width <= ANEW or task.slots.size == capacity)


def _groups(tasks: Sequence[Task], capacity: int) -> list[list[Task]]:
    """Lanes to be followed by one call, those that have all columns; the last ones may be among two groups."""
    if len(tasks) == 1 or not all(task.follows and task.slots.size == capacity for task in tasks):
        return [[task] for task in tasks]
    many = cores() * -(-len(tasks) // (GROUP * cores()))
    size = -(-len(tasks) // many)
    return [list(tasks[first : first + size]) for first in (min(k * size, len(tasks) - size) for k in range(many))]


def _signature(tasks: Sequence[Task]) -> tuple:
    task = tasks[0]
    return len(tasks), task.width, task.l1.size, bool(task.l2.all()), task.follows
