"""`fit_at` is `fit_path` at one strength, and its derivatives are those of the support."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse

from jaxreg import (
    L1,
    L2,
    SLOPE,
    Cox,
    ElasticNet,
    FusedLasso,
    GroupLasso,
    Huber,
    Logistic,
    Poisson,
    SparseGroupLasso,
    Squared,
    fit_at,
    fit_path,
)
from jaxreg import differentiable as room
from jaxreg.linear import threads
from tests.problems import gaussian

N, P = 60, 12
STEP = 1e-5
GROUPS = np.arange(P) // 3
WEIGHTS = np.linspace(0.5, 2.0, P)
CASES = {
    "squared-l1": (Squared(), L1(weight=WEIGHTS), {}),
    "logistic-elastic_net": (Logistic(), ElasticNet(l1_ratio=0.5), {}),
    "poisson-l1-raw": (Poisson(), L1(), {"standardize": False}),
    "huber-l2-raw": (Huber(0.4), L2(), {"standardize": False, "intercept": False}),
    "squared-sparse_group": (Squared(), SparseGroupLasso(groups=GROUPS), {}),
    "logistic-group": (Logistic(), GroupLasso(groups=GROUPS), {}),
    "squared-slope": (Squared(), SLOPE(weights=np.linspace(2.0, 0.5, P)), {}),
    "squared-fused-raw": (Squared(), FusedLasso(l1_ratio=0.3), {"standardize": False}),
}
QUICK = ("squared-l1", "logistic-elastic_net")


def data(loss):
    """A design on uneven scales, a target of the loss's domain, weights and offsets."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(N, P)) * rng.uniform(0.5, 3.0, size=P) + 1
    y = (X - 1) @ np.r_[0.6, -0.45, 0.3, np.zeros(P - 3)] + 0.3 * rng.normal(size=N)
    y = {Logistic: y > 0, Poisson: np.floor(np.exp(0.5 * y))}.get(type(loss), y)
    return X, np.asarray(y, float), rng.uniform(0.5, 2.0, size=N), 0.1 * rng.normal(size=N)


@pytest.mark.slow
@pytest.mark.parametrize("name", [pytest.param(n, marks=() if n in QUICK else pytest.mark.deep) for n in CASES])
def test_derivatives(name, x64):
    loss, penalty, options = CASES[name]
    rng = np.random.default_rng(1)
    X, y, weight, offset = data(loss)
    theta = jax.tree.map(lambda x: jnp.asarray(x, float), (0.1, X, y, weight, offset, loss, penalty))
    # Targets of two classes, and counts, cannot be moved; numbers that are checked are moved upwards.
    way = jax.tree.map(lambda x: 0.2 * rng.uniform(size=np.shape(x)), theta)
    way = (*way[:2], way[2] * (type(loss) in (Squared, Huber)), *way[3:])
    way = jax.tree.map(lambda x, d: jnp.asarray(d, float), theta, way)

    def fitted(theta):
        lam, X, y, weight, offset, loss, penalty = theta
        coef, level = fit_at(
            X, y, lam, loss=loss, penalty=penalty, sample_weight=weight, offset=offset, tol=1e-13, **options
        )
        return jnp.append(coef, level)

    def at(step):
        return fitted(jax.tree.map(lambda x, d: x + step * d, theta, way))

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        found, forward = jax.linearize(fitted, theta)
        differences = (at(STEP) - at(-STEP)) / (2 * STEP)
    np.testing.assert_allclose(forward(way), differences, rtol=0, atol=1e-5 * np.abs(differences).max())
    chosen = rng.normal(size=P + 1)
    (back,) = jax.linear_transpose(forward, theta)(chosen)
    inner = sum(jnp.vdot(a, b) for a, b in zip(*map(jax.tree.leaves, (back, way)), strict=True))
    np.testing.assert_allclose(inner, forward(way) @ chosen, rtol=1e-9)
    path = fit_path(
        X, y, loss=loss, penalty=penalty, lams=[0.1], sample_weight=weight, offset=offset, tol=1e-9, **options
    )
    np.testing.assert_allclose(found, np.append(path.coef[0], path.intercept[0]), atol=1e-4)


@pytest.mark.slow
def test_under_transformations():
    X, y, *_ = (part.astype(np.float32) for part in data(Squared()))

    def total(lam):
        return fit_at(X, y, lam)[0].sum()

    lams = jnp.array([0.1, 0.2])
    expected = [jax.grad(total)(lam) for lam in lams]
    np.testing.assert_allclose(jax.jit(jax.vmap(jax.grad(total)))(lams), expected, rtol=1e-3)
    np.testing.assert_allclose(jax.vmap(total)(lams), [total(lam) for lam in lams], rtol=1e-5)


def test_one_core_is_told_what_to_do_where_it_would_wait_for_itself(monkeypatch):
    X, y, *_ = data(Squared())
    monkeypatch.setattr(threads, "cores", lambda: 1)
    for told, alone in ((None, True), ("1", True), ("2", False), ("all", True)):
        monkeypatch.delenv("NPROC", raising=False) if told is None else monkeypatch.setenv("NPROC", told)
        assert threads.alone() == alone
    with pytest.raises(RuntimeError, match="NPROC=2"):
        jax.jit(lambda lam: fit_at(X, y, lam)[0])(0.1)


@pytest.mark.slow
def test_single_precision():
    X, y, *_ = data(Squared())
    coef, level = fit_at(X, y, 0.1)
    assert (coef.dtype, level.dtype, level.shape) == (jnp.float32, jnp.float32, ())
    slope = jax.grad(lambda lam: fit_at(X, y, lam)[0].sum())(0.1)
    with jax.enable_x64(True):
        exact = jax.grad(lambda lam: fit_at(X, y, lam)[0].sum())(0.1)
    np.testing.assert_allclose(slope, exact, rtol=1e-4)


def test_sparse_features(x64):
    X, y, *_ = data(Squared())
    X = np.where(np.abs(X) > 2, X, 0.0)

    def along(X):
        return jax.value_and_grad(lambda lam: fit_at(X, y, lam)[0].sum())(0.1)

    np.testing.assert_allclose(along(scipy.sparse.csc_array(X)), along(X), rtol=1e-9)
    with pytest.raises(TypeError, match="sparse X has no derivatives under jit"):
        jax.jit(jax.grad(lambda lam: fit_at(scipy.sparse.csc_array(X), y, lam)[0].sum()))(0.1)


def test_bad_input():
    X, y = gaussian(20, 3, 0.0)
    with pytest.raises(ValueError, match="lam must be one number"):
        fit_at(X, y, [0.1, 0.2])
    with pytest.raises(ValueError, match="lam must be"):
        fit_at(X, y, -1.0)
    with pytest.raises(TypeError, match="penalty must be"):
        fit_at(X, y, 0.1, penalty="l1")
    with pytest.raises(TypeError, match="one target a row, got Cox"):
        fit_at(X, np.stack([y, y > 0], axis=1), 0.1, loss=Cox())


@pytest.mark.deep
def test_cost_is_that_of_the_support(x64, monkeypatch):
    """Operations of the derivative, as XLA counts them, with the same 10 columns among 100 and among 10,000."""
    shapes = []
    operations = {}
    moved = room._moved

    def counted(*args, **static):
        cost = moved.lower(*args, **static).compile().cost_analysis()
        operations[args[6].size] = cost["flops"]
        shapes.append(args[4].shape)
        return moved(*args, **static)

    monkeypatch.setattr(room, "_moved", counted)
    few = gaussian(40, 100, 0.0)
    zeros = np.zeros((40, 9_900))
    for X in (few.X, np.concatenate([few.X, zeros], axis=1)):
        jax.jvp(lambda lam, X=X: fit_at(X, few.y, lam)[0], (0.25,), (1.0,))
    assert shapes == [(64,), (64,)]
    # 40 · 9900 · 64 for each product of the system, if it saw all columns. What is left in p is the prox.
    assert operations[10_000] - operations[100] < 0.1 * (40 * 9_900 * 64)
    assert operations[10_000] < 2 * operations[100]
