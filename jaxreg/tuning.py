"""`tune`: strengths by descent on a held-out loss, along derivatives of the solution."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.flatten_util import ravel_pytree

from jaxreg import _check, _tree
from jaxreg._descent import Trace, lbfgs, stepwise
from jaxreg._result import Result
from jaxreg._tree import PyTree
from jaxreg.losses import Loss
from jaxreg.objective import Objective
from jaxreg.penalties import Penalty
from jaxreg.solvers import FISTA, Solver, solve

Measure = Callable[[PyTree, Any], jax.Array]


@dataclasses.dataclass(frozen=True, eq=False)
class Tuning:
    """Strengths that descent ended with, the best of all that were tried. Arrays are numpy's.

    Attributes:
        lams: strengths, of the structure they began with.
        value: the held-out loss there; its mean over folds.
        params: the solution there: of the training data, or of all data where folds were used. None for `descend`.
        penalty: the penalty at these strengths. None for `descend`.
        result: how it ended. `CONVERGED`: the loss is flat here. `STALLED`: nothing lower was found downhill, as at
            a kink, which held-out losses have wherever a coefficient enters or leaves. `MAX_STEPS`, `DIVERGED`: as
            for solvers.
        history: every accepted step, the start first: "value" (T,), "gradient" (T,), the norm of the gradient in
            log λ, and "lams", as `lams` with a leading axis.
        evaluations: how many held-out losses were computed, with their gradients.
    """

    lams: PyTree
    value: float
    params: PyTree
    penalty: Penalty | None
    result: Result
    history: dict[str, Any]
    evaluations: int

    def __repr__(self) -> str:
        """One line that says what was gained."""
        first = float(self.history["value"][0])
        count = _tree.size(self.lams)
        what = "1 strength" if count == 1 else f"{count} strengths"
        steps = len(self.history["value"]) - 1
        return f"Tuning({what}: {first:.5g} → {self.value:.5g} in {steps} steps, {self.result.name.lower()})"


def tune(
    objective: Objective,
    params: PyTree,
    data: Any,
    lams: PyTree = None,
    *,
    held_out: Any = None,
    folds: Any = None,
    penalty: Callable[[PyTree], Penalty] | None = None,
    measure: Measure | None = None,
    solver: Solver | None = None,
    optimizer: optax.GradientTransformation | None = None,
    steps: int = 100,
    tol: float = 1e-4,
) -> Tuning:
    """Find strengths of a penalty, few or thousands, that make a held-out loss small, by descent on their logarithms.

    The derivative of the held-out loss is that of the solution (see `solve`), so that a step costs about as much for a
    thousand strengths as for one, where a grid has no chance. Every solve starts from the last. Held-out losses are
    not convex in λ, and have kinks: what is found is a local minimum, near the start. Many strengths fit the held-out
    data as any parameters do: judge the result on a third part.

    Args:
        objective: what is minimized for given strengths.
        params: where solves start.
        data: training data, as for `solve`; all data where `folds` are used.
        lams: positive strengths to begin with: a number, or any pytree that `penalty` takes. Unless given, a tenth of
            the strength from which on all parameters are zero.
        held_out: data on which the result is measured.
        folds: instead of `held_out`, a number of folds (in turn: row i is in fold i modulo `folds`), or the fold of
            each row, (n,). All folds are solved at once, and the mean over folds is what descends.
        penalty: makes the penalty from strengths, as `lambda s: jr.L1(weight=s)` or
            `lambda s: jr.L1(s["l1"]) + jr.L2(s["l2"])`; unless given, that of the objective at one strength.
        measure: measure(params, data) → a number to make small; the mean loss of the objective unless given. Define
            these functions once: JAX compiles anew for each.
        solver: `FISTA()` unless given. Derivatives are as exact as its `tol`.
        optimizer: an optax transformation that takes steps in log λ without a search, `optax.adam(0.1)` say. Unless
            given, L-BFGS with a line search, which never accepts a step that does not descend.
        steps: how many, at most.
        tol: descent ends where the norm of the gradient in log λ is below this share of the loss.

    Returns:
        A `Tuning`.

    Raises:
        TypeError: if something is not of its kind.
        ValueError: if strengths are not positive, or folds or held-out data are missing, or both are given.

    Source: Bengio (2000), "Gradient-based optimization of hyperparameters", Neural Computation 12; Bertrand et al.
    (2022), "Implicit differentiation for fast hyperparameter selection in non-smooth convex learning", JMLR 23.

    >>> from jaxreg import L1, Squared
    >>> X = np.eye(6)[:, :2] * 10
    >>> y, y_new = X @ np.array([2.0, 0.0]) + 1.0, X @ np.array([2.0, 0.0])
    >>> objective = Objective(Squared(), L1(), lambda params, X: X @ params)
    >>> found = tune(objective, jnp.zeros(2), (X, y), 5.0, held_out=(X, y_new))
    >>> found.lams.round(2), found.params.round(2)
    (np.float32(1.67), Array([2., 0.], dtype=float32))
    """
    if not isinstance(objective, Objective):
        raise TypeError(f"objective must be a jaxreg Objective, got {objective!r}")
    if (held_out is None) == (folds is None):
        raise ValueError("tune needs either held_out data or folds, and not both")
    solver = FISTA() if solver is None else solver
    fold_id = None
    if folds is not None:
        data = _with_weight(objective, data)
        fold_id = _fold_id(folds, len(data[2]))
    if lams is None:
        if penalty is not None:
            raise ValueError("lams is needed: strengths to begin with, of the kind that penalty takes")
        lams = _first(objective, params, data)
    flat, unravel = _logarithms(lams)
    start = params
    if fold_id is not None:
        count = int(fold_id.max()) + 1
        start = _tree.map_floats(lambda leaf: jnp.broadcast_to(leaf, (count, *leaf.shape)), params)
    now = start

    def evaluate(x: np.ndarray) -> tuple[float, np.ndarray]:
        nonlocal now
        strengths = unravel(np.exp(x))
        arguments = (objective, now, data, strengths, held_out, fold_id, solver)
        (value, found), slope = _evaluate(*arguments, penalty=penalty, measure=measure)
        if np.isfinite(value):
            now = found
        return float(value), np.exp(x) * np.asarray(ravel_pytree(slope)[0], np.float64)

    trace = _descend(evaluate, flat, optimizer, steps, tol)
    lams = unravel(np.exp(trace.best))
    final = _with_penalty(objective, penalty, lams)
    # With folds, what they were for is a fit to all of the data.
    solution = solve(final, params if fold_id is not None else now, data, solver=solver)
    return _tuning(trace, unravel, solution.params, final.whole)


def descend(
    criterion: Callable[[PyTree], Any],
    lams: PyTree,
    *,
    optimizer: optax.GradientTransformation | None = None,
    steps: int = 100,
    tol: float = 1e-4,
) -> Tuning:
    """Make any differentiable function of positive numbers small, by descent on their logarithms, as `tune` does.

    For linear models, together with `fit_at`:

    >>> from jaxreg import fit_at
    >>> from jaxreg.datasets import load_diabetes
    >>> X, y, _ = load_diabetes()
    >>> def held_out_loss(lam):
    ...     coef, intercept = fit_at(X[:200], y[:200], lam)
    ...     return jnp.mean((X[200:] @ coef + intercept - y[200:]) ** 2)
    >>> found = descend(held_out_loss, 10.0)
    >>> round(float(found.lams), 1), round(found.value)
    (2.4, 3076)

    Args:
        criterion: from a pytree like `lams` to a number.
        lams: positive numbers to begin with.
        optimizer: as for `tune`.
        steps: how many, at most.
        tol: as for `tune`.

    Returns:
        A `Tuning`, without params and penalty.

    Raises:
        TypeError: if `criterion` is no function.
        ValueError: if a number is not positive.
    """
    if not callable(criterion):
        raise TypeError(f"criterion must be a function of lams, got {criterion!r}")
    flat, unravel = _logarithms(lams)
    both = jax.value_and_grad(criterion)

    def evaluate(x: np.ndarray) -> tuple[float, np.ndarray]:
        value, slope = both(unravel(np.exp(x)))
        return float(value), np.exp(x) * np.asarray(ravel_pytree(slope)[0], np.float64)

    return _tuning(_descend(evaluate, flat, optimizer, steps, tol), unravel, None, None)


def _descend(evaluate: Any, x: np.ndarray, optimizer: Any, steps: int, tol: float) -> Trace:
    _check.number("steps", steps, low=1)
    _check.number("tol", tol)
    if optimizer is None:
        return lbfgs(evaluate, x, int(steps), float(tol))
    if not isinstance(optimizer, optax.GradientTransformation):
        raise TypeError(f"optimizer must be an optax transformation, got {optimizer!r}")
    return stepwise(evaluate, x, optimizer, int(steps), float(tol))


def _tuning(trace: Trace, unravel: Any, params: Any, penalty: Any) -> Tuning:
    every = [unravel(np.exp(x)) for x in trace.points]
    history = {
        "value": np.asarray(trace.values),
        "gradient": np.asarray(trace.slopes),
        "lams": jax.tree.map(lambda *leaves: np.stack(leaves), *every),
    }
    lams, value = unravel(np.exp(trace.best)), trace.lowest
    return Tuning(lams, value, params, penalty, trace.result, history, trace.evaluations)


def _logarithms(lams: PyTree) -> tuple[np.ndarray, Callable[[np.ndarray], PyTree]]:
    """Logarithms of all strengths, in double precision, and the way back to the tree, in JAX's own."""
    leaves, structure = jax.tree.flatten(lams)
    for leaf in leaves:
        _check.number("lams", leaf, low=float(np.finfo(np.float32).tiny), what="positive and finite")
    shapes = [np.shape(leaf) for leaf in leaves]
    ends = np.cumsum([int(np.prod(shape)) for shape in shapes])[:-1]
    dtype = jnp.result_type(float)

    def unravel(flat: np.ndarray) -> PyTree:
        pairs = zip(np.split(flat, ends), shapes, strict=True)
        parts = [part.reshape(shape).astype(dtype)[()] for part, shape in pairs]
        return jax.tree.unflatten(structure, parts)

    return np.log(np.concatenate([np.ravel(np.asarray(leaf, np.float64)) for leaf in leaves])), unravel


def _with_penalty(objective: Objective, penalty: Any, lams: PyTree) -> Objective:
    if penalty is None:
        return objective.at(lams)
    made = penalty(lams)
    if not isinstance(made, Penalty):
        raise TypeError(f"penalty must make a jaxreg penalty from strengths, got {made!r}")
    return Objective(objective.loss, made, objective.predict)


def _with_weight(objective: Objective, data: Any) -> tuple[Any, Any, jax.Array]:
    """Data with sample weights, which folds act by."""
    if not isinstance(objective.loss, Loss):
        raise TypeError("folds need a jaxreg loss, with data (X, y) or (X, y, sample_weight); else give held_out")
    if not isinstance(data, (tuple, list)) or len(data) not in (2, 3):
        raise TypeError(f"data must be (X, y) or (X, y, sample_weight), got {type(data).__name__}: {data!r:.100}")
    X, y, *rest = data
    n = len(jax.tree.leaves(X)[0])
    return X, y, jnp.asarray(rest[0], float) if rest else jnp.ones(n)


def _fold_id(folds: Any, n: int) -> np.ndarray:
    """Fold of each row, (n,)."""
    if np.ndim(folds) == 0:
        if int(folds) != folds or not 2 <= folds <= n:
            raise ValueError(f"folds must be a number from 2 to {n}, or the fold of each row, got {folds!r}")
        return np.arange(n) % int(folds)
    array = np.asarray(folds)
    if array.shape != (n,):
        raise ValueError(f"folds must have one number per row, shape ({n},), got shape {array.shape}")
    labels, fold_id = np.unique(array, return_inverse=True)
    if len(labels) < 2:
        raise ValueError("folds has one fold only: at least two are needed")
    return fold_id


def _first(objective: Objective, params: PyTree, data: Any) -> Any:
    """Return a tenth of the strength from which on all is zero."""
    zero = _tree.map_floats(jnp.zeros_like, params)
    top = objective.at(1.0).whole.lam_max(objective.value_and_gradient(zero, data)[1])
    if not (np.isfinite(top) and top > 0):
        raise ValueError(f"lams is needed: {type(objective.whole).__name__} has no strength to begin with")
    return 0.1 * float(top)


@functools.partial(jax.jit, static_argnames=("penalty", "measure"))
def _evaluate(
    objective: Objective,
    params: PyTree,
    data: Any,
    lams: PyTree,
    held_out: Any,
    fold_id: Any,
    solver: Solver,
    *,
    penalty: Any,
    measure: Any,
) -> Any:
    """Held-out loss and solution, and the gradient of the loss in the strengths."""
    measured = objective.risk if measure is None else measure

    def value(lams: PyTree) -> Any:
        problem = _with_penalty(objective, penalty, lams)
        if fold_id is None:
            found = solve(problem, params, data, solver=solver).params
            return measured(found, held_out), found
        X, y, weight = data

        def one(params: PyTree, fold: Any) -> Any:
            found = solve(problem, params, (X, y, jnp.where(fold_id == fold, 0, weight)), solver=solver).params
            return measured(found, (X, y, jnp.where(fold_id == fold, weight, 0))), found

        count = jax.tree.leaves(_tree.partition(params)[0])[0].shape[0]
        axes = jax.tree.map(lambda leaf: 0 if _tree.is_float(leaf) else None, params)
        losses, found = jax.vmap(one, in_axes=(axes, 0), out_axes=(0, axes))(params, jnp.arange(count))
        return jnp.mean(losses), found

    return jax.value_and_grad(value, has_aux=True)(lams)
