"""adelie: `grpnet`, in a plain loop over folds, because its own cross-validation deals them itself."""

# ruff: noqa: D102  (documented by Adapter)

import adelie as ad
import numpy as np

from benchmarks.worker import LoopAdapter, Problem


class Peer(LoopAdapter):
    """`tol` bounds the change of the coefficients, squared and weighted; `irls_tol` follows it."""

    uses_jobs = True

    def version(self) -> str:
        return ad.__version__

    def default_tol(self, problem: Problem) -> float:
        return 1e-7

    def unsupported(self, problem: Problem) -> str:
        return ""

    def path(
        self, problem: Problem, X: np.ndarray, y: np.ndarray, ratio: float, lams: np.ndarray, tol: float, generous: bool
    ) -> tuple[np.ndarray, np.ndarray]:
        state = ad.grpnet(
            X,
            ad.glm.gaussian(y) if problem.loss == "squared" else ad.glm.binomial(y),
            alpha=ratio,
            lmda_path=lams,
            tol=tol,
            irls_tol=tol,
            early_exit=False,
            n_threads=self.jobs,
            progress_bar=False,
            **({"max_iters": 1_000_000_000, "irls_max_iters": 1_000_000} if generous else {}),
        )
        return state.betas.toarray(), np.asarray(state.intercepts)
