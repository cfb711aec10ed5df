"""The inner solver: a block active-set method for quadratic problems with kinks, exact at its end."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxreg.linear.active.tableau import Tableau, dot
from jaxreg.linear.active.walk import slope, walk

HARD = 3
"""Conjugate gradient rounds after which the tableau is made anew: those of a ridge that has changed too much."""
LONG = 8
"""Steps after which the tableau is no longer believed."""
SHAKY = 1e6
"""Largest diagonal entry of the inverse, times that of the Gram, up to which a tableau's rounding is small."""
LEAVERS, SOON = 16, 8
"""Most entries sent to zero at once because the equations would carry them past it, and in how many steps."""


class Quadratic(NamedTuple):
    """gᵀ(b − start) + ½(b − start)ᵀ(Q + diag(ridge))(b − start) + Σ kink|b| over the free entries.

    All are (d,) but Q (d, d). Told the gradient g where it starts, the solver need not find it as a difference of
    larger numbers.
    """

    gram: jax.Array
    start: jax.Array
    gradient: jax.Array
    kink: jax.Array
    ridge: jax.Array
    free: jax.Array

    def times(self, x: jax.Array) -> jax.Array:
        """Hessian times a vector."""
        return dot(self.gram, x) + self.ridge * x

    def violation(self, b: jax.Array, g: jax.Array) -> jax.Array:
        """Largest residual of the optimality condition, see `violation`."""
        return violation(b, g, self.kink, self.free)


class Inner(NamedTuple):
    """Solution, gradient there, largest violation of the optimality condition, steps taken."""

    b: jax.Array
    gradient: jax.Array
    violation: jax.Array
    steps: jax.Array


class _State(NamedTuple):
    b: jax.Array
    g: jax.Array
    tableau: Tableau
    choosy: jax.Array
    steps: jax.Array
    violation: jax.Array
    done: jax.Array
    suspect: jax.Array
    fresh: jax.Array
    wary: jax.Array
    jitter: jax.Array


class _Aim(NamedTuple):
    tableau: Tableau
    chosen: jax.Array
    leaving: jax.Array
    direction: jax.Array
    bend: jax.Array
    wrong: jax.Array
    again: jax.Array
    tries: jax.Array
    hard: jax.Array


def violation(b: jax.Array, g: jax.Array, kink: jax.Array, free: jax.Array) -> jax.Array:
    """Largest absolute residual of 0 ∈ g + kink·∂|b| over the free entries."""
    at_zero = jnp.maximum(jnp.abs(g) - kink, 0)
    return jnp.max(jnp.where(free, jnp.where(b == 0, at_zero, jnp.abs(g + kink * jnp.sign(b))), 0))


def jitter(gram: jax.Array, free: jax.Array) -> jax.Array:
    """What keeps nearly dependent columns solvable. The walk and the repeats remove the error that it makes."""
    info = jnp.finfo(gram.dtype)
    return 1e-2 * jnp.sqrt(info.eps) * jnp.max(jnp.where(free, jnp.diagonal(gram), 0)) + info.tiny


def minimize(problem: Quadratic, tableau: Tableau, tol: jax.Array, max_steps: int = 500) -> tuple[Inner, Tableau]:
    """Minimize a kinked quadratic from a warm start, to its exact end.

    Each step solves the equations of the active entries with signs held fixed, and walks to the exact minimum
    along that direction of the true, kinked objective; an entry that stops the walk at zero leaves. Once the
    active entries have settled, those enter that violate the optimality condition, with the sign that descends;
    those that the equations would move the wrong way are dropped again. The objective falls at every step, and
    when no entry changes sign the end point is exact. How choosy it is about who may enter adapts to how far
    the walks get. The equations are solved by a tableau that follows the active set in block pivots; conjugate
    gradients, preconditioned by it, make up for a ridge that has changed, and when that takes long, or nothing moves
    as it should, the tableau is made anew. The gradient at the end is that of the Gram itself; where it is not what
    the tableau said, the steps that follow ask the Gram too. A tableau in single precision they never believe.

    Args:
        problem: what to minimize, and where to start. The quadratic must be positive semidefinite.
        tableau: that of an earlier, similar problem with the same Gram, or an empty one.
        tol: absolute bound on the violation.
        max_steps: budget.

    Source: Lee, Battle, Raina & Ng (2007), "Efficient sparse coding algorithms", NeurIPS 19, for one entry at a
    time and a search over sign changes; Júdice & Pires (1994), Computers & Operations Research 21, for block
    pivots; their union, and the exact walk, are ours.
    """
    gram, start, gradient, kink, ridge, free = problem
    diagonal = jnp.diagonal(gram)
    top = jnp.max(jnp.where(free, diagonal, 0))
    eps = jnp.finfo(gram.dtype).eps
    no, none = jnp.asarray(False), jnp.asarray(0)
    missing = jnp.any(jnp.isnan(tableau.extra))

    def body(state: _State) -> _State:
        b, g = state.b, state.g
        anew = state.suspect & ~state.fresh
        active = free & ((b != 0) | (kink == 0))
        excess = jnp.where(free & ~active, jnp.abs(g) - kink, -jnp.inf)
        worst = jnp.max(excess)
        settled = problem.violation(jnp.where(active, b, 0), jnp.where(active, g, 0)) <= 0.1 * worst
        entering = (excess > tol) & (excess >= state.choosy * worst) & settled
        sign = jnp.where(b != 0, jnp.sign(b), -jnp.sign(g))
        target = -(g + kink * sign)

        def aim(now: _Aim) -> _Aim:
            found = now.tableau.with_members(now.chosen)
            # Entries that leave go to zero in one full step; the others take that into account.
            known = jnp.where(now.chosen, target, jnp.where(now.leaving, -b, 0))
            x, bend, hard = _equations(problem, found, known, tol, top, state.wary)
            wrong = now.chosen & entering & (x * sign <= 0)
            leaving = now.chosen & (kink > 0) & ((b + x) * b < 0)
            # That is no descent method: where it does not end the matter soon, walks alone do.
            leaving = leaving & (jnp.sum(leaving) <= LEAVERS) & (now.tries < 2) & (state.steps < SOON)
            return _Aim(
                tableau=found,
                chosen=now.chosen & ~wrong & ~leaving,
                leaving=now.leaving | leaving,
                direction=x,
                bend=bend,
                wrong=jnp.any(wrong),
                again=jnp.any(wrong | leaving),
                tries=now.tries + 1,
                hard=hard,
            )

        zero = jnp.zeros_like(b)
        nobody = jnp.zeros_like(free)
        begun = state.tableau.begun(gram, ridge + state.jitter, anew)
        first = _Aim(begun, active | entering, nobody, zero, zero, no, ~no, none, no)
        aimed = jax.lax.while_loop(lambda a: a.again & (a.tries < 6), aim, first)
        lost = jnp.any(entering) & ~jnp.any(entering & aimed.chosen)
        steep = slope(b, g, kink, aimed.direction)
        # A tableau spoilt by rounding shows where the quadratic would not be convex.
        spoilt = ~(jnp.sum(aimed.direction * aimed.bend) > 0)
        bad = aimed.wrong | spoilt | (steep >= 0) | (lost & state.fresh)

        def alone() -> tuple[jax.Array, jax.Array]:
            """Steepest single entry: the way out when the block direction does not descend."""
            worst = jnp.where(b == 0, jnp.abs(g) - kink, jnp.abs(g + kink * jnp.sign(b)))
            single = jnp.argmax(jnp.where(free, worst, -1))
            weight = diagonal[single] + ridge[single]
            center = b[single] - g[single] / weight
            shrunk = jnp.sign(center) * jnp.maximum(jnp.abs(center) - kink[single] / weight, 0)
            direction = zero.at[single].set(shrunk - b[single])
            return direction, problem.times(direction)

        direction, bend = jax.lax.cond(bad, alone, lambda: (aimed.direction, aimed.bend))
        # Nothing active yet to predict with: no step at all.
        still = ~jnp.any(direction != 0)
        noise = 4 * eps * top * jnp.sum(jnp.abs(direction)) ** 2
        moved, reach = walk(b, g, kink, direction, bend, noise)
        b, reach = jnp.where(still, b, moved), jnp.where(still, 1, reach)
        g = g + jnp.where(still, 0, reach) * bend
        # Of the violators, only those near the worst may enter after a short walk; all of them after long ones.
        short, long = bad | (reach < 0.1), ~bad & (reach > 0.5)
        choosier = jnp.where(short, 1 - jnp.maximum((1 - state.choosy) / 4, 1e-3), state.choosy)
        choosier = jnp.where(long, jnp.maximum(1 - 2 * (1 - state.choosy), 0), choosier)
        choosy = jnp.where(jnp.any(entering), choosier, state.choosy)
        # Even a new tableau may be off where many columns depend on each other: more jitter makes it right.
        raised = bad & anew & (state.jitter < 1e-3 * top) & ~jnp.any(aimed.leaving)
        return judge(
            state._replace(
                b=b,
                g=g,
                tableau=aimed.tableau,
                choosy=choosy,
                steps=state.steps + 1,
                suspect=bad | lost | aimed.hard,
                fresh=anew & ~raised,
                jitter=jnp.where(raised, 1e3 * state.jitter, state.jitter),
            )
        )

    def judge(state: _State) -> _State:
        # Below this the residual is rounding of its own terms.
        rounding = 4 * eps * (top * jnp.sum(jnp.abs(state.b - start)) + jnp.max(jnp.abs(gradient)))
        goal = jnp.maximum(tol, rounding)
        # The end is judged by a gradient made afresh, not by one that was carried along.
        ends = (problem.violation(state.b, state.g) <= goal) & (state.steps > 0) | (state.steps == LONG)
        g = jax.lax.cond(ends, lambda: gradient + problem.times(state.b - start), lambda: state.g)
        left = problem.violation(state.b, g)
        off = ends & (left > goal)
        return state._replace(
            g=g, violation=left, done=left <= goal, suspect=state.suspect | off, wary=state.wary | off
        )

    first = _State(start, gradient, tableau, jnp.zeros_like(tol), none, tol, no, missing, no, no, jitter(gram, free))
    end = jax.lax.while_loop(lambda s: ~s.done & (s.steps < max_steps), body, judge(first))
    # A tableau that was hard to use at the end would be so at the next strength, too.
    worn = end.suspect & ~end.fresh
    kept = end.tableau._replace(extra=jnp.where(worn, jnp.nan, end.tableau.extra))
    return Inner(end.b, end.g, end.violation, end.steps), kept


class _Correction(NamedTuple):
    x: jax.Array
    bend: jax.Array
    residual: jax.Array
    along: jax.Array
    ahead: jax.Array
    weight: jax.Array
    rounds: jax.Array
    flat: jax.Array


def _equations(
    problem: Quadratic, tableau: Tableau, known: jax.Array, tol: jax.Array, top: jax.Array, wary: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Find x whose Hessian image is `known` on the members, while x itself is off them.

    Returns x, its image, and whether that was hard. The image is the tableau's, with what the Hessian has changed on
    its diagonal since; or the Gram's own, if wary.
    """
    members = tableau.members
    drift = problem.ridge - tableau.extra
    # Where members depended on each other, rounding in the tableau is no longer small.
    shaky = ~(top * tableau.strain < SHAKY)
    wary = wary | shaky | tableau.rough
    goal = jnp.maximum(0.05 * tol, 1e-2 * jnp.max(jnp.where(members, jnp.abs(known), 0)))

    def solve(known: jax.Array) -> tuple[jax.Array, jax.Array]:
        """The tableau's solution, and its image under the tableau's matrix."""
        out = tableau.times(known)
        return jnp.where(members, out, known), jnp.where(members, known, out)

    def image_of(x: jax.Array, image: jax.Array) -> jax.Array:
        return jax.lax.cond(wary, lambda: problem.times(x), lambda: image + drift * x)

    def correct(now: _Correction) -> _Correction:
        z, image = solve(now.residual)
        weight = jnp.sum(now.residual * z)
        keep = jnp.where(now.rounds == 0, 0, weight / now.weight)
        along, ahead = z + keep * now.along, image + keep * now.ahead
        truth = image_of(along, ahead)
        curvature = jnp.sum(jnp.where(members, along * truth, 0))
        # Along dependent columns there is no curvature to divide by, and nothing to correct.
        flat = ~(curvature > 1e-11 * top * jnp.sum(along**2)) | ~(weight > 0)
        step = jnp.where(flat, 0, weight / jnp.where(flat, 1, curvature))
        residual = now.residual - step * jnp.where(members, truth, 0)
        x, bend = now.x + step * along, now.bend + step * truth
        return _Correction(x, bend, residual, along, ahead, weight, now.rounds + 1, flat)

    def off(now: _Correction) -> jax.Array:
        return (jnp.max(jnp.abs(now.residual)) > goal) & (now.rounds < 2 * HARD) & ~now.flat

    x, image = solve(known)
    bend = image_of(x, image)
    zero = jnp.zeros_like(x)
    residual = jnp.where(members, known - bend, 0)
    first = _Correction(x, bend, residual, zero, zero, jnp.ones_like(tol), jnp.asarray(0), jnp.asarray(False))
    end = jax.lax.while_loop(off, correct, first)
    unsolved = jnp.max(jnp.abs(end.residual)) > 10 * goal
    # They may do so no longer: then a new tableau is a better one.
    now = jnp.max(jnp.where(members, jnp.abs(tableau.diagonal()), 0))
    return end.x, end.bend, unsolved | (end.rounds > HARD) | shaky & (now < 0.1 * tableau.strain)
