"""Proximal steps in optax loops: exact zeros, exact schedules, and untouched leaves untouched to the bit."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from sklearn.linear_model import Lasso

from jaxreg import L1, L2, Blocks, ElasticNet, Masked, apply_prox, proximal
from tests.helpers_models import arrays, curved, equinox_network, flax_network, zeros_and_size
from tests.problems import gaussian


def adamw(learning_rate):
    return optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(learning_rate))


def train(tx, params, loss, steps):
    """A plain optax loop, compiled as one scan; `params` holds arrays only."""

    def step(carry, _):
        params, state = carry
        updates, state = tx.update(jax.grad(loss)(params), state, params)
        return (optax.apply_updates(params, updates), state), None

    @jax.jit
    def run(params):
        return jax.lax.scan(step, (params, tx.init(params)), length=steps)[0]

    return run(params)


def same_bits(a, b):
    """Whether two trees of arrays agree in every bit, −0 and NaN included."""
    pairs = zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    return all(x.dtype == y.dtype and np.asarray(x).tobytes() == np.asarray(y).tobytes() for x, y in pairs)


# Exact zeros


@pytest.mark.parametrize("network", [flax_network, equinox_network], ids=["flax", "equinox"])
@pytest.mark.parametrize(
    ("optimizer", "rate", "lam", "dtype"),
    [
        (optax.sgd, 0.1, 0.03, jnp.float32),
        (adamw, 0.02, 0.3, jnp.float32),
        (adamw, 0.02, 0.3, jnp.bfloat16),
    ],
    ids=["sgd", "chain-adamw", "chain-adamw-bfloat16"],
)
def test_training_leaves_exact_zeros(network, optimizer, rate, lam, dtype):
    model, predict = network()
    params, static = eqx.partition(model, eqx.is_inexact_array)
    params = jax.tree.map(lambda leaf: leaf.astype(dtype), params)
    X, y = arrays(curved(), np.float32)

    def loss(params):
        return jnp.mean((predict(eqx.combine(params, static), X.astype(dtype)) - y) ** 2)

    kernels = "*/weight" if isinstance(model, eqx.Module) else "*/kernel"
    tx = proximal(optimizer(rate), Masked(L1(lam), include=kernels), rate)
    trained, _ = train(tx, params, loss, 400)
    assert all(leaf.dtype == dtype for leaf in jax.tree.leaves(trained))
    assert loss(trained) < 0.5 * loss(params)
    zeros, size = zeros_and_size(trained)
    assert size == 6 * 16 + 16 + 16 + 1
    assert 30 <= zeros <= size - 20
    bare, _ = train(optimizer(rate), params, loss, 400)
    assert zeros_and_size(bare)[0] == 0


def test_zeros_stay_exact_in_every_dtype_and_magnitude():
    """p + (0 − p) is 0 in floating point, whatever p: also where target − p has to round."""
    rng = np.random.default_rng(0)
    for dtype in (jnp.float32, jnp.bfloat16, jnp.float16):
        params = jnp.asarray(rng.standard_normal(4000) * 10.0 ** rng.uniform(-4, 4, 4000), dtype)
        grads = jnp.asarray(rng.standard_normal(4000) * 10.0 ** rng.uniform(-4, 4, 4000), dtype)
        tx = proximal(optax.sgd(0.5), L1(30.0), 0.5)
        updates, _ = tx.update(grads, tx.init(params), params)
        new, target = optax.apply_updates(params, updates), apply_prox(params, -0.5 * grads, L1(30.0), 0.5)
        assert new.dtype == target.dtype == dtype
        np.testing.assert_array_equal(new == 0, target == 0)
        assert 1000 < np.sum(np.asarray(new == 0)) < 3900
        eps = float(jnp.finfo(dtype).eps)
        scale = np.abs(np.asarray(params, np.float64)) + np.abs(np.asarray(target, np.float64))
        assert np.all(np.abs(np.asarray(new, np.float64) - np.asarray(target, np.float64)) <= 2 * eps * scale)


def test_solves_the_lasso(x64):
    problem = gaussian(60, 12, 0.5)
    X, y = arrays(problem, np.float64)
    lam, rate = 0.1, 0.12
    tx = proximal(optax.sgd(rate), L1(lam), rate)
    found, _ = train(tx, jnp.zeros(12), lambda b: 0.5 * jnp.mean((X @ b - y) ** 2), 3000)
    expected = Lasso(lam, fit_intercept=False, tol=1e-14, max_iter=100_000).fit(*problem).coef_
    np.testing.assert_allclose(found, expected, atol=1e-10)
    np.testing.assert_array_equal(found == 0, expected == 0)
    assert 0 < np.sum(expected == 0) < 12


# Steps and schedules


@pytest.mark.parametrize("penalty", [L1(0.3), ElasticNet(0.3, 0.5), L2(0.3)], ids=["l1", "net", "l2"])
def test_follows_the_schedule_of_the_optimizer(penalty):
    """Equal to a hand-written loop to the bit: the prox sees the learning rate of the update it follows."""
    schedule = optax.warmup_cosine_decay_schedule(0.0, 0.5, 3, 12)
    rates = [schedule(jnp.asarray(k, jnp.int32)) for k in range(12)]
    assert len(set(map(float, rates))) > 8
    tx = proximal(optax.sgd(schedule), penalty, schedule)
    params = by_hand = jax.random.normal(jax.random.key(0), (50,))
    state, zeros = tx.init(params), 0
    bare = optax.sgd(schedule)
    bare_state = bare.init(params)
    for k, rate in enumerate(rates):
        grads = jax.random.normal(jax.random.key(k + 1), (50,))
        assert state.count == k
        updates, state = tx.update(grads, state, params)
        bare_updates, bare_state = bare.update(grads, bare_state, by_hand)
        moved = by_hand + bare_updates
        target = penalty.prox(moved, rate)
        by_hand = by_hand + jnp.where(target == moved, bare_updates, target - by_hand)
        params = optax.apply_updates(params, updates)
        assert same_bits(params, by_hand)
        np.testing.assert_allclose(params, target, atol=1e-6)
        zeros += int(jnp.sum(params == 0))
    assert (zeros == 0) == isinstance(penalty, L2)


def test_learning_rate_may_be_traced():
    params, grads = jnp.array([0.25, -3.0, 1.0]), jnp.array([1.0, 0.0, -1.0])

    @jax.jit
    def step(rate):
        tx = proximal(optax.sgd(rate), L1(1.0), rate)
        return optax.apply_updates(params, tx.update(grads, tx.init(params), params)[0])

    for rate in (0.0, 0.1, 0.5):
        np.testing.assert_allclose(step(rate), apply_prox(params, -rate * grads, L1(1.0), rate), atol=1e-7)
    injected = optax.inject_hyperparams(
        lambda learning_rate: proximal(optax.sgd(learning_rate), L1(1.0), learning_rate)
    )
    tx = injected(learning_rate=0.1)
    state = tx.init(params)
    state.hyperparams["learning_rate"] = jnp.asarray(0.5)
    updates, _ = tx.update(grads, state, params)
    np.testing.assert_allclose(optax.apply_updates(params, updates), step(0.5), atol=1e-7)


def test_extra_arguments_reach_the_optimizer():
    tx = proximal(optax.contrib.reduce_on_plateau(patience=1, factor=0.5), L1(0.0), 0.0)
    params = jnp.ones(2)
    state = tx.init(params)
    for _ in range(4):
        updates, state = tx.update(jnp.ones(2), state, params, value=1.0)
    assert np.all(updates < 1)


# What is not penalized is not touched


def test_unpenalized_leaves_get_the_updates_of_the_optimizer_bit_for_bit():
    params, _ = flax_network()
    penalties = (
        Masked(L1(0.5), include="*/Dense_0/kernel"),
        Blocks({"*/Dense_0/kernel": L1(0.5)}),
        L1(0.5, weight={"params": {"Dense_0": {"kernel": 1.0, "bias": 0.0}, "Dense_1": 0.0}}),
        L1(0.0),
    )
    bare = adamw(0.05)
    bare_update = jax.jit(bare.update)
    for penalty in penalties:
        tx = proximal(adamw(0.05), penalty, 0.05)
        update = jax.jit(tx.update)
        state, bare_state = tx.init(params), bare.init(params)
        for k in range(3):
            grads = jax.tree.map(lambda p, k=k: jnp.sin(p + k), params)
            updates, state = update(grads, state, params)
            bare_updates, bare_state = bare_update(grads, bare_state, params)
            kernel = updates["params"]["Dense_0"].pop("kernel")
            bare_kernel = bare_updates["params"]["Dense_0"].pop("kernel")
            assert same_bits(updates, bare_updates)
            # The penalized leaf: the same optimizer state, other updates, unless λ = 0.
            assert same_bits(kernel, bare_kernel) == (penalty.at(0.0) == penalty)
            assert same_bits(state.inner, bare_state)


def test_frozen_leaves_and_leaves_that_are_no_arrays():
    params = {"w": jnp.array([0.3, -2.0]), "frozen": jnp.array([0.1]), "act": jnp.tanh, "count": 3}
    grads = {"w": jnp.array([0.0, 1.0]), "frozen": None, "act": None, "count": None}
    tx = proximal(optax.sgd(0.5), L1(1.0), 0.5)
    updates, _ = tx.update(grads, tx.init(params), params)
    assert (updates["frozen"], updates["act"], updates["count"]) == (None, None, None)
    np.testing.assert_allclose(params["w"] + updates["w"], [0.0, -2.0])
    moved = apply_prox(params, {**grads, "w": -0.5 * grads["w"]}, L1(1.0), 0.5)
    assert (moved["act"], moved["count"]) == (jnp.tanh, 3)


# λ is data


def test_strength_changes_without_compiling_again():
    params = jax.random.normal(jax.random.key(0), (20,))
    tx = proximal(optax.sgd(0.5), L1(1.0), 0.5)
    traces = []

    @jax.jit
    def step(params, state):
        traces.append(None)
        updates, state = tx.update(jnp.zeros(20), state, params)
        return optax.apply_updates(params, updates), state

    state = tx.init(params)
    for lam in (1.0, 0.1, 0.25, 0.0, 3.0):
        state = state._replace(penalty=state.penalty.at(lam))
        new, after = step(params, state)
        np.testing.assert_allclose(new, L1(lam).prox(params, 0.5), atol=1e-6)
        assert after.penalty.lam == lam
    assert len(traces) == 1
    # An array is another type to JAX than a Python number: traced once more, and only once.
    for lam in (np.float32(0.3), jnp.float32(0.7), jnp.linspace(0, 1, 5)[2]):
        np.testing.assert_allclose(
            step(params, state._replace(penalty=state.penalty.at(lam)))[0],
            L1(lam).prox(params, 0.5),
            atol=1e-6,
        )
    assert len(traces) == 2


def test_vmap_over_strengths_and_scan_over_steps(x64):
    problem = gaussian(60, 12, 0.5)
    X, y = arrays(problem, np.float64)
    lams = jnp.array([0.5, 0.2, 0.05])

    def fit(lam):
        return train(
            proximal(optax.sgd(0.12), L1(lam), 0.12),
            jnp.zeros(12),
            lambda b: 0.5 * jnp.mean((X @ b - y) ** 2),
            200,
        )[0]

    together = jax.vmap(fit)(lams)
    for lam, coef in zip(lams, together, strict=True):
        np.testing.assert_allclose(coef, fit(lam), atol=1e-13)
        np.testing.assert_array_equal(coef == 0, fit(lam) == 0)
    assert np.all(np.diff(np.count_nonzero(together, axis=1)) > 0)


def test_state_is_a_pytree_that_optax_wrappers_carry():
    params, grads = jnp.array([0.25, -3.0]), jnp.array([1.0, 1.0])
    single = proximal(optax.sgd(0.5), L1(1.0), 0.5)
    expected = optax.apply_updates(params, single.update(grads, single.init(params), params)[0])
    tx = optax.MultiSteps(single, every_k_schedule=2)
    state = tx.init(params)
    update = jax.jit(tx.update)
    new = params
    for _ in range(2):
        updates, state = update(grads, state, new)
        new = optax.apply_updates(new, updates)
    np.testing.assert_allclose(new, expected, atol=1e-7)


# apply_prox


def test_apply_prox(dtype):
    params = {"w": jnp.array([1.0, -2.0, 0.1], dtype), "n": 4}
    updates = {"w": jnp.array([-0.9, 0.0, 0.0], dtype), "n": 0}
    schedule = optax.linear_schedule(1.0, 0.0, 10)
    for k in (0, 5, 10):
        step = schedule(k)
        new = apply_prox(params, updates, L1(0.5), step)
        moved = np.array([0.1, -2.0, 0.1])
        expected = np.sign(moved) * np.maximum(np.abs(moved) - 0.5 * float(step), 0)
        assert new["w"].dtype == dtype
        assert new["n"] == 4
        np.testing.assert_allclose(new["w"], expected, atol=1e-6)
        np.testing.assert_array_equal(np.asarray(new["w"]) == 0, expected == 0)
    half = apply_prox(jnp.ones(2, jnp.bfloat16), jnp.full(2, -0.5), L1(0.5), jnp.float32(0.5))
    assert half.dtype == jnp.bfloat16
    np.testing.assert_array_equal(half, 0.25)


# Arguments that make no sense


def test_update_needs_the_parameters():
    tx = proximal(optax.sgd(0.1), L1(1.0), 0.1)
    with pytest.raises(ValueError, match=r"update\(grads, state, params\)"):
        tx.update(jnp.ones(2), tx.init(jnp.ones(2)))


def test_unknown_paths_fail_before_training_and_are_listed():
    params, _ = flax_network()
    for penalty in (Masked(L1(1.0), include="*/weight"), Blocks({"*/weight": L1(1.0)})):
        tx = proximal(optax.sgd(0.1), penalty, 0.1)
        with pytest.raises(ValueError, match=r"'\*/weight'.*'params/Dense_0/bias'.*'params/Dense_1/kernel'"):
            tx.init(params)
    with pytest.raises(ValueError, match="weight"):
        proximal(optax.sgd(0.1), L1(1.0, weight=jnp.ones(7)), 0.1).init(jnp.ones(3))


@pytest.mark.parametrize("rate", [-0.1, np.float32(-1), jnp.asarray(-0.5), np.nan, np.inf])
def test_bad_learning_rates(rate):
    with pytest.raises(ValueError, match="learning_rate"):
        proximal(optax.sgd(0.1), L1(1.0), rate)


def test_wrong_kinds():
    with pytest.raises(TypeError, match="learning_rate"):
        proximal(optax.sgd(0.1), L1(1.0), None)
    with pytest.raises(TypeError, match="lam"):
        proximal(optax.sgd(0.1), L1(1.0), 0.1, lam="strong")
    with pytest.raises(TypeError, match="metric must be a function"):
        proximal(optax.adam(0.1), L1(1.0), 0.1, metric="adam")
    with pytest.raises(TypeError, match="penalty"):
        proximal(optax.sgd(0.1), 1.0, 0.1)
    with pytest.raises(TypeError, match="penalty"):
        apply_prox(jnp.ones(2), jnp.ones(2), L1, 0.1)
    with pytest.raises(TypeError, match="tx"):
        proximal(optax.sgd, L1(1.0), 0.1)
    with pytest.raises(TypeError, match="penalty must be a jaxreg penalty, got GradientTransformation"):
        proximal(L1(1.0), optax.sgd(0.1), 0.1)
