"""Lassos followed from breakpoint to breakpoint: exact, from any start, and no worse than the certificate says."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxreg as jr
from jaxreg.linear.active import breakpoints, lanes, march
from jaxreg.linear.active.breakpoints import follow
from jaxreg.linear.active.tableau import Tableau
from tests.problems import gaussian

solve = jax.jit(follow)
many = jax.jit(jax.vmap(follow))
LAMS = np.geomspace(1, 1e-4, 40)


def quadratics(rng, n=12, d=30, count=24):
    """Grams of fewer rows than columns, half of them of more; a duplicate; an entry without a kink; one held at 0."""
    rows = rng.standard_normal((count, 4 * n, d)) + 3 * rng.standard_normal((count, 4 * n, 1))
    rows[: count // 2, n:] = 0
    rows[:, :, 7] = rows[:, :, 3]
    gram = np.einsum("bni,bnj->bij", rows, rows) / n
    linear = np.einsum("bni,bn->bi", rows, rng.standard_normal((count, 4 * n))) / n
    factor = np.ones((count, d)) * rng.choice([1.0, 0.5], (count, 1))
    factor[:, 5] = 0
    free = np.ones((count, d), bool)
    free[:, 9] = False
    top = np.abs(np.where(free, linear, 0)).max(axis=1, keepdims=True)
    return gram, linear, free, 1.1 * top * LAMS / factor[:, :1], factor


def violation(gram, linear, free, l1, factor, b):
    kink = l1[..., None] * factor[:, None]
    g = np.einsum("bij,blj->bli", gram, b) - linear[:, None]
    each = np.where(b == 0, np.maximum(np.abs(g) - kink, 0), np.abs(g + kink * np.sign(b)))
    return np.where(free[:, None], each, 0).max(axis=2) / np.abs(linear).max(axis=1, keepdims=True)


def test_exact_on_singular_grams(x64):
    problem = quadratics(np.random.default_rng(0))
    count, d = problem[1].shape
    empty = jax.vmap(lambda _: Tableau.empty(d))(np.arange(count))
    found, _ = many(*problem, np.zeros((count, d)), problem[3][:, 0], empty)
    b = np.asarray(found.b)
    assert violation(*problem, b).max() < 1e-9
    assert (b[:, :, 9] == 0).all()
    assert np.count_nonzero(b, axis=2).max() > 10
    # A λ costs nothing by itself: as many steps as breakpoints, wherever the λ are.
    short, _ = many(*problem[:3], problem[3][:, [0, -1]], problem[4], np.zeros((count, d)), problem[3][:, 0], empty)
    np.testing.assert_array_equal(np.sum(short.steps, axis=1), np.sum(found.steps, axis=1))


@pytest.mark.parametrize("right", [True, False])
def test_goes_on_from_a_solution_and_begins_anew_from_anything_else(x64, right):
    gram, linear, free, l1, factor = (part[-1] for part in quadratics(np.random.default_rng(1)))
    whole, _ = solve(gram, linear, free, l1, factor, np.zeros(30), l1[0], Tableau.empty(30))
    half, tableau = solve(gram, linear, free, l1[:20], factor, np.zeros(30), l1[0], Tableau.empty(30))
    start = half.b[-1] if right else np.ones(30)
    rest, _ = solve(gram, linear, free, l1[20:], factor, start, l1[19], tableau)
    np.testing.assert_allclose(rest.b, whole.b[20:], atol=1e-9 * np.abs(whole.b).max())
    before, after = np.sum(half.steps), np.sum(rest.steps)
    assert after == np.sum(whole.steps) - (before if right else 0)


@pytest.mark.parametrize("shape", [(60, 20), (40, 300)])
def test_at_the_largest_strength_all_is_zero(shape):
    X, y = gaussian(*shape, 0.5)
    assert not jr.fit_path(X, y, lams=20).coef[0].any()


def test_a_strength_at_a_breakpoint(x64):
    """There an entry is zero, not what rounding makes of zero: of three orthogonal columns at the λ where each enters."""
    linear = jnp.array([3.0, -2.0, 1.0, 0.3]) / 3
    l1 = jnp.array([1.0, 2 / 3, 1 / 3, 0.1, 0.05])
    found, _ = solve(jnp.eye(4) / 7, linear, jnp.ones(4, bool), l1, jnp.ones(4), jnp.zeros(4), l1[0], Tableau.empty(4))
    np.testing.assert_array_equal(np.count_nonzero(found.b, axis=1), [0, 1, 2, 3, 4])
    soft = jnp.sign(linear) * jnp.maximum(jnp.abs(linear) - l1[:, None], 0)
    np.testing.assert_allclose(found.b, 7 * soft, atol=1e-14)


def test_steps_of_the_diabetes_data(x64):
    """Efron et al. (2004), section 3: ten columns enter, one leaves and comes back, 12 steps in all."""
    X, y, _ = jr.datasets.load_diabetes()
    path = jr.fit_path(X, y, lams=100, lam_min_ratio=1e-5)
    assert path.stats["steps"].sum() == 12
    assert path.gap.max() < 1e-12


@pytest.mark.parametrize("shape", [(60, 20), (40, 300)])
def test_who_strays_is_solved_step_by_step(monkeypatch, shape):
    X, y = gaussian(*shape, 0.5)
    right = jr.fit_path(X, y, tol=1e-10)

    right_way = lanes._follow_anew

    def wrong(*args):
        found = right_way(*args)
        return found._replace(b=1.01 * found.b)

    monkeypatch.setattr(lanes, "_follow_anew", wrong)
    found = jr.fit_path(X, y, tol=1e-10)
    assert found.gap.max() <= 1e-10
    np.testing.assert_allclose(found.coef, right.coef, atol=1e-6 * np.abs(right.coef).max())
    assert found.stats["steps"].sum() > right.stats["steps"].sum()


def test_a_path_given_up_is_solved_step_by_step(monkeypatch):
    """Breakpoints may be many more than columns; here each is one too many."""
    X, y = gaussian(70, 21, 0.5)
    monkeypatch.setattr(breakpoints, "OFTEN", 0)
    assert jr.fit_path(X, y).gap.max() <= 1e-6


@pytest.mark.parametrize("shape", [(80, 30), (50, 400)])
def test_penalty_factors_and_unpenalized_columns(shape):
    X, y = gaussian(*shape, 0.5)
    weight = np.random.default_rng(0).uniform(0.5, 2, shape[1])
    weight[[2, 5]] = 0
    path = jr.fit_path(X, y, penalty=jr.L1(weight=weight))
    assert path.gap.max() <= 1e-10
    assert (path.coef[:, [2, 5]] != 0).all()


def test_wide_lanes_alone_go_step_by_step_in_company(monkeypatch):
    """What a lane follows when it has all cores it does not where many share them; the answers are the same."""
    monkeypatch.setattr(march, "FOLLOWED", 32)
    monkeypatch.setattr(march, "ALL_COLUMNS", 32)
    X, y = gaussian(120, 60, 0.5)
    path = jr.fit_path(X, y, tol=1e-9)
    folds = jr.cross_validate(X, y, lams=path.lams, folds=3, tol=1e-9)
    np.testing.assert_allclose(folds.path.coef, path.coef, atol=1e-5 * np.abs(path.coef).max())
    assert path.stats["steps"].sum() < folds.path.stats["steps"].sum()
