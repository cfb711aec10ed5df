"""Derivatives of solutions, from the equation that they solve instead of from the steps that led there.

With z = x − t∇f(x, θ), a solution is a fixed point x = prox_{t g_θ}(z) for any t > 0. Where the prox is differentiable,
with J its (symmetric) derivative at z, H = ∇²f and a change θ̇ of everything that f and g depend on,

    ẋ = J u + c,   (J − J² + t J H J) u = J (c − t H c − t q),   q = ∂_θ∇f θ̇,   c = ∂_θ prox_{t g_θ}(z) θ̇.

The system is symmetric, and acts on the range of J alone: the coordinates that are not held at zero, with clusters of
`SLOPE` as one. So it is as small as the support is. It is solved by conjugate gradients, whence forward mode,
reverse mode and `vmap` come from one rule. Its matrix is formed, in the coordinates that J reaches, where these are
few: always up to `SMALL` parameters; beyond these where the support can be looked at, outside of `jit` and `vmap`, up
to `FORMED` coordinates. Elsewhere each iteration takes a product with the Hessian, which costs two with X.

J is taken at x + t s, where s is the subgradient of g at x nearest to −∇f: so it is that of the support that was found,
also where a solution is not exact, or where a coordinate is on the edge, at which the derivative itself does not exist.

Source: Bertrand, Klopfenstein, Blondel, Vaiter, Gramfort & Salmon (2020), "Implicit differentiation of Lasso-type
models for hyperparameter optimization", ICML; Blondel et al. (2022), "Efficient and modular implicit differentiation",
NeurIPS; that it holds for nonsmooth maps, Bolte, Le, Pauwels & Silveti-Falls (2021), "Nonsmooth implicit
differentiation for machine learning and optimization", NeurIPS.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.custom_derivatives import SymbolicZero
from jax.flatten_util import ravel_pytree

from jaxreg import _tree
from jaxreg._result import Result, Solution, Stats
from jaxreg._tree import PyTree
from jaxreg.objective import Objective

SMALL = 128
"""Parameters up to which the system is always formed."""
FORMED = 512
"""Coordinates of a support up to which it is formed."""
ITERATIONS = 2000
"""Of conjugate gradients, at most, where the system is not formed."""

Run = Callable[[Objective, Any, PyTree, Any], Solution]


class Form(NamedTuple):
    """How a pytree is put together from its floating-point leaves θ and all others."""

    structure: Any
    moves: tuple[bool, ...]

    def join(self, theta: Sequence[Any], fixed: Sequence[Any]) -> Any:
        """Return the pytree."""
        some, others = iter(theta), iter(fixed)
        return jax.tree.unflatten(self.structure, [next(some) if yes else next(others) for yes in self.moves])


Respond = Callable[[Form, list[Any], list[Any], list[Any], Any, Any], Any]


def attach(compute: Callable[..., Any], tree: PyTree, others: Any, respond: Respond) -> Any:
    """`compute(tree, others)`, with a derivative in the floating-point leaves θ of `tree`, and none in `others`.

    Args:
        compute: what JAX cannot differentiate.
        tree: what it depends on.
        others: what else it takes.
        respond: given the `Form` of the tree, θ, θ̇ (with None for what does not change), the other leaves, the
            output, and `others`: the change of the output, linear in θ̇.
    """
    leaves, structure = jax.tree.flatten(tree)
    form = Form(structure, tuple(_tree.is_float(leaf) for leaf in leaves))

    @jax.custom_jvp
    def computed(theta: list[Any], fixed: list[Any], others: Any) -> Any:
        return compute(form.join(theta, fixed), others)

    def rule(primals: Any, tangents: Any) -> Any:
        theta, fixed, others = primals
        output = computed(*primals)
        dots = [None if isinstance(dot, SymbolicZero) else dot for dot in tangents[0]]
        if all(dot is None for dot in dots):
            return output, jax.tree.map(no_change, output)
        return output, respond(form, theta, dots, fixed, output, others)

    computed.defjvp(rule, symbolic_zeros=True)
    theta, fixed = ([x for x, yes in zip(leaves, form.moves, strict=True) if yes is kind] for kind in (True, False))
    return computed(theta, fixed, others)


def no_change(leaf: Any) -> Any:
    """Tangent 0."""
    dtype = jnp.result_type(leaf)
    if jnp.issubdtype(dtype, jnp.inexact):
        return jnp.zeros(jnp.shape(leaf), dtype)
    return np.zeros(jnp.shape(leaf), jax.dtypes.float0)


def is_traced(tree: PyTree) -> bool:
    """Whether numbers cannot be looked at, under `jit`, `vmap` or another derivative."""
    return any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(tree))


def moving(theta: list[Any], dots: list[Any]) -> tuple[Callable[[list[Any]], list[Any]], list[Any], list[Any]]:
    """What of θ changes: the function that gives θ from it, where it is, and its change."""

    def whole(some: list[Any]) -> list[Any]:
        each = iter(some)
        return [leaf if dot is None else next(each) for leaf, dot in zip(theta, dots, strict=True)]

    pairs = [(leaf, dot) for leaf, dot in zip(theta, dots, strict=True) if dot is not None]
    return whole, [leaf for leaf, _ in pairs], [dot for _, dot in pairs]


def differentiable(
    run: Run, objective: Objective, arrays: PyTree, data: Any, extra: Any, structure: Any, objects: tuple[Any, ...]
) -> Solution:
    """`run(objective, data, arrays, extra)`, with derivatives in every floating-point leaf of objective and data.

    Args:
        run: returns a `Solution` whose params have floating-point leaves where `arrays` has.
        objective: what is minimized.
        arrays: where the search starts, which has no influence, with None for leaves that JAX cannot trace.
        data: what the objective takes.
        extra: whatever else `run` takes, without influence on the solution.
        structure: of the whole parameters.
        objects: their leaves that JAX cannot trace, with None for all others.
    """

    def respond(form: Form, theta: Any, dots: Any, fixed: Any, solution: Solution, others: Any) -> Solution:
        found = _tree.overlay(_tree.partition(solution.params)[0], others[0])
        static = {"form": form, "structure": structure, "objects": objects}
        index = None
        if _tree.size(found) > SMALL and not is_traced((theta, fixed, found)):
            index = support_index(_reached(theta, fixed, found, **static))
        moved, value = _moved(theta, dots, fixed, found, solution.result, index, **static)
        zero = jax.tree.map(no_change, solution)
        stats = Stats(zero.stats.steps, zero.stats.stationarity, value.astype(solution.stats.objective.dtype))
        return Solution(_tree.overlay(moved, zero.params), zero.result, stats)

    return attach(lambda tree, others: run(*tree, *others), (objective, data), (arrays, extra), respond)


class _Problem:
    """An objective at a solution, as functions of one vector x and of the list θ."""

    def __init__(self, fixed: Any, found: PyTree, form: Form, structure: Any, objects: Any) -> None:
        whole = _tree.overlay(found, jax.tree.unflatten(structure, objects))
        params, self.rest = _tree.partition(whole)
        self.x, self.unravel = ravel_pytree(jax.tree.map(jnp.asarray, params))
        self.join = functools.partial(form.join, fixed=fixed)

    def flat(self, tree: PyTree) -> jax.Array:
        """One vector of the floating-point leaves."""
        return ravel_pytree(tree)[0].astype(self.x.dtype)

    def gradient(self, x: jax.Array, theta: Any) -> jax.Array:
        """∇f."""
        objective, data = self.join(theta=theta)
        return self.flat(objective.value_and_gradient(_tree.overlay(self.unravel(x), self.rest), data)[1])

    def prox(self, z: jax.Array, step: Any, theta: Any) -> jax.Array:
        """prox of the penalty."""
        return self.flat(self.join(theta=theta)[0].penalty.prox(self.unravel(z), step))

    def residual(self, x: jax.Array, grad: jax.Array, theta: Any) -> jax.Array:
        """Smallest element of −∇f − ∂g."""
        return self.flat(self.join(theta=theta)[0].penalty.residual(self.unravel(x), self.unravel(grad)))

    def longest(self, theta: Any) -> Any:
        """A step at which the prox is surely continuous."""
        return 0.5 * jnp.asarray(self.join(theta=theta)[0].penalty.max_step, self.x.dtype)

    def value(self, x: jax.Array, theta: Any) -> jax.Array:
        """f + g."""
        objective, data = self.join(theta=theta)
        return objective.value(_tree.overlay(self.unravel(x), self.rest), data)


STATIC = ("form", "structure", "objects")


@functools.partial(jax.jit, static_argnames=STATIC)
def _reached(theta: list[Any], fixed: list[Any], found: PyTree, **static: Any) -> jax.Array:
    """Which coordinates the derivative of the prox reaches, (p,) of bool."""
    with highest_precision():
        problem = _Problem(fixed, found, **static)
        return Fixpoint(problem, problem.x, theta).reached()


@functools.partial(jax.jit, static_argnames=STATIC)
def _moved(
    theta: list[Any], dots: list[Any], fixed: list[Any], found: PyTree, code: Any, index: Any, **static: Any
) -> tuple[PyTree, jax.Array]:
    """Change of the parameters, and of the optimal value, which by the envelope theorem is that of the objective."""
    with highest_precision():
        problem = _Problem(fixed, found, **static)
        whole, some, change = moving(theta, dots)
        if index is None and problem.x.size <= SMALL:
            index = np.arange(problem.x.size), np.ones(problem.x.size, bool)
        moved = Fixpoint(problem, problem.x, theta).response(whole, some, change, index)
        moved = jnp.where(code == Result.DIVERGED, jnp.nan, moved)
        value = jax.jvp(lambda some: problem.value(problem.x, whole(some)), (some,), (change,))[1]
        return problem.unravel(moved), value


def highest_precision() -> Any:
    """Have accelerators not round the factors of matrix products, unless JAX's setting says so."""
    return jax.default_matmul_precision(jax.config.jax_default_matmul_precision or "highest")  # type: ignore[attr-defined]


def support_index(reached: Any) -> tuple[np.ndarray, np.ndarray] | None:
    """Coordinates that are reached, padded to a power of two, and which are real; None if they are too many."""
    index = np.flatnonzero(np.asarray(reached))
    width = max(64, 1 << max(index.size - 1, 0).bit_length())
    if width > FORMED:
        return None
    return np.pad(index, (0, width - index.size)), np.arange(width) < index.size


class Fixpoint:
    """The linearized equation x = prox_{t g_θ}(x − t∇f(x, θ)) at a solution.

    Args:
        problem: has `gradient(x, θ)`, `prox(z, t, θ)`, `residual(x, ∇f, θ)` and `longest(θ)`, of vectors (p,).
        x: the solution, (p,).
        theta: θ.
    """

    def __init__(self, problem: Any, x: jax.Array, theta: Any) -> None:
        self.problem, self.theta, self.x = problem, theta, x
        gradient, self.bend = jax.linearize(lambda x: problem.gradient(x, theta), x)
        pull = -gradient - problem.residual(x, gradient, theta)
        # Any step will do; one over the curvature met makes both parts of the system count.
        signs = jax.random.rademacher(jax.random.key(0), x.shape, x.dtype)
        probe = jax.lax.stop_gradient(jnp.where(x != 0, signs, 0))
        met = jax.lax.stop_gradient(jnp.linalg.norm(self.bend(probe)))
        step = jnp.where(met > 0, jnp.linalg.norm(probe) / jnp.where(met > 0, met, 1), 1)
        self.step = jax.lax.stop_gradient(jnp.minimum(step, problem.longest(theta)).astype(x.dtype))
        self.z = x + self.step * pull
        self.project = jax.linearize(lambda z: problem.prox(z, self.step, theta), self.z)[1]

    def reached(self) -> jax.Array:
        """Which coordinates J reaches: those that a random vector is not sent to 0 in."""
        return self.project(jax.random.normal(jax.random.key(1), self.x.shape, self.x.dtype)) != 0

    def response(self, whole: Callable[[Any], Any], some: Any, change: Any, index: Any) -> jax.Array:
        """ẋ, linear in the change of what moves in θ = whole(some).

        The system is formed in the coordinates `index`, as `support_index` gives them; nowhere if that is None.
        """
        problem, step = self.problem, self.step
        q = jax.jvp(lambda some: problem.gradient(self.x, whole(some)), (some,), (change,))[1]
        c = jax.jvp(lambda some: problem.prox(self.z, step, whole(some)), (some,), (change,))[1]
        right = self.project(c - step * (self.bend(c) + q))
        if index is None:
            return self.project(solve_symmetric(self._system, right, None, ITERATIONS)) + c
        place, real = index
        units = jnp.zeros((len(place), right.size), right.dtype).at[np.arange(len(place)), place].set(real)
        J = jax.vmap(self.project)(units)[:, place] * real
        H = jax.vmap(self.bend)(units)[:, place] * real
        matrix = J - J @ J + step * (J @ H @ J)
        matrix = 0.5 * (matrix + matrix.T)
        u = solve_symmetric(lambda v: matrix @ v, right[place] * real, jnp.diagonal(matrix), 20 * len(place) + 100)
        return jnp.zeros_like(right).at[place].add(J @ u) + c

    def _system(self, u: jax.Array) -> jax.Array:
        v = self.project(u)
        return v - self.project(v - self.step * self.bend(v))


def solve_symmetric(
    system: Callable[[jax.Array], jax.Array], right: jax.Array, diagonal: jax.Array | None, most: int
) -> jax.Array:
    """Solve a positive semidefinite system whose right side is in its range; NaN where it turns out not to be.

    Args:
        system: the product with its matrix.
        right: (p,).
        diagonal: of the matrix, if known, which iterations are then scaled by.
        most: number of iterations, at most.

    Source: Hestenes & Stiefel (1952), "Methods of conjugate gradients for solving linear systems".
    """
    eps = jnp.finfo(right.dtype).eps
    scale: Any = 1.0
    if diagonal is not None:
        diagonal = jax.lax.stop_gradient(diagonal)
        seen = diagonal > eps * jnp.max(diagonal, initial=0)
        scale = jnp.where(seen, 1 / jnp.where(seen, diagonal, 1), 0)

    def iterate(matvec: Callable[[jax.Array], jax.Array], b: jax.Array) -> jax.Array:
        def going(state: Any) -> jax.Array:
            _, rest, _, _, count, good = state
            return good & (count < most) & (jnp.vdot(rest, rest) > jnp.square(eps) * jnp.vdot(b, b))

        def step(state: Any) -> Any:
            u, rest, way, size, count, _ = state
            bent = matvec(way)
            curvature = jnp.vdot(way, bent)
            good = curvature > 0
            length = jnp.where(good, size / jnp.where(good, curvature, 1), 0)
            u, rest = u + length * way, rest - length * bent
            following = jnp.vdot(rest, scale * rest)
            way = scale * rest + following / jnp.where(size > 0, size, 1) * way
            return u, rest, way, following, count + 1, good

        start = (jnp.zeros_like(b), b, scale * b, jnp.vdot(b, scale * b), 0, jnp.asarray(True))
        u, rest, *_ = jax.lax.while_loop(going, step, start)
        lost = ~(jnp.vdot(rest, rest) <= jnp.sqrt(eps) * jnp.vdot(b, b))
        return jnp.where(lost, jnp.nan, u)

    return jax.lax.custom_linear_solve(system, right, iterate, symmetric=True)
