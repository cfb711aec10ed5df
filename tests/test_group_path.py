"""Group working sets: the same solutions as the generic path, and certificates of their own."""

import functools

import jax
import numpy as np
import pytest
import scipy.sparse

import jaxreg as jr
from jaxreg.linear.columns import Data
from jaxreg.linear.groups import fit as groupwise
from jaxreg.linear.groups.parts import parts_of, residual, team_of
from jaxreg.linear.groups.steps import minimize, steps_of
from tests.problems import gaussian, uneven_offset, uneven_weights
from tests.test_generic_path import check_stationary

N, P = 60, 12
LABELS = np.array([3, 0, 1, 1, 3, 3, 2, 0, 1, 4, 4, 2])
WEIGHT = np.array([1.0, 2.0, 0.0, 1.5, 1.0])
X, Y = gaussian(N, P, 0.4)
X = X * np.linspace(0.5, 2.0, P) + np.arange(P)
W, OFFSET = uneven_weights(N), uneven_offset(N)
RNG = np.random.default_rng(0)
SOLVER = "group working set"

WIDE, WIDE_Y = gaussian(40, 150, 0.5, seed=3)
WIDE = np.hstack([WIDE, WIDE[:, :10]])
THREES = np.arange(160) // 3
FIVES = np.arange(160) % 32


def both(monkeypatch, X, y, **options):
    """Paths by group working sets, and by the generic solver."""
    fast = jr.fit_path(X, y, **options)
    assert fast.stats["solver"] == SOLVER
    with monkeypatch.context() as patch:
        patch.setattr("jaxreg.path.in_groups", lambda problem, penalty: False)
        slow = jr.fit_path(X, y, **options)
    assert slow.stats["solver"] == "generic"
    assert (fast.result == jr.Result.CONVERGED).all()
    assert (slow.result == jr.Result.CONVERGED).all()
    return fast, slow


def agree(fast, slow, rtol=1e-6):
    """Same path to a relative error."""
    np.testing.assert_allclose(fast.lams, slow.lams, rtol=1e-10)
    np.testing.assert_allclose(fast.coef, slow.coef, atol=rtol * np.abs(slow.coef).max())
    np.testing.assert_allclose(fast.intercept, slow.intercept, atol=rtol * np.abs(slow.intercept).max())
    np.testing.assert_allclose(fast.deviance_ratio, slow.deviance_ratio, atol=rtol)


COUNT = RNG.poisson(np.exp(Y)).astype(float)
CASES = {
    "squared": (jr.GroupLasso(groups=LABELS, weight=WEIGHT), {}),
    "sparse groups": (jr.SparseGroupLasso(l1_ratio=0.3, groups=LABELS, weight=WEIGHT), {"intercept": False}),
    "logistic": (jr.GroupLasso(groups=LABELS, weight=WEIGHT), {"loss": jr.Logistic(), "y": (Y > 0).astype(float)}),
    "poisson": (jr.SparseGroupLasso(groups=LABELS), {"loss": jr.Poisson(), "y": COUNT, "standardize": False}),
}


# The path of every smooth loss is checked in NumPy in test_generic_path.py, Poisson's among the quick ones.
@pytest.mark.slow
@pytest.mark.parametrize(
    "name", [n if n not in ("poisson", "sparse groups") else pytest.param(n, marks=pytest.mark.deep) for n in CASES]
)
def test_unequal_scattered_and_unpenalized_groups_as_by_the_generic_path(name, monkeypatch):
    penalty, options = CASES[name]
    options = {"y": Y, "sample_weight": W, "offset": OFFSET, "lams": 6, "lam_min_ratio": 0.03, "tol": 1e-9} | options
    fast, slow = both(monkeypatch, X, penalty=penalty, **options)
    agree(fast, slow)
    assert fast.gap.max() <= 1e-9
    # At λ_max nothing is there but what is free: the third group, where entries are not penalized by themselves.
    free = (LABELS == 2) & (name in ("squared", "logistic"))
    np.testing.assert_array_equal(fast.coef[0] != 0, free)


@pytest.mark.slow
@pytest.mark.parametrize("groups", [THREES, pytest.param(FIVES, marks=pytest.mark.deep)])
def test_more_columns_than_rows_and_duplicates_across_groups(groups, monkeypatch):
    options = {"penalty": jr.GroupLasso(groups=groups), "lams": 12, "lam_min_ratio": 0.05, "tol": 1e-8}
    fast, slow = both(monkeypatch, WIDE, WIDE_Y, **options)
    np.testing.assert_allclose(fast.lams, slow.lams)
    # Coefficients of duplicates need not be unique; what they predict is.
    np.testing.assert_allclose(fast.predict(WIDE), slow.predict(WIDE), atol=1e-5)
    assert 0 < (fast.coef[-1] != 0).sum() < 160
    # A group is zero or not as a whole.
    norms = np.stack([np.abs(fast.coef[:, groups == g]).max(axis=1) for g in np.unique(groups)])
    least = np.stack([np.abs(fast.coef[:, groups == g]).min(axis=1) for g in np.unique(groups)])
    np.testing.assert_array_equal(norms > 0, least > 0)


@pytest.mark.parametrize("name", ["mcp", "scad", "group_mcp", "group_scad"])
def test_folded_penalties_end_at_stationary_points(name):
    penalty = {
        "mcp": jr.MCP(gamma=2.0, weight=np.r_[0.0, np.ones(P - 1)]),
        "scad": jr.SCAD(gamma=3.0),
        "group_mcp": jr.GroupMCP(groups=LABELS, gamma=2.0, weight=WEIGHT),
        "group_scad": jr.GroupSCAD(groups=LABELS, gamma=3.0),
    }[name]
    path = jr.fit_path(X, Y, penalty=penalty, lams=6, lam_min_ratio=0.02, sample_weight=W, offset=OFFSET, tol=1e-8)
    assert path.stats["solver"] == SOLVER
    assert (path.result == jr.Result.CONVERGED).all()
    assert path.kkt.max() <= 1e-8
    check_stationary(penalty, path.lams, path.coef, path.intercept, Y, W, rtol=1e-6)


@pytest.mark.slow
def test_mcp_with_more_columns_than_rows_is_stationary_where_its_curvature_is_negative():
    path = jr.fit_path(WIDE, WIDE_Y, penalty=jr.MCP(gamma=1.5), lams=12, lam_min_ratio=0.05, tol=1e-8)
    assert (path.result == jr.Result.CONVERGED).all()
    assert path.nonzero[-1] > 10


WIDE_OPTIONS = {"penalty": jr.GroupLasso(groups=THREES), "lams": 12, "lam_min_ratio": 0.05, "tol": 1e-8}


def test_duplicate_groups_cost_few_rounds_more():
    rng = np.random.default_rng(3)
    X = rng.normal(size=(60, 30))
    y = X[:, :6] @ rng.normal(size=6) + 0.3 * rng.normal(size=60)
    X = np.hstack([X, X[:, :12]])
    path = jr.fit_path(X, y, penalty=jr.GroupLasso(groups=np.arange(42) // 3), lams=30)
    assert (path.result == jr.Result.CONVERGED).all()
    assert path.stats["steps"].max() <= 20


@pytest.mark.slow
def test_folds_are_fitted_each_on_columns_of_its_own():
    cv = jr.cross_validate(WIDE, WIDE_Y, folds=3, **WIDE_OPTIONS)
    assert (cv.fold_result == jr.Result.CONVERGED).all()
    assert max(cv.fold_gap.max(), cv.path.gap.max()) <= 1e-8
    held = cv.fold_id == 1
    alone = jr.fit_path(WIDE[~held], WIDE_Y[~held], **(WIDE_OPTIONS | {"lams": cv.lams}))
    np.testing.assert_allclose(
        cv.fold_coef[1] @ WIDE[held].T + cv.fold_intercept[1][:, None], alone.predict(WIDE[held]).T, atol=1e-5
    )


NARROW = (X, Y, {"penalty": jr.GroupLasso(groups=LABELS, weight=WEIGHT), "lams": 6, "lam_min_ratio": 0.03})


@pytest.mark.slow
@pytest.mark.parametrize("case", [NARROW, pytest.param((WIDE, WIDE_Y, WIDE_OPTIONS), marks=pytest.mark.deep)])
def test_one_batch_as_on_an_accelerator_gives_the_same(case, monkeypatch):
    X, y, options = case
    alone = jr.cross_validate(X, y, folds=3, **options)
    monkeypatch.setattr(Data, "on_cpu", property(lambda data: False))
    batch = jr.cross_validate(X, y, fold_id=alone.fold_id, **options)
    assert batch.fold_gap.max() <= 1e-6
    np.testing.assert_allclose(batch.scores, alone.scores, rtol=1e-5)


@pytest.mark.slow
def test_a_sparse_design_gives_the_same():
    X = np.where(np.random.default_rng(1).random((N, P)) < 0.3, np.arange(P) - 4.5, 0)
    fit = functools.partial(jr.fit_path, y=Y, penalty=jr.GroupLasso(groups=LABELS, weight=WEIGHT), lams=6, tol=1e-9)
    dense, sparse = fit(X), fit(scipy.sparse.csr_array(X))
    np.testing.assert_allclose(sparse.coef, dense.coef, atol=1e-7)


def test_other_strengths_compile_nothing_and_other_groups_little(compiled):
    fit = functools.partial(jr.fit_path, X, Y)
    fit(penalty=jr.GroupLasso(groups=LABELS), lams=7)
    del compiled[:]
    path = fit(penalty=jr.GroupLasso(2.0, groups=LABELS), lams=np.geomspace(10, 1e-4, 55))
    assert (path.result == jr.Result.CONVERGED).all()
    assert compiled == []
    # The solver itself knows no labels: what is compiled asks the penalty for its numbers, and judges.
    fit(penalty=jr.GroupLasso(groups=np.roll(LABELS, 1)), lams=7)
    assert len(compiled) <= 8
    assert not [name for name in compiled if name in ("_run", "_prepare", "jit__run", "jit__prepare")]


def test_grids_that_begin_above_the_largest_strength_and_end_at_none():
    path = jr.fit_path(X, Y, penalty=jr.GroupLasso(groups=LABELS), lams=[1e3, 1.0, 1e-6, 0.0])
    assert (path.result == jr.Result.CONVERGED).all()
    assert path.nonzero.tolist()[::3] == [0, P]
    np.testing.assert_allclose(path.coef[-1], np.linalg.lstsq(np.c_[X, np.ones(N)], Y)[0][:P], atol=1e-6)


def test_a_budget_that_runs_out_is_said(monkeypatch):
    monkeypatch.setattr(groupwise, "ROUNDS", 1)
    monkeypatch.setattr(groupwise, "SHARPER", 0)
    with pytest.warns(RuntimeWarning, match="max_steps"):
        path = jr.fit_path(X, Y, penalty=jr.GroupLasso(groups=LABELS), lams=[1.0, 1e-3], tol=1e-9)
    assert path.result.tolist()[-1] == jr.Result.MAX_STEPS
    assert np.isfinite(path.coef).all()


@pytest.mark.slow
def test_the_inner_solver_never_goes_up(x64):
    """From random starts on random Grams, round by round, for every kind."""
    rng = np.random.default_rng(5)
    labels = np.array([0, 0, 1, 2, 2, 2, 3, 4, 4, 5])
    penalties = [
        jr.SparseGroupLasso(0.3, groups=labels),
        jr.GroupMCP(0.3, groups=labels, gamma=1.5),
    ]
    for penalty in penalties:
        parts = parts_of(penalty, 10)
        team = team_of(parts, np.arange(10), 10, False)
        kind = parts.kind.at(0.3)
        run = jax.jit(
            lambda G, c, b, budget, kind=kind, team=team: minimize(
                G, b, G @ b - c, steps_of(G, jax.tree.map(jax.numpy.asarray, team)), kind,
                jax.tree.map(jax.numpy.asarray, team), 1e-10, budget, 4,
            )
        )  # fmt: skip
        for _ in range(20):
            A = rng.normal(size=(12, 10)) @ np.diag(rng.uniform(0.1, 2, size=10))
            G, c, b = A.T @ A / 12, rng.normal(size=10), rng.normal(size=10) * (rng.random(10) < 0.6)
            heights = []
            for budget in range(8):
                x = np.asarray(run(G, c, b, budget).b)
                heights.append(0.5 * x @ G @ x - c @ x + float(penalty.value(x)))
            assert (np.diff(heights) <= 1e-12).all()
            end = run(G, c, b, 500)
            assert end.violation <= 1e-10
            rest = residual(kind, team, end.b, G @ end.b - c)
            np.testing.assert_allclose(rest, penalty.residual(end.b, G @ end.b - c), atol=1e-12)
            assert np.abs(rest).max() <= 1e-9
