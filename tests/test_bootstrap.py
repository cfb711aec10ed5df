"""The bootstrap: every replicate is a weighted fit, draws are those of the seed, and summaries are of the draws."""

import dataclasses
import pickle

import numpy as np
import pytest

import jaxreg as jr
from jaxreg.linear.sizes import rounded
from jaxreg.selection import _bootstrap
from tests.problems import diabetes, uneven_weights

X, Y = diabetes()
B, L = 11, 20


@pytest.fixture(scope="module")
def weight():
    """Uneven weights, some of them zero."""
    return np.where(np.arange(len(Y)) % 7 == 3, 0.0, uneven_weights(len(Y)))


@pytest.fixture(scope="module")
def boot(weight):
    return jr.bootstrap(X, Y, replicates=B, lams=L, sample_weight=weight)


def test_a_replicate_is_a_fit_with_weights(boot, weight):
    for k in (0, B - 1):
        path = jr.fit_path(X, Y, lams=boot.lams, sample_weight=boot.counts[k] * weight)
        np.testing.assert_allclose(boot.coef[k], path.coef, rtol=1e-7, atol=1e-7)
        np.testing.assert_allclose(boot.intercept[k], path.intercept, rtol=1e-9)
    everyone = jr.fit_path(X, Y, lams=L, sample_weight=weight)
    np.testing.assert_allclose(boot.lams, everyone.lams, rtol=1e-12)
    np.testing.assert_allclose(boot.path.coef, everyone.coef, rtol=1e-7, atol=1e-7)
    assert boot.gap.shape == boot.kkt.shape == boot.result.shape == (B, L)
    assert (boot.gap <= 1e-6).all()
    assert (boot.result == jr.Result.CONVERGED).all()


def test_rows_are_drawn_as_often_as_there_are_and_weightless_ones_never(boot, weight):
    assert boot.counts.shape == (B, len(Y))
    np.testing.assert_array_equal(boot.counts.sum(axis=1), (weight > 0).sum())
    assert not boot.counts[:, weight == 0].any()
    # A row stays out of a replicate with chance (1 − 1/n)ⁿ.
    assert (boot.counts[:, weight > 0] == 0).mean() == pytest.approx(np.exp(-1), abs=0.02)


def test_a_seed_gives_its_replicates_again_and_another_compiles_nothing(boot, weight, compiled):
    again = jr.bootstrap(X, Y, replicates=B, lams=L, sample_weight=weight)
    np.testing.assert_array_equal(again.counts, boot.counts)
    np.testing.assert_array_equal(again.slopes, boot.slopes)
    compiled.clear()
    other = jr.bootstrap(X, Y, replicates=B, lams=L, sample_weight=weight, seed=1)
    assert compiled == []
    assert (other.counts != boot.counts).any()
    assert (other.slopes[0] != boot.slopes[0]).any()


def test_blocks_change_nothing(boot, weight, monkeypatch):
    """Three blocks of four replicates for eleven: the last overlaps the one before."""
    shape = tuple(map(rounded, X.shape))
    monkeypatch.setattr(_bootstrap, "BLOCK", 4 * _bootstrap.BLOCK // len(_bootstrap._blocks(10**6, *shape)[0]))
    assert [part.tolist() for part in _bootstrap._blocks(B, *shape)] == [[0, 1, 2, 3], [4, 5, 6, 7], [7, 8, 9, 10]]
    seen = []
    parts = jr.bootstrap(X, Y, replicates=B, lams=L, sample_weight=weight, progress=lambda *at: seen.append(at))
    np.testing.assert_array_equal(parts.counts, boot.counts)
    np.testing.assert_allclose(parts.coef, boot.coef, rtol=1e-7, atol=1e-7)
    np.testing.assert_allclose(parts.intercept, boot.intercept, rtol=1e-9)
    assert seen[-1] == (3 * L, 3 * L)
    assert seen == sorted(seen)


def test_blocks_that_are_active_in_different_columns_are_joined():
    rng = np.random.default_rng(0)
    one, other = ((rng.standard_normal((2, 3, 2)), *rng.standard_normal((4, 2, 3))) for _ in range(2))
    index, slopes, intercept, *_ = _bootstrap._join(
        [
            _bootstrap._Part(np.array([0, 1]), np.array([2, 7]), *one),
            _bootstrap._Part(np.array([2, 3]), np.array([0, 7]), *other),
        ]
    )
    assert index.tolist() == [0, 2, 7]
    np.testing.assert_array_equal(slopes[:2], np.insert(one[0], 0, 0, axis=2))
    np.testing.assert_array_equal(slopes[2:], np.insert(other[0], 1, 0, axis=2))
    np.testing.assert_array_equal(intercept, np.concatenate([one[1], other[1]]))


def test_a_strong_feature_is_always_selected_and_noise_seldom():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((120, 6))
    y = 2 * x[:, 0] - x[:, 1] + 0.5 * rng.standard_normal(120)
    boot = jr.bootstrap(x, y, replicates=100, lams=[0.3, 0.001])
    assert boot.selected.shape == (2, 6)
    np.testing.assert_array_equal(boot.selected[:, :2], 1)
    assert (boot.selected[0, 2:] < 0.05).all()
    assert (boot.selected[1, 2:] > 0.5).all()
    np.testing.assert_array_equal(boot.selected, (boot.coef != 0).mean(axis=0))
    # With next to no penalty, the bootstrap's standard error is that of least squares.
    standard = 0.5 / np.sqrt(120)
    np.testing.assert_allclose(boot.std(0.001), standard, rtol=0.35)
    low, high = boot.interval(0.95, lam=0.001)
    np.testing.assert_allclose(high - low, 2 * 1.96 * standard, rtol=0.4)
    assert (low[:2] <= [2, -1]).all()
    assert (high[:2] >= [2, -1]).all()


def test_summaries_are_those_of_the_draws(boot):
    assert boot.coef.shape == (B, L, X.shape[1])
    np.testing.assert_allclose(boot.std(), boot.coef.std(axis=0, ddof=1))
    ends = np.quantile(boot.coef, [0.1, 0.9], axis=0)
    np.testing.assert_allclose(boot.interval(0.8), ends)
    np.testing.assert_allclose(boot.interval(0.8, lam=boot.lams[7]), ends[:, 7])
    between = 0.25 * boot.lams[3] + 0.75 * boot.lams[4]
    coef, intercept = boot.coef_at(between)
    np.testing.assert_allclose(coef, 0.25 * boot.coef[:, 3] + 0.75 * boot.coef[:, 4], atol=1e-12)
    np.testing.assert_allclose(intercept, 0.25 * boot.intercept[:, 3] + 0.75 * boot.intercept[:, 4])
    np.testing.assert_allclose(boot.coef_at(boot.lams[-1])[0], boot.coef[:, -1])
    again = pickle.loads(pickle.dumps(boot))
    np.testing.assert_array_equal(again.selected, boot.selected)
    assert repr(again).startswith(f"Bootstrap(Squared + L1, {B} replicates × {L} λ from")


@pytest.mark.parametrize(
    ("loss", "y"), [(jr.Logistic(), np.arange(30) < 2), (jr.Squared(), np.arange(2))], ids=["one class", "one value"]
)
def test_replicates_with_nothing_to_learn_are_drawn_again(loss, y):
    y = y.astype(float)
    counts = _bootstrap._draw(50, np.ones(y.size), y, loss, seed=0)
    np.testing.assert_array_equal(counts.sum(axis=1), y.size)
    for drawn in counts > 0:
        loss.check(y[drawn])


ERRORS = {
    "half a replicate": ({"replicates": 2.5}, TypeError, "replicates must be an integer, got 2.5"),
    "no replicate": ({"replicates": 0}, ValueError, "replicates must be at least 1, got 0"),
    "text": ({"replicates": "many"}, TypeError, "replicates must be an integer"),
    "several ratios": ({"penalty": jr.ElasticNet(l1_ratio=np.array([0.1, 0.5]))}, ValueError, "l1_ratio must be one"),
    "short weights": ({"sample_weight": np.ones(3)}, ValueError, "sample_weight must have one value"),
    "negative lam": ({"lams": [-1.0], "sample_weight": uneven_weights(len(Y))}, ValueError, "lams must be finite and not negative"),
}  # fmt: skip


@pytest.mark.parametrize("name", ERRORS)
def test_bad_input(name):
    options, kind, message = ERRORS[name]
    with pytest.raises(kind, match=message):
        jr.bootstrap(X, Y, **{"replicates": B, **options})


def test_bad_questions(boot):
    with pytest.raises(ValueError, match="level must be between 0 and 1, got 1"):
        boot.interval(1.0)
    with pytest.raises(ValueError, match="lam must be within the path"):
        boot.coef_at(2 * boot.lams[0])
    one = dataclasses.replace(boot, slopes=boot.slopes[:1])
    for question in (one.std, one.interval):
        with pytest.raises(ValueError, match="needs at least 2 replicates"):
            question()


def test_fits_that_miss_their_tolerance_warn_once(weight):
    with pytest.warns(RuntimeWarning, match=f"of {(B + 1) * L} problems: [0-9]+ stalled") as caught:
        boot = jr.bootstrap(X, Y, replicates=B, lams=L, sample_weight=weight, tol=1e-300)
    assert len(caught) == 1
    assert (boot.result == jr.Result.STALLED).any()
    assert ((boot.result == jr.Result.CONVERGED) == (boot.gap <= 1e-300)).all()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("y", "options"),
    [
        (Y, {"penalty": jr.GroupLasso(groups=np.arange(10) // 2)}),
        (np.c_[Y, Y**2 / 100], {"penalty": jr.L21()}),
        (Y, {"penalty": jr.SLOPE(weights=np.linspace(2, 1, 10))}),
        (Y, {"penalty": jr.MCP()}),
        pytest.param(Y, {"loss": jr.Quantile(0.3)}, marks=pytest.mark.slow),
    ],
    ids=["groups", "rows", "SLOPE", "MCP", "quantile"],
)
def test_whatever_has_a_path_has_a_bootstrap(y, options):
    boot = jr.bootstrap(X, y, replicates=3, lams=4, lam_min_ratio=0.1, **options)
    assert (boot.result == jr.Result.CONVERGED).all()
    path = jr.fit_path(X, y, lams=boot.lams, sample_weight=boot.counts[2], **options)
    np.testing.assert_allclose(boot.coef[2], path.coef, atol=1e-3 * np.abs(path.coef).max())
    assert boot.coef.shape == (3, *boot.path.coef.shape)
    np.testing.assert_array_equal(boot.selected, (boot.coef != 0).mean(axis=0))
    low, high = boot.interval(0.5, lam=boot.lams[-1])
    assert low.shape == path.coef.shape[1:]
    assert (low <= high).all()


def test_rows_of_which_no_draw_can_be_fitted_are_refused():
    """Twelve of twelve classes, each of one row, are never all in a draw with replacement."""
    with pytest.raises(ValueError, match="y has too few rows of some kind: of 1000 draws"):
        jr.bootstrap(X[:12], np.arange(12), loss=jr.Multinomial(), replicates=2, lams=2)
