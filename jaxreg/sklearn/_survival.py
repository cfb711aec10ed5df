"""Cox's proportional hazards with the elastic net."""

import dataclasses
from typing import Any

import numpy as np
from sklearn.model_selection import check_cv
from sklearn.utils.validation import check_is_fitted, validate_data

from jaxreg import _check
from jaxreg.losses import Cox, Loss
from jaxreg.penalties import ElasticNet, Penalty
from jaxreg.selection import cross_validate
from jaxreg.sklearn._base import (
    FLOATS,
    Linear,
    Router,
    boolean,
    columns_weight,
    offset_of,
    on_host,
    one_of,
    weights_of,
)
from jaxreg.sklearn._fit import fit_one, warn_astray
from jaxreg.sklearn._parameters import Factors, parameters
from jaxreg.sklearn._penalized import keep_selection
from jaxreg.sklearn._survival_functions import StepFunction, baseline_hazard, concordance, survival_columns
from jaxreg.sklearn._types import Array, Features


@parameters
class _Hazard(Factors, Linear):
    """What both share. Abstract."""

    l1_ratio: float = 1.0
    ties: str = "breslow"
    standardize: bool = False
    tol: float = 1e-6

    def _parts(self, p: int) -> tuple[Loss, Penalty]:
        _check.number("l1_ratio", self.l1_ratio, high=1.0)
        _check.number("tol", self.tol)
        boolean(standardize=self.standardize)
        ties: Any = self.ties
        return Cox(ties=ties), ElasticNet(1.0, self.l1_ratio, columns_weight(self.penalty_factor, p))

    def _data(self, X: Any, y: Any, sample_weight: Any, offset: Any) -> tuple[Features, Array, Array, Array | None]:
        if y is None:
            raise ValueError(f"{type(self).__name__} requires y to be passed, but the target y is None")
        X = validate_data(self, on_host(X), accept_sparse=["csc", "csr", "coo"], dtype=FLOATS, ensure_min_samples=2)
        n = X.shape[0]
        return X, survival_columns(y, n), weights_of(sample_weight, n), offset_of(offset, n)

    def _keep_baseline(self, X: Features, columns: Array, weights: Array, offset: Array | None) -> None:
        """Set the hazard and survival of a row whose risk score is 0."""
        risk = np.asarray(X @ self.coef_, dtype=np.float64) + (0 if offset is None else offset)
        self.unique_times_, hazard = baseline_hazard(risk, columns, weights, self.ties)
        self.cum_baseline_hazard_ = StepFunction(self.unique_times_, hazard, 0.0)
        self.baseline_survival_ = StepFunction(self.unique_times_, np.exp(-hazard), 1.0)

    def predict(self, X: Any, offset: Any = None) -> Array:
        """Risk scores x'b, (n,): the log of hazards relative to x = 0.

        Args:
            X: features, (n, p), dense or scipy.sparse.
            offset: offsets of the scores, (n,).
        """
        return self._link(X, offset)

    def predict_cumulative_hazard_function(self, X: Any, return_array: bool = False) -> Array:
        """Cumulative hazard of every row: as functions of time, (n,), or at `unique_times_`, (n, T).

        Args:
            X: features, (n, p), dense or scipy.sparse.
            return_array: whether to return an array of numbers instead of functions.
        """
        hazard = np.exp(self._link(X).astype(np.float64))[:, None] * self.cum_baseline_hazard_.y
        return hazard if return_array else self._functions(hazard, 0.0)

    def predict_survival_function(self, X: Any, return_array: bool = False) -> Array:
        """Probability of every row to survive: as functions of time, (n,), or at `unique_times_`, (n, T).

        Args:
            X: features, (n, p), dense or scipy.sparse.
            return_array: whether to return an array of numbers instead of functions.
        """
        survival = np.exp(-self.predict_cumulative_hazard_function(X, return_array=True))
        return survival if return_array else self._functions(survival, 1.0)

    def _functions(self, values: Array, before: float) -> Array:
        made = np.empty(len(values), dtype=object)
        made[:] = [StepFunction(self.unique_times_, row, before) for row in values]
        return made

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Harrell's concordance: the share of comparable pairs in which the one with the higher risk fails first.

        Args:
            X: features, (n, p), dense or scipy.sparse.
            y: survival target, as for `fit`.
            sample_weight: weights, (n,); a pair has the product of its weights.
        """
        check_is_fitted(self)
        risk = self._link(X)
        columns = survival_columns(y, len(risk))
        return concordance(risk, columns, weights_of(sample_weight, len(risk)))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        return tags


@parameters
class CoxRegression(_Hazard):
    """Cox regression: min −log partial likelihood / W + alpha (l1_ratio ‖b‖₁ + (1 − l1_ratio)/2 ‖b‖²).

    The target is as in scikit-survival: a structured array of event and time.

    Args:
        alpha: strength.
        l1_ratio: share of the absolute value, in [0, 1].
        ties: "breslow", as in scikit-survival, or "efron".
        penalty_factor: factors of the columns, (p,); 0 leaves one unpenalized.
        standardize: whether to penalize columns over their standard deviation.
        tol: relative residual, beyond which a `ConvergenceWarning` says so.

    Attributes:
        coef_: (p,).
        intercept_: 0: there is none.
        unique_times_: times that were seen, (T,).
        cum_baseline_hazard_: cumulative hazard of a row whose risk score is 0, a function of time.
        baseline_survival_: probability of such a row to survive, likewise.
        dual_gap_: duality gap relative to the null model's objective; NaN where none is known.
        kkt_: residual of the optimality condition, relative to the gradient at the null model.
        n_iter_: steps of the solver.

    Source: Cox (1972), "Regression models and life-tables", JRSS B 34; Simon, Friedman, Hastie & Tibshirani (2011),
    "Regularization paths for Cox's proportional hazards model via coordinate descent", JSS 39.
    """

    alpha: float = dataclasses.field(default=0.1, kw_only=False)

    def fit(self, X: Any, y: Any, sample_weight: Any = None, offset: Any = None) -> "CoxRegression":
        """Fit, and certify.

        Args:
            X: features, (n, p), dense or scipy.sparse.
            y: structured (event, time); or columns time and event, (n, 2); or signed times, (n,), where a time below
                0 is one of censoring.
            sample_weight: weights, (n,).
            offset: offsets of the risk scores, (n,).

        Raises:
            TypeError: if something is not of its kind.
            ValueError: if a parameter or value is outside its domain.
        """
        _check.number("alpha", self.alpha)
        X, columns, weights, shift = self._data(X, y, sample_weight, offset)
        loss, penalty = self._parts(X.shape[1])
        options: dict[str, Any] = {"loss": loss, "penalty": penalty, "standardize": self.standardize, "offset": shift}
        fit = fit_one(X, columns, self.alpha, weights, self.tol, **options)
        warn_astray(fit.astray, self.tol, "CoxRegression")
        self.coef_, self.intercept_ = fit.coef.astype(X.dtype), 0.0
        self.dual_gap_, self.kkt_, self.n_iter_ = fit.gap, fit.kkt, fit.steps
        self._keep_baseline(X, columns, weights, shift)
        return self


@parameters
class CoxRegressionCV(Router, _Hazard):
    """`CoxRegression` with the strength chosen by the cross-validated partial likelihood.

    Args:
        l1_ratio: share of the absolute value, in [0, 1].
        alphas: number of strengths, or a list of them.
        eps: smallest strength as a share of the largest; 1e-3 if n > p, else 1e-2, unless given.
        cv: number of folds (5 unless given), dealt at random and by event; or a splitter, or a list of (train, test).
            Every row is held out once.
        selection_rule: "min" for the best mean score, "1se" for the largest strength within one standard error of it.
        ties: "breslow", as in scikit-survival, or "efron".
        penalty_factor: factors of the columns, (p,); 0 leaves one unpenalized.
        standardize: whether to penalize columns over their standard deviation, of each training set.
        tol: relative residual that fits are to reach.
        random_state: an integer, of the deal.

    Attributes are those of `CoxRegression`, and `alpha_`, `alphas_` (L,), `score_path_` (K, L) and `selection_`.

    Source: Verweij & van Houwelingen (1993), "Cross-validation in survival analysis", Statistics in Medicine 12.
    """

    alphas: Any = 100
    eps: Any = None
    cv: Any = None
    selection_rule: str = "min"
    random_state: int = 0

    def fit(self, X: Any, y: Any, sample_weight: Any = None, offset: Any = None, **params: Any) -> "CoxRegressionCV":
        """Choose the strength by cross-validation, and fit all rows at it.

        Args:
            X: features, (n, p), dense or scipy.sparse.
            y: survival target, as for `CoxRegression`.
            sample_weight: weights, (n,).
            offset: offsets of the risk scores, (n,).
            **params: metadata for the splitter, where routing is enabled.

        Raises:
            TypeError: if something is not of its kind.
            ValueError: if a parameter or value is outside its domain, or folds hold rows out twice or never.
        """
        one_of("selection_rule", self.selection_rule, ("min", "1se"))
        X, columns, weights, shift = self._data(X, y, sample_weight, offset)
        loss, penalty = self._parts(X.shape[1])
        dealt = self.cv is None or isinstance(self.cv, (int, np.integer))
        chosen = cross_validate(
            X,
            columns,
            loss=loss,
            penalty=penalty,
            lams=self.alphas,
            lam_min_ratio=self.eps,
            sample_weight=weights,
            offset=shift,
            standardize=self.standardize,
            tol=self.tol,
            folds=(5 if self.cv is None else self.cv) if dealt else 0,
            fold_id=None if dealt else self._fold_id(check_cv(self.cv), X, columns[:, 1], params),
            seed=self.random_state,
        )
        keep_selection(self, chosen, X.dtype)
        self._keep_baseline(X, columns, weights, shift)
        return self
