"""Several responses whose coefficients meet neither in the loss nor in the penalty: each is a model of its own."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from jaxreg._result import Result
from jaxreg.linear.active.freedom import degrees_of_freedom
from jaxreg.linear.arguments import is_plain
from jaxreg.linear.columns import Data, gather
from jaxreg.linear.null import fit_null
from jaxreg.linear.problem import Fits, Problem
from jaxreg.penalties import MCP, SCAD, Elastic, Penalty

Report = Callable[[int, int], None] | None
Solver = Callable[[Problem, Report], Fits]
"""Fits of a problem of one response; the other argument is called with the number of λ done and their total."""


def falls_apart(problem: Problem, penalty: Penalty) -> bool:
    """Whether loss and penalty are sums over responses, all alike."""
    if not (is_plain(problem.loss) and isinstance(penalty, (Elastic, MCP, SCAD))):
        return False
    return np.ndim(penalty.weight) < 2 or np.shape(penalty.weight)[1] == 1


def response(problem: Problem, k: int) -> Problem:
    """The problem of response k alone, of a loss that adds them up."""
    data = problem.data
    if data.offset.ndim == 1:
        return problem
    one = Data(data.target[:, k], data.offset[:, k], data.weights)
    unpenalized = np.flatnonzero(problem.factor == 0)
    free = gather(problem.design, problem.views, unpenalized, unpenalized.size, problem.intercept)
    return dataclasses.replace(problem, data=one, null=fit_null(problem.design, problem.views, problem.loss, one, free))


def response_penalty(penalty: Any) -> Any:
    """A separable penalty of coefficients (p, k), with factors of the rows, as that of one response (p,)."""
    if np.ndim(penalty.weight) == 2:
        return dataclasses.replace(penalty, weight=np.asarray(penalty.weight)[:, 0])
    return penalty


def fit_responses(problem: Problem, solve: Solver, tol: float, report: Report) -> Fits:
    """Solve for every response, and join what was found; where there is but one, as it is.

    Gaps add up. Each is relative to the objective of its own null model, and so is that of all responses together, of
    which it is at most the largest; residuals are brought to one scale likewise.
    """
    if problem.data.offset.ndim == 1:
        return solve(problem, report)
    count = problem.data.offset.shape[1]
    fits, primal, scale = [], [], []
    for k in range(count):
        one = response(problem, k)
        fits.append(solve(one, _share(report, k, count)))
        primal.append(np.asarray(one.null.primal)[:, None])
        scale.append(one.scale()[:, None] * np.asarray(np.abs(one.null.gradient).max(axis=1) > 0)[:, None])
    working = functools.reduce(np.union1d, [fit.working for fit in fits])
    slopes = np.zeros((*fits[0].slopes.shape[:3], working.size, count))
    for k, fit in enumerate(fits):
        slopes[..., np.searchsorted(working, fit.working), k] = fit.slopes
    # A response that is constant has nothing to explain, and a gap relative to nothing.
    gap = sum(np.where(at > 0, fit.gap, 0) * at for fit, at in zip(fits, primal, strict=True)) / sum(primal)
    kkt = np.max([fit.kkt * at for fit, at in zip(fits, scale, strict=True)], axis=0) / np.max(scale, axis=0)
    missed = ~(np.where(np.isnan(gap), kkt, gap) <= tol)
    return Fits(
        working=working,
        intercept=np.stack([fit.intercept for fit in fits], axis=-1),
        slopes=slopes,
        gap=gap,
        kkt=kkt,
        deviance=np.sum([fit.deviance for fit in fits], axis=0),
        result=np.where(missed, np.max([fit.result for fit in fits], axis=0), Result.CONVERGED).astype(np.int32),
        steps=np.sum([fit.steps for fit in fits], axis=0),
        df=np.sum([fit.df for fit in fits], axis=0),
    )


def df_of_responses(problem: Problem, working: np.ndarray, b: np.ndarray, l2: np.ndarray, l1: np.ndarray) -> np.ndarray:
    """Degrees of freedom (L,) of all responses, as `degrees_of_freedom` finds them of one, for b (L, 1 + a, …)."""
    each = np.moveaxis(b.reshape(*b.shape[:2], -1), 2, 0)
    return np.sum([degrees_of_freedom(response(problem, k), working, b, l2, l1) for k, b in enumerate(each)], axis=0)


def _share(report: Report, k: int, count: int) -> Report:
    """Report of one response as a part of that of all."""
    return None if report is None else lambda done, total: report((k * total + done) // count, total)
