"""Agreement with skglm (MCP, SCAD, ℓ½), adelie (group lasso) and sortedl1 (SLOPE), on the quadratic diabetes table.

References are stored in tests/references beside the scripts that made them, with the peers' versions. Whether a fit is
optimal is judged here in NumPy, from the definition of its penalty, for both sides alike.
"""

import json
import pathlib

import jax.numpy as jnp
import numpy as np
import pytest

import jaxreg as jr
from tests.references.designs import families, quadratic

SKGLM, ADELIE, SLOPE = (
    json.loads((pathlib.Path(__file__).parent / "references" / f"{name}.json").read_text("utf-8"))
    for name in ("skglm", "adelie", "slope")
)
X, Y = quadratic()
N = len(Y)
ROUNDING = 1e-12


def mcp(a, lam):
    """Value and derivative at |b| = a for γ = 3: Zhang (2010)."""
    inside = a <= 3 * lam
    return np.where(inside, lam * a - a**2 / 6, 1.5 * lam**2), np.where(inside, lam - a / 3, 0)


def scad(a, lam):
    """Value and derivative at |b| = a for γ = 3.7: Fan & Li (2001)."""
    middle = (2 * 3.7 * lam * a - a**2 - lam**2) / 5.4, (3.7 * lam - a) / 2.7
    far = lam**2 * 4.7 / 2, 0
    return tuple(
        np.where(a <= lam, first, np.where(a <= 3.7 * lam, second, third))
        for first, second, third in zip((lam * a, lam), middle, far, strict=True)
    )


def risk(b):
    return 0.5 * np.mean((X @ b - Y) ** 2)


def stationarity(b, lam, penalty):
    """Largest distance of −∇ to the subdifferential; the penalties have slope λ at zero."""
    gradient, slope = X.T @ (X @ b - Y) / N, penalty(np.abs(b), lam)[1]
    return np.where(b != 0, np.abs(gradient + slope * np.sign(b)), np.maximum(np.abs(gradient) - lam, 0)).max()


@pytest.mark.parametrize(
    ("name", "penalty", "value"), [("mcp", jr.MCP(gamma=3.0), mcp), ("scad", jr.SCAD(gamma=3.7), scad)]
)
def test_nonconvex_paths_are_no_worse_than_those_of_skglm(name, penalty, value):
    """Objective within 1e-8, stationary to 1e-8. Where nothing lower was found from other starts, points are the same."""
    same = 0
    path = jr.fit_path(X, Y, penalty=penalty, lams=SKGLM["lams"], intercept=False, standardize=False, tol=1e-9)
    assert (path.result == jr.Result.CONVERGED).all()
    for b, reference, lam in zip(path.coef, SKGLM["fits"][name], SKGLM["lams"], strict=True):
        theirs = np.array(reference["coef"])
        objective = risk(theirs) + value(np.abs(theirs), lam)[0].sum()
        assert stationarity(b, lam, value) <= 1e-8
        np.testing.assert_allclose(objective, reference["objective"], rtol=1e-13)
        assert stationarity(theirs, lam, value) <= ROUNDING
        gain = objective - risk(b) - value(np.abs(b), lam)[0].sum()
        assert gain >= -1e-8
        if gain <= 1e-8:
            same += 1
            np.testing.assert_array_equal(b != 0, theirs != 0)
            np.testing.assert_allclose(b, theirs, atol=1e-7)
    assert same >= 5


def test_half_norm_solutions_of_skglm_are_solutions_here(x64):
    """What its coordinate descent finds is stationary by our residual, has our value, and is where `solve` stays."""
    objective = jr.Objective(jr.Squared(), jr.Lq(q=0.5), lambda b, X: X @ b)
    for reference, lam in zip(SKGLM["fits"]["lq"], SKGLM["lams"], strict=True):
        b = jnp.array(reference["coef"])
        np.testing.assert_allclose(objective.at(lam).value(b, (X, Y)), reference["objective"], rtol=1e-13)
        assert objective.at(lam).stationarity(b, (X, Y)) <= ROUNDING
    found = jr.solve(objective.at(lam), b, (X, Y), solver=jr.FISTA(1e-10))
    np.testing.assert_allclose(found.params, b, atol=1e-8)


def test_a_half_norm_path_is_one_of_coordinate_wise_minima():
    """Zero is stationary at any λ; here no single coefficient is better elsewhere, as where skglm's descents end.

    Such minima are several: of seven λ five are the same, one is better here and one there, by 2 % and 1 %.
    """
    path = jr.fit_path(X, Y, penalty=jr.Lq(q=0.5), lams=SKGLM["lams"], intercept=False, standardize=False, tol=1e-8)
    assert (path.result == jr.Result.CONVERGED).all()
    others = np.linspace(-1, 1, 401)
    ahead = []
    for b, reference, lam in zip(path.coef, SKGLM["fits"]["lq"], SKGLM["lams"], strict=True):
        here = risk(b) + lam * np.sqrt(np.abs(b)).sum()
        ahead.append(here - reference["objective"])
        gradient = X.T @ (X @ b - Y) / N
        change = others[:, None] - b
        moved = gradient * change + 0.5 * change**2 * np.mean(X**2, axis=0)
        assert (moved + lam * (np.sqrt(np.abs(others))[:, None] - np.sqrt(np.abs(b)))).min() >= -1e-9
    assert np.median(ahead) <= 1e-8
    assert sum(ahead) <= 0


LABELS = families()
ROOTS = np.sqrt(np.bincount(LABELS))


def norms(b):
    """‖b_g‖₂ for every group."""
    return np.sqrt(np.bincount(LABELS, b**2))


def group_gap(loss, y, b, b0, lam):
    """Duality gap relative to the null model's objective, for the dual point made by scaling the derivatives."""
    eta = X @ b + b0
    if loss == "squared":
        u, value, null = eta - y, 0.5 * (eta - y) ** 2, 0.5 * np.var(y)
        conjugate = lambda u: 0.5 * u**2 + u * y  # noqa: E731
    else:
        u, value = 1 / (1 + np.exp(-eta)) - y, np.logaddexp(0, eta) - y * eta
        null = -y.mean() * np.log(y.mean()) - (1 - y.mean()) * np.log(1 - y.mean())
        conjugate = lambda u: (u + y) * np.log(u + y) + (1 - u - y) * np.log(1 - u - y)  # noqa: E731
    u = u - u.mean()  # feasible with an intercept
    u = u / max(1, (norms(X.T @ u / N) / ROOTS).max() / lam)
    return (value.mean() + lam * ROOTS @ norms(b) + conjugate(u).mean()) / null


@pytest.mark.parametrize(
    ("name", "loss"), [("squared", jr.Squared()), pytest.param("logistic", jr.Logistic(), marks=pytest.mark.deep)]
)
def test_group_lasso_agrees_with_adelie(name, loss):
    case = ADELIE["fits"][name]
    y = Y if name == "squared" else (np.median(Y) < Y).astype(float)
    path = jr.fit_path(
        X, y, loss=loss, penalty=jr.GroupLasso(groups=LABELS), lams=case["lams"], standardize=False, tol=1e-10
    )
    assert path.gap.max() <= 1e-10
    for k, lam in enumerate(case["lams"]):
        theirs = np.array(case["coef"][k])
        assert group_gap(name, y, theirs, case["intercept"][k], lam) <= 1e-7  # what its tightest tolerance reaches
        assert group_gap(name, y, path.coef[k], path.intercept[k], lam) <= 1e-9
        np.testing.assert_array_equal(norms(path.coef[k]) > 0, norms(theirs) > 0)
    np.testing.assert_allclose(path.coef, case["coef"], atol=5e-6)  # coefficients err as the root of a gap does


@pytest.mark.deep
def test_slope_agrees_with_sortedl1():
    weights, lams = np.array(SLOPE["weights"]), SLOPE["lams"]

    def value(b):
        return weights @ np.sort(np.abs(b))[::-1]

    def gap(b, lam):
        """Relative to ½ mean y² = ½, for the residual scaled into the dual ball: Bogdan et al. (2015)."""
        r = Y - X @ b
        pull = np.sort(np.abs(X.T @ r / N))[::-1]
        r = r / max(1, (np.cumsum(pull) / np.cumsum(weights)).max() / lam)
        return (risk(b) + lam * value(b) - np.mean(r * Y) + 0.5 * np.mean(r**2)) / 0.5

    path = jr.fit_path(
        X, Y, penalty=jr.SLOPE(weights=weights), lams=lams, intercept=False, standardize=False, tol=1e-10
    )
    assert (path.result == jr.Result.CONVERGED).all()
    for b, theirs, lam in zip(path.coef, np.array(SLOPE["coef"]), lams, strict=True):
        assert gap(theirs, lam) <= 1e-10
        assert gap(b, lam) <= 1e-9
        np.testing.assert_allclose(b, theirs, atol=1e-8)
        # Sizes are tied where theirs are, and exactly.
        assert len(set(np.abs(b))) == len(set(np.abs(theirs).round(8)))
