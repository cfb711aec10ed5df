"""Constraints: projections against exact ones, extremes, what a tree means, tangent cones, solutions, refusals."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.isotonic import isotonic_regression

from jaxreg import (
    FISTA,
    Blocks,
    Box,
    Constraint,
    L1Ball,
    L2Ball,
    LInfBall,
    Masked,
    Monotone,
    NonNegative,
    Objective,
    Result,
    Simplex,
    Squared,
    solve,
)
from jaxreg.penalties._isotonic import isotonic
from tests.helpers_models import arrays, linear
from tests.problems import gaussian

SIZE = 7


def draws(n, size=SIZE, seed=0):
    """Ordinary numbers, ties, zeros, tiny and huge ones, alone and mixed."""
    rng = np.random.default_rng(seed)
    v = rng.normal(size=(n, size))
    kinds = [v, v, np.round(2 * v) / 2, 0 * v, 1e-9 * v, 1e9 * v, 1e9 + v]
    mixed = np.choose(rng.integers(0, len(kinds), size=(n, size)), kinds)
    alone = np.choose(rng.integers(0, len(kinds), size=(n, 1)), kinds)
    return np.where(rng.integers(0, 2, size=(n, 1)) == 0, mixed, alone)


def exact_simplex(v, radius):
    """By trying every number of positive entries, in extended precision, for numbers that are shifted exactly."""
    v = v.astype(np.longdouble)
    v = v - v.max(axis=1, keepdims=True)
    ordered = -np.sort(-v, axis=1)
    best, least = None, np.inf
    for k in range(1, v.shape[1] + 1):
        level = (ordered[:, :k].sum(axis=1, keepdims=True) - radius) / k
        x = np.maximum(v - level, 0)
        off = np.abs(x.sum(axis=1, keepdims=True) - radius)
        best = x if best is None else np.where(off < least, x, best)
        least = np.minimum(least, off)
    return best.astype(float)


def exact_l1(v, radius):
    surface = np.sign(v) * exact_simplex(np.abs(v), radius)
    return np.where(np.abs(v).sum(axis=1, keepdims=True) <= radius, v, surface)


def exact_l2(v, radius):
    length = np.sqrt((v.astype(np.longdouble) ** 2).sum(axis=1, keepdims=True))
    return np.where(length <= radius, v, v * (radius / np.maximum(length, 1e-300))).astype(float)


def exact_monotone(v, _):
    return np.stack([isotonic_regression(row) for row in v])


@pytest.mark.parametrize(
    ("penalty", "exact"),
    [
        (Simplex(1.5), exact_simplex),
        (L1Ball(1.5), exact_l1),
        (L2Ball(1.5), exact_l2),
        (Monotone(), exact_monotone),
        (LInfBall(1.5), lambda v, radius: np.clip(v, -radius, radius)),
        (NonNegative(), lambda v, _: np.maximum(v, 0)),
        (Box(-1.5, np.inf), lambda v, _: np.maximum(v, -1.5)),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Constraint) else "",
)
def test_projections_are_exact(penalty, exact, dtype):
    """Thousands of draws in either precision; the step does not matter."""
    v = draws(4000).astype(dtype)
    project = jax.jit(jax.vmap(lambda v, step: penalty.prox(v, step)))
    x = np.asarray(project(v, np.linspace(0, 5, 4000).astype(dtype)))
    expected = exact(v.astype(float), 1.5)
    assert x.dtype == dtype
    eps = float(jnp.finfo(dtype).eps)
    # A simplex lies far from its huge points, and is exact there all the same.
    size = np.abs(v).max(axis=1, keepdims=True) if isinstance(penalty, Monotone) else 1.5 + np.abs(expected)
    assert (np.abs(x - expected) <= 16 * eps * size).all()
    assert (jax.jit(jax.vmap(penalty.value))(x) == 0).all()
    tied = np.abs(v[:, :1] - v).max(axis=1) == 0
    assert (x[tied] == x[tied][:, :1]).all()


@pytest.mark.parametrize("penalty", [Simplex(1.0), L1Ball(1.0), L2Ball(1.0), LInfBall(1.0)], ids=repr)
def test_extreme_numbers_neither_overflow_nor_cancel(penalty):
    """What differs from `optax.projections`, which gives NaN, inf, [0, 0] or another point for these."""
    assert (penalty.at(0).prox(jnp.array([1e-30, 0.0]), 1.0) == penalty.prox(jnp.array([1e-30, 0.0]), 1.0)).all()
    for size in (3e38, 1e20, 1e-38):
        x = penalty.prox(size * jnp.array([1.0, 1.0]), 1.0)
        assert penalty.value(x) == 0
        if size > 1:
            np.testing.assert_allclose(x, np.full(2, max(x)), rtol=1e-6)
            assert max(x) >= 0.5
    none = type(penalty)(0.0)
    for v in ([0.0, 0.0], [1.0, -2.0], [3e38, 3e38]):
        np.testing.assert_array_equal(none.prox(jnp.array(v), 1.0), [0, 0])
    assert none.value(jnp.zeros(2)) == 0
    assert none.value(jnp.array([0.0, 1e-20])) == np.inf
    np.testing.assert_array_equal(none.residual(jnp.zeros(2), jnp.array([1.0, -2.0])), [0, 0])
    jacobian = jax.jit(jax.jacobian(lambda r, v: type(penalty)(r).prox(v, 1.0), argnums=(0, 1)))
    for v in ([0.0, 0.0], [1.0, -2.0], [1.0, 1.0], [0.0, 1.0]):
        assert all(jnp.isfinite(leaf).all() for leaf in jacobian(1.0, jnp.array(v)))


def test_close_huge_numbers_keep_their_difference():
    near = jnp.array([1e8, 1e8 - 8, 1e8 - 16])
    np.testing.assert_array_equal(Simplex(10.0).prox(near, 1.0), [9, 1, 0])
    np.testing.assert_array_equal(L1Ball(10.0).prox(-near, 1.0), [-9, -1, 0])


def test_long_vectors_meet_their_radius():
    v = np.random.default_rng(0).normal(size=100_000).astype(np.float32)
    for penalty in (Simplex(7.0), L1Ball(7.0), L2Ball(7.0)):
        for shifted in (v, 1e3 * v + 1e5):
            x = penalty.prox(jnp.asarray(shifted), 1.0)
            assert penalty.value(x) == 0
            norm = np.linalg.norm(np.asarray(x, float), 2 if isinstance(penalty, L2Ball) else 1)
            np.testing.assert_allclose(norm, 7.0, rtol=2e-6)
    low = jnp.linspace(0, 1, 300).astype(jnp.bfloat16)
    np.testing.assert_allclose(Simplex().prox(low, 1.0).astype(float).sum(), 1.0, rtol=4e-3)


# --- trees --------------------------------------------------------------------------------------------------

PARAMS = {"a": jnp.array([[3.0, -1.0], [2.0, 0.5]]), "b": jnp.array([-4.0, 0.25]), "n": 3, "fn": jnp.tanh}


def test_simplex_and_balls_take_all_leaves_as_one_vector():
    flat = jnp.concatenate([PARAMS["a"].ravel(), PARAMS["b"]])
    for penalty in (Simplex(2.0), L1Ball(2.0), L2Ball(2.0), LInfBall(2.0)):
        moved, alone = penalty.prox(PARAMS, 1.0), penalty.prox(flat, 1.0)
        np.testing.assert_array_equal(jnp.concatenate([moved["a"].ravel(), moved["b"]]), alone)
        assert moved["n"] == 3
        assert moved["fn"] is PARAMS["fn"]
        assert penalty.value(moved) == 0
        assert penalty.value(PARAMS) == np.inf
    for one, norm in (("a", 3.0), ("b", 4.0)):  # one ball for each leaf, or for some
        moved = Blocks({"a": L2Ball(1.0), "b": L2Ball(0.5)}).prox(PARAMS, 1.0)
        np.testing.assert_allclose(np.linalg.norm(moved[one]), {"a": 1.0, "b": 0.5}[one], rtol=1e-6)
        moved = Masked(LInfBall(norm - 1), include=one).prox(PARAMS, 1.0)
        np.testing.assert_allclose(np.abs(moved[one]).max(), norm - 1, rtol=1e-6)
    mixed = {"half": jnp.array([3.0, 4.0], jnp.bfloat16), "single": jnp.array([12.0])}
    moved = L2Ball(6.5).prox(mixed, 1.0)
    assert moved["half"].dtype == jnp.bfloat16
    np.testing.assert_array_equal(moved["half"], [1.5, 2.0])
    assert L2Ball(1.0).value({"n": 1}) == 0


def test_monotone_orders_every_row_by_itself():
    rows = np.random.default_rng(1).normal(size=(3, 4, 5))
    x = np.asarray(Monotone().prox({"w": jnp.asarray(rows, jnp.float32)}, 1.0)["w"])
    for row, out in zip(rows.reshape(-1, 5), x.reshape(-1, 5), strict=True):
        np.testing.assert_allclose(out, isotonic_regression(row), rtol=1e-5, atol=1e-6)
    down = np.asarray(Monotone(increasing=False).prox(jnp.asarray(rows, jnp.float32), 1.0))
    for row, out in zip(rows.reshape(-1, 5), down.reshape(-1, 5), strict=True):
        np.testing.assert_allclose(out, isotonic_regression(row, increasing=False), rtol=1e-5, atol=1e-6)
    assert Monotone(increasing=False).value(down) == 0
    assert Monotone().value(jnp.asarray(2.0)) == 0
    assert Monotone().prox(jnp.asarray(2.0), 1.0) == 2
    assert Monotone().prox(jnp.zeros((0,)), 1.0).shape == (0,)


@pytest.mark.parametrize("kind", ["noise", "trend", "falling", "last is lowest"])
def test_isotonic_regression_of_long_vectors(kind, x64):
    rng = np.random.default_rng(2)
    v = {"noise": rng.normal(size=500), "falling": -np.sort(rng.normal(size=500))}.get(kind)
    v = np.linspace(0, 5, 500) + rng.normal(size=500) if v is None else v
    v = np.append(np.sort(v)[1:], -1e3) if kind == "last is lowest" else v
    np.testing.assert_allclose(jax.jit(isotonic)(v), isotonic_regression(v), atol=1e-12)
    seen = rng.integers(0, 2, size=499) == 1
    apart = np.split(v, 1 + np.flatnonzero(~seen))
    np.testing.assert_allclose(
        jax.jit(isotonic)(v, seen), np.concatenate([isotonic_regression(part) for part in apart]), atol=1e-12
    )


def test_projections_are_in_order_to_the_last_bit_and_stay_as_they_are(dtype):
    rng = np.random.default_rng(3)
    walks = np.cumsum(rng.normal(size=(30, 300)), axis=1).astype(dtype) * np.logspace(-3, 3, 30)[:, None].astype(dtype)
    project = jax.jit(lambda v: Monotone().prox(v, 1.0))
    once = project(walks)
    assert Monotone().value(once) == 0
    assert np.asarray(project(once)).tobytes() == np.asarray(once).tobytes()


def test_isotonic_regression_differentiates_into_means():
    jacobian = jax.jit(jax.jacrev(isotonic))(jnp.array([1.0, 3.0, 2.0, 2.0, 5.0]))
    expected = np.eye(5)
    expected[1:4, 1:4] = 1 / 3
    np.testing.assert_allclose(jacobian, expected, rtol=1e-6)
    np.testing.assert_allclose(jax.jit(jax.jacfwd(isotonic))(jnp.array([1.0, 3.0, 2.0, 2.0, 5.0])), expected, rtol=1e-6)


# --- bounds -------------------------------------------------------------------------------------------------


def test_bounds_may_be_numbers_arrays_and_trees():
    box = Box({"a": -1.0, "b": np.array([0.0, -np.inf])}, 1.0)
    params = {"a": jnp.array([[3.0, -2.0]]), "b": jnp.array([-4.0, -4.0])}
    moved = box.prox(params, 1.0)
    np.testing.assert_array_equal(moved["a"], [[1, -1]])
    np.testing.assert_array_equal(moved["b"], [0, -4])
    np.testing.assert_array_equal(box.residual(moved, params)["a"], [[-3, 2]])
    np.testing.assert_array_equal(box.residual(moved, jax.tree.map(jnp.negative, params))["a"], [[0, 0]])
    assert Box().value(params) == 0
    assert Box([0.0, -5.0], 9.0).value(params["b"]) == np.inf
    # A bound is rounded to the precision of the parameters, in which it can be met.
    low = Box(0.1, 0.1).prox(jnp.zeros(2, jnp.bfloat16), 1.0)
    assert Box(0.1, 0.1).value(low) == 0
    slope = jax.grad(lambda upper: Box(0.0, upper).prox(jnp.array([3.0, 0.5]), 1.0).sum())(1.0)
    assert slope == 1


def test_bounds_that_leave_zero_out(x64):
    box = Box(np.array([0.5, -2.0]), np.array([1.0, -1.0]))
    assert box.lam_max(np.ones(2)) == np.inf
    np.testing.assert_allclose(box.conjugate(np.array([2.0, 2.0])), 2.0 - 2.0)
    np.testing.assert_array_equal(box.residual(np.array([0.5, -1.0]), np.array([1.0, -1.0])), [0, 0])
    np.testing.assert_array_equal(box.residual(np.array([0.5, -1.0]), np.array([-1.0, 1.0])), [1, -1])


@pytest.mark.parametrize(
    ("make", "error", "match"),
    [
        (lambda: Box(1.0, 0.0), ValueError, "lower must be at most upper, got 1 and 0"),
        (lambda: Box(np.nan, 0.0), ValueError, "lower must be a number, or infinite, got nan"),
        (lambda: Box(0.0, [1.0, -1.0]).value(jnp.ones(2)), ValueError, "lower must be at most upper, got 0 and -1"),
        (lambda: Box(0.0, {"a": -1.0}).value({"a": jnp.ones(2)}), ValueError, "lower must be at most upper"),
        (lambda: Box("0"), TypeError, "lower must be a real number"),
        (lambda: Box(np.zeros(3)).value(jnp.ones(2)), ValueError, r"lower of shape \(3,\) does not fit"),
        (lambda: Box(0.0, {"b": 1.0}).prox({"a": jnp.ones(2)}, 1.0), ValueError, "upper is a tree that does not fit"),
        (lambda: Simplex(-1.0), ValueError, "radius must be finite and at least 0, got -1"),
        (lambda: L1Ball(np.inf), ValueError, "radius must be"),
        (lambda: L2Ball("1"), TypeError, "radius must be a real number"),
    ],
)
def test_constraints_that_make_no_sense_are_refused(make, error, match):
    with pytest.raises(error, match=match):
        make()


# --- solutions ----------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    ("penalty", "start"),
    [(Simplex(1.0), 0.0), (L1Ball(0.5), 3.0), (L2Ball(0.5), 3.0), (Monotone(), 0.0), (Box(-0.1, 0.2), 5.0)],
    ids=lambda value: type(value).__name__ if isinstance(value, Constraint) else "",
)
def test_solutions_minimize_over_the_set(penalty, start, x64):
    """From a start outside of the set; no feasible direction descends, as the support function knows it."""
    X, y = arrays(gaussian(40, 6, 0.5), np.float64)
    objective = Objective(Squared(), penalty, linear)
    found = solve(objective, jnp.full(6, start), (X, y), solver=FISTA(1e-10))
    assert found.result == Result.CONVERGED
    x, grads = found.params, X.T @ (X @ found.params - y) / 40
    assert penalty.value(x) == 0
    others = jax.vmap(lambda v: penalty.prox(v, 1.0))(np.random.default_rng(3).normal(size=(300, 6)))
    assert (others @ grads >= x @ grads - 1e-8).all()
    if not isinstance(penalty, Monotone):
        np.testing.assert_allclose(penalty.conjugate(-grads), -x @ grads, atol=1e-8)
    if start == 0.0 and isinstance(penalty, Simplex):
        assert objective.stationarity(jnp.zeros(6), (X, y)) == np.inf
