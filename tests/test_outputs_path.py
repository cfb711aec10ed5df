"""Several responses, classes and survival through the linear door: judged in NumPy, and against models taken apart."""

import re

import numpy as np
import pytest
import scipy.special

import jaxreg as jr
from tests.problems import gaussian, uneven_weights

N, P, K, FOLDS, LAMS = 60, 8, 3, 3, 6
RNG = np.random.default_rng(3)
X = gaussian(N, P, 0.3)[0] * np.linspace(0.5, 2.0, P) + np.arange(P)
B = np.zeros((P, K))
B[:3] = RNG.normal(size=(3, K))
ETA = (X - X.mean(axis=0)) @ B
Y = ETA + RNG.normal(size=(N, K))
LABEL = np.argmax(ETA + RNG.gumbel(size=(N, K)), axis=1)
TIME, CENSOR = RNG.exponential(np.exp(-0.5 * ETA[:, 0])), RNG.exponential(4.0, N)
SURVIVAL = np.c_[np.minimum(TIME, CENSOR), TIME <= CENSOR]
W = uneven_weights(N)
OFFSET = RNG.normal(scale=0.3, size=(N, K))
FREE = np.r_[0.0, np.ones(P - 1)]
FOLD_ID = np.arange(N) % FOLDS
GRID = {"lams": LAMS, "lam_min_ratio": 0.02}


def standardized(X, w):
    mean = w @ X
    scale = np.sqrt(w @ (X - mean) ** 2)
    return (X - mean) / scale, scale


def row_residual(gradient, b, lam):
    """Distance of −gradient to λ∂‖·‖₂, row by row."""
    size = np.linalg.norm(b, axis=1, keepdims=True)
    inside = np.maximum(np.linalg.norm(gradient, axis=1) - lam, 0)
    outside = np.linalg.norm(gradient + lam * b / np.where(size > 0, size, 1), axis=1)
    return np.where(size[:, 0] > 0, outside, inside).max()


def test_responses_under_an_l1_penalty_are_models_of_their_own():
    path = jr.fit_path(X, Y, sample_weight=W, offset=OFFSET, tol=1e-9, penalty=jr.L1(weight=FREE), **GRID)
    assert path.coef.shape == (LAMS, P, K)
    assert path.stats["solver"] == "active set"
    assert max(path.gap.max(), path.kkt.max()) <= 1e-9
    # One grid for all: it begins where the first coefficient of the last response to have one becomes nonzero.
    for k in range(K):
        alone = jr.fit_path(
            X, Y[:, k], lams=path.lams, sample_weight=W, offset=OFFSET[:, k], penalty=jr.L1(weight=FREE), tol=1e-10
        )
        np.testing.assert_allclose(path.coef[:, :, k], alone.coef, atol=1e-6)
        np.testing.assert_allclose(path.intercept[:, k], alone.intercept, atol=1e-6)
    assert (path.coef[0, 1:] == 0).all()
    assert (path.coef[1, 1:] != 0).any()
    eta = path.predict(X, lam=path.lams[2], offset=OFFSET)
    np.testing.assert_allclose(eta, X @ path.coef[2] + path.intercept[2] + OFFSET)
    np.testing.assert_allclose(path.predict(X, offset=OFFSET)[:, 2], eta)
    null = np.average((Y - OFFSET - np.average(Y - OFFSET, axis=0, weights=W)) ** 2, axis=0, weights=W).sum()
    share = 1 - np.average((Y - eta) ** 2, axis=0, weights=W).sum() / null
    np.testing.assert_allclose(path.deviance_ratio[2], share)


@pytest.mark.slow
def test_rows_of_several_responses_are_kept_or_dropped_together():
    cv = jr.cross_validate(X, Y, penalty=jr.L21(), sample_weight=W, fold_id=FOLD_ID, **GRID)
    path = cv.path
    assert max(path.gap.max(), cv.fold_gap.max(), path.kkt.max()) <= 1e-6
    for coef, intercept, w in (
        (path.coef, path.intercept, W),
        (cv.fold_coef[1], cv.fold_intercept[1], np.where(FOLD_ID == 1, 0, W)),
    ):
        w = w / w.sum()
        Z, scale = standardized(X, w)
        for lam, b, level in zip(path.lams, coef, intercept, strict=True):
            residual = X @ b + level - Y
            gradient, size = Z.T @ (w[:, None] * residual), np.abs(Z.T @ (w[:, None] * Y)).max()
            assert row_residual(gradient, b * scale[:, None], lam) <= 2e-6 * size
            assert np.abs(w @ residual).max() <= 2e-6 * size
    used = path.coef != 0
    np.testing.assert_array_equal(used.any(axis=2), used.all(axis=2))
    np.testing.assert_array_equal(path.nonzero, used.any(axis=2).sum(axis=1))
    held_out = FOLD_ID == 1
    error = X[held_out] @ cv.fold_coef[1] + cv.fold_intercept[1][:, None] - Y[held_out]  # (L, rows, K)
    expected = np.average((error**2).sum(axis=2), axis=1, weights=W[held_out])
    np.testing.assert_allclose(cv.scores[1], expected)
    assert cv.coef().shape == (P, K)
    assert cv.intercept().shape == (K,)
    assert cv.predict(X[:5]).shape == (5, K)
    assert "x0 [2]" in path.plot().feature_names


@pytest.mark.parametrize(
    "penalty", [pytest.param(jr.L1(), marks=pytest.mark.slow), jr.L21()], ids=["ungrouped", "grouped"]
)
def test_classes_are_certified_and_scored(penalty):
    """glmnet's two forms of the multinomial model: coefficients alone, or rows of them."""
    cv = jr.cross_validate(
        X, LABEL, loss=jr.Multinomial(), penalty=penalty, sample_weight=W, offset=OFFSET, fold_id=FOLD_ID, **GRID
    )
    path = cv.path
    assert max(path.gap.max(), cv.fold_gap.max(), path.kkt.max()) <= 1e-6
    w = W / W.sum()
    Z, scale = standardized(X, w)
    chance = path.predict(X, offset=OFFSET)
    np.testing.assert_allclose(chance, scipy.special.softmax(path.predict(X, kind="link", offset=OFFSET), axis=2))
    truth = np.eye(K)[LABEL]
    size = path.lams[0]
    for k, lam in enumerate(path.lams):
        u = w[:, None] * (chance[:, k] - truth)
        gradient, b = Z.T @ u, path.coef[k] * scale[:, None]
        if isinstance(penalty, jr.L21):
            worst = row_residual(gradient, b, lam)
        else:
            worst = np.where(b == 0, np.maximum(np.abs(gradient) - lam, 0), np.abs(gradient + lam * np.sign(b))).max()
        assert worst <= 5e-6 * size
        assert np.abs(u.sum(axis=0)).max() <= 5e-6 * size
    # Where no coefficient is left, classes have the probabilities that fit their shares.
    np.testing.assert_array_equal(path.coef[0], 0)
    np.testing.assert_allclose(w @ chance[:, 0], w @ truth, atol=1e-8)
    held_out = FOLD_ID == 2
    eta = X[held_out] @ cv.fold_coef[2] + cv.fold_intercept[2][:, None] + OFFSET[held_out]
    logs = np.take_along_axis(scipy.special.log_softmax(eta, axis=2), LABEL[None, held_out, None], axis=2)[..., 0]
    np.testing.assert_allclose(cv.scores[2], np.average(-2 * logs, axis=1, weights=W[held_out]))


@pytest.mark.deep
def test_two_classes_are_the_logistic_model():
    """Of the solutions of two classes, L1 takes one with coefficients b = ±β/2: λ|β| is λ(|b₁| + |b₂|)."""
    y = (LABEL > 0).astype(float)
    two = jr.fit_path(X, y, loss=jr.Multinomial(), sample_weight=W, tol=1e-9, **GRID)
    one = jr.fit_path(X, y, loss=jr.Logistic(), sample_weight=W, lams=two.lams, tol=1e-10)
    np.testing.assert_allclose(two.coef[:, :, 1] - two.coef[:, :, 0], one.coef, atol=1e-5)
    np.testing.assert_allclose(two.predict(X)[:, :, 1], one.predict(X), atol=1e-6)
    np.testing.assert_allclose(two.deviance_ratio, one.deviance_ratio, atol=1e-8)


@pytest.mark.deep
def test_folds_keep_the_shares_of_classes_and_events():
    kwargs = {"lams": LAMS, "folds": 5}
    for cv, kinds in (
        (jr.cross_validate(X, LABEL, loss=jr.Multinomial(), measure="error", **kwargs), LABEL),
        (
            jr.cross_validate(X, SURVIVAL, loss=jr.Cox(), penalty=jr.L1(weight=FREE), **kwargs),
            SURVIVAL[:, 1].astype(int),
        ),
    ):
        table = np.stack([np.bincount(kinds[cv.fold_id == k], minlength=kinds.max() + 1) for k in range(5)])
        assert np.ptp(table, axis=0).max() <= 1
        assert cv.mean[0] >= cv.mean[1] or cv.measure == "deviance"
    assert (cv.null_scores > 0).all()


def partial_likelihood(eta, survival, w):
    """−Σ w (η − log Σ over the risk set) by Breslow, row by row: no ties here."""
    time, event = survival.T
    at_risk = time[None] >= time[:, None]
    totals = np.log((np.where(at_risk, np.exp(eta) * w, 0)).sum(axis=1))
    return np.sum(w * event * (totals - eta))


@pytest.mark.slow
def test_survival_is_certified_and_scored():
    free = jr.L1(weight=FREE)
    cv = jr.cross_validate(X, SURVIVAL, loss=jr.Cox(), penalty=free, sample_weight=W, fold_id=FOLD_ID, **GRID)
    path = cv.path
    assert max(path.gap.max(), cv.fold_gap.max(), path.kkt.max()) <= 1e-6
    np.testing.assert_array_equal(path.intercept, 0)
    np.testing.assert_array_equal(path.coef[0, 1:], 0)
    assert path.coef[0, 0] != 0
    w = W / W.sum()
    Z, scale = standardized(X, w)

    # Its own derivative in NumPy: finite differences of the partial likelihood.
    b = path.coef[-1] * scale
    step = 1e-5 * np.eye(P)
    slope = [
        (partial_likelihood(Z @ (b + d), SURVIVAL, w) - partial_likelihood(Z @ (b - d), SURVIVAL, w)) / 2e-5
        for d in step
    ]
    lam = path.lams[-1] * FREE
    worst = np.where(b == 0, np.maximum(np.abs(slope) - lam, 0), np.abs(slope + lam * np.sign(b)))
    assert worst.max() <= 1e-6
    # A fold adds the deviance of all rows less that of those it left in.
    held_out = FOLD_ID == 1
    eta = X @ cv.fold_coef[1][-1]
    left = np.where(held_out, 0, W)[~held_out]
    both = partial_likelihood(eta, SURVIVAL, W), partial_likelihood(eta[~held_out], SURVIVAL[~held_out], left)
    events = SURVIVAL[:, 1] == 1
    least = [(v * np.log(v)).sum() for v in (W[events], left[events[~held_out]])]
    expected = 2 * (both[0] - least[0] - both[1] + least[1]) / W[held_out].sum()
    np.testing.assert_allclose(cv.scores[1, -1], expected, rtol=1e-8)
    np.testing.assert_allclose(path.predict(X[:3], path.lams[-1]), np.exp(X[:3] @ path.coef[-1]))


@pytest.mark.deep
def test_survival_targets_may_be_columns_or_a_tuple():
    strata, start = np.arange(N) % 2, SURVIVAL[:, 0] / 4
    full = (SURVIVAL[:, 0], SURVIVAL[:, 1], start, strata)
    given = jr.fit_path(X, full, loss=jr.Cox(), lams=3)
    as_array = jr.fit_path(X, np.stack(full, axis=1), loss=jr.Cox(), lams=3)
    np.testing.assert_allclose(as_array.coef, given.coef)
    plain = jr.fit_path(X, SURVIVAL, loss=jr.Cox(), lams=3)
    always = jr.fit_path(X, np.c_[SURVIVAL, np.full(N, -np.inf)], loss=jr.Cox(), lams=3)
    np.testing.assert_allclose(always.coef, plain.coef)
    assert not np.allclose(plain.coef, given.coef)


def test_other_strengths_and_numbers_compile_nothing(compiled):
    jr.fit_path(X, LABEL, loss=jr.Multinomial(), penalty=jr.L21(), **GRID)
    compiled.clear()
    path = jr.fit_path(X, (LABEL + 1) % K, loss=jr.Multinomial(), penalty=jr.L21(), sample_weight=W, lams=LAMS)
    assert path.result.max() == jr.Result.CONVERGED
    assert compiled == []


ERRORS = {
    "offset": ({"offset": np.zeros((N, 2))}, f"offset must have shape ({N},) or ({N}, 3), got ({N}, 2)"),
    "weight": ({"penalty": jr.L1(weight=np.ones((P, K)))}, "one factor per column of X"),
    "groups": ({"penalty": jr.GroupLasso(groups=[0, 0, 1])}, "3"),
    "column": ({"y": np.where(np.arange(K) == 1, np.nan, Y)}, "y (column 1) has 60 NaN or infinite entries"),
    "shares": ({"y": Y, "loss": jr.Multinomial()}, "shares of classes in [0, 1]"),
    "columns": ({"y": np.ones((N, 5)), "loss": jr.Cox()}, "y must have 2 to 4 columns"),
    "time": ({"y": np.where([True, False], np.nan, SURVIVAL), "loss": jr.Cox()}, "y (time) has 60 NaN"),
    "event": ({"y": SURVIVAL[:, :1] * [1, 3], "loss": jr.Cox()}, "y (event) must be 0 or 1"),
    "start": ({"y": np.c_[SURVIVAL, SURVIVAL[:, 0]], "loss": jr.Cox()}, "y (start) must be before time"),
}


@pytest.mark.parametrize("name", ERRORS)
def test_what_does_not_fit_is_refused(name):
    options, message = ERRORS[name]
    with pytest.raises(ValueError, match=re.escape(message)):
        jr.fit_path(X, **{"y": Y, **options})


def test_measures_that_judge_single_rows_are_refused_for_survival():
    with pytest.raises(ValueError, match="measure 'mse' judges samples one by one"):
        jr.cross_validate(X, SURVIVAL, loss=jr.Cox(), measure="mse")
    with pytest.raises(ValueError, match="measure 'auc' is for two classes"):
        jr.cross_validate(X, LABEL, loss=jr.Multinomial(), measure="auc")
