"""What displays draw, read off fitted estimators: coefficients along strengths, and cross-validated scores."""

import dataclasses
import importlib
from typing import Any, NamedTuple

import numpy as np
from sklearn.model_selection._search import BaseSearchCV
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted

from jaxreg.sklearn._classifier_cv import LogisticRegressionCV
from jaxreg.sklearn._fit import asking, fit_sets
from jaxreg.sklearn._search_plan import STRENGTHS
from jaxreg.sklearn._types import Array

COUNT = 100
"""Strengths of a path that no estimator has chosen."""


class Seen(NamedTuple):
    """An estimator that knows λ, features as it sees them, and their names."""

    final: Any
    X: Any
    names: list[str]


@dataclasses.dataclass(frozen=True)
class Curves:
    """Coefficients (L, p, k) of k outputs along strengths (L,), alpha or C, whose chosen one is known."""

    name: str
    strengths: Array
    coef: Array
    chosen: float


@dataclasses.dataclass(frozen=True)
class Scores:
    """Scores of folds along strengths, alpha or C, (L,): mean, standard error, and means of other mixes by their name.

    `larger` says whether larger scores are better; `own` is the name of the mix that was chosen.
    """

    name: str
    strengths: Array
    mean: Array
    se: Array
    folds: int
    measure: str
    larger: bool = False
    own: str = ""
    others: tuple[tuple[str, Array, Array], ...] = ()

    @property
    def lams(self) -> Array:
        """What grows with the penalty: alpha, or 1 / C."""
        return as_lams(self.name, self.strengths)

    def choices(self) -> tuple[float, float]:
        """Strengths of the best mean, and of the strongest penalty within one standard error of it."""
        loss = -self.mean if self.larger else self.mean
        best = int(np.argmin(loss))
        near = np.flatnonzero(loss <= loss[best] + self.se[best])
        return float(self.strengths[best]), float(self.strengths[near[np.argmax(self.lams[near])]])


def as_lams(name: str, strengths: Any) -> Array:
    """Numbers that grow with the penalty."""
    return np.asarray(strengths, np.float64) if name == "alpha" else 1 / np.asarray(strengths, np.float64)


def seen(estimator: Any, X: Any, feature_names: Any) -> Seen:
    """The estimator that knows λ, in a search the best one and in a pipeline the last, with its features.

    Raises:
        TypeError: if it has no coefficients.
        ValueError: if there is not one name for each feature.
    """
    check_is_fitted(estimator)
    final = estimator.best_estimator_ if isinstance(estimator, BaseSearchCV) else estimator
    names = None
    if isinstance(final, Pipeline):
        before, final = final[:-1] if len(final.steps) > 1 else None, final.steps[-1][1]
        if before is not None:
            X = None if X is None else before.transform(X)
            # Steps that know no names of what they make have no such method.
            names = before.get_feature_names_out() if hasattr(before[-1], "get_feature_names_out") else None
    if not hasattr(final, "coef_"):
        raise TypeError(f"estimator must have coefficients, a linear model of jaxreg.sklearn, got {final!r}")
    names = getattr(final, "feature_names_in_", names)
    p = coefficients(final).shape[0]
    chosen = [f"x{j}" for j in range(p)] if names is None else names
    chosen = [str(name) for name in (chosen if feature_names is None else feature_names)]
    if len(chosen) != p:
        raise ValueError(f"feature_names must have one name for each of {p} features, got {len(chosen)}")
    return Seen(final, X, chosen)


def coefficients(final: Any) -> Array:
    """Coefficients (p, k) of k outputs."""
    coef = final.coef_.toarray() if hasattr(final.coef_, "toarray") else np.asarray(final.coef_)
    return np.atleast_2d(coef).T


def outputs_of(final: Any, k: int) -> list[str]:
    """What the outputs are called: classes, or targets by number; nothing if there is one."""
    if k == 1:
        return [""]
    classes = getattr(final, "classes_", None)
    return [f"target {i}" for i in range(k)] if classes is None else [f"class {label}" for label in classes]


def curves_of(found: Seen, y: Any) -> Curves:
    """Coefficients along strengths: those that cross-validation kept, or else of fits to all rows.

    Raises:
        TypeError: if the estimator has no one strength.
        ValueError: if fits are needed and there is no data for them.
    """
    final, X, _ = found
    kept = getattr(final, "selection_", None)
    if kept is not None:
        path = kept.best.path
        return Curves("alpha", path.lams, path.coef.reshape(*path.coef.shape[:2], -1), float(final.alpha_))
    kind = _at_one_strength(type(final))
    if kind not in STRENGTHS:
        known = ", ".join(sorted(cls.__name__ for cls in STRENGTHS))
        raise TypeError(f"estimator must be one of {known}, or one of these with CV, got {type(final).__name__}")
    if X is None or y is None:
        raise ValueError(f"X and y must be given, since {type(final).__name__} does not keep its path, got None")
    name, single = STRENGTHS[kind], kind()
    given = {key: value for key, value in final.get_params(deep=False).items() if key in single.get_params(deep=False)}
    single.set_params(**given | {name: 1.0})
    learned: Any = getattr(final, "l1_ratio_", None)
    mix = np.ravel(learned)[0]
    if mix is not None and "l1_ratio" in single.get_params(deep=False):
        single.set_params(l1_ratio=float(mix))
    with asking() as requests:
        single.fit(X, y)
    factor = float(np.asarray(requests[0].options["lams"]).item())
    own = _grid(final)
    lams = COUNT if own is None else factor * np.sort(as_lams(name, own))[::-1]
    parts = [_path(request, lams) for request in requests]
    if own is None and len(parts) > 1:
        high, low = max(part[0][0] for part in parts), min(part[0][-1] for part in parts)
        parts = [_path(request, np.geomspace(high, low, COUNT)) for request in requests]
    levels = parts[0][0] / factor
    coef = np.concatenate([part[1].reshape(*part[1].shape[:2], -1) for part in parts], axis=2)
    chosen = final.get_params(deep=False).get(name)
    chosen = np.ravel(getattr(final, f"{name}_") if chosen is None else chosen)[0]
    return Curves(name, levels if name == "alpha" else 1 / levels, coef, float(chosen))


def _at_one_strength(kind: type) -> type:
    """What an estimator with CV is without it; all of ours are called so. Others are what they are."""
    ours = importlib.import_module("jaxreg.sklearn")
    known = getattr(ours, kind.__name__, None) is kind
    return getattr(ours, kind.__name__.removesuffix("CV")) if known else kind


def _path(request: Any, lams: Any) -> tuple[Array, Array]:
    """Strengths (L,) and coefficients (L, p, …) of what an estimator asked for."""
    fits = fit_sets(request.X, request.y, **request.options | {"lams": lams})
    return fits.lams[0, 0], fits.coef[0, 0]


def _grid(final: Any) -> Array | None:
    """Strengths among which an estimator chose, (L,); None if there was no choice."""
    # Those of ridge are as they were given.
    grid = getattr(final, "Cs_", getattr(final, "alphas_", getattr(final, "alphas", None)))
    if grid is None or np.ndim(grid) < 2:
        return None if grid is None else np.atleast_1d(np.asarray(grid, dtype=np.float64))
    ratios = np.atleast_1d(final.l1_ratio)
    return np.asarray(grid)[int(np.argmin(np.abs(ratios - final.l1_ratio_)))]


def scores_of(estimator: Any) -> Scores:
    """Scores that cross-validation kept.

    Raises:
        TypeError: if the estimator has none along strengths.
    """
    check_is_fitted(estimator)
    if isinstance(estimator, BaseSearchCV):
        return _of_search(estimator)
    final = estimator.steps[-1][1] if isinstance(estimator, Pipeline) else estimator
    kept = getattr(final, "selection_", None)
    if kept is not None:
        best = kept.best
        larger = best.measure == "auc"
        return Scores("alpha", best.lams, best.mean, best.se, len(best.scores), best.measure_title, larger)
    if isinstance(final, LogisticRegressionCV):
        return _of_classifier(final)
    errors = getattr(final, "mse_path_", None)
    if errors is None:
        raise TypeError(
            f"estimator must keep scores of folds, as LassoCV, LogisticRegressionCV or a search does, got {final!r}"
        )
    ratios = np.atleast_1d(getattr(final, "l1_ratio", 1.0))
    tables = np.asarray(errors).reshape(len(ratios), -1, np.shape(errors)[-1])
    grids = np.broadcast_to(final.alphas_, tables.shape[:2])
    at = int(np.argmin(np.abs(ratios - getattr(final, "l1_ratio_", ratios[0]))))
    return _of_tables("alpha", grids, tables, ratios, at, "mean squared error", False)


def _of_classifier(final: Any) -> Scores:
    scores = final.scores_
    if isinstance(scores, dict):
        table = np.asarray(next(iter(scores.values())))
        table = table[:, None] if table.ndim == 2 else np.swapaxes(table, 1, 2)
    else:
        table = np.asarray(scores)
    ratios = [0.0 if ratio is None else float(ratio) for ratio in final.l1_ratios_]
    chosen = np.ravel(final.l1_ratio_)[0]
    at = int(np.argmin(np.abs(np.array(ratios) - (ratios[0] if chosen is None else float(chosen)))))
    measure, sign = _measure(final.scoring, "accuracy")
    tables = sign * np.moveaxis(table, 0, 2)
    grids = np.broadcast_to(final.Cs_, tables.shape[:2])
    return _of_tables("C", grids, tables, np.array(ratios), at, measure, sign > 0)


def _of_tables(name: str, grids: Array, tables: Array, ratios: Array, at: int, measure: str, larger: bool) -> Scores:
    """Scores of the mix at a place, and means of others, of tables (R, L, K)."""
    mean = tables.mean(axis=2)
    se = _standard_error(tables)
    others = tuple((f"l1_ratio {ratios[r]:g}", grids[r], mean[r]) for r in range(len(ratios)) if r != at)
    own = f"l1_ratio {ratios[at]:g} (best)" if others else ""
    return Scores(name, grids[at], mean[at], se[at], tables.shape[2], measure, larger, own, others)


def _of_search(search: Any) -> Scores:
    """Scores along the strengths of the best candidate's kin, which differ from it in strength and mix only."""
    several = search.multimetric_
    if several and not isinstance(search.refit, str):
        raise TypeError(f"estimator must be a search with a score that chooses, got several and refit={search.refit!r}")
    metric = search.refit if several else "score"
    candidates, best = search.cv_results_["params"], search.cv_results_["params"][search.best_index_]
    ends = {key.split("__")[-1]: key for key in best}
    name = next((name for name in ("alpha", "C") if name in ends), None)
    if name is None:
        raise TypeError(f"estimator must be a search over alpha or C, got one over {sorted(best)}")
    mixing = ends.get("l1_ratio")
    kept = best.keys() - {ends[name], mixing}
    mixes: dict[Any, list[int]] = {}
    for i, params in enumerate(candidates):
        if params.keys() == best.keys() and all(params[k] is best[k] or params[k] == best[k] for k in kept):
            mixes.setdefault(params.get(mixing), []).append(i)
    splits = np.stack([search.cv_results_[f"split{k}_test_{metric}"] for k in range(search.n_splits_)], axis=1)
    scoring = search.scoring[metric] if isinstance(search.scoring, dict) else metric if several else search.scoring
    measure, sign = _measure(scoring, "score")
    grids = {mix: np.array([float(candidates[i][ends[name]]) for i in rows]) for mix, rows in mixes.items()}
    tables = {mix: sign * splits[rows] for mix, rows in mixes.items()}
    mean = {mix: table.mean(axis=1) for mix, table in tables.items()}
    own = best.get(mixing)
    others = tuple((f"l1_ratio {mix:g}", grids[mix], mean[mix]) for mix in mixes if mix != own)
    label = f"l1_ratio {own:g} (best)" if others else ""
    se = _standard_error(tables[own])
    return Scores(name, grids[own], mean[own], se, search.n_splits_, measure, sign > 0, label, others)


def _standard_error(table: Array) -> Array:
    """That of the mean over the last axis, K folds."""
    return table.std(axis=-1) / np.sqrt(max(1, table.shape[-1] - 1))


def _measure(scoring: Any, usual: str) -> tuple[str, float]:
    """What a score is called, in words, and the sign that undoes its negation."""
    if not isinstance(scoring, str):
        return usual, 1.0
    return scoring.removeprefix("neg_").replace("_", " "), -1.0 if scoring.startswith("neg_") else 1.0
