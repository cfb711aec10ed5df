"""The generic path: any penalty through the linear door, judged in NumPy and by the penalty's own proximal step."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse

import jaxreg as jr
from jaxreg.penalties import Separable
from tests.problems import gaussian, uneven_offset, uneven_weights

N, P, FOLDS, LAMS = 60, 12, 3, 6
LABELS = np.array([3, 0, 1, 1, 3, 3, 2, 0, 1, 4, 4, 2])
X, Y = gaussian(N, P, 0.4)
# Columns of unequal location and scale, so that both matter.
X = X * np.linspace(0.5, 2.0, P) + np.arange(P)
W, OFFSET = uneven_weights(N), uneven_offset(N)
FOLD_ID = np.arange(N) % FOLDS
FREE = np.r_[0.0, np.ones(P - 1)]

PENALTIES = {
    "group_lasso": jr.GroupLasso(groups=LABELS, weight=[1.0, 2.0, 0.0, 1.5, 1.0]),
    "sparse_group": jr.SparseGroupLasso(l1_ratio=0.4, groups=LABELS),
    "tree_group": jr.TreeGroupLasso(groups=[[0, 1, 2, 3], [1, 2], [4, 5], [6, 7, 8]]),
    "overlapping": jr.OverlappingGroupLasso(groups=[[0, 1, 2, 3], [4, 5, 6], [7, 8, 9, 10, 11]]),
    "group_mcp": jr.GroupMCP(groups=LABELS),
    "group_scad": jr.GroupSCAD(groups=LABELS),
    "mcp": jr.MCP(gamma=3.0, weight=FREE),
    "scad": jr.SCAD(gamma=3.7),
    "log_sum": jr.LogSum(eps=0.5),
    "l0": jr.L0(),
    "lq": jr.Lq(q=0.5),
    "slope": jr.SLOPE(weights=np.linspace(2.0, 0.5, P)),
    "linf": jr.LInf(),
    "fused_lasso": jr.FusedLasso(l1_ratio=0.4),
    "total_variation": jr.TotalVariation(),
    "huberized": jr.HuberizedL1(delta=0.3),
    "pseudo_huber": jr.PseudoHuber(delta=0.3),
    "non_negative": jr.L1(weight=FREE) + jr.NonNegative(),
    "elastic_sum": jr.L1(0.7, weight=FREE) + jr.L2(0.3, weight=FREE),
    "box": jr.ElasticNet() + jr.Box(-0.2, 0.1),
}
QUICK = {"mcp", "poisson"}
GROUPED = {"group_lasso", "sparse_group", "group_mcp", "group_scad", "mcp", "scad"}
NO_BOUND = {"group_mcp", "group_scad", "mcp", "scad", "log_sum", "l0", "lq", "total_variation"}


def standardized(X, w):
    """Columns under weights that sum to 1, and their means and scales."""
    mean = w @ X
    scale = np.sqrt(w @ (X - mean) ** 2)
    return (X - mean) / scale, mean, scale


def check_stationary(penalty, lams, coef, intercept, y, w, rtol):
    """b = prox(b − t∇, t) for squared loss, for a step t short enough for any penalty; ∂/∂b₀ = 0."""
    w = w / w.sum()
    Z, mean, scale = standardized(X, w)
    b = coef * scale
    residual = b @ Z.T + (intercept + coef @ mean)[:, None] + OFFSET - y
    start = y - OFFSET - w @ (y - OFFSET)
    size = np.abs(Z.T @ (w * start)).max()
    gradient = (w * residual) @ Z
    t = 0.1 / np.linalg.eigvalsh(Z.T * w @ Z)[-1]
    with jax.enable_x64(True):
        step = jax.jit(jax.vmap(lambda lam, x: penalty.at(lam).prox(x, t)))
        moved = np.asarray(step(lams, b - t * gradient))
    assert np.abs(moved - b).max() / t <= rtol * size
    assert np.abs(residual @ w).max() <= rtol * size


# What each costs is compiling: one of a kind stands for all where time is short.
@pytest.mark.parametrize("name", [n if n in QUICK else pytest.param(n, marks=pytest.mark.slow) for n in PENALTIES])
def test_every_penalty_is_certified_on_all_rows_and_in_every_fold(name):
    penalty = PENALTIES[name]
    cv = jr.cross_validate(
        X, Y, penalty=penalty, lams=LAMS, lam_min_ratio=0.02, sample_weight=W, offset=OFFSET, fold_id=FOLD_ID
    )
    path = cv.path
    assert path.stats["solver"] == ("group working set" if name in GROUPED else "generic")
    assert (path.result == jr.Result.CONVERGED).all()
    assert (cv.fold_result == jr.Result.CONVERGED).all()
    assert path.kkt.max() <= 1e-6
    for gap in (path.gap, cv.fold_gap):
        assert np.isnan(gap).all() if name in NO_BOUND else gap.max() <= 1e-6
    check_stationary(penalty, path.lams, path.coef, path.intercept, Y, W, rtol=2e-6)
    check_stationary(penalty, path.lams, cv.fold_coef[1], cv.fold_intercept[1], Y, np.where(FOLD_ID == 1, 0, W), 2e-6)
    # λ_max is where the path begins: nothing but what is free is there yet, and something soon is.
    if isinstance(penalty, Separable) or not np.isnan(path.gap).any():
        assert path.nonzero[0] < path.nonzero[-1] or name in ("huberized", "pseudo_huber")
    held_out = FOLD_ID == 1
    eta = X[held_out] @ cv.fold_coef[1].T + cv.fold_intercept[1] + OFFSET[held_out, None]
    np.testing.assert_allclose(cv.scores[1], np.average((eta - Y[held_out, None]) ** 2, axis=0, weights=W[held_out]))
    assert path.predict(X, offset=OFFSET).shape == (N, LAMS)
    assert cv.predict(X[:5]).shape == (5,)
    assert np.isnan(path.df).all()


@pytest.mark.slow
def test_the_elastic_net_is_that_of_the_fast_path():
    common = {"sample_weight": W, "offset": OFFSET, "fold_id": FOLD_ID, "tol": 1e-10}
    penalty = jr.ElasticNet(l1_ratio=0.7, weight=FREE)
    fast = jr.cross_validate(X, Y, penalty=penalty, lams=LAMS, lam_min_ratio=0.02, **common)
    slow = jr.cross_validate(X, Y, penalty=PENALTIES["elastic_sum"], lams=LAMS, lam_min_ratio=0.02, **common)
    assert fast.path.stats["solver"] == "active set"
    assert slow.path.stats["solver"] == "generic"
    np.testing.assert_allclose(slow.lams, fast.lams, rtol=1e-10)
    np.testing.assert_allclose(slow.path.coef, fast.path.coef, atol=1e-6 * np.abs(fast.path.coef).max())
    np.testing.assert_allclose(slow.fold_coef, fast.fold_coef, atol=1e-6 * np.abs(fast.fold_coef).max())
    np.testing.assert_allclose(slow.path.intercept, fast.path.intercept, atol=1e-6)
    np.testing.assert_allclose(slow.scores, fast.scores, rtol=1e-6)
    np.testing.assert_allclose(slow.null_scores, fast.null_scores)
    np.testing.assert_allclose(slow.path.deviance_ratio, fast.path.deviance_ratio, atol=1e-6)


RNG = np.random.default_rng(0)
COUNT = RNG.poisson(np.exp(Y)).astype(float)
LOSSES = {
    "logistic": (jr.Logistic(), (RNG.normal(size=N) < Y).astype(float)),
    "squared_hinge": (jr.SquaredHinge(), (RNG.normal(size=N) < Y).astype(float)),
    "huber": (jr.Huber(0.5), Y + RNG.standard_t(2, size=N)),
    "poisson": (jr.Poisson(), COUNT),
    "gamma": (jr.Gamma(), RNG.gamma(2.0, np.exp(Y) / 2)),
    "tweedie": (jr.Tweedie(1.4), COUNT),
    "negative_binomial": (jr.NegativeBinomial(0.5), COUNT),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", [n if n in QUICK else pytest.param(n, marks=pytest.mark.slow) for n in LOSSES])
def test_group_lasso_with_every_smooth_loss(name):
    loss, y = LOSSES[name]
    weight = np.array([1.0, 2.0, 0.0, 1.5, 1.0])
    penalty = jr.GroupLasso(groups=LABELS, weight=weight)
    path = jr.fit_path(X, y, loss=loss, penalty=penalty, lams=4, lam_min_ratio=0.05, sample_weight=W, offset=OFFSET)
    assert (path.result == jr.Result.CONVERGED).all()
    assert path.gap.max() <= 1e-6
    # The optimality condition, group by group, in NumPy but for the derivative.
    w = W / W.sum()
    Z, _, scale = standardized(X, w)
    eta = path.predict(X, kind="link", offset=OFFSET)
    with jax.enable_x64(True):
        u = np.asarray(loss.derivative(jnp.asarray(eta), jnp.asarray(y)[:, None])) * w[:, None]
    gradient, b = u.T @ Z, path.coef * scale
    # At λ_max all is zero but the unpenalized group.
    size = max(np.linalg.norm(gradient[0, LABELS == g]) / weight[g] for g in range(5) if weight[g] > 0)
    np.testing.assert_allclose(size, path.lams[0], rtol=1e-5)
    np.testing.assert_array_equal(path.coef[0, LABELS != 2], 0)
    for k, lam in enumerate(path.lams):
        for g in range(5):
            part, v = b[k, LABELS == g], -gradient[k, LABELS == g]
            norm = np.linalg.norm(part)
            pull = (
                v * max(1 - lam * weight[g] / np.linalg.norm(v), 0) if norm == 0 else v - lam * weight[g] * part / norm
            )
            assert np.abs(pull).max() <= 2e-6 * size
    np.testing.assert_allclose(u.sum(axis=0), 0, atol=2e-6 * size)


@pytest.mark.slow
def test_more_columns_than_rows():
    n, p = 50, 100
    X, y = gaussian(n, p, 0.5, seed=3)
    path = jr.fit_path(X, y, penalty=jr.L1() + jr.L2(0.01) + jr.NonNegative(), lams=20)
    assert (path.result == jr.Result.CONVERGED).all()
    assert max(path.gap.max(), path.kkt.max()) <= 1e-6
    assert path.coef.min() == 0


@pytest.mark.slow
def test_a_sparse_design_is_not_filled_and_gives_the_same():
    X = np.where(np.random.default_rng(1).random((N, P)) < 0.3, np.arange(P) - 4.5, 0)
    dense = jr.fit_path(X, Y, penalty=jr.MCP(), lams=4, tol=1e-8)
    sparse = jr.fit_path(scipy.sparse.csr_array(X), Y, penalty=jr.MCP(), lams=4, tol=1e-8)
    np.testing.assert_allclose(sparse.lams, dense.lams, rtol=1e-12)
    np.testing.assert_allclose(sparse.coef, dense.coef, atol=1e-7)


ERRORS = {
    "mask": ({"penalty": jr.Masked(jr.L1())}, TypeError, "linear models have no parts that Masked could choose"),
    "blocks": ({"penalty": jr.Blocks({"*": jr.L1()})}, TypeError, "linear models have no parts"),
    "rows": ({"penalty": jr.L21()}, TypeError, "L21 is for matrices"),
    "nuclear": ({"penalty": jr.Nuclear()}, TypeError, "Nuclear is for matrices"),
    "constraint": ({"penalty": jr.NonNegative()}, TypeError, "is a constraint without a strength"),
    "groups": ({"penalty": jr.GroupLasso(groups=[0, 0, 1])}, ValueError, "3"),
    "free": ({"penalty": jr.MCP(weight=np.zeros(P))}, ValueError, "MCP leaves every column unpenalized"),
    "quantile": (
        {"loss": jr.Quantile(), "penalty": jr.GroupLasso(groups=LABELS) + jr.HuberizedL1()},
        TypeError,
        "Quantile has kinks and takes a penalty by its prox",
    ),
    "multinomial": (
        {"loss": jr.Multinomial()},
        ValueError,
        "y must be class labels 0, 1, 2, … for the multinomial loss",
    ),
    "cox": ({"loss": jr.Cox()}, ValueError, "y must have 2 to 4 columns (time, event, start, strata)"),
    "bad lams": ({"penalty": jr.MCP(), "lams": []}, ValueError, "lams is empty"),
}


@pytest.mark.parametrize("name", ERRORS)
def test_what_cannot_be_fitted_is_refused(name):
    options, error, message = ERRORS[name]
    for door in (jr.fit_path, jr.cross_validate):
        with pytest.raises(error, match=re.escape(message)):
            door(X, Y, **options)


def test_ratios_are_for_elastic_penalties():
    with pytest.raises(TypeError, match=re.escape("l1_ratios needs penalty=ElasticNet()")):
        jr.cross_validate(X, Y, penalty=jr.MCP(), l1_ratios=[0.5])
