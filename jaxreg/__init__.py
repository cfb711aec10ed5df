"""jaxreg: regularized models in JAX, thousands of certified fits in one batched program."""

from jaxreg._result import Result, Solution, Stats
from jaxreg.losses import Logistic, Loss, Squared
from jaxreg.objective import Objective
from jaxreg.penalties import L1, L2, Blocks, Elastic, ElasticNet, Masked, Norm, Penalty, Separable
from jaxreg.solvers import FISTA, OptaxSolver, Solver, solve, sweep
from jaxreg.transforms import ProximalState, apply_prox, proximal

__version__ = "0.1.0"
from jaxreg.path import Path, fit_path
from jaxreg.selection import MEASURES, Selection, cross_validate
