"""scikit-learn: `enet_path`, `LassoCV`, `ElasticNetCV`, `RidgeCV`, liblinear for the logistic loss."""

# ruff: noqa: D102  (documented by Adapter)

from typing import Any

import numpy as np
import sklearn
from joblib import Parallel, delayed
from sklearn.linear_model import ElasticNetCV, LassoCV, LogisticRegression, Ridge, RidgeCV, enet_path
from sklearn.model_selection import PredefinedSplit

from benchmarks.worker import Adapter, Fits, Problem


def centred_path(
    X: np.ndarray, y: np.ndarray, ratio: float, lams: np.ndarray, tol: float, max_iter: int
) -> tuple[np.ndarray, np.ndarray]:
    """`enet_path` on centred data, as `ElasticNetCV` runs it in a fold."""
    center, level = X.mean(axis=0), y.mean()
    X = np.asfortranarray(X - center)
    coef = enet_path(X, y - level, l1_ratio=ratio, alphas=lams, tol=tol, max_iter=max_iter)[1].T
    return coef, level - coef @ center


class Peer(Adapter):
    """`tol` is relative to the target's sum of squares, and bounds the duality gap."""

    uses_jobs = True

    def version(self) -> str:
        return sklearn.__version__

    def default_tol(self, problem: Problem) -> float:
        return 1e-4

    def unsupported(self, problem: Problem) -> str:
        return ""

    def run(self, problem: Problem, tol: float, generous: bool) -> Any:
        max_iter = 10_000_000 if generous else 1000
        X, y, lams = problem.X, problem.y, problem.lams[0]
        if problem.kind == "bootstrap":
            return Parallel(n_jobs=self.jobs, prefer="threads")(
                delayed(centred_path)(X[rows], y[rows], 1.0, lams, tol, max_iter) for rows in problem.training_rows
            )
        if problem.kind == "path" and problem.loss == "logistic":
            return [self.logistic(X, y, lam, tol, generous) for lam in lams]
        if problem.kind == "path":
            return [centred_path(X, y, problem.ratios[0], lams, tol, max_iter)]
        splits = PredefinedSplit(problem.fold_id)
        if problem.is_ridge:
            # Ridge's alpha is nλ; with folds of one size, one alpha stands for one λ.
            alphas = lams * np.count_nonzero(problem.fold_id != 0)
            return RidgeCV(alphas=alphas, cv=splits, scoring="neg_mean_squared_error").fit(X, y)
        common: dict[str, Any] = {"cv": splits, "tol": tol, "max_iter": max_iter, "n_jobs": self.jobs}
        if len(problem.ratios) == 1:
            return LassoCV(alphas=lams, **common).fit(X, y)
        grid = {"alphas": len(lams), "eps": problem.lam_min_ratio}
        return ElasticNetCV(l1_ratio=list(problem.ratios), **grid, **common).fit(X, y)

    @staticmethod
    def logistic(X: np.ndarray, y: np.ndarray, lam: float, tol: float, generous: bool) -> tuple[np.ndarray, np.ndarray]:
        # liblinear penalizes its intercept, the less the larger its scale. To be certified it has to be large, and
        # what is left is taken away afterwards; still larger scales slow it down a hundredfold.
        model = LogisticRegression(
            l1_ratio=1.0,
            C=1 / (len(y) * lam),
            solver="liblinear",
            tol=tol,
            intercept_scaling=min(1e-3 / tol, 1e4) if generous else 1,
            max_iter=100_000 if generous else 100,
        ).fit(X, y)
        coef, intercept = model.coef_[0], model.intercept_[0]
        if generous:
            eta = X @ coef
            for _ in range(5):
                mean = 1 / (1 + np.exp(-eta - intercept))
                intercept -= np.mean(mean - y) / np.mean(mean * (1 - mean))
        return coef, intercept

    def fits(self, problem: Problem, result: Any, tol: float, generous: bool) -> Fits:
        if problem.kind == "path" and problem.loss == "logistic":
            return Fits(np.stack([b for b, _ in result])[None, None], np.array([b0 for _, b0 in result])[None, None])
        if problem.kind != "cv":
            return Fits(np.stack([b for b, _ in result])[None], np.stack([b0 for _, b0 in result])[None])
        return self.folds(problem, tol, 10_000_000 if generous else 1000)

    def folds(self, problem: Problem, tol: float, max_iter: int) -> Fits:
        """The classes drop the folds' coefficients: fitted again, by the function that they call."""
        out = []
        for ratio, lams in zip(problem.ratios, problem.lams, strict=True):
            for rows in problem.training_rows[1:]:
                X, y = problem.X[rows], problem.y[rows]
                if problem.is_ridge:
                    alphas = lams * np.count_nonzero(problem.fold_id != 0)
                    models = [Ridge(alpha=alpha).fit(X, y) for alpha in alphas]
                    out.append((np.stack([m.coef_ for m in models]), np.array([m.intercept_ for m in models])))
                else:
                    out.append(centred_path(X, y, ratio, lams, tol, max_iter))
        shape = (len(problem.ratios), -1)
        coef, intercept = np.stack([b for b, _ in out]), np.stack([b0 for _, b0 in out])
        return Fits(
            coef.reshape(*shape, *coef.shape[1:]),
            intercept.reshape(*shape, coef.shape[1]),
            first=1,
            note="folds fitted again to be judged; no path on all rows",
        )
