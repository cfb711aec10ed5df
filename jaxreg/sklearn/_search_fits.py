"""Coefficients of a group of candidates in every fold, each group of them in few batches.

What there is to fit is learned from the estimator itself: it is asked to fit every training set at one strength, with
all its own checks, and what it then wants solved is noted (`_fit.asking`). λ is proportional to the strength, so that
this tells the λ of all candidates.
"""

import copy
from typing import Any, NamedTuple

import numpy as np
from sklearn.base import clone
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import _safe_indexing

from jaxreg.penalties import ElasticNet
from jaxreg.sklearn._base import LinearClassifier
from jaxreg.sklearn._classifier import by_class
from jaxreg.sklearn._fit import Request, asking, fit_each, warn_astray
from jaxreg.sklearn._search_plan import Candidate, Group
from jaxreg.sklearn._types import Array, Features

CELLS = 2**26
"""Most numbers in the Grams of one batch, which bounds the folds that are fitted at once."""


class Fold(NamedTuple):
    """A training set, prepared.

    Its rows; the steps before the estimator, as they were fitted to it; the estimator as it is after a fit that gave
    zeros; and what that asked for: by mix, for every target.
    """

    train: Array
    steps: Any
    final: Any
    asks: dict[float | None, list[Request]]

    @property
    def first(self) -> Request:
        """The request that stands for all: they share features and weights."""
        return next(iter(self.asks.values()))[0]


class Solved(NamedTuple):
    """Solutions at the levels (L,) of one mix: of every target, coefficients (K, L, p, …) and intercepts (K, L, …)."""

    levels: Array
    coef: list[Array]
    intercept: list[Array]


def prepare(group: Group, X: Any, y: Any, train: Array, weights: dict[str, Any]) -> Fold:
    """Fit the steps before the estimator to a training set, and let the estimator ask for what it wants solved.

    Args:
        group: candidates.
        X: all features.
        y: all targets.
        train: rows of the training set.
        weights: sample weights of the training set, as the keyword of `fit` that they are, or nothing.
    """
    part, target = _safe_indexing(X, train), _safe_indexing(y, train)
    steps = None
    if isinstance(group.estimator, Pipeline) and len(group.estimator.steps) > 1:
        steps = clone(group.estimator[:-1])
        part = steps.fit_transform(part, target)
    asks = {}
    for mix in group.mixes:
        final = clone(group.final).set_params(**{group.strength: 1.0})
        if mix is not None:
            final.set_params(l1_ratio=mix)
        with asking() as requests:
            final.fit(part, target, **weights)
        asks[mix] = list(requests)
    return Fold(train, steps, final, asks)


def together(group: Group, X: Any, y: Any, folds: list[Fold], weights: dict[str, Any]) -> dict[float | None, Solved]:
    """Fit all training sets as one batch, or none: no result where they do not see one table of features alike.

    They do without steps before the estimator. They do, too, where the only step is a scaler of all columns, whose
    moments are those that a batch can standardize by: the rows of a training set then need to have equal weights.
    """
    scaler = _scaler(folds[0])
    first = folds[0].first
    if folds[0].steps is not None and scaler is None:
        return {}
    if scaler is not None and not (first.options["intercept"] and all(_even(fold) for fold in folds)):
        return {}
    final = clone(group.final).set_params(**{group.strength: 1.0})
    with asking() as requests:
        final.fit(X, y, **weights)
    targets = [request.y for request in requests]
    if not all(_agree(fold, final, targets) for fold in folds):
        return {}
    n = len(targets[0])
    sets = np.stack([np.bincount(f.train, weights=f.first.options["weights"][0], minlength=n) for f in folds])
    scaled = scaler is not None and scaler.with_std
    solved = solve(group, folds, requests[0].X, targets, sets, scaled)
    if scaler is None:
        return solved
    return {mix: _in_scaled_units(part, [_scaler(fold) for fold in folds]) for mix, part in solved.items()}


def apart(group: Group, fold: Fold) -> dict[float | None, Solved]:
    """Fit one training set by itself, in the features that it sees."""
    targets = [request.y for request in next(iter(fold.asks.values()))]
    return solve(group, [fold], fold.first.X, targets, fold.first.options["weights"], False)


def solve(
    group: Group, folds: list[Fold], X: Features, targets: list[Array], sets: Array, scaled: bool
) -> dict[float | None, Solved]:
    """Fit training sets, given by weights (K, n), at all levels of all mixes.

    Args:
        group: candidates.
        folds: training sets.
        X: features of all rows.
        targets: of all rows, one by one.
        sets: weights of the training sets.
        scaled: whether columns are penalized over their standard deviation in each training set.
    """
    options = dict(folds[0].first.options)
    options["standardize"] = options["standardize"] or scaled
    name = type(group.final).__name__
    solved, many = {}, max(1, min(len(folds), CELLS // max(1, X.shape[1]) ** 2))
    for mixes in _batches(group, folds[0]):
        levels, parts = group.levels(mixes[0]), []
        for t, target in enumerate(targets):
            asks = [fold.asks[mixes[0]][t] for fold in folds]
            lams = np.array([float(np.asarray(ask.options["lams"]).item()) for ask in asks])[:, None] * levels
            more: dict[str, Any] = {"penalty": asks[0].options["penalty"]}
            if isinstance(more["penalty"], ElasticNet):
                more["l1_ratios"] = np.array([float(_penalty(folds[0], mix).l1_ratio) for mix in mixes])
            more |= {key: options[key] for key in ("loss", "intercept", "standardize", "tol")}
            rows = [slice(start, start + many) for start in range(0, len(folds), many)]
            fits = [
                fit_each(X, target, lams=lams[part], weights=sets[part], sample_weight=sets.max(axis=0), **more)
                for part in rows
            ]
            warn_astray(np.concatenate([fit.astray for fit in fits]), options["tol"], name)
            parts.append([np.concatenate([getattr(fit, key) for fit in fits]) for key in ("coef", "intercept")])
        for r, mix in enumerate(mixes):
            solved[mix] = Solved(levels, [coef[:, r] for coef, _ in parts], [level[:, r] for _, level in parts])
    return solved


def _batches(group: Group, fold: Fold) -> list[list[float | None]]:
    """Mixes that one batch fits: those of the elastic net alone that share their levels."""
    found: dict[Any, list[float | None]] = {}
    for mix in group.mixes:
        spans = isinstance(_penalty(fold, mix), ElasticNet)
        found.setdefault(tuple(group.levels(mix)) if spans else mix, []).append(mix)
    return list(found.values())


def _penalty(fold: Fold, mix: float | None) -> Any:
    return fold.asks[mix][0].options["penalty"]


def _scaler(fold: Fold) -> StandardScaler | None:
    """The scaler, if it is the only step that does something."""
    if fold.steps is None:
        return None
    acting = [step for _, step in fold.steps.steps if step is not None and step != "passthrough"]
    # A kind of scaler that someone made of it may do anything.
    return acting[0] if len(acting) == 1 and type(acting[0]) is StandardScaler else None


def _even(fold: Fold) -> bool:
    """Whether all rows of a training set have the same weight."""
    return bool(np.ptp(fold.first.options["weights"]) == 0)


def _agree(fold: Fold, final: Any, targets: list[Array]) -> bool:
    """Whether a training set has the classes and targets of all rows, and something to learn from each of these."""
    own = [request.y for request in next(iter(fold.asks.values()))]
    if len(own) != len(targets):
        return False
    if isinstance(final, LinearClassifier) and not np.array_equal(final.classes_, fold.final.classes_):
        return False
    same = all(np.array_equal(mine, all_[fold.train]) for mine, all_ in zip(own, targets, strict=True))
    return same and all(bool(np.any(mine != mine[:1])) for mine in own)


def _in_scaled_units(solved: Solved, scalers: list[Any]) -> Solved:
    """Coefficients for columns that a scaler of each training set has scaled, of those for columns as they are."""
    coef, level = [], []
    for b, b0 in zip(solved.coef, solved.intercept, strict=True):
        outputs = [1] * (b.ndim - 3)
        p = b.shape[2]
        scale = np.stack([np.ones(p) if s.scale_ is None else s.scale_ for s in scalers]).reshape(-1, 1, p, *outputs)
        mean = np.stack([s.mean_ if s.with_mean else np.zeros(p) for s in scalers])
        coef.append(b * scale)
        level.append(b0 + np.einsum("klp...,kp->kl...", b, mean))
    return Solved(solved.levels, coef, level)


def models(group: Group, fold: Fold, k: int, solved: dict[float | None, Solved]) -> list[Any]:
    """The estimator as it is after its fit to a training set, for every candidate; it lacks what is no coefficient."""
    return [_model(group, fold, k, solved[candidate.mix], candidate) for candidate in group.candidates]


def _model(group: Group, fold: Fold, k: int, solved: Solved, candidate: Candidate) -> Any:
    at = int(np.searchsorted(-solved.levels, -candidate.level))
    coef, level = [part[k, at] for part in solved.coef], [part[k, at] for part in solved.intercept]
    model = copy.copy(fold.final)
    for name, value in candidate.own.items():
        setattr(model, name, value)
    if coef[0].ndim == 2 and isinstance(model, LinearClassifier):
        table, heights = by_class(coef[0], level[0], candidate.level > 0)
    elif coef[0].ndim == 2:
        table, heights = coef[0].T, level[0]
    else:
        table, heights = np.stack(coef), np.array(level)
    like = np.asarray(fold.final.intercept_)
    model.coef_ = table.reshape(fold.final.coef_.shape).astype(fold.final.coef_.dtype)
    model.intercept_ = np.reshape(heights, like.shape).astype(like.dtype)[()]
    return model
