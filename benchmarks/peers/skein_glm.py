"""skein-glm: `ElasticNetPathRegressor`, `ElasticNetPathCV`, `LogisticLassoPathRegressor`."""

# ruff: noqa: D102  (documented by Adapter)

from importlib.metadata import version
from typing import Any

import numpy as np
from skein_glm import ElasticNetPathCV, ElasticNetPathRegressor, LogisticLassoPathRegressor
from sklearn.model_selection import PredefinedSplit

from benchmarks.worker import Fits, LoopAdapter, Problem


class Peer(LoopAdapter):
    """`tol` as the package means it; that of the outer loop of the logistic loss follows it."""

    uses_jobs = True
    order = "C"

    def version(self) -> str:
        return version("skein-glm")

    def default_tol(self, problem: Problem) -> float:
        return 1e-6

    def unsupported(self, problem: Problem) -> str:
        return ""

    def run(self, problem: Problem, tol: float, generous: bool) -> Any:
        """Its own cross-validation, once for each l1 ratio."""
        if problem.kind != "cv":
            return super().run(problem, tol, generous)
        return [
            ElasticNetPathCV(
                ratio,
                cv=PredefinedSplit(problem.fold_id),
                n_jobs=self.jobs,
                lambdas=lams,
                tol=tol,
                **({"max_iter": 10_000_000} if generous else {}),
            ).fit(problem.X, problem.y)
            for ratio, lams in zip(problem.ratios, problem.lams, strict=True)
        ]

    def fits(self, problem: Problem, result: Any, tol: float, generous: bool) -> Fits:
        """The class drops the folds' coefficients: fitted again, by the path class that it calls."""
        if problem.kind != "cv":
            return super().fits(problem, result, tol, generous)
        again = super().fits(problem, LoopAdapter.run(self, problem, tol, generous), tol, generous)
        return Fits(again.coef, again.intercept, note="fitted again to be judged")

    def path(
        self, problem: Problem, X: np.ndarray, y: np.ndarray, ratio: float, lams: np.ndarray, tol: float, generous: bool
    ) -> tuple[np.ndarray, np.ndarray]:
        limits = {"max_iter": 10_000_000} if generous else {}
        if problem.loss == "logistic":
            outer = {"max_outer": 10_000} if generous else {}
            model = LogisticLassoPathRegressor(lambdas=lams, tol=tol, outer_tol=tol, **limits, **outer)
        else:
            model = ElasticNetPathRegressor(ratio, lambdas=lams, tol=tol, **limits)
        model.fit(X, y)
        return model.coefs_, model.intercepts_
