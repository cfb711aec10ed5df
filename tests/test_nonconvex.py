"""Folded concave and smooth penalties: long steps, where the prox jumps, limits, slopes, λ_max, refusals."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize
from jax.test_util import check_grads

from jaxreg import FISTA, L0, L1, MCP, SCAD, HuberizedL1, LogSum, Lq, Objective, PseudoHuber, Squared, solve
from tests.helpers_models import arrays, linear
from tests.problems import gaussian

FOLDED = [MCP(0.7, 2.5), SCAD(0.7, 3.3), LogSum(0.7, 0.4), Lq(0.7, 1 / 2), Lq(0.7, 2 / 3), L0(0.7)]
SMOOTH = [HuberizedL1(0.7, 0.3), PseudoHuber(0.7, 0.3)]


def name(value):
    return repr(value) if hasattr(value, "lam") else ""


@pytest.mark.parametrize("penalty", [*FOLDED, *SMOOTH], ids=name)
def test_prox_is_the_global_minimum_for_every_step(penalty, x64):
    """Also for those between the two thresholds of SCAD, at max_step itself, and one step for each entry."""
    steps = np.array([1e-3, 0.3, 1.0, 2.3, 2.5, 3.0, 4.0, 4.3, 4.5, 30.0])
    v = np.concatenate([np.linspace(0, 12, 401), np.geomspace(1e-6, 1e3, 100)])
    grid = np.concatenate([np.linspace(0, 1.2, 4001), np.geomspace(1e-9, 1, 1000)])
    each = jax.vmap(jax.vmap(lambda z: penalty.value(z)))

    @jax.jit
    def costs(step):
        x = penalty.prox(jnp.asarray(v), jnp.full(len(v), step))  # one step an entry
        points = jnp.concatenate([v[:, None] * grid, x[:, None]], axis=1)
        cost = 0.5 * points**2 - v[:, None] * points + step * each(points)
        return x, cost[:, :-1].min(axis=1), cost[:, -1]

    for step in steps:
        x, best, found = map(np.asarray, costs(step))
        assert (found <= best + 1e-13 * v**2).all()
        assert (np.diff(x[:401]) >= 0).all()
        for sign in (1, -1):
            np.testing.assert_allclose(penalty.prox(sign * v, step), sign * x, rtol=1e-13)


@pytest.mark.parametrize("penalty", FOLDED[:2], ids=name)
def test_the_prox_is_continuous_below_max_step_and_jumps_from_there_on(penalty, x64):
    v = np.linspace(0, 12, 200_001)
    limit = penalty.max_step
    for step, jumps in ((0.5 * limit, False), (0.95 * limit, False), (1.05 * limit, True), (3 * limit, True)):
        leap = np.diff(penalty.prox(v, step)).max()
        assert (leap > 0.3) == jumps
    # The second derivative of the penalty is −1/max_step at worst, which is what the bound says.
    second = jax.vmap(jax.grad(jax.grad(penalty.value)))(jnp.linspace(0.01, 4.0, 399))
    np.testing.assert_allclose(second.min(), -1 / limit, rtol=1e-12)


@pytest.mark.parametrize("penalty", [*FOLDED, *SMOOTH], ids=name)
def test_slopes_are_derivatives_of_the_value(penalty, dtype):
    """The residual at −slope vanishes off zero; at zero what it lets through is the slope from the right."""
    x = jnp.asarray(np.linspace(0.02, 4, 200), dtype)
    slope = jax.vmap(jax.grad(penalty.value))(x)
    off = penalty.residual(x, -slope)
    np.testing.assert_allclose(off, 0, atol=20 * float(jnp.finfo(dtype).eps))
    h = 1e-6 if dtype == np.float64 else 1e-3
    at_zero = (float(penalty.value(jnp.asarray(h, dtype)))) / h
    pull = 0.999 * at_zero if not isinstance(penalty, (HuberizedL1, PseudoHuber)) else 0.0
    held = penalty.residual(jnp.zeros(2, dtype), jnp.asarray([pull, -pull], dtype))
    assert (held == 0).all() if isinstance(penalty, (L0, Lq)) or pull == 0 else (jnp.abs(held) < 0.01).all()


def test_limits_are_other_penalties(x64):
    v = np.linspace(-3, 3, 61)
    soft, hard = L1(0.5).prox(v, 1.0), L0(0.5).prox(v, 1.0)
    for penalty in (MCP(0.5, 1e9), SCAD(0.5, 1e9), LogSum(0.5e6, 1e6), HuberizedL1(0.5, 1e-9), PseudoHuber(0.5, 1e-9)):
        np.testing.assert_allclose(penalty.prox(v, 1.0), soft, atol=1e-5)
        np.testing.assert_allclose(penalty.value(v), L1(0.5).value(v), rtol=1e-4)
    # At a step of its γ MCP is a hard threshold at √(γ·γ)λ, that of the counting penalty γλ²/2.
    np.testing.assert_array_equal(MCP(0.5, 1.0).prox(v, 1.0), L0(0.125).prox(v, 1.0))
    assert (np.abs(hard[hard != 0]) > 1).all()
    np.testing.assert_array_equal(L0(0.5).prox(np.array([1.0, 1.0 + 1e-12]), 1.0), [0.0, 1.0 + 1e-12])


@pytest.mark.slow
def test_pseudo_huber_is_solved_to_rounding_at_all_scales(x64):
    """Against bisection in extended precision, for numbers of very different sizes."""
    rng = np.random.default_rng(0)
    width, t = 10 ** rng.uniform(-6, 6, 4000), 10 ** rng.uniform(-9, 9, 4000)
    near = t * (1 + rng.choice([-1, 1], 4000) * 10 ** rng.uniform(-15, 0, 4000))
    x = np.where(rng.integers(0, 2, 4000) == 0, near, 10 ** rng.uniform(-9, 9, 4000))
    z = np.asarray(jax.jit(jax.vmap(lambda x, t, width: PseudoHuber(t, width).prox(x, 1.0)))(x, t, width))
    low, high = np.zeros(4000, np.longdouble), x.astype(np.longdouble)
    for _ in range(120):
        middle = (low + high) / 2
        above = middle + t * middle / np.sqrt(middle**2 + width.astype(np.longdouble) ** 2) > x
        low, high = np.where(above, low, middle), np.where(above, middle, high)
    slack = 4 * np.finfo(float).eps * x / (1 + t * width**2 / np.hypot(z, width) ** 3)  # of a rounded x
    assert (np.abs(z - low) <= slack + 4 * np.finfo(float).eps * z).all()
    check_grads(lambda *a: PseudoHuber(a[1], a[2]).prox(a[0], 1.0), (0.7, 0.5, 0.2), order=2)


def test_huge_and_tiny_numbers_and_nan_come_through():
    """In single precision, where squares and ratios overflow."""
    huge, tiny = jnp.array([3e37, 1e30, 1e20], jnp.float32), jnp.array([1e-30, 1e-38, 0.0], jnp.float32)
    penalties = (*FOLDED, *SMOOTH)

    @jax.jit
    def results():
        def one(penalty):
            moved, pull = jax.vjp(lambda v: penalty.prox(v, 1.0), huge)
            nan = penalty.prox(jnp.array([jnp.nan]), 1.0)
            return moved, pull(jnp.ones(3))[0], penalty.value(huge[:2]), penalty.prox(tiny, 1.0), nan

        return [one(penalty) for penalty in penalties]

    for moved, slope, value, low, nan in results():
        np.testing.assert_allclose(moved, huge, rtol=1e-6)
        np.testing.assert_allclose(slope, 1, rtol=1e-6)
        assert jnp.isfinite(value)
        assert (jnp.abs(low) <= tiny).all()
        assert jnp.isnan(nan).all()


def test_lam_max_of_penalties_that_hold_every_gradient_is_for_a_unit_step():
    grads = jnp.array([0.5, -3.0, 1.0])
    np.testing.assert_allclose(L0().lam_max(grads), 4.5, rtol=1e-6)
    np.testing.assert_allclose(L0(weight=[1.0, 3.0, 0.0]).lam_max(grads), 1.5, rtol=1e-6)
    np.testing.assert_allclose(Lq(q=1 / 2).lam_max(grads), (3 / 1.5) ** 1.5, rtol=1e-6)
    np.testing.assert_allclose(Lq(q=2 / 3).lam_max(grads), (3 / (2 / 3 * 24**0.25)) ** (4 / 3), rtol=1e-6)
    np.testing.assert_allclose(LogSum(eps=0.5).lam_max(grads), 1.5, rtol=1e-6)
    assert PseudoHuber().lam_max(grads) == np.inf
    assert PseudoHuber(weight=0.0).lam_max(grads) == 0


@pytest.mark.slow
def test_curvatures_of_smooth_penalties(x64):
    for penalty in (*SMOOTH, HuberizedL1(0.7, 0.3, [1.0, 2.0])):
        scale = 1.0 if penalty.weight is None else 2.0
        np.testing.assert_allclose(penalty.curvature, 0.7 / 0.3 * scale)
        x = jnp.linspace(-0.299, 0.299, 4)
        second = jax.vmap(lambda t, p=penalty: jax.hessian(p.value)(jnp.full(2, t)).max())(x)
        assert second.max() <= penalty.curvature * (1 + 1e-12)
        assert second.max() > 0.4 * penalty.curvature


@pytest.mark.parametrize("penalty", [MCP(0.15), SCAD(0.15), LogSum(0.03, 0.2), *SMOOTH], ids=name)
def test_solutions_are_stationary(penalty, x64):
    problem = gaussian(40, 6, 0.3)
    X, y = arrays(problem, np.float64)
    found = solve(Objective(Squared(), penalty, linear), jnp.zeros(6), (X, y), solver=FISTA(1e-10)).params
    grads = X.T @ (X @ found - y) / 40
    assert penalty.distance(found, grads) <= 1e-8 * jnp.abs(X.T @ y / 40).max()
    if penalty in SMOOTH:
        cost = jax.jit(lambda b: 0.5 * jnp.mean((X @ b - y) ** 2) + penalty.value(b))
        expected = scipy.optimize.minimize(cost, np.zeros(6), jac=jax.jit(jax.grad(cost)), method="BFGS").fun
        np.testing.assert_allclose(cost(found), expected, rtol=1e-9)


@pytest.mark.parametrize(
    ("make", "error", "match"),
    [
        (lambda: MCP(gamma=0.0), ValueError, "gamma must be positive and finite, got 0"),
        (lambda: MCP(gamma=np.inf), ValueError, "gamma must be positive"),
        (lambda: SCAD(gamma=1.0), ValueError, "gamma must be finite and above 1, got 1"),
        (lambda: LogSum(eps=0.0), ValueError, "eps must be positive and finite, got 0"),
        (lambda: Lq(q=0.4), ValueError, "q must be 1/2 or 2/3, got 0.4"),
        (lambda: Lq(q=jnp.asarray(0.5)), ValueError, "q must be 1/2 or 2/3"),
        (lambda: L0(-1.0), ValueError, "lam must be finite and at least 0, got -1"),
        (lambda: L0(weight=[-1.0]), ValueError, "weight must be finite and at least 0, got -1"),
        (lambda: HuberizedL1(delta=0.0), ValueError, "delta must be positive and finite, got 0"),
        (lambda: PseudoHuber(delta="1"), TypeError, "delta must be a real number"),
    ],
)
def test_numbers_that_make_no_sense_are_refused(make, error, match):
    with pytest.raises(error, match=match):
        make()
    assert Lq(q=0.6666666666).q == 2 / 3
