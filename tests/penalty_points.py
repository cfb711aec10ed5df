"""What the laws of penalties are tried on: members by what is claimed of them, inputs of every kind, and rival points."""

import numpy as np
import pytest

from tests.catalogue import PENALTIES, ROWS


def members(claim=lambda case: True):
    return pytest.mark.parametrize("case", [c for c in PENALTIES if claim(c)], ids=lambda case: case.name)


every = members()
convex = members(lambda case: case.convex)
dual = members(lambda case: case.dual)

DRAWS, POINTS = ROWS, 24
MODERATE = (0.01, 0.5, 1.0, 30.0)


def draw(case, *, scales=(1e-9, *MODERATE, 1e9), wild=True, seed=0):
    """Strengths (n,), steps (n,) and inputs (n, size): ordinary, at thresholds, zero, huge, tiny."""
    rng = np.random.default_rng(seed)
    lam, step = rng.choice(scales, size=DRAWS), rng.choice([0.1, 1.0, 8.0], size=DRAWS)
    v = rng.normal(size=(DRAWS, case.size))
    sign, threshold = np.sign(v), (lam * step)[:, None]
    kinds = [v, 3 * threshold * v, sign * threshold, sign * threshold * rng.choice([0.3, 0.5, 2.0], v.shape)]
    kinds += [0 * v, *([1e12 * v, 1e-12 * v] if wild else [])]
    return lam, step, np.choose(rng.integers(0, len(kinds), size=v.shape), kinds)


def rivals(case, v, x, seed=1):
    """Points that could be better than x, from coarse and global to close and local: (n, POINTS, size)."""
    rng = np.random.default_rng(seed)
    v, x = v[:, None], x[:, None]
    shape = (v.shape[0], 4, v.shape[2])
    points = [np.broadcast_to(0.0, shape), v * rng.integers(0, 2, size=shape)]
    points += [v * rng.uniform(-0.3, 1.2, size=shape), x * rng.integers(0, 2, size=shape)]
    size = np.abs(x) + 1e-3 * np.linalg.norm(v, axis=-1, keepdims=True)
    points += [x + scale * size * rng.normal(size=shape) for scale in (1e-1, 1e-4)]
    points = np.concatenate(points, axis=1)
    points[:, :1] = v
    return allowed(case, points)


def allowed(case, points):
    """Move points (n, POINTS, size) to where the penalty is finite: others are no rivals."""
    if not case.bounded:
        return points
    flat = points.reshape(-1, points.shape[-1])
    flat = case.batch("prox", np.zeros(len(flat)), flat, np.zeros(len(flat)))
    assert np.isfinite(case.batch("value", np.ones(len(flat)), flat)).all()
    return flat.reshape(points.shape)


def values(case, lam, points):
    """The penalty at points (n, POINTS, size)."""
    flat = case.batch("value", np.repeat(lam, POINTS), points.reshape(-1, points.shape[-1]))
    return flat.reshape(points.shape[:2])


def dot(a, b):
    return np.sum(a * b, axis=-1)


def seen(case, v):
    """What of v the penalty acts on: all but what costs nothing."""
    if case.free is not None:
        return v - v @ case.free.T @ case.free
    unit = case.batch("value", np.ones(DRAWS), np.resize(np.eye(case.size), (DRAWS, case.size)))[: case.size]
    return v * (unit > 0)


def jumps(case, lam, step, v):
    """Entries at which the prox of a penalty that is not convex jumps, so that rounding decides."""
    if case.convex:
        return np.zeros(v.shape, bool)
    before, after = (case.batch("prox", lam, v * scale, step) for scale in (1 - 1e-6, 1 + 1e-6))
    return np.abs(after - before) > 1e-3 * np.abs(v)
