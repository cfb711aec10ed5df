"""Penalties on parts of models: masks, blocks, path patterns, weight trees, trees that hold other things."""

import copy
import pickle

import equinox as eqx
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from jaxreg import L1, L2, Blocks, ElasticNet, Masked
from jaxreg._select import matches
from jaxreg._tree import paths

PARAMS = {
    "enc": {"bias": np.array([0.5, -2.0]), "kernel": np.array([3.0, -0.25])},
    "head": {"kernel": np.array([0.75, -4.0])},
}
GRADS = jax.tree.map(lambda leaf: 0.3 - leaf, PARAMS)


def assert_trees_equal(a, b):
    assert jax.tree.structure(a) == jax.tree.structure(b)
    jax.tree.map(np.testing.assert_array_equal, a, b)


# --- patterns ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "pattern", "expected"),
    [
        ("enc/dense/kernel", "*/kernel", True),
        ("kernel", "*/kernel", True),
        ("kernel", "kernel", True),
        ("enc/kernel", "kernel", False),
        ("enc/dense/kernel", "enc/*", True),
        ("encoder/kernel", "enc/*", False),
        ("layers/0/weight", "layers/[01]/weight", True),
        ("layers/12/weight", "layers/?/weight", False),
        ("enc/Kernel", "*/kernel", False),
        ("", "*", True),
    ],
)
def test_patterns(path, pattern, expected):
    assert matches(path, pattern) is expected


def test_a_mask_acts_on_its_leaves_as_the_penalty_would_alone():
    inner = ElasticNet(0.5, 0.4)
    penalty = Masked(inner, include=("enc/kernel", "head/*"))
    kernels = {"a": PARAMS["enc"]["kernel"], "b": PARAMS["head"]["kernel"]}
    grads = {"a": GRADS["enc"]["kernel"], "b": GRADS["head"]["kernel"]}
    np.testing.assert_allclose(penalty.value(PARAMS), inner.value(kernels), rtol=1e-6)
    np.testing.assert_allclose(penalty.lam_max(GRADS), inner.lam_max(grads), rtol=1e-6)
    moved, alone = penalty.prox(PARAMS, 0.7), inner.prox(kernels, 0.7)
    assert_trees_equal(moved["enc"]["kernel"], alone["a"])
    assert_trees_equal(moved["head"], {"kernel": alone["b"]})
    assert moved["enc"]["bias"] is PARAMS["enc"]["bias"]
    residual, alone = penalty.residual(PARAMS, GRADS), inner.residual(kernels, grads)
    assert_trees_equal(residual["enc"]["kernel"], alone["a"])
    np.testing.assert_allclose(residual["enc"]["bias"], -GRADS["enc"]["bias"], rtol=1e-6)
    assert penalty.lam == 0.5


def test_a_leaf_belongs_to_the_first_block_that_matches():
    """Also where the patterns are not in alphabetical order, and after a trip through JAX."""
    blocks = Blocks({"head/*": L2(3.0), "enc/bias": L1(0.25), "*": L1(2.0)}, lam=0.5)
    for penalty in (blocks, jax.jit(lambda p: p)(blocks), jax.tree.map(jnp.asarray, blocks)):
        moved = penalty.prox(PARAMS, 0.1)
        np.testing.assert_allclose(moved["head"]["kernel"], PARAMS["head"]["kernel"] / 1.15, rtol=1e-6)
        np.testing.assert_allclose(moved["enc"]["bias"], [0.4875, -1.9875], rtol=1e-6)
        np.testing.assert_allclose(moved["enc"]["kernel"], [2.9, -0.15], rtol=1e-6)
        expected = 0.5 * (1.5 * (0.75**2 + 16) + 0.25 * 2.5 + 2 * 3.25)
        np.testing.assert_allclose(penalty.value(PARAMS), expected, rtol=1e-6)


def test_strengths_of_blocks_are_relative_to_the_common_one():
    blocks = Blocks({"enc/*": L1(2.0), "head/*": L1(0.5)})
    np.testing.assert_allclose(blocks.at(3.0).value(PARAMS), 3 * blocks.value(PARAMS), rtol=1e-6)
    np.testing.assert_allclose(blocks.lam_max(GRADS), max(2.7 / 2, 4.3 / 0.5), rtol=1e-6)
    by_lam = jax.grad(lambda lam: blocks.at(lam).value(PARAMS))(1.0)
    np.testing.assert_allclose(by_lam, blocks.value(PARAMS), rtol=1e-6)
    by_member = jax.grad(lambda p: p.value(PARAMS))(blocks)
    np.testing.assert_allclose(by_member.penalties[1].lam, 4.75, rtol=1e-6)
    # Ridge, or a member that is switched off, never holds a gradient at zero.
    assert np.isinf(Blocks({"enc/*": L1(), "head/*": L2()}).lam_max(GRADS))
    assert np.isinf(Blocks({"enc/*": L1(), "head/*": L1(0.0)}).lam_max(GRADS))


def test_compositions_nest():
    inside = Blocks({"*": Masked(Blocks({"enc/*": L1(2.0), "*": L2(1.0)}), include=("*/kernel",))})
    flat = Blocks({"enc/kernel": L1(2.0), "head/kernel": L2(1.0)})
    for lam in (1.0, 0.3):
        np.testing.assert_allclose(inside.at(lam).value(PARAMS), flat.at(lam).value(PARAMS), rtol=1e-6)
        assert_trees_equal(inside.at(lam).prox(PARAMS, 0.5), flat.at(lam).prox(PARAMS, 0.5))
        assert_trees_equal(inside.at(lam).residual(PARAMS, GRADS), flat.at(lam).residual(PARAMS, GRADS))


# --- what else trees hold ---------------------------------------------------------------------------------


def test_leaves_that_are_not_floating_point_pass_through_as_the_same_object():
    others = {
        "count": jnp.arange(3),
        "flag": True,
        "fn": jnp.tanh,
        "int": 3,
        "key": jax.random.key(0),
        "name": "model",
        "none": None,
        "numpy": np.arange(2),
    }
    params = {"w": jnp.array([2.0, -0.5]), "half": jnp.ones(2, jnp.bfloat16), "python": 2.0, **others}
    grads = {"w": jnp.ones(2), "half": jnp.ones(2, jnp.bfloat16), "python": 1.0, **dict.fromkeys(others)}
    for penalty in (
        L1(),
        L1(weight={**dict.fromkeys(params, 1.0), "none": None}),
        Masked(L1()),
        Blocks({"*": L1()}),
    ):
        moved = penalty.prox(params, 1.0)
        assert all(moved[name] is leaf for name, leaf in others.items())
        np.testing.assert_array_equal(moved["w"], [1.0, 0.0])
        assert moved["half"].dtype == jnp.bfloat16
        assert (moved["half"] == 0).all()
        assert moved["python"] == 1.0
        assert penalty.value(params) == 6.5
        residual = penalty.residual(params, grads)
        np.testing.assert_array_equal(residual["w"], [-2.0, 0.0])
        assert penalty.distance(params, grads) == np.sqrt(4 + 8 + 4)
        assert penalty.lam_max(grads) == 1
    assert L1().value({"count": jnp.arange(3)}) == 0


def filled(shapes):
    """Numbers for the shapes of a model, without running its initializers."""

    def fill(leaf):
        return jnp.full(leaf.shape, 0.5, leaf.dtype) if isinstance(leaf, jax.ShapeDtypeStruct) else leaf

    return jax.tree.map(fill, shapes)


def test_equinox_models():
    model = filled(eqx.filter_eval_shape(eqx.nn.MLP, 3, 1, 4, 1, key=jax.random.key(0)))
    penalty = Masked(L1(0.1), include=("*/weight",))
    weights = [layer.weight for layer in model.layers]
    np.testing.assert_allclose(penalty.value(model), 0.1 * sum(jnp.abs(w).sum() for w in weights), rtol=1e-6)
    assert paths(model)[:2] == ["layers/0/weight", "layers/0/bias"]

    grads = eqx.filter(model, eqx.is_array)
    residual = eqx.filter_jit(penalty.residual)(model, grads)
    assert jax.tree.structure(residual) == jax.tree.structure(grads)
    moved = eqx.filter_jit(lambda penalty, model: penalty.prox(model, 100.0))(penalty, model)
    assert all((layer.weight == 0).all() for layer in moved.layers)
    assert_trees_equal([layer.bias for layer in moved.layers], [layer.bias for layer in model.layers])
    assert moved.activation is model.activation
    # A penalty may be a field of a model, and be filtered like one.
    arrays, rest = eqx.partition({"model": model, "penalty": L1(jnp.asarray(2.0))}, eqx.is_array)
    assert eqx.combine(arrays, rest)["penalty"].lam == 2


def test_flax_models():
    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            return nn.Dense(1)(nn.LayerNorm()(nn.Dense(4)(x)))

    params = filled(jax.eval_shape(Net().init, jax.random.key(0), jnp.ones((2, 3))))
    penalty = Blocks({"*/Dense_1/*": L2(2.0), "*/kernel": L1(0.5)})
    moved = jax.jit(penalty.prox)(params, 1e3)["params"]
    assert (moved["Dense_0"]["kernel"] == 0).all()
    assert (moved["Dense_1"]["kernel"] != 0).all()
    assert_trees_equal(moved["LayerNorm_0"], params["params"]["LayerNorm_0"])

    class Linear(nnx.Module):
        def __init__(self):
            self.hidden = nnx.Linear(3, 2, rngs=nnx.Rngs(0))
            self.dropout = nnx.Dropout(0.5, rngs=nnx.Rngs(1))

    state = filled(nnx.state(nnx.eval_shape(Linear), nnx.Param))
    moved = jax.jit(Masked(L1(1e3), include=("hidden/kernel*",)).prox)(state, 1.0)
    assert (jax.tree.leaves(moved["hidden"]["kernel"])[0] == 0).all()
    assert_trees_equal(moved["hidden"]["bias"], state["hidden"]["bias"])


def test_each_leaf_keeps_its_own_precision(x64):
    params = {"a": jnp.ones(2, jnp.float16), "b": jnp.ones(2, jnp.float32), "c": jnp.ones(2, jnp.float64)}
    for penalty in (
        L1(0.25),
        Masked(L1(0.25), include="*"),
        Blocks({"a": L2(0.25), "*": L1(np.float64(0.25))}),
    ):
        moved = jax.eval_shape(penalty.prox, params, jnp.asarray(0.5))
        assert {name: leaf.dtype for name, leaf in moved.items()} == {"a": "float16", "b": "float32", "c": "float64"}
        assert jax.eval_shape(penalty.value, params).dtype == jnp.float64
        assert jax.eval_shape(lambda a, p=penalty: p.value({"a": a, "n": 1}), params["a"]).dtype == jnp.float32
    # Strengths and factors adapt to the parameters, not the other way round.
    penalty, single = ElasticNet(jnp.asarray(0.25), jnp.asarray(0.5), weight=np.ones(2)), params["b"]
    for method in (penalty.value, penalty.lam_max, penalty.conjugate, penalty.shrink):
        assert jax.eval_shape(method, single).dtype == jnp.float32
    assert jax.eval_shape(penalty.residual, single, single).dtype == jnp.float32


# --- weights ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "weight",
    [
        {"enc": {"bias": 2.0, "kernel": 2.0}, "head": {"kernel": 2.0}},
        {"enc": 2.0, "head": {"kernel": np.array([2.0, 2.0])}},
        {"enc": {"bias": np.array([2.0]), "kernel": np.full(1, 2.0)}, "head": 2},
        2.0,
        np.float32(2.0),
        np.array([2.0, 2.0]),
        [2.0, 2.0],
    ],
)
def test_weights_may_be_numbers_arrays_and_tree_prefixes(weight):
    """All of these double the strength, also when traced."""
    expected = L1(1.0).prox(PARAMS, 1.0)
    assert_trees_equal(L1(0.5, weight).prox(PARAMS, 1.0), expected)
    assert_trees_equal(jax.jit(lambda p: p.prox(PARAMS, 1.0))(L1(0.5, weight)), expected)
    assert_trees_equal(Masked(L1(0.5, weight)).prox(PARAMS, 1.0), expected)


def test_none_in_a_weight_tree_is_one_and_zero_is_no_penalty():
    penalty = L1(1.0, weight={"enc": {"bias": None, "kernel": 0.0}, "head": None})
    moved = penalty.prox(PARAMS, 0.25)
    np.testing.assert_array_equal(moved["enc"]["bias"], [0.25, -1.75])
    np.testing.assert_array_equal(moved["enc"]["kernel"], PARAMS["enc"]["kernel"])
    np.testing.assert_array_equal(moved["head"]["kernel"], [0.5, -3.75])
    assert np.isinf(penalty.dual_norm(PARAMS))
    # Derivatives too are those of no penalty, at zero as elsewhere.
    slope = jax.grad(lambda x: L1(weight=0.0).prox(x, 1.0) + L2(1.0).prox(x, 1.0))(0.0)
    assert slope == 1.5


def test_weights_of_masked_leaves_need_not_fit():
    weight = {"enc": {"bias": np.ones(7), "kernel": 2.0}, "head": 1.0}
    assert Masked(L1(1.0, weight), include=("*/kernel",)).value(PARAMS) == 2 * 3.25 + 4.75


# --- penalties as pytrees ---------------------------------------------------------------------------------


def test_rebuilding_a_penalty_checks_nothing():
    """JAX and its users put gradients, axes and names where numbers were."""
    for penalty in (ElasticNet(2.0, 0.5), Masked(L1(1.0)), Blocks({"*": L1(2.0)})):
        grads = jax.grad(lambda p: -p.value(PARAMS))(penalty)
        assert jax.tree.leaves(jax.device_get(grads))[0] < 0
        assert jax.tree.leaves(jax.tree.map(lambda _: "frozen", penalty))[0] == "frozen"
        axes = jax.tree.map(lambda _: -1, penalty)
        stacked = jax.tree.map(lambda leaf: jnp.stack([leaf, 2 * leaf], axis=-1), jax.tree.map(jnp.asarray, penalty))
        values = jax.vmap(lambda p: p.at(p.lam).value(PARAMS), in_axes=(axes,))(stacked)
        np.testing.assert_allclose(values[0], penalty.value(PARAMS), rtol=1e-6)
        tx = optax.sgd(0.1)
        updates, _ = tx.update(grads, tx.init(penalty), penalty)
        assert type(optax.apply_updates(penalty, updates)) is type(penalty)


def test_penalties_can_be_copied_pickled_and_shown():
    for penalty in (
        ElasticNet(2.0, weight=[1.0, 0.0]),
        Masked(L1(), "*/b"),
        Blocks({"b": L1(), "a": L2()}, 3.0),
    ):
        for twin in (pickle.loads(pickle.dumps(penalty)), copy.deepcopy(penalty)):
            assert twin == penalty
            assert jax.tree.structure(twin) == jax.tree.structure(penalty)
        assert type(penalty).__name__ in repr(penalty)
    keys = [jax.tree_util.keystr(path) for path, _ in jax.tree_util.tree_leaves_with_path(Masked(L1()))]
    assert keys == [".penalty.lam"]


# --- refusals ---------------------------------------------------------------------------------------------

ONE = jnp.ones(2)


@pytest.mark.parametrize(
    ("make", "error", "match"),
    [
        (lambda: L1(-1.0), ValueError, "lam must be finite and at least 0, got -1"),
        (lambda: L1(float("nan")), ValueError, "lam must be finite and at least 0, got nan"),
        (lambda: L2(np.inf), ValueError, "lam must be finite and at least 0, got inf"),
        (lambda: L2(jnp.array([1.0, -2.0])), ValueError, "lam must be finite and at least 0, got -2"),
        (lambda: L1().at(-0.5), ValueError, "lam must be finite and at least 0, got -0.5"),
        (lambda: Masked(L1()).at(-0.5), ValueError, "lam must be"),
        (lambda: Blocks({"*": L1()}).at(-0.5), ValueError, "lam must be"),
        (lambda: Blocks({"*": L1()}, np.nan), ValueError, "lam must be"),
        (lambda: L1("0.1"), TypeError, "lam must be a real number, .* got '0.1'"),
        (lambda: L1(None), TypeError, "lam must be a real number, .* got None"),
        (lambda: L1(1j), TypeError, "lam must be a real number, .* got 1j"),
        (lambda: L1(["a"]), TypeError, "lam must be a real number"),
        (lambda: ElasticNet(1.0, 1.5), ValueError, r"l1_ratio must be finite and in \[0, 1\], got 1.5"),
        (lambda: ElasticNet(1.0, -0.1), ValueError, r"l1_ratio must be finite and in \[0, 1\], got -0.1"),
        (lambda: ElasticNet(1.0, "half"), TypeError, "l1_ratio must be a real number, .* got 'half'"),
        (lambda: L1(weight=[1.0, -1.0]), ValueError, "weight must be finite and at least 0, got -1"),
        (lambda: L1(weight={"a": jnp.array([jnp.nan])}), ValueError, "weight must be .* got nan"),
        (lambda: L1(weight={"a": "b"}), TypeError, "weight must be a real number, .* got 'b'"),
        (lambda: L1(weight=np.ones(3)).value(ONE), ValueError, r"weight of shape \(3,\) .* shape \(2,\)"),
        (lambda: L1(weight=np.ones((2, 1))).prox(ONE, 1.0), ValueError, r"weight of shape \(2, 1\)"),
        (
            lambda: L2(weight={"a": 1.0}).value({"a": ONE, "b": ONE}),
            ValueError,
            "weight .* parameters 'a', 'b'",
        ),
        (lambda: L2(weight=(1.0, 1.0)).value(ONE), ValueError, "weight is a tree that does not fit"),
        (lambda: Masked("l1"), TypeError, "penalty must be a jaxreg penalty, got 'l1'"),
        (lambda: Masked(L1(), include=()), TypeError, r"include must be one or more path patterns, got \(\)"),
        (lambda: Masked(L1(), include=(1,)), TypeError, "include must be"),
        (lambda: Blocks({}), TypeError, "blocks must map path patterns to penalties"),
        (lambda: Blocks([("*", L1())]), TypeError, "blocks must map path patterns to penalties"),
        (lambda: Blocks({"*": 1.0}), TypeError, r"blocks must map .* got '\*': 1.0"),
        (
            lambda: Masked(L1(), "x/*").value(PARAMS),
            ValueError,
            "'x/.*: 'enc/bias', 'enc/kernel', 'head/kernel'",
        ),
        (
            lambda: Blocks({"*": L1(), "x": L2()}).prox(PARAMS, 1.0),
            ValueError,
            "pattern 'x' .*'enc/bias', 'enc/k",
        ),
        (
            lambda: jax.jit(Masked(L1(), "x/*").value)(PARAMS),
            ValueError,
            "pattern 'x/.*' matches no parameter",
        ),
        (lambda: Masked(L1(), "n").value({"n": 1, "w": ONE}), ValueError, "pattern 'n' matches no .*: 'w'"),
        (lambda: Masked(L1(), "n").value({"n": 1}), ValueError, "none at all"),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_sentence(make, error, match):
    with pytest.raises(error, match=match):
        make()
