"""What a solver is."""

import abc
from collections.abc import Callable
from typing import Any

from jaxreg._tree import PyTree
from jaxreg.penalties import Penalty


class Solver(abc.ABC):
    """An optax-style transformation that also sees the penalty; the loop around it owns stopping and results.

    The loop evaluates the gradient of the smooth part at `params`, asks for the `candidate` solution, judges
    it, and applies `update`. A subclass is a frozen dataclass registered as a pytree.

    `tol` bounds the relative stationarity (see `Stats`); it is raised to 10 machine epsilons of the
    parameters' dtype, below which rounding decides. `max_steps` bounds the number of updates.
    """

    tol: Any
    max_steps: Any

    @abc.abstractmethod
    def init(self, params: PyTree, grads: PyTree, penalty: Penalty) -> Any:
        """State before the first update, given the start and the gradient there."""

    @abc.abstractmethod
    def update(
        self,
        grads: PyTree,
        state: Any,
        params: PyTree,
        *,
        penalty: Penalty,
        gradient: Callable[[PyTree], PyTree],
    ) -> tuple[PyTree, Any]:
        """One step: updates to add to `params`, at which `grads` were taken, and the next state."""

    @abc.abstractmethod
    def candidate(self, state: Any, params: PyTree, grads: PyTree) -> tuple[PyTree, PyTree]:
        """Return the solution so far and the gradient of the smooth part at it."""

    @abc.abstractmethod
    def stuck(self, state: Any, updates: PyTree) -> Any:
        """Whether further updates cannot change anything at this precision."""
