"""What the estimators share: checks of what they are given, predictions, and scikit-learn's tags."""

from typing import Any, NamedTuple

import numpy as np
from scipy import sparse
from sklearn import get_config
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.utils.extmath import safe_sparse_dot
from sklearn.utils.metadata_routing import MetadataRouter, MethodMapping, process_routing
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, column_or_1d, validate_data

from jaxreg import _check
from jaxreg.sklearn._types import Array, Features

FLOATS = [np.float64, np.float32]


class Checked(NamedTuple):
    """Features (n, p) in float64 or float32, dense or sparse; the target; sample weights (n,)."""

    X: Features
    y: Any
    weights: Array


class Linear(BaseEstimator):
    """An estimator whose predictions come from X @ coef_.T + intercept_. Abstract."""

    coef_: Any
    intercept_: Any

    def _checked(self, X: Any, y: Any, sample_weight: Any, **options: Any) -> Checked:
        """Check features, target and weights as scikit-learn does, and remember the names of features."""
        usual: dict[str, Any] = {"accept_sparse": ["csc", "csr", "coo"], "dtype": FLOATS, "ensure_min_samples": 2}
        X, y = validate_data(self, on_host(X), on_host(y), **usual | options)
        return Checked(X, y, weights_of(sample_weight, X.shape[0]))

    def _link(self, X: Any, offset: Any = None) -> Array:
        """Linear predictors, (n,) or (n, k)."""
        check_is_fitted(self)
        X = validate_data(self, on_host(X), reset=False, accept_sparse=["csr", "csc", "coo"], dtype=FLOATS)
        link = safe_sparse_dot(X, self.coef_.T, dense_output=True) + self.intercept_
        shift = offset_of(offset, X.shape[0])
        return link if shift is None else (link + shift).astype(link.dtype)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags


class LinearRegressor(RegressorMixin, Linear):
    """A regressor that predicts its linear predictor. Abstract."""

    one_target = True
    """Whether y may be (n,)."""
    many_targets = False
    """Whether it may be (n, k)."""

    def predict(self, X: Any) -> Array:
        """Predict, (n,), or (n, k) for several targets.

        Args:
            X: features, (n, p), dense or scipy.sparse.
        """
        return self._link(X)

    @property
    def sparse_coef_(self) -> Any:
        """Coefficients as a scipy.sparse matrix."""
        return sparse.csr_matrix(self.coef_)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.single_output, tags.target_tags.multi_output = self.one_target, self.many_targets
        return tags


class LinearClassifier(ClassifierMixin, Linear):
    """A classifier by the sign, or the largest, of linear predictors. Abstract."""

    classes_: Any

    def decision_function(self, X: Any) -> Array:
        """Linear predictors, (n,) for two classes, else (n, classes).

        Args:
            X: features, (n, p), dense or scipy.sparse.
        """
        link = self._link(X)
        return link[:, 0] if link.ndim == 2 and link.shape[1] == 1 else link

    def predict(self, X: Any) -> Array:
        """Most likely class of every row, (n,).

        Args:
            X: features, (n, p), dense or scipy.sparse.
        """
        link = self.decision_function(X)
        index = (link > 0).astype(int) if link.ndim == 1 else link.argmax(axis=1)
        return self.classes_[index]

    def _labels(self, y: Any) -> tuple[Array, Array]:
        """Classes, and the index of each row's class.

        Raises:
            ValueError: if there is one class only, or the target is no kind of class.
        """
        check_classification_targets(y)
        classes, index = np.unique(column_or_1d(y, warn=True), return_inverse=True)
        if classes.size < 2:
            raise ValueError(f"y must have samples of at least 2 classes, got one class only: {classes[0]!r}")
        return classes, index


class Router:
    """Metadata routing of an estimator that splits rows: what else `fit` takes goes to the splitter."""

    cv: Any

    def get_metadata_routing(self) -> MetadataRouter:
        """Say who takes which metadata; see scikit-learn's guide on metadata routing."""
        takes = MethodMapping().add(caller="fit", callee="split")
        return MetadataRouter(owner=self).add_self_request(self).add(splitter=self.cv, method_mapping=takes)

    def _folds(self, splitter: Any, X: Features, y: Array, params: dict[str, Any]) -> list[tuple[Array, Array]]:
        """Rows of every training and held-out set."""
        if params and not get_config()["enable_metadata_routing"]:
            names = ", ".join(sorted(params))
            raise ValueError(f"fit got {names}, which only goes to the splitter with enable_metadata_routing=True")
        extra = process_routing(self, "fit", **params).splitter.split if params else {}
        return [(rows_of(train), rows_of(test)) for train, test in splitter.split(X, y, **extra)]

    def _fold_id(self, splitter: Any, X: Features, y: Array, params: dict[str, Any]) -> Array:
        """Fold of every row, (n,).

        Raises:
            ValueError: if rows are held out twice or never.
        """
        fold_id = np.full(X.shape[0], -1)
        for k, (_, test) in enumerate(self._folds(splitter, X, y, params)):
            if (fold_id[test] >= 0).any():
                raise ValueError(f"cv must hold every row out once; fold {k} holds some out again")
            fold_id[test] = k
        missing = int((fold_id < 0).sum())
        if missing:
            raise ValueError(f"cv must hold every row out once; it leaves {missing} rows in all training sets")
        return fold_id


def on_host(array: Any) -> Any:
    """What shares its memory by DLPack and has no other way to become NumPy's; anything else as it is.

    JAX arrays and tensors of torch on the CPU turn into NumPy's by themselves.
    """
    return np.from_dlpack(array) if hasattr(array, "__dlpack__") and not hasattr(array, "__array__") else array


def rows_of(chosen: Any) -> Array:
    """Row numbers, of numbers or of a mask."""
    chosen = np.asarray(chosen)
    return np.flatnonzero(chosen) if chosen.dtype == bool else chosen


def weights_of(sample_weight: Any, n: int) -> Array:
    """Weights (n,) in float64: ones unless given, a number for all.

    Raises:
        TypeError: if they are no numbers.
        ValueError: if their shape is wrong, one is negative, NaN or infinite, or all are zero.
    """
    if sample_weight is None:
        return np.ones(n)
    weights = np.asarray(on_host(sample_weight))
    if weights.dtype.kind not in "biuf":
        raise TypeError(f"sample_weight must be numeric, got dtype {weights.dtype}")
    if weights.ndim and weights.shape != (n,):
        raise ValueError(f"sample_weight must have one weight per row of X, shape ({n},), got shape {weights.shape}")
    _check.number("sample_weight", weights)
    if not weights.any():
        raise ValueError("sample_weight is zero for all rows: at least 2 need a positive weight")
    return np.broadcast_to(weights, (n,)).astype(np.float64)


def offset_of(offset: Any, n: int) -> Array | None:
    """Offsets (n,) in float64, or None.

    Raises:
        ValueError: if their shape is wrong, or one is NaN or infinite.
    """
    if offset is None:
        return None
    array = np.asarray(on_host(offset), dtype=np.float64)
    if array.shape != (n,):
        raise ValueError(f"offset must have one value per row of X, shape ({n},), got shape {array.shape}")
    _check.number("offset", array, low=-np.inf)
    return array


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


def training_weights(folds: list[tuple[Array, Array]], weights: Array) -> Array:
    """Sample weights of every training set, (K + 1, n): all rows first. A row drawn twice has twice its weight."""
    n = weights.size
    counts = [np.bincount(train, minlength=n) for train, _ in folds]
    return np.stack([weights, *(weights * count for count in counts)])


def boolean(**values: Any) -> None:
    """Refuse what is neither True nor False.

    Raises:
        TypeError: naming it.
    """
    for name, value in values.items():
        if not isinstance(value, (bool, np.bool_)):
            raise TypeError(f"{name} must be True or False, got {value!r}")


def one_of(name: str, value: Any, allowed: tuple[Any, ...]) -> None:
    """Refuse what is none of some words.

    Raises:
        ValueError: naming it.
    """
    if not any(value is word or (isinstance(value, type(word)) and value == word) for word in allowed):
        raise ValueError(f"{name} must be one of {', '.join(map(repr, allowed))}, got {value!r}")
