"""Classifiers by ridge regression on −1 and 1."""

import dataclasses
from typing import Any

import numpy as np
from sklearn.model_selection import check_cv
from sklearn.preprocessing import LabelBinarizer
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.validation import check_is_fitted, column_or_1d

from jaxreg.sklearn._base import LinearClassifier, boolean
from jaxreg.sklearn._parameters import parameters
from jaxreg.sklearn._ridge import RidgeParameters, Ridges, check_ridge, fit_ridge
from jaxreg.sklearn._ridge_cv import RidgeCVParameters, by_folds, left_out, ridge_alphas
from jaxreg.sklearn._types import Array, Features


@parameters
class _SignClassifier(LinearClassifier):
    """What both share: labels as columns of −1 and 1. Abstract."""

    class_weight: Any = None

    def _columns(self, X: Any, y: Any, sample_weight: Any) -> tuple[Features, Array, Array, Array]:
        """Checked features, labels, weights with those of classes, and columns (n, 1 or k)."""
        X, y, weights = self._checked(X, y, sample_weight, multi_output=True)
        self._binarizer = LabelBinarizer(pos_label=1, neg_label=-1)
        columns = self._binarizer.fit_transform(y).astype(np.float64)
        if not self._many_labels:
            y = column_or_1d(y, warn=True)
            if self.classes_.size < 2:
                raise ValueError(f"y must have samples of at least 2 classes, got one class only: {self.classes_[0]!r}")
        if self.class_weight is not None:
            weights = weights * compute_sample_weight(self.class_weight, y)
        return X, y, weights, columns

    def _keep(self, X: Features, fits: Ridges) -> None:
        """Set what was fitted."""
        several = len(fits.coef) > 1
        coef, self.intercept_ = fits.coef.astype(X.dtype), fits.intercept.astype(X.dtype)
        self.coef_ = coef if several else coef[0]
        self.dual_gap_: Any = fits.gap if several else float(fits.gap[0])

    @property
    def classes_(self) -> Array:
        """Labels, (k,)."""
        return self._binarizer.classes_

    @property
    def _many_labels(self) -> bool:
        """Whether a row may have several labels: y is a table of 0 and 1."""
        return self._binarizer.y_type_.startswith("multilabel")

    def predict(self, X: Any) -> Array:
        """Most likely class of every row, (n,); a table of 0 and 1, (n, k), if that is what was fitted.

        Args:
            X: features, (n, p), dense or scipy.sparse.
        """
        check_is_fitted(self)
        link = self.decision_function(X)
        if self._many_labels:
            return self._binarizer.inverse_transform(np.where(link > 0, 1.0, -1.0))
        index = (link > 0).astype(int) if link.ndim == 1 else link.argmax(axis=1)
        return self.classes_[index]

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags


@parameters
class RidgeClassifier(RidgeParameters, _SignClassifier):
    """Classifier by ridge regression on −1 and 1, one column a class if there are more than two.

    As `sklearn.linear_model.RidgeClassifier`.

    Args:
        alpha: strength, as in `Ridge`.
        fit_intercept: whether to fit an intercept.
        copy_X: without effect: X is never written to.
        max_iter: without effect: the solution is in closed form.
        tol: duality gap, relative to the null model's objective, beyond which a `ConvergenceWarning` says so.
        class_weight: None, "balanced", or factors of sample weights by class.
        solver: without effect: all of scikit-learn's have the same solution.
        positive: whether coefficients must not be negative.
        random_state: without effect: nothing is random.

    Attributes:
        classes_: labels, (k,).
        coef_: (p,) for two classes, else (k, p).
        intercept_: (1,) or (k,).
        dual_gap_: duality gap of `Ridge` on the columns, a number or (k,).
        n_iter_: ones: the solution is in closed form.
    """

    alpha: float = dataclasses.field(default=1.0, kw_only=False)

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> "RidgeClassifier":
        """Fit, and certify.

        Args:
            X: features, (n, p), dense or scipy.sparse.
            y: labels, (n,); or 0 and 1, (n, k), where a row may have several.
            sample_weight: weights, (n,).

        Raises:
            TypeError: if something is not of its kind.
            ValueError: if a parameter or value is outside its domain, or there is one class only.
        """
        check_ridge(self.alpha, self.tol, self.solver)
        boolean(fit_intercept=self.fit_intercept, positive=self.positive)
        X, _, weights, columns = self._columns(X, y, sample_weight)
        chosen = np.full(columns.shape[1], float(self.alpha))
        options: dict[str, Any] = {"intercept": self.fit_intercept, "positive": self.positive, "tol": self.tol}
        self._keep(X, fit_ridge(X, columns, weights, chosen, name="RidgeClassifier", **options))
        self.n_iter_ = np.ones(columns.shape[1], dtype=int)
        return self


@parameters
class RidgeClassifierCV(RidgeCVParameters, _SignClassifier):
    """Classifier by ridge regression with alpha chosen by leave-one-out in closed form, or by folds.

    As `sklearn.linear_model.RidgeClassifierCV`.

    Args:
        alphas: strengths, positive.
        fit_intercept: whether to fit an intercept.
        scoring: a scorer or its name. Unless given: with leave-one-out the negative mean squared error of −1 and 1,
            with folds the accuracy.
        cv: None for leave-one-out; a number of folds, a splitter, or a list of (train, test).
        class_weight: None, "balanced", or factors of sample weights by class.
        store_cv_results: whether to keep squared errors of leave-one-out, in `cv_results_`.

    Attributes:
        classes_: labels, (k,).
        alpha_: the chosen strength.
        best_score_: its score.
        cv_results_: squared errors of leave-one-out, (n, 1 or k, L).
        coef_: (p,) for two classes, else (k, p).
        intercept_: (1,) or (k,).
        dual_gap_: duality gap of `Ridge` on the columns, a number or (k,).
    """

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> "RidgeClassifierCV":
        """Choose the strength, and fit all rows at it.

        Args:
            X: features, (n, p), dense or scipy.sparse.
            y: labels, (n,); or 0 and 1, (n, k), where a row may have several.
            sample_weight: weights, (n,).

        Raises:
            TypeError: if something is not of its kind.
            ValueError: if a parameter or value is outside its domain, or parameters contradict each other.
        """
        boolean(fit_intercept=self.fit_intercept, store_cv_results=self.store_cv_results)
        alphas = ridge_alphas(self.alphas)
        if self.cv is not None and self.store_cv_results:
            raise ValueError("store_cv_results is for leave-one-out: it needs cv=None")
        if self.cv is None and self.scoring is not None:
            raise ValueError("scoring needs folds here: give cv, such as cv=5; leave-one-out judges by squared error")
        X, y, weights, columns = self._columns(X, y, sample_weight)
        if self.cv is None:
            held = left_out(X, columns, weights, alphas, self.fit_intercept)
            errors = weights[:, None, None] * np.square(columns[:, :, None] - held)
            scores = -errors.mean(axis=(0, 1))
            if self.store_cv_results:
                self.cv_results_ = errors
        else:
            splits = check_cv(self.cv, y, classifier=True).split(X, y)
            folds = [(np.asarray(train), np.asarray(test)) for train, test in splits]
            scores = by_folds(X, columns, y, weights, None, alphas, folds, self, self.fit_intercept)
        self.best_score_ = float(scores.max())
        self.alpha_ = float(alphas[scores.argmax()])
        chosen = np.full(columns.shape[1], self.alpha_)
        options: dict[str, Any] = {"intercept": self.fit_intercept, "tol": 1e-4, "name": "RidgeClassifierCV"}
        self._keep(X, fit_ridge(X, columns, weights, chosen, **options))
        return self
