"""One lane's chunk of the path: λ after λ for one training set and l1 ratio, each warm-started by the last.

Squared error needs one Gram for all λ. Any other loss is solved by proximal Newton steps: a weighted Gram,
the inner solver on the quadratic model, and a line search on the true objective. Lanes are batched by `lanes`.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxreg.linear.active.inner import Quadratic, jitter, minimize, violation
from jaxreg.linear.active.tableau import Tableau, dot
from jaxreg.linear.outputs import alike
from jaxreg.losses import Loss

SLOW = 0.2
"""A proximal Newton step that leaves more of the violation than this asks for a new Hessian."""
SHORT = 0.25
"""A line search that ends below this asks for damping."""
GENTLE, WHOLE = 1e-3, 1.0
"""First and largest damping of a Hessian whose steps fail, as a share of the curvature's bound."""


STEPS, STEPS_ROUGH = 500, 50
"""Most steps for one λ, and with a tableau in single precision: who needs them all had better have another."""


class Chunk(NamedTuple):
    """Coefficients (L, d), and the inner steps taken per λ (L,)."""

    b: jax.Array
    steps: jax.Array


class Strengths(NamedTuple):
    """Strengths of absolute value and square (L,), penalty factors (d,) of every entry: 0 for an intercept."""

    l1: Any
    l2: Any
    factor: Any


def squared_chunk(
    gram: jax.Array,
    linear: jax.Array,
    free: jax.Array,
    strengths: Strengths,
    start: jax.Array,
    tableau: Tableau,
    tol: jax.Array,
) -> tuple[Chunk, Tableau]:
    """Solve min ½bᵀGb − linearᵀb + Σ factor (l1|b| + ½ l2 b²) over the free entries, λ after λ.

    The intercept takes no part: columns are centered under the training set's weights.
    """

    def step(carry: tuple, strength: tuple[jax.Array, jax.Array]) -> tuple[tuple, Chunk]:
        (b, g), (b_before, g_before), tableau = carry  # g without the ridge, which changes
        kink, ridge = (s * strengths.factor for s in strength)
        ahead, g_ahead = 2 * b - b_before, 2 * g - g_before
        sound = jnp.all((ahead * b > 0) | (ahead == b))
        start, g_start = jnp.where(sound, ahead, b), jnp.where(sound, g_ahead, g)
        problem = Quadratic(gram, start, g_start + ridge * start, kink, ridge, free)
        found, tableau = minimize(problem, tableau, tol, STEPS_ROUGH if tableau.rough else STEPS)
        now = found.b, found.gradient - ridge * found.b
        return (now, (b, g), tableau), Chunk(found.b, found.steps)

    # A tableau with the ridge of the middle suits the ends, too.
    middle = strengths.l2[strengths.l2.size // 2] * strengths.factor
    tableau = tableau.begun(gram, middle + jitter(gram, free), jnp.any(jnp.isnan(tableau.extra)))
    b = jnp.where(free, start, 0)
    here = b, dot(gram, b) - linear
    carry = (here, here, tableau)
    (_, _, tableau), found = jax.lax.scan(step, carry, (strengths.l1, strengths.l2))
    return found, tableau


def _ahead(b: jax.Array, before: jax.Array) -> jax.Array:
    """Where two solutions lead on a straight line; entries whose sign would change on the way stay."""
    ahead = 2 * b - before
    return jnp.where(ahead * b > 0, ahead, b)


class Samples(NamedTuple):
    """What one training set sees: columns x (n, w) with shift and scale (w,), target, offset and weights (n,).

    Where a sample has k outputs, coefficients and predictions have a last axis of them.
    """

    x: jax.Array
    shift: jax.Array
    scale: jax.Array
    target: jax.Array
    offset: jax.Array
    weights: jax.Array

    def predict(self, b: jax.Array) -> jax.Array:
        """Linear predictor (n, …) of intercept and standardized coefficients (1 + w, …)."""
        slopes = b[1:] / alike(self.scale, b)
        return dot(self.x, slopes) + (b[0] - jnp.sum(alike(self.shift, b) * slopes, axis=0))

    def correlate(self, rows: jax.Array) -> jax.Array:
        """Inner products (1 + w, …) of rows (n, …) with ones and the standardized columns."""
        total = jnp.sum(rows, axis=0)
        raw = dot(rows.T, self.x).T
        slopes = (raw - total * alike(self.shift, raw)) / alike(self.scale, raw)
        return jnp.concatenate([total[None], slopes])

    def gram(self, weights: jax.Array) -> jax.Array:
        """Weighted Gram (1 + w, 1 + w) of ones and standardized columns, without copies standardized."""
        total, sums = jnp.sum(weights), dot(weights, self.x)
        cross = sums[:, None] * self.shift
        raw = dot(self.x.T, self.x * weights[:, None]) - cross - cross.T
        slopes = (raw + total * self.shift[:, None] * self.shift) / (self.scale[:, None] * self.scale)
        edge = (sums - total * self.shift) / self.scale
        return jnp.block([[total[None, None], edge[None, :]], [edge[:, None], slopes]])


class _Newton(NamedTuple):
    b: jax.Array
    eta: jax.Array
    g: jax.Array
    gram: jax.Array
    tableau: Tableau
    violation: jax.Array
    slow: jax.Array
    damping: jax.Array
    steps: jax.Array
    rounds: jax.Array
    stalled: jax.Array


def newton_chunk(
    loss: Loss,
    samples: Samples,
    free: jax.Array,
    strengths: Strengths,
    start: jax.Array,
    tol: jax.Array,
    max_rounds: int = 100,
) -> Chunk:
    """Solve a chunk for any smooth convex loss by proximal Newton steps; entry 0 is the intercept.

    The Hessian is that of an earlier iterate for as long as steps with it take the violation down by a factor
    `SLOW`: a step costs two products with x, a new Hessian one with all its columns.

    Where a step fails, because the loss is curved otherwise at its end (or not at all where it begins, as a Huber loss
    far from its data), a share of the bound on the curvature is added to the Hessian. With all of the bound the model
    is a majorizer, whose full step descends. Losses without a bound lend the largest curvature of a sample.

    Source: Lee, Sun & Saunders (2014), "Proximal Newton-type methods for minimizing composite functions",
    SIAM J. Optimization 24.
    """
    weights, target = samples.weights, samples.target

    def step(carry: tuple, strength: tuple[jax.Array, jax.Array]) -> tuple[tuple, Chunk]:
        (before, earlier), (kink, ridge) = carry, (s * strengths.factor for s in strength)
        begin = _ahead(before.b, earlier)

        def value(b: jax.Array, eta: jax.Array) -> jax.Array:
            # A row that is held out may be predicted beyond all bounds.
            fit = jnp.sum(jnp.where(weights > 0, weights * loss.value(eta, target), 0))
            return fit + jnp.sum(kink * jnp.abs(b) + 0.5 * ridge * b**2)

        def placed(state: _Newton, b: jax.Array, eta: jax.Array) -> _Newton:
            slope = jnp.where(weights > 0, weights * loss.derivative(eta, target), 0)
            g = samples.correlate(slope) + ridge * b
            return state._replace(b=b, eta=eta, g=g, violation=violation(b, g, kink, free))

        def renew(state: _Newton) -> tuple[jax.Array, Tableau]:
            # A saturated sample has no curvature left; a floor keeps the model bounded, the line search honest.
            curvature = jnp.where(weights > 0, loss.second_derivative(state.eta, target), 0)
            bound = jnp.asarray(loss.curvature, curvature.dtype)
            bound = jnp.where(jnp.isfinite(bound), bound, jnp.max(curvature))
            curvature = jnp.maximum(curvature, 1e-9) + state.damping * bound
            return samples.gram(weights * curvature), Tableau.empty(state.b.size)

        def body(state: _Newton) -> _Newton:
            b, eta, g = state.b, state.eta, state.g
            gram, tableau = jax.lax.cond(state.slow, renew, lambda s: (s.gram, s.tableau), state)
            model = Quadratic(gram, b, g, kink, ridge, free)
            found, tableau = minimize(model, tableau, jnp.maximum(0.2 * tol, 0.01 * state.violation))
            sound = jnp.all(jnp.isfinite(found.b))
            move = jnp.where(sound, found.b - b, 0)
            eta_move = samples.predict(move)
            predicted = jnp.sum(g * move + kink * (jnp.abs(found.b) - jnp.abs(b)))
            now = value(b, eta)

            def enough(t: jax.Array) -> jax.Array:
                trial = value(b + t * move, eta + t * eta_move)
                lower = trial <= now + 1e-4 * t * predicted + 1e-14 * jnp.abs(now)
                # Where rounding hides which value is lower, slopes still tell that the way was downhill.
                at = b + t * move
                sign = jnp.where(at != 0, jnp.sign(at), -jnp.sign(move))
                slope = jnp.sum(
                    jnp.where(weights > 0, weights * loss.derivative(eta + t * eta_move, target), 0) * eta_move
                )
                slope = slope + jnp.sum((kink * sign + ridge * at) * move)
                level = (trial <= now + 1e-8 * jnp.abs(now)) & (slope <= 0.5 * jnp.abs(predicted))
                return jnp.isfinite(trial) & (lower | level)

            t = jax.lax.while_loop(lambda t: ~enough(t) & (t > 1e-8), lambda t: 0.5 * t, jnp.ones_like(now))
            failed = ~sound | (t < 1e-8)
            # A full step ends on the model's exact zeros; b + 1·(b' − b) would not.
            whole = jnp.where(t == 1, found.b, b + t * move)
            # What predictions have gathered of rounding is gone at the next λ.
            after = placed(state, jnp.where(failed, b, whole), jnp.where(failed, eta, eta + t * eta_move))
            harder = jnp.clip(10 * state.damping, GENTLE, WHOLE)
            softer = jnp.where(state.damping > GENTLE, 0.1 * state.damping, 0)
            damping = jnp.where(failed | (t < SHORT), harder, jnp.where(t == 1, softer, state.damping))
            return after._replace(
                gram=gram,
                tableau=tableau,
                slow=failed | (after.violation > SLOW * state.violation) | (t < 1),
                damping=damping,
                steps=state.steps + found.steps,
                rounds=state.rounds + 1,
                stalled=failed & state.slow & (state.damping >= WHOLE),
            )

        zero = jnp.asarray(0)
        first = before._replace(steps=zero, rounds=zero, stalled=jnp.asarray(False))
        first = placed(first, begin, samples.predict(begin) + samples.offset)
        end = jax.lax.while_loop(lambda s: (s.violation > tol) & ~s.stalled & (s.rounds < max_rounds), body, first)
        return (end, before.b), Chunk(end.b, end.steps)

    d, n = start.size, target.size
    b, yes, zero = jnp.where(free, start, 0), jnp.asarray(True), jnp.asarray(0)
    carry = _Newton(
        b,
        jnp.zeros(n),
        jnp.zeros(d),
        jnp.zeros((d, d)),
        Tableau.empty(d),
        jnp.zeros(()),
        yes,
        jnp.zeros(()),
        zero,
        zero,
        ~yes,
    )
    return jax.lax.scan(step, (carry, b), (strengths.l1, strengths.l2))[1]
