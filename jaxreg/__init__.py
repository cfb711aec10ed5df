"""jaxreg: regularized models in JAX, thousands of certified fits in one batched program.

Two doors, one set of losses and penalties:

- any model: `Objective` over any parameter pytree, with `solve`, `sweep`, and `proximal` for optax loops;
- linear models: `fit_path`, `cross_validate` and `bootstrap` over (X, y).

`enable_compilation_cache()` keeps compiled programs on disk for the processes that follow.
"""

import importlib
from typing import TYPE_CHECKING, Any

from jaxreg._cache import enable_compilation_cache, enable_if_asked
from jaxreg._result import Result, Solution, Stats
from jaxreg.losses import (
    Cox,
    Gamma,
    Huber,
    Logistic,
    Loss,
    Multinomial,
    NegativeBinomial,
    Poisson,
    Quantile,
    Squared,
    SquaredHinge,
    Tweedie,
)
from jaxreg.objective import Objective
from jaxreg.path import Path, fit_path
from jaxreg.penalties import (
    L0,
    L1,
    L2,
    L21,
    MCP,
    SCAD,
    SLOPE,
    Absolute,
    Blocks,
    Box,
    Constraint,
    Differences,
    Elastic,
    ElasticNet,
    Folded,
    FusedLasso,
    Grouped,
    GroupLasso,
    GroupMCP,
    GroupSCAD,
    HuberizedL1,
    Interval,
    KSupport,
    L1Ball,
    L2Ball,
    LInf,
    LInfBall,
    LogSum,
    Lq,
    Masked,
    Monotone,
    Nonconvex,
    NonNegative,
    Norm,
    Nuclear,
    OverlappingGroupLasso,
    Penalty,
    PseudoHuber,
    Separable,
    Sharp,
    Simplex,
    Smooth,
    SparseGroupLasso,
    Sum,
    TotalVariation,
    TotalVariation2D,
    TreeGroupLasso,
    Units,
    benjamini_hochberg,
    by_axis,
)
from jaxreg.selection import Bootstrap, Comparison, Selection, bootstrap, compare, cross_validate
from jaxreg.structure import Compacted, Link, Sparsity, compact, describe, sequential, sparsity

if TYPE_CHECKING:
    from jaxreg.differentiable import fit_at
    from jaxreg.solvers import FISTA, OptaxSolver, Solver, solve, sweep
    from jaxreg.transforms import (
        ProximalState,
        adagrad_metric,
        adam_metric,
        apply_prox,
        fista,
        prox_adamw,
        prox_sgd,
        proximal,
        refit_support,
        rms_metric,
        svrg,
    )
    from jaxreg.tuning import Tuning, descend, tune

__version__ = "0.1.0"

__all__ = [
    "FISTA",
    "L0",
    "L1",
    "L2",
    "L21",
    "MCP",
    "SCAD",
    "SLOPE",
    "Absolute",
    "Blocks",
    "Bootstrap",
    "Box",
    "Compacted",
    "Comparison",
    "Constraint",
    "Cox",
    "Differences",
    "Elastic",
    "ElasticNet",
    "Folded",
    "FusedLasso",
    "Gamma",
    "GroupLasso",
    "GroupMCP",
    "GroupSCAD",
    "Grouped",
    "Huber",
    "HuberizedL1",
    "Interval",
    "KSupport",
    "L1Ball",
    "L2Ball",
    "LInf",
    "LInfBall",
    "Link",
    "LogSum",
    "Logistic",
    "Loss",
    "Lq",
    "Masked",
    "Monotone",
    "Multinomial",
    "NegativeBinomial",
    "NonNegative",
    "Nonconvex",
    "Norm",
    "Nuclear",
    "Objective",
    "OptaxSolver",
    "OverlappingGroupLasso",
    "Path",
    "Penalty",
    "Poisson",
    "ProximalState",
    "PseudoHuber",
    "Quantile",
    "Result",
    "Selection",
    "Separable",
    "Sharp",
    "Simplex",
    "Smooth",
    "Solution",
    "Solver",
    "SparseGroupLasso",
    "Sparsity",
    "Squared",
    "SquaredHinge",
    "Stats",
    "Sum",
    "TotalVariation",
    "TotalVariation2D",
    "TreeGroupLasso",
    "Tuning",
    "Tweedie",
    "Units",
    "adagrad_metric",
    "adam_metric",
    "apply_prox",
    "benjamini_hochberg",
    "bootstrap",
    "by_axis",
    "compact",
    "compare",
    "cross_validate",
    "descend",
    "describe",
    "enable_compilation_cache",
    "fista",
    "fit_at",
    "fit_path",
    "prox_adamw",
    "prox_sgd",
    "proximal",
    "refit_support",
    "rms_metric",
    "sequential",
    "solve",
    "sparsity",
    "svrg",
    "sweep",
    "tune",
]

# Optax takes a tenth of a second to import, which linear models need not wait for.
_LATER = {
    "differentiable": ("fit_at",),
    "solvers": ("FISTA", "OptaxSolver", "Solver", "solve", "sweep"),
    "transforms": (
        "ProximalState",
        "adagrad_metric",
        "adam_metric",
        "apply_prox",
        "fista",
        "prox_adamw",
        "prox_sgd",
        "proximal",
        "refit_support",
        "rms_metric",
        "svrg",
    ),
    "tuning": ("Tuning", "descend", "tune"),
}


def __getattr__(name: str) -> Any:
    """Import the rooms that need optax when they are first asked for something."""
    for room, names in _LATER.items():
        if name == room or name in names:
            module = importlib.import_module(f"jaxreg.{room}")
            globals().update({one: getattr(module, one) for one in names})
            return globals()[name]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    """All public names, those not imported yet included."""
    return sorted({*globals(), *__all__})


enable_if_asked()
