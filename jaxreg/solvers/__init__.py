"""Solvers for any parameter pytree, one loop around them, and sweeps over λ."""

from jaxreg.solvers._base import Solver
from jaxreg.solvers._fista import FISTA
from jaxreg.solvers._loop import minimize, solve, sweep
from jaxreg.solvers._optax import OptaxSolver

__all__ = ["FISTA", "OptaxSolver", "Solver", "minimize", "solve", "sweep"]
