"""Laws that every penalty of the catalogue obeys, judged by what does not know its formulas."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxreg import Norm
from tests.catalogue import PenaltyCase
from tests.penalty_points import (
    DRAWS,
    MODERATE,
    POINTS,
    allowed,
    convex,
    dot,
    draw,
    dual,
    every,
    jumps,
    members,
    rivals,
    seen,
    values,
)


@every
def test_prox_beats_its_input_and_zero_and_everything_else(case: PenaltyCase, x64):
    """Of all points the prox has the least ½‖z − v‖² + step·g(z)."""
    lam, step, v = draw(case)
    x = case.batch("prox", lam, v, step)
    value = case.batch("value", lam, x)
    assert np.isfinite(value).all()
    z = rivals(case, v, x)
    v, x, s = v[:, None], x[:, None], step[:, None]
    more = 0.5 * dot(z, z) - dot(z, v) + s * values(case, lam, z)
    less = 0.5 * dot(x, x) - dot(x, v) + s * value[:, None]
    assert (more >= less - 1e-13 * (dot(v, v) + dot(x, x))).all()


@convex
def test_three_point_inequality(case: PenaltyCase, x64):
    """step·g(z) + ½‖z − v‖² ≥ step·g(x) + ½‖x − v‖² + ½‖z − x‖² at x = prox(v), for every z."""
    lam, step, v = draw(case, seed=3)
    x = case.batch("prox", lam, v, step)
    value = step * case.batch("value", lam, x)
    z = rivals(case, v, x)
    v, x = v[:, None], x[:, None]
    slack = step[:, None] * values(case, lam, z) - value[:, None] - dot(v - x, z - x)
    assert (slack >= -1e-13 * (value[:, None] + dot(v, v) + dot(z, z))).all()


@convex
def test_prox_is_firmly_nonexpansive(case: PenaltyCase, x64):
    """⟨x − y, v − u⟩ ≥ ‖x − y‖² for x = prox(v), y = prox(u)."""
    lam, step, v = draw(case, seed=4)
    u = v + np.random.default_rng(5).normal(size=v.shape) * (1 + np.abs(v))
    gap = case.batch("prox", lam, v, step) - case.batch("prox", lam, u, step)
    assert (dot(gap, v - u) - dot(gap, gap) >= -1e-14 * (dot(v, v) + dot(u, u))).all()


@dual
def test_moreau_identity_and_fenchel_young(case: PenaltyCase, x64):
    """b = (v − x)/step is in ∂g(x), and is the prox of g*/step at v/step: both judged by `conjugate`."""
    lam, step, v = draw(case, scales=MODERATE, wild=False, seed=6)
    rng = np.random.default_rng(7)
    x = case.batch("prox", lam, v, step)
    b = (v - x) / step[:, None]
    shrink = case.batch("shrink", lam, b)
    # Rounding may put b a hair outside of the conjugate's domain, never more.
    rounding = 1e-15 * np.abs(v).max(axis=1) / (step * lam)
    b *= np.where(shrink > 1 - 8 * rounding, shrink, 1)[:, None]
    u, z = rng.normal(size=v.shape) * lam[:, None], rng.normal(size=v.shape) * (1 + np.abs(v))
    u *= case.batch("shrink", lam, u)[:, None]
    g, g_dual = (lambda z: case.batch("value", lam, z)), (lambda u: case.batch("conjugate", lam, u))
    assert np.isfinite(g_dual(u)).all()

    size = 1 + dot(v, v) / step + dot(z, z)
    assert (g(z) + g_dual(u) - dot(z, u) >= -1e-13 * size).all()
    np.testing.assert_allclose((g(x) + g_dual(b) - dot(x, b)) / size, 0, atol=1e-13)

    def cost(w):
        gap = w - v / step[:, None]
        return 0.5 * step * dot(gap, gap) + g_dual(w)

    assert (cost(u) >= cost(b) - 1e-13 * size).all()
    assert (cost(0.9 * b) >= cost(b) - 1e-13 * size).all()


@members(lambda case: not case.dual)
def test_conjugate_that_is_not_known_is_nan(case: PenaltyCase, x64):
    """Not a number that would certify something."""
    lam, _, v = draw(case)
    assert np.isnan(case.batch("conjugate", lam, v)).all()
    assert (case.batch("shrink", lam, v) == 1).all()


@every
def test_residual_vanishes_at_a_prox_and_nowhere_else(case: PenaltyCase, x64):
    """A prox solves for the gradient (x − v)/step; around it the distance grows as fast as it must."""
    lam, step, v = draw(case, seed=8)
    x = case.batch("prox", lam, v, step)
    residual = case.batch("residual", lam, x, (x - v) / step[:, None])
    scale = np.maximum(np.abs(v), np.abs(x)).max(axis=1, keepdims=True) / step[:, None]
    np.testing.assert_allclose(residual / np.where(scale > 0, scale, 1), 0, atol=1e-14)

    shift = np.random.default_rng(9).normal(size=v.shape) * (1e-3 + np.abs(v))
    distance = case.batch("distance", lam, x + shift, (x + shift - v) / step[:, None])
    if case.convex:  # the prox's objective is strongly convex with modulus 1 / step
        assert (distance >= np.linalg.norm(shift, axis=1) / step * (1 - 1e-9)).all()
    else:
        assert (distance > 0).all()


@convex
def test_residual_is_the_smallest_element(case: PenaltyCase, x64):
    """−grads − residual is a subgradient, and the objective descends along the residual at its length."""
    lam, step, v = draw(case, scales=MODERATE, wild=False, seed=10)
    rng = np.random.default_rng(11)
    grads, one = rng.normal(size=v.shape) * lam[:, None], np.ones(DRAWS)
    x = case.batch("prox", lam, v, step)
    residual = case.batch("residual", lam, x, grads)
    value = case.batch("value", lam, x)
    z = rng.normal(size=(DRAWS, POINTS, case.size)) * rng.choice([0.01, 1.0, 30.0], size=(DRAWS, POINTS, 1))
    z = allowed(case, z)
    gain = values(case, lam, z) - value[:, None] - dot(z - x[:, None], (-grads - residual)[:, None])
    size = (np.linalg.norm(z, axis=2) + np.linalg.norm(x, axis=1, keepdims=True)) * np.abs(grads).max()
    assert (gain >= -1e-12 * (1 + value[:, None] + size)).all()

    length = np.linalg.norm(residual, axis=1)
    np.testing.assert_allclose(case.batch("distance", lam, x, grads), length, rtol=1e-12)
    if not case.strength:  # then it is where the projection of a small step along −grads begins to go
        h = 1e-7
        begins = (case.batch("prox", lam, x - h * grads, one) - case.batch("prox", lam, x, one)) / h
        size = np.linalg.norm(grads, axis=1, keepdims=True)
        np.testing.assert_allclose(begins / size, residual / size, atol=1e-5)
        return
    way = residual / np.where(length > 0, length, 1)[:, None]
    h = 1e-9 * (1 + np.abs(x).max(axis=1))  # norms of small groups are strongly curved
    slope = (case.batch("value", lam, x + h[:, None] * way) - value) / h + dot(grads, way)
    size = lam * (1 + np.abs(x).max(axis=1))
    # Close to a kink, but not on it, no difference quotient tells.
    apart = np.where(x == 0, np.inf, np.abs(x)).min(axis=1) > 3e-4 * (1 + np.abs(x).max(axis=1))
    assert apart.mean() > 0.5
    np.testing.assert_allclose((slope / size)[apart], (-length / size)[apart], atol=1e-5)


@every
def test_float32_agrees_with_float64(case: PenaltyCase, x64):
    lam, step, v = (numbers.astype(np.float32) for numbers in draw(case, scales=MODERATE, seed=14))
    grads = np.random.default_rng(15).normal(size=v.shape).astype(np.float32)
    v = 3 * grads[::-1] if case.spectral else v  # singular vectors of small values depend on everything
    calls = {"value": (lam, v), "prox": (lam, v, step), "residual": (lam, v, grads), "lam_max": (lam, grads)}
    calls |= {"shrink": (lam, v)} if case.dual and case.strength else {}
    for method, args in calls.items():
        single = case.batch(method, *args)
        double = case.batch(method, *(x.astype(np.float64) for x in args))
        assert single.dtype == np.float32
        assert double.dtype == np.float64
        own = np.maximum(np.abs(v), np.abs(double)) if method == "prox" else 0
        own = own if case.separable or method != "prox" else own.max(axis=1, keepdims=True)
        with np.errstate(invalid="ignore"):
            steep = np.abs(double) if method == "residual" and not case.convex else 0
            reach = np.abs(v).max(axis=1, keepdims=True) if case.pooled else np.abs(v)
            size = {"residual": np.abs(grads) + lam[:, None] * 5 * (1 + reach) + steep, "prox": own}
            size |= {} if case.free is None else {"lam_max": np.abs(grads).max(axis=1)}
            error = np.where(single == double, 0, np.abs(single - double))
            if method == "prox":
                error[jumps(case, *(x.astype(np.float64) for x in (lam, step, v)))] = 0
        assert (error <= 1e-6 * size.get(method, np.abs(double))).all(), method


@every
def test_one_compiled_program_serves_every_strength(case: PenaltyCase, x64):
    """A new λ does not retrace, and vmap over λ equals a loop over λ."""
    _, _, v = draw(case, scales=MODERATE, wild=False, seed=16)
    traces = []

    @jax.jit
    def everything(penalty):
        traces.append(penalty)
        x = penalty.prox(case.tree(v[0]), 0.5)
        grads = case.tree(v[1])
        return x, penalty.value(x), penalty.residual(case.tree(v[0]), grads), penalty.lam_max(grads)

    lams = np.array([0.0, 0.3, 7.0])
    loop = [everything(case.at(lam)) for lam in lams.tolist()]
    assert len(traces) == 1
    for lam in (*jnp.asarray(lams), np.float64(0.5)):
        everything.eval_shape(case.at(lam))
    assert len(traces) == 1 + case.strength  # numbers of JAX and NumPy have a firm dtype, those of Python do not

    point, grads = (np.tile(row, (len(lams), 1)) for row in v[:2])
    x = case.batch("prox", lams, point, np.full(len(lams), 0.5))
    residual, lam_max = case.batch("residual", lams, point, grads), case.batch("lam_max", lams, grads)
    batched = x, case.batch("value", lams, x), residual, lam_max
    for k, one in enumerate(loop):
        for leaf, tree in zip(batched, one, strict=True):
            flat = np.concatenate([np.ravel(part) for part in jax.tree.leaves(tree)])
            np.testing.assert_allclose(flat, np.ravel(leaf[k]), rtol=1e-13, atol=1e-14)


@pytest.mark.slow
@every
def test_compiled_as_eager(case: PenaltyCase, x64):
    """Most of its time goes into single operations."""
    _, _, v = draw(case, scales=MODERATE, wild=False, seed=16)
    v, penalty = case.tree(jnp.asarray(v[0])), case.at(0.3)

    def prox_and_value(penalty):
        x = penalty.prox(v, 0.5)
        return x, penalty.value(x)

    eager, compiled = prox_and_value(penalty), jax.jit(prox_and_value)(penalty)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-13, atol=1e-14), compiled, eager)


@every
def test_derivatives_are_finite_and_right_also_at_kinks(case: PenaltyCase, x64):
    """Each derivative lies between the two one-sided ones, at zeros and thresholds as elsewhere.

    Where several kinks of a coupled penalty meet, the prox's derivative may be that of yet another side: there it is
    only asked to be finite, and is compared at points nearby.
    """
    lam, step, v = draw(case, scales=MODERATE, wild=False, seed=17)
    rng = np.random.default_rng(18)
    if case.crossing:
        at_kinks = jax.tree.leaves(case.derivatives(lam, step, v))
        assert all(np.isfinite(leaf).all() for leaf in at_kinks)
        v = v + 0.1 * rng.normal(size=v.shape) * (np.abs(v) + (lam * step)[:, None])
    point = lam, step, v
    way = (
        lam * rng.normal(size=DRAWS),
        step * rng.normal(size=DRAWS),
        rng.normal(size=v.shape) * (0.1 + np.abs(v)),
    )

    def prox(lam, step, v):
        return case.batch("prox", lam, v, step)

    def value(lam, step, v):
        return case.batch("value", lam, v)

    (by_lam, by_step, by_v), (value_by_lam, value_by_v) = case.derivatives(*point)
    of_prox = by_lam * way[0][:, None] + by_step * way[1][:, None] + np.einsum("nij,nj->ni", by_v, way[2])
    of_value = value_by_lam * way[0] + dot(value_by_v, way[2])
    h = 1e-7
    ahead = [x + h * d for x, d in zip(point, way, strict=True)]
    behind = [x - h * d for x, d in zip(point, way, strict=True)]
    assert np.isfinite(of_value).all()
    for f, slope in ((prox, of_prox), (value, of_value))[: 1 if case.bounded else 2]:
        sides = (f(*ahead) - f(*point)) / h, (f(*point) - f(*behind)) / h
        slack = 1e-5 * (1 + np.abs(sides[0]) + np.abs(sides[1]))
        assert (slope >= np.minimum(*sides) - slack).all()
        assert (slope <= np.maximum(*sides) + slack).all()


@members(lambda case: case.strength)
def test_lam_max_is_where_zero_stops_being_stationary(case: PenaltyCase, x64):
    """Judged by the residual, and by the prox of a gradient step from zero."""
    grads = np.random.default_rng(19).normal(size=(DRAWS, case.size)) * np.logspace(-6, 6, DRAWS)[:, None]
    one, zero = np.ones(DRAWS), np.zeros_like(grads)
    penalized = seen(case, grads)
    lam_max = case.batch("lam_max", one, penalized)
    np.testing.assert_allclose(case.batch("lam_max", one, grads), lam_max, rtol=1e-13)
    np.testing.assert_allclose(case.batch("lam_max", 5 * one, grads), lam_max, rtol=1e-12)
    assert (case.batch("lam_max", one, zero) == 0).all()

    finite = np.isfinite(lam_max)
    above, below = np.where(finite, 1.001 * lam_max, 1.0), np.where(finite, 0.999 * lam_max, 1e9)
    at_zero = case.batch("residual", above, zero, penalized), case.batch("prox", above, -penalized, one)
    # Where a constant costs nothing, the prox is one, and zero only up to rounding.
    rounding = np.abs(grads).max(axis=1) * (0.0 if case.free is None else 1e-14)
    at_zero = [leaf for leaf, judge in zip(at_zero, ("residual", "prox"), strict=True) if judge in case.zero]
    assert all((np.abs(leaf).max(axis=1) <= rounding)[finite].all() for leaf in at_zero)
    needed = lam_max > 0 if case.bounded else np.full(DRAWS, True)  # a bound may hold zero by itself
    assert needed.mean() > 0.5
    if "residual" in case.zero:
        assert (case.batch("distance", below, zero, penalized) > rounding)[needed].all()
    if "prox" in case.zero:
        assert (np.abs(case.batch("prox", below, -penalized, one)).max(axis=1) > rounding)[needed].all()


@every
def test_at_sets_the_strength_and_nothing_else(case: PenaltyCase, x64):
    penalty = case.penalty
    before = jax.tree.leaves(penalty)
    for lam in (0.25, jnp.asarray(0.25)):
        moved = penalty.at(lam)
        assert moved.lam is (lam if case.strength else None)
        assert type(moved) is type(penalty)
        assert jax.tree.structure(moved) == jax.tree.structure(penalty)
        jax.tree.map(np.testing.assert_array_equal, moved, penalty.at(7.0).at(lam))
    assert all(a is b for a, b in zip(before, jax.tree.leaves(penalty), strict=True))
    jax.tree.map(np.testing.assert_array_equal, penalty.at(penalty.lam), penalty)


@dual
def test_shrink_makes_every_dual_feasible(case: PenaltyCase, x64):
    """Also in float32, for duals that are far outside."""
    lam, _, v = draw(case, scales=(1e-6, *MODERATE, 1e6), seed=20)
    for dtype in (np.float32, np.float64):
        dual, strength = v.astype(dtype), lam.astype(dtype)
        shrink = case.batch("shrink", strength, dual)
        assert ((shrink >= 0) & (shrink <= 1)).all()
        assert np.isfinite(case.batch("conjugate", strength, shrink[:, None] * dual)).all()
    assert (case.batch("shrink", lam, np.zeros_like(v)) == 1).all()
    bad = v.copy()
    bad[:, 0] = np.nan
    assert not (case.batch("conjugate", lam, bad) < np.inf).any()


@members(lambda case: isinstance(case.penalty, Norm))
def test_dual_norm_is_the_supremum_it_claims(case: PenaltyCase, x64):
    """No direction exceeds it, and the last entry to survive the prox attains it; λ does not enter."""
    rng = np.random.default_rng(21)
    lam = rng.choice(MODERATE, size=DRAWS)
    v = rng.normal(size=(DRAWS, case.size))
    u, b = seen(case, v), rng.normal(size=v.shape) * rng.choice([0.0, 1.0], size=v.shape)
    sup = case.batch("dual_norm", lam, u)
    assert (dot(u, b) <= sup * case.batch("value", lam, b) / lam * (1 + 1e-12)).all()
    best = case.batch("prox", (1 - 1e-6) * sup, u, np.ones(DRAWS))
    np.testing.assert_allclose(dot(u, best) * lam / case.batch("value", lam, best), sup, rtol=1e-10)
    np.testing.assert_allclose(case.batch("lam_max", lam, u), sup, rtol=1e-12)
    assert (np.isinf(case.batch("dual_norm", lam, v)) == (u != v).any(axis=1)).all()
    np.testing.assert_allclose(case.batch("value", lam, 3 * b), 3 * case.batch("value", lam, b), rtol=1e-12)
