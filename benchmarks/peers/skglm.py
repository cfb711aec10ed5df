"""skglm: `AndersonCD.path`; `ProxNewton` from λ to λ for the logistic loss.

Its own cross-validation deals folds itself and finds λ_max for squared loss only: a plain loop over folds instead.
"""

# ruff: noqa: D102  (documented by Adapter)

from importlib.metadata import version

import numpy as np
from skglm.datafits import Logistic, Quadratic
from skglm.penalties import L1, L1_plus_L2
from skglm.solvers import AndersonCD, ProxNewton

from benchmarks.worker import LoopAdapter, Problem, small


class Peer(LoopAdapter):
    """`tol` bounds the violation of the optimality conditions, not relative to anything."""

    def version(self) -> str:
        return version("skglm")

    def default_tol(self, problem: Problem) -> float:
        return 1e-4

    def unsupported(self, problem: Problem) -> str:
        return "no ridge path" if problem.is_ridge else ""

    def warm_up(self, problem: Problem) -> None:
        self.run(small(problem), 1e-4, False)

    def path(
        self, problem: Problem, X: np.ndarray, y: np.ndarray, ratio: float, lams: np.ndarray, tol: float, generous: bool
    ) -> tuple[np.ndarray, np.ndarray]:
        penalty = L1(lams[0]) if ratio == 1 else L1_plus_L2(lams[0], ratio)
        if problem.loss == "logistic":
            return self.logistic(X, y, penalty, lams, tol, generous)
        solver = AndersonCD(tol=tol, fit_intercept=True, **({"max_iter": 10_000} if generous else {}))
        coef = solver.path(X, y, Quadratic(), penalty, alphas=lams)[1].T
        return coef[:, :-1], coef[:, -1]

    @staticmethod
    def logistic(
        X: np.ndarray, y: np.ndarray, penalty: L1, lams: np.ndarray, tol: float, generous: bool
    ) -> tuple[np.ndarray, np.ndarray]:
        solver = ProxNewton(tol=tol, fit_intercept=True, **({"max_iter": 10_000} if generous else {}))
        w, fitted, signs = np.zeros(X.shape[1] + 1), np.zeros(len(y)), 2 * y - 1
        out = []
        for lam in lams:
            penalty.alpha = lam
            w = solver.solve(X, signs, Logistic(), penalty, w.copy(), fitted)[0]
            fitted = X @ w[:-1] + w[-1]
            out.append(w)
        coef = np.stack(out)
        return coef[:, :-1], coef[:, -1]
