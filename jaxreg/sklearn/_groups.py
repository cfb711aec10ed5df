"""Regressors that keep or drop groups of columns together."""

from typing import Any

from jaxreg import penalties
from jaxreg.penalties import Penalty
from jaxreg.sklearn._penalized import AlongStrengths, AtStrength


class _Groups:
    """Group lasso. Abstract."""

    groups: Any
    group_weight: Any

    def _penalty(self, p: int) -> Penalty:
        groups = list(range(p)) if self.groups is None else self.groups
        return penalties.GroupLasso(1.0, groups, self.group_weight)


class _SparseGroups:
    """Sparse-group lasso. Abstract."""

    groups: Any
    l1_ratio: float
    group_weight: Any

    def _penalty(self, p: int) -> Penalty:
        groups = list(range(p)) if self.groups is None else self.groups
        return penalties.SparseGroupLasso(1.0, self.l1_ratio, groups, self.group_weight)


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
        dual_gap_: duality gap relative to the null model's objective; NaN where none is known (concave penalties).
        kkt_: residual of the optimality condition, relative to the gradient at the null model.
        n_iter_: steps of the solver.

    Source: Yuan & Lin (2006), "Model selection and estimation in regression with grouped variables", JRSS B 68.
    """

    def __init__(
        self,
        alpha: float = 1.0,
        *,
        groups: Any = None,
        group_weight: Any = None,
        fit_intercept: bool = True,
        standardize: bool = False,
        tol: float = 1e-6,
    ) -> None:
        self.alpha = alpha
        self.groups = groups
        self.group_weight = group_weight
        self.fit_intercept = fit_intercept
        self.standardize = standardize
        self.tol = tol


class GroupLassoCV(_Groups, AlongStrengths):
    """`GroupLasso` with the strength chosen by cross-validation: every strength and fold in one batch.

    Args:
        groups: labels of the columns' groups, (p,), or lists of columns; each its own unless given.
        group_weight: factors w_g of the groups; √size unless given.
        alphas: number of strengths, or a list of them.
        eps: smallest strength as a share of the largest; 1e-3 if n > p, else 1e-2, unless given.
        cv: number of folds (5 unless given), or a splitter or list of (train, test) that holds every row out once.
        selection_rule: "min" for the best mean score, "1se" for the largest strength within one standard error of it.
        fit_intercept: whether to fit an intercept.
        standardize: whether to penalize columns over their standard deviation, of each training set.
        tol: duality gap, relative to the null model's objective, that fits are to reach.

    Attributes are those of `GroupLasso`, and `alpha_`, `alphas_` (L,), `score_path_` (K, L) and `selection_`.
    """

    def __init__(
        self,
        *,
        groups: Any = None,
        group_weight: Any = None,
        alphas: Any = 100,
        eps: Any = None,
        cv: Any = None,
        selection_rule: str = "min",
        fit_intercept: bool = True,
        standardize: bool = False,
        tol: float = 1e-6,
    ) -> None:
        self.groups = groups
        self.group_weight = group_weight
        self.alphas = alphas
        self.eps = eps
        self.cv = cv
        self.selection_rule = selection_rule
        self.fit_intercept = fit_intercept
        self.standardize = standardize
        self.tol = tol


class SparseGroupLasso(_SparseGroups, AtStrength):
    """Sparse-group lasso.

    min 1/(2W) Σ w (y − x'b − b₀ − o)² + alpha (l1_ratio ‖b‖₁ + (1 − l1_ratio) Σ_g w_g ‖b_g‖₂).

    Args:
        alpha: strength.
        groups: labels of the columns' groups, (p,), or lists of columns; each its own unless given.
        l1_ratio: share of the absolute value, in [0, 1].
        group_weight: factors w_g of the groups; √size unless given.
        fit_intercept: whether to fit b₀.
        standardize: whether to penalize columns over their standard deviation.
        tol: duality gap, relative to the null model's objective, beyond which a `ConvergenceWarning` says so.

    Attributes:
        coef_: (p,).
        intercept_: number.
        dual_gap_: duality gap relative to the null model's objective; NaN where none is known (concave penalties).
        kkt_: residual of the optimality condition, relative to the gradient at the null model.
        n_iter_: steps of the solver.

    Source: Simon, Friedman, Hastie & Tibshirani (2013), "A sparse-group lasso", JCGS 22.
    """

    def __init__(
        self,
        alpha: float = 1.0,
        *,
        groups: Any = None,
        l1_ratio: float = 0.5,
        group_weight: Any = None,
        fit_intercept: bool = True,
        standardize: bool = False,
        tol: float = 1e-6,
    ) -> None:
        self.alpha = alpha
        self.groups = groups
        self.l1_ratio = l1_ratio
        self.group_weight = group_weight
        self.fit_intercept = fit_intercept
        self.standardize = standardize
        self.tol = tol


class SparseGroupLassoCV(_SparseGroups, AlongStrengths):
    """`SparseGroupLasso` with the strength chosen by cross-validation: every strength and fold in one batch.

    Args:
        groups: labels of the columns' groups, (p,), or lists of columns; each its own unless given.
        l1_ratio: share of the absolute value, in [0, 1].
        group_weight: factors w_g of the groups; √size unless given.
        alphas: number of strengths, or a list of them.
        eps: smallest strength as a share of the largest; 1e-3 if n > p, else 1e-2, unless given.
        cv: number of folds (5 unless given), or a splitter or list of (train, test) that holds every row out once.
        selection_rule: "min" for the best mean score, "1se" for the largest strength within one standard error of it.
        fit_intercept: whether to fit an intercept.
        standardize: whether to penalize columns over their standard deviation, of each training set.
        tol: duality gap, relative to the null model's objective, that fits are to reach.

    Attributes are those of `SparseGroupLasso`, and `alpha_`, `alphas_` (L,), `score_path_` (K, L) and `selection_`.
    """

    def __init__(
        self,
        *,
        groups: Any = None,
        l1_ratio: float = 0.5,
        group_weight: Any = None,
        alphas: Any = 100,
        eps: Any = None,
        cv: Any = None,
        selection_rule: str = "min",
        fit_intercept: bool = True,
        standardize: bool = False,
        tol: float = 1e-6,
    ) -> None:
        self.groups = groups
        self.l1_ratio = l1_ratio
        self.group_weight = group_weight
        self.alphas = alphas
        self.eps = eps
        self.cv = cv
        self.selection_rule = selection_rule
        self.fit_intercept = fit_intercept
        self.standardize = standardize
        self.tol = tol
