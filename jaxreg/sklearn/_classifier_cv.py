"""Logistic regression with C, and the mix, chosen by cross-validation."""

from typing import Any

import numpy as np
from scipy.special import log_expit, log_softmax
from sklearn import get_config
from sklearn.metrics import check_scoring
from sklearn.model_selection import check_cv
from sklearn.utils.metadata_routing import MetadataRouter, MethodMapping

from jaxreg import _check
from jaxreg._threads import one_lapack_thread
from jaxreg.penalties import ElasticNet
from jaxreg.sklearn._base import Router, boolean, columns_weight, one_of, training_weights
from jaxreg.sklearn._classifier import (
    LogisticParameters,
    LogisticRegression,
    Probabilities,
    by_class,
    class_factors,
    loss_of,
    refuse_one_class,
)
from jaxreg.sklearn._conventions import logistic_lam
from jaxreg.sklearn._fit import Batch, fit_each, warn_astray, within_one_error
from jaxreg.sklearn._parameters import parameters
from jaxreg.sklearn._types import Array, Features


@parameters
class LogisticRegressionCV(LogisticParameters, Router, Probabilities):
    """Logistic regression with C, and l1_ratio if several are given, chosen by cross-validation.

    As `sklearn.linear_model.LogisticRegressionCV`: folds of equal weight, all C and all mixes are one batch.

    Args:
        Cs: number of strengths, evenly spaced in log C from 1e-4 to 1e4, or a list of them.
        l1_ratios: shares of the absolute value to compare; 0 unless given.
        fit_intercept: whether to fit an intercept.
        cv: number of folds (5 unless given), a splitter, or a list of (train, test).
        dual: without effect: dual and primal have one solution.
        penalty: as before scikit-learn 1.8: "l1" and "l2" are l1 ratios of 1 and 0.
        scoring: a scorer or its name; accuracy unless given.
        solver: without effect: one engine for all.
        tol: duality gap, relative to the null model's objective, beyond which a `ConvergenceWarning` says so.
        max_iter: without effect: the engine has a budget of its own.
        class_weight: None, "balanced", or factors of sample weights by class.
        penalty_factor: factors of the columns' penalties, (p,); 0 leaves one unpenalized.
        n_jobs: without effect: folds are batches.
        verbose: without effect.
        selection_rule: "min" for the best mean score; "1se", with `refit`, for the largest strength, of the best mix,
            within one standard error of it.
        refit: whether the coefficients are those of the fit to all rows; else means of what is best in each fold.
        intercept_scaling: without effect: the intercept is not penalized.
        random_state: without effect: nothing is random.
        use_legacy_attributes: True for shapes as before scikit-learn 1.8 (its default still), False for the new.

    Attributes:
        classes_: labels, (k,).
        coef_: (1, p) for two classes, else (k, p).
        intercept_: (1,) or (k,).
        Cs_: strengths, (L,).
        l1_ratios_: mixes, (R,); (None,) if none were given.
        C_: the chosen strength, (1,) or (k,) alike; new: a number.
        l1_ratio_: the chosen mix, likewise; None, in the old shapes, if none were given.
        scores_: by class (K, L) or (K, L, R); new: (K, R, L).
        coefs_paths_: by class (K, L, p + 1) or (K, L, R, p + 1); new: (K, R, L, 1 or k, p + 1). Intercepts are last.
        dual_gap_: largest duality gap of what `coef_` is made of, relative to the null model's objective.
        n_iter_: (1, K, L) or (1, K, L, R); new: (K, R, L).
    """

    Cs: Any = 10
    l1_ratios: Any = None
    cv: Any = None
    penalty: Any = "deprecated"
    scoring: Any = None
    refit: bool = True
    selection_rule: str = "min"
    use_legacy_attributes: bool = True

    def fit(self, X: Any, y: Any, sample_weight: Any = None, **params: Any) -> "LogisticRegressionCV":
        """Choose the strength by cross-validation, and fit all rows at it.

        Args:
            X: features, (n, p), dense or scipy.sparse.
            y: labels, (n,).
            sample_weight: weights, (n,), of fits and of scores.
            **params: metadata for the splitter, where routing is enabled.

        Raises:
            TypeError: if something is not of its kind.
            ValueError: if a parameter or value is outside its domain, or there is one class only.
        """
        one_of("selection_rule", self.selection_rule, ("min", "1se") if self.refit else ("min",))
        boolean(fit_intercept=self.fit_intercept, refit=self.refit, use_legacy_attributes=self.use_legacy_attributes)
        _check.number("tol", self.tol)
        Cs, ratios = self._strengths(), self._mixes()
        X, y, given = self._checked(X, y, sample_weight)
        X = X.tocsr() if hasattr(X, "tocsr") else X
        self.classes_, index = self._labels(y)
        weights = given * class_factors(self.class_weight, self.classes_, index, given)
        refuse_one_class(self.classes_, index, weights)
        loss, target = loss_of(self.classes_, index)
        folds = self._folds(check_cv(self.cv, y, classifier=True), X, y, params)
        sets = training_weights(folds, weights)
        order = np.argsort(Cs, kind="stable")
        fits = fit_each(
            X,
            target,
            lams=logistic_lam(Cs[order], sets.sum(axis=1, keepdims=True)),
            weights=sets,
            sample_weight=weights,
            loss=loss,
            penalty=ElasticNet(1.0, 0.5, columns_weight(self.penalty_factor, X.shape[1])),
            l1_ratios=ratios,
            intercept=self.fit_intercept,
            tol=self.tol,
        )
        warn_astray(fits.astray, self.tol, "LogisticRegressionCV")
        place = np.argsort(order)
        table = self._table(fits, place)  # (F, L, R, 1 or k, p + 1)
        with one_lapack_thread():
            scores = self._scores(X, y, None if sample_weight is None else given, folds, table[1:])
        gaps, steps = (np.swapaxes(values[:, :, place], 1, 2) for values in (fits.gap, fits.steps))
        self._choose(Cs, ratios, table, scores, gaps)
        self._keep(Cs, ratios, table[1:], scores, steps[1:])
        return self

    def _strengths(self) -> Array:
        if isinstance(self.Cs, (int, np.integer)) and not isinstance(self.Cs, bool):
            if self.Cs < 1:
                raise ValueError(f"Cs must be at least 1 strength, got {self.Cs}")
            return np.logspace(-4, 4, self.Cs)
        _check.number("Cs", self.Cs, low=np.finfo(float).tiny, what="positive", finite=False)
        return np.atleast_1d(np.asarray(self.Cs, dtype=np.float64))

    def _mixes(self) -> Array:
        one_of("penalty", self.penalty, ("deprecated", "l1", "l2", "elasticnet"))
        if self.penalty in ("l1", "l2"):
            return np.array([1.0 if self.penalty == "l1" else 0.0])
        if self.l1_ratios is None and self.penalty == "elasticnet":
            raise ValueError('l1_ratios must be a list of mixes with penalty="elasticnet", got None')
        ratios = np.atleast_1d(np.asarray([0.0] if self.l1_ratios is None else self.l1_ratios, dtype=np.float64))
        _check.number("l1_ratios", ratios, high=1.0)
        return ratios

    @staticmethod
    def _table(fits: Batch, place: Array) -> Array:
        """Coefficients with intercepts last, (F, L, R, 1 or k, p + 1), in the order of Cs."""
        sets, mixes, length = fits.gap.shape
        rows = []
        for f, r, at in np.ndindex(sets, mixes, length):
            coef, level = by_class(fits.coef[f, r, at], fits.intercept[f, r, at], bool(fits.lams[f, r, at] > 0))
            rows.append(np.concatenate([coef, level[:, None]], axis=1))
        table = np.stack(rows).reshape(sets, mixes, length, *rows[0].shape)
        return np.swapaxes(table[:, :, place], 1, 2)

    def _scores(
        self, X: Features, y: Array, weights: Array | None, folds: list[tuple[Array, Array]], table: Array
    ) -> Array:
        """Score of every fold, strength and mix on the rows held out, (K, L, R): what is common without a scorer."""
        scores = np.empty(table.shape[:3])
        judge = LogisticRegression()
        judge.classes_, judge.n_features_in_ = self.classes_, X.shape[1]
        by_rows = {None: hits, "accuracy": hits, "neg_log_loss": log_likelihoods}.get(self.scoring)
        scorer: Any = None if by_rows else check_scoring(self, scoring=self.scoring)
        for k, (_, test) in enumerate(folds):
            told = None if weights is None else weights[test]
            if by_rows is not None:
                flat = np.moveaxis(table[k], -1, 0).reshape(table.shape[-1], -1)
                link = np.asarray(X[test] @ flat[:-1]) + flat[-1]
                index = np.searchsorted(self.classes_, y[test])
                scores[k] = np.average(by_rows(link.reshape(-1, *table.shape[1:4]), index), axis=0, weights=told)
                continue
            for at in np.ndindex(*table.shape[1:3]):
                judge.coef_, judge.intercept_ = table[k][at][:, :-1], table[k][at][:, -1]
                scores[k][at] = scorer(judge, X[test], y[test], **({} if told is None else {"sample_weight": told}))
        return scores

    def _choose(self, Cs: Array, ratios: Array, table: Array, scores: Array, gaps: Array) -> None:
        """Set coefficients with their certificate, and the chosen strength and mix."""
        if self.refit:
            at, r = np.unravel_index(int(scores.sum(axis=0).argmax()), scores.shape[1:])
            if self.selection_rule == "1se":
                at = np.intp(within_one_error(-scores[:, :, r].T, 1 / Cs, int(at)))
            places = [(0, at, r)]
        else:
            best = [np.unravel_index(int(fold.argmax()), fold.shape) for fold in scores]
            places = [(k, at, r) for k, (at, r) in enumerate(best, start=1)]
        chosen = np.mean([table[place] for place in places], axis=0)
        C, ratio = np.mean([Cs[at] for _, at, _ in places]), np.mean([ratios[r] for *_, r in places])
        self.dual_gap_ = float(np.max([gaps[place] for place in places]))
        self.coef_, self.intercept_ = chosen[:, :-1].copy(), chosen[:, -1].copy()
        many = self.coef_.shape[0]
        self.C_ = np.full(many, C) if self.use_legacy_attributes else float(C)
        asked = None if self.l1_ratios is None and self.refit else ratio
        self.l1_ratio_ = np.full(many, asked) if self.use_legacy_attributes else float(ratio)

    def _keep(self, Cs: Array, ratios: Array, table: Array, scores: Array, steps: Array) -> None:
        """Set what the folds gave, in the shapes that were asked for."""
        self.Cs_ = Cs
        none = self.l1_ratios is None
        self.l1_ratios_ = np.array([None]) if none else ratios
        steps = np.maximum(1, steps).astype(np.int32)
        if not self.use_legacy_attributes:
            self.coefs_paths_: Any = np.swapaxes(table, 1, 2)
            self.scores_: Any = np.swapaxes(scores, 1, 2)
            self.n_iter_ = np.swapaxes(steps, 1, 2)
            return
        table = table if self.fit_intercept else table[..., :-1]
        pick = (slice(None), slice(None), 0) if none else ()
        labels = self.classes_[1:] if self.classes_.size == 2 else self.classes_
        self.coefs_paths_ = {label: table[..., k, :][pick] for k, label in enumerate(labels)}
        self.scores_ = dict.fromkeys(labels, scores[pick])
        self.n_iter_ = steps[None][..., 0] if none else steps[None]

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Score by `scoring`, accuracy unless given.

        Args:
            X: features, (n, p).
            y: labels, (n,).
            sample_weight: weights, (n,).
        """
        told = {} if sample_weight is None else {"sample_weight": sample_weight}
        return self._scorer()(self, X, y, **told)

    def _scorer(self) -> Any:
        return check_scoring(self, scoring=self.scoring or "accuracy")

    def get_metadata_routing(self) -> MetadataRouter:
        """Say who takes which metadata: the splitter when fitting, the scorer when scoring."""
        fits = MethodMapping().add(caller="fit", callee="split")
        scores = MethodMapping().add(caller="score", callee="score")
        router = MetadataRouter(owner=self).add_self_request(self).add(splitter=self.cv, method_mapping=fits)
        if not get_config()["enable_metadata_routing"]:
            return router
        return router.add(scorer=self._scorer(), method_mapping=scores)


def hits(link: Array, index: Array) -> Array:
    """Whether rows (n, …) are told right, by linear predictors (n, …, 1 or k) and the index of their class (n,)."""
    guess = link[..., 0] > 0 if link.shape[-1] == 1 else link.argmax(axis=-1)
    return guess == index[:, None, None]


def log_likelihoods(link: Array, index: Array) -> Array:
    """Log probability of rows' classes, (n, …), at least that of the smallest probability that scikit-learn counts."""
    if link.shape[-1] == 1:
        found = log_expit(np.where(index == 1, 1.0, -1.0)[:, None, None] * link[..., 0])
    else:
        found = np.take_along_axis(log_softmax(link, axis=-1), index[:, None, None, None], axis=-1)[..., 0]
    return np.maximum(found, np.log(np.finfo(np.float64).eps))
