"""Lanes of few rows and many columns, whose march is one program: what `March` finds, or left to it."""

import numpy as np
import pytest
import scipy.sparse

import jaxreg as jr
from jaxreg.linear.active import engine, screen, sprint
from jaxreg.linear.columns import Data
from jaxreg.linear.problem import Piece
from tests.problems import gaussian, uneven_offset, uneven_weights

# All of one shape, so that most share a program.
N, P = 60, 400
X, Y = gaussian(N, P, 0.5)
FEWER = {"lams": 30, "lam_min_ratio": 0.02}
RNG = np.random.default_rng(0)
ZEROS = np.where(RNG.random((N, P)) < 0.2, X, 0)


@pytest.fixture
def ran(monkeypatch):
    """What the one program gave while a test ran: a piece, or None where it left the problem to the march."""
    pieces: list[Piece | None] = []

    def watched(*args):
        pieces.append(sprint.sprint(*args))
        return pieces[-1]

    monkeypatch.setattr(engine, "sprint", watched)
    return pieces


def marched(monkeypatch, fit):
    with monkeypatch.context() as patch:
        patch.setattr(engine, "suits", lambda *_: False)
        return fit()


CASES = {
    "plain": {},
    "no intercept": {"intercept": False},
    "not standardized": {"standardize": False},
    "weights and offset": {"sample_weight": uneven_weights(N), "offset": uneven_offset(N)},
    "rows without weight": {"sample_weight": np.arange(N) % 4.0},
    "penalty factors": {"penalty": jr.L1(weight=RNG.uniform(0.5, 2, P))},
    "sparse": {"X": scipy.sparse.csc_array(ZEROS)},
    "constant columns": {"X": np.where(np.arange(P) % 3 == 0, 7.0, X)},
    "single precision": {"X": X.astype(np.float32), "y": Y.astype(np.float32)},
}


@pytest.mark.parametrize("case", CASES)
def test_what_the_march_finds(case, ran, monkeypatch):
    options = {"X": X, "y": Y, "folds": 4, "tol": 1e-9, **FEWER, **CASES[case]}

    def fit():
        return jr.cross_validate(**options)

    found = fit()
    assert len(ran) == 1
    assert ran[0] is not None
    right = marched(monkeypatch, fit)
    assert len(ran) == 1
    assert found.fold_gap.max() <= 1e-9
    scale = np.abs(right.fold_coef).max()
    assert scale > 0
    np.testing.assert_allclose(found.fold_coef, right.fold_coef, atol=1e-6 * scale)
    np.testing.assert_allclose(found.scores, right.scores, rtol=1e-5)
    for name in ("coef", "intercept", "deviance_ratio"):
        mine, theirs = getattr(found.path, name), getattr(right.path, name)
        np.testing.assert_allclose(mine, theirs, rtol=1e-6, atol=1e-6 * scale)


@pytest.mark.parametrize("what", ["duplicated columns", "equicorrelation 0.95"])
def test_near_saturation(what, ran):
    """As many columns as rows, to λ of 1e-4 of the largest: certified."""
    design = np.repeat(X[:, : P // 2], 2, axis=1) if what == "duplicated columns" else gaussian(N, P, 0.95).X
    path = jr.fit_path(design, Y, lams=60, lam_min_ratio=1e-4, tol=1e-8)
    assert ran[0] is not None
    assert path.gap.max() <= 1e-8
    assert np.count_nonzero(path.coef[-1]) >= 0.8 * N


@pytest.mark.parametrize("lams", [[0.05], [0.5, 0.4, 0.02], np.geomspace(0.6, 0.01, 7)])
def test_strengths_far_apart(lams, ran):
    """Others are between them, which the answer does not show."""
    path = jr.fit_path(X, Y, lams=lams, tol=1e-9)
    assert ran[0] is not None
    whole = jr.fit_path(X, Y, lams=np.union1d(lams, np.geomspace(1, min(lams), 90))[::-1], tol=1e-9)
    which = np.searchsorted(-whole.lams, -path.lams)
    np.testing.assert_array_equal(whole.lams[which], path.lams)
    assert path.coef.shape == (len(lams), P)
    np.testing.assert_allclose(path.coef, whole.coef[which], atol=1e-7 * np.abs(path.coef).max())
    assert path.stats["steps"].sum() >= np.count_nonzero(path.coef[-1])


def test_what_cannot_be_had_is_left_to_the_march(ran):
    """Of gaps below rounding it is the march that says which λ did not reach them."""
    with pytest.warns(RuntimeWarning, match="stalled"):
        path = jr.fit_path(X, Y, tol=1e-17, **FEWER)
    assert ran == [None]
    assert not (path.result == jr.Result.CONVERGED).all()
    assert path.gap.max() < 1e-12


def test_columns_that_the_screen_missed_are_found(ran, monkeypatch):
    """No column is expected: each comes in because a certificate asks for it."""
    design = X[:, :390]  # of another size, so compiled with this screen
    with monkeypatch.context() as patch:
        patch.setattr(screen, "closeness", lambda gradient, *_: 0 * gradient)
        found = jr.fit_path(design, Y, tol=1e-9, **FEWER)
    assert ran[0] is not None
    right = marched(monkeypatch, lambda: jr.fit_path(design, Y, tol=1e-9, **FEWER))
    np.testing.assert_allclose(found.coef, right.coef, atol=1e-6 * np.abs(right.coef).max())


def test_one_batch_as_on_an_accelerator_gives_the_same(ran, monkeypatch):
    one_by_one = jr.cross_validate(X, Y, folds=4, **FEWER)
    monkeypatch.setattr(Data, "on_cpu", property(lambda _: False))
    asked = []
    monkeypatch.setattr(sprint, "group_size", lambda many, each, data: asked.append(many) or 3)
    batched = jr.cross_validate(X, Y, folds=4, **FEWER)  # five lanes, three at a time
    assert asked == [5]
    assert None not in ran
    np.testing.assert_allclose(batched.fold_coef, one_by_one.fold_coef, atol=1e-8)
    np.testing.assert_array_equal(batched.fold_coef != 0, one_by_one.fold_coef != 0)
    np.testing.assert_allclose(batched.scores, one_by_one.scores, rtol=1e-8)


def test_other_strengths_and_numbers_of_them_compile_nothing(ran, compiled):
    jr.cross_validate(X, Y, folds=4, **FEWER)
    compiled.clear()
    path = jr.fit_path(X, Y, lams=np.geomspace(0.9, 0.05, 23))
    jr.cross_validate(X, 2 * Y, folds=4, lams=27, penalty=jr.L1(weight=np.arange(1, P + 1)))
    assert [name for name in compiled if "_run" in str(name)] == []
    assert None not in ran
    assert path.gap.max() <= 1e-6


@pytest.mark.parametrize(
    ("design", "options"),
    [
        (X[:, :200], {}),
        (X, {"penalty": jr.ElasticNet(l1_ratio=0.9)}),
        (X, {"penalty": jr.L1(weight=np.arange(P) > 1)}),
        (X, {"loss": jr.Huber()}),
    ],
    ids=["few columns", "ridge", "unpenalized columns", "another loss"],
)
def test_what_suits_the_march(design, options, ran):
    path = jr.fit_path(design, Y, lams=5, lam_min_ratio=0.3, **options)
    assert np.nan_to_num(path.gap).max() <= 1e-6
    assert ran == []


def test_progress_is_told_lane_by_lane(ran):
    seen = []
    jr.cross_validate(X, Y, folds=4, progress=lambda *at: seen.append(at), **FEWER)
    assert ran[0] is not None
    assert seen == [(6, 30), (12, 30), (18, 30), (24, 30), (30, 30)]


def test_one_ratio_twice():
    twice = jr.cross_validate(X, Y, l1_ratios=[1.0, 1.0], folds=3, **FEWER)
    np.testing.assert_allclose(twice.scores[0], twice.scores[1], rtol=1e-6)
