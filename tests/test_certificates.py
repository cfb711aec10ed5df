"""The judge is judged first: bounds that must hold at any point, and solutions of other software."""

import numpy as np
import pytest
from scipy import optimize
from sklearn.linear_model import ElasticNet, LogisticRegression

from tests import problems
from tests.certificates import linear_problem, loss_conjugate, loss_curvature, loss_slope, loss_value

SHAPES = [
    {"loss": "squared"},
    {"loss": "squared", "l1_ratio": 0.5, "factors": np.array([1.0, 0.0, 2.0, 0.5])},
    {"loss": "squared", "l1_ratio": 0.0, "intercept": False},
    {"loss": "squared", "standardize": False, "sample_weight": np.array([0.0, 1.0, 2.0, 0.5] * 10)},
    {"loss": "logistic"},
    {"loss": "logistic", "l1_ratio": 0.5, "factors": np.array([0.0, 1.0, 2.0, 0.0])},
    {"loss": "logistic", "l1_ratio": 0.0, "offset": np.linspace(-1, 1, 40)},
    {"loss": "logistic", "intercept": False, "sample_weight": np.array([0.0, 1.0, 2.0, 0.5] * 10)},
]


def small_problem(shape):
    rng = np.random.default_rng(0)
    X = rng.normal(3.0, [0.1, 1.0, 2.0, 10.0], (40, 4))
    eta = X @ [5.0, -1.0, 0.0, 0.05] - 12
    noisy = eta + rng.logistic(size=40)
    return linear_problem(X, noisy if shape["loss"] == "squared" else (noisy > 0).astype(float), **shape)


def minimize(problem, lam):
    """Smallest P, by a general-purpose optimizer on b = b⁺ − b⁻, without duality."""
    p = problem.Z.shape[1]

    def objective(x):
        b = x[:p] - x[p : 2 * p]
        b0 = x[-1] if problem.intercept else 0.0
        absolute = x[:p] + x[p : 2 * p]
        size = problem.factors * (problem.l1_ratio * absolute + (1 - problem.l1_ratio) * b**2 / 2)
        wu = problem.w * loss_slope(problem.loss, problem.eta(b, b0), problem.y)
        slope = problem.Z.T @ wu + lam * problem.factors * (1 - problem.l1_ratio) * b
        kink = lam * problem.factors * problem.l1_ratio
        value = problem.w @ loss_value(problem.loss, problem.eta(b, b0), problem.y) + lam * size.sum()
        return value, np.concatenate([kink + slope, kink - slope, [wu.sum() if problem.intercept else 0.0]])

    bounds = [(0, None)] * (2 * p) + [(None, None)]
    options = {"ftol": 1e-16, "gtol": 1e-12, "maxiter": 20_000, "maxfun": 100_000}
    found = optimize.minimize(
        objective, np.zeros(2 * p + 1), jac=True, method="L-BFGS-B", bounds=bounds, options=options
    )
    b = found.x[:p] - found.x[p : 2 * p]
    return b / problem.scale, found.x[-1] - problem.center @ (b / problem.scale), found.fun


@pytest.mark.parametrize("loss", ["squared", "logistic"])
def test_losses_are_consistent(loss):
    """Slopes and curvatures by differences; Fenchel–Young with equality at the slope."""
    rng = np.random.default_rng(0)
    eta, other = rng.normal(0, 3, (2, 200))
    y = rng.normal(size=200) if loss == "squared" else rng.integers(0, 2, 200).astype(float)
    h = 1e-5
    difference = (loss_value(loss, eta + h, y) - loss_value(loss, eta - h, y)) / (2 * h)
    np.testing.assert_allclose(loss_slope(loss, eta, y), difference, atol=1e-8)
    difference = (loss_slope(loss, eta + h, y) - loss_slope(loss, eta - h, y)) / (2 * h)
    np.testing.assert_allclose(loss_curvature(loss, eta), difference, atol=1e-8)
    u = loss_slope(loss, eta, y)
    assert np.all(loss_value(loss, other, y) + loss_conjugate(loss, u, y) >= other * u - 1e-12)
    np.testing.assert_allclose(loss_value(loss, eta, y) + loss_conjugate(loss, u, y), eta * u, atol=1e-12)


@pytest.mark.parametrize("shape", SHAPES)
def test_the_dual_never_exceeds_the_primal(shape):
    """Weak duality between points that have nothing to do with one another."""
    problem, rng = small_problem(shape), np.random.default_rng(1)
    finite = 0
    for lam in np.geomspace(0.01, 1, 20):
        u = loss_slope(problem.loss, problem.refit_free(problem.offset + rng.normal(size=len(problem.y))), problem.y)
        dual = problem.best_dual(u, lam)
        finite += np.isfinite(dual)
        for _ in range(20):
            b, b0 = rng.normal(size=4) * rng.integers(0, 2, 4), rng.normal() if problem.intercept else 0.0
            assert dual <= problem.primal(b, b0, lam) + 1e-12
    assert finite == 20


@pytest.mark.parametrize("shape", SHAPES)
def test_the_gap_bounds_the_suboptimality(shape):
    """At every point between zero and the minimum; the gap closes at the minimum and not before."""
    problem = small_problem(shape)
    for lam in (0.1, 0.03):
        coef, intercept, smallest = minimize(problem, lam)
        unit = problem.null_primal()
        for t in (0.0, 0.5, 0.9, 0.99, 1.0, 1.3):
            got = problem.certify(t * coef, t * intercept, lam)
            assert got.primal - smallest <= got.gap * unit + 1e-12
            assert got.dual <= smallest + 1e-12
            assert got.kkt >= 0
        best = problem.certify(coef, intercept, lam)
        assert best.gap <= 1e-6
        assert best.kkt <= 1e-4
        away = problem.certify(0.9 * coef, intercept, lam)
        assert away.gap > 10 * best.gap
        assert away.kkt > 10 * best.kkt


def test_infeasible_dual_points_bound_nothing():
    lasso = linear_problem(*problems.diabetes())
    u = lasso.y - lasso.w @ lasso.y
    assert lasso.dual(u, 1.0) == -np.inf  # |v| ≤ λ fails
    assert lasso.dual(np.ones_like(u), 100.0) == -np.inf  # Σ w u ≠ 0
    assert np.isfinite(lasso.dual(u, 100.0))
    cancer = linear_problem(*problems.breast_cancer(), loss="logistic", l1_ratio=0.0, intercept=False)
    assert cancer.dual(1.5 - cancer.y, 1.0) == -np.inf  # u + y outside [0, 1]


@pytest.mark.parametrize("l1_ratio", [1.0, 0.5])
def test_exact_solutions_have_no_gap(l1_ratio):
    problem = linear_problem(*problems.diabetes(), l1_ratio=l1_ratio)
    for lam in (30.0, 1.0, 0.05):
        fit = ElasticNet(alpha=lam, l1_ratio=l1_ratio, tol=1e-14, max_iter=10**6).fit(problem.Z, problem.y)
        coef = fit.coef_ / problem.scale
        got = problem.certify(coef, fit.intercept_ - problem.center @ coef, lam)
        assert abs(got.gap) <= 1e-12
        assert got.kkt <= 1e-12
        assert problem.best_intercept(coef) == pytest.approx(fit.intercept_ - problem.center @ coef, rel=1e-12)


def test_exact_solutions_have_no_gap_in_logistic_ridge():
    problem = linear_problem(*problems.breast_cancer(), loss="logistic", l1_ratio=0.0)
    for lam in (1.0, 0.01):
        model = LogisticRegression(C=1 / (lam * len(problem.y)), solver="newton-cholesky", tol=1e-14, max_iter=1000)
        fit = model.fit(problem.Z, problem.y)
        coef = fit.coef_[0] / problem.scale
        got = problem.certify(coef, fit.intercept_[0] - problem.center @ coef, lam)
        assert abs(got.gap) <= 1e-12
        assert got.kkt <= 1e-12
        expected = fit.intercept_[0] - problem.center @ coef
        assert problem.best_intercept(coef) == pytest.approx(expected, rel=1e-10)


def test_the_strongest_useful_lam():
    """At λ_max the null model is optimal, and just below it is not."""
    for shape in ({"loss": "squared"}, {"loss": "logistic", "factors": np.r_[0.0, np.ones(9), 2.0]}):
        X, y = problems.diabetes()
        X = np.column_stack([X, X[:, 2] ** 2])
        y = (y > 140).astype(float) if shape["loss"] == "logistic" else y
        shape = {**shape, "factors": shape.get("factors", np.ones(11))}
        problem = linear_problem(X, y, **shape)
        A = np.column_stack([np.ones(len(y)), problem.Z[:, problem.factors == 0]])
        free = np.linalg.lstsq(A, problem.null_eta, rcond=None)[0]
        b = np.zeros(11)
        b[problem.factors == 0] = free[1:]
        coef = b / problem.scale
        intercept = free[0] - problem.center @ coef
        at, below = (problem.certify(coef, intercept, problem.lam_max() * t) for t in (1.0, 0.99))
        assert abs(at.gap) <= 1e-12
        assert at.kkt <= 1e-12
        assert below.gap > 1e-6
        assert below.kkt > 1e-3
