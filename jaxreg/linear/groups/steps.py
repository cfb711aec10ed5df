"""The inner solver of group penalties: sweeps over groups find which are active, Newton steps finish."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxreg.linear.active.tableau import dot
from jaxreg.linear.groups.eliminate import by_size, solve_last
from jaxreg.linear.groups.parts import Team, asleep, nearby, residual, spread, sums, value
from jaxreg.linear.groups.ridged import Kind
from jaxreg.linear.groups.rows import solve_rows
from jaxreg.linear.outputs import alike

TAME = 4
"""Newton steps that leave concave curvature out, after one that failed."""
SHORTEST, LONGEST = 1e-6, 1e6
"""Step of a line search below which it has failed, and the longest one without concave curvature."""
LEAST, MOST = 1e-13, 1e-5
"""What is added to the diagonal of a system, as a share of its largest entry: duplicates have no other curvature."""


_Trial = tuple[jax.Array, jax.Array, jax.Array, jax.Array]
"""A step's length, where it ends, the gradient there, and what it gains."""


class Found(NamedTuple):
    """Solution, gradient there, largest residual, rounds."""

    b: jax.Array
    g: jax.Array
    violation: jax.Array
    rounds: jax.Array


class _State(NamedTuple):
    b: jax.Array
    g: jax.Array
    residual: jax.Array
    violation: jax.Array
    sweep: jax.Array
    """Whether the next round begins with a sweep."""
    tame: jax.Array
    """For how many rounds Newton steps leave the concave part of the penalty's curvature out."""
    rounds: jax.Array


def steps_of(gram: jax.Array, team: Team) -> jax.Array:
    """Steps (d,) at which a proximal gradient step of a group descends: one over the Frobenius norm of its block."""
    same = team.label[:, None] == team.label
    size = jnp.sqrt(sums(team, jnp.sum(jnp.where(same, jnp.square(gram), 0), axis=1)))
    return 1 / jnp.maximum(size, 1e-12 * jnp.max(size) + 1e-300)


def minimize(
    gram: jax.Array,
    b: jax.Array,
    g: jax.Array,
    steps: jax.Array,
    kind: Kind,
    team: Team,
    tol: jax.Array,
    budget: jax.Array,
    size: int,
) -> Found:
    """Minimize gᵀ(z − b) + ½(z − b)ᵀG(z − b) + penalty(z), from b, to a residual of at most `tol`.

    The objective never increases. Group by group, a proximal gradient step with the block's own length majorizes it,
    and moves groups to zero and away. On the nonzero ones the penalty is smooth: Newton steps with its curvature
    converge quadratically; a coordinate or group that they would carry past zero stops there.

    Args:
        gram: G, (d, d).
        b: start, (d,), or (d, k) of k outputs that share the Gram: the quadratic's is then I ⊗ G.
        g: gradient of the quadratic there, of the same shape.
        steps: of each group, as `steps_of` gives them.
        kind: the penalty, at its strength.
        team: the groups.
        tol: bound on the residual.
        budget: bound on the rounds, each a sweep, or a Newton step, or both.
        size: bound on the coordinates of a group, or its rows; structure.

    Source: Yuan & Lin (2006), JRSS B 68, for descent by groups; Tseng & Yun (2009), "A coordinate gradient descent
    method for nonsmooth separable minimization", Math. Program. 117; Yamashita & Fukushima (2001), "On the rate of
    convergence of the Levenberg-Marquardt method", Computing Suppl. 15, for Newton steps where solutions are many.
    """

    def placed(state: _State, b: jax.Array, g: jax.Array) -> _State:
        rest = residual(kind, team, b, g)
        return state._replace(b=b, g=g, residual=rest, violation=jnp.max(jnp.abs(rest)))

    def body(state: _State) -> _State:
        b, g = jax.lax.cond(
            state.sweep,
            lambda s: sweep(gram, s.b, s.g, s.residual, steps, kind, team, size),
            lambda s: (s.b, s.g),
            state,
        )
        b, g, t = newton(gram, b, g, kind, team, state.tame > 0, size)
        after = placed(state, b, g)
        failed = t == 0
        # Groups that should leave zero need a sweep; Newton steps that go well do not.
        wanted = jnp.any(asleep(team, b) & (jnp.abs(after.residual) > jnp.maximum(tol, 0.1 * after.violation)))
        return after._replace(
            sweep=failed | (t < 1) | wanted | (after.violation > 0.5 * state.violation),
            tame=jnp.where(failed & (state.tame == 0), TAME, jnp.maximum(state.tame - 1, 0)),
            rounds=state.rounds + 1,
        )

    yes = jnp.asarray(True)
    zero = jnp.asarray(0)
    state = placed(_State(b, g, b, jnp.zeros(()), yes, zero, zero), jnp.where(alike(team.free, b), b, 0), g)
    state = state._replace(sweep=jnp.any(asleep(team, state.b) & (jnp.abs(state.residual) > tol)))
    end = jax.lax.while_loop(lambda s: (s.violation > tol) & (s.rounds < budget), body, state)
    return Found(end.b, end.g, end.violation, end.rounds)


def sweep(
    gram: jax.Array,
    b: jax.Array,
    g: jax.Array,
    rest: jax.Array,
    steps: jax.Array,
    kind: Kind,
    team: Team,
    size: int,
) -> tuple[jax.Array, jax.Array]:
    """One proximal gradient step of each group in turn, where it is not zero or would not stay so: b and gradient."""
    d = b.shape[0]
    size = min(size, d)
    touch = sums(team, jnp.where((b != 0) | (rest != 0), 1.0, 0.0)) > 0

    def move(k: jax.Array, state: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        b, g = state
        at = jnp.minimum(team.start[k], d - size)
        label, free, kink, old, slope = (
            jax.lax.dynamic_slice_in_dim(part, at, size) for part in (team.label, team.free, team.kink, b, g)
        )
        inside, step = alike((label == k) & free, old), steps[k]
        ahead = old - step * slope
        ahead = jnp.sign(ahead) * jnp.maximum(jnp.abs(ahead) - step * kind.lam * alike(kink, old), 0)
        norm = jnp.sqrt(jnp.sum(jnp.where(inside, jnp.square(ahead), 0)))
        ratio = kind.group_prox(norm, team.weight[k], step) / jnp.where(norm > 0, norm, 1)
        new = jnp.where(inside, ahead * ratio, old)
        change = dot(jax.lax.dynamic_slice_in_dim(gram, at, size).T, new - old)
        return jax.lax.dynamic_update_slice_in_dim(b, new, at, 0), g + change

    def one(k: jax.Array, state: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        return jax.lax.cond(touch[k], lambda s: move(k, s), lambda s: s, state)

    return jax.lax.fori_loop(0, team.count, one, (b, g))


def newton(
    gram: jax.Array, b: jax.Array, g: jax.Array, kind: Kind, team: Team, tame: jax.Array, size: int
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Newton step on what is not zero, with a line search: b, gradient and the step's length, 0 if it failed."""
    near = nearby(kind, team, b, tame)
    norm, label = near.norm, team.label
    kinked = alike(team.kink > 0, b)
    active = alike(team.free, b) & jnp.where(kinked, b != 0, spread(team, near.awake, b))
    steep = jnp.where(active, g + near.pull + alike(kind.lam * team.kink, b) * jnp.sign(b), 0)
    before = jnp.max(jnp.abs(residual(kind, team, b, g)))
    # The farther, the more: where solutions are many, such steps still converge superlinearly to one of them.
    scale = jnp.max(alike(jnp.diagonal(gram), b) * jnp.abs(b))
    jitter = jnp.clip(before / jnp.where(scale > 0, scale, 1), LEAST, MOST)
    about = gram, label, near.extra, near.along, near.unit
    if b.ndim > 1:
        move = -solve_rows(*about, active[:, 0], steep, jitter, alone=size == 1)
    else:
        move = -_solve(*about, active, steep, jitter)
    downhill = jnp.sum(steep * move)
    sound = jnp.all(jnp.isfinite(move)) & (downhill < 0)
    move, downhill = jnp.where(sound, move, 0), jnp.where(sound, downhill, 0)
    now = value(kind, team, b)

    def trial(t: jax.Array) -> _Trial:
        to = b + t * move
        to = jnp.where(kinked & (to * b < 0), 0, to)
        gone = (norm > 0) & (team.weight > 0) & (sums(team, b * to) <= 0)
        to = jnp.where(spread(team, gone, b), 0, to)
        way = to - b
        ahead = g + dot(gram, way)
        gain = jnp.sum(way * 0.5 * (g + ahead)) + (value(kind, team, to) - now)
        return t, to, ahead, gain

    def enough(state: _Trial) -> jax.Array:
        t, to, ahead, gain = state
        # Where rounding hides which is lower, the residual tells.
        level = gain <= 1e-14 * (jnp.abs(now) + jnp.sum(jnp.abs(g * b)))
        closer = jnp.max(jnp.abs(residual(kind, team, to, ahead))) < 0.5 * before
        return (gain <= 1e-4 * t * downhill) | (level & closer)

    def shorten(state: _Trial) -> _Trial:
        return trial(jnp.where(state[0] > 0, 0.5 * state[0], 1))

    def lengthen(state: tuple[_Trial, jax.Array]) -> tuple[_Trial, jax.Array]:
        far = trial(2 * state[0][0])
        better = (far[3] < state[0][3]) & (far[0] <= LONGEST)
        return jax.tree.map(lambda x, y: jnp.where(better, x, y), far, state[0]), better

    zero = jnp.zeros_like(now)
    none: _Trial = (zero, b, g, zero)
    state = jax.lax.while_loop(
        lambda s: sound & ~((s[0] > 0) & enough(s)) & ((s[0] == 0) | (s[0] > SHORTEST)), shorten, none
    )
    good = sound & (state[0] > SHORTEST)
    # What is left out makes steps too short, near a saddle by far.
    state, _ = jax.lax.while_loop(lambda s: s[1], lengthen, (state, tame & good & (state[0] == 1)))
    t, to, ahead, _ = jax.tree.map(lambda x, y: jnp.where(good, x, y), state, none)
    return to, ahead, t


def _solve(
    gram: jax.Array,
    label: jax.Array,
    extra: jax.Array,
    along: jax.Array,
    unit: jax.Array,
    active: jax.Array,
    right: jax.Array,
    jitter: jax.Array,
) -> jax.Array:
    """Solve (G + diag(extra) + along · unit unitᵀ within groups) x = right for the active coordinates; 0 elsewhere."""
    most = jnp.max(jnp.where(active, jnp.diagonal(gram), 0))
    most = jnp.where(most > 0, most, 1)

    def solve(at: jax.Array, real: jax.Array, count: jax.Array) -> jax.Array:
        mine, u = label[at], unit[at]
        system = gram[at][:, at] + jnp.where(mine[:, None] == mine, (along[at] * u)[:, None] * u, 0)
        system = jnp.where(real[:, None] & real, system, 0)
        diagonal = jnp.where(real, extra[at] + jitter * most, 1)
        return solve_last(system + jnp.diag(diagonal), jnp.where(real, right[at], 0), count)

    return by_size(solve, active, (0.5, 1.0))
