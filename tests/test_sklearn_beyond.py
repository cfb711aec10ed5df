"""What jaxreg's estimators take that scikit-learn's do not: factors, bounds, offsets, rules, other arrays; and how sure they are."""

import jax.numpy as jnp
import numpy as np
import pytest
import sklearn.linear_model as theirs
from joblib import Parallel, delayed
from scipy import optimize, sparse
from scipy.special import expit, softmax
from sklearn.datasets import load_diabetes
from sklearn.metrics import accuracy_score, log_loss
from sklearn.model_selection import cross_val_score

import jaxreg.sklearn as ours
from jaxreg.sklearn._classifier_cv import hits, log_likelihoods
from jaxreg.sklearn._fit import best_of
from jaxreg.sklearn._huber import best_scale

X, Y = load_diabetes(return_X_y=True)
X = 20 * X
COUNTS = np.round(Y / 20)
CLASS = (Y > np.median(Y)).astype(int)
FACTORS = np.array([0.0, *np.linspace(0.5, 2.0, 9)])


class Tensor:
    """An array of another house, which says no more of itself than DLPack asks for."""

    def __init__(self, array):
        self.array = array

    def __dlpack__(self, **options):
        return self.array.__dlpack__(**options)

    def __dlpack_device__(self):
        return self.array.__dlpack_device__()


@pytest.mark.parametrize("kind", [Tensor, jnp.asarray])
def test_arrays_of_other_houses(kind):
    model = ours.Lasso(alpha=2.0).fit(kind(X.astype(np.float32)), kind(Y.astype(np.float32)))
    plain = ours.Lasso(alpha=2.0).fit(X.astype(np.float32), Y.astype(np.float32))
    assert model.coef_.dtype == np.float32
    np.testing.assert_array_equal(model.coef_, plain.coef_)
    np.testing.assert_array_equal(model.predict(kind(X.astype(np.float32))), plain.predict(X.astype(np.float32)))


def test_threads_of_joblib():
    alphas = (0.5, 1.0, 2.0, 4.0)
    fits = Parallel(n_jobs=2, prefer="threads")(delayed(ours.Lasso(alpha=a).fit)(X, Y) for a in alphas)
    for alpha, fit in zip(alphas, fits, strict=True):
        other = theirs.Lasso(alpha=alpha, tol=1e-12, max_iter=100_000).fit(X, Y)
        np.testing.assert_allclose(fit.coef_, other.coef_, rtol=1e-6, atol=1e-6)


def test_cross_val_score():
    mine, other = (cross_val_score(house.Ridge(), X, Y, cv=3) for house in (ours, theirs))
    np.testing.assert_allclose(mine, other, rtol=1e-8)


@pytest.mark.parametrize("name", ["Lasso", "ElasticNet"])
def test_penalty_factors_are_those_of_scaled_columns(name):
    factor = FACTORS[1:]
    model = getattr(ours, name)(alpha=2.0, penalty_factor=factor).fit(X[:, 1:], Y)
    if name == "Lasso":
        scaled = theirs.Lasso(alpha=2.0, tol=1e-12, max_iter=100_000).fit(X[:, 1:] / factor, Y)
        np.testing.assert_allclose(model.coef_, scaled.coef_ / factor, atol=1e-6)
    gradient = X[:, 1:].T @ (Y - model.predict(X[:, 1:])) / len(Y)
    mix = model.l1_ratio
    slope = gradient - 2.0 * (1 - mix) * factor * model.coef_
    assert (np.abs(slope) <= 2.0 * mix * factor + 1e-5).all()
    used = model.coef_ != 0
    np.testing.assert_allclose(slope[used], (2.0 * mix * factor * np.sign(model.coef_))[used], atol=1e-5)


@pytest.mark.slow
def test_unpenalized_columns_of_every_estimator_that_has_factors():
    big = {"alpha": 1e4}
    for model, y in (
        (ours.Lasso(**big), Y),
        (ours.LassoCV(alphas=[1e4, 1e3], cv=2), Y),
        (ours.RelaxedLasso(**big), Y),
        (ours.PoissonRegressor(**big), COUNTS),
        (ours.LogisticRegression(C=1e-8), CLASS),
    ):
        coef = np.abs(np.ravel(model.set_params(penalty_factor=[0.0, *[1.0] * 9]).fit(X, y).coef_))
        assert coef[0] > 1e-2, model
        assert coef[1:].max() < 1e-2 * coef[0], model


@pytest.mark.slow
def test_bounds():
    lower, upper = np.full(10, -1.0), np.array([0.0, 5.0, 3.0, *[np.inf] * 7])
    model = ours.ElasticNet(alpha=0.1, l1_ratio=0.5, lower=lower, upper=upper).fit(X, Y)
    assert (model.coef_ >= lower).all()
    assert (model.coef_ <= upper).all()
    assert (model.coef_ == lower).any()
    assert (model.coef_ == upper)[1:3].any()
    assert model.dual_gap_ < 1e-6 * Y.var()

    def objective(b):
        r = Y - Y.mean() - (X - X.mean(axis=0)) @ b
        return 0.5 * np.mean(r**2) + 0.1 * (0.5 * np.abs(b).sum() + 0.25 * b @ b)

    # On each side of zero the objective is smooth: split coefficients are bounded variables of a smooth problem.
    both = [(0, u) for u in upper] + [(0, -low) for low in lower]
    split = optimize.minimize(lambda v: objective(v[:10] - v[10:]), np.zeros(20), bounds=both, tol=1e-12)
    assert objective(model.coef_) <= split.fun * (1 + 1e-9)
    path = ours.LassoCV(alphas=5, cv=3, upper=4.0, positive=True).fit(X, Y)
    assert 0 <= path.coef_.min() < path.coef_.max() <= 4.0
    assert (np.diff(path.alphas_) < 0).all()
    for bad, message in (({"lower": 1.0}, "lower must be"), ({"upper": [1.0, 2.0]}, "upper must be a number or have")):
        with pytest.raises(ValueError, match=message):
            ours.Lasso(**bad).fit(X, Y)


def test_offsets_shift_the_link():
    exposure = np.random.default_rng(0).uniform(0.5, 2.0, len(Y))
    rates = ours.PoissonRegressor(alpha=0.5).fit(X, COUNTS / exposure, sample_weight=exposure)
    shifted = ours.PoissonRegressor(alpha=0.5 * exposure.mean()).fit(X, COUNTS, offset=np.log(exposure))
    np.testing.assert_allclose(shifted.coef_, rates.coef_, rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(shifted.predict(X, offset=np.log(exposure)), exposure * rates.predict(X), rtol=1e-5)
    with pytest.raises(ValueError, match="offset must have one value per row"):
        shifted.predict(X, offset=[0.0])


@pytest.mark.parametrize("power", [2.5, 3.0])
def test_tweedie_beyond_gamma(power):
    options = {"power": power, "alpha": 0.001}
    mine = ours.TweedieRegressor(**options).fit(X, Y)
    other = theirs.TweedieRegressor(**options, tol=1e-10, max_iter=10_000).fit(X, Y)
    np.testing.assert_allclose(mine.coef_, other.coef_, atol=1e-5)
    assert mine.score(X, Y) == pytest.approx(other.score(X, Y), rel=1e-6)
    assert np.isnan(mine.dual_gap_)
    assert mine.kkt_ < 1e-8


def test_one_standard_error():
    errors = np.array([[[3.0, 3.0], [2.1, 2.3], [2.0, 2.2], [2.5, 2.5]]])
    strengths = np.array([[4.0, 3.0, 2.0, 1.0]])
    assert best_of(errors, strengths, "min") == (0, 2)
    assert best_of(errors, strengths, "1se") == (0, 1)
    low, high = (ours.LassoCV(alphas=30, cv=5, selection_rule=rule).fit(X, Y) for rule in ("min", "1se"))
    mean, at = low.mse_path_.mean(axis=1), int(low.mse_path_.mean(axis=1).argmin())
    bar = mean[at] + low.mse_path_[at].std() / 2
    assert high.alpha_ == low.alphas_[mean <= bar].max() > low.alpha_
    with pytest.raises(ValueError, match="selection_rule must be one of"):
        ours.ElasticNetCV(selection_rule="best").fit(X, Y)


def test_scores_of_rows_are_those_of_scikit_learn():
    rng = np.random.default_rng(0)
    index = rng.integers(0, 3, 50)
    index[:3] = range(3)
    for classes, scale in ((3, 1.0), (3, 100.0), (2, 1.0), (2, 100.0)):
        y = np.minimum(index, classes - 1)
        link = scale * rng.normal(size=(50, 1, 1, 1 if classes == 2 else 3))
        p = softmax(link[:, 0, 0], axis=1) if classes == 3 else expit(np.concatenate([-link, link], axis=-1))[:, 0, 0]
        assert np.isclose(-log_likelihoods(link, y).mean(), log_loss(y, p))
        assert np.isclose(hits(link, y).mean(), accuracy_score(y, p.argmax(axis=1)))


@pytest.mark.slow
def test_one_standard_error_of_classes():
    low, high = (
        ours.LogisticRegressionCV(Cs=[1.0, 0.001, 0.1, 0.01], cv=4, selection_rule=rule).fit(X, CLASS)
        for rule in ("min", "1se")
    )
    assert 0 < high.C_[0] < low.C_[0]
    assert max(low.dual_gap_, high.dual_gap_) < 1e-6


def test_relaxed_lasso_of_a_sparse_table():
    rng = np.random.default_rng(0)
    table = sparse.random_array((300, 40), density=0.1, rng=rng, format="csr")
    y = table[:, :3] @ [3.0, -2.0, 1.0] + 0.1 * rng.normal(size=300)
    weight = rng.uniform(0.5, 2.0, 300)
    thin, full = (ours.RelaxedLasso(alpha=0.02, phi=0.3).fit(t, y, weight) for t in (table, table.toarray()))
    np.testing.assert_allclose(thin.coef_, full.coef_, atol=1e-10)
    assert 0 < (thin.coef_ != 0).sum() < 40
    assert np.isclose(thin.intercept_, full.intercept_)
    kept = full.coef_ != 0
    plain = theirs.LinearRegression().fit(table.toarray()[:, kept], y, weight)
    lasso = ours.Lasso(alpha=0.02).fit(table, y, weight)
    np.testing.assert_allclose(thin.coef_[kept], 0.3 * lasso.coef_[kept] + 0.7 * plain.coef_, atol=1e-7)


def huber_objective(model, table, y, alpha):
    z = np.abs(y - table @ model.coef_ - model.intercept_) / model.scale_
    return (model.scale_ * (1 + np.where(z < 1.35, z**2, 2.7 * z - 1.35**2))).sum() + alpha * (model.coef_**2).sum()


def test_huber_of_tables_that_are_hard():
    rng = np.random.default_rng(0)
    line = rng.normal(size=(200, 5))
    exact = line @ np.arange(5.0)
    exact[:20] += 10
    scales = np.array([1e3, 1.0, 1e-3, 1.0, 10.0])
    wide = rng.normal(size=(30, 100))
    heavy = sparse.random_array((500, 50), density=0.1, rng=rng, format="csr")
    for table, y, alpha in (
        (line, exact, 1e-4),  # on a line but for outliers: a scale of zero
        (line * scales, line @ np.ones(5) + rng.standard_cauchy(200), 1e-4),
        (wide, rng.normal(size=30), 10.0),
        (heavy, rng.standard_t(1, size=500), 1.0),
    ):
        mine = ours.HuberRegressor(alpha=alpha).fit(table, y)
        other = theirs.HuberRegressor(alpha=alpha, tol=1e-8, max_iter=20_000).fit(table, y)
        assert huber_objective(mine, table, y, alpha) <= huber_objective(other, table, y, alpha) * (1 + 1e-12)
        assert 0 <= mine.dual_gap_ < 1e-5
    assert (ours.HuberRegressor().fit(line, exact).outliers_ == (np.arange(200) < 20)).all()


def test_best_scale_is_the_root():
    rng = np.random.default_rng(1)
    residual, weights = rng.standard_cauchy(100), rng.uniform(0.1, 2.0, 100)
    residual[:30] = 0
    for epsilon in (1.35, 2.0, 3.0):
        sigma = best_scale(residual, weights, epsilon, 1e-12)
        assert np.isclose(np.average(np.minimum((residual / sigma) ** 2, epsilon**2), weights=weights), 1)
    assert best_scale(np.where(np.arange(100) < 90, 0.0, residual), weights, 1.35, 1e-12) == 1e-12


@pytest.mark.slow
def test_every_regressor_says_how_sure_it_is():
    """All but those with a concave penalty have a duality gap, in units that their pages name."""
    for name in (
        "Lasso",
        "ElasticNet",
        "Ridge",
        "HuberRegressor",
        "LassoCV",
        "RidgeCV",
        "RelaxedLasso",
        "AdaptiveLasso",
    ):
        model = getattr(ours, name)().fit(X, Y)
        assert 0 <= model.dual_gap_ < 1e-5 * Y.var(), name
    for name in ("LogisticRegression", "RidgeClassifier", "RidgeClassifierCV"):
        model = getattr(ours, name)().fit(X, CLASS)
        assert 0 <= model.dual_gap_ < 1e-5, name
