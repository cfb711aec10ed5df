"""The k-support norm against its definition, an interior-point solver's optimum, and both doors."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxreg as jr

LAMS = (0.5, 0.05)
REFERENCE = (1.314465533252782, 0.336106513519395)


def problem():
    rng = np.random.default_rng(7)
    X = rng.normal(size=(40, 12)) + rng.normal(size=(40, 1))
    return X, X[:, :3] @ np.array([2.0, -1.5, 1.0]) + rng.normal(size=40)


def by_definition(b, k):
    """The norm's square by the formula of Argyriou, Foygel & Srebro (2012), proposition 2.1: a search for r."""
    size = np.append(np.inf, np.sort(np.abs(b))[::-1])
    for r in range(k):
        tail = size[k - r :].sum()
        if size[k - r - 1] > tail / (r + 1) >= size[k - r]:
            return (size[1 : k - r] ** 2).sum() + tail**2 / (r + 1)
    raise AssertionError("no r")


def test_value_is_the_published_formula_and_its_ends_are_l1_and_l2(x64):
    rng = np.random.default_rng(0)
    draws = rng.normal(size=(300, 7)) * rng.choice([0.0, 1.0, 30.0], size=(300, 7))
    draws[::5] = np.round(draws[::5])  # ties
    value = jax.jit(jax.vmap(lambda k, b: jr.KSupport(2.0, k=k).value(b), in_axes=(None, 0)))
    for k in range(1, 8):
        np.testing.assert_allclose(value(k, draws), [by_definition(b, k) for b in draws], rtol=1e-13)
    np.testing.assert_allclose(value(1, draws), np.abs(draws).sum(axis=1) ** 2, rtol=1e-13)
    np.testing.assert_allclose(value(7, draws), (draws**2).sum(axis=1), rtol=1e-13)
    np.testing.assert_allclose(value(9.5, draws), (draws**2).sum(axis=1), rtol=1e-13)


def test_conjugate_is_the_largest_of_all_supports(x64):
    v = np.random.default_rng(1).normal(size=6)
    supports = [sum(v[list(c)] ** 2) for c in itertools.combinations(range(6), 3)]
    np.testing.assert_allclose(jr.KSupport(0.5, k=3).conjugate(v), max(supports), rtol=1e-14)
    between = 0.5 * (np.sort(v**2)[-2:].sum() + np.sort(v**2)[-3:].sum())
    np.testing.assert_allclose(jr.KSupport(0.5, k=2.5).conjugate(v), between, rtol=1e-14)
    assert jr.KSupport(0.0, k=3).conjugate(v) == np.inf
    assert jr.KSupport(0.0, k=3).shrink(v) == 0


@pytest.mark.parametrize("size", [1, 50, 3000])
def test_prox_of_many_entries_is_stationary_also_with_ties(dtype, size):
    """The residual knows nothing of how the prox is found; ε-sized, in both precisions, for any t."""
    rng = np.random.default_rng(size)
    v = np.where(rng.uniform(size=size) < 0.5, rng.normal(size=size), rng.integers(-3, 4, size=size)).astype(dtype)

    @jax.jit
    def largest(lam, k, v):
        penalty = jr.KSupport(lam, k=k)
        x = penalty.prox(v, 1.0)
        return jnp.max(jnp.abs(penalty.residual(x, x - v))), jnp.sum(x != 0)

    for lam, k in itertools.product((1e-4, 0.3, 10.0, 1e4), (1, 2, 20)):
        worst, kept = largest(lam, k, v)
        assert worst <= 300 * jnp.finfo(dtype).eps
        assert kept >= min(k, np.count_nonzero(v))


def test_few_entries_survive_a_strong_penalty(x64):
    """What sets it apart from ridge: zeros, and about k entries kept."""
    v = jnp.asarray(np.random.default_rng(2).normal(size=200))
    kept = [int(jnp.sum(jr.KSupport(lam, k=10).prox(v, 1.0) != 0)) for lam in (0.0, 1.0, 10.0, 1e3)]
    assert kept[0] == 200
    assert kept == sorted(kept, reverse=True)
    assert 10 <= kept[-1] <= 12


@pytest.mark.slow
def test_path_reaches_an_interior_point_optimum():
    """References: tests/references/make_k_support.py."""
    X, y = problem()
    path = jr.fit_path(X, y, penalty=jr.KSupport(k=3), lams=LAMS, standardize=False, tol=1e-9)
    assert (path.gap <= 1e-9).all()
    centred, target = X - X.mean(axis=0), y - y.mean()
    for lam, coef, known in zip(path.lams, path.coef, REFERENCE, strict=True):
        value = 0.5 * np.mean((target - centred @ coef) ** 2) + lam / 2 * by_definition(coef, 3)
        np.testing.assert_allclose(value, known, rtol=1e-8)
    assert (path.coef[0] == 0).sum() == 9


@pytest.mark.slow
def test_default_grid_and_sums_work():
    X, y = problem()
    path = jr.fit_path(X, y, penalty=jr.KSupport(k=3), lams=5)
    assert (path.gap <= 1e-6).all()
    both = jr.KSupport(1.0, k=2) + jr.L1(0.5) + jr.NonNegative()
    np.testing.assert_allclose(
        both.prox(jnp.array([-3.0, 1.0, 4.5]), 1.0), jr.KSupport(1.0, k=2).prox(jnp.array([0.0, 0.5, 4.0]), 1.0)
    )


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({}, TypeError, "k is needed"),
        ({"k": 0.5}, ValueError, "k must be .* at least 1, got 0.5"),
        ({"k": np.nan}, ValueError, "k must be"),
        ({"k": "two"}, TypeError, "k must be a real number"),
        ({"k": 2, "lam": -1.0}, ValueError, "lam must be"),
    ],
)
def test_bad_arguments_are_refused(arguments, error, words):
    with pytest.raises(error, match=words):
        jr.KSupport(**arguments)
