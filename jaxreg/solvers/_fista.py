"""Accelerated proximal gradient descent."""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxreg import _check, _tree
from jaxreg._tree import PyTree
from jaxreg.penalties import Penalty
from jaxreg.solvers._base import Solver, ValueAndGradient

# A step that has not been refused for so many trials is taken to be far too small.
PATIENCE = 30


class FISTAState(NamedTuple):
    """Last accepted iterate, loss and gradient there, lowest objective, momentum, step, trials unrefused."""

    x: PyTree
    smooth: jax.Array
    grads: PyTree
    lowest: jax.Array
    momentum: jax.Array
    step: jax.Array
    unrefused: jax.Array


@_tree.register
@dataclasses.dataclass(frozen=True)
class FISTA(Solver):
    """Accelerated proximal gradient with adaptive restart and a safeguarded step.

    x₊ = prox_{t·g}(y − t∇f(y)), y₊ = x₊ + β(x₊ − x). A trial x₊ must pass two tests.

    - The curvature along the way, ⟨∇f(x₊) − ∇f(y), x₊ − y⟩ / ‖x₊ − y‖², is at most 1/t. Unlike a difference
      of function values this does not cancel in float32. If it fails, the step shrinks to suit the curvature.
    - The objective is finite, and above the lowest so far by no more than rounding could explain (√ε). For
      a convex f and y = x this follows from the first test. If it fails, the momentum restarts from x; if
      y was x already, or nothing is finite, the step shrinks as well.

    The step grows by 5 % with every trial that passes, and doubles while none was refused for 30 trials, as
    at the start: so the first step hardly matters, nor does a curved region on the way. It stays below the
    `max_step` of a weakly convex penalty, where its prox moves continuously. The momentum also
    restarts when it points uphill. For a non-convex f the objective never rises either, up to rounding.

    There is no preconditioning: bring the columns of a design to comparable scales first.

    Args:
        tol: bound on the relative stationarity.
        max_steps: budget of trials, accepted or not; each costs two gradients.
        step: first step size to try.

    Raises:
        TypeError: if an argument is not a number.
        ValueError: if one is negative, NaN or infinite, `step` is 0, or `max_steps` is below 1.

    Source: Beck & Teboulle (2009), SIAM J. Imaging Sciences 2; O'Donoghue & Candès (2015), "Adaptive restart
    for accelerated gradient schemes", Found. Comput. Math. 15, section 3.2; the first test is that of
    Becker, Candès & Grant (2011), "Templates for convex cone problems", section 5.3.

    >>> from jaxreg import L1, Objective, Squared, solve
    >>> objective = Objective(Squared(), L1(0.5), lambda params, X: X @ params)
    >>> solve(objective, jnp.zeros(2), (jnp.eye(2), jnp.array([4.0, 0.5])), solver=FISTA(tol=1e-5)).params
    Array([3., 0.], dtype=float32)
    """

    tol: Any = 1e-6
    max_steps: Any = 10_000
    step: Any = 1.0

    def __post_init__(self) -> None:
        _check.number("tol", self.tol)
        _check.number("max_steps", self.max_steps, low=1)
        _check.number("step", self.step, low=float(jnp.finfo(jnp.float32).tiny), what="positive and finite")

    def init(self, params: PyTree, value: Any, grads: PyTree, penalty: Penalty) -> FISTAState:
        """No momentum, and the first step size."""
        scalar = jnp.result_type(_tree.vdot(grads, grads))
        smooth = jnp.asarray(value, scalar)
        lowest = (smooth + penalty.value(params)).astype(scalar)
        step = jnp.minimum(self.step, _longest(penalty)).astype(scalar)
        return FISTAState(params, smooth, grads, lowest, jnp.ones((), scalar), step, jnp.asarray(PATIENCE))

    def update(
        self,
        grads: PyTree,
        state: FISTAState,
        params: PyTree,
        *,
        penalty: Penalty,
        value_and_gradient: ValueAndGradient,
    ) -> tuple[PyTree, FISTAState]:
        """One trial from `params`, which is y: accept and extrapolate, shrink the step, or go back to x."""
        scalar = state.step.dtype
        # A step that is differentiated through is one of this length: what chose the length has no part in it.
        state = state._replace(step=jax.lax.stop_gradient(state.step), momentum=jax.lax.stop_gradient(state.momentum))
        trial = penalty.prox(_tree.add(params, grads, -state.step), state.step)
        smooth, trial_grads = value_and_gradient(trial)
        value = smooth + penalty.value(trial)

        moved = _tree.add(trial, params, -1.0)
        length = _tree.vdot(moved, moved)
        bend = _tree.vdot(_tree.add(trial_grads, grads, -1.0), moved)
        curvature = bend / jnp.where(length > 0, length, 1)
        finite = _tree.all_finite(trial) & _tree.all_finite(trial_grads) & jnp.isfinite(value)
        curved = finite & ~(curvature * state.step <= 1)
        rounding = jnp.sqrt(jnp.finfo(scalar).eps) * jnp.abs(state.lowest)
        accept = finite & ~curved & ~(value > state.lowest + rounding)

        advance = _tree.add(trial, state.x, -1.0)
        uphill = _tree.vdot(moved, advance) < 0
        following = jnp.where(uphill, 1, 0.5 * (1 + jnp.sqrt(1 + 4 * state.momentum**2)))
        push = jnp.where(uphill, 0, (state.momentum - 1) / following)

        # Refused: aim just below the curvature that was met, with care, since the way there may be untypical.
        aim = jnp.where(finite & (curvature > 0), 0.9 / curvature, 0)
        too_long = curved | ~finite | (state.momentum == 1)
        shrunk = jnp.where(too_long, jnp.clip(aim, 0.1 * state.step, 0.5 * state.step), state.step)
        grown = state.step * jnp.where(state.unrefused < PATIENCE, 1.05, 2.0)

        again = _tree.where(curved, params, state.x)
        following_point = _tree.where(accept, _tree.add(trial, advance, push), again)
        return _tree.add(following_point, params, -1.0), FISTAState(
            x=_tree.where(accept, trial, state.x),
            smooth=jnp.where(accept, smooth, state.smooth).astype(scalar),
            grads=_tree.where(accept, trial_grads, state.grads),
            lowest=jnp.where(accept, jnp.fmin(value, state.lowest), state.lowest).astype(scalar),
            momentum=jnp.where(accept, following, jnp.where(curved, state.momentum, 1)).astype(scalar),
            step=jnp.minimum(jnp.where(accept, grown, shrunk), _longest(penalty)).astype(scalar),
            unrefused=jnp.where(accept, state.unrefused + 1, 0),
        )

    def candidate(self, state: FISTAState, params: PyTree, value: Any, grads: PyTree) -> tuple[PyTree, Any, PyTree]:
        """Return the last accepted iterate, which the prox made sparse; not the extrapolated point."""
        del params, value, grads
        return state.x, state.smooth, state.grads

    def stuck(self, steps: Any, idle: Any) -> Any:
        """No better point in half of all steps, and a hundred at the least."""
        return idle > jnp.maximum(100, steps // 2)


def _longest(penalty: Penalty) -> Any:
    """Longest step to try: a little less than the bound, which is exclusive."""
    return 0.99 * jnp.asarray(penalty.max_step)
