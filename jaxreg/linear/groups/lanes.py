"""One training set's chunk of a path with a group penalty: λ after λ, each begun where the last ones lead."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxreg._programs import program
from jaxreg.linear.active.chunk import GENTLE, SHORT, SLOW, WHOLE, Samples
from jaxreg.linear.active.grams import Store, gram_of
from jaxreg.linear.active.tableau import dot
from jaxreg.linear.columns import Data
from jaxreg.linear.groups.joint import Model, begun, empty, minimize_joint
from jaxreg.linear.groups.parts import Team, norms, residual, spread, value
from jaxreg.linear.groups.ridged import Kind
from jaxreg.linear.groups.steps import minimize, steps_of
from jaxreg.linear.outputs import alike
from jaxreg.linear.threads import in_threads
from jaxreg.losses import Loss, Squared

NEWTONS = 100
"""Most Hessians of a loss at one λ."""


class Task(NamedTuple):
    """Strengths (L,) for the columns `take` (w,) of the store in training set f.

    `start` (d, …) is where it begins, in the coordinates of `team`: d is w, and one more with an intercept in front.
    """

    f: Any
    take: Any
    team: Team
    lams: Any
    start: Any
    tol: Any
    budget: Any
    """Most rounds of the inner solver at one λ."""


class Chunk(NamedTuple):
    """Coefficients (L, d, …), rounds taken (L,)."""

    b: jax.Array
    rounds: jax.Array


def _squared(prepared: tuple[jax.Array, jax.Array, jax.Array], kind: Kind, task: Task, *, size: int) -> Chunk:
    """Solve a chunk for squared error, whose Gram is the same for all λ."""
    gram, linear, free = prepared
    team = task.team._replace(free=free)
    steps = steps_of(gram, team)

    def step(carry: Any, lam: jax.Array) -> tuple[Any, Chunk]:
        b, g, back, last, far = carry
        at = kind.at(lam)
        ahead = _ahead(team, b, back, lam, last, far)
        ahead_g = g + dot(gram, ahead - b)
        gain = jnp.sum((ahead - b) * 0.5 * (g + ahead_g)) + value(at, team, ahead) - value(at, team, b)
        guess, guess_g = jnp.where(gain < 0, ahead, b), jnp.where(gain < 0, ahead_g, g)
        found = minimize(gram, guess, guess_g, steps, at, team, task.tol, task.budget, size)
        return (found.b, found.g, b, lam, last), Chunk(found.b, found.rounds)

    b = jnp.where(alike(team.free, task.start), task.start, 0)
    g = dot(gram, b) - linear
    nowhere = jnp.asarray(jnp.nan)
    return jax.lax.scan(step, (b, g, b, nowhere, nowhere), task.lams)[1]


def _ahead(team: Team, b: jax.Array, back: jax.Array, lam: jax.Array, last: jax.Array, far: jax.Array) -> jax.Array:
    """Where the solutions b at `last` and `back` at `far` lead: the path is nearly straight. NaN: there is none."""
    share = jnp.where(far > last, (last - lam) / jnp.where(far > last, far - last, 1), 0)
    ahead = b + share * (b - back)
    both = spread(team, (norms(team, b) > 0) & (norms(team, back) > 0), b)
    return jnp.where(both & (alike(team.kink == 0, b) | ((b * back > 0) & (b * ahead > 0))), ahead, b)


class _Newton(NamedTuple):
    b: jax.Array
    eta: jax.Array
    g: jax.Array
    gram: jax.Array
    violation: jax.Array
    slow: jax.Array
    damping: jax.Array
    steps: jax.Array
    rounds: jax.Array
    stalled: jax.Array


def _smooth(loss: Loss, prepared: tuple[Samples, jax.Array], kind: Kind, task: Task, *, size: int) -> Chunk:
    """Solve a chunk for any smooth convex loss by proximal Newton steps, damped as in `chunk.newton_chunk`."""
    samples, free = prepared
    target, weights = samples.target, samples.weights
    team = task.team._replace(free=free)

    def step(carry: Any, lam: jax.Array) -> tuple[Any, Chunk]:
        at, (state, back, last, far) = kind.at(lam), carry

        def objective(b: jax.Array, eta: jax.Array) -> jax.Array:
            fit = jnp.sum(jnp.where(weights > 0, weights * loss.value(eta, target), 0))
            return fit + value(at, team, b)

        def placed(state: _Newton, b: jax.Array) -> _Newton:
            eta = samples.predict(b) + samples.offset
            g = samples.correlate(jnp.where(weights > 0, weights * loss.derivative(eta, target), 0))
            return state._replace(b=b, eta=eta, g=g, violation=jnp.max(jnp.abs(residual(at, team, b, g))))

        def renew(state: _Newton) -> jax.Array:
            # A saturated sample has no curvature left; a floor keeps the model bounded, the line search honest.
            curvature = jnp.where(weights > 0, loss.second_derivative(state.eta, target), 0)
            bound = jnp.asarray(loss.curvature, curvature.dtype)
            bound = jnp.where(jnp.isfinite(bound), bound, jnp.max(curvature))
            curvature = jnp.maximum(curvature, 1e-9) + state.damping * bound
            return jnp.where(free[:, None] & free, samples.gram(weights * curvature), 0)

        def body(state: _Newton) -> _Newton:
            b, eta = state.b, state.eta
            gram = jax.lax.cond(state.slow, renew, lambda s: s.gram, state)
            goal = jnp.maximum(0.2 * task.tol, 0.01 * state.violation)
            left = task.budget - state.steps
            found = minimize(gram, b, state.g, steps_of(gram, team), at, team, goal, left, size)
            sound = jnp.all(jnp.isfinite(found.b))
            move = jnp.where(sound, found.b - b, 0)
            eta_move = samples.predict(move)
            now = objective(b, eta)
            # What the model says that the full step gains, without the curvature.
            predicted = jnp.sum(state.g * move) + value(at, team, b + move) - value(at, team, b)

            def enough(t: jax.Array) -> jax.Array:
                to = b + t * move
                trial = objective(to, eta + t * eta_move)
                lower = trial <= now + 1e-4 * t * predicted + 1e-14 * jnp.abs(now)
                # Where rounding hides which value is lower, the residual still tells.
                level = trial <= now + 1e-8 * jnp.abs(now)
                closer = placed(state, to).violation < 0.5 * state.violation
                return jnp.isfinite(trial) & (lower | (level & closer))

            t = jax.lax.while_loop(lambda t: ~enough(t) & (t > 1e-8), lambda t: 0.5 * t, jnp.ones_like(now))
            failed = ~sound | (t < 1e-8)
            # A full step ends on the model's exact zeros; b + 1·(b' − b) would not.
            after = placed(state, jnp.where(failed, b, jnp.where(t == 1, found.b, b + t * move)))
            harder = jnp.clip(10 * state.damping, GENTLE, WHOLE)
            softer = jnp.where(state.damping > GENTLE, 0.1 * state.damping, 0)
            return after._replace(
                gram=gram,
                slow=failed | (after.violation > SLOW * state.violation) | (t < 1),
                damping=jnp.where(failed | (t < SHORT), harder, jnp.where(t == 1, softer, state.damping)),
                steps=state.steps + found.rounds,
                rounds=state.rounds + 1,
                stalled=failed & state.slow & (state.damping >= WHOLE),
            )

        def unfinished(state: _Newton) -> jax.Array:
            more = (state.steps < task.budget) & (state.rounds < NEWTONS)
            return (state.violation > task.tol) & ~state.stalled & more

        zero = jnp.asarray(0)
        state = state._replace(steps=zero, rounds=zero, stalled=jnp.asarray(False))
        here, there = placed(state, state.b), placed(state, _ahead(team, state.b, back, lam, last, far))
        closer = objective(there.b, there.eta) < objective(here.b, here.eta)
        first = jax.tree.map(lambda x, y: jnp.where(closer, x, y), there, here)
        end = jax.lax.while_loop(unfinished, body, first)
        return (end, state.b, lam, last), Chunk(end.b, end.steps)

    d = task.start.size
    b, yes, zero, none = jnp.where(free, task.start, 0), jnp.asarray(True), jnp.asarray(0), jnp.zeros(())
    carry = _Newton(b, jnp.zeros(target.size), b, jnp.zeros((d, d)), none, yes, none, zero, zero, ~yes)
    nowhere = jnp.asarray(jnp.nan)
    return jax.lax.scan(step, (carry, b, nowhere, nowhere), task.lams)[1]


def _joint(loss: Loss, prepared: tuple[Samples, jax.Array], kind: Kind, task: Task, *, size: int) -> Chunk:
    """Solve a chunk for a smooth loss of several predictions."""
    samples, free = prepared
    team = task.team._replace(free=free)

    def step(carry: Any, lam: jax.Array) -> tuple[Any, Chunk]:
        (state, back, last, far), model = carry, Model(loss, samples, kind.at(lam), team)
        here = model.place(state, state.b)
        there = model.place(state, _ahead(team, state.b, back, lam, last, far))
        first = jax.tree.map(lambda x, y: jnp.where(there.height < here.height, x, y), there, here)
        end = minimize_joint(model, begun(first), task.tol, task.budget, size)
        return (end, state.b, lam, last), Chunk(end.b, end.rounds)

    b = jnp.where(alike(free, task.start), task.start, 0)
    nowhere = jnp.asarray(jnp.nan)
    return jax.lax.scan(step, (empty(b, samples.offset), b, nowhere, nowhere), task.lams)[1]


@program()
def prepare(loss: Loss, data: Data, store: Store, task: Task) -> tuple[Any, ...]:
    """What the solver asks of the store, whose size it need not know: a Gram, or samples; and which may be nonzero."""
    columns, f, take = store.columns, task.f, task.take
    free = columns.free[f, 1:][take]
    if isinstance(loss, Squared):
        free = free & task.team.free
        gram = jnp.where(free[:, None] & free, gram_of(store, data.weights, f, take), 0)
        linear = store.linear[f][..., take].T
        return gram, jnp.where(alike(free, linear), linear, 0), free
    free = jnp.concatenate([columns.free[f, :1], free]) & task.team.free
    shift, scale = columns.shift[f][take], columns.scale[f][take]
    return Samples(columns.x[:, take], shift, scale, data.target, data.offset, data.weights[f]), free


@program(static=("size",))
def solve_lane(loss: Loss, prepared: Any, kind: Kind, task: Task, *, size: int) -> Chunk:
    """Solve a chunk of one training set, from what was prepared."""
    if isinstance(loss, Squared):
        return _squared(prepared, kind, task, size=size)
    if task.start.ndim > 1:
        return _joint(loss, prepared, kind, task, size=size)
    return _smooth(loss, prepared, kind, task, size=size)


@program(static=("size",))
def _run_all(loss: Loss, data: Data, store: Store, kind: Kind, tasks: Task, *, size: int) -> Chunk:
    def one(task: Task) -> Chunk:
        return solve_lane.jitted(loss, prepare.jitted(loss, data, store, task), kind, task, size=size)

    return jax.vmap(one)(tasks)


def solve(
    loss: Loss, data: Data, store: Store, kind: Kind, tasks: Sequence[Task], size: int, one_by_one: bool
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Coefficients (L, d, …) and rounds (L,) of every task: in threads, or as one batch of tasks of one width."""
    if not one_by_one:
        batch = jax.tree.map(lambda *leaves: np.stack(leaves), *tasks)
        found = _run_all(loss, data, store, kind, batch, size=size)
        b, rounds = np.asarray(found.b), np.asarray(found.rounds)
        return list(zip(b, rounds, strict=True))

    def run(task: Task) -> tuple[np.ndarray, np.ndarray]:
        found = solve_lane(loss, prepare(loss, data, store, task), kind, task, size=size)
        return np.asarray(found.b), np.asarray(found.rounds)

    kinds = type(loss), type(kind), store.capacity, store.columns.x.shape, store.moments.shape, size
    return in_threads(run, tasks, lambda task: ("groups", kinds, task.start.shape, task.lams.size))
