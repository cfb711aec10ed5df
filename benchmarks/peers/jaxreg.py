"""jaxreg: `fit_path`, `cross_validate`, `bootstrap`."""

# ruff: noqa: D102  (documented by Adapter)

from typing import Any

import jax
import numpy as np

import jaxreg as jr
from benchmarks.worker import Adapter, Fits, Problem

COMPILED = "/jax/core/compile/backend_compile_duration"


class Peer(Adapter):
    """`tol` bounds the relative duality gap."""

    order = "C"

    def __init__(self) -> None:
        self.compiled: list[float] = []
        jax.monitoring.register_event_duration_secs_listener(self.listen)

    def listen(self, event: str, seconds: float, **_: Any) -> None:
        """Note every program that is compiled."""
        if event == COMPILED:
            self.compiled.append(seconds)

    def version(self) -> str:
        return f"{jr.__version__} (jax {jax.__version__}, {jax.default_backend()})"

    def default_tol(self, problem: Problem) -> float:
        return 1e-6

    def unsupported(self, problem: Problem) -> str:
        if problem.kind == "bootstrap" and "bootstrap" not in jr.__all__:
            return "no bootstrap in this version"
        return ""

    def counts(self) -> dict[str, Any]:
        """Programs compiled since the last run, and the time that took."""
        counted = {"programs": len(self.compiled), "compile_seconds": round(sum(self.compiled), 4)}
        self.compiled.clear()
        return counted

    def run(self, problem: Problem, tol: float, generous: bool) -> Any:
        loss = jr.Logistic() if problem.loss == "logistic" else jr.Squared()
        penalty = jr.L2() if problem.is_ridge else jr.L1()
        lams: Any = problem.lams[0]
        common: dict[str, Any] = {"loss": loss, "penalty": penalty, "standardize": False, "tol": tol}
        if problem.kind == "path":
            return jr.fit_path(problem.X, problem.y, lams=lams, **common)
        if problem.kind == "bootstrap":
            return jr.bootstrap(
                problem.X, problem.y, replicates=len(problem.weights), lams=lams, seed=0, standardize=False, tol=tol
            )
        if len(problem.ratios) == 1:
            return jr.cross_validate(problem.X, problem.y, lams=lams, fold_id=problem.fold_id, **common)
        grid = {"lams": len(lams), "lam_min_ratio": problem.lam_min_ratio, "l1_ratios": problem.ratios}
        common["penalty"] = jr.ElasticNet()
        return jr.cross_validate(problem.X, problem.y, fold_id=problem.fold_id, **grid, **common)

    def fits(self, problem: Problem, result: Any, tol: float, generous: bool) -> Fits:
        if problem.kind == "path":
            return Fits(result.coef[None, None], result.intercept[None, None])
        if problem.kind == "bootstrap":
            return Fits(result.coef[None], result.intercept[None], weights=result.counts)
        if not np.allclose(result.lams.reshape(problem.lams.shape), problem.lams, rtol=1e-9):
            raise RuntimeError("another grid than that of the problem")
        ratios = len(problem.ratios)
        whole = np.stack([path.coef for path in result.paths])[:, None]
        level = np.stack([path.intercept for path in result.paths])[:, None]
        folds = result.fold_coef.reshape(ratios, -1, *whole.shape[2:])
        return Fits(
            np.concatenate([whole, folds], axis=1),
            np.concatenate([level, result.fold_intercept.reshape(ratios, -1, whole.shape[2])], axis=1),
        )
