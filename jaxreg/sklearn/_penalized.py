"""A loss and a penalty of jaxreg's, at one strength or at one that folds choose."""

import abc
import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from sklearn.model_selection import check_cv
from sklearn.utils.validation import check_is_fitted, column_or_1d

from jaxreg import _check
from jaxreg.losses import Loss, Squared
from jaxreg.penalties import Penalty
from jaxreg.selection import Selection, cross_validate
from jaxreg.sklearn._base import LinearRegressor, Router, boolean, offset_of, one_of, weights_of
from jaxreg.sklearn._fit import Fit, fit_one, warn_astray
from jaxreg.sklearn._parameters import parameters
from jaxreg.sklearn._types import Array, Features


def explained(loss: Loss, link: Array, y: Array, weights: Array) -> float:
    """D², the share of the deviance of the mean that predictions on the link scale explain."""
    with jax.enable_x64(True):
        level = loss.link(jnp.asarray(np.average(y, weights=weights)))
        null = np.asarray(loss.deviance(jnp.full(y.shape, level), jnp.asarray(y)))
        own = np.asarray(loss.deviance(jnp.asarray(link), jnp.asarray(y)))
    return float(1 - np.average(own, weights=weights) / np.average(null, weights=weights))


class Penalized(LinearRegressor):
    """min 1/W Σ w ℓ(x'b + b₀ + o, y) + penalty, for a loss and a penalty of jaxreg's. Abstract."""

    fit_intercept: bool
    tol: float
    standardize: bool = False

    def _loss(self) -> Loss:
        """Squared error, unless a class says otherwise."""
        return Squared()

    @abc.abstractmethod
    def _penalty(self, p: int) -> Penalty:
        """The penalty for p columns; its strength does not count."""

    def _data(self, X: Any, y: Any, sample_weight: Any, offset: Any) -> tuple[Features, Any, Array, Array | None]:
        """Check parameters that all have, and data."""
        _check.number("tol", self.tol)
        boolean(fit_intercept=self.fit_intercept, standardize=self.standardize)
        X, y, weights = self._checked(X, y, sample_weight, y_numeric=True)
        return X, y.astype(np.float64), weights, offset_of(offset, X.shape[0])

    def predict(self, X: Any, offset: Any = None) -> Array:
        """Predict the mean, (n,).

        Args:
            X: features, (n, p), dense or scipy.sparse.
            offset: offsets on the link scale, (n,).
        """
        link = self._link(X, offset)
        with jax.enable_x64(True):
            return np.asarray(self._loss().mean(jnp.asarray(link, dtype=np.float64))).astype(link.dtype)

    def score(self, X: Any, y: Any, sample_weight: Any = None, offset: Any = None) -> float:
        """D², the share of the deviance of the mean that is explained: R² for squared error.

        Args:
            X: features, (n, p), dense or scipy.sparse.
            y: target, (n,).
            sample_weight: weights, (n,).
            offset: offsets on the link scale, (n,).

        Raises:
            ValueError: if the target is outside the loss's domain.
        """
        check_is_fitted(self)
        y = column_or_1d(y, warn=True).astype(np.float64)
        loss = self._loss()
        loss.check(y)
        return explained(loss, self._link(X, offset).astype(np.float64), y, weights_of(sample_weight, y.size))


class OneStrength(Penalized):
    """One strength, of whatever parameters there are beside it. Abstract."""

    alpha: float

    def fit(self, X: Any, y: Any, sample_weight: Any = None, offset: Any = None) -> Any:
        """Fit, and certify.

        Args:
            X: features, (n, p), dense or scipy.sparse.
            y: target, (n,).
            sample_weight: weights, (n,).
            offset: offsets on the link scale, (n,).

        Raises:
            TypeError: if something is not of its kind.
            ValueError: if a parameter or value is outside its domain.
        """
        _check.number("alpha", self.alpha)
        loss = self._loss()
        X, y, weights, shift = self._data(X, y, sample_weight, offset)
        penalty = self._penalty(X.shape[1])
        options: dict[str, Any] = {"intercept": self.fit_intercept, "standardize": self.standardize, "offset": shift}
        fit = self._judged(fit_one(X, y, self.alpha, weights, self.tol, loss=loss, penalty=penalty, **options))
        warn_astray(fit.astray, self.tol, type(self).__name__)
        self.coef_, self.intercept_ = fit.coef.astype(X.dtype), float(fit.intercept)
        self.dual_gap_, self.kkt_, self.n_iter_ = fit.gap, fit.kkt, fit.steps
        return self

    def _judged(self, fit: Fit) -> Fit:
        """The fit with the certificates that count."""
        return fit


@parameters
class AtStrength(OneStrength):
    """One strength. Abstract.

    Args:
        alpha: strength.
        fit_intercept: whether to fit b₀.
        standardize: whether to penalize columns over their standard deviation.
        tol: duality gap, relative to the null model's objective, beyond which a `ConvergenceWarning` says so.

    Attributes:
        coef_: (p,).
        intercept_: number.
        dual_gap_: duality gap relative to the null model's objective; NaN where none is known (concave penalties).
        kkt_: residual of the optimality condition, relative to the gradient at the null model.
        n_iter_: steps of the solver.
    """

    alpha: float = dataclasses.field(default=1.0, kw_only=False)
    fit_intercept: bool = True
    standardize: bool = False
    tol: float = 1e-6


@parameters
class AlongStrengths(Router, Penalized):
    """A strength chosen by cross-validation: every strength and fold in one batch. Abstract.

    Args:
        alphas: number of strengths, or a list of them.
        eps: smallest strength as a share of the largest; 1e-3 if n > p, else 1e-2, unless given.
        cv: number of folds (5 unless given), or a splitter or list of (train, test) that holds every row out once.
        selection_rule: "min" for the best mean score, "1se" for the largest strength within one standard error of it.
        fit_intercept: whether to fit an intercept.
        standardize: whether to penalize columns over their standard deviation, of each training set.
        tol: duality gap, relative to the null model's objective, that fits are to reach.

    Attributes:
        alpha_: the chosen strength.
        alphas_: strengths, (L,).
        score_path_: scores of the folds, (K, L).
        coef_: coefficients of the fit to all rows, (p,).
        intercept_: its intercept.
        dual_gap_: its duality gap, relative to the null model's objective; NaN where none is known.
        kkt_: its residual of the optimality condition, relative to the gradient at the null model.
        n_iter_: its steps.
        selection_: the `Selection` of `jaxreg.cross_validate`, with all else that the folds gave.
    """

    alphas: Any = 100
    eps: Any = None
    cv: Any = None
    selection_rule: str = "min"
    fit_intercept: bool = True
    standardize: bool = False
    tol: float = 1e-6

    def fit(self, X: Any, y: Any, sample_weight: Any = None, offset: Any = None, **params: Any) -> Any:
        """Choose the strength by cross-validation, and fit all rows at it: one batch does both.

        Args:
            X: features, (n, p), dense or scipy.sparse.
            y: target, (n,).
            sample_weight: weights, (n,), of fits and of held-out scores.
            offset: offsets on the link scale, (n,).
            **params: metadata for the splitter, where routing is enabled.

        Raises:
            TypeError: if something is not of its kind.
            ValueError: if a parameter or value is outside its domain, or folds hold rows out twice or never.
        """
        one_of("selection_rule", self.selection_rule, ("min", "1se"))
        X, y, weights, shift = self._data(X, y, sample_weight, offset)
        chosen = cross_validate(
            X,
            y,
            loss=self._loss(),
            penalty=self._penalty(X.shape[1]),
            lams=self.alphas,
            lam_min_ratio=self.eps,
            sample_weight=weights,
            offset=shift,
            intercept=self.fit_intercept,
            standardize=self.standardize,
            tol=self.tol,
            fold_id=self._fold_id(check_cv(self.cv), X, y, params),
            **self._more(),
        )
        keep_selection(self, chosen, X.dtype)
        return self

    def _more(self) -> dict[str, Any]:
        """Other arguments of `cross_validate`."""
        return {}


def keep_selection(estimator: Any, chosen: Selection, dtype: Any) -> None:
    """Set what cross-validation chose, by the estimator's rule."""
    best, rule = chosen.best, estimator.selection_rule
    at = chosen.index(rule)
    estimator.selection_ = chosen
    estimator.alpha_ = float(best.lams[at])
    estimator.alphas_ = best.lams
    estimator.score_path_ = best.scores
    estimator.coef_ = chosen.coef(rule).astype(dtype)
    estimator.intercept_ = float(chosen.intercept(rule))
    estimator.dual_gap_ = float(chosen.path.gap[at])
    estimator.kkt_ = float(chosen.path.kkt[at])
    estimator.n_iter_ = max(1, int(np.max(chosen.path.stats["steps"][at])))
