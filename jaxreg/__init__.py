"""jaxreg: regularized models in JAX, thousands of certified fits in one batched program.

Two doors, one set of losses and penalties:

- any model: `Objective` over any parameter pytree, with `solve`, `sweep`, and `proximal` for optax loops;
- linear models: `fit_path` and `cross_validate` over (X, y).
"""

from jaxreg._result import Result, Solution, Stats
from jaxreg.losses import Logistic, Loss, Squared
from jaxreg.objective import Objective
from jaxreg.path import Path, fit_path
from jaxreg.penalties import L1, L2, Blocks, Elastic, ElasticNet, Masked, Norm, Penalty, Separable
from jaxreg.selection import Comparison, Selection, compare, cross_validate
from jaxreg.solvers import FISTA, OptaxSolver, Solver, solve, sweep
from jaxreg.transforms import ProximalState, apply_prox, proximal

__version__ = "0.1.0"

__all__ = [
    "FISTA",
    "L1",
    "L2",
    "Blocks",
    "Comparison",
    "Elastic",
    "ElasticNet",
    "Logistic",
    "Loss",
    "Masked",
    "Norm",
    "Objective",
    "OptaxSolver",
    "Path",
    "Penalty",
    "ProximalState",
    "Result",
    "Selection",
    "Separable",
    "Solution",
    "Solver",
    "Squared",
    "Stats",
    "apply_prox",
    "compare",
    "cross_validate",
    "fit_path",
    "proximal",
    "solve",
    "sweep",
]
