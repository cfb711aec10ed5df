"""The one loop: it owns stopping, budgets, statistics and results. `sweep` runs it for many λ at once."""

import functools
import warnings
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxreg import _check, _tree
from jaxreg._result import Result, Solution, Stats, describe_failures
from jaxreg._tree import PyTree
from jaxreg.objective import Objective
from jaxreg.penalties import is_sharp, settled
from jaxreg.solvers._base import Solver, ValueAndGradient
from jaxreg.solvers._fista import FISTA

RUNNING = -1
POWERS = 20
"""Iterations of the power method, for a curvature that may be off by some percent."""


class _Carry(NamedTuple):
    params: PyTree
    value: jax.Array
    grads: PyTree
    state: Any
    best: PyTree
    objective: jax.Array
    stationarity: jax.Array
    code: jax.Array
    steps: jax.Array
    idle: jax.Array


def solve(objective: Objective, params: PyTree, data: Any, *, solver: Solver | None = None) -> Solution:
    """Minimize an objective from a start, for any parameter pytree.

    Works under `jit` and `vmap`; λ, data and start may be traced, and a new λ does not recompile. The dtype
    of the parameters is the precision of the solve. Accelerators that would round the factors of matrix
    products (TF32) are told not to, unless `jax_default_matmul_precision` is set.

    Convergence is judged by the largest entry of the residual of 0 ∈ ∇f + ∂g_λ, relative to the largest entry
    of ∇f at zero or at the start, whichever is larger. A start whose loss is a multiple of that at zero has
    its gradient divided by that multiple, lest a bad start loosen the tolerance.

    A penalty that is infinitely steep at zero (`L0`, `Lq`) makes any support stationary, and none above all. There the
    residual is what a proximal gradient step of 0.3/L would change, over its length, for the largest curvature L of
    the smooth part at the start: the solution is one from which no such step, nor any shorter one, leads away.

    Args:
        objective: what to minimize.
        params: where to start. Leaves that are not floating-point are left alone.
        data: what the objective takes; `(X, y)` or `(X, y, sample_weight)` for a jaxreg loss.
        solver: `FISTA()` unless given.

    Returns:
        A `Solution`: the best point found, a `Result` code, and `Stats`. Outside of transformations, a
        problem that did not converge also warns.

    Raises:
        TypeError: if `objective` or `solver` is not of its kind.
        ValueError: if shapes disagree, a path pattern matches nothing, or a strength is not one number.

    >>> from jaxreg import L1, Squared
    >>> objective = Objective(Squared(), L1(0.5), lambda params, X: X @ params)
    >>> X, y = jnp.eye(2), jnp.array([4.0, 0.5])
    >>> solve(objective, jnp.zeros(2), (X, y)).params
    Array([3., 0.], dtype=float32)
    """
    solution = _run(objective, params, data, solver, None)
    _warn(solution.result)
    return solution


def sweep(objective: Objective, params: PyTree, data: Any, lams: Any, *, solver: Solver | None = None) -> Solution:
    """Solve an objective at many strengths at once, as one program.

    Args:
        objective: what to minimize; its penalty is set to each strength in turn.
        params: common start.
        data: as for `solve`; shared by all problems, not copied.
        lams: strengths, shape (L,).
        solver: `FISTA()` unless given.

    Returns:
        A `Solution` whose arrays all have a leading axis of length L, in the order of `lams`. A problem
        that fails says so in its own `result` and leaves the others as they are. Leaves of `params` that are
        not floating-point come back as they went in, without that axis.

    Raises:
        TypeError: if `objective` or `solver` is not of its kind.
        ValueError: if `lams` is empty, negative, not finite or not one-dimensional.
    """
    _check.lams(lams)
    solution = _run(objective, params, data, solver, jnp.asarray(lams, float))
    _warn(solution.result)
    return solution


def _run(objective: Objective, params: PyTree, data: Any, solver: Solver | None, lams: Any) -> Solution:
    """Keep leaves that JAX cannot trace (functions, strings) out of the compiled program's arguments."""
    solver = FISTA() if solver is None else solver
    if not isinstance(objective, Objective):
        raise TypeError(f"objective must be a jaxreg Objective, got {objective!r}")
    if not isinstance(solver, Solver):
        raise TypeError(f"solver must be a jaxreg Solver, got {solver!r}; wrap an optax optimizer in OptaxSolver")
    penalty = objective.whole if lams is None else objective.whole.at(1.0)
    for part in (penalty, *penalty.atoms):
        if np.ndim(part.lam):
            raise ValueError(
                f"lam of {type(part).__name__} must be one number, got shape {np.shape(part.lam)}: give several "
                "strengths to sweep, and those of single entries as weight"
            )
    leaves, structure = jax.tree.flatten(params)
    traceable = [isinstance(leaf, (jax.Array, np.ndarray, np.generic, int, float, complex)) for leaf in leaves]
    arrays = _tree.keep(params, traceable)
    objects = tuple(None if yes else leaf for leaf, yes in zip(leaves, traceable, strict=True))
    solution = _compiled(objective, arrays, data, solver, lams, structure, objects)
    others = jax.tree.unflatten(structure, objects)
    return Solution(_tree.overlay(solution.params, others), solution.result, solution.stats)


@functools.partial(jax.jit, static_argnames=("structure", "objects"))
def _compiled(
    objective: Objective,
    arrays: PyTree,
    data: Any,
    solver: Solver,
    lams: Any,
    structure: Any,
    objects: tuple[Any, ...],
) -> Solution:
    params, rest = _tree.partition(_tree.overlay(arrays, jax.tree.unflatten(structure, objects)))
    params = jax.tree.map(jnp.asarray, params)

    def one(lam: Any) -> Solution:
        problem = objective if lam is None else objective.at(lam)
        return minimize(problem, params, rest, data, solver)

    with jax.default_matmul_precision(jax.config.jax_default_matmul_precision or "highest"):  # type: ignore[attr-defined]
        solution = one(None) if lams is None else jax.vmap(one)(lams)
    # What is not floating-point is the same for every λ and is handed back once, without a λ axis.
    return Solution(_tree.overlay(solution.params, arrays), solution.result, solution.stats)


def minimize(objective: Objective, params: PyTree, rest: PyTree, data: Any, solver: Solver) -> Solution:
    """Run the loop of `solve` on arrays: what other programs have in theirs. It checks nothing, and warns of nothing.

    Args:
        objective: what to minimize.
        params: where to start: floating-point leaves, with None for all others.
        rest: the other leaves, with None for those of `params`.
        data: what the objective takes.
        solver: which.
    """
    penalty = objective.penalty

    def value_and_gradient(p: PyTree) -> tuple[Any, PyTree]:
        return objective.value_and_gradient(_tree.overlay(p, rest), data)

    def judge(carry: _Carry) -> _Carry:
        """Compare the candidate with the best point so far, and see whether this is the end."""
        x, smooth, x_grads = solver.candidate(carry.state, carry.params, carry.value, carry.grads)
        value = (smooth + penalty.value(x)).astype(scale.dtype)
        stationarity = (_tree.max_abs(judged.residual(x, x_grads)) / scale).astype(scale.dtype)
        finite = _tree.all_finite(x) & _tree.all_finite(x_grads) & ~jnp.isnan(value) & ~jnp.isnan(stationarity)
        converged = stationarity <= tol
        # The lower objective is better; where rounding hides which is lower, the smaller stationarity.
        rounding = 10 * jnp.finfo(scale.dtype).eps * jnp.abs(carry.objective)
        level = ~(value > carry.objective + rounding)
        better = (value < carry.objective - rounding) | (level & (stationarity < carry.stationarity))
        better = finite & (better | converged)
        idle = jnp.where(better, 0, carry.idle + 1)
        code = jnp.where(solver.stuck(carry.steps, idle), Result.STALLED, RUNNING)
        code = jnp.where(carry.steps >= solver.max_steps, Result.MAX_STEPS, code)
        code = jnp.where(converged, Result.CONVERGED, code)
        code = jnp.where(finite, code, Result.DIVERGED)
        return carry._replace(
            best=_tree.where(better, x, carry.best),
            objective=jnp.where(better, value, carry.objective),
            stationarity=jnp.where(better, stationarity, carry.stationarity),
            code=code.astype(jnp.int32),
            idle=idle,
        )

    def body(carry: _Carry) -> _Carry:
        updates, state = solver.update(
            carry.grads, carry.state, carry.params, penalty=penalty, value_and_gradient=value_and_gradient
        )
        params = _tree.add(carry.params, updates)
        value, grads = value_and_gradient(params)
        return judge(carry._replace(params=params, value=value, grads=grads, state=state, steps=carry.steps + 1))

    value, grads = value_and_gradient(params)
    scale = _gradient_scale(value, grads, *value_and_gradient(jax.tree.map(jnp.zeros_like, params)))
    tol = jnp.maximum(jnp.asarray(solver.tol, scale.dtype), 10 * _epsilon(params))
    judged = settled(penalty, _short_step(value_and_gradient, params)) if is_sharp(penalty) else penalty
    none, nowhere = jnp.zeros((), jnp.int32), jnp.full_like(scale, jnp.inf)
    state = solver.init(params, value, grads, penalty)
    start = _Carry(params, value, grads, state, params, nowhere, nowhere, code=none, steps=none, idle=none)
    end = jax.lax.while_loop(lambda carry: carry.code == RUNNING, body, judge(start))
    return Solution(end.best, end.code, Stats(end.steps, end.stationarity, end.objective))


def _gradient_scale(value: Any, grads: PyTree, value_at_zero: Any, grads_at_zero: PyTree) -> jax.Array:
    """Return what stationarity is relative to (see `solve`), from the loss at the start and at zero."""
    start, zero = _tree.max_abs(grads), _tree.max_abs(grads_at_zero)
    known = jnp.isfinite(zero) & jnp.isfinite(value_at_zero)
    worse = known & (value > value_at_zero)
    multiple = jnp.maximum(jnp.abs(value) / jnp.abs(value_at_zero), 1)
    scale = jnp.maximum(jnp.where(worse, start / multiple, start), jnp.where(known, zero, 0))
    return jnp.where(scale > 0, scale, 1).astype(start.dtype)


def _short_step(value_and_gradient: ValueAndGradient, params: PyTree) -> jax.Array:
    """0.3 over the largest curvature of the smooth part at `params`, by the power method."""

    def bend(way: PyTree) -> PyTree:
        # Backwards twice: what has a derivative of its own (`jax.custom_vjp`) may have none forwards.
        return jax.grad(lambda p: _tree.vdot(value_and_gradient(p)[1], way))(params)

    def unit(way: PyTree) -> PyTree:
        length = _tree.norm(way)
        return _tree.add(jax.tree.map(jnp.zeros_like, way), way, 1 / jnp.where(length > 0, length, 1))

    start = jax.tree.map(lambda leaf: 1 + jnp.sin(jnp.arange(leaf.size, dtype=leaf.dtype)).reshape(leaf.shape), params)
    way = jax.lax.fori_loop(0, POWERS, lambda _, way: unit(bend(way)), unit(start))
    curvature = _tree.norm(bend(way))
    return 0.3 / jnp.where((curvature > 0) & jnp.isfinite(curvature), curvature, 0.3)


def _epsilon(params: PyTree) -> float:
    dtypes = [leaf.dtype for leaf in jax.tree.leaves(params)]
    return float(jnp.finfo(jnp.result_type(*dtypes, jnp.bfloat16)).eps)


def _warn(result: Any) -> None:
    if isinstance(result, jax.core.Tracer):
        return
    failures = describe_failures(np.asarray(result))
    if failures:
        warnings.warn(
            f"of {np.size(result)} problems: {failures}; see .result and .stats", RuntimeWarning, stacklevel=3
        )
