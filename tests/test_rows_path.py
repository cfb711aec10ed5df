"""Several responses: rows in group working sets as by the generic path, and what falls apart into single responses."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse

import jaxreg as jr
from jaxreg.linear.columns import Data
from jaxreg.linear.groups.eliminate import invert_last, padded_size
from jaxreg.linear.groups.parts import parts_of, residual, team_of
from jaxreg.linear.groups.rows import solve_rows
from jaxreg.linear.groups.steps import minimize, steps_of
from tests.problems import gaussian, uneven_weights
from tests.test_outputs_path import row_residual, standardized

N, P, K, LAMS = 60, 12, 3, 6
RNG = np.random.default_rng(11)
X = gaussian(N, P, 0.4)[0] * np.linspace(0.5, 2.0, P) + np.arange(P)
B = np.where(np.arange(P)[:, None] < 4, RNG.normal(size=(P, K)), 0)
Y = (X - X.mean(axis=0)) @ B + RNG.normal(size=(N, K))
W, OFFSET = uneven_weights(N), RNG.normal(scale=0.3, size=(N, K))
LABEL = np.argmax(Y - Y.mean(axis=0), axis=1)
COUNT = RNG.poisson(np.exp(0.3 * (Y - Y.mean(axis=0)))).astype(float)
LABELS = np.array([3, 0, 1, 1, 3, 3, 2, 0, 1, 4, 4, 2])
FACTORS = np.r_[0.0, np.linspace(0.5, 2.0, P - 1)]
SOLVER = "group working set"

WIDE = gaussian(40, 150, 0.5, seed=3)[0]
WIDE = np.hstack([WIDE, WIDE[:, :10]])
WIDE_Y = WIDE[:, :8] @ RNG.normal(size=(8, K)) + RNG.normal(size=(40, K))

CASES = {
    "rows": (jr.L21(weight=FACTORS), {"sample_weight": W, "offset": OFFSET}),
    "elastic": (jr.L21(0.5, weight=FACTORS) + jr.L2(0.2), {"intercept": False}),
    "groups": (jr.GroupLasso(groups=LABELS) + jr.L2(0.1), {"sample_weight": W}),
    "classes": (jr.L21(weight=FACTORS), {"sample_weight": W, "offset": OFFSET, "loss": jr.Multinomial(), "y": LABEL}),
    "counts": (jr.GroupLasso(groups=LABELS), {"loss": jr.Poisson(), "y": COUNT}),
}


SLOW = "elastic", "counts"


@pytest.mark.slow
@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.slow) if n in SLOW else n for n in CASES])
def test_rows_and_groups_of_rows_as_by_the_generic_path(name, monkeypatch):
    penalty, options = CASES[name]
    options = {"y": Y, "penalty": penalty, "lams": LAMS, "lam_min_ratio": 0.03, "tol": 1e-9} | options
    fast = jr.fit_path(X, **options)
    assert fast.stats["solver"] == SOLVER
    monkeypatch.setattr("jaxreg.path.in_groups", lambda problem, penalty: False)
    slow = jr.fit_path(X, **options)
    assert slow.stats["solver"] == "generic"
    for path in (fast, slow):
        assert (path.result == jr.Result.CONVERGED).all()
        assert max(path.gap.max(), path.kkt.max()) <= 1e-9
    np.testing.assert_allclose(fast.lams, slow.lams, rtol=1e-10)
    np.testing.assert_allclose(fast.coef, slow.coef, atol=1e-6 * np.abs(slow.coef).max())
    np.testing.assert_allclose(fast.intercept, slow.intercept, atol=1e-6 * (1 + np.abs(slow.intercept).max()))
    np.testing.assert_allclose(fast.deviance_ratio, slow.deviance_ratio, atol=1e-6)
    # Rows are zero as a whole, and so are groups of them; but no norm holds the first one of two cases.
    used = (fast.coef != 0).any(axis=2)
    assert used[0].sum() == (name not in ("groups", "counts"))
    assert ((fast.coef != 0).all(axis=2) == used).all()
    if name in ("groups", "counts"):
        assert all((used[:, g == LABELS] == used[:, g == LABELS][:, :1]).all() for g in range(5))


def test_the_gap_of_rows_and_a_square_is_that_of_both_values():
    """In NumPy: primal and dual objective of the elastic net of rows, at the residual."""
    path = jr.fit_path(X, Y, penalty=jr.L21(0.7) + jr.L2(0.3), standardize=False, lams=LAMS, tol=1e-4)
    centered, target = X - X.mean(axis=0), Y - Y.mean(axis=0)
    null = 0.5 * np.mean((target**2).sum(axis=1))
    for lam, b, gap in zip(path.lams, path.coef, path.gap, strict=True):
        rest = target - centered @ b
        primal = 0.5 * (rest**2).sum() / N + lam * (0.7 * np.linalg.norm(b, axis=1).sum() + 0.15 * (b**2).sum())
        excess = np.maximum(np.linalg.norm(centered.T @ rest / N, axis=1) - 0.7 * lam, 0)
        dual = (0.5 * (target**2).sum() - 0.5 * ((target - rest) ** 2).sum()) / N - (excess**2).sum() / (0.6 * lam)
        assert gap <= 1e-4
        np.testing.assert_allclose(gap, (primal - dual) / null, atol=1e-12)


@pytest.mark.parametrize("name", ["group_mcp", pytest.param("group_scad", marks=pytest.mark.slow)])
def test_folded_penalties_of_groups_of_rows_are_stationary(name):
    make = {"group_mcp": jr.GroupMCP, "group_scad": jr.GroupSCAD}[name]
    penalty = make(groups=LABELS, gamma=3.0)
    path = jr.fit_path(X, Y, penalty=penalty, lams=LAMS, lam_min_ratio=0.02, tol=1e-8)
    assert path.stats["solver"] == SOLVER
    assert (path.result == jr.Result.CONVERGED).all()
    scale = X.std(axis=0)
    Z = (X - X.mean(axis=0)) / scale
    for lam, coef in zip(path.lams, path.coef, strict=True):
        b = coef * scale[:, None]
        gradient = Z.T @ (Z @ b - (Y - Y.mean(axis=0))) / N
        with jax.enable_x64(True):
            assert np.abs(penalty.at(lam).residual(b, gradient)).max() <= 1e-7 * np.abs(Z.T @ Y / N).max()


WIDE_OPTIONS = {"penalty": jr.L21(), "lams": 12, "lam_min_ratio": 0.02}


@pytest.mark.slow
def test_more_columns_than_rows_in_folds_each_on_columns_of_its_own():
    cv = jr.cross_validate(WIDE, WIDE_Y, folds=3, tol=1e-8, **WIDE_OPTIONS)
    assert cv.path.stats["solver"] == SOLVER
    assert (cv.fold_result == jr.Result.CONVERGED).all()
    assert max(cv.fold_gap.max(), cv.path.gap.max()) <= 1e-8
    # With three responses more rows than samples may be active.
    assert cv.path.nonzero[-1] > 40
    w = np.where(cv.fold_id == 1, 0, 1 / np.sum(cv.fold_id != 1))
    Z, scale = standardized(WIDE, w)
    for lam, b, level in zip(cv.lams, cv.fold_coef[1], cv.fold_intercept[1], strict=True):
        gradient = Z.T @ (w[:, None] * (WIDE @ b + level - WIDE_Y))
        assert row_residual(gradient, b * scale[:, None], lam) <= 1e-6 * cv.lams[0]


@pytest.mark.slow
@pytest.mark.parametrize("loss", [jr.Squared(), jr.Multinomial()], ids=["squared", "classes"])
def test_duplicate_columns_cost_few_rounds_more(loss):
    """Of rows that may share what they explain in any way, solutions are many."""
    twice = np.hstack([X[:, :6], X[:, :6]])
    y = Y if isinstance(loss, jr.Squared) else LABEL
    path = jr.fit_path(twice, y, loss=loss, penalty=jr.L21(weight=np.tile(FACTORS[6:], 2)), lams=LAMS)
    assert (path.result == jr.Result.CONVERGED).all()
    assert path.nonzero.max() > 6
    assert path.stats["steps"].max() <= 25
    single = jr.fit_path(X[:, :6], y, loss=loss, penalty=jr.L21(weight=FACTORS[6:]), lams=path.lams, tol=1e-9)
    np.testing.assert_allclose(path.coef[:, :6] + path.coef[:, 6:], single.coef, atol=1e-4)


@pytest.mark.slow
def test_one_batch_as_on_an_accelerator_gives_the_same(monkeypatch):
    fit = functools.partial(jr.cross_validate, X, Y, penalty=jr.L21(), lams=LAMS, lam_min_ratio=0.03)
    alone = fit(folds=3)
    monkeypatch.setattr(Data, "on_cpu", property(lambda data: False))
    batch = fit(fold_id=alone.fold_id)
    assert batch.fold_gap.max() <= 1e-6
    np.testing.assert_allclose(batch.scores, alone.scores, rtol=1e-5)


def test_other_strengths_factors_and_squares_compile_nothing_and_sparse_data_give_the_same(compiled):
    sparse = np.where(RNG.random((N, P)) < 0.3, np.arange(P) - 4.5, 0)
    fit = functools.partial(jr.fit_path, y=Y, lams=7)
    dense = fit(sparse, penalty=jr.L21(0.5, weight=FACTORS) + jr.L2(0.2))
    del compiled[:]
    path = fit(sparse, penalty=jr.L21(0.3, weight=1 + FACTORS) + jr.L2(0.7), lams=np.geomspace(10, 1e-4, 55))
    assert (path.result == jr.Result.CONVERGED).all()
    assert compiled == []
    csr = fit(scipy.sparse.csr_array(sparse), penalty=jr.L21(0.5, weight=FACTORS) + jr.L2(0.2))
    np.testing.assert_allclose(csr.coef, dense.coef, atol=1e-5)


def test_no_penalty_at_all_is_least_squares():
    path = jr.fit_path(X, Y, penalty=jr.L21(), lams=[1e3, 1.0, 0.0])
    assert (path.result == jr.Result.CONVERGED).all()
    assert path.nonzero.tolist()[::2] == [0, P]
    np.testing.assert_allclose(path.coef[-1], np.linalg.lstsq(np.c_[X, np.ones(N)], Y)[0][:P], atol=1e-6)


def test_the_newton_system_of_rows_is_that_of_all_entries(x64):
    """Woodbury's formula against the whole system, with groups of rows that are not active and padding."""
    d, k = 40, 3
    label = np.sort(RNG.integers(0, 12, size=d))
    active = np.isin(label, [0, 2, 3, 7, 8, 11])
    A, b = RNG.normal(size=(60, d)), RNG.normal(size=(d, k))
    gram, right = A.T @ A / 60, np.where(active[:, None], RNG.normal(size=(d, k)), 0)
    for groups in (label, np.arange(d)):
        norm = np.sqrt(np.bincount(groups, (b**2).sum(axis=1)))[groups]
        extra, along = 1 / norm, -RNG.uniform(0.5, 1.0, size=d)[groups] / norm
        unit = b / norm[:, None]
        alone = groups is not label
        x = solve_rows(gram, groups, extra, along, unit, jnp.asarray(active), right, 1e-13, alone=alone)
        whole = np.kron(gram + np.diag(extra), np.eye(k))
        same = np.repeat(groups, k)[:, None] == np.repeat(groups, k)
        whole += np.where(same, np.repeat(along, k) * np.outer(unit.ravel(), unit.ravel()), 0)
        pick = np.repeat(active, k)
        expected = np.zeros(d * k)
        expected[pick] = np.linalg.solve(whole[np.ix_(pick, pick)], right.ravel()[pick])
        np.testing.assert_allclose(x, expected.reshape(d, k), atol=1e-9)


def test_the_inverse_of_the_last_unknowns(x64):
    size, count = padded_size(90), 41
    A = RNG.normal(size=(60, count))
    inner = A.T @ A / 60 + 0.1 * np.eye(count)
    whole = np.eye(size)
    whole[-count:, -count:] = inner
    np.testing.assert_allclose(invert_last(jnp.asarray(whole), 41)[-count:, -count:], np.linalg.inv(inner), atol=1e-10)


def test_the_inner_solver_never_goes_up(x64):
    """From random starts on random Grams, round by round."""
    labels = np.array([0, 0, 1, 2, 2, 2, 3, 4, 4, 5])
    penalty = jr.GroupLasso(groups=labels) + jr.L2(0.5)
    parts = parts_of(penalty, 10, (2,))
    team = jax.tree.map(jnp.asarray, team_of(parts, np.arange(10), 10, False))
    kind, at = parts.kind.at(0.3), penalty.at(0.3)
    run = jax.jit(
        lambda G, c, b, budget: minimize(G, b, G @ b - c, steps_of(G, team), kind, team, 1e-10, budget, parts.widest)
    )
    for _ in range(10):
        A = RNG.normal(size=(12, 10)) @ np.diag(RNG.uniform(0.1, 2, size=10))
        G, c = A.T @ A / 12, RNG.normal(size=(10, 2))
        b = RNG.normal(size=(10, 2)) * (RNG.random((10, 1)) < 0.6)
        heights = []
        for budget in range(6):
            x = np.asarray(run(G, c, b, budget).b)
            heights.append(0.5 * np.sum(x * (G @ x)) - np.sum(c * x) + float(at.value(x)))
        assert (np.diff(heights) <= 1e-12).all()
        end = run(G, c, b, 300)
        rest = residual(kind, team, end.b, G @ end.b - c)
        np.testing.assert_allclose(rest, at.residual(end.b, G @ end.b - c), atol=1e-12)
        assert np.abs(rest).max() <= 1e-9


@pytest.mark.slow
def test_separable_penalties_of_several_responses_are_models_of_their_own():
    """Losses that add up over responses, fitted response by response with one grid for all."""
    labels = (Y > np.median(Y, axis=0)).astype(float)
    for y, options in (
        (Y, {"penalty": jr.MCP(gamma=2.5, weight=FACTORS)}),
        (labels, {"penalty": jr.ElasticNet(l1_ratio=0.5, weight=FACTORS), "loss": jr.Logistic()}),
    ):
        path = jr.fit_path(X, y, lams=LAMS, lam_min_ratio=0.1, tol=1e-8, **options)
        assert path.stats["solver"] == (SOLVER if y is Y else "active set")
        assert (path.result == jr.Result.CONVERGED).all()
        each = [jr.fit_path(X, y[:, k], lams=path.lams, tol=1e-8, **options) for k in range(K)]
        for k, one in enumerate(each):
            np.testing.assert_allclose(path.coef[..., k], one.coef, atol=1e-6)
            np.testing.assert_allclose(path.intercept[:, k], one.intercept, atol=1e-6)
        np.testing.assert_allclose(path.df, sum(one.df for one in each), rtol=1e-6)
        assert np.isnan(path.gap).all() == (y is Y)


@pytest.mark.slow
def test_a_response_that_is_constant_is_left_at_its_mean():
    path = jr.fit_path(X, np.c_[Y, np.full(N, 2.0)], lams=LAMS)
    assert (path.result == jr.Result.CONVERGED).all()
    assert np.isfinite(path.gap).all()
    np.testing.assert_array_equal(path.coef[..., K], 0)
    np.testing.assert_allclose(path.intercept[:, K], 2.0)


def test_progress_runs_once_through_all_responses():
    seen = []
    jr.fit_path(X, Y, lams=LAMS, progress=lambda done, total: seen.append((done, total)))
    assert seen[-1] == (LAMS, LAMS)
    assert seen == sorted(seen)
