"""The one loop: it owns stopping, budgets, statistics and results. `sweep` runs it for many λ at once."""

import functools
import warnings
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxreg import _check, _tree, implicit
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


def solve(
    objective: Objective, params: PyTree, data: Any, *, solver: Solver | None = None, unroll: int | None = None
) -> Solution:
    """Minimize an objective from a start, for any parameter pytree.

    Works under `jit` and `vmap`; λ, data and start may be traced, and a new λ does not recompile. The dtype
    of the parameters is the precision of the solve. Accelerators that would round the factors of matrix
    products (TF32) are told not to, unless `jax_default_matmul_precision` is set.

    **Derivatives**, forward and reverse, of the parameters found are those of the solution, as implied by the equation
    that it solves: in every floating-point number of `objective` and `data` (strengths, weights, mixes; X, y, sample
    weights, offsets), but not in what a function of yours closes over. That in the start is 0. `stats.objective` has
    the derivative of the optimal value, and the other statistics none. They are as exact as the solution: ask for a
    small `tol`. Where no derivative exists, because a coefficient is about to enter, or magnitudes are about to tie,
    that of the support that was found is returned: one of the two one-sided ones. A solution that is not converged
    has the derivative of its equation all the same, one that diverged has NaN, and so has a direction in which the
    solution is not unique. They cost a few gradients, and a linear system in the nonzero coefficients; under `jit` and
    `vmap`, beyond 128 parameters, one product with the Hessian for each iteration of conjugate gradients.

    With `unroll`, derivatives are those of the steps instead: of a run of that many, begun at `params`, on which they
    depend too. Memory grows with the steps in reverse mode, and derivatives converge later than the solution.

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
        unroll: None for implicit derivatives, or a number of steps to differentiate through. The solver's `max_steps`
            is not used then; what converges earlier stays where it is.

    Returns:
        A `Solution`: the best point found, a `Result` code, and `Stats`. Outside of transformations, a
        problem that did not converge also warns.

    Raises:
        TypeError: if `objective` or `solver` is not of its kind, or `unroll` is no integer.
        ValueError: if shapes disagree, a path pattern matches nothing, a strength is not one number, or `unroll` is
            less than 1.

    Source: see `jaxreg.implicit`.

    >>> from jaxreg import L1, Squared
    >>> objective = Objective(Squared(), L1(0.5), lambda params, X: X @ params)
    >>> X, y = jnp.eye(2), jnp.array([4.0, 0.5])
    >>> solve(objective, jnp.zeros(2), (X, y)).params
    Array([3., 0.], dtype=float32)
    >>> jax.grad(lambda lam: solve(objective.at(lam), jnp.zeros(2), (X, y)).params[0])(0.5)
    Array(-2., dtype=float32, weak_type=True)
    """
    if unroll is not None:
        if not isinstance(unroll, int) or isinstance(unroll, bool):
            raise TypeError(f"unroll must be None or a number of steps, got {unroll!r}")
        _check.number("unroll", unroll, low=1)
    solution = _run(objective, params, data, solver, None, unroll)
    _warn(solution.result)
    return solution


def sweep(objective: Objective, params: PyTree, data: Any, lams: Any, *, solver: Solver | None = None) -> Solution:
    """Solve an objective at many strengths at once, as one program. Derivatives are implicit, as those of `solve`.

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
    solution = _run(objective, params, data, solver, jnp.asarray(lams, float), None)
    _warn(solution.result)
    return solution


def _run(
    objective: Objective, params: PyTree, data: Any, solver: Solver | None, lams: Any, unroll: int | None
) -> Solution:
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
    if lams is not None or unroll is not None:
        solution = _compiled(objective, arrays, data, solver, lams, structure, objects, unroll)
    else:

        def one(objective: Objective, data: Any, arrays: PyTree, solver: Any) -> Solution:
            return _compiled(objective, arrays, data, solver, None, structure, objects, None)

        solution = implicit.differentiable(one, objective, arrays, data, solver, structure, objects)
    others = jax.tree.unflatten(structure, objects)
    return Solution(_tree.overlay(solution.params, others), solution.result, solution.stats)


@functools.partial(jax.jit, static_argnames=("structure", "objects", "unroll"))
def _compiled(
    objective: Objective,
    arrays: PyTree,
    data: Any,
    solver: Solver,
    lams: Any,
    structure: Any,
    objects: tuple[Any, ...],
    unroll: int | None,
) -> Solution:
    def one(objective: Objective, data: Any, arrays: PyTree, solver: Any) -> Solution:
        params, rest = _tree.partition(_tree.overlay(arrays, jax.tree.unflatten(structure, objects)))
        with implicit.highest_precision():
            return minimize(objective, jax.tree.map(jnp.asarray, params), rest, data, solver, unroll)

    def at(lam: Any) -> Solution:
        return implicit.differentiable(one, objective.at(lam), arrays, data, solver, structure, objects)

    solution = one(objective, data, arrays, solver) if lams is None else jax.vmap(at)(lams)
    # What is not floating-point is the same for every λ and is handed back once, without a λ axis.
    return Solution(_tree.overlay(solution.params, arrays), solution.result, solution.stats)


def minimize(
    objective: Objective, params: PyTree, rest: PyTree, data: Any, solver: Solver, unroll: int | None = None
) -> Solution:
    """Run the loop of `solve` on arrays: what other programs have in theirs. It checks nothing, and warns of nothing.

    Args:
        objective: what to minimize.
        params: where to start: floating-point leaves, with None for all others.
        rest: the other leaves, with None for those of `params`.
        data: what the objective takes.
        solver: which.
        unroll: as for `solve`; without it there is no derivative in reverse mode.
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
    if unroll is None:
        end = jax.lax.while_loop(lambda carry: carry.code == RUNNING, body, judge(start))
    else:

        def once(carry: _Carry, _: None) -> tuple[_Carry, None]:
            return jax.lax.cond(carry.code == RUNNING, body, lambda same: same, carry), None

        end = jax.lax.scan(once, judge(start), length=unroll)[0]
        end = end._replace(code=jnp.where(end.code == RUNNING, Result.MAX_STEPS, end.code))
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
