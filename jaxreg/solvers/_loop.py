"""The one loop: it owns stopping, budgets, statistics and results. `solve` runs it once, `sweep` for many λ."""

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
from jaxreg.solvers._base import Solver
from jaxreg.solvers._fista import FISTA

RUNNING = -1


class _Carry(NamedTuple):
    params: PyTree
    state: Any
    best: PyTree
    best_stationarity: jax.Array
    code: jax.Array
    steps: jax.Array


def solve(objective: Objective, params: PyTree, data: Any, *, solver: Solver | None = None) -> Solution:
    """Minimize an objective from a start, for any parameter pytree.

    Works under `jit` and `vmap`; λ, data and start may be traced, and a new λ does not recompile. The dtype of
    the parameters is the precision of the solve.

    Args:
        objective: what to minimize.
        params: where to start. Leaves that are not floating-point are left alone.
        data: what the objective takes; `(X, y)` or `(X, y, sample_weight)` for a jaxreg loss.
        solver: `FISTA()` unless given.

    Returns:
        A `Solution`: the best point found, a `Result` code, and `Stats`. Outside of transformations, a
        problem that did not converge also warns.

    Raises:
        ValueError: if shapes disagree or a path pattern matches nothing.

    >>> from jaxreg import L1, Squared
    >>> objective = Objective(Squared(), L1(0.5), lambda params, X: X @ params)
    >>> X, y = jnp.eye(2), jnp.array([4.0, 0.5])
    >>> solve(objective, jnp.zeros(2), (X, y)).params
    Array([3., 0.], dtype=float32)
    """
    solution = _run(objective, params, data, solver or FISTA(), None)
    _warn(solution.result)
    return solution


def sweep(
    objective: Objective, params: PyTree, data: Any, lams: Any, *, solver: Solver | None = None
) -> Solution:
    """Solve an objective at many strengths at once, as one program.

    Args:
        objective: what to minimize; its penalty is set to each strength in turn.
        params: common start.
        data: as for `solve`; shared by all problems, not copied.
        lams: strengths, shape (L,).
        solver: `FISTA()` unless given.

    Returns:
        A `Solution` whose arrays all have a leading axis of length L, in the order of `lams`. A problem
        that fails says so in its own `result` and leaves the others as they are.

    Raises:
        ValueError: if `lams` is empty, negative, not finite or not one-dimensional.
    """
    _check.lams(lams)
    solution = _run(objective, params, data, solver or FISTA(), jnp.asarray(lams))
    _warn(solution.result)
    return solution


def _run(objective: Objective, params: PyTree, data: Any, solver: Solver, lams: Any) -> Solution:
    """Keep leaves that JAX cannot trace (functions, strings) out of the compiled program's arguments."""
    leaves, structure = jax.tree.flatten(params)
    traceable = [isinstance(leaf, (jax.Array, np.ndarray, np.generic, int, float, complex)) for leaf in leaves]
    arrays = _tree.keep(params, traceable)
    objects = tuple(None if yes else leaf for leaf, yes in zip(leaves, traceable, strict=True))
    solution = _compiled(objective, arrays, data, solver, lams, structure, objects)
    others = structure.unflatten(objects)
    return Solution(_tree.overlay(solution.params, others), solution.result, solution.stats)


@functools.partial(jax.jit, static_argnames=("structure", "objects"))
def _compiled(
    objective: Objective, arrays: PyTree, data: Any, solver: Solver, lams: Any, structure: Any, objects: tuple[Any, ...]
) -> Solution:
    params, rest = _tree.partition(_tree.overlay(arrays, structure.unflatten(objects)))
    params = jax.tree.map(jnp.asarray, params)

    def one(lam: Any) -> Solution:
        problem = objective if lam is None else objective.at(lam)
        return _loop(problem, params, rest, data, solver)

    solution = one(None) if lams is None else jax.vmap(one)(lams)
    # What is not floating-point is the same for every λ and is handed back once, without a λ axis.
    return Solution(_tree.overlay(solution.params, arrays), solution.result, solution.stats)


def _loop(objective: Objective, params: PyTree, rest: PyTree, data: Any, solver: Solver) -> Solution:
    penalty = objective.penalty

    def gradient(p: PyTree) -> PyTree:
        return objective.value_and_gradient(_tree.overlay(p, rest), data)[1]

    grads = gradient(params)
    at_zero = gradient(jax.tree.map(jnp.zeros_like, params))
    scale = jnp.maximum(_tree.max_abs(grads), jnp.nan_to_num(_tree.max_abs(at_zero), nan=0.0, posinf=0.0))
    scale = jnp.where(scale > 0, scale, 1)
    dtype = jnp.result_type(*jax.tree.leaves(params), jnp.bfloat16)
    tol = jnp.maximum(jnp.asarray(solver.tol, scale.dtype), 10 * jnp.finfo(dtype).eps)

    def body(carry: _Carry) -> _Carry:
        grads = gradient(carry.params)
        x, x_grads = solver.candidate(carry.state, carry.params, grads)
        stationarity = _tree.max_abs(penalty.residual(x, x_grads)) / scale
        finite = jnp.isfinite(stationarity) & _tree.all_finite(x)
        better = finite & (stationarity < carry.best_stationarity)
        updates, state = solver.update(grads, carry.state, carry.params, penalty=penalty, gradient=gradient)
        code = jnp.where(solver.stuck(state, updates), Result.STALLED, RUNNING)
        code = jnp.where(carry.steps + 1 >= solver.max_steps, Result.MAX_STEPS, code)
        code = jnp.where(stationarity <= tol, Result.CONVERGED, code)
        code = jnp.where(finite, code, Result.DIVERGED)
        return _Carry(
            params=_tree.add(carry.params, updates),
            state=state,
            best=_tree.where(better, x, carry.best),
            best_stationarity=jnp.where(better, stationarity, carry.best_stationarity),
            code=code.astype(jnp.int32),
            steps=carry.steps + 1,
        )

    start = _Carry(
        params=params,
        state=solver.init(params, grads, penalty),
        best=params,
        best_stationarity=jnp.full_like(scale, jnp.inf),
        code=jnp.asarray(RUNNING, jnp.int32),
        steps=jnp.zeros((), jnp.int32),
    )
    end = jax.lax.while_loop(lambda carry: carry.code == RUNNING, body, start)
    value = objective.value(_tree.overlay(end.best, rest), data)
    return Solution(end.best, end.code, Stats(end.steps, end.best_stationarity, value))


def _warn(result: Any) -> None:
    if isinstance(result, jax.core.Tracer):
        return
    failures = describe_failures(np.asarray(result))
    if failures:
        warnings.warn(f"of {np.size(result)} problems: {failures}; see .result and .stats", RuntimeWarning, stacklevel=3)
