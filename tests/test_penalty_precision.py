"""Laws of single penalties that take programs of their own: every floating-point type, and the whole line."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.catalogue import PenaltyCase
from tests.penalty_points import DRAWS, MODERATE, draw, every, jumps, members

pytestmark = pytest.mark.slow

# Parameters of every floating-point type, with strengths and steps of the same or another.
PRECISIONS = (
    (jnp.float32, np.float32),
    (jnp.float64, np.float32),
    (jnp.bfloat16, np.float32),
    (jnp.float16, np.float64),
)


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
