"""The march of one lane as one program, where rows are few: no λ waits for the host.

A lasso has no more active columns than rows. Where those are few one width has room for all that may become active on
the whole path, and what surrounds a chunk took longer than what it computes. So the rounds of `march` (screen, gather,
solve, certify) are those of a loop on the device; what it cannot do, it leaves to `march`.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxreg._programs import program
from jaxreg.linear.active import screen
from jaxreg.linear.active.breakpoints import follow
from jaxreg.linear.active.grams import FEW_ROWS
from jaxreg.linear.active.judge import judge, of_sets
from jaxreg.linear.active.lanes import group_size
from jaxreg.linear.active.sides import columns_at_once
from jaxreg.linear.active.tableau import Tableau, dot
from jaxreg.linear.columns import Data, gather_padded
from jaxreg.linear.design import Design, Views
from jaxreg.linear.null import Null
from jaxreg.linear.problem import Piece, Problem
from jaxreg.linear.sizes import SMALL, rounded
from jaxreg.linear.threads import in_threads
from jaxreg.losses import Loss, Squared

WINDOW = 10
"""λ solved between certificates."""
STRIDE = 0.05
"""Largest step in log λ: what lies farther apart has others between, so that few columns enter in a window."""
SPARE, STEP = 56, 32
"""Columns beside as many as there are rows, and what the sum is rounded up to."""
WIDE = 3
"""Columns for each one in the working set, from which a working set is worth it."""
ROUNDS = 2
"""Rounds for each λ, after which the lane is given up."""


class _Found(NamedTuple):
    """Of every λ, and of as many more as a window has: coefficients (w,), of which columns (w,), and the rest."""

    b: jax.Array
    column: jax.Array
    gap: jax.Array
    kkt: jax.Array
    deviance: jax.Array
    steps: jax.Array


class _Runner(NamedTuple):
    """Where a lane stands: solved up to λ number `at`, with the last solution and what is known of gradients."""

    at: jax.Array
    b: jax.Array
    begin: jax.Array
    """The λ that b (p,) is of."""
    gradient: jax.Array
    """(p,) at `here`; at `there` it was `before`."""
    before: jax.Array
    here: jax.Array
    there: jax.Array
    wanted: jax.Array
    """(p,) columns that the last working set turned out to lack."""
    aim: jax.Array
    """How many λ of the window are tried; 0 if even one is too many."""
    rounds: jax.Array
    found: _Found


def room(rows: int) -> int:
    """Width of working sets."""
    return -(-(rows + SPARE) // STEP) * STEP


def suits(problem: Problem, l1: np.ndarray, l2: np.ndarray) -> bool:
    """Whether the strengths are a lasso's, its rows few and its columns many."""
    n, p = problem.size
    mean_only = problem.plain and problem.null.basis.shape[2] == 1 and bool((problem.factor > 0).all())
    lasso = isinstance(problem.loss, Squared) and mean_only and len(l1) == 1 and bool(l1.all()) and not l2.any()
    return lasso and n <= FEW_ROWS and p >= WIDE * room(n)


def sprint(
    problem: Problem,
    l1: np.ndarray,
    tol: float,
    finest: float,
    report: Callable[[int, int], None] | None = None,
) -> Piece | None:
    """Solve for strengths l1 (L,) in every training set; None if a lane was given up.

    `report` is called with the number of lanes done and their total, in units of λ.
    """
    data, sets = problem.data, len(problem.data.weights)
    enters = float(np.max(np.abs(np.asarray(problem.null.gradient)) / problem.factor))
    dense, which = _with_steps(l1, enters)
    length = dense.size
    # The last λ is repeated, up to one of few numbers, so that theirs compiles nothing.
    padded = np.full(rounded(max(length, SMALL), steps=1) + WINDOW, l1[-1])
    padded[:length] = dense
    slack = 10 * max(1e-2 * tol, finest)
    (n, p), width = problem.size, room(problem.size[0])
    static = {"width": width, "block": columns_at_once(WINDOW, p, data.on_cpu)}
    shared = problem.design, problem.views, problem.loss, data, problem.null
    rest = padded, np.int64(length), problem.factor, problem.intercept, tol, slack
    # What is found, some numbers for every column in each window, and the lane's tableau.
    each = 8 * (2 * padded.size * width + 4 * WINDOW * p + 6 * width**2)
    size = 1 if data.on_cpu else group_size(sets, each, data)

    def run(first: int) -> _Found | None:
        begin = min(first, sets - size)  # all groups are of one size
        done, found = _run(np.arange(begin, begin + size), *shared, *rest, **static)
        return jax.tree.map(lambda part: np.asarray(part)[first - begin :], found) if done.all() else None

    def told(done: int, groups: int) -> None:
        if report is not None:
            report(l1.size * done // groups, l1.size)

    signature = "sprint", type(problem.design), n, p, padded.size, sets, size
    parts = in_threads(run, range(0, sets, size), lambda _: signature, report=told)
    if any(part is None for part in parts):
        return None
    found = jax.tree.map(lambda *lanes: np.concatenate(lanes), *parts)
    since = np.diff(np.cumsum(found.steps, axis=1)[:, which], axis=1, prepend=0)
    return _piece(problem, jax.tree.map(lambda part: part[:, which], found)._replace(steps=since))


def _with_steps(l1: np.ndarray, enters: float) -> tuple[np.ndarray, np.ndarray]:
    """Strengths with others before and between them, a stride apart at most from `enters` on; and where they are."""
    logs = np.log(np.r_[max(enters, l1[0]), l1])
    many = np.maximum(np.ceil(np.diff(-logs) / STRIDE - 1e-6), 1).astype(int)
    which = np.cumsum(many) - 1
    dense = np.exp(np.interp(np.arange(1, 1 + many.sum()), np.r_[0, 1 + which], logs))
    dense[which] = l1
    return dense, which


def _piece(problem: Problem, found: _Found) -> Piece:
    """What was found, (F, L, …), of all columns that any solution has."""
    f, at, k = np.nonzero(found.b)
    column = found.column[f, at, k]
    used = np.zeros(problem.size[1], dtype=bool)
    used[column] = True
    b = np.zeros((*found.gap.T.shape, 1, 1 + np.count_nonzero(used)))
    b[..., 0, 0] = np.asarray(problem.null.coef)[:, 0]
    b[at, f, 0, np.cumsum(used)[column]] = found.b[f, at, k]
    gap, kkt, deviance, steps = (np.asarray(part).T[..., None] for part in found[2:])
    return Piece(np.flatnonzero(used), b, gap, kkt, deviance, steps, np.full(gap.shape, np.nan))


@program(static=("width", "block"))
def _run(which: jax.Array, *about: Any, width: int, block: int) -> tuple[jax.Array, _Found]:
    """All that `_lane` says of the lanes `which` (m,)."""

    def one(f: jax.Array) -> tuple[jax.Array, _Found]:
        return _lane(f, *about, width=width, block=block)

    # XLA does not see through a batch of one.
    return jax.vmap(one)(which) if which.size > 1 else jax.tree.map(lambda part: part[None], one(which[0]))


def _lane(
    f: jax.Array,
    design: Design,
    views: Views,
    loss: Loss,
    data: Data,
    null: Null,
    l1: jax.Array,
    length: jax.Array,
    factor: jax.Array,
    intercept: jax.Array,
    tol: jax.Array,
    slack: jax.Array,
    *,
    width: int,
    block: int,
) -> tuple[jax.Array, _Found]:
    """Whether lane f was solved, and what was found for `length` of the strengths l1.

    A λ is solved if its relative gap is `tol` at most, and no gradient exceeds its bound by more than `slack`.
    """
    views, null, weights = of_sets(f[None], views, null, data.weights)
    data = data._replace(weights=weights)
    start, p = null.gradient[0], factor.size
    most = jnp.max(jnp.abs(start) / factor)
    level = null.coef[:, :1]

    def go(runner: _Runner) -> _Runner:
        lams = jax.lax.dynamic_slice_in_dim(l1, runner.at, WINDOW)[jnp.minimum(jnp.arange(WINDOW), runner.aim - 1)]
        near = screen.closeness(runner.gradient, runner.before, factor, runner.here, runner.there, lams[-1])
        # Members first, then what was missing; what does not vary is never taken.
        near = jnp.where(runner.wanted, jnp.maximum(near, 1e30), near)
        near = jnp.where(views.varies[0], jnp.where(runner.b != 0, jnp.inf, near), -1)
        take = jax.lax.top_k(near.astype(jnp.float32), width)[1]
        columns = gather_padded.jitted(design, views, take, jnp.ones(width, bool), intercept)
        x = columns.x * (jnp.sqrt(weights[0])[:, None] / columns.scale[0])
        solved, _ = follow(
            dot(x.T, x),
            -start[take],
            columns.free[0, 1:],
            lams,
            factor[take],
            runner.b[take],
            runner.begin,
            Tableau.empty(width),
        )
        b = jnp.concatenate([jnp.broadcast_to(level, (WINDOW, 1)), solved.b], axis=1)
        place = jnp.zeros(p, int).at[take].set(1 + jnp.arange(width))
        one = lams[None, None], jnp.zeros((1, 1, WINDOW)), factor, b[:, None, None], jnp.zeros(1, int)
        gap, kkt, deviance, excess, last, before = judge.jitted(
            design, views, loss, data, null, columns, place, *one, width=block
        )
        gap, kkt, deviance = (part[:, 0, 0] for part in (gap, kkt, deviance))
        good = (gap <= tol) & (kkt <= slack)
        whole = jnp.all(good)
        good = jnp.where(whole, runner.aim, jnp.argmin(good))
        lost = (excess[0] > slack * jnp.max(jnp.abs(start))) & views.varies[0] & (place == 0)
        # What was solved before the first λ that lacks a column stays; the next window begins there.
        reached = jnp.maximum(good - 1, 0)
        moved = good > 0
        wanted = jnp.where(moved, lost, lost | runner.wanted)
        # Fewer λ need fewer columns, if there is no room for all that are missing.
        again = jnp.any(wanted & ~runner.wanted) & (jnp.sum(wanted | (runner.b != 0)) <= width)
        aim = jnp.where(moved | again, runner.aim, runner.aim // 2)
        news = _Found(solved.b, jnp.broadcast_to(take, (WINDOW, width)), gap, kkt, deviance, solved.steps)
        return _Runner(
            at=runner.at + good,
            b=jnp.where(moved, jnp.zeros(p).at[take].set(solved.b[reached]), runner.b),
            begin=jnp.where(moved, lams[reached], runner.begin),
            gradient=jnp.where(whole, last[0], runner.gradient),
            before=jnp.where(whole, before[0], runner.before),
            here=jnp.where(whole, lams[-1], runner.here),
            there=jnp.where(whole, lams[-2], runner.there),
            wanted=wanted & (moved | again),
            aim=jnp.where(whole, jnp.minimum(2 * aim, WINDOW), aim),
            rounds=runner.rounds + 1,
            found=jax.tree.map(
                lambda all_, some: jax.lax.dynamic_update_slice_in_dim(all_, some.astype(all_.dtype), runner.at, 0),
                runner.found,
                news,
            ),
        )

    def goes_on(runner: _Runner) -> jax.Array:
        return (runner.at < length) & (runner.aim > 0) & (runner.rounds < ROUNDS * (length + WINDOW))

    size = l1.size
    each = jnp.zeros(size)
    none = _Found(jnp.zeros((size, width)), jnp.zeros((size, width), int), each, each, each, jnp.zeros(size, int))
    here = jnp.maximum(most, l1[0])
    zero, aim = jnp.asarray(0), jnp.asarray(WINDOW)
    first = _Runner(zero, jnp.zeros(p), here, start, start, here, here, jnp.zeros(p, bool), aim, zero, none)
    last = jax.lax.while_loop(goes_on, go, first)
    return last.at >= length, last.found
