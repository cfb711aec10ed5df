"""Laws that every penalty of the catalogue obeys, judged by what does not know its formulas."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxreg import Norm
from tests.catalogue import PENALTIES, ROWS, PenaltyCase


def members(claim=lambda case: True):
    return pytest.mark.parametrize("case", [c for c in PENALTIES if claim(c)], ids=lambda case: case.name)


every = members()
convex = members(lambda case: case.convex)
dual = members(lambda case: case.dual)

DRAWS, POINTS = ROWS, 24
# Parameters of every floating-point type, with strengths and steps of the same or another.
PRECISIONS = (
    (jnp.float32, np.float32),
    (jnp.float64, np.float32),
    (jnp.bfloat16, np.float32),
    (jnp.float16, np.float64),
)
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


@members(lambda case: case.separable)
def test_prox_of_single_entries_agrees_with_a_global_search(case: PenaltyCase, x64):
    """Grid search over the whole line, then golden section; the prox's own answer is not looked at."""
    lam, step, v = (numbers[: DRAWS // 4] for numbers in draw(case, seed=2))
    line = np.logspace(-14, 14, 100)
    near = np.logspace(-6, -2, 30)
    units = np.concatenate([np.linspace(-1.5, 1.5, 101), near, -near])
    golden = (np.sqrt(5) - 1) / 2

    @jax.jit
    @jax.vmap
    @jax.vmap
    def search(lam, step, j, vj, prox):
        def cost(t):
            return 0.5 * t * t - t * vj + step * case.call("value", lam, jnp.zeros(case.size).at[j].set(t))

        def lifted(t):  # what is not allowed leads back to the grid's best
            return jnp.where(jnp.isfinite(cost(t)), cost(t), 1e200 * jnp.abs(t - grid[k]))

        def narrow(_, ends):
            a, b = ends
            left, right = b - golden * (b - a), a + golden * (b - a)
            lower = lifted(left) < lifted(right)
            return jnp.where(lower, a, left), jnp.where(lower, right, b)

        grid = jnp.sort(jnp.concatenate([line, -line, jnp.abs(vj) * units]))
        k = jnp.argmin(jax.vmap(cost)(grid))
        ends = grid[jnp.maximum(k - 1, 0)], grid[jnp.minimum(k + 1, grid.size - 1)]
        low, high = jax.lax.fori_loop(0, 55, narrow, ends)
        found = jnp.stack([grid[k], low, (low + high) / 2, high])
        costs = jax.vmap(cost)(found)
        return found[jnp.argmin(costs)], jnp.min(costs), cost(prox)

    prox = case.batch("prox", lam, v, step)
    over = [np.broadcast_to(numbers, v.shape) for numbers in (lam[:, None], step[:, None], np.arange(case.size))]
    best, best_cost, prox_cost = map(np.asarray, search(*over, v, prox))
    assert (prox_cost <= best_cost + 1e-13 * v**2).all()
    if case.convex:
        # The cost is strongly convex, so that the search is right to half of the working digits.
        assert ((prox - best) ** 2 <= 1e-13 * np.abs(v) * np.maximum(np.abs(prox), np.abs(best))).all()


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


@members(lambda case: not case.bounded)
def test_strength_zero_is_the_identity_bit_for_bit(case: PenaltyCase, x64):
    rng = np.random.default_rng(12)
    x = rng.uniform(-1.0, 1.0, size=(DRAWS, case.size))
    x[:, ::3] = rng.choice([0.0, -0.0], size=x[:, ::3].shape)
    for dtype, numbers in PRECISIONS:
        span = 0.9 * np.log10(float(jnp.finfo(dtype).max))
        v = (x * np.logspace(-span, span, DRAWS)[:, None]).astype(dtype)
        zero, one = np.zeros(DRAWS, numbers), np.ones(DRAWS, numbers)
        assert case.batch("prox", zero, v, one).tobytes() == v.tobytes()
        assert case.batch("prox", one, v, zero).tobytes() == v.tobytes()
        assert (case.batch("value", zero, v[:, :1] * np.zeros_like(x, dtype)) == 0).all()


@pytest.mark.slow
@members(lambda case: case.bounded)
def test_what_is_allowed_stays_where_it_is_if_nothing_else_pulls(case: PenaltyCase, x64):
    """To rounding, in every precision; elsewhere the value is infinite, and the residual too."""
    rng = np.random.default_rng(12)
    for dtype, numbers in PRECISIONS:
        # A penalty may overflow where a constraint does not.
        span = 3.0 if case.strength else 0.9 * np.log10(float(jnp.finfo(dtype).max))
        v = (rng.uniform(-1.0, 1.0, size=(DRAWS, case.size)) * np.logspace(-span, span, DRAWS)[:, None]).astype(dtype)
        zero, one = np.zeros(DRAWS, numbers), np.ones(DRAWS, numbers)
        x = case.batch("prox", zero, v, one)
        before, after = x.astype(float), case.batch("prox", zero, x, one).astype(float)
        size = np.abs(before) if case.separable else np.abs(before).max(axis=1, keepdims=True)
        rounding = 8 * float(jnp.finfo(dtype).eps) * size
        assert (np.abs(after - before) <= rounding).all()
        assert (case.batch("value", zero, x) == 0).all()
        moved = (np.abs(v.astype(float) - before) > 4 * rounding).any(axis=1)
        assert moved.mean() > 0.3
        assert (case.batch("value", zero, v)[moved] == np.inf).all()
        assert np.isinf(case.batch("residual", zero, v, v)[moved]).any(axis=1).all()
        assert np.isnan(case.batch("prox", zero, np.full_like(v, np.nan), one).astype(float)).all()


def jumps(case, lam, step, v):
    """Entries at which the prox of a penalty that is not convex jumps, so that rounding decides."""
    if case.convex:
        return np.zeros(v.shape, bool)
    before, after = (case.batch("prox", lam, v * scale, step) for scale in (1 - 1e-6, 1 + 1e-6))
    return np.abs(after - before) > 1e-3 * np.abs(v)


@every
def test_parameters_keep_their_dtype_and_half_precision_is_rounded_once(case: PenaltyCase, x64):
    """Also when λ and the step are of another type; values come in at least float32, and do not overflow."""
    lam, step, v = draw(case, scales=MODERATE, wild=False, seed=13)
    for dtype, numbers in PRECISIONS:
        low, wide = v.astype(dtype), np.promote_types(dtype, np.float32)
        x, exact = case.batch("prox", lam.astype(numbers), low, step.astype(numbers)), low.astype(np.float64)
        value, exact_value = case.batch("value", lam.astype(numbers), low), case.batch("value", lam, exact)
        exact = case.batch("prox", lam, exact, step)
        assert x.dtype == dtype
        assert value.dtype == wide
        info = jnp.finfo(dtype)
        one_rounding = 0.5 * float(info.eps) * np.abs(exact) + float(info.smallest_subnormal)
        own = np.maximum(np.abs(v), np.abs(exact))
        own = own if case.separable else own.max(axis=1, keepdims=True)
        work = 8 * np.finfo(np.float32).eps * (own + 2 * (lam * step)[:, None])
        error = np.abs(x.astype(np.float64) - exact)
        error[jumps(case, lam, step, low.astype(np.float64))] = 0
        assert (error <= one_rounding + work).all()
        if case.strength:  # what is allowed depends on the precision
            np.testing.assert_allclose(value, exact_value, rtol=1e-6)


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
