"""Proximal steps within and around what optax wraps optimizers in, on devices, and in half precision."""

import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxreg as jr

PARAMS = {"a": jnp.linspace(-1.0, 1.0, 8), "b": jnp.linspace(-0.5, 0.5, 4).reshape(2, 2)}
RATE = optax.linear_schedule(0.5, 0.05, 6)
L1 = jr.L1(0.4)


def grads_at(k, params=PARAMS):
    return jax.tree.map(lambda p: jnp.sin(3 * p + k), params)


def run(tx, grads, params=PARAMS):
    """A plain loop over a list of gradients."""
    state, update = tx.init(params), jax.jit(tx.update)
    history = []
    for one in grads:
        updates, state = update(one, state, params)
        params = optax.apply_updates(params, updates)
        history.append(params)
    return history, state


def assert_same(a, b, **kwargs):
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_allclose(x, y, **{"rtol": 1e-6, "atol": 1e-7, **kwargs})
        np.testing.assert_array_equal(x == 0, y == 0)


def zeros(tree):
    return sum(int(jnp.sum(leaf == 0)) for leaf in jax.tree.leaves(tree))


# --- wrappers that hold updates back ----------------------------------------------------------------------


@pytest.mark.parametrize("place", ["around", "within", "deep"])
@pytest.mark.parametrize("metric", [None, jr.adam_metric()], ids=["euclidean", "metric"])
def test_multi_steps_shrink_at_the_real_step_only(place, metric):
    """Six steps on means of three gradients are those of the bare optimizer, schedules included."""
    if place == "around":
        tx = optax.MultiSteps(jr.proximal(optax.adam(RATE), L1, RATE, metric=metric), 3)
    elif place == "within":
        tx = jr.proximal(optax.MultiSteps(optax.adam(RATE), 3), L1, RATE, metric=metric)
    else:
        several = optax.MultiSteps(optax.apply_if_finite(optax.adam(RATE), 2), 3).gradient_transformation()
        tx = jr.proximal(optax.chain(several, optax.identity()), L1, RATE, metric=metric)
    grads = [grads_at(k) for k in range(18)]
    means = [jax.tree.map(lambda *g: sum(g) / 3, *grads[k : k + 3]) for k in range(0, 18, 3)]
    expected, _ = run(jr.proximal(optax.adam(RATE), L1, RATE, metric=metric), means)
    found, _ = run(tx, grads)
    for k, params in enumerate(found):
        assert_same(params, ([PARAMS, *expected])[(k + 1) // 3], atol=2e-6)
    assert zeros(found[-1]) > 0


@pytest.mark.parametrize("place", ["around", "within"])
def test_refused_steps_change_nothing(place):
    """Neither the parameters nor the count of the schedule."""
    bad = jax.tree.map(lambda p: p * jnp.nan, PARAMS)
    grads = [grads_at(0), bad, grads_at(1), bad, bad, grads_at(2)]
    expected, _ = run(jr.proximal(optax.sgd(RATE), L1, RATE), [grads_at(k) for k in range(3)])
    if place == "around":
        tx = optax.apply_if_finite(jr.proximal(optax.sgd(RATE), L1, RATE), 3)
    else:
        tx = jr.proximal(optax.apply_if_finite(optax.sgd(RATE), 3), L1, RATE)
    found, state = run(tx, grads)
    for params, k in zip(found, (0, 0, 1, 1, 1, 2), strict=True):
        assert_same(params, expected[k])
    inner = state.inner_state if place == "around" else state
    assert inner.count == 3


def test_what_holds_back_a_part_only_is_refused():
    part = optax.partition({"x": optax.apply_if_finite(optax.sgd(0.1), 1), "y": optax.sgd(0.1)}, {"a": "x", "b": "y"})
    tx = jr.proximal(part, L1, 0.1)
    with pytest.raises(ValueError, match=r"apply_if_finite.* within optax.partition.*put proximal inside"):
        tx.update(grads_at(0), tx.init(PARAMS), PARAMS)


# --- parts, chains, hyperparameters -----------------------------------------------------------------------


@pytest.mark.parametrize("metric", [None, jr.adam_metric()], ids=["euclidean", "metric"])
def test_parts_have_their_own_optimizers(metric):
    """In partition and masked, other leaves are holes; paths stay those of the whole."""
    penalty = jr.Masked(L1, include="a")
    inner = jr.proximal(optax.adam(0.1), penalty, 0.1, metric=metric)
    grads = [grads_at(k) for k in range(4)]
    alone, _ = run(inner, [{"a": g["a"]} for g in grads], {"a": PARAMS["a"]})
    plain, _ = run(optax.sgd(0.3), grads)
    by_label = optax.partition({"sparse": inner, "dense": optax.sgd(0.3)}, {"a": "sparse", "b": "dense"})
    found, _ = run(by_label, grads)
    masked = optax.chain(
        optax.masked(inner, {"a": True, "b": False}), optax.masked(optax.sgd(0.3), {"a": False, "b": True})
    )
    also, _ = run(masked, grads)
    for k in range(4):
        assert_same(found[k], {"a": alone[k]["a"], "b": plain[k]["b"]})
        assert_same(also[k], found[k])
    # A partition within: one learning rate for all.
    split = optax.partition({"x": optax.sgd(0.1), "y": optax.sgd(0.1, momentum=0.0)}, {"a": "x", "b": "y"})
    assert_same(run(jr.proximal(split, L1, 0.1), grads)[0][-1], run(jr.proximal(optax.sgd(0.1), L1, 0.1), grads)[0][-1])
    assert zeros(found[-1]["a"]) > 0


def test_injected_hyperparameters():
    """Learning rate and strength change without compiling again, read from the optimizer or given to the factory."""
    traces = []

    def factory(learning_rate, lam):
        traces.append(None)
        return jr.proximal(optax.sgd(learning_rate), jr.L1(), learning_rate, lam=lam)

    around = optax.inject_hyperparams(factory)(learning_rate=0.1, lam=0.4)
    within = jr.proximal(optax.inject_hyperparams(optax.sgd)(learning_rate=0.1), jr.L1(0.4), "learning_rate")
    states, updates = [tx.init(PARAMS) for tx in (around, within)], [jax.jit(tx.update) for tx in (around, within)]
    updates[0](grads_at(0), states[0], PARAMS)
    before = len(traces)
    for rate, lam in ((0.1, 0.4), (0.3, 0.4), (0.3, 2.0), (0.0, 1.0)):
        states[0].hyperparams.update(learning_rate=jnp.float32(rate), lam=jnp.float32(lam))
        states[1].inner.hyperparams.update(learning_rate=jnp.float32(rate))
        states[1] = states[1]._replace(penalty=states[1].penalty.at(jnp.float32(lam)))
        expected = run(jr.proximal(optax.sgd(rate), jr.L1(lam), rate), [grads_at(0)])[0][0]
        for update, state in zip(updates, states, strict=True):
            assert_same(optax.apply_updates(PARAMS, update(grads_at(0), state, PARAMS)[0]), expected)
    assert len(traces) == before
    # A schedule inside is read at the count of the update that it served.
    tx = jr.proximal(optax.inject_hyperparams(optax.sgd)(learning_rate=RATE), L1, "learning_rate")
    grads = [grads_at(k) for k in range(5)]
    assert_same(run(tx, grads)[0][-1], run(jr.proximal(optax.sgd(RATE), L1, RATE), grads)[0][-1])
    with pytest.raises(ValueError, match=r"learning_rate='rate' must name one .* which holds 'learning_rate'"):
        jr.proximal(optax.inject_hyperparams(optax.sgd)(learning_rate=0.1), L1, "rate").init(PARAMS)


def test_strength_may_follow_a_schedule():
    """At the count of the learning rate, for ready chains too; blocks keep their relative strengths."""
    warm = optax.linear_schedule(0.0, 1.0, 4)
    grads = [grads_at(k) for k in range(6)]
    blocks = jr.Blocks({"a": jr.L1(2.0), "b": jr.L1(0.5)})
    found, state = run(jr.prox_sgd(RATE, blocks, lam=warm), grads)
    params, tx = PARAMS, optax.sgd(RATE)
    plain = tx.init(params)
    for k, one in enumerate(grads):
        updates, plain = tx.update(one, plain, params)
        params = jr.apply_prox(params, updates, blocks.at(warm(k)), RATE(k))
        assert_same(found[k], params)
    assert state.penalty.lam == 1.0
    assert zeros(found[0]) == 0 < zeros(found[-1])
    for ready in (jr.prox_adamw, jr.fista):
        assert zeros(run(ready(0.1, jr.L1(), lam=optax.constant_schedule(0.0)), grads)[0][-1]) == 0
    with pytest.raises(ValueError, match="lam must be"):
        jr.fista(0.1, jr.L1(), lam=-1.0)


def test_metrics_that_are_not_to_be_had():
    with pytest.raises(
        ValueError,
        match="exactly one ScaleByAdamState in the optimizer's state, found 0; there are: EmptyState, TraceState",
    ):
        jr.proximal(optax.sgd(0.1, momentum=0.9), L1, 0.1, metric=jr.adam_metric()).init(PARAMS)
    twice = optax.chain(optax.scale_by_adam(), optax.scale_by_adam())
    with pytest.raises(ValueError, match="found 2"):
        jr.proximal(twice, L1, 0.1, metric=jr.adam_metric()).init(PARAMS)
    with pytest.raises(TypeError, match="SLOPE has no known prox in a diagonal metric"):
        jr.prox_adamw(0.1, jr.SLOPE(0.1, weights=np.ones(8))).init(PARAMS["a"])
    with pytest.raises(ValueError, match="metric is a tree that does not fit"):
        jr.proximal(optax.sgd(0.1), L1, 0.1, metric=lambda state: {"c": 1.0}).init(PARAMS)
    with pytest.raises(ValueError, match="momentum must be below 1"):
        jr.prox_sgd(0.1, L1, momentum=1.0)
    halves = jr.proximal(optax.sgd(0.1), L1, 0.1, metric=lambda state: {"a": 0.5, "b": jnp.full((2, 2), 0.5)})
    assert_same(
        run(halves, [grads_at(0)])[0][0], jr.apply_prox(PARAMS, jax.tree.map(lambda g: -0.1 * g, grads_at(0)), L1, 0.2)
    )


# --- numbers and devices ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["bfloat16", "float16"])
def test_half_precision_keeps_zeros(name):
    """Parameters in half precision, gradients and moments in it or above."""
    params = jax.tree.map(lambda p: p.astype(name), PARAMS)
    grads = [jax.tree.map(lambda g: g.astype(name), grads_at(k)) for k in range(30)]
    for tx in (
        jr.prox_sgd(0.1, L1, momentum=0.5),
        jr.prox_adamw(0.05, L1, eps=1e-3),
        jr.refit_support(optax.adam(0.01)),
    ):
        found, _ = run(tx, grads, params)
        assert {leaf.dtype.name for leaf in jax.tree.leaves(found)} == {name}
        assert np.all(np.isfinite(jnp.concatenate([leaf.ravel() for leaf in jax.tree.leaves(found)])))
    full = [jax.tree.map(lambda g: g.astype(jnp.float32), one) for one in grads]
    found, _ = run(jr.prox_adamw(0.05, jr.L1(3.0), eps=1e-3), full, params)
    assert found[-1]["a"].dtype == name
    assert zeros(found[-1]) == 12
    assert zeros(run(jr.refit_support(optax.sgd(0.1)), grads, found[-1])[0][-1]) == 12


def test_buffers_may_be_donated():
    """Parameters and state do not share them with each other, nor with the penalty."""
    gradient = jax.grad(lambda p, data: sum(jnp.sum((leaf - data) ** 2) for leaf in jax.tree.leaves(p)))
    penalty = jr.L1(jnp.asarray(0.4))
    makers = (
        lambda: jr.proximal(optax.chain(jr.svrg(gradient, 2), optax.adam(0.1)), penalty, 0.1, metric=jr.adam_metric()),
        lambda: jr.fista(0.1, penalty),
        lambda: jr.refit_support(optax.adam(0.1), penalty),
    )
    for make in makers:
        tx = optax.with_extra_args_support(make())
        params = jax.tree.map(jnp.array, PARAMS)
        state = tx.init(params)

        def step(params, state, tx=tx):
            grads = gradient(params, 1.0)
            updates, state = tx.update(grads, state, params, batch=1.0, data=1.0)
            return optax.apply_updates(params, updates), state

        donating = jax.jit(step, donate_argnums=(0, 1))
        for _ in range(3):
            params, state = donating(params, state)
    assert penalty.lam == jnp.float32(0.4)


def test_vmap_over_strengths_rates_and_seeds():
    def train(lam, rate, seed):
        tx = jr.prox_adamw(rate, L1, lam=lam)
        params = jax.tree.map(lambda p: p + 0.01 * jax.random.normal(jax.random.key(seed), p.shape), PARAMS)
        state = tx.init(params)
        for k in range(5):
            updates, state = tx.update(grads_at(k, params), state, params)
            params = optax.apply_updates(params, updates)
        return params

    lams, rates, seeds = jnp.array([0.0, 0.3, 3.0]), jnp.array([0.1, 0.2, 0.05]), jnp.arange(3)
    together = jax.jit(jax.vmap(train))(lams, rates, seeds)
    one = jax.jit(train)
    for k in range(3):
        assert_same(jax.tree.map(lambda leaf, k=k: leaf[k], together), one(lams[k], rates[k], seeds[k]), atol=2e-6)


def test_optax_maps_the_states():
    """As recipes for sharding do: by a state that was initialized with a placeholder."""
    tx = jr.prox_adamw(0.1, jr.Masked(L1, include="a"))
    doubled = optax.tree.map_params(tx, lambda leaf: 2 * leaf + 1, tx.init(PARAMS))
    np.testing.assert_array_equal(doubled.inner[0].nu["a"], np.ones(8))
    assert doubled.penalty.lam == jnp.float32(0.4)
    shapes = jax.eval_shape(tx.init, PARAMS)
    assert shapes.inner[0].nu["a"].shape == (8,)


SHARDED = """
import jax, jax.numpy as jnp, numpy as np, optax, jaxreg as jr
from jax.sharding import Mesh, NamedSharding, PartitionSpec
assert jax.device_count() == 4
kernel = jax.random.normal(jax.random.key(0), (8, 16))
penalty = jr.Units(jr.GroupLasso(0.02, groups=jr.by_axis(0)), {"kernel": -1, "bias": 0})
tx = jr.prox_adamw(0.1, penalty)
def train(params):
    state = tx.init(params)
    for _ in range(8):
        grads = jax.tree.map(lambda p: jnp.where(jnp.arange(16) < 8, p, 0.0), params)
        updates, state = tx.update(grads, state, params)
        params = optax.apply_updates(params, updates)
    return params, state
mesh = Mesh(np.array(jax.devices()).reshape(2, 2), ("x", "y"))
params = {"kernel": kernel, "bias": jnp.ones(16)}
layout = {"kernel": NamedSharding(mesh, PartitionSpec("x", "y")), "bias": NamedSharding(mesh, PartitionSpec("y"))}
expected, _ = jax.jit(train)(params)
found, state = jax.jit(train, out_shardings=(layout, None))(jax.device_put(params, layout))
assert found["kernel"].sharding.is_equivalent_to(layout["kernel"], 2)
for name in params:
    np.testing.assert_allclose(found[name], expected[name], atol=1e-5)
    np.testing.assert_array_equal(np.asarray(found[name]) == 0, np.asarray(expected[name]) == 0)
print(int((np.asarray(found["bias"]) == 0).sum()))
"""


@pytest.mark.deep
def test_parameters_may_be_sharded():
    """On four devices as on one, groups across devices included."""
    flags = os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=4"
    done = subprocess.run(
        [sys.executable, "-c", SHARDED],
        env={**os.environ, "XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) == 8
