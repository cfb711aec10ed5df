"""The generic path: any penalty and any smooth loss, by accelerated proximal gradient steps.

λ after λ in chunks, each warm-started by the end of the last, and all training sets at once. Coefficients are solved
for as what they differ by from the null model, so that zero is where the path begins. Nothing is believed of the
solver: what it found is certified from the data, and where that falls short it goes on with a smaller tolerance.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxreg._programs import program
from jaxreg._result import Result
from jaxreg.linear.assess import assess, derivative_of, good, gradient_beyond, null_coefficients, null_eta
from jaxreg.linear.columns import Data
from jaxreg.linear.coordinates import SLACK, by_coordinates, descend, own_steps
from jaxreg.linear.design import Design, Views
from jaxreg.linear.free import HUGE, free_columns
from jaxreg.linear.null import correlate_views
from jaxreg.linear.outputs import alike, apply, correlate, inverse_scale, per_sample, predict
from jaxreg.linear.problem import Fits, Problem
from jaxreg.losses import Loss
from jaxreg.losses._base import Nonsmooth
from jaxreg.objective import Objective
from jaxreg.penalties import Masked, Penalty, is_sharp, settled

CHUNK = 8
"""Strengths solved at once, at most."""
ENTRIES = 2**21
"""Largest array of a chunk, in entries: problems × rows or columns."""
ROUNDS, STEPS = 8, 20_000
"""How often the tolerance may shrink, and steps in all."""


class _Chunk(NamedTuple):
    """Intercepts (C, F, …) and slopes (C, F, p, …) beyond the null model, and per problem code and steps (C, F)."""

    level: np.ndarray
    slopes: np.ndarray
    code: np.ndarray
    steps: np.ndarray


def fit_generic(
    problem: Problem,
    penalty: Penalty,
    lams: np.ndarray,
    tol: float,
    report: Callable[[int, int], None] | None = None,
) -> Fits:
    """Solve for strengths (L,), in decreasing order, in every training set: `Fits` of one l1 ratio.

    Args:
        problem: data and null models; its factor is 0 for columns that the penalty leaves free, else 1.
        penalty: any penalty of p coefficients, or of (p, k) where a sample has k outputs.
        lams: strengths.
        tol: bound on the relative residual, and on the relative duality gap where there is one.
        report: called with the number of λ done and their total.
    """
    (n, p), many, length = problem.design.shape, len(problem.views.weights), len(lams)
    null_level, null_slopes = null_coefficients(problem)
    size = max(1, min(CHUNK, length, ENTRIES // (max(n, p) * null_level.size)))
    level, slopes = np.zeros_like(null_level), np.zeros_like(null_slopes)
    goal = np.full(many, 0.3 * tol)
    found: list[tuple[np.ndarray, ...]] = []
    for first in range(0, length, size):
        which = np.minimum(np.arange(first, first + size), length - 1)
        chunk, gap, kkt, deviance, goal = _solve_chunk(problem, penalty, lams[which], tol, level, slopes, goal)
        result = np.where(good(gap, kkt, tol), Result.CONVERGED, np.where(chunk.code > 0, chunk.code, Result.STALLED))
        result = np.where(np.isfinite(kkt), result, Result.DIVERGED)
        level, slopes = (np.where(np.isfinite(part[-1]), part[-1], 0) for part in (chunk.level, chunk.slopes))
        each = (chunk.level + null_level, chunk.slopes + null_slopes, gap, kkt, deviance, result, chunk.steps)
        found.append(tuple(part[: length - first] for part in each))
        if report is not None:
            report(min(first + size, length), length)
    level, slopes, gap, kkt, deviance, result, steps = (
        np.concatenate(parts)[:, :, None] for parts in zip(*found, strict=True)
    )
    return Fits(
        working=np.arange(p),
        intercept=level,
        slopes=slopes,
        gap=gap,
        kkt=kkt,
        deviance=deviance,
        result=result.astype(np.int32),
        steps=steps,
        df=np.full(gap.shape, np.nan),
    )


def generic_lam_max(problem: Problem, penalty: Penalty) -> float:
    """Strength from which on only what is free is left of the first training set's fit."""
    gradient = np.asarray(problem.null.gradient)[0]
    if free_columns(penalty, gradient.shape)[1]:
        # Directions that are no columns are free: what they leave is found as any solution is, at a huge strength.
        many = len(problem.views.weights)
        start = tuple(map(np.zeros_like, null_coefficients(problem)))
        chunk, *_ = _solve_chunk(problem, penalty, np.full(1, HUGE), 1e-9, start[0], start[1], np.full(many, 1e-11))
        arguments = (problem.design, problem.views, problem.loss, problem.data, null_eta(problem))
        gradient = np.asarray(gradient_beyond(*arguments, chunk.level[0], chunk.slopes[0]))[0]
    # Of losses with kinks the null model's dual point is as good as its gap: a hair more keeps it feasible.
    return float(_lam_max(penalty, gradient)) * (1 + 1e-8 * isinstance(problem.loss, Nonsmooth))


def _solve_chunk(
    problem: Problem,
    penalty: Penalty,
    lams: np.ndarray,
    tol: float,
    level: np.ndarray,
    slopes: np.ndarray,
    goal: np.ndarray,
) -> tuple[_Chunk, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Solve and certify until all is well or hopeless: also gap, residual, deviance, and goals that were enough."""
    about = (problem.design, problem.views, problem.loss, problem.data)
    eta = null_eta(problem)
    null_level, null_slopes = null_coefficients(problem)
    sharp = is_sharp(penalty)
    short = np.asarray(_short_steps(*about, eta)) if sharp else np.ones(len(level))
    # How long the steps are by which a sharp penalty is judged: those of single coefficients leave fewer points alone.
    alone = sharp and problem.plain and by_coordinates(penalty)
    judged_by = np.asarray(own_steps(*about, eta)) if alone else short
    shape = (len(lams), len(level))
    goals, left = np.broadcast_to(goal, shape).copy(), np.full(shape, STEPS)
    now = tuple(np.broadcast_to(part, (len(lams), *part.shape)) for part in (level, slopes))
    total, code = np.zeros(shape, np.int64), np.zeros(shape, np.int32)
    pending = np.ones(shape, bool)
    for _ in range(ROUNDS):
        budget = np.where(pending, left, 0)
        answer = _solve(*about, eta, penalty, lams, goals, budget, *now, np.float64(problem.intercept), short)
        level_now, slopes_now, ended, steps = (np.asarray(part) for part in answer)
        now = level_now, slopes_now
        code, total, left = np.where(pending, ended, code), total + steps, left - steps
        if alone:
            now = level_now, np.asarray(descend(*about, eta, penalty, lams, judged_by, tol * problem.scale(), *now))
        beyond = null_level + now[0], null_slopes + now[1]
        judged = assess(*about, problem.null, penalty, lams, problem.factor, *beyond, SLACK * judged_by)
        gap, kkt, deviance = (np.asarray(part) for part in judged)
        worst = np.fmax(gap, kkt)
        pending = ~good(gap, kkt, tol) & (left > 0) & (goals > 1e-15) & np.isfinite(worst)
        if not pending.any():
            break
        with np.errstate(divide="ignore"):
            goals = np.where(pending, np.maximum(goals * np.clip(0.3 * tol / worst, 1e-3, 0.3), 1e-15), goals)
    return _Chunk(now[0], now[1], code, total), gap, kkt, deviance, goals.min(axis=0)


class _View(NamedTuple):
    """What one problem sees: the design, its training set's mean, inverse scale and weights, and null predictions."""

    design: Design
    loss: Loss
    target: Any
    mean: jax.Array
    inverse: jax.Array
    weights: jax.Array
    eta: jax.Array
    level: jax.Array
    """1 if there is an intercept, else 0."""


def _risk(params: dict[str, jax.Array], view: _View) -> jax.Array:
    """Weighted mean loss of {intercept, slopes} beyond the null model, whose gradient is made by the design itself."""
    intercept, slopes = (jax.lax.stop_gradient(params[name]) for name in ("intercept", "slopes"))
    raw = slopes * alike(view.inverse, slopes)
    level = view.level * intercept - jnp.sum(alike(view.mean, raw) * raw, axis=0)
    eta = apply(view.design, raw) + level + view.eta
    value = per_sample(view.weights, view.loss.value(eta, view.target))
    rows = Data(view.target, view.eta, view.weights)
    dual = alike(view.weights, eta) * derivative_of(view.loss, rows, view.weights, eta)
    total = jnp.sum(dual, axis=0)
    gradient = correlate(view.design, dual)
    gradient = (gradient - alike(view.mean, gradient) * total) * alike(view.inverse, gradient)
    # Worth 0 as it stands, and with the right derivative: nothing is ever transposed.
    moved = jnp.sum(gradient * (params["slopes"] - slopes))
    return value + moved + view.level * jnp.sum(total * (params["intercept"] - intercept))


@program()
def _solve(
    design: Design,
    views: Views,
    loss: Loss,
    data: Data,
    eta: jax.Array,
    penalty: Penalty,
    lams: jax.Array,
    tol: jax.Array,
    budget: jax.Array,
    level: jax.Array,
    slopes: jax.Array,
    intercept: jax.Array,
    short: jax.Array,
) -> tuple[jax.Array, ...]:
    """Intercepts (C, F, …), slopes (C, F, p, …), codes and steps, for strengths (C,) in every training set."""
    from jaxreg.solvers import (
        FISTA,  # optax, which it brings along, takes a while to import
        minimize,
    )

    inverse = inverse_scale(views)

    def one(k: Any, lam: Any, tol: Any, budget: Any, level: Any, slopes: Any) -> Any:
        """One strength in training set k."""
        objective = Objective(_risk, Masked(settled(penalty.at(lam), short[k]), include=("slopes",)))
        weighed = loss.weighing(views.weights[k])
        view = _View(design, weighed, data.target, views.mean[k], inverse[k], views.weights[k], eta[k], intercept)
        solver = FISTA(tol=tol, max_steps=budget)
        found = minimize(
            objective, {"intercept": level, "slopes": slopes}, {"intercept": None, "slopes": None}, view, solver
        )
        return found.params["intercept"], found.params["slopes"], found.result, found.stats.steps

    # One axis of problems, not two: every operation is batched once.
    shape = tol.shape
    sets, strengths = jnp.tile(jnp.arange(shape[1]), shape[0]), jnp.repeat(lams, shape[1])
    flat = jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), (tol, budget, level, slopes))
    return jax.tree.map(lambda leaf: leaf.reshape(*shape, *leaf.shape[1:]), jax.vmap(one)(sets, strengths, *flat))


@program()
def _short_steps(design: Design, views: Views, loss: Loss, data: Data, eta: jax.Array) -> jax.Array:
    """Steps (F,) that are short enough for the loss's curvature, at the null model if it has no bound."""
    p = design.shape[1]
    inverse = inverse_scale(views)

    def image(x: jax.Array) -> jax.Array:
        rows = predict.jitted(design, views, jnp.zeros(len(x)), x)
        return correlate_views(design, views, rows[:, None])[:, 0]

    def power(_: int, x: jax.Array) -> jax.Array:
        y = image(x)
        return y / jnp.maximum(jnp.linalg.norm(y, axis=1, keepdims=True), 1e-30)

    x = jax.lax.fori_loop(0, 30, power, jnp.where(inverse > 0, 1 + jnp.sin(jnp.arange(p)), 0) / jnp.sqrt(p))
    top = jnp.linalg.norm(image(x), axis=1)

    def steepest(w: jax.Array, eta: jax.Array) -> jax.Array:
        second = loss.weighing(w).second_derivative(eta, data.target)
        return jnp.max(jnp.where(alike(w, second) > 0, second, 0))

    curvature = jax.vmap(steepest)(data.weights, eta)
    bound = jnp.asarray(loss.curvature, curvature.dtype)
    bound = jnp.where(jnp.isfinite(bound), bound, curvature) * top
    return 0.3 / jnp.where(bound > 0, bound, 1)


@program()
def _lam_max(penalty: Penalty, gradient: jax.Array) -> jax.Array:
    return penalty.lam_max(gradient)
