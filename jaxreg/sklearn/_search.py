"""Grid search in which strengths, l1 ratios and folds are one batch."""

import time
from typing import Any, NamedTuple

import numpy as np
from sklearn import get_config
from sklearn.base import is_classifier
from sklearn.model_selection import GridSearchCV, ParameterGrid, check_cv
from sklearn.pipeline import Pipeline
from sklearn.utils import _safe_indexing, indexable
from sklearn.utils.metadata_routing import process_routing
from sklearn.utils.validation import _check_method_params

from jaxreg.sklearn._base import rows_of
from jaxreg.sklearn._search_fits import Fold, apart, models, prepare, together
from jaxreg.sklearn._search_plan import Group, groups_of
from jaxreg.sklearn._search_scores import predicts_only, score_models, with_steps
from jaxreg.sklearn._types import Array


class _Task(NamedTuple):
    """What candidates are judged on: data, splits, metadata of fits and scores, and how scores are made."""

    X: Any
    y: Any
    splits: list[tuple[Array, Array]]
    fit_params: dict[str, Any]
    score_params: dict[str, Any]
    scoring: Any
    scorer: Any
    train_scores: bool


class _Splits(NamedTuple):
    """Splits that were made before, as a splitter."""

    splits: list[tuple[Array, Array]]

    def split(self, X: Any, y: Any = None, groups: Any = None) -> list[tuple[Array, Array]]:
        """Return them."""
        del X, y, groups
        return self.splits


class BatchedSearchCV(GridSearchCV):
    """`GridSearchCV` for the estimators of `jaxreg.sklearn`: all strengths, l1 ratios and folds are one batch.

    Arguments, attributes, `cv_results_` and all else are those of `sklearn.model_selection.GridSearchCV`, whatever the
    estimator. What is batched are candidates that differ in `alpha` or `C` and `l1_ratio` only, of an estimator of
    `jaxreg.sklearn` with one strength, or of a `Pipeline` that ends with one (`lasso__alpha`). There is a batch for
    every combination of the other parameters, and where λ depends on the weight of a training set, one for every such
    weight. All other candidates are fitted one by one: those of other estimators (`AdaptiveLasso`, `RelaxedLasso` and
    `HuberRegressor` among them), of fits with metadata other than a sample weight of the last step, and those that
    cannot be fitted at all, of which scikit-learn tells as ever.

    Nothing leaks: the steps of a pipeline are fitted to each training set, once and not for every candidate. A
    `StandardScaler` alone leaves all training sets in one batch, in which each has its own moments; after other steps
    each of them is a batch. A concave penalty's fits follow their path from the strongest candidate on, so that their
    local minima may be better than those of fits one by one.

    Args:
        estimator: which.
        param_grid: names and lists of values, or a list of such.
        scoring: a name, a scorer, or several.
        n_jobs: of what is fitted one by one.
        refit: whether to fit the best candidate to all rows, and by which score or rule it is chosen.
        cv: number of folds (5 unless given), a splitter, or a list of (train, test).
        verbose: how much to print.
        pre_dispatch: of what is fitted one by one.
        error_score: score of a fit that failed, or "raise".
        return_train_score: whether training rows are scored as well.

    Attributes:
        batched_candidates_: which candidates were fitted in batches, (candidates,). The times in `cv_results_` are
            their shares of the batch's.

    Raises:
        ValueError: as GridSearchCV does.

    >>> from jaxreg.datasets import load_diabetes
    >>> from jaxreg.sklearn import BatchedSearchCV, Lasso
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> X, y, _ = load_diabetes()
    >>> search = BatchedSearchCV(make_pipeline(StandardScaler(), Lasso()), {"lasso__alpha": [0.1, 1.0, 10.0]}, cv=5)
    >>> search.fit(X, y).best_params_
    {'lasso__alpha': 0.1}
    >>> search.batched_candidates_
    array([ True,  True,  True])
    """

    n_splits_: int

    def fit(self, X: Any, y: Any = None, **params: Any) -> "BatchedSearchCV":
        """Evaluate all candidates, and fit the best to all rows.

        Args:
            X: features, (n, p).
            y: target, (n,) or (n, k).
            **params: `sample_weight`, and other metadata of estimator, scorer and splitter, as for `GridSearchCV`.
        """
        self._given = X, y, params
        self.__dict__.pop("n_splits_", None)
        try:
            return super().fit(X, y, **params)
        finally:
            for name in ("_given", "_merge"):
                self.__dict__.pop(name, None)

    def _run_search(self, evaluate_candidates: Any) -> None:
        """Evaluate in batches what can be, and hand the rest to scikit-learn."""
        candidates = list(ParameterGrid(self.param_grid))
        X, y, params = self._given
        X, y = indexable(X, y)
        routed = self._get_routed_params_for_fit(_check_method_params(X, params=params))
        splitter = getattr(self, "_checked_cv_orig", None)
        splitter = splitter or check_cv(self.cv, y, classifier=is_classifier(self.estimator))
        splits = list(splitter.split(X, y, **routed.splitter.split))
        many = len(splits)
        done: dict[int, list[dict[str, Any]]] = {}
        if splits and y is not None and getattr(self, "n_splits_", many) == many:
            for group in groups_of(self.estimator, candidates):
                rows = [(rows_of(train), rows_of(test)) for train, test in splits]
                how = self.scoring, self._get_scorers()[0], self.return_train_score
                done |= evaluate(group, _Task(X, y, rows, routed.estimator.fit, routed.scorer.score, *how))
        self.batched_candidates_ = np.isin(np.arange(len(candidates)), list(done))
        if self.verbose > 0 and done:
            share = f"{len(done)} of {len(candidates)} candidates"
            print(f"Fitted {many} folds for each of {share} in batches; what follows is fitted as ever")
        rest = [candidate for place, candidate in enumerate(candidates) if place not in done]
        if not done:
            evaluate_candidates(rest, cv=_Splits(splits) if splits else None)
            return
        # Scikit-learn needs fits of its own to go on with: of a candidate that works. If all do, one training set is
        # enough in releases that have said by now how many there are.
        self._merge = candidates, done
        if rest:
            evaluate_candidates([candidates[min(done)], *rest], cv=_Splits(splits))
        elif hasattr(self, "n_splits_"):
            self.n_splits_ = 1
            evaluate_candidates(candidates[:1], cv=_Splits(splits[:1]))
            self.n_splits_ = many
        else:
            evaluate_candidates(candidates[:1], cv=_Splits(splits))

    def _format_results(self, candidate_params: Any, n_splits: int, out: Any, more_results: Any = None) -> Any:
        """Put what was evaluated in batches where it belongs among the rest."""
        if not hasattr(self, "_merge"):
            return super()._format_results(candidate_params, n_splits, out, more_results)
        candidates, done = self._merge
        many = len(next(iter(done.values())))
        rest = iter(out[n_splits:])
        merged = [
            result
            for place in range(len(candidates))
            for result in (done[place] if place in done else [next(rest) for _ in range(many)])
        ]
        return super()._format_results(candidates, many, merged, more_results)


def _weights(estimator: Any, params: dict[str, Any]) -> dict[str, Any] | None:
    """The sample weight of the last step, as its keyword; None if anything else is asked of fits."""
    given = {name: value for name, value in params.items() if value is not None}
    if isinstance(estimator, Pipeline) and given:
        name = estimator.steps[-1][0]
        if get_config()["enable_metadata_routing"]:
            steps = process_routing(estimator, "fit", **given)
            before = [told for other, _ in estimator.steps[:-1] for told in steps.get(other, {}).values()]
            given = {"another": None} if any(before) else steps[name].fit
        else:
            given = {key.removeprefix(f"{name}__") if key.startswith(name) else "another": given[key] for key in given}
    return dict(given) if given.keys() <= {"sample_weight"} else None


def evaluate(group: Group, task: _Task) -> dict[int, list[dict[str, Any]]]:
    """Outcomes of every candidate of a group, in the folds' order, by its place; none where a fit or score fails."""
    try:
        return _outcomes(group, task)
    except Exception:  # whatever it is: fits one by one meet it again, each by itself, and then it is scikit-learn's
        return {}


def _outcomes(group: Group, task: _Task) -> dict[int, list[dict[str, Any]]]:
    weights = _weights(group.estimator, task.fit_params)
    if weights is None:
        return {}
    found: dict[int, list[dict[str, Any]]] = {candidate.place: [] for candidate in group.candidates}
    start = time.perf_counter()
    folds = [prepare(group, task.X, task.y, train, _of_rows(task, weights, train)) for train, _ in task.splits]
    solved = together(group, task.X, task.y, folds, weights)
    spent = time.perf_counter() - start
    for k, (fold, (_, test)) in enumerate(zip(folds, task.splits, strict=True)):
        start = time.perf_counter()
        own, place = (solved, k) if solved else (apart(group, fold), 0)
        results = models(group, fold, place, own)
        each = (time.perf_counter() - start + spent / len(folds)) / len(results)
        start = time.perf_counter()
        scores = _scores(group, fold, results, task, test)
        lasted = (time.perf_counter() - start) / len(results)
        trained = _scores(group, fold, results, task, fold.train) if task.train_scores else scores
        for i, candidate in enumerate(group.candidates):
            outcome = {"fit_error": None, "test_scores": scores[i], "n_test_samples": len(test)}
            outcome |= {"fit_time": each, "score_time": lasted}
            found[candidate.place].append(outcome | ({"train_scores": trained[i]} if task.train_scores else {}))
    return found


def _scores(group: Group, fold: Fold, results: list[Any], task: _Task, rows: Array) -> list[Any]:
    """Scores of all models on some rows."""
    features, target = _safe_indexing(task.X, rows), _safe_indexing(task.y, rows)
    if fold.steps is not None and predicts_only(task.scoring):
        features = fold.steps.transform(features)
    elif fold.steps is not None:
        results = [with_steps(group.estimator, fold.steps, model) for model in results]
    params = _of_rows(task, task.score_params, rows)
    return score_models(results, features, target, scoring=task.scoring, scorer=task.scorer, params=params)


def _of_rows(task: _Task, values: dict[str, Any], rows: Array) -> dict[str, Any]:
    """What of some values belongs to some rows."""
    return _check_method_params(task.X, params=values, indices=rows)
