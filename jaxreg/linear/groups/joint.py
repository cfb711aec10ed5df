"""One training set's chunk of a path for a smooth loss of several predictions: rows of coefficients, λ after λ.

The Hessian of such a loss ties outputs together, and is never formed. A bound of it, one Gram for all outputs, moves
rows to zero and away, as for squared error; Newton steps on the rows that are not zero solve for the Hessian itself by
conjugate gradients, for which the bound is the preconditioner.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxreg.linear.active.chunk import Samples
from jaxreg.linear.active.tableau import dot
from jaxreg.linear.groups.eliminate import by_size, invert_last
from jaxreg.linear.groups.parts import Team, asleep, nearby, residual, spread, sums, value
from jaxreg.linear.groups.ridged import Kind
from jaxreg.linear.groups.rows import SHARES, prepare
from jaxreg.linear.groups.steps import minimize, steps_of
from jaxreg.linear.outputs import alike, per_sample
from jaxreg.losses import Loss

FORCING, CONJUGATE = 0.02, 60
"""Share of a Newton system's right side that conjugate gradients leave, and the most of them."""
JITTER = 1e-5
"""Of the preconditioner, see `rows.solve_rows`."""
ROUNDS = 3
"""Most rounds of the inner solver on a bound of the loss."""
SHORTEST = 1e-8
"""Step of a line search below which it has failed."""


class State(NamedTuple):
    """Coefficients b (d, k), and there: predictions (n, k), gradient, objective, residual, largest residual."""

    b: jax.Array
    eta: jax.Array
    g: jax.Array
    height: jax.Array
    residual: jax.Array
    violation: jax.Array
    gram: jax.Array
    """Of the bound, (d, d)."""
    stale: jax.Array
    """Whether it is to be made anew."""
    sweep: jax.Array
    """Whether the next round begins on the bound."""
    rounds: jax.Array
    stalled: jax.Array


def empty(b: jax.Array, eta: jax.Array) -> State:
    """A state of these shapes."""
    d, zero, yes = b.shape[0], jnp.zeros(()), jnp.asarray(True)
    return State(b, jnp.zeros_like(eta), b, zero, b, zero, jnp.zeros((d, d)), yes, yes, jnp.asarray(0), ~yes)


def begun(state: State) -> State:
    """A state at which a new strength begins."""
    yes = jnp.asarray(True)
    return state._replace(stale=yes, sweep=yes, rounds=jnp.asarray(0), stalled=~yes)


class Model(NamedTuple):
    """What is minimized: mean loss and penalty, of the rows of a team."""

    loss: Loss
    samples: Samples
    kind: Kind
    team: Team

    def place(self, state: State, b: jax.Array) -> State:
        """Move to b."""
        target, weights = self.samples.target, self.samples.weights
        eta = self.samples.predict(b) + self.samples.offset
        g = self.samples.correlate(_weighted(weights, self.loss.derivative(eta, target)))
        height = per_sample(weights, self.loss.value(eta, target)) + value(self.kind, self.team, b)
        g = jnp.where(alike(self.team.free, g), g, 0)
        rest = residual(self.kind, self.team, b, g)
        return state._replace(b=b, eta=eta, g=g, height=height, residual=rest, violation=jnp.max(jnp.abs(rest)))

    def bound(self, eta: jax.Array) -> jax.Array:
        """Gram (d, d) that bounds the Hessian, whatever the direction among outputs: by Gershgorin's circles."""
        target, free = self.samples.target, self.team.free

        def row(unit: jax.Array) -> jax.Array:
            direction = jnp.broadcast_to(unit, eta.shape)
            return jnp.sum(jnp.abs(self.loss.hessian_product(eta, target, direction)), axis=1)

        widest = jnp.max(jax.lax.map(row, jnp.eye(eta.shape[1])), axis=0)
        # A saturated sample has no curvature left; a floor keeps the model bounded, the line search honest.
        curvature = jnp.maximum(jnp.where(self.samples.weights > 0, widest, 0), 1e-9)
        return jnp.where(free[:, None] & free, self.samples.gram(self.samples.weights * curvature), 0)

    def bend(self, eta: jax.Array, way: jax.Array) -> jax.Array:
        """Hessian of the mean loss times a direction (d, k)."""
        move = self.loss.hessian_product(eta, self.samples.target, self.samples.predict(way))
        return self.samples.correlate(_weighted(self.samples.weights, move))

    def search(
        self, state: State, ahead: Callable[[jax.Array], jax.Array], downhill: jax.Array
    ) -> tuple[State, jax.Array]:
        """Go to ahead(t) for the longest t = 1, ½, … that descends: where that is, and t; 0 if none does."""

        def enough(t: jax.Array, to: State) -> jax.Array:
            lower = to.height <= state.height + 1e-4 * t * downhill
            # Where rounding hides which is lower, the residual tells.
            level = to.height <= state.height + 1e-13 * jnp.abs(state.height)
            return jnp.isfinite(to.height) & (lower | (level & (to.violation < 0.5 * state.violation)))

        def shorten(now: tuple[jax.Array, State]) -> tuple[jax.Array, State]:
            t = jnp.where(now[0] > 0, 0.5 * now[0], 1)
            return t, self.place(state, ahead(t))

        def unfinished(now: tuple[jax.Array, State]) -> jax.Array:
            return sound & ~((now[0] > 0) & enough(*now)) & ((now[0] == 0) | (now[0] > SHORTEST))

        sound = jnp.isfinite(downhill) & (downhill < 0)
        t, to = jax.lax.while_loop(unfinished, shorten, (jnp.zeros(()), state))
        good = sound & (t > SHORTEST)
        return jax.tree.map(lambda x, y: jnp.where(good, x, y), to, state), jnp.where(good, t, 0)


def minimize_joint(model: Model, state: State, tol: jax.Array, budget: jax.Array, size: int) -> State:
    """Minimize mean loss and penalty from a state that is in place, to a residual of at most `tol`.

    Args:
        model: loss and penalty.
        state: where to begin.
        tol: bound on the residual.
        budget: bound on the rounds, each on the bound, or a Newton step, or both.
        size: bound on the rows of a group; structure.

    Source: Böhning (1992), "Multinomial logistic regression algorithm", Ann. Inst. Stat. Math. 44, for a bound that is
    the same for all outputs; Dembo, Eisenstat & Steihaug (1982), "Inexact Newton methods", SIAM J. Numer. Anal. 19.
    """
    team, kind = model.team, model.kind

    def swept(state: State) -> tuple[State, jax.Array]:
        goal = jnp.maximum(0.2 * tol, 0.01 * state.violation)
        steps = steps_of(state.gram, team)
        found = minimize(state.gram, state.b, state.g, steps, kind, team, goal, jnp.asarray(ROUNDS), size).b
        move = found - state.b
        gain = jnp.sum(state.g * move) + value(kind, team, found) - value(kind, team, state.b)
        # A full step ends on the model's exact zeros; b + 1·(b′ − b) would not.
        return model.search(state, lambda t: jnp.where(t == 1, found, state.b + t * move), gain)

    def body(before: State) -> State:
        gram = jax.lax.cond(before.stale, lambda s: model.bound(s.eta), lambda s: s.gram, before)
        state = before._replace(gram=gram)
        state, first = jax.lax.cond(before.sweep, swept, lambda s: (s, jnp.ones(())), state)
        move, downhill, norm = _newton(model, state, size)

        def ahead(t: jax.Array) -> jax.Array:
            to = state.b + t * move
            gone = (norm > 0) & (team.weight > 0) & (sums(team, state.b * to) <= 0)
            return jnp.where(spread(team, gone, to), 0, to)

        after, t = model.search(state, ahead, downhill)
        wanted = jnp.any(asleep(team, after.b) & (jnp.abs(after.residual) > jnp.maximum(tol, 0.1 * after.violation)))
        slow = after.violation > 0.5 * before.violation
        return after._replace(
            stale=(first < 1) | (t < 1) | slow,
            sweep=(t < 1) | wanted | slow,
            rounds=before.rounds + 1,
            stalled=before.sweep & before.stale & (first == 0) & (t == 0),
        )

    def unfinished(state: State) -> jax.Array:
        return (state.violation > tol) & (state.rounds < budget) & ~state.stalled

    return jax.lax.while_loop(unfinished, body, state)


def _newton(model: Model, state: State, size: int) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Newton direction (d, k) on the rows that are not zero, the slope along it, and the norms of groups (d,)."""
    team, b = model.team, state.b
    near = nearby(model.kind, team, b, True)
    extra, along, unit = near.extra, near.along, near.unit
    active = team.free & near.awake[team.label]
    steep = jnp.where(active[:, None], state.g + near.pull, 0)

    def solve(at: jax.Array, real: jax.Array, count: jax.Array) -> jax.Array:
        parts = prepare(state.gram, team.label, extra, along, unit, JITTER, at, real, count, alone=size == 1)
        inner = invert_last(parts.core, count)
        place = jnp.where(real, at, b.shape[0])

        def better(r: jax.Array) -> jax.Array:
            return parts.solve(r, lambda z: dot(inner, z))

        def times(x: jax.Array) -> jax.Array:
            full = jnp.zeros_like(b).at[place].set(x, mode="drop")
            bent = full * alike(extra, full) + unit * spread(team, sums(team, unit * full), full) * alike(along, full)
            return jnp.where(real[:, None], (model.bend(state.eta, full) + bent)[at], 0)

        return conjugate_gradients(times, better, jnp.where(real[:, None], -steep[at], 0))

    move = by_size(solve, active, SHARES)
    return move, jnp.sum(steep * move), near.norm


def conjugate_gradients(
    times: Callable[[jax.Array], jax.Array], better: Callable[[jax.Array], jax.Array], right: jax.Array
) -> jax.Array:
    """Solve A x = right to a share of `FORCING`, for A and a preconditioner that are functions."""
    enough = FORCING**2 * jnp.sum(jnp.square(right))

    def step(now: Any) -> Any:
        x, r, way, size, count = now
        bent = times(way)
        length = size / jnp.sum(way * bent)
        x, r = x + length * way, r - length * bent
        y = better(r)
        after = jnp.sum(r * y)
        return x, r, y + after / size * way, after, count + 1

    def unfinished(now: Any) -> jax.Array:
        return (jnp.sum(jnp.square(now[1])) > enough) & (now[3] > 0) & (now[4] < CONJUGATE)

    way = better(right)
    first = (jnp.zeros_like(right), right, way, jnp.sum(right * way), jnp.asarray(0))
    return jax.lax.while_loop(unfinished, step, first)[0]


def _weighted(weights: jax.Array, rows: jax.Array) -> jax.Array:
    weights = alike(weights, rows)
    return jnp.where(weights > 0, weights * rows, 0)
