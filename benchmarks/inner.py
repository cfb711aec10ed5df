"""Race inner solvers on the same Grams: squared error, 100 strengths, float64.

    python -m benchmarks.inner            # all problems, then the lanes
    python -m benchmarks.inner 10000      # only those whose name has this in it; `lanes` for the lanes

All stop at a KKT residual of `TOL`·λ_max, judged afterwards by NumPy. Compilation is apart; times are medians of
three, of one above three seconds. A bound on iterations, raised threefold until the next might take `CAP` seconds,
stops who needs longer. Batched solvers advance all λ at once, from zero, and end with the slowest; the others
warm-start λ by λ. Iterations are per λ: steps, products with the batch, or epochs; after a plus those of the polish.
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
from jaxreg.linear.active.chunk import Strengths, squared_chunk
from jaxreg.linear.active.inner import violation
from jaxreg.linear.active.tableau import Tableau, dot
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


@partial(jax.jit, static_argnames="forget")
def pivots(path: Path, starts: jax.Array | None = None, forget: bool = False) -> tuple[jax.Array, jax.Array]:
    """jaxreg's own, along λ, from the last solution or the given starts (L, p). Returns solutions and steps."""
    p = path.linear.size
    free, empty, zero, l2 = jnp.ones(p, bool), Tableau.empty(p), jnp.zeros(p), jnp.zeros_like(path.lams)

    def chunk(lams, l2, start, tableau):
        strengths = Strengths(lams, l2, jnp.ones(p))
        return squared_chunk(path.gram, path.linear, free, strengths, start, tableau, path.tol)

    def step(carry, at):
        (b, tableau), (lam, start) = carry, at
        found, tableau = chunk(lam[None], l2[:1], b if start is None else start, empty if forget else tableau)
        return (found.b[0], tableau), (found.b[0], found.steps[0])

    if starts is None and not forget:
        found = chunk(path.lams, l2, zero, empty)[0]
        return found.b, found.steps
    return jax.lax.scan(step, (zero, empty), (path.lams, starts))[1]


def until_solved(path: Path, tol: jax.Array, budget: int, state: tuple, body: Callable) -> tuple[jax.Array, jax.Array]:
    """Iterate on a batch, whose solutions are state[0], until every λ is solved; looks every few iterations."""

    def some(carry):
        state = jax.lax.fori_loop(0, EVERY, lambda _, s: body(s), carry[0])
        g = dot(state[0], path.gram) - path.linear
        return state, carry[1] + EVERY, jnp.max(jax.vmap(violation, (0, 0, 0, None))(state[0], g, path.lams, True))

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
        later = (1 + jnp.sqrt(1 + 4 * jnp.where(uphill, 1, t) ** 2)) / 2
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
                return b.at[j].set(new), jax.lax.cond(new != b[j], lambda g: g + (new - b[j]) * gram[j], lambda g: g, g)

            b, g, history, count, total, _ = state
            b, g = jax.lax.fori_loop(0, p, coordinate, (b, g))
            history = jnp.roll(history, -1, axis=0).at[-1].set(jnp.stack([b, g]))
            b, g = jax.lax.cond((count + 1) % (MEMORY + 1) == 0, extrapolate, lambda _: (b, g), history)
            return b, g, history, count + 1, total + 1, violation(b, g, lam, free)

        def extrapolate(history):
            system = dot(moves := jnp.diff(history[:, 0], axis=0), moves.T)
            mix = definite.solve(system + 1e-12 * jnp.trace(system) * jnp.eye(MEMORY), jnp.ones(MEMORY))
            # The gradient is affine, and the weights sum to one: it extrapolates as the iterates do.
            new, last = jnp.tensordot(mix / jnp.sum(mix), history[1:], 1), history[-1]
            value, before = (0.5 * b @ (g - linear) + lam * jnp.sum(jnp.abs(b)) for b, g in (new, last))
            return tuple(jnp.where(value < before, new, last))

        (b, total), g = carry, dot(gram, carry[0]) - linear
        state = (b, g, jnp.zeros((MEMORY + 1, 2, p)), jnp.asarray(0), total, violation(b, g, lam, free))
        end = jax.lax.while_loop(lambda s: (s[5] > path.tol) & (s[4] < budget * path.lams.size), epoch, state)
        return (end[0], end[4]), end[0]

    (_, total), b = jax.lax.scan(solve, (jnp.zeros(p), jnp.asarray(0)), path.lams)
    return b, total / path.lams.size


def solvers(path: Path) -> Iterator[tuple[str, Callable[[int], tuple[jax.Array, str, bool]]]]:
    """Name, and a function of the bound on iterations: coefficients, iterations in words, whether it was reached."""
    top, rough = np.linalg.eigvalsh(path.gram)[-1], ROUGH * path.lams[0]

    def told(budget: int, b: jax.Array, count: jax.Array, polish: bool = False) -> tuple[jax.Array, str, bool]:
        words, over = f"{count.mean():.4g}", bool((count >= budget).any())
        if polish and not over:
            b, steps = pivots(path, b)
            words += f" + {steps.mean():.3g}"
        return b, words, over

    def by_admm(budget: int) -> tuple[jax.Array, str, bool]:
        values, vectors = np.linalg.eigh(path.gram)
        # The best for a definite quadratic alone (Ghadimi et al. 2015), zeros left out.
        rho = np.sqrt(values[-1] * values[values > 1e-9 * values[-1]][0])
        return told(budget, *admm(path, (vectors / (values + rho)) @ vectors.T, rho, rough, budget), polish=True)

    yield "block pivots", lambda _: told(500, *pivots(path))
    yield "block pivots, tableau forgotten", lambda _: told(500, *pivots(path, forget=True))
    yield "FISTA", lambda budget: told(budget, *fista(path, top, path.tol, budget))
    yield "FISTA to 1e-3, then pivots", lambda budget: told(budget, *fista(path, top, rough, budget), polish=True)
    yield "ADMM to 1e-3, then pivots", by_admm
    yield "coordinate descent, Anderson", lambda budget: told(budget // 10, *coordinate_descent(path, budget // 10))


def seconds(run: Callable[[], Any]) -> tuple[Any, float]:
    """Result and median time, of one run where that takes long."""
    times: list[float] = []
    while not times or (len(times) < 3 and times[0] < 3):
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
    print(f"\n{name:32s} {'time':>9s} {'KKT':>8s} {'iterations':>14s}")
    for solver, solve in solvers(path):
        solve(budget := 900)
        (b, count, over), taken = seconds(partial(solve, budget))
        while over and 3 * taken < CAP:
            budget *= 3
            (b, count, over), taken = seconds(partial(solve, budget))
        left, stopped = residual(path, np.asarray(b)), "  stopped" if over else ""
        print(f"{solver:32s} {taken:7.3f} s {left:8.0e} {count:>14s}{stopped}", flush=True)


def lanes(name: str, X: np.ndarray, y: np.ndarray) -> None:
    """Print the time of all rows and ten training folds, one path each, by three ways to run them."""
    fold_id = problems.balanced_folds(len(y), 10)
    paths = [make_path(X[fold_id != k], y[fold_id != k], 1e-3) for k in range(-1, 10)]
    batch = jax.device_put(jax.tree.map(lambda *leaves: np.stack(leaves), *paths))
    apart = [jax.device_put(path) for path in paths]

    def alone(path: Path) -> jax.Array:
        with jax.enable_x64(True):
            return jax.block_until_ready(pivots(path))[0]

    ways = {
        "one by one, one program": partial(jax.jit(lambda batch: jax.lax.map(pivots, batch)[0]), batch),
        "vmap": partial(jax.jit(lambda batch: jax.vmap(pivots)(batch)[0]), batch),
        "two threads": lambda: list(ThreadPoolExecutor(2).map(alone, apart)),
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
