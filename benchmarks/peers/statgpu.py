"""statgpu, on the CPU: `LassoCV`, `ElasticNetCV`. It has no function for paths."""

# ruff: noqa: D102  (documented by Adapter)

from importlib.metadata import version
from typing import Any

import numpy as np
from statgpu import ElasticNetCV, LassoCV
from statgpu.linear_model.cv import _elasticnet_cv
from statgpu.linear_model.wrappers import _lasso

from benchmarks.worker import Adapter, Fits, Problem, small


class Peer(Adapter):
    """`tol` bounds the change of the coefficients."""

    uses_jobs = True
    order = "C"

    def version(self) -> str:
        return version("statgpu")

    def default_tol(self, problem: Problem) -> float:
        return 1e-4

    def unsupported(self, problem: Problem) -> str:
        if problem.kind != "cv":
            return "no function for paths"
        return "the coefficients of its ridge folds cannot be had" if problem.is_ridge else ""

    def warm_up(self, problem: Problem) -> None:
        self.run(small(problem), 1e-4, False)

    def run(self, problem: Problem, tol: float, generous: bool) -> Any:
        _lasso._LASSO_CV_ALPHA_CACHE.clear()  # else a repeat would be a look-up
        _elasticnet_cv._ELASTICNET_CV_CACHE.clear()
        folds = range(problem.fold_id.max() + 1)
        common: dict[str, Any] = {
            "cv_splits": [(np.flatnonzero(problem.fold_id != k), np.flatnonzero(problem.fold_id == k)) for k in folds],
            "tol": tol,
            "device": "cpu",
            "n_jobs": self.jobs,
            **({"max_iter": 10_000_000} if generous else {}),
        }
        if len(problem.ratios) == 1:
            return LassoCV(alphas=problem.lams[0], **common).fit(problem.X, problem.y)
        grid = {"n_alphas": problem.lams.shape[1], "alpha_min_ratio": problem.lam_min_ratio}
        return ElasticNetCV(list(problem.ratios), **grid, **common).fit(problem.X, problem.y)

    def fits(self, problem: Problem, result: Any, tol: float, generous: bool) -> Fits:
        """The classes drop the folds' coefficients: run again, and listen to the solver that they call."""
        heard: list[np.ndarray] = []
        if len(problem.ratios) == 1:
            solver = _lasso._solve_lasso_path_cpu_from_gram

            def listen(*args: Any, **options: Any) -> Any:
                out = solver(*args, **options)
                heard.append(np.array(out[0]))
                return out

            _lasso._solve_lasso_path_cpu_from_gram = listen
            try:
                self.run(problem, tol, generous)
            finally:
                _lasso._solve_lasso_path_cpu_from_gram = solver
            coef = np.stack(heard[: len(problem.weights) - 1])[None]
        else:
            fit = _elasticnet_cv.ElasticNet.fit

            def listen_to_fit(model: Any, *args: Any, **options: Any) -> Any:
                out = fit(model, *args, **options)
                heard.append((model.l1_ratio, model.alpha, np.array(model.coef_)))
                return out

            _elasticnet_cv.ElasticNet.fit = listen_to_fit
            try:
                self.run(problem, tol, generous)
            finally:
                _elasticnet_cv.ElasticNet.fit = fit
            coef = self.sorted_by_fold(problem, heard)
        center = np.stack([problem.X[rows].mean(axis=0) for rows in problem.training_rows[1:]])
        level = np.array([problem.y[rows].mean() for rows in problem.training_rows[1:]])
        intercept = level[:, None] - np.einsum("rflp,fp->rfl", coef, center)
        return Fits(coef, intercept, first=1, note="run again to be judged; no path on all rows")

    @staticmethod
    def sorted_by_fold(problem: Problem, heard: list[Any]) -> np.ndarray:
        """Coefficients (ratios, folds, lams, p) of fits that came in any order of λ within a ratio and a fold."""
        folds = len(problem.weights) - 1
        out = np.zeros((len(problem.ratios), folds, problem.lams.shape[1], problem.X.shape[1]))
        seen = np.zeros(out.shape[:3], int)
        for ratio, lam, coef in heard[: seen.size]:
            i = int(np.argmin(np.abs(problem.ratios - ratio)))
            j = int(np.argmin(np.abs(np.log(problem.lams[i] / lam))))
            k = int(seen[i, :, j].sum())
            out[i, k, j] = coef
            seen[i, k, j] = 1
        if not seen.all():
            raise RuntimeError(f"heard {seen.sum()} of {seen.size} fits")
        return out
