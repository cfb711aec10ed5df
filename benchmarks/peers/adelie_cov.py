"""adelie given the Gram matrix: `gaussian_cov`. Computing the Gram is part of the time."""

# ruff: noqa: D102  (documented by Adapter)

import adelie as ad
import numpy as np

from benchmarks.worker import LoopAdapter, Problem


class Peer(LoopAdapter):
    """`tol` as in `grpnet`; the early stop on the explained deviance is off."""

    uses_jobs = True

    def version(self) -> str:
        return ad.__version__

    def default_tol(self, problem: Problem) -> float:
        return 1e-7

    def unsupported(self, problem: Problem) -> str:
        if problem.loss != "squared":
            return "squared loss only"
        if problem.is_ridge:
            return "its Gram form fails at an l1 ratio of 0"
        return "" if problem.X.shape[0] > problem.X.shape[1] else "the Gram is larger than X"

    def path(
        self, problem: Problem, X: np.ndarray, y: np.ndarray, ratio: float, lams: np.ndarray, tol: float, generous: bool
    ) -> tuple[np.ndarray, np.ndarray]:
        center, level = X.mean(axis=0), y.mean()
        centred = X - center
        state = ad.gaussian_cov(
            np.asfortranarray(centred.T @ centred) / len(y),
            centred.T @ (y - level) / len(y),
            alpha=ratio,
            lmda_path=lams,
            tol=tol,
            rdev_tol=0,
            early_exit=False,
            n_threads=self.jobs,
            progress_bar=False,
            **({"max_iters": 1_000_000_000} if generous else {}),
        )
        coef = state.betas.toarray()
        return coef, level - coef @ center
