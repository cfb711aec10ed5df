"""Logistic regression of two or more classes, at one C."""

import abc
import dataclasses
from typing import Any

import numpy as np
from scipy import sparse
from scipy.special import expit, log_expit, log_softmax, softmax
from sklearn.utils.validation import check_is_fitted

from jaxreg import _check
from jaxreg.losses import Logistic, Loss, Multinomial
from jaxreg.penalties import ElasticNet
from jaxreg.sklearn._base import LinearClassifier, boolean, columns_weight, one_of
from jaxreg.sklearn._conventions import logistic_lam
from jaxreg.sklearn._fit import fit_one, warn_astray
from jaxreg.sklearn._parameters import Factors, parameters
from jaxreg.sklearn._types import Array

SOLVERS = ("lbfgs", "liblinear", "newton-cg", "newton-cholesky", "sag", "saga")
PENALTIES = ("deprecated", "l1", "l2", "elasticnet", None)


def class_factors(class_weight: Any, classes: Array, index: Array, weights: Array) -> Array:
    """Factor of each row's weight, (n,), that `class_weight` asks for: W / (k W_c) if "balanced".

    Raises:
        TypeError: if it is none of None, a dict, and "balanced".
        ValueError: if a key is no class.
    """
    if class_weight is None:
        return np.ones(index.size)
    if isinstance(class_weight, str) and class_weight == "balanced":
        total = np.bincount(index, weights=weights, minlength=classes.size)
        return (weights.sum() / (classes.size * np.where(total > 0, total, 1)))[index]
    if not isinstance(class_weight, dict):
        raise TypeError(f'class_weight must be None, "balanced" or a dict, got {class_weight!r}')
    unknown = [key for key in class_weight if key not in classes.tolist()]
    if unknown:
        raise ValueError(f"class_weight has keys that are no class: {unknown}; classes are {classes.tolist()}")
    return np.array([float(class_weight.get(label, 1.0)) for label in classes.tolist()])[index]


def refuse_one_class(classes: Array, index: Array, weights: Array) -> None:
    """Check that rows of two classes count.

    Raises:
        ValueError: if all rows whose weight is positive are of one class.
    """
    count = np.bincount(index, weights=weights, minlength=classes.size)
    if np.count_nonzero(count) < 2:
        label = classes[count.argmax()]
        raise ValueError(f"y has one class only, {label!r}, among rows whose sample_weight is positive: nothing to fit")


def loss_of(classes: Array, index: Array) -> tuple[Loss, Array]:
    """The loss for so many classes, and the target it takes."""
    return (Logistic(), index.astype(np.float64)) if classes.size == 2 else (Multinomial(), index)


def by_class(coef: Array, level: Array, penalized: bool) -> tuple[Array, Array]:
    """Coefficients (1 or k, p) and intercepts (1 or k,), as scikit-learn has them, of (p,) or (p, k) and () or (k,).

    Intercepts of k classes are unique up to a common number: they sum to 0. So do coefficients without a penalty.
    """
    if coef.ndim == 1:
        return coef[None], np.reshape(level, 1)
    coef = coef if penalized else coef - coef.mean(axis=1, keepdims=True)
    return coef.T, level - level.mean()


class Probabilities(LinearClassifier):
    """Probabilities from linear predictors: logistic for two classes, softmax for more. Abstract."""

    @abc.abstractmethod
    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Any:
        """Fit."""

    def predict_proba(self, X: Any) -> Array:
        """Probability of every class, (n, classes), in the order of `classes_`.

        Args:
            X: features, (n, p), dense or scipy.sparse.
        """
        link = self.decision_function(X)
        return np.stack([expit(-link), expit(link)], axis=1) if link.ndim == 1 else softmax(link, axis=1)

    def predict_log_proba(self, X: Any) -> Array:
        """Logarithm of `predict_proba`, accurate where that is next to 0 or 1.

        Args:
            X: features, (n, p), dense or scipy.sparse.
        """
        link = self.decision_function(X)
        return np.stack([log_expit(-link), log_expit(link)], axis=1) if link.ndim == 1 else log_softmax(link, axis=1)

    def sparsify(self) -> "Probabilities":
        """Turn `coef_` into a scipy.sparse matrix."""
        check_is_fitted(self)
        self.coef_ = sparse.csr_matrix(self.coef_)
        return self

    def densify(self) -> "Probabilities":
        """Turn `coef_` back into an array."""
        check_is_fitted(self)
        self.coef_ = self.coef_.toarray() if sparse.issparse(self.coef_) else self.coef_
        return self


@parameters
class LogisticParameters(Factors):
    """What logistic regressions share. Abstract."""

    dual: bool = False
    tol: float = 1e-4
    fit_intercept: bool = True
    intercept_scaling: float = 1
    class_weight: Any = None
    random_state: Any = None
    solver: str = "lbfgs"
    max_iter: int = 100
    verbose: int = 0
    n_jobs: Any = None


@parameters
class LogisticRegression(LogisticParameters, Probabilities):
    """Logistic regression: min C Σ w ℓ(x'b + b₀, y) + l1_ratio ‖b‖₁ + (1 − l1_ratio)/2 ‖b‖².

    As `sklearn.linear_model.LogisticRegression` with any solver but "liblinear": every mix with every number of
    classes, the intercept is not penalized, and more than two classes have the multinomial loss.

    Args:
        penalty: as before scikit-learn 1.8: "l1", "l2", "elasticnet" or None, which `l1_ratio` and `C` replace.
        C: inverse strength; infinite for no penalty.
        l1_ratio: share of the absolute value, in [0, 1].
        dual: without effect: dual and primal have one solution.
        tol: duality gap, relative to the null model's objective, beyond which a `ConvergenceWarning` says so.
        fit_intercept: whether to fit b₀.
        intercept_scaling: without effect: the intercept is not penalized.
        class_weight: None, "balanced", or factors of sample weights by class.
        penalty_factor: factors of the columns' penalties, (p,); 0 leaves one unpenalized.
        random_state: without effect: nothing is random.
        solver: without effect: one engine for all.
        max_iter: without effect: the engine has a budget of its own.
        verbose: without effect.
        warm_start: without effect: solutions do not depend on where one starts.
        n_jobs: without effect.

    Attributes:
        classes_: labels, (k,).
        coef_: (1, p) for two classes, else (k, p).
        intercept_: (1,) or (k,).
        n_iter_: steps of the engine, (1,).
        dual_gap_: duality gap relative to the null model's objective; NaN without a penalty.

    >>> from jaxreg.sklearn import LogisticRegression
    >>> LogisticRegression().fit([[0.0], [1.0], [2.0], [3.0]], ["no", "no", "yes", "yes"]).predict([[0.5], [9.0]])
    array(['no', 'yes'], dtype='<U3')
    """

    penalty: Any = dataclasses.field(default="deprecated", kw_only=False)
    C: float = 1.0
    l1_ratio: float = 0.0
    warm_start: bool = False

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> "LogisticRegression":
        """Fit, and certify.

        Args:
            X: features, (n, p), dense or scipy.sparse.
            y: labels, (n,).
            sample_weight: weights, (n,).

        Raises:
            TypeError: if something is not of its kind.
            ValueError: if a parameter or value is outside its domain, or there is one class only.
        """
        C, mix = strength_and_mix(self.penalty, self.C, self.l1_ratio)
        _check.number("tol", self.tol)
        one_of("solver", self.solver, SOLVERS)
        boolean(fit_intercept=self.fit_intercept)
        X, y, weights = self._checked(X, y, sample_weight)
        self.classes_, index = self._labels(y)
        weights = weights * class_factors(self.class_weight, self.classes_, index, weights)
        refuse_one_class(self.classes_, index, weights)
        loss, target = loss_of(self.classes_, index)
        lam = logistic_lam(C, weights.sum()).item()
        penalty = ElasticNet(1.0, mix, columns_weight(self.penalty_factor, X.shape[1]))
        fit = fit_one(X, target, lam, weights, self.tol, loss=loss, penalty=penalty, intercept=self.fit_intercept)
        warn_astray(fit.astray, self.tol, "LogisticRegression")
        coef, level = by_class(fit.coef, fit.intercept, lam > 0)
        self.coef_, self.intercept_ = coef.astype(X.dtype), level.astype(X.dtype)
        self.dual_gap_ = fit.gap
        self.n_iter_ = np.array([fit.steps], dtype=np.int32)
        return self


def strength_and_mix(penalty: Any, C: Any, l1_ratio: Any) -> tuple[float, float]:
    """C and l1_ratio that the arguments, old or new, ask for.

    Raises:
        TypeError: if one is no number.
        ValueError: if one is outside its domain.
    """
    one_of("penalty", penalty, PENALTIES)
    _check.number("C", C, low=np.finfo(float).tiny, what="positive", finite=False)
    _check.number("l1_ratio", l1_ratio, high=1.0)
    if penalty is None:
        return np.inf, 0.0
    mix = {"l1": 1.0, "l2": 0.0}.get(penalty, float(l1_ratio))
    return float(C), mix
