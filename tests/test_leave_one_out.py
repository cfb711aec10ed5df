"""Leave-one-out of ridge in closed form: judged by refitting without each row, and by scikit-learn's RidgeCV."""

import pickle

import jax
import numpy as np
import pytest
from sklearn.linear_model import RidgeCV

import jaxreg as jr
from jaxreg.linear.active import leave_one_out as closed_form
from jaxreg.linear.arguments import linear_data
from jaxreg.path import make_problem
from tests.problems import diabetes, gaussian, uneven_weights

X, Y = (part[:60] for part in diabetes())
SHAPES = {"tall": (40, 8), "wide": (30, 60)}


def refitted(x, y, lams, weight, factor, offset, intercept, scale):
    """Linear predictor of each row by the normal equations of all others, (n, L)."""
    n = len(y)
    eta = np.empty((n, len(lams)))
    for i in range(n):
        rest = np.arange(n) != i
        w = weight[rest] / weight[rest].sum()
        z = np.column_stack([np.full(n - 1, float(intercept)), x[rest]])
        for k, lam in enumerate(lams):
            system = (z.T * w) @ z + np.diag(np.r_[0 if intercept else 1, lam * factor * scale**2])
            b = np.linalg.solve(system, z.T @ (w * (y - offset)[rest]))
            eta[i, k] = b[0] * intercept + x[i] @ b[1:] + offset[i]
    return eta


@pytest.mark.parametrize("standardize", [False, True])
@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize("even", [True, False], ids=["even", "uneven"])
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES.keys())
def test_it_equals_refitting_without_each_row(shape, even, intercept, standardize, x64):
    n, p = shape
    x, y = gaussian(n, p, 0.5)
    x, y = 0.5 + x * np.linspace(0.5, 2, p), y + 3
    weight, offset = np.ones(n) if even else uneven_weights(n), 0.1 * np.sin(np.arange(n))
    factor = np.ones(p) if even else np.r_[0.0, np.linspace(0.5, 2, p - 1)]
    lams = np.array([[10.0, 1.0, 0.1, 1e-3]])
    data = linear_data(x, y, jr.Squared(), jr.L2(weight=factor), weight, offset, None)
    problem = make_problem(data, jr.Squared(), weight[None], intercept, standardize)
    eta = closed_form.leave_one_out(problem, lams)
    mean = weight @ x / weight.sum()
    scale = np.sqrt(weight @ (x - mean) ** 2 / weight.sum()) if standardize else np.ones(p)
    expected = refitted(x, y, lams[0], weight, factor, offset, intercept, scale)
    np.testing.assert_allclose(eta[:, :4], expected, rtol=1e-9, atol=1e-9)
    free = factor == 0
    null = refitted(x[:, free], y, [0.0], weight, factor[free], offset, intercept, scale[free])
    np.testing.assert_allclose(eta[:, 4:], null, rtol=1e-9, atol=1e-9)


def test_it_equals_ridge_cv_of_scikit_learn():
    n, alphas = len(Y), np.geomspace(1e3, 1e-2, 12)
    rows = np.random.default_rng(0).permutation(n)
    cv = jr.cross_validate(X, Y, penalty=jr.L2(), lams=alphas / (n - 1), fold_id=rows, standardize=False)
    theirs = RidgeCV(alphas, store_cv_results=True).fit(X, Y)
    np.testing.assert_allclose(cv.scores[rows], theirs.cv_results_, rtol=1e-8)
    assert cv.lam_min * (n - 1) == pytest.approx(theirs.alpha_)
    np.testing.assert_allclose(cv.null_scores[rows], (n / (n - 1) * (Y - Y.mean())) ** 2, rtol=1e-9)
    assert (cv.path.gap <= 1e-6).all()
    # One row refitted by the engine itself.
    path = jr.fit_path(X[1:], Y[1:], penalty=jr.L2(), lams=cv.lams, standardize=False)
    np.testing.assert_allclose(cv.scores[rows[0]], (path.predict(X[:1])[0] - Y[0]) ** 2, rtol=1e-9)


def test_the_selection_says_what_it_has_not():
    mae = jr.cross_validate(X, Y, penalty=jr.L2(), folds=len(Y), lams=12, measure="mae", l1_ratios=None)
    mse = jr.cross_validate(X, Y, penalty=jr.ElasticNet(), folds=len(Y), lams=12, l1_ratios=[0.0])
    np.testing.assert_allclose(mae.scores**2, mse.scores[0])
    assert mae.scores.shape == (len(Y), 12)
    assert mae.se.shape == (12,)
    for cv in (mae, mse, mse.best):
        assert cv.fold_slopes is None
        with pytest.raises(ValueError, match="closed form, which fits no fold"):
            _ = cv.fold_coef
    again = pickle.loads(pickle.dumps(mse))
    np.testing.assert_array_equal(again.coef("1se"), mse.coef("1se"))
    assert repr(again).startswith("Selection(60 folds, l1_ratio=0, lam_min=")


def test_nothing_is_kept_for_every_row_and_column():
    """Results and temporaries grow as rows × λ: an array of n folds' coefficients would be of 790 MB here."""
    x, y = gaussian(3072, 320, 0.5)
    with jax.enable_x64(True):
        data = linear_data(x, y, jr.Squared(), jr.L2(), None, None, None)
        problem = make_problem(data, jr.Squared(), np.ones((1, 3072)), True, True)
        memory = (
            closed_form._missed.lower(
                problem.design, problem.views, y, problem.null.basis[0], np.ones(100), np.ones(320), even=True
            )
            .compile()
            .memory_analysis()
        )
    assert memory.temp_size_in_bytes < 8 * x.nbytes
    assert memory.output_size_in_bytes == 8 * 3072 * 101


BAD = {
    "no weight": ({"sample_weight": np.r_[0.0, np.ones(59)]}, "fold 5 holds out no row of positive weight"),
    "one other value": ({"y": np.r_[1.0, np.zeros(59)]}, "without fold 5 there is nothing to train on: y is constant"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input(name):
    options, message = BAD[name]
    with pytest.raises(ValueError, match=message):
        jr.cross_validate(
            **{"X": X, "y": Y, "penalty": jr.L2(), "lams": 3, "fold_id": (np.arange(60) + 5) % 60, **options}
        )


def test_a_row_that_alone_decides_an_unpenalized_coefficient_is_refused(x64):
    x = np.column_stack([np.r_[0.0, 1.0, np.zeros(28)], gaussian(30, 60, 0.5).X[:, 1:]])
    data = linear_data(x, np.arange(30.0), jr.Squared(), jr.L2(weight=np.r_[0.0, np.ones(59)]), None, None, None)
    problem = make_problem(data, jr.Squared(), np.ones((1, 30)), True, True)
    with pytest.raises(ValueError, match="without row 1 an unpenalized column is constant"):
        closed_form.leave_one_out(problem, np.ones((1, 4)))
