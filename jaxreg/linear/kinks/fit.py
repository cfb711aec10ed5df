"""The path of losses with kinks: chunk after chunk of strengths by `admm`, each from where the last one ended."""

import dataclasses
import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from jaxreg._programs import program
from jaxreg._result import Result
from jaxreg.linear.assess import null_coefficients, null_eta
from jaxreg.linear.columns import Data
from jaxreg.linear.design import Design, Views
from jaxreg.linear.generic import CHUNK, ENTRIES
from jaxreg.linear.kinks.admm import ridges
from jaxreg.linear.kinks.null import minimize
from jaxreg.linear.kinks.responses import penalty_of, response
from jaxreg.linear.kinks.saddle import State, length
from jaxreg.linear.null import Null
from jaxreg.linear.outputs import predict
from jaxreg.linear.problem import Fits, Problem
from jaxreg.losses._base import Nonsmooth
from jaxreg.penalties import Penalty


def fit_kinks(
    problem: Problem,
    penalty: Penalty,
    lams: np.ndarray,
    tol: float,
    report: Callable[[int, int], None] | None = None,
) -> Fits:
    """Solve as `fit_split` does, response by response where there are several; slopes have a last axis of them.

    The gap is that of all responses, relative to their null models; the residual is the largest.
    """
    if problem.data.offset.ndim == 1:
        return fit_split(problem, penalty, lams, tol, report)
    found, primal, size = [], [], []
    many = problem.data.offset.shape[1]
    eta = np.asarray(null_eta(problem))
    for k in range(many):
        data, null = response(problem.data, k), problem.null
        cost = np.asarray(problem.loss.value(jnp.asarray(eta[..., k]), data.target))
        weights = np.asarray(data.weights)
        primal.append(np.where(weights > 0, weights * cost, 0).sum(axis=1))
        null = null._replace(
            primal=primal[k], derivative=null.derivative[..., k], gradient=null.gradient[..., k], coef=null.coef[..., k]
        )
        one = dataclasses.replace(problem, data=data, null=null)
        size.append(one.scale())
        told = None if report is None else functools.partial(_in_all, report, k, many)
        found.append(fit_split(one, penalty_of(penalty, k), lams, tol, told))
    primals, sizes = (np.stack(part, axis=1)[:, None] for part in (primal, size))

    def over(name: str) -> np.ndarray:
        return np.stack([getattr(fits, name) for fits in found], axis=-1)

    return Fits(
        working=found[0].working,
        intercept=over("intercept"),
        slopes=over("slopes"),
        gap=(over("gap") * primals).sum(axis=-1) / np.asarray(problem.null.primal)[:, None],
        kkt=(over("kkt") * sizes).max(axis=-1) / problem.scale()[:, None],
        deviance=over("deviance").sum(axis=-1),
        result=over("result").max(axis=-1),
        steps=over("steps").sum(axis=-1),
        df=found[0].df,
    )


def _in_all(report: Callable[[int, int], None], k: int, many: int, done: int, total: int) -> None:
    report(k * total + done, many * total)


def fit_split(
    problem: Problem,
    penalty: Penalty,
    lams: np.ndarray,
    tol: float,
    report: Callable[[int, int], None] | None = None,
) -> Fits:
    """Solve for strengths (L,), in decreasing order, in every training set: `Fits` of one l1 ratio.

    Args:
        problem: data and null models, with a loss that has kinks.
        penalty: any penalty of p coefficients that has a prox.
        lams: strengths.
        tol: bound on the relative duality gap; on the residual where the penalty has no conjugate, and so no gap.
        report: called with the number of λ done and their total.
    """
    loss = problem.loss
    assert isinstance(loss, Nonsmooth)
    (n, p), many, count = problem.design.shape, len(problem.views.weights), len(lams)
    about = (problem.design, problem.views, loss, problem.data)
    inverses = ridges(problem.design, problem.views)
    state = _from_null(*about, problem.null, null_coefficients(problem)[1])
    sizes = np.stack([np.asarray(problem.null.primal), problem.scale()], axis=1)
    size = max(1, min(CHUNK, count, ENTRIES // (many * max(n, p))))
    found = []
    for first in range(0, count, size):
        at = lams[np.minimum(np.arange(first, first + size), count - 1)]
        run = minimize(*about, inverses, penalty, at, problem.factor, problem.intercept, sizes, tol, state)
        best = jax.tree.map(np.asarray, run.best)
        state = jax.tree.map(lambda leaf: leaf[-1], run.state)
        result = np.where(best.measure <= tol, Result.CONVERGED, Result.MAX_STEPS)
        result = np.where(np.isfinite(best.measure), result, Result.DIVERGED)
        each = (best.intercept, best.slopes, best.gap, best.residual, best.deviance, result, run.steps)
        found.append(tuple(np.asarray(part)[: count - first] for part in each))
        if report is not None:
            report(min(first + size, count), count)
    level, slopes, gap, kkt, deviance, result, steps = (
        np.concatenate(parts)[:, :, None] for parts in zip(*found, strict=True)
    )
    df = np.full(gap.shape, np.nan)
    return Fits(np.arange(p), level, slopes, gap, kkt, deviance, result.astype(np.int32), steps, df)


@program()
def _from_null(design: Design, views: Views, loss: Nonsmooth, data: Data, null: Null, slopes: jax.Array) -> State:
    """States (F, …) at the null models, whose slopes are (F, p)."""
    eta = data.offset + predict.jitted(design, views, null.coef[:, 0], slopes)
    rho = jax.vmap(lambda w, eta: length(loss, data, w, eta))(data.weights, eta)
    u, v = null.derivative / rho[:, None], -null.gradient / rho[:, None]
    return State(eta, slopes, u, v, null.coef[:, 0], slopes, eta, rho)
