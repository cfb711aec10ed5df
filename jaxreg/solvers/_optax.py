"""Any optax optimizer, followed by the prox, as a solver."""

import dataclasses
from typing import Any

import optax

from jaxreg import _check, _tree
from jaxreg._tree import PyTree
from jaxreg.penalties import Penalty
from jaxreg.solvers._base import Solver, ValueAndGradient
from jaxreg.transforms import ProximalState, ScalarOrSchedule, check_optimizer, proximal


@_tree.register
@dataclasses.dataclass(frozen=True)
class OptaxSolver(Solver):
    """An optax optimizer on full batches, with the proximal step of the penalty after each update.

    Whether it converges is up to the optimizer: `optax.sgd` with a step of at most 1 / curvature does. An
    adaptive one, such as Adam, comes to rest only under a learning rate that decays to zero.

    Args:
        tx: optax transformation, such as `optax.sgd(0.1)`. It is structure: make it once and reuse it, since
            a new one compiles anew.
        learning_rate: the number or schedule given to `tx`; it scales the proximal step.
        tol: bound on the relative stationarity.
        max_steps: budget of updates.

    Raises:
        TypeError: if `tx` is not an optax transformation, or an argument not a number.
        ValueError: if a number is negative, NaN or infinite, or `max_steps` is below 1.
    """

    tx: optax.GradientTransformation = dataclasses.field(metadata={"static": True})
    learning_rate: ScalarOrSchedule = dataclasses.field(metadata={"static": True})
    tol: Any = 1e-6
    max_steps: Any = 10_000

    def __post_init__(self) -> None:
        check_optimizer(self.tx, self.learning_rate)
        _check.number("tol", self.tol)
        _check.number("max_steps", self.max_steps, low=1)

    def init(self, params: PyTree, value: Any, grads: PyTree, penalty: Penalty) -> ProximalState:
        """State of the wrapped optimizer."""
        del value, grads
        return proximal(self.tx, penalty, self.learning_rate).init(params)

    def update(
        self,
        grads: PyTree,
        state: ProximalState,
        params: PyTree,
        *,
        penalty: Penalty,
        value_and_gradient: ValueAndGradient,
    ) -> tuple[PyTree, ProximalState]:
        """One proximal step of the wrapped optimizer."""
        del value_and_gradient
        return proximal(self.tx, penalty, self.learning_rate).update(grads, state, params)

    def candidate(self, state: ProximalState, params: PyTree, value: Any, grads: PyTree) -> tuple[PyTree, Any, PyTree]:
        """Return the current parameters."""
        del state
        return params, value, grads

    def stuck(self, steps: Any, idle: Any) -> Any:
        """Never known: momentum may build up, and a schedule may raise the learning rate again."""
        del idle
        return steps < 0
