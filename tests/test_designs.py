"""Laws of every kind of design, against plain NumPy on the same matrix."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxreg.linear import Design, as_design, make_views
from tests.catalogue import DESIGNS

N, P = 40, 25
EMPTY, FULL, CONSTANT, LONELY, ALMOST, FAR = range(6)


def awkward():
    """Mostly zeros, with columns that go wrong easily."""
    rng = np.random.default_rng(0)
    X = np.where(rng.uniform(size=(N, P)) < 0.2, rng.normal(size=(N, P)), 0)
    X[:, EMPTY] = 0
    X[:, FULL] = 1000 + rng.normal(size=N)
    X[:, CONSTANT] = 0.3
    X[:, LONELY] = np.arange(N) == 7
    X[:, ALMOST] = np.where(np.arange(N) % 4 == 0, rng.normal(size=N), 0.7)  # constant without fold 0
    X[:, FAR] = np.where(np.arange(N) % 4 == 1, 1e9, rng.normal(size=N))  # tame without fold 1
    return X


def weights():
    """All rows, four sets that leave a fold out, and an uneven one; rows sum to 1."""
    folds = np.arange(N) % 4
    sets = [np.ones(N), *(folds != k for k in range(4)), np.random.default_rng(1).exponential(size=N)]
    return np.stack([w / np.sum(w) for w in sets])


@pytest.fixture(params=DESIGNS, ids=lambda case: case.name)
def pair(request, x64):
    """A design, and its matrix as NumPy sees it."""
    design = as_design(request.param.give(awkward()))
    assert type(design) is request.param.kind
    assert {leaf.dtype for leaf in jax.tree.leaves(design)} <= {np.dtype(request.param.stored), np.dtype(np.int32)}
    return design, awkward().astype(request.param.stored).astype(np.float64)


@functools.partial(jax.jit, static_argnums=0)
def ask(method, design, *arguments):
    return getattr(design, method)(*arguments)


def close(found, expected, scale=1.0):
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-13 * scale)


def test_shape(pair):
    design, X = pair
    assert isinstance(design, Design)
    assert design.shape == X.shape


def test_moments(pair):
    design, X = pair
    w = weights()
    response = 1e3 + np.random.default_rng(5).normal(size=N)
    mean, variance, along = ask("moments", design, w, response)
    expected = w @ X
    spread = np.stack([one @ (X - m) ** 2 for one, m in zip(w, expected, strict=True)])
    close(mean, expected, scale=np.abs(X).max())
    centered = [(w[f] * (response - w[f] @ response)) @ (X - expected[f]) for f in range(len(w))]
    np.testing.assert_allclose(along, centered, atol=1e-12 * np.abs(X).max())
    np.testing.assert_allclose(variance, spread, rtol=1e-9, atol=1e-15)
    # Constant under a set's weights is exactly constant; anything else is not.
    np.testing.assert_array_equal(np.asarray(variance) > 0, [[np.ptp(x[one > 0]) > 0 for x in X.T] for one in w])
    assert variance[1, ALMOST] == 0
    assert variance[2, FAR] < 10


def test_a_response_that_is_far_off_where_it_has_no_weight(pair):
    design, X = pair
    w = weights()
    f, row = np.argwhere(w == 0)[0]
    response = np.random.default_rng(6).normal(size=N)
    truth = (w[f] * (response - w[f] @ response)) @ X
    response[row] = 1e12
    np.testing.assert_allclose(ask("moments", design, w, response)[2][f], truth, atol=1e-12 * np.abs(X).max())


def test_views_of_a_column_that_is_constant_in_one_training_set(pair):
    design, _ = pair
    views, _ = make_views(design, weights(), True, True)
    np.testing.assert_array_equal(views.varies[:, ALMOST], [True, False, True, True, True, True])
    assert views.scale[1, ALMOST] == 1


def test_gather_and_apply(pair):
    design, X = pair
    rng = np.random.default_rng(2)
    columns = np.array([FULL, 9, 0, 24, 9, EMPTY, 0])
    center, coef = rng.normal(size=7), rng.normal(size=(3, 7))
    close(ask("gather", design, columns, center), X[:, columns] - center)
    close(ask("apply", design, columns, coef), coef @ X[:, columns].T, scale=1e4)
    none = np.zeros(0, dtype=int)
    assert ask("gather", design, none, np.zeros(0)).shape == (N, 0)
    np.testing.assert_array_equal(ask("apply", design, none, np.zeros((3, 0))), np.zeros((3, N)))


@pytest.mark.parametrize("many", [1, 33])
def test_correlate(pair, many):
    design, X = pair
    rows = np.random.default_rng(3).normal(size=(many, N))
    np.testing.assert_allclose(
        ask("correlate", design, rows), rows @ X, rtol=1e-12, atol=1e-14 * N * np.abs(X).max(axis=0).max()
    )


def test_kernel(pair):
    design, X = pair
    factor = np.random.default_rng(4).uniform(size=P) * (np.arange(P) != FAR)
    center = X.mean(axis=0)
    close(ask("kernel", design, center, factor), ((X - center) * factor) @ (X - center).T, scale=1e3)


def test_a_design_is_a_pytree(pair):
    design, X = pair
    leaves, structure = jax.tree.flatten(design)
    again = jax.tree.unflatten(structure, [jnp.asarray(leaf) for leaf in leaves])
    np.testing.assert_array_equal(ask("gather", again, np.arange(P), np.zeros(P)), X)


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("first", [0, 1])
@pytest.mark.parametrize("kind", [np.float64, np.float32, np.int16])
def test_a_matrix_is_stored_whole_wherever_it_begins(kind, first, order, x64, monkeypatch):
    """In several blocks, from memory aligned to all there is to align to, and to one entry only."""
    monkeypatch.setattr("jaxreg.linear.design._memory.BLOCK", 100)
    memory = (100 * np.random.default_rng(0).normal(size=1 + N * P)).astype(kind)
    X = memory[first : first + N * P].reshape((N, P), order=order)
    for rounded in (False, True):
        design = as_design(X, rounded=(rounded, rounded))
        assert design.X.dtype == (np.float32 if kind is np.float32 else np.float64)
        np.testing.assert_array_equal(design.X[:N, :P], X)
        assert not design.X[:, P:].any()


def test_what_is_not_finite_is_found_in_any_block_and_type(x64, monkeypatch):
    monkeypatch.setattr("jaxreg.linear.design._memory.BLOCK", 100)
    X = np.full((N, P), 1e308)
    as_design(X)  # a sum that is infinite is no entry that is
    X[-1, -1] = np.inf
    with pytest.raises(ValueError, match=f"X has 1 NaN or infinite entries, the first at row {N - 1}, column {P - 1}"):
        as_design(X)
    X[-1, -1] = 1
    with pytest.raises(ValueError, match="X has 999 NaN or infinite entries, the first at row 0, column 0"):
        as_design(X, np.float32)
