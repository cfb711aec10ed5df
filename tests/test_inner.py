"""The inner solver and its parts: exact ends on hard quadratics, the tableau that follows, lanes in threads or in one batch."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxreg as jr
from jaxreg.linear.active import lanes, march
from jaxreg.linear.active.grams import PANELS, own_moments, second_moments
from jaxreg.linear.active.inner import Quadratic, minimize
from jaxreg.linear.active.split import find_split
from jaxreg.linear.active.tableau import Tableau, rearranged
from jaxreg.linear.active.walk import walk
from jaxreg.linear.arguments import linear_data
from jaxreg.linear.columns import Data
from jaxreg.linear.design import _blas, moments_by_blas, worth_blas
from jaxreg.path import make_problem
from tests.problems import balanced_folds, gaussian, uneven_weights


def stationarity(gram, linear, kink, ridge, b):
    gradient = np.einsum("bij,bj->bi", gram, b) + ridge * b - linear
    return np.where(b == 0, np.maximum(np.abs(gradient) - kink, 0), np.abs(gradient + kink * np.sign(b))).max(axis=1)


@pytest.mark.parametrize("ridge", [0.0, 0.1])
def test_active_columns_stay_in_the_working_set(x64, ridge):
    """Where columns depend on each other there may be more of them than rows."""
    x, y = gaussian(40, 600, 0.5)
    data = linear_data(x, y, jr.Squared(), jr.L1(), None, None, None)
    lams = np.linspace(1, 0.1, 20)[None]
    here = march.March(make_problem(data, jr.Squared(), np.ones((1, 40)), True, True), lams, ridge * lams, 1e-6)
    here.b[0, 1 : 1 + 150] = 1.0
    assert set(range(150)) <= set(here._candidates(0, 0.9, ridge).tolist())


@pytest.mark.parametrize("ridge", [0.0, 1e-3])
def test_hard_quadratics(x64, ridge):
    """Any start, singular Grams, more columns than rank, kinks from tiny to large, entries without a kink."""
    rng = np.random.default_rng(0)
    factor = rng.standard_normal((40, 12, 30)) + 3 * rng.standard_normal((40, 12, 1))
    factor[:, :, 7] = factor[:, :, 3]  # a duplicate
    gram = np.einsum("bni,bnj->bij", factor, factor) / 12
    linear = np.einsum("bni,bn->bi", factor, rng.standard_normal((40, 12))) / 12
    kink = np.abs(linear).max(axis=1, keepdims=True) * rng.choice([1e-3, 1e-2, 0.3], (40, 1)) * np.ones((40, 30))
    kink[:, 5] = 0
    start = rng.standard_normal((40, 30)) * rng.choice([0.0, 1.0, 100.0], (40, 1))

    def solve(gram, linear, kink, start):
        problem = Quadratic(
            gram, start, gram @ start - linear + ridge * start, kink, jnp.full(30, ridge), jnp.ones(30, bool)
        )
        return minimize(problem, Tableau.empty(30), jnp.asarray(1e-10))[0]

    found = jax.jit(jax.vmap(solve))(gram, linear, kink, start)
    assert stationarity(gram, linear, kink, ridge, np.asarray(found.b)).max() < 1e-9
    assert np.asarray(found.steps).max() < 200


def test_entries_that_are_not_free_stay_at_zero(x64):
    linear, start = jnp.array([3.0, -2.0, 5.0, 0.1]), jnp.array([9.0, 9.0, 0.0, 9.0])
    free = jnp.array([True, True, False, True])
    problem = Quadratic(jnp.eye(4), start, start - linear, jnp.ones(4), jnp.zeros(4), free)
    found, _ = minimize(problem, Tableau.empty(4), jnp.asarray(1e-12))
    np.testing.assert_allclose(found.b, [2, -1, 0, 0], atol=1e-12)


def test_a_ridge_that_changes_and_a_tableau_that_is_wrong_are_made_good(x64):
    """The tableau is a help, never a source of error: junk in it costs steps, not truth."""
    rng = np.random.default_rng(1)
    x = rng.standard_normal((60, 20))
    gram, linear = x.T @ x / 60, x.T @ rng.standard_normal(60) / 60
    kink = np.full(20, 0.05)
    junk = Tableau.empty(20)._replace(
        matrix=jnp.asarray(rng.standard_normal((20, 20))),
        members=jnp.asarray(rng.random(20) < 0.5),
        extra=jnp.zeros(20),
    )
    tableau, solve = junk, jax.jit(minimize)
    for ridge in (0.0, 1e-3, 1.1e-3, 1.0):
        problem = Quadratic(gram, np.zeros(20), -linear, kink, np.full(20, ridge), np.ones(20, bool))
        found, tableau = solve(problem, tableau, np.float64(1e-11))
        assert stationarity(gram[None], linear[None], kink, ridge, np.asarray(found.b)[None])[0] < 1e-10


def assert_is_tableau(tableau, matrix, rng):
    """It maps what M does to members, and others themselves, to members themselves and what M does to others."""
    members = np.asarray(tableau.members)
    z = rng.standard_normal(len(matrix))
    w = matrix @ z
    found = tableau.times(jnp.asarray(np.where(members, w, z)))
    np.testing.assert_allclose(found, np.where(members, z, w), rtol=1e-9, atol=1e-9)


def test_block_pivots_follow_the_members(x64):
    rng = np.random.default_rng(2)
    x = rng.standard_normal((100, 40))
    gram, extra = x.T @ x / 100, np.linspace(0.1, 0.2, 40)
    tableau = Tableau.empty(40).begun(jnp.asarray(gram), jnp.asarray(extra), jnp.asarray(True))
    with_members = jax.jit(lambda tableau, chosen: tableau.with_members(chosen))
    for share in (0.5, 0.9, 0.1, 0.3):  # many at a time, coming and going together
        chosen = rng.random(40) < share
        tableau = with_members(tableau, jnp.asarray(chosen))
        np.testing.assert_array_equal(tableau.members, chosen)
        assert_is_tableau(tableau, gram + np.diag(extra), rng)


def test_a_tableau_of_other_variables(x64):
    """Some stay, in another order, members or not; members that go are dropped; and 90 are new."""
    rng = np.random.default_rng(4)
    old, new = rng.standard_normal((200, 40)), rng.standard_normal((200, 90))
    begun = Tableau.empty(40).begun(jnp.asarray(old.T @ old / 200), jnp.full(40, 0.1), jnp.asarray(True))
    tableau = begun.with_members(jnp.asarray(rng.random(40) < 0.5))
    stay, order = rng.permutation(40)[:30], rng.permutation(120)
    x = np.concatenate([old[:, stay], new], axis=1)[:, order]
    position = np.concatenate([stay, np.full(90, -1)])[order]
    gram = x.T @ x / 200
    found = jax.jit(rearranged)(tableau, jnp.asarray(gram), jnp.full(120, 0.1), jnp.asarray(position))
    expected = (position >= 0) & np.asarray(tableau.members)[np.maximum(position, 0)]
    np.testing.assert_array_equal(found.members, expected)
    assert_is_tableau(found, gram + 0.1 * np.eye(120), rng)


def test_walks_end_at_the_minimum_of_the_kinked_line(x64):
    rng = np.random.default_rng(3)
    factor = rng.standard_normal((200, 6, 6))
    gram = factor @ factor.transpose(0, 2, 1) + 0.1 * np.eye(6)
    linear, b = rng.standard_normal((2, 200, 6))
    kink = rng.random((200, 6))
    gradient = np.einsum("bij,bj->bi", gram, b) - linear
    direction = -(gradient + kink * np.sign(b))
    bend = np.einsum("bij,bj->bi", gram, direction)
    _, step = jax.vmap(walk)(b, gradient, kink, direction, bend)
    grid = np.linspace(0, 3, 6001) * np.asarray(step)[:, None]
    points = b[:, None] + grid[..., None] * direction[:, None]
    smooth = 0.5 * np.einsum("bti,bij,btj->bt", points, gram, points) - np.einsum("bti,bi->bt", points, linear)
    values = smooth + np.sum(kink[:, None] * np.abs(points), axis=2)
    best = np.take_along_axis(grid, values.argmin(axis=1)[:, None], 1)[:, 0]
    np.testing.assert_allclose(step, best, rtol=2e-3)


def test_fold_moments_by_downdating(x64):
    x, y = gaussian(203, 7, 0.5)
    fold = balanced_folds(203, 4)
    whole = uneven_weights(203)
    weights = np.stack([whole, *(np.where(fold == k, 0, whole) for k in range(4))])
    weights /= weights.sum(axis=1, keepdims=True)
    split = find_split(weights)
    assert split is not None
    found = jax.jit(second_moments)(x, np.column_stack([x[:, :3], y]), weights, split)
    expected = np.einsum("fn,ni,nj->fij", weights, x, np.column_stack([x[:, :3], y]))
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-14)
    assert find_split(np.stack([whole, *(2 * whole for _ in range(3))])) is None  # nothing held out: equal sets
    bootstrap = np.random.default_rng(0).multinomial(203, np.full(203, 1 / 203), 5) / 203
    assert find_split(bootstrap) is None
    tiny = np.stack([whole, np.where(np.arange(203) < 2, whole, 0), np.where(np.arange(203) < 2, 0, whole)])
    assert find_split(tiny / tiny.sum(axis=1, keepdims=True)) is None  # would cancel


@pytest.mark.parametrize("p", [7, PANELS * 64 + 3], ids=["one panel", "panels"])
def test_symmetric_moments_from_half_of_them(x64, p):
    x, _ = gaussian(203, p, 0.5)
    fold = balanced_folds(203, 3)
    weights = np.stack([np.ones(203), *(1.0 * (fold != k) for k in range(3))])
    weights /= weights.sum(axis=1, keepdims=True)
    expected = np.einsum("fn,ni,nj->fij", weights, x, x, optimize=True)
    for split in (None, find_split(weights)):
        found = jax.jit(own_moments)(x, weights, split)
        np.testing.assert_allclose(found, expected, rtol=1e-11, atol=1e-14)
        np.testing.assert_array_equal(found, np.swapaxes(found, 1, 2))


@pytest.mark.parametrize(
    ("loss", "ratios"),
    [(jr.Squared(), [0.5, 1.0]), pytest.param(jr.Logistic(), None, marks=pytest.mark.slow)],
    ids=["squared, net", "logistic, lasso"],
)
def test_one_batch_equals_threads(monkeypatch, loss, ratios):
    """What an accelerator runs, run on this device, with working sets that change from chunk to chunk."""
    x, y = gaussian(60, 90, 0.5)
    target = y if isinstance(loss, jr.Squared) else (y > 0).astype(float)
    monkeypatch.setattr(march, "ALL_COLUMNS", 32)
    monkeypatch.setattr(march, "FEW_COLUMNS", 32)
    options = {"loss": loss, "l1_ratios": ratios, "lams": 20, "folds": 3, "lam_min_ratio": 0.1}
    one_by_one = jr.cross_validate(x, target, **options)
    monkeypatch.setattr(march, "make_lanes", lanes.Batch)
    asked = []
    monkeypatch.setattr(lanes, "group_size", lambda many, each, data: asked.append(many) or min(many, 3))
    batched = jr.cross_validate(x, target, **options)  # eight lanes or four, three at a time
    assert asked
    assert batched.fold_gap.max() <= 1e-6
    np.testing.assert_allclose(batched.fold_coef, one_by_one.fold_coef, atol=1e-5)
    np.testing.assert_array_equal(batched.fold_coef != 0, one_by_one.fold_coef != 0)


def test_single_precision_gives_way_where_it_is_not_enough(monkeypatch):
    """A lane that single precision fails takes up double precision, in that chunk and all that follow."""
    x, y = gaussian(60, 90, 0.5)
    options = {"penalty": jr.ElasticNet(l1_ratio=0.5), "lams": 30, "lam_min_ratio": 0.1}
    monkeypatch.setattr(march, "ALL_COLUMNS", 32)
    expected = jr.fit_path(x, y, **options)
    asked = []
    monkeypatch.setattr(lanes, "lost", lambda found: asked.append(found) or True)
    path = jr.fit_path(x, y, **options)
    assert len(asked) == 1
    assert path.gap.max() <= 1e-6
    np.testing.assert_allclose(path.coef, expected.coef, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("ratio", [0.5, 1 - 1e-3, 1 - 1e-6, 1 - 1e-9])
def test_columns_that_are_nearly_copies_with_hardly_any_ridge(ratio, monkeypatch):
    """What no tableau in single precision can follow is certified all the same."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 3))[:, rng.integers(0, 3, 40)] + 1e-4 * rng.normal(size=(60, 40))
    y = x[:, :5].sum(axis=1) + 0.1 * rng.normal(size=60) + 1e4 * (x[:, 7] - x[:, 8])
    seen, lost = [], lanes.lost
    # Whether double precision takes over depends on rounding; that single precision was tried does not.
    monkeypatch.setattr(lanes, "lost", lambda found: seen.append(lost(found)) or seen[-1])
    path = jr.fit_path(x, y, penalty=jr.ElasticNet(l1_ratio=ratio), lam_min_ratio=1e-5, tol=1e-8)
    assert path.gap.max() <= 1e-8
    assert seen


def test_lanes_are_as_many_as_there_is_room_for():
    class Device:
        def __init__(self, stats):
            self.memory_stats = lambda: stats

    class Target:
        size = 1000

        def __init__(self, stats):
            self.devices = lambda: {Device(stats)}

    def room(stats):
        return lanes.group_size(110, 8 * 6 * 512**2, Data(Target(stats), None, None))

    assert room(None) == room({}) == 110
    assert room({"bytes_limit": 80 * 2**30, "bytes_in_use": 2**30}) == 110
    assert 20 < room({"bytes_limit": 2**30, "bytes_in_use": 2**29}) < 60
    assert room({"bytes_limit": 2**20, "bytes_in_use": 2**20}) == 1


@pytest.mark.parametrize("weighted", [False, True])
def test_moments_by_blas(weighted, x64, monkeypatch):
    """Of blocks of rows, where they are weighted, and of some that have no weight."""
    monkeypatch.setattr(_blas, "ROWS", 37)
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.normal(size=(100, 12)))
    weights = jnp.asarray(
        rng.exponential(size=(1, 100)) * (np.arange(100) % 7 > 0) if weighted else np.full((1, 100), 0.01)
    )
    assert not worth_blas(x, 1)
    monkeypatch.setattr(_blas, "WORK", 100 * 12**2)
    assert worth_blas(x, 1)
    assert not worth_blas(x, 2)
    found = moments_by_blas(np.asarray(x), np.asarray(weights[0]))
    np.testing.assert_allclose(found, own_moments(x, weights, None)[0], rtol=1e-12, atol=1e-13)
    y = np.asarray(x) @ rng.normal(size=12) + rng.normal(size=100)
    found = jr.fit_path(x, y, sample_weight=np.asarray(weights[0]), lams=60)
    assert found.gap.max() <= 1e-9
