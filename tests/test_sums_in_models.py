"""Sums of penalties with `Masked` and `Blocks`, as pytrees, and their strengths and steps."""

import copy
import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxreg import (
    L0,
    L1,
    L2,
    MCP,
    SCAD,
    Blocks,
    ElasticNet,
    GroupLasso,
    GroupMCP,
    GroupSCAD,
    L2Ball,
    LogSum,
    Masked,
    Monotone,
    NonNegative,
    Penalty,
    PseudoHuber,
    Simplex,
    SparseGroupLasso,
    TotalVariation,
)

GROUPS = [0, 0, 1, 1, 1, 2]
WEIGHT = np.array([1.0, 0.5, 0.0, 2.0, 1.0, 3.0])


PARAMS = {"enc": {"bias": np.array([0.5, -2.0]), "kernel": np.array([3.0, -0.25])}, "head": np.array([0.75, -4.0])}
GRADS = jax.tree.map(lambda leaf: jnp.asarray(0.3 - leaf, jnp.float32), PARAMS)


def same(a: Penalty, b: Penalty, **tolerance):
    tolerance = {"rtol": 1e-6, "atol": 1e-6} | tolerance
    pairs = [(a.value(PARAMS), b.value(PARAMS)), (a.prox(PARAMS, 0.5), b.prox(PARAMS, 0.5))]
    pairs += [(a.residual(PARAMS, GRADS), b.residual(PARAMS, GRADS))]
    pairs += [(jax.jit(a.lam_max)(GRADS) / a.lam, jax.jit(b.lam_max)(GRADS) / b.lam)]
    for one, other in pairs:
        jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, **tolerance), one, other)


@pytest.mark.slow
def test_masks_and_blocks_of_sums_and_sums_of_them_agree():
    both = Masked(L1(0.5) + L2(0.25), ("enc/*",))
    same(both, Masked(L1(0.5), ("enc/*",)) + Masked(L2(0.25), ("enc/*",)))
    same(both, Masked(ElasticNet(0.75, 2 / 3), ("enc/*",)))
    blocks = Blocks({"enc/bias": L1(0.5) + NonNegative(), "enc/*": MCP(0.7), "head": L2(0.3)})
    same(blocks + L1(0.0), blocks)
    parts = Masked(L1(0.5), "enc/bias") + Masked(NonNegative(), "enc/bias") + Masked(L2(0.3), "head")
    same(parts + Masked(MCP(0.7), "enc/kernel"), blocks)
    same(blocks.at(2.0), (parts + Masked(MCP(0.7), "enc/kernel")).at(2.0))
    weights = {"enc": {"bias": 1.0, "kernel": 0.0}, "head": 2.0}
    same(Masked(L1(0.5), "enc/bias") + Masked(L1(1.0), "head") + L2(0.2), L1(0.5, weights) + L2(0.2))
    group = Masked(GroupLasso(0.7, [0, 0]), ("enc/*",))
    same(
        group + L1(0.2), Blocks({"enc/*": SparseGroupLasso(1.0, 0.2, [0, 0], weight=0.7 * 2**0.5 / 0.8), "*": L1(0.2)})
    )


def test_a_constraint_in_blocks_has_no_strength():
    blocks = Blocks({"enc/*": L1(2.0), "head": L2Ball(1.0)})
    for lam in (0.0, 1.0, 5.0):
        moved = blocks.at(lam).prox(PARAMS, 1.0)
        np.testing.assert_allclose(moved["head"], PARAMS["head"] / np.linalg.norm(PARAMS["head"]), rtol=1e-6)
    np.testing.assert_allclose(blocks.lam_max(GRADS), 2.7 / 2, rtol=1e-6)
    assert np.isinf(Blocks({"enc/*": L1(), "head": Simplex()}).lam_max(GRADS))
    assert Masked(NonNegative(), "head").lam is None
    assert Masked(NonNegative(), "head").at(3.0) == Masked(NonNegative(), "head")
    assert NonNegative().scaled(2.0) == NonNegative()


def test_sums_are_taken_apart_and_strengths_multiply():
    nested = (L1(1.0) + L2(2.0)).at(0.5) + NonNegative()
    assert [type(member) for member in nested.members] == [L1, L2, NonNegative]
    assert [member.lam for member in nested.members] == [0.5, 1.0, None]
    same(nested, L1(0.5) + (L2(1.0) + NonNegative()))
    same(nested.at(3.0), L1(1.5) + L2(3.0) + NonNegative())
    same(nested.scaled(3.0), nested.at(3.0))
    same(L1(0.25) + L1(0.5), L1(0.75))
    penalty = PseudoHuber(1.0, 1.0)
    twice = penalty + penalty
    assert twice.smooth_part == (penalty,)
    np.testing.assert_allclose(twice.value(PARAMS), 2 * penalty.value(PARAMS), rtol=1e-6)


def test_sums_are_pytrees():
    penalty = L1(jnp.asarray(0.5)) + NonNegative() + GroupLasso(0.2, [0, 1])
    for twin in (pickle.loads(pickle.dumps(penalty)), copy.deepcopy(penalty), jax.jit(lambda p: p)(penalty)):
        assert jax.tree.structure(twin) == jax.tree.structure(penalty)
        assert twin.roles == penalty.roles
    assert jax.tree.leaves(jax.tree.map(lambda _: "frozen", penalty)) == ["frozen"] * len(jax.tree.leaves(penalty))
    assert "L1" in repr(penalty)
    traces = []

    @jax.jit
    def value(penalty):
        traces.append(None)
        return penalty.value(jnp.ones(2)), penalty.prox(jnp.ones(2), 0.1)

    for lam in (1.0, 2.0, 0.0):
        value(penalty.at(lam))
    assert len(traces) == 1
    slope = jax.grad(lambda p: p.value(jnp.ones(2)))(penalty)
    assert slope.members[0].lam == 2
    stacked = jax.vmap(lambda lam: (L1(lam) + NonNegative()).prox(jnp.ones(2), 1.0))(jnp.array([0.25, 3.0]))
    np.testing.assert_array_equal(stacked, [[0.75, 0.75], [0.0, 0.0]])


def test_the_largest_step_is_that_of_the_members_and_squares_lengthen_it():
    assert (L1() + L2()).max_step == np.inf
    assert MCP(gamma=3.0).max_step == 3
    assert (L1() + MCP(gamma=3.0) + NonNegative()).max_step == 3
    assert Blocks({"enc/*": MCP(gamma=3.0), "*": SCAD(gamma=3.5)}).max_step == 2.5
    assert Masked(GroupMCP(groups=GROUPS, gamma=2.0), "*").max_step == 2
    assert (GroupSCAD(groups=GROUPS, gamma=4.0) + L1()).max_step == 3
    np.testing.assert_allclose((MCP(gamma=3.0) + L2(0.25)).max_step, 12.0, rtol=1e-6)
    assert (MCP(gamma=3.0) + L2(0.5)).max_step == np.inf
    np.testing.assert_allclose((MCP(gamma=3.0) + L2(0.5)).at(0.5).max_step, 12.0, rtol=1e-6)
    assert (MCP(gamma=3.0) + L2(0.5, WEIGHT)).max_step == 3


@pytest.mark.slow
def test_lam_max_of_sums(x64):
    """At it zero holds, below it does not; free entries do not count, and what only a square pulls never holds."""
    rng = np.random.default_rng(3)
    free = L1(1.0, [1.0, 1.0, 0.0, 1.0, 1.0, 0.0])
    for penalty, grads in (
        (L1(0.5, WEIGHT) + GroupLasso(0.7, GROUPS), rng.normal(size=6)),
        (free + NonNegative(), rng.normal(size=6)),
        (free + GroupLasso(1.0, GROUPS, weight=[1.0, 1.0, 0.0]), rng.normal(size=6)),
        (L1(0.3) + TotalVariation(1.0), rng.normal(size=6)),
        (L1(0.3) + Monotone(), rng.normal(size=6)),
        (L1(0.3) + L2(3.0), 1e-9 * rng.normal(size=6)),
        (LogSum(0.5, 0.1) + L2(1.0), 1e6 * rng.normal(size=6)),
    ):
        lam = float(jax.jit(penalty.lam_max)(grads))
        zero = jnp.zeros(6)
        held = [np.asarray(penalty.at(scale * lam).residual(zero, grads)) for scale in (1 + 1e-12, 1 - 1e-12)]
        mask = np.asarray(penalty.at(1e12 * lam).residual(zero, grads)) == 0
        assert 0 < lam < np.inf
        assert (held[0][mask] == 0).all()
        assert (held[1][mask] != 0).any()
    assert (L1(1.0, WEIGHT) + L2(1.0)).lam_max(np.ones(6)) == np.inf
    assert (L1(1.0) + L2(1.0)).lam_max(np.zeros(6)) == 0
    assert (L2(1.0) + Simplex(1.0)).lam_max(np.ones(6)) == np.inf
    assert (NonNegative() + L2(1.0)).lam_max(np.ones(6)) == 0
    assert np.isnan((L1(1.0) + NonNegative()).lam_max(np.array([1.0, np.nan])))
    counting, grads = L0(0.5) + L2(1.0), rng.normal(size=6)
    lam = float(counting.lam_max(grads))
    assert (counting.at(lam * 1.0001).prox(-grads, 1.0) == 0).all()
    assert (counting.at(lam * 0.9999).prox(-grads, 1.0) != 0).any()


@pytest.mark.slow
def test_leaves_that_hold_no_numbers_pass_through_sums():
    params = {"w": jnp.array([2.0, -0.5]), "half": jnp.ones(2, jnp.bfloat16), "fn": jnp.tanh, "n": 3, "none": None}
    grads = {"w": jnp.ones(2), "half": jnp.ones(2, jnp.bfloat16), "fn": None, "n": None, "none": None}
    for penalty in (L1(1.0) + NonNegative(), L1(1.0) + NonNegative() + L2Ball(100.0), L1(1.0) + Monotone()):
        moved = penalty.prox(params, 0.5)
        assert moved["fn"] is params["fn"]
        assert moved["n"] == 3
        assert moved["half"].dtype == jnp.bfloat16
        np.testing.assert_array_equal(moved["half"], [0.5, 0.5])
        assert np.isfinite(jax.jit(penalty.lam_max)({name: g for name, g in grads.items() if name != "half"}))
        assert jax.eval_shape(penalty.residual, {"w": params["w"]}, {"w": grads["w"]})["w"].dtype == jnp.float32
    moved = PseudoHuber(0.3, 0.5) + Monotone()
    assert set(moved.residual(params, grads)) == set(params)
