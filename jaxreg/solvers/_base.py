"""What a solver is."""

import abc
from collections.abc import Callable
from typing import Any

from jaxreg._tree import PyTree
from jaxreg.penalties import Penalty

ValueAndGradient = Callable[[PyTree], tuple[Any, PyTree]]


class Solver(abc.ABC):
    """An optax-style transformation that also sees the penalty; the loop around it owns stopping and results.

    The loop evaluates the smooth part and its gradient at `params`, asks for the `candidate` solution, judges
    it, and applies `update`. A subclass is a frozen dataclass registered as a pytree.

    `tol` bounds the relative stationarity (see `solve`); it is raised to 10 machine epsilons of the
    parameters' dtype, below which rounding decides. `max_steps` bounds the number of updates.
    """

    tol: Any
    max_steps: Any

    @abc.abstractmethod
    def init(self, params: PyTree, value: Any, grads: PyTree, penalty: Penalty) -> Any:
        """State before the first update, given the start, and the smooth part and its gradient there."""

    @abc.abstractmethod
    def update(
        self,
        grads: PyTree,
        state: Any,
        params: PyTree,
        *,
        penalty: Penalty,
        value_and_gradient: ValueAndGradient,
    ) -> tuple[PyTree, Any]:
        """One step: updates to add to `params`, at which `grads` were taken, and the next state."""

    @abc.abstractmethod
    def candidate(self, state: Any, params: PyTree, value: Any, grads: PyTree) -> tuple[PyTree, Any, PyTree]:
        """Return the solution so far, and the smooth part and its gradient at it."""

    @abc.abstractmethod
    def stuck(self, steps: Any, idle: Any) -> Any:
        """Whether there is no hope of a better point, when the last `idle` of `steps` updates gave none."""
