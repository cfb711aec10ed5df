"""Group penalties and their relatives: which are the same, what groups may be, and what is refused."""

import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse

from jaxreg import (
    L1,
    L21,
    SLOPE,
    FusedLasso,
    Grouped,
    GroupLasso,
    GroupMCP,
    GroupSCAD,
    LInf,
    Masked,
    Nuclear,
    OverlappingGroupLasso,
    SparseGroupLasso,
    TotalVariation,
    TotalVariation2D,
    TreeGroupLasso,
    benjamini_hochberg,
)


@pytest.mark.slow
def test_members_of_a_family_agree_where_they_are_the_same(x64):
    rng = np.random.default_rng(12)
    x, g = rng.normal(size=(2, 6)) * 2
    singles = GroupLasso(1.0, np.arange(6))
    groups = [[0, 3], [1, 2, 4], [5]]
    pairs = [
        (singles, L1(1.0)),
        (SLOPE(1.0, np.ones(6)), L1(1.0)),
        (SLOPE(1.0, [1.0, 0, 0, 0, 0, 0]), LInf(1.0)),
        (SparseGroupLasso(1.0, 0.0, groups), GroupLasso(1.0, groups)),
        (SparseGroupLasso(1.0, 1.0, groups), L1(1.0)),
        (TreeGroupLasso(1.0, groups), GroupLasso(1.0, groups)),
        (OverlappingGroupLasso(1.0, [[0, 1], [2, 3, 4], [5]]), GroupLasso(1.0, [0, 0, 1, 1, 1, 2])),
        (FusedLasso(1.0, 1.0), L1(1.0)),
        (FusedLasso(1.0, 0.0), TotalVariation(1.0)),
        (GroupMCP(1.0, groups, gamma=1e12), GroupLasso(1.0, groups)),
        (GroupSCAD(1.0, groups, gamma=1e12), GroupLasso(1.0, groups)),
    ]

    @jax.jit
    def everything(penalty):
        at_zero = penalty.residual(jnp.zeros(6), g), penalty.lam_max(g)
        return penalty.value(x), penalty.prox(x, 0.7), penalty.residual(x, g), *at_zero

    for pair in pairs:
        for a, b in zip(*map(everything, pair), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-11)
    rows = rng.normal(size=(3, 2))
    np.testing.assert_allclose(L21(1.0).prox(rows, 0.5), GroupLasso(1.0, np.arange(3), weight=1.0).prox(rows, 0.5))
    column = rng.normal(size=(6, 1))
    np.testing.assert_allclose(
        Nuclear(1.0).prox(column, 0.5), LInf(0.0).prox(column * (1 - 0.5 / np.linalg.norm(column)), 1)
    )


def test_tree_groups_of_entries_and_of_all_are_the_sparse_group_lasso(x64):
    x = np.random.default_rng(13).normal(size=6) * 3
    tree = TreeGroupLasso(1.0, [*([k] for k in range(6)), [0, 1, 2], [3, 4, 5]], weight=[*[0.4] * 6, 0.9, 0.9])
    sparse = SparseGroupLasso(1.0, 0.5, [0, 0, 0, 1, 1, 1], weight=1.8, entry_weight=0.8)
    for a, b in (
        (tree.prox(x, 0.7), sparse.prox(x, 0.7)),
        (tree.value(x), sparse.value(x)),
        (tree.lam_max(x), sparse.lam_max(x)),
    ):
        np.testing.assert_allclose(a, b, rtol=1e-13)


def test_unpenalized_groups_stay(x64):
    """Also entries that no group of a tree holds, which are unpenalized."""
    v = np.array([0.1, -0.2, 0.3, 0.4])
    for penalty in (
        GroupLasso(9.0, [0, 0, 1, 1], weight=[0, 1]),
        TreeGroupLasso(9.0, [[2, 3], [3]]),
        GroupMCP(9.0, [0, 0, 1, 1], 3.0, [0, 1]),
    ):
        np.testing.assert_array_equal(penalty.prox(v, 1.0), [0.1, -0.2, 0.0, 0.0])
        np.testing.assert_array_equal(penalty.residual(v * [1, 1, 0, 0], v)[:2], -v[:2])
        assert penalty.lam_max(v * [1, 1, 0, 0]) == 0
    assert TreeGroupLasso(9.0, [[2, 3], [3]]).dual_norm(v) == np.inf
    chains = TotalVariation(1.0, weight=[1.0, 0.0, 1.0])
    np.testing.assert_allclose(chains.prox(v, 9.0), [-0.05, -0.05, 0.35, 0.35], atol=1e-15)


def test_false_discovery_weights():
    """Against the normal quantiles of Bogdan et al., at p = 5000 and q = 0.1."""
    weights = benjamini_hochberg(5000, rate=0.1)
    np.testing.assert_allclose(
        weights[[0, 49, 4999]], [4.264890793922602, 3.2905267314919255, 1.6448536269514722], rtol=1e-10
    )
    assert (np.diff(weights) < 0).all()
    lam_max = SLOPE(1.0, weights).lam_max(jnp.zeros(5000).at[3].set(5.0))
    np.testing.assert_allclose(lam_max, 5 / weights[0], rtol=1e-6)


# --- groups --------------------------------------------------------------------------------------------------


def test_groups_are_structure(x64):
    """They are compared by what they hold, survive pickling, and tell the linear engine who belongs together."""
    penalty = GroupLasso(1.0, [7, 3, 7, 9])
    same = GroupLasso(2.0, [[1], [0, 2], [3]])
    assert penalty.groups == same.groups
    assert hash(penalty.groups) == hash(same.groups)
    assert jax.tree.structure(penalty) == jax.tree.structure(same)
    assert penalty.groups != GroupLasso(1.0, [0, 0, 1, 2]).groups
    assert isinstance(penalty, Grouped)
    np.testing.assert_array_equal(penalty.labels((4,)), [1, 0, 1, 2])
    np.testing.assert_array_equal(penalty.labels((4, 2))[:, 1], [1, 0, 1, 2])
    np.testing.assert_array_equal(L21().labels((2, 3)), [[0, 0, 0], [1, 1, 1]])
    np.testing.assert_allclose(penalty.group_lam_max(jnp.array([3.0, -1.0, 4.0, 0.0])), [1, 5 / np.sqrt(2), 0])
    x = jnp.arange(4.0)
    for one in (penalty, OverlappingGroupLasso(1.0, [[0, 1], [1, 0]]), TreeGroupLasso(1.0, [[0, 1], [1]])):
        again = pickle.loads(pickle.dumps(one))
        assert again.groups == one.groups
        np.testing.assert_array_equal(again.prox(x, 0.5), one.prox(x, 0.5))
    assert repr(penalty.groups) == "Groups(4 in 3 groups of 1 to 2)"


def test_overlapping_groups_select_unions(x64):
    """Solved in the latent variables, collapsed, for dense and sparse X, one response and paths."""
    penalty = OverlappingGroupLasso(0.3, groups=[[0, 1, 2], [2, 3], [4]], weight=1.0)
    X = np.random.default_rng(14).normal(size=(50, 5))
    Z = penalty.expand(X)
    np.testing.assert_array_equal(Z, X[:, [0, 1, 2, 2, 3, 4]])
    np.testing.assert_array_equal(penalty.expand(scipy.sparse.csc_array(X)).toarray(), Z)
    np.testing.assert_array_equal(penalty.expand(jnp.asarray(X)), Z)
    y = X @ [0, 0, 1.0, 1.0, 0]
    step = 50 / np.linalg.norm(Z, 2) ** 2

    def move(_, v):
        return penalty.prox(v - step * Z.T @ (Z @ v - y) / 50, step)

    latent = jax.lax.fori_loop(0, 2000, move, jnp.zeros(6))
    coef = penalty.collapse(latent)
    assert (coef != 0).tolist() == [False, False, True, True, False]
    np.testing.assert_allclose(penalty.residual(latent, Z.T @ (Z @ latent - y) / 50), 0, atol=1e-12)
    np.testing.assert_array_equal(penalty.collapse(np.stack([latent, latent])), np.stack([coef, coef]))
    np.testing.assert_array_equal(penalty.collapse(np.stack([latent] * 2, axis=1), axis=0)[:, 1], coef)


@pytest.mark.parametrize(
    ("make", "kind", "words"),
    [
        (lambda: GroupLasso(1.0), TypeError, "groups is needed"),
        (lambda: GroupLasso(1.0, [0.0, 1.0]), TypeError, "integer labels"),
        (lambda: GroupLasso(1.0, []), ValueError, "groups is empty"),
        (lambda: GroupLasso(1.0, [[0, 1], []]), ValueError, "group 1 is empty"),
        (lambda: GroupLasso(1.0, [[0, 1], [1, 2]]), ValueError, "disjoint, but 1 "),
        (lambda: GroupLasso(1.0, [[0, 1], [3]]), ValueError, "cover 0, …, 3, but 2 "),
        (lambda: GroupLasso(1.0, [[0, 1.5]]), TypeError, "integer places"),
        (lambda: GroupLasso(1.0, [[-1, 0]]), ValueError, "negative"),
        (lambda: GroupLasso(1.0, [0, 1], weight=[-1.0, 1.0]), ValueError, "weight"),
        (lambda: GroupLasso(-1.0, [0, 1]), ValueError, "lam"),
        (lambda: GroupLasso(1.0, [0, 1]).value(jnp.ones(3)), ValueError, "label 2 entries"),
        (lambda: GroupLasso(1.0, [0, 1], weight=[1.0] * 3).value(jnp.ones(2)), ValueError, "fit 2 groups"),
        (lambda: GroupMCP(1.0, [0, 1], gamma=0.0), ValueError, "gamma"),
        (lambda: GroupSCAD(1.0, [0, 1], gamma=1.0), ValueError, "gamma"),
        (lambda: SparseGroupLasso(1.0, 1.5, [0, 1]), ValueError, "l1_ratio"),
        (lambda: L21().value(jnp.ones(3)), ValueError, "matrix"),
        (lambda: L21().prox(jnp.ones((2, 2)), jnp.ones((2, 2))), ValueError, "step must be one number"),
        (lambda: OverlappingGroupLasso(1.0, [0, 1]), TypeError, "list of index arrays"),
        (lambda: OverlappingGroupLasso(1.0, [[0], [2]]), ValueError, "1 is in none"),
        (lambda: OverlappingGroupLasso(1.0, [[0], [1]]).expand(np.ones((2, 3))), ValueError, "3 columns"),
        (lambda: OverlappingGroupLasso(1.0, [[0], [1]]).collapse(np.ones(3)), ValueError, "3 entries"),
        (lambda: TreeGroupLasso(1.0, [[0, 1], [1, 2]]), ValueError, "cross"),
        (lambda: TreeGroupLasso(1.0, [[0, 1], [1, 0]]), ValueError, "same"),
        (lambda: TreeGroupLasso(1.0, [[0, 5]]).value(jnp.ones(3)), ValueError, "place 5"),
        (lambda: SLOPE(1.0), TypeError, "weights"),
        (lambda: SLOPE(1.0, [1.0, 2.0]), ValueError, "must not rise"),
        (lambda: SLOPE(1.0, [[1.0]]), ValueError, "vector"),
        (lambda: SLOPE(1.0, [1.0]).value(jnp.ones(2)), ValueError, "2 entries"),
        (lambda: benjamini_hochberg(5, rate=1.0), ValueError, "rate"),
        (lambda: benjamini_hochberg(0), ValueError, "size"),
        (lambda: TotalVariation().value(jnp.ones(())), ValueError, "scalar"),
        (lambda: TotalVariation(weight=[1.0, 2.0]).value(jnp.ones(5)), ValueError, "4 differences"),
        (lambda: TotalVariation2D().value(jnp.ones(5)), ValueError, "image"),
        (lambda: Nuclear().value(jnp.ones(5)), ValueError, "matrix"),
    ],
)
def test_what_makes_no_sense_is_refused(make, kind, words):
    with pytest.raises(kind, match=words):
        make()


def test_structured_penalties_live_in_models():
    """Chosen leaves of a tree, each on its own."""
    params = {"dense": {"kernel": jnp.array([[3.0, 4.0], [0.1, 0.2]]), "bias": jnp.array([0.1])}, "steps": 3}
    moved = Masked(L21(1.0), include=("*/kernel",)).prox(params, 1.0)
    np.testing.assert_allclose(moved["dense"]["kernel"], [[2.4, 3.2], [0, 0]], rtol=1e-6)
    assert moved["dense"]["bias"] is params["dense"]["bias"]
    assert moved["steps"] == 3
