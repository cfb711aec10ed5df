"""Cox's proportional hazards with the elastic net."""

from typing import Any

import numpy as np
from sklearn.model_selection import check_cv
from sklearn.utils.validation import check_array, check_is_fitted, validate_data

from jaxreg import _check
from jaxreg.losses import Cox, Loss
from jaxreg.penalties import ElasticNet, Penalty
from jaxreg.selection import cross_validate
from jaxreg.sklearn._base import FLOATS, Linear, Router, boolean, one_of, weights_of
from jaxreg.sklearn._fit import fit_sets, warn_astray
from jaxreg.sklearn._penalized import columns_weight, keep_selection
from jaxreg.sklearn._types import Array, Features


def survival_columns(y: Any, n: int) -> Array:
    """Columns (time, event), (n, 2), of a survival target.

    Args:
        y: a structured array whose first field is the event and second the time, as scikit-survival has it; an array
            with columns time and event; or signed times, (n,), where a time below 0 is one of censoring.
        n: number of rows.

    Raises:
        ValueError: if it is none of these, or a value is NaN, infinite or negative.
    """
    array = np.asarray(y)
    if array.dtype.names:
        if len(array.dtype.names) != 2:
            raise ValueError(f"y must have 2 fields, event and time, got {array.dtype.names}")
        event, time = (array[name] for name in array.dtype.names)
        columns = np.stack([np.asarray(time, np.float64), np.asarray(event, np.float64)], axis=1)
    else:
        columns = check_array(array, ensure_2d=False, dtype=np.float64, input_name="y")
        if columns.ndim == 2 and columns.shape[1] == 1:
            columns = columns[:, 0]
        if columns.ndim == 1:
            columns = np.stack([np.abs(columns), (columns >= 0).astype(np.float64)], axis=1)
    if columns.shape != (n, 2):
        raise ValueError(f"y must have a time and an event for each of {n} rows of X, got shape {array.shape}")
    if not np.isin(columns[:, 1], (0, 1)).all():
        raise ValueError("y must have events that are True or False")
    _check.number("y (time)", columns[:, 0])
    return columns


class _Hazard(Linear):
    """What both share. Abstract."""

    ties: str
    l1_ratio: float
    penalty_factor: Any
    standardize: bool
    tol: float

    def _parts(self, p: int) -> tuple[Loss, Penalty]:
        _check.number("l1_ratio", self.l1_ratio, high=1.0)
        _check.number("tol", self.tol)
        boolean(standardize=self.standardize)
        ties: Any = self.ties
        return Cox(ties=ties), ElasticNet(1.0, self.l1_ratio, columns_weight(self.penalty_factor, p))

    def _risk_data(self, X: Any, y: Any, sample_weight: Any) -> tuple[Features, Array, Array]:
        if y is None:
            raise ValueError(f"{type(self).__name__} requires y to be passed, but the target y is None")
        X = validate_data(self, X, accept_sparse=["csc", "csr", "coo"], dtype=FLOATS, ensure_min_samples=2)
        return X, survival_columns(y, X.shape[0]), weights_of(sample_weight, X.shape[0])

    def predict(self, X: Any) -> Array:
        """Risk scores x'b, (n,): the log of hazards relative to x = 0.

        Args:
            X: features, (n, p), dense or scipy.sparse.
        """
        return self._link(X)

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


def concordance(risk: Array, columns: Array, weights: Array) -> float:
    """Share of comparable pairs that are ordered right, ties of risk counting half; NaN without such pairs.

    Source: Harrell, Califf, Pryor, Lee & Rosati (1982), "Evaluating the yield of medical tests", JAMA 247.
    """
    time, event = columns.T
    right = total = 0.0
    for i in np.flatnonzero(event * weights > 0):
        later = (time > time[i]) | ((time == time[i]) & (event == 0))
        pairs = weights[i] * weights[later]
        total += pairs.sum()
        right += pairs @ np.where(risk[later] == risk[i], 0.5, risk[later] < risk[i])
    return float(right / total) if total else float("nan")


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
        dual_gap_: duality gap relative to the null model's objective; NaN where none is known.
        kkt_: residual of the optimality condition, relative to the gradient at the null model.
        n_iter_: steps of the solver.

    Source: Cox (1972), "Regression models and life-tables", JRSS B 34; Simon, Friedman, Hastie & Tibshirani (2011),
    "Regularization paths for Cox's proportional hazards model via coordinate descent", JSS 39.
    """

    def __init__(
        self,
        alpha: float = 0.1,
        *,
        l1_ratio: float = 1.0,
        ties: str = "breslow",
        penalty_factor: Any = None,
        standardize: bool = False,
        tol: float = 1e-6,
    ) -> None:
        self.alpha = alpha
        self.l1_ratio = l1_ratio
        self.ties = ties
        self.penalty_factor = penalty_factor
        self.standardize = standardize
        self.tol = tol

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> "CoxRegression":
        """Fit, and certify.

        Args:
            X: features, (n, p), dense or scipy.sparse.
            y: structured (event, time); or columns time and event, (n, 2); or signed times, (n,), where a time below
                0 is one of censoring.
            sample_weight: weights, (n,).

        Raises:
            TypeError: if something is not of its kind.
            ValueError: if a parameter or value is outside its domain.
        """
        _check.number("alpha", self.alpha)
        X, columns, weights = self._risk_data(X, y, sample_weight)
        loss, penalty = self._parts(X.shape[1])
        options: dict[str, Any] = {"weights": weights[None], "standardize": self.standardize, "tol": self.tol}
        fits = fit_sets(X, columns, loss=loss, penalty=penalty, lams=[self.alpha], **options)
        warn_astray(fits.astray, self.tol, "CoxRegression")
        self.coef_ = fits.coef[0, 0, 0].astype(X.dtype)
        self.intercept_ = 0.0
        self.dual_gap_, self.kkt_ = float(fits.gap[0, 0, 0]), float(fits.kkt[0, 0, 0])
        self.n_iter_ = max(1, int(fits.steps[0, 0, 0]))
        return self


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

    def __init__(
        self,
        *,
        l1_ratio: float = 1.0,
        alphas: Any = 100,
        eps: Any = None,
        cv: Any = None,
        selection_rule: str = "min",
        ties: str = "breslow",
        penalty_factor: Any = None,
        standardize: bool = False,
        tol: float = 1e-6,
        random_state: int = 0,
    ) -> None:
        self.l1_ratio = l1_ratio
        self.alphas = alphas
        self.eps = eps
        self.cv = cv
        self.selection_rule = selection_rule
        self.ties = ties
        self.penalty_factor = penalty_factor
        self.standardize = standardize
        self.tol = tol
        self.random_state = random_state

    def fit(self, X: Any, y: Any, sample_weight: Any = None, **params: Any) -> "CoxRegressionCV":
        """Choose the strength by cross-validation, and fit all rows at it.

        Args:
            X: features, (n, p), dense or scipy.sparse.
            y: survival target, as for `CoxRegression`.
            sample_weight: weights, (n,).
            **params: metadata for the splitter, where routing is enabled.

        Raises:
            TypeError: if something is not of its kind.
            ValueError: if a parameter or value is outside its domain, or folds hold rows out twice or never.
        """
        one_of("selection_rule", self.selection_rule, ("min", "1se"))
        X, columns, weights = self._risk_data(X, y, sample_weight)
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
            standardize=self.standardize,
            tol=self.tol,
            folds=(5 if self.cv is None else self.cv) if dealt else 0,
            fold_id=None if dealt else self._fold_id(check_cv(self.cv), X, columns[:, 1], params),
            seed=self.random_state,
        )
        keep_selection(self, chosen, X.dtype)
        return self
