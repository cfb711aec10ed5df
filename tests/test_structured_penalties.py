"""Group, sorted, fused and spectral penalties, against solvers that know nothing of their formulas."""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import lsq_linear

from jaxreg import (
    SLOPE,
    FusedLasso,
    GroupLasso,
    GroupMCP,
    GroupSCAD,
    KSupport,
    LInf,
    Nuclear,
    SparseGroupLasso,
    TotalVariation,
    TotalVariation2D,
    TreeGroupLasso,
)
from jaxreg.penalties._chain import chain_prox

REFERENCES = json.loads((Path(__file__).parent / "references" / "prox.json").read_text(encoding="utf-8"))
LABELS = [2, 0, 2, 1, 0, 0, 1, 2]
NESTED = [[0, 1, 2, 3, 4, 5, 6, 7], [0, 1, 2, 3], [2, 3], [5, 6, 7], [6], [0]]
WEIGHTS = [3.0, 2.5, 2.5, 2.0, 1.0, 0.5, 0.5, 0.0]


# --- prox, against others ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "penalty", "shape"),
    [
        ("sparse_group", SparseGroupLasso(l1_ratio=0.3, groups=LABELS), (8,)),
        ("tree", TreeGroupLasso(groups=NESTED), (8,)),
        ("slope", SLOPE(weights=WEIGHTS), (8,)),
        ("linf", LInf(), (8,)),
        ("fused", FusedLasso(l1_ratio=0.4), (8,)),
        ("nuclear", Nuclear(), (4, 2)),
        ("tv2d", TotalVariation2D(), (4, 2)),
        ("k_support", KSupport(k=3), (8,)),
    ],
)
def test_prox_costs_what_an_interior_point_solver_finds(name, penalty, shape, x64):
    """References are stored, with the script that made them: tests/references/make_prox.py."""
    rows = REFERENCES[name]
    v, z = (np.array([row[key] for row in rows]) for key in ("v", "z"))
    lam, cost = (np.array([row[key] for row in rows]) for key in ("lam", "cost"))

    @jax.jit
    @jax.vmap
    def own(lam, v):
        x = penalty.at(lam).prox(v.reshape(shape), 1.0)
        return x.ravel(), 0.5 * jnp.sum((x.ravel() - v) ** 2) + penalty.at(lam).value(x)

    x, own_cost = own(lam, v)
    np.testing.assert_allclose(own_cost, cost, rtol=1e-8, atol=1e-9)
    np.testing.assert_allclose(x, z, atol=1e-4)


def draws(n, p, *, seed):
    """Inputs: ordinary, with ties, with zeros, huge, tiny; and strengths."""
    rng = np.random.default_rng(seed)
    kinds = [rng.normal(size=(n, p)), rng.integers(-3, 4, size=(n, p)).astype(float)]
    kinds += [kinds[0] * 10.0 ** rng.uniform(-6, 6, size=(n, 1)), kinds[1] * (rng.uniform(size=(n, p)) < 0.3)]
    v = np.concatenate(kinds)
    lam = rng.choice([1e-9, 0.1, 0.25, 0.5, 1.0, 3.0, 1e9], size=len(v))
    return lam, v


def test_slope_agrees_with_the_minimax_formula(x64):
    """Isotonic regression is min over starts of max over ends of means: nothing is pooled. 4000 draws."""
    lam, v = draws(1000, 8, seed=1)
    weights = np.array(WEIGHTS)
    x = np.asarray(jax.jit(jax.vmap(lambda lam, v: SLOPE(lam, weights).prox(v, 1.0)))(lam, v))
    order = np.argsort(-np.abs(v), axis=1, kind="stable")
    moved = np.take_along_axis(np.abs(v), order, axis=1) - lam[:, None] * weights
    means = np.full((8, 8, len(v)), np.nan)
    for first in range(8):
        for last in range(first, 8):
            means[first, last] = moved[:, first : last + 1].mean(axis=1)
    fit = np.stack([np.nanmax(means[: k + 1, k:], axis=1).min(axis=0) for k in range(8)], axis=1)
    expected = np.empty_like(v)
    np.put_along_axis(expected, order, np.maximum(fit, 0), axis=1)
    size = np.abs(v).max(axis=1, keepdims=True) + lam[:, None] * 3 * (lam[:, None] < 1e3)
    assert (np.abs(x - np.sign(v) * expected) <= 1e-14 * size).all()


def test_maximum_norm_agrees_with_bisection(x64):
    """4000 draws; the level is where magnitudes exceed it by λ in sum."""
    lam, v = draws(1000, 8, seed=2)
    x = np.asarray(jax.jit(jax.vmap(lambda lam, v: LInf(lam).prox(v, 1.0)))(lam, v))
    low, high = np.zeros(len(v)), np.abs(v).max(axis=1)
    for _ in range(100):
        middle = (low + high) / 2
        above = np.maximum(np.abs(v) - middle[:, None], 0).sum(axis=1) > lam
        low, high = np.where(above, middle, low), np.where(above, high, middle)
    expected = np.sign(v) * np.minimum(np.abs(v), high[:, None])
    assert (np.abs(x - expected) <= 1e-14 * np.abs(v).max(axis=1, keepdims=True)).all()


def bounded_least_squares(differences, bounds, v):
    """Total variation by its dual, an active-set method for bounds."""
    pull = lsq_linear(differences.T, v, bounds=(-bounds, bounds), method="bvls", tol=1e-15, max_iter=10_000).x
    return v - differences.T @ pull


def test_total_variation_agrees_with_bounded_least_squares(x64):
    """Values, and which neighbours are equal, exactly."""
    lam, v = draws(60, 12, seed=3)
    keep = (lam > 1e-3) & (lam < 1e3)
    lam, v, weight = lam[keep], v[keep], np.random.default_rng(4).uniform(0.1, 2.0, size=11)
    x = np.asarray(jax.jit(jax.vmap(lambda lam, v: TotalVariation(lam, weight).prox(v, 1.0)))(lam, v))
    D = np.diff(np.eye(12), axis=0)
    for k in range(len(v)):
        expected = bounded_least_squares(D, lam[k] * weight, v[k])
        size = np.abs(v[k]).max()
        np.testing.assert_allclose(x[k], expected, atol=1e-13 * size)
        np.testing.assert_array_equal(np.diff(x[k]) == 0, np.abs(np.diff(expected)) <= 1e-12 * size)


def test_chains_with_costs_for_rises_and_falls(x64):
    """What is asymmetric, and infinite, too: isotonic regression by the minimax formula, and a nearly isotonic one."""
    y = np.random.default_rng(5).integers(-4, 5, size=(300, 9)).astype(float)
    rising = np.asarray(jax.jit(jax.vmap(lambda y: chain_prox(y, jnp.zeros(8), jnp.full(8, jnp.inf))))(y))
    ends = np.array([[[y[:, i : j + 1].mean(axis=1) if i <= j else 0 * y[:, 0] for j in range(9)] for i in range(9)]])[
        0
    ]
    expected = [np.max([ends[i, k:].min(axis=0) for i in range(k + 1)], axis=0) for k in range(9)]
    np.testing.assert_allclose(rising, np.transpose(expected), atol=1e-14)
    assert (np.diff(rising) >= 0).all()

    up, down = np.full(8, 0.25), np.full(8, 1.5)
    D = np.diff(np.eye(9), axis=0)
    both = np.asarray(jax.jit(jax.vmap(lambda y: chain_prox(y, up, down)))(y))
    for k in range(60):
        pull = lsq_linear(D.T, y[k], bounds=(-down, up), method="bvls", tol=1e-15, max_iter=10_000).x
        np.testing.assert_allclose(both[k], y[k] - D.T @ pull, atol=1e-13)


@pytest.mark.parametrize("kind", [GroupMCP, GroupSCAD])
def test_nonconvex_group_prox_is_a_global_minimizer(kind, x64):
    """Against a dense search of the plane, for steps on both sides of the largest one that keeps it convex."""
    gamma, points = 3.0, 61
    rng = np.random.default_rng(6)
    step, lam = rng.choice([0.3, 1.0, 2.5, 4.0, 9.0], size=600), rng.choice([0.1, 1.0, 5.0], size=600)
    v = rng.normal(size=(600, 2)) * (lam * step)[:, None] * rng.choice([0.5, 1.0, 3.0], size=(600, 1))
    v[::7, 0] = 0.0
    x = np.asarray(jax.jit(jax.vmap(lambda lam, s, v: kind(lam, [0, 0], gamma, weight=0.8).prox(v, s)))(lam, step, v))

    def cost(z, lam, step, v):
        t, a = 0.8 * lam, np.hypot(z[..., 0], z[..., 1])
        if kind is GroupMCP:
            g = np.where(a < gamma * t, t * a - a**2 / (2 * gamma), gamma * t**2 / 2)
        else:
            middle = (2 * gamma * t * a - a**2 - t**2) / (2 * (gamma - 1))
            g = np.where(a <= t, t * a, np.where(a < gamma * t, middle, t**2 * (gamma + 1) / 2))
        return 0.5 * np.sum((z - v) ** 2, axis=-1) + step * g

    line = np.linspace(-1.2, 1.2, points)
    grid = np.stack(np.meshgrid(line, line), axis=-1).reshape(-1, 1, 2) * np.linalg.norm(v, axis=1)[None, :, None]
    along = np.linspace(0, 1.2, 2001)[:, None, None] * v[None]
    best = np.minimum(cost(grid, lam, step, v).min(axis=0), cost(along, lam, step, v).min(axis=0))
    assert (cost(x, lam, step, v) <= best + 1e-13 * (1 + best)).all()
    own = jax.vmap(lambda lam, x: kind(lam, [0, 0], gamma, weight=0.8).value(x))(lam, x)
    np.testing.assert_allclose(step * own + 0.5 * np.sum((x - v) ** 2, axis=1), cost(x, lam, step, v), rtol=1e-12)


def test_nonconvex_groups_say_how_long_a_step_may_be():
    assert GroupMCP(1.0, [0, 0], gamma=2.5).max_step == 2.5
    assert GroupSCAD(1.0, [0, 0], gamma=3.5).max_step == 2.5
    assert GroupLasso(1.0, [0, 0]).max_step == np.inf


# --- images --------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_images_agree_with_bounded_least_squares_and_are_certified(x64):
    """Also where regions tie; equal neighbours are exactly equal; and the residual is zero there."""
    rng = np.random.default_rng(7)
    v = np.concatenate([rng.normal(size=(40, 4, 3)), rng.integers(-2, 3, size=(40, 4, 3)).astype(float)])
    lam = rng.choice([0.05, 0.3, 0.5, 1.0, 20.0], size=80)

    @jax.jit
    @jax.vmap
    def solve(lam, v):
        penalty = TotalVariation2D(lam)
        x, gap = penalty.certified_prox(v, 0.5)
        return x, gap, penalty.residual(x, (x - v) / 0.5), penalty.at(1.0).lam_max(v)

    x, gap, residual, lam_max = map(np.asarray, solve(lam, v))
    assert (gap < 1e-13).all()
    np.testing.assert_allclose(residual, 0, atol=1e-12)
    down, across = np.diff(np.eye(4), axis=0), np.diff(np.eye(3), axis=0)
    D = np.vstack([np.kron(down, np.eye(3)), np.kron(np.eye(4), across)])
    for k in range(80):
        expected = bounded_least_squares(D, np.full(len(D), lam[k] * 0.5), v[k].ravel())
        np.testing.assert_allclose(x[k].ravel(), expected, atol=1e-12)
        np.testing.assert_array_equal(D @ x[k].ravel() == 0, np.abs(D @ expected) < 1e-10)
    # The largest strength is where the solution becomes constant.
    spreads = [np.ptp(solve(2 * factor * lam_max, v)[0], axis=(1, 2)) for factor in (1.0001, 0.999)]
    assert (spreads[0] == 0).all()
    assert (spreads[1] > 0).all()


def test_images_in_batches_and_in_single_precision(dtype):
    """A budget of rounds that does not suffice is seen in the gap."""
    v = np.random.default_rng(8).normal(size=(2, 8, 8)).astype(dtype)

    @jax.jit
    def solve(max_steps):
        return TotalVariation2D(0.5, max_steps=max_steps).certified_prox(jnp.asarray(v), 1.0)

    x, gap = solve(2000)
    assert x.shape == v.shape
    assert gap.shape == (2,)
    assert x.dtype == dtype
    assert (gap <= (1e-13 if dtype == np.float64 else 1e-11)).all()
    gaps = [solve(n)[1] for n in (2, 8)]
    assert (gaps[0] > gaps[1]).all()
    assert (gaps[1] > gap).all()
    assert (gaps[0] > 1e-3).all()


@pytest.mark.slow
def test_single_precision_images_are_those_of_double_precision(x64):
    """The gap is not that of sums which cancel: it is right, and so are the regions."""
    rng = np.random.default_rng(9)
    v = np.zeros((24, 24))
    v[6:12, 6:12], v[12:, 8:] = 1, -1
    v = (v + 0.3 * rng.normal(size=v.shape)).astype(np.float32)
    solve = jax.jit(lambda lam, v: TotalVariation2D(lam).certified_prox(v, 1.0))
    for lam in (0.05, 0.3, 1.0):
        x, gap = solve(np.float32(lam), v)
        best, _ = solve(float(np.float32(lam)), v.astype(float))
        assert gap <= 1e-11
        np.testing.assert_allclose(x, best, atol=2e-6)
        assert len(np.unique(x)) == len(np.unique(best))


def test_derivatives_of_images(x64):
    rng = np.random.default_rng(10)
    v, way = rng.normal(size=(2, 8, 8))
    weigh = rng.normal(size=(8, 8))

    @jax.jit
    def f(lam, v):
        return jnp.sum(weigh * TotalVariation2D(lam).prox(v, 1.0))

    by_lam, by_v = jax.jit(jax.grad(f, argnums=(0, 1)))(0.4, v)
    np.testing.assert_allclose(by_lam, (f(0.4 + 1e-6, v) - f(0.4 - 1e-6, v)) / 2e-6, rtol=1e-6)
    difference = (f(0.4, v + 1e-6 * way) - f(0.4, v - 1e-6 * way)) / 2e-6
    np.testing.assert_allclose(np.sum(by_v * way), difference, rtol=1e-6, atol=1e-8)


# --- derivatives at ties -------------------------------------------------------------------------------------


@jax.jit
def nuclear_prox_along(x, d):
    """The prox at x ± 10⁻⁶ d, its derivative along d, the transposed derivative of the prox, the gradient."""
    prox = Nuclear(1.0).prox
    moved, slope = jax.jvp(lambda h: prox(x + h * d, 1.0), (0.0,), (1.0,))
    back = jax.vjp(lambda x: prox(x, 1.0), x)[1](moved)[0]
    difference = (prox(x + 1e-6 * d, 1.0) - prox(x - 1e-6 * d, 1.0)) / 2e-6
    return moved, slope, back, difference, jax.grad(Nuclear(1.0).value)(x)


def test_nuclear_norm_has_derivatives_at_equal_singular_values(x64):
    """Multiples of orthogonal matrices, tall and wide; pairs of equal values; zero: compared with differences."""
    rng = np.random.default_rng(11)
    turned = np.linalg.qr(rng.normal(size=(4, 4)))[0]
    way = rng.normal(size=(4, 4))
    for x in (3 * turned, 3 * turned[:, :2], 3 * turned[:2], np.diag([3.0, 3.0, 0.2, 0.2]), np.zeros((4, 4))):
        d = way[: x.shape[0], : x.shape[1]]
        moved, slope, back, difference, gradient = nuclear_prox_along(x, d)
        np.testing.assert_allclose(slope, difference, atol=1e-6)
        np.testing.assert_allclose(np.sum(back * d), np.sum(slope * moved), atol=1e-12)
        assert np.isfinite(gradient).all()
        # Of the subgradients that of least norm, UVᵀ of what is not zero.
        np.testing.assert_allclose(np.linalg.norm(gradient) ** 2, np.linalg.matrix_rank(x), atol=1e-13)


def test_derivatives_at_zero_groups_are_zero():
    x = jnp.array([0.0, 0.0, 3.0, 4.0])

    @jax.jit
    def derivatives(penalty):
        return jax.grad(penalty.value)(x), jax.hessian(penalty.value)(x), jax.jacrev(lambda x: penalty.prox(x, 0.5))(x)

    trees = TreeGroupLasso(1.0, [[0, 1], [0, 1, 2, 3]])
    for penalty in (GroupLasso(1.0, [0, 0, 1, 1]), trees, GroupMCP(1.0, [0, 0, 1, 1])):
        gradient, hessian, jacobian = derivatives(penalty)
        assert np.isfinite(gradient).all()
        assert np.isfinite(hessian).all()
        assert (jacobian[:2] == 0).all()


def test_slope_in_the_strength_at_zero_is_that_of_a_positive_one(x64):
    """What implicit differentiation of a solution at λ = 0 needs."""
    v = jnp.array([3.0, -1.0, 2.0, 0.5])

    @jax.jit
    def prox(penalty, lam):
        return jax.jvp(lambda lam: penalty.at(lam).prox(v, 1.0), (lam,), (1.0,))

    for penalty in (GroupLasso(0.0, [0, 1, 1, 0]), SLOPE(0.0, [2.0, 1.0, 1.0, 0.5]), TotalVariation(), FusedLasso()):
        at_zero, slope = prox(penalty, 0.0)
        np.testing.assert_allclose(slope, (prox(penalty, 1e-7)[0] - at_zero) / 1e-7, atol=1e-6)
