"""Estimators with scikit-learn's names, arguments and meanings, fitted by jaxreg's batched, certified engine.

Swap the import and keep the script. Strengths mean what they mean there; `_conventions` has the table. What
scikit-learn does not have has alpha = λ, the strength beside the weighted mean of the loss.
"""

from jaxreg.sklearn._classifier import LogisticRegression
from jaxreg.sklearn._classifier_cv import LogisticRegressionCV
from jaxreg.sklearn._glm import GammaRegressor, PoissonRegressor, TweedieRegressor
from jaxreg.sklearn._linear import ElasticNet, Lasso, enet_path, lasso_path
from jaxreg.sklearn._linear_cv import ElasticNetCV, LassoCV
from jaxreg.sklearn._multitask import MultiTaskElasticNet, MultiTaskElasticNetCV, MultiTaskLasso, MultiTaskLassoCV
from jaxreg.sklearn._ridge import Ridge, RidgeCV
from jaxreg.sklearn._ridge_classifier import RidgeClassifier, RidgeClassifierCV
from jaxreg.sklearn._robust import HuberRegressor, QuantileRegressor

__all__ = [
    "ElasticNet",
    "ElasticNetCV",
    "GammaRegressor",
    "HuberRegressor",
    "Lasso",
    "LassoCV",
    "LogisticRegression",
    "LogisticRegressionCV",
    "MultiTaskElasticNet",
    "MultiTaskElasticNetCV",
    "MultiTaskLasso",
    "MultiTaskLassoCV",
    "PoissonRegressor",
    "QuantileRegressor",
    "Ridge",
    "RidgeCV",
    "RidgeClassifier",
    "RidgeClassifierCV",
    "TweedieRegressor",
    "enet_path",
    "lasso_path",
]
