"""Scores of many models on the same rows: all at once where the score is a known one, else one by one."""

import copy
from typing import Any

import numpy as np
from sklearn import metrics
from sklearn.base import ClassifierMixin, RegressorMixin
from sklearn.pipeline import Pipeline

from jaxreg.sklearn._base import LinearClassifier, LinearRegressor
from jaxreg.sklearn._types import Array, Features

COLUMNWISE = {
    "explained_variance": (1, metrics.explained_variance_score),
    "neg_mean_absolute_error": (-1, metrics.mean_absolute_error),
    "neg_mean_absolute_percentage_error": (-1, metrics.mean_absolute_percentage_error),
    "neg_mean_squared_error": (-1, metrics.mean_squared_error),
    "neg_median_absolute_error": (-1, metrics.median_absolute_error),
    "neg_root_mean_squared_error": (-1, metrics.root_mean_squared_error),
    "r2": (1, metrics.r2_score),
}
"""Scores of regressors, which scikit-learn computes for every column of a table by itself."""


def predicts_only(scoring: Any) -> bool:
    """Whether scores ask a model for predictions only, so that the last step of a pipeline may stand for all.

    Those that scikit-learn knows by name do. A function of somebody's may look into the pipeline.
    """
    return all(name is None or isinstance(name, str) for name in _names(scoring).values())


def score_models(
    models: list[Any], X: Features, y: Any, *, scoring: Any, scorer: Any, params: dict[str, Any]
) -> list[Any]:
    """Score every model: a number, or one of every name.

    Args:
        models: of one kind, or pipelines.
        X: features.
        y: targets.
        scoring: as the search was told.
        scorer: what scikit-learn made of it.
        params: metadata of the scorer for these rows.
    """
    known = _known(models[0], y, scoring, params)
    if known is None:
        return [scorer(model, X, y, **params) for model in models]
    guesses, weights = _predictions(models, X), params.get("sample_weight")
    scores = {name: _columns(metric, np.asarray(y), guesses, weights) for name, metric in known.items()}
    if scoring is None or isinstance(scoring, str):
        return list(scores["score"])
    return [dict(zip(scores, row, strict=True)) for row in zip(*scores.values(), strict=True)]


def with_steps(estimator: Pipeline, steps: Pipeline, model: Any) -> Pipeline:
    """The pipeline as it is after its fit: steps that were fitted, and the model."""
    whole = copy.copy(estimator)
    whole.steps = [*steps.steps, (estimator.steps[-1][0], model)]
    return whole


def _names(scoring: Any) -> dict[str, Any]:
    """Scores by the names that results have."""
    if isinstance(scoring, dict):
        return scoring
    return {name: name for name in scoring} if isinstance(scoring, (list, tuple, set)) else {"score": scoring}


def _known(model: Any, y: Any, scoring: Any, params: dict[str, Any]) -> dict[str, str] | None:
    """Scores by name, if all of them can be computed for all models at once."""
    if np.ndim(y) != 1 or params.keys() - {"sample_weight"}:
        return None
    kind, own, usual = type(model), set(COLUMNWISE), "r2"
    if issubclass(kind, LinearClassifier):
        own, usual = {"accuracy"}, "accuracy"
    elif not issubclass(kind, LinearRegressor):
        return None
    plain = kind.score in (RegressorMixin.score, ClassifierMixin.score)
    known = {name: usual if metric is None and plain else metric for name, metric in _names(scoring).items()}
    # What is no word may not even have a hash.
    return known if all(isinstance(metric, str) and metric in own for metric in known.values()) else None


def _predictions(models: list[Any], X: Features) -> Array:
    """Predictions (n, B) of B models, by one that has the coefficients of all as if it had many targets."""
    joint = copy.copy(models[0])
    joint.coef_ = np.concatenate([np.atleast_2d(model.coef_) for model in models])
    joint.intercept_ = np.concatenate([np.atleast_1d(model.intercept_) for model in models])
    if not isinstance(joint, LinearClassifier):
        return joint.predict(X)
    links = joint.decision_function(X)
    links = links.reshape(len(links), len(models), -1)
    return joint.classes_[(links[..., 0] > 0).astype(int) if links.shape[2] == 1 else links.argmax(axis=2)]


def _columns(metric: str, y: Array, guesses: Array, weights: Array | None) -> Array:
    """One score for each column of predictions."""
    if metric == "accuracy":
        return np.average(guesses == y[:, None], axis=0, weights=weights)
    sign, function = COLUMNWISE[metric]
    guesses = guesses.reshape(len(y), -1)
    told = np.broadcast_to(y[:, None], guesses.shape)
    scores = function(told, guesses, multioutput="raw_values", sample_weight=weights)
    return sign * np.broadcast_to(scores, guesses.shape[1:])
