"""Regressors with penalties of single columns that scikit-learn does not have: concave and sorted."""

from typing import Any

import numpy as np

from jaxreg import penalties
from jaxreg.penalties import Penalty, benjamini_hochberg
from jaxreg.sklearn._base import columns_weight
from jaxreg.sklearn._parameters import Factors, parameters
from jaxreg.sklearn._penalized import AlongStrengths, AtStrength


@parameters
class _Mcp(Factors):
    """Minimax concave penalty. Abstract."""

    gamma: float = 3.0

    def _penalty(self, p: int) -> Penalty:
        return penalties.MCP(1.0, self.gamma, columns_weight(self.penalty_factor, p))


@parameters
class _Scad(Factors):
    """Smoothly clipped absolute deviation. Abstract."""

    gamma: float = 3.7

    def _penalty(self, p: int) -> Penalty:
        return penalties.SCAD(1.0, self.gamma, columns_weight(self.penalty_factor, p))


@parameters
class _Sorted:
    """SLOPE. Abstract."""

    fdr: float = 0.1
    weights: Any = None

    def _penalty(self, p: int) -> Penalty:
        weights = benjamini_hochberg(p, self.fdr) if self.weights is None else np.asarray(self.weights, np.float64)
        return penalties.SLOPE(1.0, weights)


@parameters
class MCPRegression(_Mcp, AtStrength):
    """Minimax concave penalty.

    min 1/(2W) Σ w (y − x'b − b₀ − o)² + alpha Σ MCP(b), nearly unbiased for large coefficients.

    Args:
        alpha: strength.
        gamma: concavity, above 1: the lasso if infinite.
        penalty_factor: factors of the columns, (p,); 0 leaves one unpenalized.
        fit_intercept: whether to fit b₀.
        standardize: whether to penalize columns over their standard deviation.
        tol: duality gap, relative to the null model's objective, beyond which a `ConvergenceWarning` says so.

    Attributes:
        coef_: (p,).
        intercept_: number.
        dual_gap_: NaN: for concave penalties none is known.
        kkt_: residual of the optimality condition, relative to the gradient at the null model.
        n_iter_: steps of the solver.

    Source: Zhang (2010), "Nearly unbiased variable selection under minimax concave penalty", Annals of Statistics
    38.
    """


@parameters
class MCPRegressionCV(_Mcp, AlongStrengths):
    """`MCPRegression` with the strength chosen by cross-validation: every strength and fold in one batch.

    Args:
        gamma: concavity, above 1: the lasso if infinite.
        penalty_factor: factors of the columns, (p,); 0 leaves one unpenalized.
        alphas: number of strengths, or a list of them.
        eps: smallest strength as a share of the largest; 1e-3 if n > p, else 1e-2, unless given.
        cv: number of folds (5 unless given), or a splitter or list of (train, test) that holds every row out once.
        selection_rule: "min" for the best mean score, "1se" for the largest strength within one standard error of it.
        fit_intercept: whether to fit an intercept.
        standardize: whether to penalize columns over their standard deviation, of each training set.
        tol: duality gap, relative to the null model's objective, that fits are to reach.

    Attributes are those of `MCPRegression`, and `alpha_`, `alphas_` (L,), `score_path_` (K, L) and `selection_`, the
    `Selection` of `jaxreg.cross_validate` with all else that the folds gave.
    """


@parameters
class SCADRegression(_Scad, AtStrength):
    """Smoothly clipped absolute deviation.

    min 1/(2W) Σ w (y − x'b − b₀ − o)² + alpha Σ SCAD(b), nearly unbiased for large coefficients. Arguments and
    attributes are those of `MCPRegression`, with gamma above 2.

    Source: Fan & Li (2001), "Variable selection via nonconcave penalized likelihood", JASA 96.
    """


@parameters
class SCADRegressionCV(_Scad, AlongStrengths):
    """`SCADRegression` with the strength chosen by cross-validation: every strength and fold in one batch.

    Arguments and attributes are those of `MCPRegressionCV`, with gamma above 2.
    """


@parameters
class SLOPE(_Sorted, AtStrength):
    """Sorted L1.

    min 1/(2W) Σ w (y − x'b − b₀ − o)² + alpha Σ_k w_k |b|₍ₖ₎, the largest |b| first. Other arguments, and attributes,
    are those of `MCPRegression`; the gap is relative to the null model's objective.

    Args:
        fdr: rate of the weights of Benjamini and Hochberg.
        weights: falling weights, (p,), instead of those.

    Source: Bogdan, van den Berg, Sabatti, Su & Candès (2015), "SLOPE: adaptive variable selection via convex
    optimization", AOAS 9.
    """


@parameters
class SLOPECV(_Sorted, AlongStrengths):
    """`SLOPE` with the strength chosen by cross-validation: every strength and fold in one batch.

    Arguments and attributes are those of `SLOPE` and `MCPRegressionCV`.
    """
