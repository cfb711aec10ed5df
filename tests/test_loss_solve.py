"""Every loss through the door of any model: solved with L1, and judged by a duality gap from its own conjugate."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxreg as jr
from jaxreg.losses import Nonsmooth
from jaxreg.objective import dual_value, ray_gap, weighted_mean
from tests.problems import gaussian, uneven_offset, uneven_weights

N, P, K = 60, 8, 3
TARGETS = {
    "quantitative": lambda signal, rng: signal + rng.standard_t(2, size=N),
    "binary": lambda signal, rng: (signal + rng.normal(size=N) > 0).astype(float),
    "count": lambda signal, rng: rng.poisson(np.exp(np.clip(signal, -3, 2))).astype(float),
    "amount": lambda signal, rng: rng.gamma(2.0, np.exp(signal) / 2),
    "labels": lambda signal, rng: np.digitize(signal + 0.3 * rng.normal(size=N), [-0.4, 0.4]),
}
CASES = [
    (jr.Huber(delta=0.7), "quantitative", 0.05),
    (jr.SquaredHinge(), "binary", 0.15),
    (jr.Multinomial(), "labels", 0.03),
    (jr.Poisson(), "count", 0.1),
    (jr.Gamma(), "amount", 0.1),
    (jr.Tweedie(power=1.4), "count", 0.1),
    (jr.NegativeBinomial(dispersion=0.5), "count", 0.1),
]


def linear(params, X_and_offset):
    X, offset = X_and_offset
    return X @ params + offset


def problem(kind, seed=0):
    """X, target, weights and offsets; targets of classes have an offset per class."""
    rng = np.random.default_rng(seed)
    X, signal = gaussian(N, P, 0.3)
    y = TARGETS[kind](signal, rng)
    offset = uneven_offset(N)
    return X, y, uneven_weights(N), offset[:, None] * np.arange(K) if kind == "labels" else offset


@jax.jit
def gaps(loss, penalty, coef, X, target, w, offset):
    """Primal value, and primal − dual by the conjugate and without it; from closed forms alone."""
    pred = X @ coef + offset
    u = loss.derivative(pred, target)
    v = jnp.tensordot(X.T, (w * u.T).T, axes=1) / w.sum()
    primal = weighted_mean(loss.value(pred, target), w) + penalty.value(coef)
    s = penalty.shrink(-v)
    bound = dual_value(loss, penalty, s * u, s * v, target, w, offset)
    return primal, primal - bound, ray_gap(loss, penalty, pred, target, w, coef, v)


@pytest.mark.parametrize(
    ("loss", "kind", "lam"), CASES, ids=lambda x: type(x).__name__ if not isinstance(x, str) else x
)
def test_solve_reaches_a_certified_optimum(loss, kind, lam, x64):
    X, y, w, offset = problem(kind)
    loss.check(y)
    start = jnp.zeros((P, *loss.outputs(y)))
    objective = jr.Objective(loss, jr.L1(lam), linear)
    found = jr.solve(objective, start, ((X, offset), y, w), solver=jr.FISTA(1e-11))
    assert found.result == jr.Result.CONVERGED
    assert found.stats.stationarity <= 1e-11
    zeros = np.sum(np.asarray(found.params) == 0)
    assert 0 < zeros < start.size
    target = loss.encode(y, jnp.asarray(offset))
    primal, gap, ray = gaps(loss, jr.L1(lam), found.params, X, target, w, offset)
    np.testing.assert_allclose(primal, found.stats.objective, rtol=1e-13)
    assert primal > 0
    assert -1e-14 <= gap <= 1e-9 * primal
    assert gap - 1e-14 <= ray <= 1e-8 * primal
    # Elsewhere both are bounds, the one by the conjugate the better.
    other = found.params + 0.1 * np.random.default_rng(1).normal(size=start.shape)
    value, gap, ray = gaps(loss, jr.L1(lam), other, X, target, w, offset)
    assert value - primal <= gap <= ray


def test_quantile_regression_reaches_a_certified_gap(x64):
    """No smoothing: alternating directions (ADMM) with the prox of the loss, judged by its conjugate."""
    loss, penalty = jr.Quantile(q=0.3), jr.L1(0.05)
    assert isinstance(loss, Nonsmooth)
    X, y, w, offset = problem("quantitative")
    w = w / w.sum()
    rho = 0.05
    inverse = np.linalg.inv(X.T @ X + np.eye(P))

    @jax.jit
    def iterate(state):
        def body(_, state):
            z, b, u, v = state  # predictions and coefficients, split from the linear model, and their scaled duals
            both = inverse @ (X.T @ (z - offset - u) + b - v)
            pred = X @ both + offset
            z = loss.prox(pred + u, y, w / rho)
            b = penalty.prox(both + v, 1 / rho)
            return z, b, u + pred - z, v + both - b

        return jax.lax.fori_loop(0, 30_000, body, state)

    _, b, u, _ = iterate((jnp.zeros(N), jnp.zeros(P), jnp.zeros(N), jnp.zeros(P)))
    slopes = rho * u / w  # subgradients of the loss at z, by the optimality of the prox
    correlation = X.T @ (w * slopes)
    s = penalty.shrink(-correlation)
    primal = weighted_mean(loss.value(X @ b + offset, y), w) + penalty.value(b)
    dual = dual_value(loss, penalty, s * slopes, s * correlation, y, w, offset)
    assert 0 < np.sum(np.asarray(b) == 0) < P
    assert -1e-15 <= primal - dual <= 1e-9 * primal


def test_a_solve_may_be_mapped_over_a_number_of_the_loss(x64):
    """Numbers of a loss are leaves: one program for many of them, and a new one compiles nothing."""
    X, y, w, offset = problem("quantitative")
    traces = []

    @jax.jit
    def fit(delta):
        traces.append(None)
        objective = jr.Objective(jr.Huber(delta), jr.L1(0.05), linear)
        return jr.solve(objective, jnp.zeros(P), ((X, offset), y, w), solver=jr.FISTA(1e-10)).params

    deltas = jnp.array([0.2, 1.0, 1e6])
    together = jax.vmap(fit)(deltas)
    alone = jr.solve(
        jr.Objective(jr.Squared(), jr.L1(0.05), linear), jnp.zeros(P), ((X, offset), y, w), solver=jr.FISTA(1e-10)
    )
    np.testing.assert_allclose(together[2], alone.params, rtol=1e-7, atol=1e-9)
    jax.vmap(fit)(2 * deltas)
    assert len(traces) == 1


def test_labels_and_shares_are_one_objective(x64):
    X, y, w, offset = problem("labels")
    objective = jr.Objective(jr.Multinomial(), jr.L1(0.1), linear)
    coef = jnp.asarray(np.random.default_rng(2).normal(size=(P, K)))
    value = objective.value(coef, ((X, offset), y, w))
    for target in (y.astype(float), np.eye(K)[y], np.eye(K)[y].astype(np.float32)):
        np.testing.assert_allclose(objective.value(coef, ((X, offset), target, w)), value, rtol=1e-14)
    with pytest.raises(ValueError, match=r"predict returned shape \(60, 3\), but y has shape \(60, 2\)"):
        objective.value(coef, ((X, offset), np.ones((N, 2))))


def test_a_loss_is_rebuilt_without_its_checks():
    """As JAX does, around axes and placeholders."""
    for loss, *_ in [*CASES, (jr.Quantile(0.2),), (jr.Cox("breslow"),)]:
        leaves, structure = jax.tree.flatten(loss)
        assert jax.tree.unflatten(structure, leaves) == loss
        assert len(leaves) == sum(not f.metadata.get("static") for f in dataclasses.fields(loss)) - isinstance(
            loss, jr.Cox
        )
        jax.tree.unflatten(structure, [None] * len(leaves))
