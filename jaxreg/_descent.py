"""Descent in a few numbers, or a few thousand, on functions that are expensive and have kinks: on the host."""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from jaxreg._result import Result

Evaluate = Callable[[np.ndarray], tuple[float, np.ndarray]]

MEMORY = 10
"""Pairs that L-BFGS remembers."""
REACH = 2.0
"""Longest step of any number; in logarithms, a factor of seven."""
SEARCH = 12
"""Trials along one direction."""
FLAT = 1e-6
"""Relative decrease that is none."""


@dataclasses.dataclass
class Trace:
    """Points that were accepted, with values and lengths of gradients; and what was best of all that were tried."""

    points: list[np.ndarray] = dataclasses.field(default_factory=list)
    values: list[float] = dataclasses.field(default_factory=list)
    slopes: list[float] = dataclasses.field(default_factory=list)
    best: Any = None
    lowest: float = np.inf
    result: Result = Result.MAX_STEPS
    evaluations: int = 0

    def see(self, evaluate: Evaluate, x: np.ndarray) -> tuple[float, np.ndarray]:
        """Evaluate, and keep what is best."""
        value, slope = evaluate(x)
        self.evaluations += 1
        if not (np.isfinite(value) and np.isfinite(slope).all()):
            return np.inf, np.zeros_like(x)
        if value < self.lowest or self.best is None:
            self.best, self.lowest = x, value
        return value, slope

    def keep(self, x: np.ndarray, value: float, slope: np.ndarray) -> None:
        """Accept a point."""
        self.points.append(x)
        self.values.append(value)
        self.slopes.append(float(np.linalg.norm(slope)))


def lbfgs(evaluate: Evaluate, x: np.ndarray, steps: int, tol: float) -> Trace:
    """L-BFGS with a backtracking line search, which forgets its memory once before it gives up.

    Source: Nocedal & Wright (2006), "Numerical optimization", algorithms 7.4 and 3.1; for functions with kinks, Lewis &
    Overton (2013), "Nonsmooth optimization via quasi-Newton methods", Mathematical Programming 141.
    """
    trace = Trace(best=x)
    value, slope = trace.see(evaluate, x)
    trace.keep(x, value, slope)
    pairs: list[tuple[np.ndarray, np.ndarray]] = []
    idle = 0
    if not np.isfinite(value):
        trace.result = Result.DIVERGED
        return trace
    for _ in range(steps):
        if np.linalg.norm(slope) <= tol * abs(value):
            trace.result = Result.CONVERGED
            return trace
        found = _search(trace, evaluate, x, value, slope, _direction(slope, pairs), fresh=not pairs)
        if found is None and pairs:
            pairs.clear()
            found = _search(trace, evaluate, x, value, slope, -slope, fresh=True)
        if found is None:
            trace.result = Result.STALLED
            return trace
        ahead, value_ahead, slope_ahead = found
        moved, bent = ahead - x, slope_ahead - slope
        if moved @ bent > 1e-10 * np.linalg.norm(moved) * np.linalg.norm(bent):
            pairs = [*pairs, (moved, bent)][-MEMORY:]
        idle = idle + 1 if value - value_ahead <= FLAT * abs(value) else 0
        x, value, slope = ahead, value_ahead, slope_ahead
        trace.keep(x, value, slope)
        if idle == 2:
            trace.result = Result.STALLED
            return trace
    return trace


def stepwise(evaluate: Evaluate, x: np.ndarray, optimizer: Any, steps: int, tol: float) -> Trace:
    """Steps of an optax transformation."""
    trace, state = Trace(best=x), optimizer.init(x)
    for count in range(steps + 1):
        value, slope = trace.see(evaluate, x)
        trace.keep(x, value, slope)
        if not np.isfinite(value):
            trace.result = Result.DIVERGED
            return trace
        if np.linalg.norm(slope) <= tol * abs(value):
            trace.result = Result.CONVERGED
            return trace
        if count < steps:
            updates, state = optimizer.update(slope, state, x)
            x = x + np.asarray(updates, np.float64)
    return trace


def _direction(slope: np.ndarray, pairs: list[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """The two loops of L-BFGS."""
    way, shares = -slope, []
    for moved, bent in reversed(pairs):
        share = (moved @ way) / (moved @ bent)
        way = way - share * bent
        shares.append(share)
    if pairs:
        moved, bent = pairs[-1]
        way = way * (moved @ bent) / (bent @ bent)
    for (moved, bent), share in zip(pairs, reversed(shares), strict=True):
        way = way + (share - (bent @ way) / (moved @ bent)) * moved
    return way


def _search(
    trace: Trace, evaluate: Evaluate, x: np.ndarray, value: float, slope: np.ndarray, way: np.ndarray, fresh: bool
) -> tuple[np.ndarray, float, np.ndarray] | None:
    """Shorten a step until it descends enough; None if it never does."""
    descent = slope @ way
    longest = np.abs(way).max(initial=0.0)
    if not (descent < 0 and longest > 0):
        return None
    # Without a memory the gradient says where to, and not how far: begin with a factor of e^½.
    length = 0.5 / longest if fresh else min(1.0, REACH / longest)
    for _ in range(SEARCH):
        ahead = x + length * way
        value_ahead, slope_ahead = trace.see(evaluate, ahead)
        if value_ahead <= value + 1e-4 * length * descent:
            return ahead, value_ahead, slope_ahead
        bend = value_ahead - value - length * descent
        guess = -0.5 * length**2 * descent / bend if np.isfinite(bend) and bend > 0 else 0.0
        length = float(np.clip(guess, 0.1 * length, 0.5 * length))
    return None
