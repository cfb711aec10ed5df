"""The process in which one solver runs: reads problems, warms up, runs on demand and writes answers.

    python -m benchmarks.worker scikit_learn

One request a line on standard input, one reply a line on the descriptor that was standard output; both are
`key=value` pairs between tabs, so that R speaks them too. Requests, by their `cmd`:

    hello   → version of the solver
    load    folder kind loss n p ratios lams folds replicates lam_min_ratio → tol (the default one), or unsupported
    run     tol generous (0|1) → seconds, and whatever the adapter counts
    save    folder → first, note; writes coef.f64, intercept.f64 and perhaps weights.f64
    quit

`generous` lifts limits on iterations, so that the tolerance decides.
"""

import abc
import importlib
import os
import sys
import time
import traceback
import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

CHOICE_SECONDS = 2.0
"""Up to which time of the first run a solver with threads also tries to do without them, and keeps what is quicker."""


@dataclass(frozen=True)
class Problem:
    """What a solver is given; see `benchmarks/problems.py`. Arrays by columns."""

    kind: str
    loss: str
    X: np.ndarray
    y: np.ndarray
    lams: np.ndarray
    ratios: np.ndarray
    fold_id: np.ndarray
    weights: np.ndarray
    lam_min_ratio: float

    @property
    def is_ridge(self) -> bool:
        """Whether there is no L1 part."""
        return bool(np.all(self.ratios == 0))

    @property
    def training_rows(self) -> list[np.ndarray]:
        """Rows of every fit, as often as they count."""
        return [np.repeat(np.arange(len(w)), w.astype(int)) for w in self.weights]


@dataclass(frozen=True)
class Fits:
    """Coefficients (ratios, fits, lams, p) and intercepts (ratios, fits, lams)."""

    coef: np.ndarray
    intercept: np.ndarray
    first: int = 0
    weights: np.ndarray | None = None
    note: str = ""


class Adapter(abc.ABC):
    """A solver in the words of the benchmark."""

    jobs: int = len(os.sched_getaffinity(0))
    """Cores to use; 1 where that turns out to be quicker, because the problem is small."""

    uses_jobs: bool = False
    order: Literal["C", "F"] = "F"
    """Layout of X that the solver likes: whoever uses it much would store X that way."""

    @abc.abstractmethod
    def version(self) -> str:
        """Version of the package."""

    @abc.abstractmethod
    def default_tol(self, problem: Problem) -> float:
        """The tolerance that a user gets who does not ask for one."""

    @abc.abstractmethod
    def unsupported(self, problem: Problem) -> str:
        """Why the solver has no answer for this problem; empty if it has one."""

    @abc.abstractmethod
    def run(self, problem: Problem, tol: float, generous: bool) -> Any:
        """Solve: this is timed."""

    @abc.abstractmethod
    def fits(self, problem: Problem, result: Any, tol: float, generous: bool) -> Fits:
        """Coefficients of what `run` returned; fitted again where it does not keep them. Not timed."""

    def warm_up(self, problem: Problem) -> None:  # noqa: B027  (nothing to do for most)
        """Compile, on a small problem of the same kind, what will be compiled anyway."""

    def counts(self) -> dict[str, Any]:
        """What was counted during the last run."""
        return {}


class LoopAdapter(Adapter):
    """A solver with a function for paths and no cross-validation that takes folds: a plain loop over the fits."""

    @abc.abstractmethod
    def path(
        self, problem: Problem, X: np.ndarray, y: np.ndarray, ratio: float, lams: np.ndarray, tol: float, generous: bool
    ) -> tuple[np.ndarray, np.ndarray]:
        """Coefficients (lams, p) and intercepts (lams,)."""

    def run(self, problem: Problem, tol: float, generous: bool) -> Any:
        """Loop over l1 ratios and training sets; score the held-out rows."""
        out = []
        for ratio, lams in zip(problem.ratios, problem.lams, strict=True):
            for k, rows in enumerate(problem.training_rows):
                if problem.kind == "path" or (problem.kind == "cv" and k == 0):
                    X, y = problem.X, problem.y
                else:
                    X, y = np.asarray(problem.X[rows], order=self.order), problem.y[rows]
                coef, intercept = self.path(problem, X, y, float(ratio), lams, tol, generous)
                if problem.kind == "cv" and k > 0:
                    held_out = problem.fold_id == k - 1
                    errors = problem.X[held_out] @ coef.T + intercept - problem.y[held_out, None]
                    np.mean(errors**2, axis=0)
                out.append((coef, intercept))
        return out

    def fits(self, problem: Problem, result: Any, tol: float, generous: bool) -> Fits:
        """They were all kept."""
        coef = np.stack([one[0] for one in result])
        intercept = np.stack([one[1] for one in result])
        ratios = len(problem.ratios)
        return Fits(coef.reshape(ratios, -1, *coef.shape[1:]), intercept.reshape(ratios, -1, coef.shape[1]))


def small(problem: Problem) -> Problem:
    """A problem of the same kind, too small to take time."""
    rng = np.random.default_rng(0)
    n, p = 40, 5
    X = np.asfortranarray(rng.standard_normal((n, p)))
    eta = X[:, 0] + rng.standard_normal(n)
    y = (eta > 0).astype(float) if problem.loss == "logistic" else eta - eta.mean()
    folds = int(problem.fold_id.max()) + 1 if problem.fold_id.size else 0
    fold_id = np.arange(n) % folds if folds else np.empty(0, int)
    weights = np.ones((1, n))
    if folds:
        weights = np.concatenate([weights, fold_id != np.arange(folds)[:, None]])
    top = np.abs(X.T @ (y - y.mean())).max() / n
    lams = np.stack([top * (1 / r if r else 1e3) * np.geomspace(1, 0.01, 5) for r in problem.ratios])
    return Problem(problem.kind, problem.loss, X, y, lams, problem.ratios, fold_id, weights, 0.01)


def read(request: dict[str, str]) -> Problem:
    """Read a problem that `Task.write` wrote."""
    folder = Path(request["folder"])
    n, p, ratios = (int(request[name]) for name in ("n", "p", "ratios"))
    return Problem(
        kind=request["kind"],
        loss=request["loss"],
        X=np.fromfile(folder / "X.f64").reshape((n, p), order="F"),
        y=np.fromfile(folder / "y.f64"),
        lams=np.fromfile(folder / "lams.f64").reshape(ratios, -1),
        ratios=np.fromfile(folder / "ratios.f64"),
        fold_id=np.fromfile(folder / "fold_id.i32", np.int32),
        weights=np.fromfile(folder / "weights.f64").reshape((-1, n), order="F"),
        lam_min_ratio=float(request["lam_min_ratio"]),
    )


class Session:
    """Answers requests, one after the other."""

    def __init__(self, adapter: Adapter):
        self.adapter = adapter
        self.problem: Problem | None = None
        self.last: tuple[Any, float, bool] | None = None
        self.chosen = False

    def answer(self, request: dict[str, str]) -> dict[str, Any]:
        """Do what is asked, and say how it went."""
        match request["cmd"]:
            case "hello":
                return {"version": self.adapter.version()}
            case "load":
                problem = read(request)
                self.problem = replace(problem, X=np.asarray(problem.X, order=self.adapter.order))
                reason = self.adapter.unsupported(self.problem)
                if reason:
                    return {"unsupported": reason}
                self.adapter.jobs, self.chosen = Adapter.jobs, False
                self.adapter.warm_up(self.problem)
                return {"tol": repr(self.adapter.default_tol(self.problem))}
            case "run":
                tol, generous = float(request["tol"]), request["generous"] == "1"
                result, seconds = self.timed(tol, generous)
                if not self.chosen and self.adapter.uses_jobs and seconds < CHOICE_SECONDS:
                    self.adapter.jobs = 1
                    other, alone = self.timed(tol, generous)
                    if alone < seconds:
                        result, seconds = other, alone
                    else:
                        self.adapter.jobs = Adapter.jobs
                self.chosen = True
                self.last = (result, tol, generous)
                return {"seconds": repr(seconds), **self.adapter.counts()}
            case "save":
                fits = self.adapter.fits(self.problem, *self.last)
                folder = Path(request["folder"])
                fits.coef.astype(np.float64).tofile(folder / "coef.f64")
                fits.intercept.astype(np.float64).tofile(folder / "intercept.f64")
                if fits.weights is not None:
                    fits.weights.astype(np.float64).tofile(folder / "weights.f64")
                own = int(fits.weights is not None)
                return {"first": fits.first, "note": fits.note, "own_weights": own, "scaled_target": 0}
        raise ValueError(f"unknown request {request}")

    def timed(self, tol: float, generous: bool) -> tuple[Any, float]:
        """Result and seconds of one run."""
        start = time.perf_counter()
        result = self.adapter.run(self.problem, tol, generous)
        return result, time.perf_counter() - start


def main(name: str) -> None:
    """Serve requests until the input ends."""
    # Solvers print; replies go to what was standard output, prints to standard error.
    replies = os.fdopen(os.dup(1), "w", buffering=1, encoding="utf-8")
    os.dup2(2, 1)
    warnings.simplefilter("ignore")  # of convergence: the judge says what was reached
    session = Session(importlib.import_module(f"benchmarks.peers.{name}").Peer())
    for line in sys.stdin:
        request = dict(pair.split("=", 1) for pair in line.rstrip("\n").split("\t"))
        if request["cmd"] == "quit":
            break
        try:
            reply = session.answer(request)
        except Exception as error:  # whatever a solver raises is an answer to be reported
            traceback.print_exc()
            reply = {"error": f"{type(error).__name__}: {error}".replace("\n", " ").replace("\t", " ")[:300]}
        replies.write("\t".join(f"{key}={value}" for key, value in reply.items()) + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
