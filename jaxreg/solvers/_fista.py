"""Accelerated proximal gradient descent."""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxreg import _check, _tree
from jaxreg._tree import PyTree
from jaxreg.penalties import Penalty
from jaxreg.solvers._base import Solver


class FISTAState(NamedTuple):
    """Last accepted iterate and its gradient, momentum, step size, and whether a step was ever refused."""

    x: PyTree
    grads: PyTree
    momentum: jax.Array
    step: jax.Array
    refused: jax.Array
    ever_refused: jax.Array


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class FISTA(Solver):
    """Accelerated proximal gradient with adaptive restart and a safeguarded step.

    x₊ = prox_{t·g}(y − t∇f(y)), y₊ = x₊ + β(x₊ − x). A trial x₊ is accepted if the curvature along the way,
    ⟨∇f(x₊) − ∇f(y), x₊ − y⟩ / ‖x₊ − y‖², is at most 1/t: a test that, unlike a difference of function
    values, does not cancel in float32. The step doubles until the first refusal, then shrinks when refused
    and grows a little at restarts. The momentum restarts when it points uphill.

    Args:
        tol: bound on the relative stationarity.
        max_steps: budget of trials, accepted or not; each costs two gradients.
        step: first step size to try.

    Source: Beck & Teboulle (2009), SIAM J. Imaging Sciences 2; O'Donoghue & Candès (2015), "Adaptive restart
    for accelerated gradient schemes", Found. Comput. Math. 15, section 3.2; the test is that of
    Becker, Candès & Grant (2011), "Templates for convex cone problems", section 5.3.
    """

    tol: Any = 1e-6
    max_steps: Any = 10_000
    step: Any = 1.0

    def __post_init__(self) -> None:
        _check.number("tol", self.tol)
        _check.number("max_steps", self.max_steps, low=1)
        _check.number("step", self.step)

    def init(self, params: PyTree, grads: PyTree, penalty: Penalty) -> FISTAState:
        """No momentum, and the first step size."""
        del penalty
        scalar = jnp.result_type(_tree.vdot(grads, grads))
        no = jnp.asarray(False)
        return FISTAState(params, grads, jnp.ones((), scalar), jnp.asarray(self.step, scalar), no, no)

    def update(
        self,
        grads: PyTree,
        state: FISTAState,
        params: PyTree,
        *,
        penalty: Penalty,
        gradient: Callable[[PyTree], PyTree],
    ) -> tuple[PyTree, FISTAState]:
        """One trial from the extrapolated point `params`: accept it and extrapolate, or shrink the step."""
        trial = penalty.prox(_tree.add(params, grads, -state.step), state.step)
        trial_grads = gradient(trial)
        moved = _tree.add(trial, params, -1.0)
        length = _tree.vdot(moved, moved)
        bend = _tree.vdot(_tree.add(trial_grads, grads, -1.0), moved)
        curvature = bend / jnp.where(length > 0, length, 1)
        sane = _tree.all_finite(trial) & _tree.all_finite(trial_grads)
        accept = sane & (curvature * state.step <= 1)

        advance = _tree.add(trial, state.x, -1.0)
        uphill = -_tree.vdot(moved, advance) > 0
        following = 0.5 * (1 + jnp.sqrt(1 + 4 * state.momentum**2))
        push = jnp.where(uphill, 0, (state.momentum - 1) / following)
        following = jnp.where(uphill, 1, following)
        extrapolated = _tree.add(trial, advance, push)

        # Refused: aim just below the curvature that was met. Accepted: double until the first refusal.
        lower = jnp.where(sane, jnp.clip(0.9 / jnp.where(curvature > 0, curvature, 1), 0.01 * state.step), 0)
        lower = jnp.clip(lower, 0.01 * state.step, 0.5 * state.step)
        growth = jnp.where(state.ever_refused, jnp.where(uphill, 1.3, 1.0), 2.0)
        step = jnp.where(accept, state.step * growth, lower).astype(state.step.dtype)

        updates = _tree.where(accept, _tree.add(extrapolated, params, -1.0), _tree.map_floats(jnp.zeros_like, params))
        return updates, FISTAState(
            x=_tree.where(accept, trial, state.x),
            grads=_tree.where(accept, trial_grads, state.grads),
            momentum=jnp.where(accept, following, state.momentum).astype(state.momentum.dtype),
            step=step,
            refused=~accept,
            ever_refused=state.ever_refused | ~accept,
        )

    def candidate(self, state: FISTAState, params: PyTree, grads: PyTree) -> tuple[PyTree, PyTree]:
        """Return the last accepted iterate, which the prox made sparse; not the extrapolated point."""
        del params, grads
        return state.x, state.grads

    def stuck(self, state: FISTAState, updates: PyTree) -> jax.Array:
        """An accepted step that moved nothing, or a step size that has vanished."""
        still = _tree.max_abs(updates) == 0
        return (still & ~state.refused) | (state.step < jnp.finfo(state.step.dtype).tiny * 1e4)
