"""Quantile regression through the linear door: against linear programs, and by its duality gap."""

import re

import numpy as np
import pytest
import scipy.optimize

import jaxreg as jr
from jaxreg.datasets import load_diabetes
from tests.problems import gaussian, uneven_offset, uneven_weights

N, P, FOLDS = 60, 12, 3
X, SIGNAL = gaussian(N, P, 0.4)
X = X * np.linspace(0.5, 2.0, P) + np.arange(P)
Y = SIGNAL + np.random.default_rng(0).standard_t(2, size=N)
W, OFFSET = uneven_weights(N), uneven_offset(N)
FACTOR = np.r_[0.0, np.ones(P - 2), 2.0]
FOLD_ID = np.arange(N) % FOLDS


def by_linear_program(X, y, w, q, lam):
    """Least weighted pinball loss plus Σ λⱼ|bⱼ|, by the simplex method: y = b₀ + Xb + r⁺ − r⁻, b = b⁺ − b⁻."""
    n, p = X.shape
    cost = np.r_[q * w, (1 - q) * w, 0, 0, lam, lam] / np.r_[np.full(2 * n, w.sum()), np.ones(2 + 2 * p)]
    equations = np.c_[np.eye(n), -np.eye(n), np.ones(n), -np.ones(n), X, -X]
    found = scipy.optimize.linprog(cost, A_eq=equations, b_eq=y, method="highs")
    assert found.status == 0
    return found.fun


def objective(X, y, w, q, lam, coef, intercept):
    r = y - X @ coef - intercept
    return np.average(np.maximum(q * r, (q - 1) * r), weights=w) + (lam * np.abs(coef)).sum()


@pytest.mark.parametrize("q", [pytest.param(0.5, marks=pytest.mark.slow), 0.9])
def test_a_path_of_linear_programs(q):
    cv = jr.cross_validate(
        X,
        Y,
        loss=jr.Quantile(q),
        penalty=jr.L1(weight=FACTOR),
        lams=8,
        lam_min_ratio=0.02,
        sample_weight=W,
        offset=OFFSET,
        fold_id=FOLD_ID,
    )
    path = cv.path
    assert path.stats["solver"] == "splitting"
    assert max(path.gap.max(), cv.fold_gap.max()) <= 1e-6
    assert (path.result == jr.Result.CONVERGED).all()
    fits = [(W, path.coef, path.intercept), (np.where(FOLD_ID == 1, 0, W), cv.fold_coef[1], cv.fold_intercept[1])]
    for w, coef, intercept in fits:
        scale = np.sqrt(np.average((X - np.average(X, axis=0, weights=w)) ** 2, axis=0, weights=w))
        kept = w > 0
        null = None
        for k, lam in enumerate(path.lams):
            data = X[kept], (Y - OFFSET)[kept], w[kept], q, lam * FACTOR * scale
            best = by_linear_program(*data)
            null = best if null is None else null
            ours = objective(*data, coef[k], intercept[k])
            assert -1e-9 * null <= ours - best <= 1.5e-6 * null
    # The path begins where the first penalized coefficient does.
    np.testing.assert_array_equal(path.coef[0, 1:], 0)
    assert path.coef[1, 1:].any()
    held_out = FOLD_ID == 1
    r = Y[held_out] - OFFSET[held_out] - (X[held_out] @ cv.fold_coef[1].T + cv.fold_intercept[1]).T
    expected = 2 * np.average(np.maximum(q * r, (q - 1) * r), axis=1, weights=W[held_out])
    np.testing.assert_allclose(cv.scores[1], expected)


def by_fused_program(Z, y, q, entries, differences):
    """Least mean pinball loss plus `entries` Σ|bⱼ| and `differences` Σ|bⱼ₊₁ − bⱼ|, whose parts are variables too."""
    n, p = Z.shape
    jumps = np.diff(np.eye(p), axis=0)
    none, unit = np.zeros, np.eye(p - 1)
    equations = np.block(
        [
            [np.eye(n), -np.eye(n), np.ones((n, 1)), -np.ones((n, 1)), Z, -Z, none((n, 2 * p - 2))],
            [none((p - 1, 2 * n + 2)), jumps, -jumps, -unit, unit],
        ]
    )
    each = [q / n, (1 - q) / n, 0, entries, differences]
    cost = np.repeat(each, [n, n, 2, 2 * p, 2 * p - 2])
    found = scipy.optimize.linprog(cost, A_eq=equations, b_eq=np.r_[y, none(p - 1)], method="highs")
    assert found.status == 0
    return found.fun


def check_fused_path(X, y, q, ratio, lams):
    """Fit, and compare every third objective with that of a linear program; a ratio of 0 is total variation alone."""
    penalty = jr.FusedLasso(l1_ratio=ratio) if ratio > 0 else jr.TotalVariation()
    path = jr.fit_path(X, y, loss=jr.Quantile(q), penalty=penalty, lams=lams)
    assert (path.result == jr.Result.CONVERGED).all()
    # Total variation alone has no gap, since shifts of all coefficients are free.
    assert (path.gap if ratio > 0 else path.kkt).max() <= 1e-6
    scale = X.std(axis=0)
    Z, null = (X - X.mean(axis=0)) / scale, None
    for k in range(0, lams, 3):
        lam, b = path.lams[k], path.coef[k] * scale
        best = by_fused_program(Z, y, q, lam * ratio, lam * (1 - ratio))
        null = best if null is None else null
        penalized = lam * (ratio * np.abs(b).sum() + (1 - ratio) * np.abs(np.diff(b)).sum())
        ours = objective(X, y, np.ones(len(y)), q, 0.0, path.coef[k], path.intercept[k]) + penalized
        assert -1e-9 * null <= ours - best <= 1.5e-6 * null
    return path


@pytest.mark.slow
def test_fused_coefficients_move_together():
    path = check_fused_path(X, Y, 0.5, 0.0, 16)
    kinds = [len(np.unique(np.round(row, 9))) for row in path.coef * X.std(axis=0)]
    assert kinds[0] <= 2 < kinds[-1]


@pytest.mark.deep
def test_fused_lasso_at_a_high_quantile():
    check_fused_path(X, Y, 0.9, 0.3, 30)


@pytest.mark.deep
@pytest.mark.parametrize(("n", "p", "q"), [(60, 10, 0.25), (100, 30, 0.25), (50, 80, 0.9)])
def test_total_variation_of_every_shape(n, p, q):
    """Those that alternating directions and Newton's steps of single coefficients missed, or of given blocks."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, p)) + 0.5 * rng.normal(size=(n, 1))
    b = np.repeat(rng.normal(size=p // 5), 5)
    y = X @ np.where(np.abs(b) < 0.5, 0, b) + rng.standard_t(2, size=n)
    check_fused_path(X, y, q, 0.0, 30)


@pytest.mark.deep
def test_other_penalties_are_certified_on_real_data():
    """Bounds by duality need no other solver; the share of residuals below is near q where little is penalized."""
    X, y, _ = load_diabetes()
    for q, penalty in (
        (0.5, jr.ElasticNet(l1_ratio=0.5)),
        (0.9, jr.GroupLasso(groups=np.arange(10) // 2)),
        (0.1, jr.L1()),
        (0.25, jr.L1() + jr.NonNegative()),
    ):
        path = jr.fit_path(X, y, loss=jr.Quantile(q), penalty=penalty, lams=20)
        assert (path.result == jr.Result.CONVERGED).all()
        assert path.gap.max() <= 1e-6
        below = np.mean(y < path.predict(X, path.lams[-1]) - 1e-6)
        assert abs(below - q) <= 11 / 442


@pytest.mark.deep
def test_without_a_penalty_the_residual_judges():
    path = jr.fit_path(X, Y, loss=jr.Quantile(0.7), lams=[0.0])
    assert np.isnan(path.gap[0])
    assert path.kkt[0] <= 1e-6
    assert path.result[0] == jr.Result.CONVERGED
    data = X, Y, np.ones(N), 0.7, np.zeros(P)
    assert objective(*data, path.coef[0], path.intercept[0]) - by_linear_program(*data) <= 1e-6


@pytest.mark.deep
def test_more_columns_than_rows():
    rng = np.random.default_rng(1)
    X = rng.normal(size=(40, 90)) + rng.normal(size=(40, 1))
    y = X[:, :3].sum(axis=1) + rng.standard_t(2, size=40)
    path = jr.fit_path(X, y, loss=jr.Quantile(0.5), lams=6, standardize=False)
    assert path.gap.max() <= 1e-6
    for k, lam in enumerate(path.lams):
        data = X, y, np.ones(40), 0.5, np.full(90, lam)
        assert objective(*data, path.coef[k], path.intercept[k]) - by_linear_program(*data) <= 1.5e-6 * np.abs(y).mean()


@pytest.mark.deep
def test_folded_penalties_end_in_stationary_points():
    """−Xᵀu is a derivative of MCP, for u in [−q, 1 − q] that is at the end where a residual is not zero."""
    path = jr.fit_path(X, Y, loss=jr.Quantile(0.3), penalty=jr.MCP(), lams=6, lam_min_ratio=0.1)
    assert (path.result == jr.Result.CONVERGED).all()
    assert np.isnan(path.gap).all()
    assert path.kkt.max() <= 1e-6
    assert path.nonzero[0] == 0 < path.nonzero[-1]
    scale = X.std(axis=0)
    Z = (X - X.mean(axis=0)) / scale
    for lam, coef, intercept in zip(path.lams, path.coef, path.intercept, strict=True):
        r, b = Y - X @ coef - intercept, coef * scale
        slope = np.where(np.abs(b) < 3 * lam, lam - np.abs(b) / 3, 0)
        at_kink = np.abs(r) < 1e-5
        fixed = np.where(r > 0, -0.3, 0.7) * ~at_kink
        # Least squares over the derivatives that are free: those of samples without residual, and of zero coefficients.
        system = np.c_[np.r_[Z.T, np.ones((1, N))][:, at_kink] / N, np.r_[np.diag(b == 0), np.zeros((1, P))][:, b == 0]]
        right = -np.r_[Z.T @ fixed / N + slope * np.sign(b), fixed.mean()]
        low = np.r_[np.full(at_kink.sum(), -0.3), np.full((b == 0).sum(), -lam)]
        high = np.r_[np.full(at_kink.sum(), 0.7), np.full((b == 0).sum(), lam)]
        found = scipy.optimize.lsq_linear(system, right, (low, high))
        assert np.abs(found.fun).max() <= 1e-5


def test_what_cannot_be_fitted_is_refused():
    smooth = jr.GroupLasso(groups=np.arange(P) // 2) + jr.HuberizedL1()
    with pytest.raises(TypeError, match="Quantile has kinks and takes a penalty by its prox"):
        jr.fit_path(X, Y, loss=jr.Quantile(), penalty=smooth)
    message = re.escape(f"y must have shape ({N},) for Quantile with L21, got ({N}, 2)")
    with pytest.raises(ValueError, match=message):
        jr.fit_path(X, np.c_[Y, Y], loss=jr.Quantile(), penalty=jr.L21())


@pytest.mark.slow
def test_several_responses_are_fitted_each_by_itself():
    """One grid for both, gaps of their sum, and penalty factors of rows."""
    both, options = np.c_[Y, Y**2], {"loss": jr.Quantile(0.3), "sample_weight": W, "penalty": jr.L1(weight=FACTOR)}
    path = jr.fit_path(X, both, lams=3, lam_min_ratio=0.1, offset=OFFSET, **options)
    assert path.coef.shape == (3, P, 2)
    assert path.intercept.shape == (3, 2)
    assert path.gap.max() <= 1e-6
    np.testing.assert_array_equal(path.coef[0, 1:], 0)
    for k in range(2):
        one = jr.fit_path(X, both[:, k], lams=path.lams, offset=OFFSET, **options)
        np.testing.assert_allclose(path.coef[..., k], one.coef, atol=1e-9)
        np.testing.assert_allclose(path.intercept[..., k], one.intercept, atol=1e-9)
        np.testing.assert_array_equal(path.predict(X)[..., k], X @ path.coef[..., k].T + path.intercept[:, k])
