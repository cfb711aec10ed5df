"""What acts where, what is zero, and smaller models that do the same."""

import equinox as eqx
import flax.linen as nn
import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import jaxreg as jr

IMAGE = np.random.default_rng(1).normal(size=(5, 8, 8, 2)).astype(np.float32)


# --- describe ---------------------------------------------------------------------------------------------


def test_describe_says_which_leaf_gets_what(capsys):
    params = {
        "embed": {"table": np.ones((7, 3)), "scale": np.ones(3)},
        "dense": {"kernel": np.ones((3, 4)), "bias": np.ones(4), "steps": 3},
        "head": jnp.ones((4, 2)),
    }
    penalty = jr.Blocks(
        {
            "embed/table": jr.L21(0.125),
            "dense/*": jr.Units(jr.GroupLasso(0.5, groups=jr.by_axis(0)), {"*/kernel": -1, "*/bias": 0}),
            lambda path, leaf: path == "head" and leaf.ndim == 2: jr.L1(0.25) + jr.L2(0.5),
        }
    )
    jr.describe(penalty, params)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["parameter", "shape", "penalty"]
    rows = {line.split()[0]: line for line in lines[1:]}
    assert list(rows) == ["dense/bias", "dense/kernel", "embed/scale", "embed/table", "head"]
    assert rows["dense/kernel"].endswith("3 × 4  Units(GroupLasso(lam=0.5, groups=by_axis(0))): 4 units along axis -1")
    assert rows["embed/scale"].endswith("none")
    assert rows["embed/table"].endswith("7 × 3  L21(lam=0.125): 7 groups")
    assert rows["head"].endswith("L1(lam=0.25) + L2(lam=0.5)")
    shapes = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(np.shape(leaf), jnp.result_type(leaf)), params)
    jr.describe(penalty, shapes)
    assert capsys.readouterr().out.splitlines() == lines
    jr.describe(jr.L1(0.1, weight={"embed": 0.0, "dense": 1.0, "head": 0.0}), params)
    assert [line.endswith("(weight 0: none)") for line in capsys.readouterr().out.splitlines()[1:]] == [
        False, False, True, True, True,
    ]  # fmt: skip
    with pytest.raises(ValueError, match="the paths there are: 'dense/bias'"):
        jr.describe(jr.Masked(jr.L1(), include="nothing"), params)


# --- sparsity ---------------------------------------------------------------------------------------------


def test_sparsity_counts_zeros_and_groups_by_path():
    kernel = np.array([[0.0, 1.0, 0.0], [0.0, -0.0, 2.0]], np.float32)
    params = {"a": {"kernel": jnp.asarray(kernel, jnp.bfloat16), "bias": np.zeros(3)}, "n": np.zeros(4, int)}
    report = jr.sparsity(params)
    assert (report.size, report.zeros, report.groups) == (9, 7, 0)
    assert report["a/kernel"].zeros == 4
    assert report.share == 7 / 9
    penalty = jr.Masked(jr.GroupLasso(groups=jr.by_axis(-1)), include="*/kernel")
    report = jr.sparsity(params, penalty)
    assert [leaf.path for leaf in report.leaves] == ["a/kernel"]
    assert (report.zero_groups, report.groups) == (1, 3)
    units = jr.Units(jr.L21(), {"*/kernel": -1, "*/bias": 0})
    report = jr.sparsity(params, units)
    assert [(leaf.zero_groups, leaf.groups) for leaf in report.leaves] == [(3, 3), (1, 3)]
    assert str(report).splitlines()[-1].split() == ["in", "all", "9", "7", "77.8%", "4", "of", "6"]
    with pytest.raises(KeyError, match="a/bias"):
        report["b"]


# --- compact ----------------------------------------------------------------------------------------------


def prune(leaf, axis, units):
    array = np.asarray(leaf).copy()
    np.moveaxis(array, axis, 0)[units] = 0
    return jnp.asarray(array)


class Linen(nn.Module):
    channels: tuple = (4, 3)
    widths: tuple = (6, 5)
    padding: str = "SAME"

    @nn.compact
    def __call__(self, x):
        x = nn.relu(nn.Conv(self.channels[0], (3, 3), padding=self.padding)(x))
        x = nn.max_pool(nn.relu(nn.Conv(self.channels[1], (3, 3), padding=self.padding)(x)), (2, 2), (2, 2))
        x = x.reshape(len(x), -1)
        for width in self.widths:
            x = nn.relu(nn.Dense(width)(x))
        return nn.Dense(2)(x)


def linen(padding="SAME", conv_bias=0.0):
    model = Linen(padding=padding)
    params = jax.tree.map(lambda x: x + 0.1, model.init(jax.random.key(0), IMAGE[:1]))["params"]
    for layer, units in (("Conv_0", [1, 3]), ("Conv_1", [0]), ("Dense_0", [2, 3, 5])):
        params[layer]["kernel"] = prune(params[layer]["kernel"], -1, units)
        if layer == "Conv_0":
            params[layer]["bias"] = params[layer]["bias"].at[jnp.array(units)].set(conv_bias)
    params["Dense_2"]["kernel"] = prune(params["Dense_2"]["kernel"], 0, [1])  # leads nowhere, though it is fed
    return model, {"params": params}


@pytest.mark.parametrize(("padding", "bias"), [("SAME", 0.0), ("VALID", 0.7)])
def test_linen_models_shrink_to_equal_outputs(padding, bias):
    """Constants of dense units are folded into biases, and those of channels where nothing is padded."""
    model, params = linen(padding, bias)
    links = jr.sequential(params, padded=padding == "SAME")
    assert [link.kernel.split("/")[1] for link in links] == ["Conv_0", "Conv_1", "Dense_0", "Dense_1"]
    small, kept = jr.compact(params, links)
    assert [len(units) for units in kept.values()] == [2, 2, 3, 4]
    np.testing.assert_array_equal(kept["params/Dense_0/kernel"], [0, 1, 4])
    assert small["params"]["Dense_0"]["kernel"].shape[1:] == (3,)
    expected = model.apply(params, IMAGE)
    np.testing.assert_allclose(Linen((2, 2), (3, 4), padding).apply(small, IMAGE), expected, rtol=1e-5, atol=1e-5)
    assert np.ptp(expected) > 0.1


def test_a_constant_channel_before_padding_is_refused_or_kept():
    _, params = linen("SAME", 0.7)
    with pytest.raises(
        ValueError, match=r"unit 1 of 'params/Conv_0/kernel' gives the constant 0.7.*zero padding.*Units"
    ):
        jr.compact(params, jr.sequential(params))
    _, kept = jr.compact(params, jr.sequential(params), constant="keep")
    assert [len(units) for units in kept.values()] == [4, 2, 3, 4]
    # A constant channel before no padding is folded, but a next layer without a bias cannot take it up.
    _, params = linen("VALID", 0.7)
    del params["params"]["Conv_1"]["bias"]
    with pytest.raises(ValueError, match="'params/Conv_1/kernel' has no bias"):
        jr.compact(params, jr.sequential(params, padded=False))


def test_nnx_models_shrink_in_place():
    class Net(nnx.Module):
        def __init__(self, rngs):
            self.conv = nnx.Conv(2, 4, (3, 3), rngs=rngs)
            self.hidden = nnx.Linear(4 * 64, 5, rngs=rngs)
            self.out = nnx.Linear(5, 2, rngs=rngs)

        def __call__(self, x):
            x = jnp.tanh(self.conv(x)).reshape(len(x), -1)
            return self.out(jnp.tanh(self.hidden(x)))

    model = Net(nnx.Rngs(0))
    graph, state = nnx.split(model)
    for layer, units in (("conv", [0, 2]), ("hidden", [4])):
        state[layer]["kernel"].set_value(prune(state[layer]["kernel"].get_value(), -1, units))
    state["hidden"]["bias"].set_value(jnp.arange(5.0))
    links = jr.sequential(state, ["conv", "hidden", "out"], activation=jnp.tanh)
    small, kept = jr.compact(state, links)
    assert {path: len(units) for path, units in kept.items()} == {"conv/kernel/value": 2, "hidden/kernel/value": 4}
    expected = nnx.merge(graph, state)(IMAGE)
    np.testing.assert_allclose(nnx.merge(graph, small)(IMAGE), expected, rtol=1e-5, atol=1e-5)


def test_equinox_models_shrink_in_place():
    """Channels come first there, also where they are flattened."""
    keys = jax.random.split(jax.random.key(0), 3)
    model = eqx.nn.Sequential([
        eqx.nn.Conv2d(2, 4, 3, padding=1, key=keys[0]),
        eqx.nn.Lambda(jax.nn.relu),
        eqx.nn.MaxPool2d(2, 2),
        eqx.nn.Lambda(jnp.ravel),
        eqx.nn.Linear(4 * 16, 6, key=keys[1]),
        eqx.nn.Lambda(jax.nn.relu),
        eqx.nn.Linear(6, 2, key=keys[2]),
    ])  # fmt: skip
    x = jnp.moveaxis(IMAGE, -1, 1)
    where = lambda m: (m.layers[0].weight, m.layers[0].bias, m.layers[4].weight)  # noqa: E731
    pruned = eqx.tree_at(
        where, model, tuple(prune(leaf, 0, units) for leaf, units in zip(where(model), ([2], [2], [0, 5]), strict=True))
    )
    small, kept = jr.compact(pruned, jr.sequential(pruned))
    assert [len(units) for units in kept.values()] == [3, 4]
    assert small.layers[0].bias.shape == (3, 1, 1)
    np.testing.assert_allclose(jax.vmap(small)(x), jax.vmap(pruned)(x), rtol=1e-5, atol=1e-5)


def test_cutting_one_unit_frees_others_and_a_dead_layer_keeps_one():
    """Haiku's names; a chain in which what is dead in the middle is of no use before, and constant after."""
    rng = np.random.default_rng(0)
    shapes = [(3, 4), (4, 4), (4, 4), (4, 2)]
    params = {
        f"mlp/~/linear_{k}": {"w": rng.normal(size=shape), "b": rng.normal(size=shape[1])}
        for k, shape in enumerate(shapes)
    }
    params["mlp/~/linear_1"]["w"][:, 1:] = 0  # units 1, 2, 3 of layer 1 are constant
    params["mlp/~/linear_1"]["w"][0] = 0  # unit 0 of layer 0 leads nowhere
    params["mlp/~/linear_2"]["w"][0, :2] = 0  # units 0, 1 of layer 2 are fed by constants only
    net = hk.without_apply_rng(hk.transform(lambda x: hk.nets.MLP([4, 4, 4, 2])(x)))
    x = rng.normal(size=(6, 3)).astype(np.float32)
    params = jax.tree.map(jnp.asarray, params)
    expected = net.apply(params, x)
    small, kept = jr.compact(params, jr.sequential(params))
    widths = [len(units) for units in kept.values()]
    assert widths == [3, 1, 2]
    smaller = hk.without_apply_rng(hk.transform(lambda x: hk.nets.MLP([*widths, 2])(x)))
    np.testing.assert_allclose(smaller.apply(small, x), expected, rtol=1e-5, atol=1e-6)
    dead = jax.tree.map(lambda leaf: leaf, params)
    dead["mlp/~/linear_2"]["w"] = jnp.zeros((4, 4))
    small, kept = jr.compact(dead, jr.sequential(dead))
    assert [len(units) for units in kept.values()] == [1, 1, 1]
    constant = hk.without_apply_rng(hk.transform(lambda x: hk.nets.MLP([1, 1, 1, 2])(x))).apply(small, x)
    np.testing.assert_allclose(constant, net.apply(dead, x), rtol=1e-5, atol=1e-6)


def test_links_by_hand_cut_along_and_bad_ones_are_refused():
    params = {"w": np.array([[1.0, 0.0], [2.0, 0.0]]), "gain": np.array([3.0, 4.0]), "v": np.array([[5.0], [6.0]])}
    link = jr.Link("w", "v", also={"gain": 0})
    small, kept = jr.compact(params, [link])
    np.testing.assert_array_equal(kept["w"], [0])
    assert (small["w"].shape, small["gain"].shape, small["v"].shape) == ((2, 1), (1,), (1, 1))
    for bad, message in (
        ([jr.Link("w", "x")], "into names 'x', but the paths there are: 'gain', 'v', 'w'"),
        ([jr.Link("w", "v", into_axis=1)], "'w' has 2 units, but 'v' takes 1 inputs"),
        ([jr.Link("w", "v", axis=2)], "has no axis 2"),
        ([jr.Link("w", "v", bias="v", into_axis=0, axis=-1), "w"], "links must be a list of Link"),
    ):
        with pytest.raises((ValueError, TypeError), match=message):
            jr.compact(params, bad)
    with pytest.raises(ValueError, match="constant must be"):
        jr.compact(params, [link], constant="fold")
    with pytest.raises(ValueError, match="a chain needs two or more layers"):
        jr.sequential(params)
    with pytest.raises(ValueError, match="layers names 'c', but the layers with a kernel are"):
        jr.sequential({"a": {"w": np.ones((2, 2))}}, ["a", "c"])
