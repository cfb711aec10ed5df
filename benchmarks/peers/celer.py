"""celer: `celer_path`, `LassoCV`, `ElasticNetCV`. Its logistic regression has no intercept, so it sits that out."""

# ruff: noqa: D102  (documented by Adapter)

from typing import Any

import celer
import numpy as np
from celer import ElasticNetCV, LassoCV, celer_path
from sklearn.model_selection import PredefinedSplit

from benchmarks.worker import Adapter, Fits, Problem


def centred_path(
    X: np.ndarray, y: np.ndarray, ratio: float, lams: np.ndarray, tol: float, limits: dict[str, int]
) -> tuple[np.ndarray, np.ndarray]:
    """`celer_path` on centred data, as its cross-validation runs it in a fold."""
    center, level = X.mean(axis=0), y.mean()
    X = np.asfortranarray(X - center)
    coef = celer_path(X, y - level, "lasso", alphas=lams, l1_ratio=ratio, tol=tol, prune=True, **limits)[1].T
    return coef, level - coef @ center


class Peer(Adapter):
    """`tol` is relative to the target's mean square, and bounds the duality gap."""

    uses_jobs = True

    def version(self) -> str:
        return celer.__version__

    def default_tol(self, problem: Problem) -> float:
        return 1e-4 if problem.kind == "cv" else 1e-6  # the class's and the function's own

    def unsupported(self, problem: Problem) -> str:
        if problem.is_ridge:
            return "no ridge"
        return "its logistic regression has no intercept" if problem.loss == "logistic" else ""

    @staticmethod
    def limits(problem: Problem, generous: bool) -> dict[str, int]:
        if generous:
            return {"max_iter": 100_000, "max_epochs": 10_000_000}
        return {"max_iter": 100, "max_epochs": 50_000} if problem.kind == "cv" else {}

    def run(self, problem: Problem, tol: float, generous: bool) -> Any:
        limits = self.limits(problem, generous)
        X, y, lams = problem.X, problem.y, problem.lams[0]
        if problem.kind != "cv":
            return [centred_path(X[rows], y[rows], 1.0, lams, tol, limits) for rows in problem.training_rows]
        common: dict[str, Any] = {"cv": PredefinedSplit(problem.fold_id), "tol": tol, "n_jobs": self.jobs, **limits}
        if len(problem.ratios) == 1:
            return LassoCV(alphas=lams, **common).fit(X, y)
        grid = {"n_alphas": len(lams), "eps": problem.lam_min_ratio}
        return ElasticNetCV(l1_ratio=list(problem.ratios), **grid, **common).fit(X, y)

    def fits(self, problem: Problem, result: Any, tol: float, generous: bool) -> Fits:
        if problem.kind != "cv":
            return Fits(np.stack([b for b, _ in result])[None], np.stack([b0 for _, b0 in result])[None])
        limits = self.limits(problem, generous)
        out = [
            centred_path(problem.X[rows], problem.y[rows], ratio, lams, tol, limits)
            for ratio, lams in zip(problem.ratios, problem.lams, strict=True)
            for rows in problem.training_rows[1:]
        ]
        shape = (len(problem.ratios), -1)
        coef, intercept = np.stack([b for b, _ in out]), np.stack([b0 for _, b0 in out])
        return Fits(
            coef.reshape(*shape, *coef.shape[1:]),
            intercept.reshape(*shape, coef.shape[1]),
            first=1,
            note="folds fitted again to be judged; no path on all rows",
        )
