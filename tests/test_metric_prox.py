"""Proximal steps in a diagonal metric, for every penalty that has one; groups by axis, and of several parameters."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from jaxreg import L1, L2, L21, Blocks, GroupLasso, GroupMCP, L1Ball, Masked, SparseGroupLasso, Units, by_axis
from tests.catalogue import PENALTIES

NONE = {
    "k_support", "k_support-fraction", "tree_group", "group_mcp", "group_scad", "heads", "slope", "linf",
    "total_variation", "nuclear", "fused_lasso", "fused_lasso-columns", "simplex", "l1_ball", "l2_ball", "monotone",
    "sum-total_variation",
}  # fmt: skip


@pytest.mark.parametrize("case", [case for case in PENALTIES if case.name not in NONE], ids=lambda case: case.name)
def test_it_solves_its_own_equation(case, x64):
    """0 ∈ d(z − v) + step·∂g(z); and in a metric that is one number it is the prox at step/d."""
    rng = np.random.default_rng(0)
    v, d = rng.normal(size=(8, case.size)) * 3, 10.0 ** rng.uniform(-2, 2, size=(8, case.size))
    step, penalty = 0.4, case.at(1.3)

    def one(v, d):
        x, metric = case.tree(v), case.tree(d)
        z = penalty.metric_prox(x, step, metric)
        grads = jax.tree.map(lambda z, x, d: d * (z - x) / step, z, x, metric)
        same = jax.tree.map(lambda a, b: a - b, penalty.metric_prox(x, step, 2.0), penalty.prox(x, step / 2.0))
        flat = lambda tree: jnp.concatenate([leaf.ravel() for leaf in jax.tree.leaves(tree)])  # noqa: E731
        return flat(z), flat(penalty.residual(z, grads)), flat(same)

    z, residual, same = jax.jit(jax.vmap(one))(v, d)
    assert np.isfinite(z).all()
    scale = 1 + np.abs(d * (z - v) / step)
    np.testing.assert_allclose(residual / scale, 0, atol=1e-11)
    np.testing.assert_allclose(same, 0, atol=1e-13)
    free = case.name not in ("l2", "l2-weight", "pseudo_huber-weight", "huberized-weight")
    assert (np.asarray(z == 0).any() or not case.strength) >= free


@pytest.mark.parametrize("case", [case for case in PENALTIES if case.name in NONE], ids=lambda case: case.name)
def test_all_others_say_that_there_is_none(case):
    with pytest.raises(TypeError, match="has no known prox in a diagonal metric"):
        case.at(1.0).metric_prox(case.params, 0.1, 1.0)


def test_groups_in_extreme_metrics(dtype):
    """Whatever the scales: no NaN, zero exactly where ‖d·v‖ ≤ t, and elsewhere the equation to rounding."""
    rng = np.random.default_rng(0)
    v = np.asarray(rng.normal(size=(200, 5)) * 10.0 ** rng.uniform(-6, 6, (200, 1)), dtype)
    d = np.asarray(10.0 ** rng.uniform(-8, 8, (200, 5)), dtype)
    dv = np.linalg.norm(d.astype(np.float64) * v, axis=1)
    threshold = dv * rng.choice([1e-6, 0.1, 0.9, 0.999, 1.001, 10.0], 200)
    penalty = L21(1.0, weight=threshold)
    z = np.asarray(jax.jit(penalty.metric_prox)(v, 1.0, d), np.float64)
    assert np.isfinite(z).all()
    zero = (z == 0).all(axis=1)
    np.testing.assert_array_equal(zero, threshold > dv)
    norm = np.linalg.norm(z, axis=1, keepdims=True)
    pull = d * (z - v) + threshold[:, None] * z / np.where(norm > 0, norm, 1)
    assert np.abs(pull[~zero] / dv[~zero, None]).max() < 2e3 * np.finfo(dtype).eps


def test_derivatives_of_groups_in_a_metric(x64):
    rng = np.random.default_rng(0)
    x, d = rng.normal(size=(4, 3)), rng.uniform(0.5, 2, size=(4, 3))

    @jax.jit
    def prox(x, d, lam):
        return GroupLasso(lam, groups=by_axis(1)).metric_prox(x, 0.3, d)

    check_grads(prox, (x, d, 0.7), order=1, modes=("rev",), rtol=1e-6)


# --- groups by axis ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("groups", "shape", "as_columns"),
    [
        (by_axis(-1), (4, 3), lambda x: x),
        (by_axis(0), (3, 4), lambda x: x.T),
        (by_axis(-1), (2, 2, 3, 5), lambda x: x.reshape(-1, 5)),
        (by_axis(-2, -1), (2, 2, 3, 5), lambda x: x.reshape(4, 15)),
        (by_axis(1), (4, 3, 2), lambda x: x.transpose(0, 2, 1).reshape(8, 3)),
        (by_axis(-1, width=2), (3, 6), lambda x: x.reshape(3, 3, 2).transpose(0, 2, 1).reshape(6, 3)),
        (by_axis(0, 1, width=2), (2, 4, 3), lambda x: x.reshape(2, 2, 2, 3).transpose(2, 3, 0, 1).reshape(6, 4)),
        (by_axis(0), (5,), lambda x: x[None]),
    ],
    ids=lambda value: None if callable(value) else str(value),
)
def test_groups_by_axis_are_the_columns_of_a_matrix(groups, shape, as_columns):
    x = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    columns = as_columns(x)
    norms = np.linalg.norm(columns, axis=0)
    penalty = GroupLasso(1.0, groups=groups, weight=1.0)
    np.testing.assert_allclose(penalty.value(x), norms.sum(), rtol=1e-6)
    moved = columns * np.maximum(1 - 1.5 / norms, 0)
    np.testing.assert_allclose(as_columns(np.asarray(penalty.prox(x, 1.5))), moved, atol=1e-6)
    labels = groups.labels(shape)
    np.testing.assert_array_equal(as_columns(np.asarray(labels)), np.tile(np.arange(len(norms)), (len(columns), 1)))
    np.testing.assert_array_equal(groups.sizes(shape), np.full(len(norms), len(columns)))
    np.testing.assert_allclose(penalty.lam_max(x), norms.max(), rtol=1e-6)
    assert by_axis(*groups.axes, width=groups.width) == groups


def test_bad_axes():
    with pytest.raises(ValueError, match=r"by_axis\(2\) does not fit a parameter of shape \(3, 4\)"):
        GroupLasso(groups=by_axis(2)).value(np.ones((3, 4)))
    with pytest.raises(ValueError, match="4 is no multiple of the width"):
        GroupLasso(groups=by_axis(1, width=3)).value(np.ones((3, 4)))
    with pytest.raises(ValueError, match="twice"):
        GroupLasso(groups=by_axis(1, -1)).value(np.ones((3, 4)))
    for bad, kind in (((), ValueError), ((1.0,), TypeError), ((True,), TypeError)):
        with pytest.raises(kind, match="ax"):
            by_axis(*bad)
    with pytest.raises(ValueError, match="width must be at least 1"):
        by_axis(0, width=0)


# --- units ------------------------------------------------------------------------------------------------

PARAMS = {
    "conv": {"kernel": np.arange(24.0).reshape(2, 3, 4) - 11, "bias": np.array([1.0, -2.0, 0.5, 3.0])},
    "out": {"kernel": np.linspace(-1, 1, 8).reshape(4, 2)},
}


def test_units_are_groups_over_several_parameters():
    units = Units(L21(0.5), {"conv/kernel": -1, "conv/bias": 0, "out/*": 0})
    rows = np.concatenate(
        [PARAMS["conv"]["kernel"].reshape(6, 4).T, PARAMS["conv"]["bias"][:, None], PARAMS["out"]["kernel"]], axis=1
    )
    norms = np.linalg.norm(rows, axis=1)
    np.testing.assert_allclose(units.value(PARAMS), 0.5 * norms.sum(), rtol=1e-6)
    moved = units.prox(PARAMS, 33.9)
    shrink = np.maximum(1 - 16.95 / norms, 0)
    np.testing.assert_allclose(moved["conv"]["kernel"], PARAMS["conv"]["kernel"] * shrink, atol=1e-5)
    np.testing.assert_allclose(moved["conv"]["bias"], PARAMS["conv"]["bias"] * shrink, atol=1e-5)
    np.testing.assert_allclose(moved["out"]["kernel"], PARAMS["out"]["kernel"] * shrink[:, None], atol=1e-5)
    assert 0 < np.sum(shrink == 0) < 4
    half = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.bfloat16), PARAMS)
    assert {leaf.dtype.name for leaf in jax.tree.leaves(units.prox(half, 40.0))} == {"bfloat16"}
    inside = Blocks({"conv/*": Units(L21(1.0), {"*/kernel": -1, "*/bias": 0}), "*": L1(1.0)}, lam=0.5)
    expected = 0.5 * (np.linalg.norm(rows[:, :7], axis=1).sum() + np.abs(PARAMS["out"]["kernel"]).sum())
    np.testing.assert_allclose(inside.value(PARAMS), expected, rtol=1e-6)
    both = Units(L21(0.5), {"conv/kernel": -1}) + L1(0.1)
    np.testing.assert_allclose(both.prox(PARAMS, 1.0)["out"]["kernel"], L1(0.1).prox(PARAMS["out"]["kernel"], 1.0))


def test_units_that_do_not_fit():
    with pytest.raises(ValueError, match="as many units in every parameter, got 4 in 'conv/bias', 2 in 'out/kernel'"):
        Units(L21(), {"conv/bias": 0, "out/kernel": 1}).value(PARAMS)
    with pytest.raises(ValueError, match=r"gives axis 1 for 'conv/bias', whose shape is \(4,\)"):
        Units(L21(), {"conv/*": 1}).value(PARAMS)
    with pytest.raises(ValueError, match="pattern 'enc' matches no parameter"):
        Units(L21(), {"enc": 0}).value(PARAMS)
    for bad in ({}, {"a": 1.5}, {"a": True}, ["a"]):
        with pytest.raises(TypeError, match="axes must map path patterns to axes"):
            Units(L21(), bad)
    with pytest.raises(TypeError, match="penalty must be"):
        Units(0.1, {"a": 0})


def test_parts_say_what_acts_on_each_leaf():
    penalty = Blocks({"conv/*": Masked(SparseGroupLasso(groups=by_axis(-1)) + L2(0.5), include="*/kernel"), "*": L1()})
    names = [[type(part).__name__ for part in parts] for parts in penalty.parts(PARAMS)]
    assert names == [[], ["SparseGroupLasso", "L2"], ["L1"]]
    assert [len(parts) for parts in L1Ball().parts({"a": np.ones(2), "b": 3})] == [1, 0]
    assert isinstance(GroupMCP(groups=by_axis(0)).parts(np.ones(2))[0][0], GroupMCP)
