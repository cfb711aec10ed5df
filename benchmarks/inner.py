"""Race inner solvers on the same Grams: squared error, 100 strengths, float64.

    python -m benchmarks.inner            # all problems, then the lanes
    python -m benchmarks.inner 10000      # only those whose name has this in it; `lanes` for the lanes

All stop at a KKT residual of `TOL`·λ_max, judged afterwards by NumPy. Compilation is apart; times are medians of
three, of one above three seconds. A bound on iterations, raised threefold until the next might take `CAP` seconds, stops
who needs longer. Batched solvers advance all λ at once, from zero, and end with the slowest; the others warm-start λ by λ.
Iterations are per λ: steps, products with the batch, or epochs, and after a plus the steps of the polish.
"""

import statistics
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from threadpoolctl import threadpool_limits

from jaxreg.linear import definite
from jaxreg.linear.chunk import Strengths, squared_chunk
from jaxreg.linear.inner import violation
from jaxreg.linear.pivot import Inverse, dot
from tests import problems

TOL, ROUGH, CAP, EVERY, MEMORY = 1e-8, 1e-3, 20.0, 10, 5
SIZES = [(1000, 100, 1e-3), (10000, 500, 1e-3), (200, 500, 1e-2)]
CORRELATIONS = [0.0, 0.5, 0.95]


class Path(NamedTuple):
    """½bᵀGb − cᵀb + λ|b|₁ for every λ (L,), with absolute tolerance."""

    gram: jax.Array
    linear: jax.Array
    lams: jax.Array
    tol: jax.Array


def shrink(x: jax.Array, by: jax.Array) -> jax.Array:
    """Soft threshold."""
    return jnp.sign(x) * jnp.maximum(jnp.abs(x) - by, 0)


class Answer(NamedTuple):
    """Coefficients (L, p), iterations per λ in words, and whether a bound on them ended the run."""

    b: jax.Array
    count: str
    capped: bool


@partial(jax.jit, static_argnames="forget")
def pivots(path: Path, starts: jax.Array | None = None, forget: bool = False) -> tuple[jax.Array, jax.Array]:
    """jaxreg's own, along λ, from the last solution or the given starts (L, p). Returns solutions and steps."""
    p = path.linear.size
    free, empty, zero, l2 = jnp.ones(p, bool), Inverse.empty(p), jnp.zeros(p), jnp.zeros_like(path.lams)

    def chunk(lams, l2, start, inverse):
        strengths = Strengths(lams, l2, jnp.ones(p))
        return squared_chunk(path.gram, path.linear, free, strengths, start, inverse, path.tol)

    def step(carry, at):
        (b, inverse), (lam, start) = carry, at
        found, inverse = chunk(lam[None], l2[:1], b if start is None else start, empty if forget else inverse)
        return (found.b[0], inverse), (found.b[0], found.steps[0])

    if starts is None and not forget:
        found = chunk(path.lams, l2, zero, empty)[0]
        return found.b, found.steps
    return jax.lax.scan(step, (zero, empty), (path.lams, starts))[1]


def until_solved(path: Path, tol: jax.Array, budget: int, state: tuple, body: Callable) -> tuple[jax.Array, jax.Array]:
    """Iterate on a batch, whose solutions are state[0], until every λ is solved; looks every few iterations."""
    left = jax.vmap(violation, in_axes=(0, 0, 0, None))

    def some(carry):
        state = jax.lax.fori_loop(0, EVERY, lambda _, s: body(s), carry[0])
        g = dot(state[0], path.gram) - path.linear
        return state, carry[1] + EVERY, jnp.max(left(state[0], g, path.lams, jnp.asarray(True)))

    first = (state, jnp.asarray(0), jnp.asarray(jnp.inf))
    end = jax.lax.while_loop(lambda c: (c[2] > tol) & (c[1] < budget), some, first)
    return end[0][0], end[1]


@jax.jit
def fista(path: Path, top: jax.Array, tol: jax.Array, budget: int) -> tuple[jax.Array, jax.Array]:
    """FISTA, restarted where momentum points uphill (O'Donoghue & Candès 2015); `top` is the largest eigenvalue."""
    by, zero = path.lams[:, None] / top, jnp.zeros((path.lams.size, path.linear.size))

    def body(state):
        b, ahead, t = state
        moved = shrink(ahead - (dot(ahead, path.gram) - path.linear) / top, by)
        uphill = jnp.sum((ahead - moved) * (moved - b), axis=1, keepdims=True) > 0
        t = jnp.where(uphill, 1.0, t)
        later = (1 + jnp.sqrt(1 + 4 * t**2)) / 2
        return moved, moved + jnp.where(uphill, 0, (t - 1) / later) * (moved - b), later

    return until_solved(path, tol, budget, (zero, zero, jnp.ones((path.lams.size, 1))), body)


@jax.jit
def admm(path: Path, inverse: jax.Array, rho: jax.Array, tol: jax.Array, budget: int) -> tuple[jax.Array, jax.Array]:
    """ADMM, over-relaxed by 1.6, given (G + ρI)⁻¹ for all λ and iterations (Boyd et al. 2011)."""
    by, zero = path.lams[:, None] / rho, jnp.zeros((path.lams.size, path.linear.size))

    def body(state):
        z, u = state
        relaxed = 1.6 * dot(path.linear + rho * (z - u), inverse) - 0.6 * z
        z = shrink(relaxed + u, by)
        return z, u + relaxed - z

    return until_solved(path, tol, budget, (zero, zero), body)


@jax.jit
def coordinate_descent(path: Path, budget: int) -> tuple[jax.Array, jax.Array]:
    """Cyclic coordinate descent along λ, extrapolated every few epochs (Bertrand & Massias 2021)."""
    gram, linear, p = path.gram, path.linear, path.linear.size
    diagonal, free = jnp.diagonal(gram), jnp.ones(path.linear.size, bool)

    def solve(carry, lam):
        def epoch(state):
            def coordinate(j, now):
                b, g = now
                new = shrink(b[j] - g[j] / diagonal[j], lam / diagonal[j])
                # Most stay at zero: passing over their rows saves two thirds of the time.
                g = jax.lax.cond(new == b[j], lambda g: g, lambda g: g + (new - b[j]) * gram[j], g)
                return b.at[j].set(new), g

            b, g, history, count, total, _ = state
            b, g = jax.lax.fori_loop(0, p, coordinate, (b, g))
            history = jnp.roll(history, -1, axis=0).at[-1].set(jnp.stack([b, g]))
            b, g = jax.lax.cond((count + 1) % (MEMORY + 1) == 0, extrapolate, lambda _: (b, g), history)
            return b, g, history, count + 1, total + 1, violation(b, g, lam, free)

        def extrapolate(history):
            moves = jnp.diff(history[:, 0], axis=0)
            system = dot(moves, moves.T)
            mix = definite.solve(system + 1e-12 * jnp.trace(system) * jnp.eye(MEMORY), jnp.ones(MEMORY))
            # The gradient is affine, and the weights sum to one: it extrapolates as the iterates do.
            b, g = jnp.tensordot(mix / jnp.sum(mix), history[1:], 1)
            last = history[-1]
            value, before = (0.5 * b @ (g - linear) + lam * jnp.sum(jnp.abs(b)) for b, g in ((b, g), last))
            better = value < before
            return jnp.where(better, b, last[0]), jnp.where(better, g, last[1])

        b, total = carry
        g = dot(gram, b) - linear
        state = (b, g, jnp.zeros((MEMORY + 1, 2, p)), jnp.asarray(0), total, violation(b, g, lam, free))
        end = jax.lax.while_loop(lambda s: (s[5] > path.tol) & (s[4] < budget), epoch, state)
        return (end[0], end[4]), end[0]

    (_, total), b = jax.lax.scan(solve, (jnp.zeros(p), jnp.asarray(0)), path.lams)
    return b, total


def solvers(path: Path) -> Iterator[tuple[str, Callable[[int], Answer]]]:
    """Name, and a function of the bound on iterations."""
    top, rough = np.linalg.eigvalsh(path.gram)[-1], ROUGH * path.lams[0]

    def along(budget: int, forget: bool) -> Answer:
        b, steps = pivots(path, forget=forget)
        return Answer(b, f"{steps.mean():.1f}", bool(jnp.any(steps >= 500)))

    def polished(b: jax.Array, count: jax.Array, budget: int) -> Answer:
        b, steps = pivots(path, b)
        return Answer(b, f"{count} + {steps.mean():.1f}", int(count) >= budget)

    def by_admm(budget: int) -> Answer:
        values, vectors = np.linalg.eigh(path.gram)
        # The best for a definite quadratic alone (Ghadimi et al. 2015), zeros left out.
        rho = np.sqrt(values[-1] * values[values > 1e-9 * values[-1]][0])
        return polished(*admm(path, (vectors / (values + rho)) @ vectors.T, rho, rough, budget), budget)

    def plain(b: jax.Array, count: jax.Array, budget: int, share: int = 1) -> Answer:
        return Answer(b, f"{count / share:.{int(share > 1)}f}", int(count) >= budget)

    yield "block pivots", partial(along, forget=False)
    yield "block pivots, inverse forgotten", partial(along, forget=True)
    yield "FISTA", lambda budget: plain(*fista(path, top, path.tol, budget), budget)
    yield "FISTA to 1e-3, then pivots", lambda budget: polished(*fista(path, top, rough, budget), budget)
    yield "ADMM to 1e-3, then pivots", by_admm
    yield (
        "coordinate descent, Anderson",
        lambda budget: plain(*coordinate_descent(path, budget), budget, path.lams.size),
    )


def seconds(run: Callable[[], Any], repeats: int = 3) -> tuple[Any, float]:
    """Result and median time, of one run where that takes long."""
    times: list[float] = []
    while not times or (len(times) < repeats and times[0] < 3):
        start = time.perf_counter()
        result = jax.block_until_ready(run())
        times.append(time.perf_counter() - start)
    return result, statistics.median(times)


def residual(path: Path, b: np.ndarray) -> float:
    """Worst KKT residual over the path, relative to λ_max."""
    g, lams = b @ path.gram - path.linear, np.asarray(path.lams)[:, None]
    left = np.where(b == 0, np.maximum(np.abs(g) - lams, 0), np.abs(g + lams * np.sign(b)))
    return float(left.max() / lams[0, 0])


def make_path(X: np.ndarray, y: np.ndarray, ratio: float) -> Path:
    """A hundred strengths down to ratio·λ_max."""
    linear = X.T @ y / len(y)
    top = np.abs(linear).max()
    return Path(X.T @ X / len(y), linear, top * ratio ** np.linspace(0, 1, 100), TOL * top)


def race(name: str, path: Path) -> None:
    """Print the lines of one problem."""
    print(f"\n{name:32s} {'time':>9s} {'KKT':>8s} {'iterations':>12s}")
    for solver, solve in solvers(path):
        solve(budget := 3 * EVERY)
        answer, taken = seconds(partial(solve, budget))
        while answer.capped and 3 * taken < CAP:
            budget *= 3
            answer, taken = seconds(partial(solve, budget), 1)
        if not answer.capped:
            answer, taken = seconds(partial(solve, budget))
        stopped = "  stopped" if answer.capped else ""
        left = residual(path, np.asarray(answer.b))
        print(f"{solver:32s} {taken:7.3f} s {left:8.0e} {answer.count:>12s}{stopped}", flush=True)


def lanes(name: str, X: np.ndarray, y: np.ndarray) -> None:
    """Print the time of all rows and ten training folds, one path each, by three ways to run them."""
    fold_id = problems.balanced_folds(len(y), 10)
    paths = [make_path(X[fold_id != k], y[fold_id != k], 1e-3) for k in range(-1, 10)]
    batch = jax.device_put(jax.tree.map(lambda *leaves: np.stack(leaves), *paths))
    apart = [jax.device_put(path) for path in paths]

    def alone(path: Path) -> jax.Array:
        with jax.enable_x64(True):
            return jax.block_until_ready(pivots(path))[0]

    pool = ThreadPoolExecutor(2)
    ways = {
        "one by one, one program": partial(jax.jit(lambda batch: jax.lax.map(pivots, batch)[0]), batch),
        "vmap": partial(jax.jit(lambda batch: jax.vmap(pivots)(batch)[0]), batch),
        "two threads": lambda: list(pool.map(alone, apart)),
    }
    print(f"\n{name + ', 11 lanes':32s} {'time':>9s} {'KKT':>8s}")
    for way, run in ways.items():
        jax.block_until_ready(run())
        found, taken = seconds(run)
        worst = max(residual(path, np.asarray(b)) for path, b in zip(paths, found, strict=True))
        print(f"{way:32s} {taken:7.3f} s {worst:8.0e}", flush=True)


def main(only: str = "") -> None:
    """Print the tables."""
    with jax.enable_x64(True), threadpool_limits(1):
        for n, p, ratio in SIZES:
            for correlation in CORRELATIONS:
                name = f"{n} × {p}, ρ = {correlation}"
                X, y = problems.gaussian(n, p, correlation)
                if only in name:
                    race(name, jax.device_put(make_path(X, y, ratio)))
                if n > p and correlation == 0.5 and only in f"lanes {n}":
                    lanes(name, X, y)


if __name__ == "__main__":
    main(*sys.argv[1:2])
