"""Regressors that keep or drop groups of columns together."""

from typing import Any

from jaxreg import penalties
from jaxreg.penalties import Penalty
from jaxreg.sklearn._parameters import parameters
from jaxreg.sklearn._penalized import AlongStrengths, AtStrength


@parameters
class _Groups:
    """Group lasso. Abstract."""

    groups: Any = None
    group_weight: Any = None

    def _labels(self, p: int) -> Any:
        return list(range(p)) if self.groups is None else self.groups

    def _penalty(self, p: int) -> Penalty:
        return penalties.GroupLasso(1.0, self._labels(p), self.group_weight)


@parameters
class _SparseGroups(_Groups):
    """Sparse-group lasso. Abstract."""

    l1_ratio: float = 0.5

    def _penalty(self, p: int) -> Penalty:
        return penalties.SparseGroupLasso(1.0, self.l1_ratio, self._labels(p), self.group_weight)


@parameters
class GroupLasso(_Groups, AtStrength):
    """Group lasso: min 1/(2W) Σ w (y − x'b − b₀ − o)² + alpha Σ_g w_g ‖b_g‖₂.

    Args:
        alpha: strength.
        groups: labels of the columns' groups, (p,), or lists of columns; each its own unless given.
        group_weight: factors w_g of the groups; √size unless given.
        fit_intercept: whether to fit b₀.
        standardize: whether to penalize columns over their standard deviation.
        tol: duality gap, relative to the null model's objective, beyond which a `ConvergenceWarning` says so.

    Attributes:
        coef_: (p,).
        intercept_: number.
        dual_gap_: duality gap relative to the null model's objective; NaN where none is known.
        kkt_: residual of the optimality condition, relative to the gradient at the null model.
        n_iter_: steps of the solver.

    Source: Yuan & Lin (2006), "Model selection and estimation in regression with grouped variables", JRSS B 68.
    """


@parameters
class GroupLassoCV(_Groups, AlongStrengths):
    """`GroupLasso` with the strength chosen by cross-validation: every strength and fold in one batch.

    Groups and their weights are as there. Other arguments and attributes are those of `MCPRegressionCV`.
    """


@parameters
class SparseGroupLasso(_SparseGroups, AtStrength):
    """Sparse-group lasso.

    min 1/(2W) Σ w (y − x'b − b₀ − o)² + alpha (l1_ratio ‖b‖₁ + (1 − l1_ratio) Σ_g w_g ‖b_g‖₂). Other arguments, and
    attributes, are those of `GroupLasso`.

    Args:
        l1_ratio: share of the absolute value, in [0, 1].

    Source: Simon, Friedman, Hastie & Tibshirani (2013), "A sparse-group lasso", JCGS 22.
    """


@parameters
class SparseGroupLassoCV(_SparseGroups, AlongStrengths):
    """`SparseGroupLasso` with the strength chosen by cross-validation: every strength and fold in one batch.

    Groups, their weights and `l1_ratio` are as there. Other arguments and attributes are those of `MCPRegressionCV`.
    """
