"""Agreement with glmnet's families beside the gaussian: binomial, poisson, multinomial and several responses.

References are stored in tests/references beside make_families.R, which made them by glmnet (Friedman, Hastie &
Tibshirani 2010). Both sides are certified here first, by one judge written in NumPy. Cox has its own tests.
"""

import json
import pathlib

import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
from sklearn import datasets

import jaxreg as jr
from tests import problems

FOLDER = pathlib.Path(__file__).parent / "references"
FITS = json.loads((FOLDER / "families.json").read_text("utf-8"))["fits"]
LOSSES = {
    "binomial": jr.Logistic(),
    "poisson": jr.Poisson(),
    "multinomial": jr.Multinomial(),
    "mgaussian": jr.Squared(),
}
MEANS = {
    "binomial": scipy.special.expit,
    "poisson": np.exp,
    "multinomial": lambda eta: scipy.special.softmax(eta, axis=1),
    "mgaussian": lambda eta: eta,
}


def data(case):
    """X, y as fitted, and y as what the mean is compared with."""
    match case["problem"]:
        case "heart":
            table = np.loadtxt(FOLDER / "saheart.csv", delimiter=",", skiprows=1)
            return table[:, :9], table[:, 9], table[:, 9]
        case "quine":
            table = np.loadtxt(FOLDER / "quine.csv", delimiter=",", skiprows=1)
            return table[:, 1:], table[:, 0], table[:, 0]
        case "iris":
            X, y = datasets.load_iris(return_X_y=True)
            return X, y, np.eye(3)[y]
        case "diabetes_outputs":
            X, y = problems.diabetes()
            return X[:, :6], np.column_stack([X[:, 6:], y]), np.column_stack([X[:, 6:], y])


def violation(case, X, target, coef, intercept, lam):
    """Largest violation of the optimality conditions on the standardized scale, relative to the null model's gradient.

    Every family here has its canonical link, so that the derivative of the loss is mean − target.
    """
    n = len(X)
    w = problems.uneven_weights(n) if case["weighted"] else np.ones(n)
    w = w / w.sum()
    offset = problems.uneven_offset(n) if case["shifted"] else np.zeros(n)
    mean = w @ X
    scale = np.sqrt(w @ (X - mean) ** 2)
    Z = (X - mean) / scale
    target, coef, offset = (a[:, None] if a.ndim == 1 else a for a in (target, coef, offset))
    factor = np.ones(X.shape[1]) if case["factors"] is None else np.array(case["factors"])
    factor = factor[:, None]
    eta = X @ coef + intercept + offset
    residual = MEANS[case["family"]](eta) - target
    b, r = coef * scale[:, None], case["l1_ratio"]
    gradient = Z.T @ (w[:, None] * residual) + lam * factor * (1 - r) * b
    kink = lam * factor * r
    joint = case["grouped"] or case["family"] == "mgaussian"
    size = np.linalg.norm(b, axis=1, keepdims=True) if joint else np.abs(b)
    pull = np.linalg.norm(gradient, axis=1, keepdims=True) if joint else np.abs(gradient)
    there = np.abs(gradient + kink * b / np.where(size > 0, size, 1))
    rest = np.where(size > 0, there, np.maximum(pull - kink, 0))
    unit = np.abs(Z.T @ (w[:, None] * (target - w @ target))).max()
    return max(rest.max(), np.abs(w @ residual).max()) / unit


def check(case, coef, intercept):
    """Both are optimal, glmnet to what its thresh of 1e-20 buys, and so their coefficients agree."""
    X, _, target = data(case)
    theirs, level = np.array(case["coef"]), np.array(case["intercept"])
    for k, lam in enumerate(case["lams"]):
        assert violation(case, X, target, theirs[k], level[k], lam) <= 1e-8
        assert violation(case, X, target, coef[k], intercept[k], lam) <= 1e-8
    np.testing.assert_array_equal(coef != 0, theirs != 0)
    # What an error of 1e-8 in the gradient may do to coefficients where the least curvature is near 1e-2.
    np.testing.assert_allclose(coef, theirs, rtol=1e-6, atol=1e-6 * np.abs(theirs).max())


@pytest.mark.parametrize("name", ["poisson", pytest.param("binomial", marks=pytest.mark.deep)])
def test_one_output(name):
    case = FITS[name]
    X, y, _ = data(case)
    path = jr.fit_path(
        X,
        y,
        loss=LOSSES[case["family"]],
        penalty=jr.ElasticNet(l1_ratio=case["l1_ratio"], weight=np.array(case["factors"])),
        lams=case["lams"],
        sample_weight=problems.uneven_weights(len(y)),
        offset=problems.uneven_offset(len(y)),
        tol=1e-11,
    )
    assert (path.result == jr.Result.CONVERGED).all()
    check(case, path.coef, path.intercept)
    np.testing.assert_allclose(path.intercept, case["intercept"], rtol=1e-6)
    np.testing.assert_allclose(path.deviance_ratio, case["deviance_ratio"], rtol=1e-7)


def by_path(case, X, y, penalty):
    """Coefficients (L, p, k) and intercepts (L, k), through the linear door."""
    path = jr.fit_path(X, y, loss=LOSSES[case["family"]], penalty=penalty, lams=case["lams"], tol=1e-10)
    assert (path.result == jr.Result.CONVERGED).all()
    np.testing.assert_allclose(path.deviance_ratio, case["deviance_ratio"], rtol=1e-7)
    return path.coef, path.intercept


def predict(params, Z):
    return Z @ params["kernel"] + params["bias"]


def by_sweep(case, X, y, penalty):
    """The same, through the door of any model."""
    mean, scale = X.mean(axis=0), X.std(axis=0)
    objective = jr.Objective(LOSSES[case["family"]], jr.Masked(penalty, include=("kernel",)), predict)
    shape = np.shape(case["coef"])[1:]
    start = {"kernel": jnp.zeros(shape), "bias": jnp.zeros(shape[1])}
    found = jr.sweep(objective, start, ((X - mean) / scale, y), case["lams"], solver=jr.FISTA(1e-11, max_steps=100_000))
    assert (np.asarray(found.result) == jr.Result.CONVERGED).all()
    coef = np.asarray(found.params["kernel"]) / scale[:, None]
    return coef, np.asarray(found.params["bias"]) - np.einsum("lpk,p->lk", coef, mean)


SEVERAL = ("multinomial", "multinomial_elastic_net", "multinomial_grouped", "mgaussian")


# Compiling is what costs: rows of several outputs are tested with the squared loss, where time is short.
@pytest.mark.parametrize(
    ("door", "name"),
    [
        *((by_path, name) for name in SEVERAL if name not in ("multinomial", "multinomial_grouped")),
        pytest.param(by_path, "multinomial", marks=pytest.mark.slow),
        pytest.param(by_path, "multinomial_grouped", marks=pytest.mark.deep),
        *(pytest.param(by_sweep, name, marks=pytest.mark.deep) for name in ("multinomial", "mgaussian")),
    ],
)
def test_several_outputs(door, name, x64):
    case = FITS[name]
    X, y, _ = data(case)
    rows = case["grouped"] or case["family"] == "mgaussian"
    coef, intercept = door(case, X, y, jr.L21() if rows else jr.ElasticNet(l1_ratio=case["l1_ratio"]))
    check(case, coef, intercept)
    if case["family"] == "multinomial":  # a constant added to all classes changes nothing
        intercept = intercept - intercept.mean(axis=1, keepdims=True)
    np.testing.assert_allclose(intercept, case["intercept"], rtol=1e-6, atol=1e-6)
