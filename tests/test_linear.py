"""The linear door: what its arguments mean, that it compiles once, and that its parts do what they say."""

import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.metrics import log_loss, mean_absolute_error, roc_auc_score, zero_one_loss

import jaxreg as jr
from jaxreg.linear import definite
from jaxreg.selection import make_folds
from tests.problems import breast_cancer, diabetes, gaussian, uneven_weights

X, Y = diabetes()
XB, YB = breast_cancer()
# For working sets: no other test may use this shape, since programs are counted.
WIDE = gaussian(290, 700, 0.5)


@pytest.mark.parametrize("penalty", [jr.L1(), jr.ElasticNet(l1_ratio=0.3), jr.L2()], ids=lambda p: type(p).__name__)
def test_other_strengths_compile_nothing(penalty, compiled):
    grid = np.geomspace(30, 0.3, 20)
    first = jr.fit_path(X, Y, penalty=penalty, lams=grid)
    jr.cross_validate(X, Y, penalty=penalty, lams=grid, folds=4)
    assert compiled
    compiled.clear()
    second = jr.fit_path(X, Y, penalty=penalty, lams=0.9 * grid)
    jr.cross_validate(X, Y, penalty=penalty, lams=0.9 * grid, folds=4, seed=1)
    assert compiled == []
    assert not np.array_equal(first.coef, second.coef)


def test_another_l1_ratio_compiles_nothing(compiled):
    """A lasso is followed from breakpoint to breakpoint, by a program of its own; beside it any ratio is as any other."""
    jr.cross_validate(X, Y, l1_ratios=[0.2, 1.0, 0.5], lams=20, folds=4)
    compiled.clear()
    jr.cross_validate(X, Y, l1_ratios=[0.4, 0.9, 0.1], lams=20, folds=4)
    jr.cross_validate(X, Y, l1_ratios=[1.0, 0.3, 0.7], lams=20, folds=4)
    assert compiled == []


def test_global_precision_is_left_alone():
    jr.fit_path(X, Y, lams=5)
    assert not jax.config.jax_enable_x64
    assert jnp.zeros(1).dtype == jnp.float32
    with jax.enable_x64(True):
        inside = jr.fit_path(X, Y, lams=5)
    np.testing.assert_array_equal(inside.coef, jr.fit_path(X, Y, lams=5).coef)


@pytest.mark.parametrize("loss", [jr.Squared(), jr.Logistic()], ids=lambda loss: type(loss).__name__)
def test_integer_weights_are_repeated_rows(loss):
    x, y = XB[:80, :6], (YB if isinstance(loss, jr.Logistic) else XB[:, 7])[:80]
    weight = np.arange(80) % 2 * 2  # half the rows have no weight at all
    repeated = np.repeat(np.arange(80), weight)  # 80 rows again: one shape, compiled once
    weighted = jr.fit_path(x, y, loss=loss, sample_weight=weight, lams=20)
    plain = jr.fit_path(x[repeated], y[repeated], loss=loss, lams=20)
    np.testing.assert_allclose(weighted.lams, plain.lams, rtol=1e-10)
    np.testing.assert_allclose(weighted.coef, plain.coef, rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(weighted.deviance_ratio, plain.deviance_ratio, atol=1e-8)


def test_an_offset_is_subtracted_from_a_gaussian_target():
    offset = 0.1 * X[:, 0] ** 2
    np.testing.assert_allclose(
        jr.fit_path(X, Y, offset=offset, lams=20).coef, jr.fit_path(X, Y - offset, lams=20).coef, atol=1e-8
    )


def test_a_logistic_offset_equals_a_column_with_coefficient_one():
    offset = 3 * (XB[:, 0] - XB[:, 0].mean())
    path = jr.fit_path(XB[:, 1:4], YB, loss=jr.Logistic(), offset=offset, lams=[0.05, 0.001])
    prob = path.predict(XB[:, 1:4], offset=offset)
    scale = XB[:, 1:4].std(axis=0)
    centered = (XB[:, 1:4] - XB[:, 1:4].mean(axis=0)) / scale
    gradient = centered.T @ (prob - YB[:, None]) / len(YB)
    standardized = path.coef.T * scale[:, None]
    np.testing.assert_allclose((prob - YB[:, None]).mean(axis=0), 0, atol=1e-7)
    np.testing.assert_allclose(
        gradient[standardized != 0], (-path.lams * np.sign(standardized))[standardized != 0], atol=1e-7
    )


def test_unpenalized_columns_are_fitted_at_every_strength():
    factor = np.r_[0, 0, np.ones(8)]
    path = jr.fit_path(X, Y, penalty=jr.L1(weight=factor), lams=20)
    assert (path.coef[:, :2] != 0).all()
    np.testing.assert_array_equal(path.coef[0, 2:], 0)
    expected = np.linalg.lstsq(np.column_stack([np.ones(len(Y)), X[:, :2]]), Y, rcond=None)[0]
    np.testing.assert_allclose(np.r_[path.intercept[0], path.coef[0, :2]], expected, rtol=1e-6)
    explained = 1 - np.mean((Y - path.predict(X, lam=path.lams[0])) ** 2) / Y.var()
    assert explained > 0.02
    assert path.deviance_ratio[0] == pytest.approx(explained)


def test_standardizing_by_hand_changes_nothing():
    mean, scale = X.mean(axis=0), X.std(axis=0)
    by_us, by_hand = (
        jr.fit_path(X, Y, lams=20),
        jr.fit_path((X - mean) / scale, Y, standardize=False, lams=20),
    )
    np.testing.assert_allclose(by_us.lams, by_hand.lams, rtol=1e-10)
    np.testing.assert_allclose(by_us.coef * scale, by_hand.coef, atol=1e-7)


def test_large_means_do_not_cancel():
    np.testing.assert_allclose(
        jr.fit_path(X + 1e6, Y + 1e6, lams=20).coef, jr.fit_path(X, Y, lams=20).coef, rtol=1e-5, atol=1e-6
    )


def test_float32_storage_keeps_float64_arithmetic():
    x = X.astype(np.float32)
    stored, exact = jr.fit_path(x, Y, lams=20), jr.fit_path(x.astype(np.float64), Y, lams=20)
    assert (stored.gap <= 1e-10).all()
    np.testing.assert_allclose(stored.coef, exact.coef, rtol=1e-9, atol=1e-9)


def test_strengths_come_back_in_decreasing_order():
    path = jr.fit_path(X, Y, lams=[0.5, 20.0, 3.0])
    np.testing.assert_array_equal(path.lams, [20.0, 3.0, 0.5])
    np.testing.assert_allclose(path.coef[1], jr.fit_path(X, Y, lams=[3.0]).coef[0], atol=1e-7)


def test_the_grid_begins_where_the_first_coefficient_enters():
    for penalty in (jr.L1(), jr.ElasticNet(l1_ratio=0.3), jr.L1(weight=np.linspace(0.5, 2, 10))):
        top = jr.fit_path(X, Y, penalty=penalty, lams=3).lams[0]
        path = jr.fit_path(X, Y, penalty=penalty, lams=[1.001 * top, 0.999 * top])
        assert path.nonzero.tolist() == [0, 1]


@pytest.mark.slow
def test_the_ridge_grid_spans_the_degrees_of_freedom():
    for x, y in ((X, Y), gaussian(50, 200, 0.5)):
        df = jr.fit_path(x, y, penalty=jr.L2()).df
        assert df[0] <= 0.11
        assert df[-1] >= 0.97 * min(x.shape[1], x.shape[0] - 1)


@pytest.mark.parametrize("size", [1e-30, 1e4, 1e12])
@pytest.mark.parametrize("penalty", [jr.L1(), jr.ElasticNet(l1_ratio=0.5)], ids=["lasso", "net"])
def test_columns_in_any_unit(penalty, size):
    """Unstandardized columns of size 10⁴ and more went beyond all steps, and missed the tolerance by far."""
    x, y = gaussian(60, 20, 0.5)
    path = jr.fit_path(size * x, y, penalty=penalty, lams=10, standardize=False)
    assert path.gap.max() <= 1e-6
    assert path.stats["steps"].max() <= 10
    if isinstance(penalty, jr.L1):
        expected = jr.fit_path(x, y, penalty=penalty, lams=10, standardize=False)
        np.testing.assert_allclose(size * path.coef, expected.coef, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("strength", [pytest.param(1e5, marks=pytest.mark.slow), 1e9])
@pytest.mark.parametrize("loss", [jr.Squared(), jr.Logistic()], ids=lambda loss: type(loss).__name__)
def test_a_ridge_of_any_strength(loss, strength):
    """b = c/λ as λ → ∞, c the null model's correlations: with units for the ridge's sake, without an end to them."""
    x, y = gaussian(60, 20, 0.5)
    y = y if isinstance(loss, jr.Squared) else (y > 0).astype(float)
    path = jr.fit_path(x, y, loss=loss, penalty=jr.ElasticNet(l1_ratio=1e-16), lams=strength / np.array([1, 3, 10]))
    assert path.gap.max() <= 1e-6
    assert path.kkt.max() <= 1e-6
    known = (x - x.mean(axis=0)).T @ y / len(y) / x.var(axis=0)
    np.testing.assert_allclose(
        path.coef * path.lams[:, None], np.broadcast_to(known, path.coef.shape), rtol=1e-3, atol=1e-4
    )


@pytest.mark.parametrize("correlation", [0.0, 0.95])
@pytest.mark.parametrize("loss", [jr.Squared(), jr.Logistic()], ids=lambda loss: type(loss).__name__)
def test_near_saturation_is_still_certified(loss, correlation):
    x, y = gaussian(50, 200, correlation)
    path = jr.fit_path(x, y if isinstance(loss, jr.Squared) else y > 0, loss=loss, lam_min_ratio=1e-4)
    assert (path.gap <= 1e-6).all()
    assert path.nonzero.max() <= 50
    # Warm starts make all but a few λ a matter of one to four linear systems, and of a few Newton steps.
    assert path.stats["steps"].mean() < (4 if isinstance(loss, jr.Squared) else 8)


def test_a_working_set_that_must_grow_compiles_little_and_finds_what_a_single_fit_finds(compiled):
    x, y = WIDE
    path = jr.fit_path(x, y, lams=40, tol=1e-9)
    chunks = [name for name in compiled if "_follow" in str(name)]
    assert 2 <= len(chunks) <= 4
    assert len(compiled) <= 40
    single = jr.fit_path(x, y, lams=path.lams[-1:], tol=1e-9)
    np.testing.assert_allclose(path.coef[-1], single.coef[0], atol=1e-6)


def test_degrees_of_freedom():
    lasso, net = jr.fit_path(X, Y), jr.fit_path(X, Y, penalty=jr.ElasticNet(l1_ratio=0.5))
    np.testing.assert_array_equal(lasso.df, lasso.nonzero)
    centered = (X - X.mean(axis=0)) / X.std(axis=0)
    for k in (30, 70, 99):
        active = centered[:, net.coef[k] != 0]
        gram = active.T @ active / len(Y)
        expected = np.trace(np.linalg.solve(gram + 0.5 * net.lams[k] * np.eye(len(gram)), gram))
        np.testing.assert_allclose(net.df[k], expected, rtol=1e-8)
    x, y = gaussian(50, 200, 0.5)
    wide = jr.fit_path(x, y, penalty=jr.ElasticNet(l1_ratio=0.05), lams=10)
    active = x[:, wide.coef[-1] != 0]
    assert active.shape[1] > 50  # the n-space formula
    values = np.linalg.eigvalsh(active @ active.T / 50)
    np.testing.assert_allclose(wide.df[-1], np.sum(values / (values + 0.95 * wide.lams[-1])), rtol=1e-6)


@pytest.mark.slow
def test_degrees_of_freedom_of_logistic_ridge():
    """The trace of the smoother, by a dense formula; with more columns than rows, and with fewer."""
    for x, y in (gaussian(50, 200, 0.5), gaussian(1000, 30, 0.5)):
        path = jr.fit_path(x, y > 0, loss=jr.Logistic(), penalty=jr.L2(), lams=[1.0, 0.01])
        for k in range(2):
            p = path.predict(x, lam=path.lams[k])
            weight = p * (1 - p) / len(y)
            z = (x - x.mean(axis=0)) / x.std(axis=0)
            z = (z - weight @ z / weight.sum()) * np.sqrt(weight)[:, None]
            values = np.linalg.svd(z, compute_uv=False) ** 2
            np.testing.assert_allclose(path.df[k], np.sum(values / (values + path.lams[k])), rtol=1e-6)


def test_interpolation_between_strengths():
    path = jr.fit_path(X, Y, lams=[4.0, 2.0])
    coef, intercept = path.coef_at(2.5)
    np.testing.assert_allclose(coef, 0.25 * path.coef[0] + 0.75 * path.coef[1])
    np.testing.assert_allclose(path.predict(X, lam=2.5), X @ coef + intercept)
    np.testing.assert_array_equal(path.coef_at(2.0)[0], path.coef[1])
    assert path.predict(X).shape == (442, 2)


def test_results_pickle_and_print():
    cv = jr.cross_validate(X, Y, lams=20, folds=4)
    again = pickle.loads(pickle.dumps(cv))
    np.testing.assert_array_equal(again.coef("1se"), cv.coef("1se"))
    assert "of 10 features" in repr(again)
    assert "Squared + L1" in repr(again.path)


def test_progress_reports_every_chunk(capsys):
    seen = []
    jr.fit_path(*WIDE, lams=25, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(10, 25), (20, 25), (25, 25)]
    jr.fit_path(X, Y, lams=20, progress=True)
    assert "20/20" in capsys.readouterr().out
    seen.clear()
    jr.cross_validate(X, Y, l1_ratios=[0.0, 1.0], lams=20, folds=4, progress=lambda *at: seen.append(at))
    assert seen == [(20, 20)]
    jr.fit_path(X, Y, penalty=jr.L2(), lams=20, progress=lambda *at: seen.append(at))
    assert seen == [(20, 20), (20, 20)]


def test_folds_are_equal_stratified_and_reproducible():
    labels = make_folds(YB, 10, seed=3, loss=jr.Logistic())
    assert np.ptp(np.bincount(labels)) <= 1
    shares = [YB[labels == k].mean() for k in range(10)]
    assert np.ptp(shares) < 0.03
    np.testing.assert_array_equal(labels, make_folds(YB, 10, seed=3, loss=jr.Logistic()))
    assert (labels != make_folds(YB, 10, seed=4, loss=jr.Logistic())).any()


def test_cross_validation_equals_a_loop_over_folds():
    weight = uneven_weights(len(Y))
    cv = jr.cross_validate(X, Y, lams=20, folds=4, sample_weight=weight)
    for k in range(4):
        trained = cv.fold_id != k
        path = jr.fit_path(X[trained], Y[trained], lams=cv.lams, sample_weight=weight[trained])
        np.testing.assert_allclose(cv.fold_coef[k], path.coef, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(cv.fold_intercept[k], path.intercept, rtol=1e-6)
        error = (path.predict(X[~trained]) - Y[~trained, None]) ** 2
        np.testing.assert_allclose(cv.scores[k], np.average(error, axis=0, weights=weight[~trained]), rtol=1e-6)
    np.testing.assert_allclose(cv.mean, np.average(cv.scores, axis=0, weights=cv.fold_size))


def test_measures_agree_with_scikit_learn():
    def at(measure, score, **options):
        cv = jr.cross_validate(XB, YB, loss=jr.Logistic(), lams=8, folds=3, measure=measure, sample_weight=weight)
        for k in range(3):
            held = cv.fold_id == k
            link = XB[held] @ cv.fold_coef[k].T + cv.fold_intercept[k]
            prob = 1 / (1 + np.exp(-link))
            expected = [score(YB[held], prob[:, j], sample_weight=weight[held]) for j in range(8)]
            np.testing.assert_allclose(cv.scores[k], expected, rtol=1e-8, atol=1e-12)
        return cv

    weight = uneven_weights(len(YB))
    at("deviance", lambda y, p, **w: 2 * log_loss(y, p, **w))
    at("error", lambda y, p, **w: zero_one_loss(y, p > 0.5, **w))
    at("mae", mean_absolute_error)
    cv = at("auc", roc_auc_score)
    assert cv.mean[cv.index("min")] == cv.mean.max()
    assert cv.mean[cv.index("1se")] >= cv.mean.max() - cv.se[cv.index("min")]
    assert cv.lam_1se >= cv.lam_min


def test_l1_ratios_add_a_leading_axis():
    ratios = [0.7, 0.0, 1.0]
    cv = jr.cross_validate(X, Y, l1_ratios=ratios, lams=20, folds=4)
    assert cv.lams.shape == cv.mean.shape == cv.se.shape == (3, 20)
    assert cv.scores.shape == (3, 4, 20)
    assert cv.fold_coef.shape == (3, 4, 20, 10)
    assert cv.lam_min.shape == cv.lam_1se.shape == (3,)
    for r, ratio in enumerate(ratios):
        alone = jr.cross_validate(X, Y, penalty=jr.ElasticNet(l1_ratio=ratio), lams=20, fold_id=cv.fold_id)
        np.testing.assert_allclose(cv.scores[r], alone.scores, rtol=1e-7)
        np.testing.assert_allclose(cv.paths[r].coef, alone.path.coef, atol=1e-6)
        np.testing.assert_allclose(cv.paths[r].df, alone.path.df, rtol=1e-6)
        assert cv.lam_min[r] == pytest.approx(alone.lam_min)
    assert cv.l1_ratio_min == ratios[int(np.argmin(cv.mean.min(axis=1)))]
    assert cv.best.lam_min == cv.lam_min[ratios.index(cv.l1_ratio_min)]
    np.testing.assert_array_equal(cv.coef("min"), cv.best.coef("min"))
    np.testing.assert_allclose(cv.predict(X), X @ cv.coef() + cv.intercept())


def test_all_rows_stand_first_and_are_not_touched_by_folds():
    cv, path = jr.cross_validate(X, Y, lams=20, folds=4), jr.fit_path(X, Y, lams=20)
    np.testing.assert_allclose(cv.path.coef, path.coef, rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose(cv.lams, path.lams, rtol=1e-14)


@pytest.mark.parametrize("size", [1, 31, 32, 33, 100])
def test_definite_systems(size, dtype):
    rng = np.random.default_rng(size)
    factor = rng.standard_normal((3, size, 2 * size))
    matrix = jnp.asarray(factor @ factor.transpose(0, 2, 1) / size, dtype)
    right = jnp.asarray(rng.standard_normal((3, size)), dtype)
    x = jax.jit(jax.vmap(definite.solve))(matrix, right)
    residual = jnp.einsum("bij,bj->bi", matrix, x, precision="highest") - right
    assert jnp.abs(residual).max() < 1e4 * jnp.finfo(dtype).eps
    diagonal = np.linalg.inv(np.asarray(matrix, np.float64)).diagonal(0, 1, 2)
    found = jax.jit(jax.vmap(definite.inverse_diagonal))(matrix)
    np.testing.assert_allclose(found, diagonal, rtol=1e4 * jnp.finfo(dtype).eps)
