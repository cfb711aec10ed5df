"""Penalties: functions of a parameter pytree with a value, a proximal step, and an optimality residual."""

from jaxreg.penalties._axes import by_axis
from jaxreg.penalties._base import (
    Absolute,
    Constraint,
    Differences,
    Grouped,
    Nonconvex,
    Norm,
    Penalty,
    Separable,
    Smooth,
)
from jaxreg.penalties._compose import Blocks, Masked
from jaxreg.penalties._constraints import L1Ball, L2Ball, Simplex
from jaxreg.penalties._elastic import L1, L2, Elastic, ElasticNet
from jaxreg.penalties._fused import FusedLasso, TotalVariation
from jaxreg.penalties._group import L21, GroupLasso, OverlappingGroupLasso, SparseGroupLasso
from jaxreg.penalties._group_nonconvex import GroupMCP, GroupSCAD
from jaxreg.penalties._intervals import Box, Interval, LInfBall, NonNegative
from jaxreg.penalties._isotonic import Monotone
from jaxreg.penalties._k_support import KSupport
from jaxreg.penalties._nested import TreeGroupLasso
from jaxreg.penalties._nonconvex import MCP, SCAD, Folded, LogSum
from jaxreg.penalties._settled import Settled, is_sharp, settled
from jaxreg.penalties._sharp import L0, Lq, Sharp
from jaxreg.penalties._smooth import HuberizedL1, PseudoHuber
from jaxreg.penalties._sorted import SLOPE, LInf, benjamini_hochberg
from jaxreg.penalties._spectral import Nuclear
from jaxreg.penalties._sum import Sum
from jaxreg.penalties._units import Units
from jaxreg.penalties._variation2d import TotalVariation2D

__all__ = [
    "L0",
    "L1",
    "L2",
    "L21",
    "MCP",
    "SCAD",
    "SLOPE",
    "Absolute",
    "Blocks",
    "Box",
    "Constraint",
    "Differences",
    "Elastic",
    "ElasticNet",
    "Folded",
    "FusedLasso",
    "GroupLasso",
    "GroupMCP",
    "GroupSCAD",
    "Grouped",
    "HuberizedL1",
    "Interval",
    "KSupport",
    "L1Ball",
    "L2Ball",
    "LInf",
    "LInfBall",
    "LogSum",
    "Lq",
    "Masked",
    "Monotone",
    "NonNegative",
    "Nonconvex",
    "Norm",
    "Nuclear",
    "OverlappingGroupLasso",
    "Penalty",
    "PseudoHuber",
    "Separable",
    "Settled",
    "Sharp",
    "Simplex",
    "Smooth",
    "SparseGroupLasso",
    "Sum",
    "TotalVariation",
    "TotalVariation2D",
    "TreeGroupLasso",
    "Units",
    "benjamini_hochberg",
    "by_axis",
    "is_sharp",
    "settled",
]
