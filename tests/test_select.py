"""Selectors: patterns, regular expressions and predicates, on the trees of every framework."""

import functools
import re

import equinox as eqx
import flax.linen as nn
import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxreg import L1, Blocks, Masked
from jaxreg._select import matches, owners
from jaxreg._tree import path_string, paths

X = jnp.ones((2, 6, 6, 1))


class LinenModel(nn.Module):
    @nn.compact
    def __call__(self, x):
        x = nn.BatchNorm(use_running_average=True)(nn.Conv(3, (3, 3))(x)).reshape(len(x), -1)
        return nn.Dense(2)(x)


class NNXModel(nnx.Module):
    def __init__(self, rngs):
        self.conv = nnx.Conv(1, 3, (3, 3), rngs=rngs)
        self.norm = nnx.BatchNorm(3, rngs=rngs)
        self.layers = nnx.List([nnx.Linear(3, 4, rngs=rngs), nnx.Linear(4, 2, rngs=rngs)])
        self.drop = nnx.Dropout(0.5, rngs=rngs)
        self.tied = self.layers[0]


class Tied(eqx.Module):
    shared: eqx.nn.Shared

    def __init__(self, key):
        embed, head = eqx.nn.Embedding(5, 3, key=key), eqx.nn.Linear(3, 5, use_bias=False, key=key)
        self.shared = eqx.nn.Shared((embed, head), where=lambda pair: pair[1].weight, get=lambda pair: pair[0].weight)


def linen():
    return LinenModel().init(jax.random.key(0), X)


def nnx_state():
    return nnx.split(NNXModel(nnx.Rngs(0)))[1]


def nnx_params():
    return nnx.split(NNXModel(nnx.Rngs(0)), nnx.Param, ...)[1]


def equinox():
    return eqx.nn.MLP(3, 2, 4, 1, use_final_bias=False, key=jax.random.key(0))


def haiku():
    net = hk.transform(lambda x: hk.nets.MLP([4, 2])(hk.Conv2D(3, 3)(x).mean((1, 2))))
    return net.init(jax.random.key(0), X)


KERNELS = {
    "linen": (linen, "*/kernel", ["params/Conv_0/kernel", "params/Dense_0/kernel"]),
    "nnx": (
        nnx_state,
        "*/kernel",
        ["conv/kernel/value", "layers/0/kernel/value", "layers/1/kernel/value"],
    ),
    "nnx-params": (
        nnx_params,
        re.compile(r"kernel$"),
        ["conv/kernel/value", "layers/0/kernel/value", "layers/1/kernel/value"],
    ),
    "equinox": (equinox, "layers/*/weight", ["layers/0/weight", "layers/1/weight"]),
    "equinox-tied": (lambda: Tied(jax.random.key(0)), "*weight", ["shared/pytree/0/weight"]),
    "haiku": (haiku, re.compile(r"/w$"), ["conv2_d/w", "mlp/~/linear_0/w", "mlp/~/linear_1/w"]),
}


@pytest.mark.parametrize(("make", "selector", "expected"), KERNELS.values(), ids=KERNELS)
def test_kernels_of_every_framework(make, selector, expected):
    tree = make()
    chosen = owners(tree, (selector,))
    names = [path for (path, _), owner in zip(_leaves(tree), chosen, strict=True) if owner == 0]
    assert names == expected

    def is_kernel(path, leaf):
        return path in expected and leaf.ndim >= 2

    params, _ = eqx.partition(tree, eqx.is_inexact_array)
    for one in (selector, is_kernel):
        penalty = Masked(L1(1e3), include=one)
        after = jax.jit(lambda p, penalty=penalty: penalty.prox(p, 1.0))(params)
        for (path, leaf), (_, before) in zip(_leaves(after), _leaves(params), strict=True):
            np.testing.assert_array_equal(leaf, jnp.zeros_like(before) if path in expected else before)
        whole = penalty.prox(tree, 1.0)  # with keys, counters and functions
        assert jax.tree.structure(whole) == jax.tree.structure(tree)
        for (path, leaf), (_, before) in zip(_leaves(whole), _leaves(tree), strict=True):
            assert path in expected or leaf is before


def _leaves(tree):
    return [(path_string(path), leaf) for path, leaf in jax.tree_util.tree_leaves_with_path(tree)]


@pytest.mark.parametrize(
    ("path", "selector", "expected"),
    [
        ("enc/0/kernel", re.compile("kernel"), True),
        ("enc/0/kernel", re.compile("^kernel"), False),
        ("enc/0/kernel", re.compile(r"^enc/\d+/kernel$"), True),
        ("enc/kernel/value", re.compile("kernel$"), True),
        ("enc/kernel/value", "*/kernel", True),
        ("enc/kernel/value", "enc/kernel", True),
        ("value", "value", True),
        ("enc/0/kernel", lambda path, leaf: path.startswith("enc") and leaf.shape == (3,), True),
        ("enc/0/kernel", lambda path, leaf: np.bool_(leaf.ndim > 1), False),
        ("enc/0/kernel", functools.partial(lambda name, path, leaf: name in path, "0"), True),
    ],
)
def test_selectors(path, selector, expected):
    assert matches(path, selector, np.ones(3)) is expected


def test_what_is_unmatched_is_listed():
    tree = {"a": {"w": np.ones(2)}, "n": 3, "f": jnp.tanh, "none": None}
    for selector, words in (
        ("*/kernel", "pattern '*/kernel'"),
        (re.compile("kernel$"), "regular expression 'kernel$'"),
        (named, "predicate named"),
        ("n", "pattern 'n'"),
    ):
        with pytest.raises(ValueError, match=re.escape(f"{words} matches no parameter; the paths there are: 'a/w'")):
            Masked(L1(), include=selector).value(tree)
        with pytest.raises(ValueError, match=re.escape(f"{words} matches no parameter")):
            Blocks({"*": L1(), selector: L1()}).value(tree)
    with pytest.raises(TypeError, match="predicate unsure must answer True or False, got 'perhaps' for 'a/w'"):
        Masked(L1(), include=unsure).value(tree)
    assert paths(tree) == ["a/w"]


def unsure(path, leaf):
    return "perhaps"


def named(path, leaf):
    return path == "b"


def test_models_are_callable_and_yet_no_predicates():
    model = eqx.nn.MLP(2, 1, 4, 1, key=jax.random.key(0))
    for bad in (model, eqx.nn.Lambda(jnp.tanh), LinenModel(), 3, None, re.compile(b"w"), L1, [model], jnp.tanh):
        with pytest.raises(
            TypeError, match=r"include must be path patterns, compiled regular expressions, or functions"
        ):
            Masked(L1(), include=bad)
    with pytest.raises(TypeError, match="blocks must be path patterns"):
        Blocks({eqx.nn.Lambda(jnp.tanh): L1()})


def test_selectors_are_structure():
    """The same function or expression does not compile again, wherever it comes from."""
    traces = []

    @jax.jit
    def value(penalty, params):
        traces.append(None)
        return penalty.value(params)

    params = {"a": jnp.ones(2), "b": jnp.ones((2, 2))}
    for lam in (1.0, 2.0):
        assert value(Masked(L1(lam), include=re.compile("^b")), params) == 4 * lam
    assert len(traces) == 1
    for lam in (1.0, 2.0):
        assert value(Blocks({matrices: L1(lam)}), params) == 4 * lam
    assert len(traces) == 2


def matrices(path, leaf):
    return leaf.ndim == 2
