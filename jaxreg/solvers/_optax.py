"""Any optax optimizer, followed by the prox, as a solver."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import optax

from jaxreg import _check, _tree
from jaxreg._tree import PyTree
from jaxreg.penalties import Penalty
from jaxreg.solvers._base import Solver
from jaxreg.transforms import ProximalState, ScalarOrSchedule, proximal


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class OptaxSolver(Solver):
    """An optax optimizer on full batches, with the proximal step of the penalty after each update.

    Args:
        tx: optax transformation, such as `optax.sgd(0.1)`. It is structure: make it once and reuse it, since
            a new one compiles anew.
        learning_rate: the number or schedule given to `tx`; it scales the proximal step.
        tol: bound on the relative stationarity.
        max_steps: budget of updates.
    """

    tx: optax.GradientTransformation = dataclasses.field(metadata={"static": True})
    learning_rate: ScalarOrSchedule = dataclasses.field(metadata={"static": True})
    tol: Any = 1e-6
    max_steps: Any = 10_000

    def __post_init__(self) -> None:
        _check.number("tol", self.tol)
        _check.number("max_steps", self.max_steps, low=1)

    def init(self, params: PyTree, grads: PyTree, penalty: Penalty) -> ProximalState:
        """State of the wrapped optimizer."""
        del grads
        return proximal(self.tx, penalty, self.learning_rate).init(params)

    def update(
        self,
        grads: PyTree,
        state: ProximalState,
        params: PyTree,
        *,
        penalty: Penalty,
        gradient: Callable[[PyTree], PyTree],
    ) -> tuple[PyTree, ProximalState]:
        """One proximal step of the wrapped optimizer."""
        del gradient
        return proximal(self.tx, penalty, self.learning_rate).update(grads, state, params)

    def candidate(self, state: ProximalState, params: PyTree, grads: PyTree) -> tuple[PyTree, PyTree]:
        """Return the current parameters."""
        del state
        return params, grads

    def stuck(self, state: ProximalState, updates: PyTree) -> jax.Array:
        """Never known: momentum may still build up after an update of zero, unless nothing else moves."""
        del state
        return _tree.max_abs(updates) < 0
