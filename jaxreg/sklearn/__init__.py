"""Estimators with scikit-learn's names, arguments and meanings, fitted by jaxreg's batched, certified engine.

Swap the import and keep the script. Strengths mean what they mean there; `_conventions` has the table. What
scikit-learn does not have has alpha = λ, the strength beside the weighted mean of the loss.
"""

from jaxreg.sklearn._classifier import LogisticRegression
from jaxreg.sklearn._classifier_cv import LogisticRegressionCV
from jaxreg.sklearn._columns import SLOPE, SLOPECV, MCPRegression, MCPRegressionCV, SCADRegression, SCADRegressionCV
from jaxreg.sklearn._displays import CoefficientDisplay, CVDisplay, PathDisplay
from jaxreg.sklearn._general import GeneralizedLinear, GeneralizedLinearCV
from jaxreg.sklearn._glm import GammaRegressor, PoissonRegressor, TweedieRegressor
from jaxreg.sklearn._groups import GroupLasso, GroupLassoCV, SparseGroupLasso, SparseGroupLassoCV
from jaxreg.sklearn._linear import ElasticNet, Lasso, enet_path, lasso_path
from jaxreg.sklearn._linear_cv import ElasticNetCV, LassoCV
from jaxreg.sklearn._multitask import MultiTaskElasticNet, MultiTaskElasticNetCV, MultiTaskLasso, MultiTaskLassoCV
from jaxreg.sklearn._ridge import Ridge
from jaxreg.sklearn._ridge_classifier import RidgeClassifier, RidgeClassifierCV
from jaxreg.sklearn._ridge_cv import RidgeCV
from jaxreg.sklearn._robust import HuberRegressor, QuantileRegressor
from jaxreg.sklearn._search import BatchedSearchCV
from jaxreg.sklearn._survival import CoxRegression, CoxRegressionCV
from jaxreg.sklearn._two_stage import AdaptiveLasso, AdaptiveLassoCV, RelaxedLasso, RelaxedLassoCV

__all__ = [
    "SLOPE",
    "SLOPECV",
    "AdaptiveLasso",
    "AdaptiveLassoCV",
    "BatchedSearchCV",
    "CVDisplay",
    "CoefficientDisplay",
    "CoxRegression",
    "CoxRegressionCV",
    "ElasticNet",
    "ElasticNetCV",
    "GammaRegressor",
    "GeneralizedLinear",
    "GeneralizedLinearCV",
    "GroupLasso",
    "GroupLassoCV",
    "HuberRegressor",
    "Lasso",
    "LassoCV",
    "LogisticRegression",
    "LogisticRegressionCV",
    "MCPRegression",
    "MCPRegressionCV",
    "MultiTaskElasticNet",
    "MultiTaskElasticNetCV",
    "MultiTaskLasso",
    "MultiTaskLassoCV",
    "PathDisplay",
    "PoissonRegressor",
    "QuantileRegressor",
    "RelaxedLasso",
    "RelaxedLassoCV",
    "Ridge",
    "RidgeCV",
    "RidgeClassifier",
    "RidgeClassifierCV",
    "SCADRegression",
    "SCADRegressionCV",
    "SparseGroupLasso",
    "SparseGroupLassoCV",
    "TweedieRegressor",
    "enet_path",
    "lasso_path",
]
