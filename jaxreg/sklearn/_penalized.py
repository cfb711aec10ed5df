"""What scikit-learn does not have: a loss and a penalty of jaxreg's, at one strength or at one that folds choose."""

import abc
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
from jaxreg.sklearn._base import LinearRegressor, Router, boolean, one_of, weights_of
from jaxreg.sklearn._fit import fit_sets, warn_astray
from jaxreg.sklearn._glm import explained
from jaxreg.sklearn._types import Array, Features


class Penalized(LinearRegressor):
    """min 1/W Σ w ℓ(x'b + b₀ + o, y) + penalty, for a loss and a penalty of jaxreg's. Abstract."""

    fit_intercept: bool
    standardize: bool
    tol: float

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
        return X, y.astype(np.float64), weights, self._offset(offset, X.shape[0])

    @staticmethod
    def _offset(offset: Any, n: int) -> Array | None:
        if offset is None:
            return None
        array = np.asarray(offset, dtype=np.float64)
        if array.shape != (n,):
            raise ValueError(f"offset must have one value per row of X, shape ({n},), got shape {array.shape}")
        _check.number("offset", array, low=-np.inf)
        return array

    def predict(self, X: Any, offset: Any = None) -> Array:
        """Predict the mean, (n,).

        Args:
            X: features, (n, p), dense or scipy.sparse.
            offset: offsets on the link scale, (n,).
        """
        link = self._link(X)
        shift = self._offset(offset, len(link))
        link = link if shift is None else (link + shift).astype(link.dtype)
        with jax.enable_x64(True):
            return np.asarray(self._loss().mean(jnp.asarray(link, dtype=np.float64))).astype(link.dtype)

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """D², the share of the deviance of the mean that is explained: R² for squared error.

        Args:
            X: features, (n, p), dense or scipy.sparse.
            y: target, (n,).
            sample_weight: weights, (n,).
        """
        check_is_fitted(self)
        y = column_or_1d(y, warn=True).astype(np.float64)
        return explained(self._loss(), self._link(X).astype(np.float64), y, weights_of(sample_weight, y.size))


class AtStrength(Penalized):
    """One strength. Abstract."""

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
        X, y, weights, shift = self._data(X, y, sample_weight, offset)
        fits = fit_sets(
            X,
            y,
            loss=self._loss(),
            penalty=self._penalty(X.shape[1]),
            lams=[self.alpha],
            weights=weights[None],
            offset=shift,
            intercept=self.fit_intercept,
            standardize=self.standardize,
            tol=self.tol,
        )
        warn_astray(fits.astray, self.tol, type(self).__name__)
        self.coef_ = fits.coef[0, 0, 0].astype(X.dtype)
        self.intercept_ = float(fits.intercept[0, 0, 0])
        self.dual_gap_ = float(fits.gap[0, 0, 0])
        self.kkt_ = float(fits.kkt[0, 0, 0])
        self.n_iter_ = max(1, int(fits.steps[0, 0, 0]))
        return self


class AlongStrengths(Router, Penalized):
    """A strength chosen by folds. Abstract.

    What is learned is `alpha_`, `alphas_` (L,), `score_path_` (K, L), `coef_`, `intercept_`, `dual_gap_`, `kkt_`, and
    `selection_`, the `Selection` of `jaxreg.cross_validate` with all else that the folds gave.
    """

    alphas: Any
    eps: Any
    selection_rule: str

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


def columns_weight(penalty_factor: Any, p: int) -> Array | None:
    """Penalty factors (p,), or None.

    Raises:
        ValueError: if they are not p numbers of at least 0.
    """
    if penalty_factor is None:
        return None
    factor = np.asarray(penalty_factor, dtype=np.float64)
    if factor.shape != (p,):
        raise ValueError(f"penalty_factor must have one factor per column of X, shape ({p},), got shape {factor.shape}")
    _check.number("penalty_factor", factor)
    return factor
