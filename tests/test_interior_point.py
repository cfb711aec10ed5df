"""Regression problems of every convex penalty and loss against an interior-point solver: objectives to 1e-8.

References are stored in tests/references beside make_regressions.py, which made them by cvxpy with Clarabel (Goulart &
Chen 2024), to tolerances of 1e-11 and better but for one of 1e-9 (the l2 ball). Data are those of designs.py.
"""

import json
import pathlib

import jax.numpy as jnp
import numpy as np
import pytest

import jaxreg as jr
from jaxreg.objective import dual_value
from tests.references.designs import COVER, LABELS, SLOPES, TREE, small

FOUND = json.loads((pathlib.Path(__file__).parent / "references" / "regressions.json").read_text("utf-8"))
DATA = small()
X, Y = DATA["X"], DATA["y"]
GROUPS = jr.GroupLasso(groups=LABELS)
LATENT = jr.OverlappingGroupLasso(groups=COVER)
PENALTIES = {
    "l1": jr.L1(),
    "l2": jr.L2(),
    "elastic_net": jr.ElasticNet(l1_ratio=0.7),
    "group_lasso": GROUPS,
    "sparse_group": jr.SparseGroupLasso(l1_ratio=0.4, groups=LABELS),
    "tree_group": jr.TreeGroupLasso(groups=TREE),
    "slope": jr.SLOPE(weights=SLOPES),
    "linf": jr.LInf(),
    "fused_lasso": jr.FusedLasso(l1_ratio=0.4),
    "total_variation": jr.TotalVariation(),
    "total_variation_2d": jr.TotalVariation2D(),
    "huberized": jr.HuberizedL1(delta=0.3),
    "pseudo_huber": jr.PseudoHuber(delta=0.3),
    "non_negative": jr.L1() + jr.NonNegative(),
    "box": jr.ElasticNet(l1_ratio=0.5) + jr.Box(-0.3, 0.4),
    "non_negative_groups": GROUPS + jr.NonNegative(),
    "simplex": jr.Simplex(1.0),
    "l1_ball": jr.L1Ball(2.0),
    "l2_ball": jr.L2Ball(1.0),
    "linf_ball": jr.LInfBall(0.4),
    "monotone": jr.Monotone(),
    "overlapping": LATENT,
    "l21": jr.L21(),
    "nuclear": jr.Nuclear(),
}
LOSSES = {
    "huber": (jr.Huber(delta=0.5), Y),
    "logistic": (jr.Logistic(), DATA["sign"]),
    "squared_hinge": (jr.SquaredHinge(), DATA["sign"]),
    "multinomial": (jr.Multinomial(), DATA["label"]),
    "poisson": (jr.Poisson(), DATA["count"]),
    "gamma": (jr.Gamma(), DATA["amount"]),
    "tweedie": (jr.Tweedie(power=1.5), DATA["count"]),
    "negative_binomial": (jr.NegativeBinomial(dispersion=0.5), DATA["count"]),
    "cox": (jr.Cox("breslow"), np.column_stack([DATA["amount"], DATA["event"]])),
}
ACCURACY = {"l2_ball": 1e-7}
"""Where the interior point itself is less exact than 1e-8."""


def linear(params, X):
    return X @ params


def flat(params, X):
    return X @ params.ravel()


def agree(name, objective, data, start, case):
    """Minimize, and compare values, each a bound of the other; then coefficients, as far as values tell them apart."""
    found = jr.solve(objective, start, data, solver=jr.FISTA(1e-12, max_steps=100_000))
    accuracy = ACCURACY.get(name, 1e-8)
    np.testing.assert_allclose(found.stats.objective, case["objective"], rtol=accuracy)
    return np.asarray(found.params)


def quick(names):
    """All to be tested, and those that take long only when asked for: a prox that iterates, risk sets."""
    long = {"total_variation_2d", "cox"}
    return [pytest.param(name, marks=pytest.mark.deep) if name in long else name for name in names]


@pytest.mark.parametrize("name", quick(PENALTIES))
def test_penalties(name, x64):
    case = FOUND["penalties"][name]
    penalty = PENALTIES[name] if case["lam"] == 0 else PENALTIES[name].at(case["lam"])
    predict, design, target = linear, X, DATA["rows"] if name in ("l21", "nuclear") else Y
    start = jnp.zeros(np.shape(case["coef"]))
    if name == "overlapping":
        design = LATENT.expand(X)
        start = jnp.zeros(design.shape[1])
    elif name == "total_variation_2d":
        predict, start = flat, jnp.zeros((4, 3))
    objective = jr.Objective(jr.Squared(), penalty, predict)
    b = agree(name, objective, (design, target), start, case)
    b = LATENT.collapse(b) if name == "overlapping" else b.reshape(np.shape(case["coef"]))
    # The loss is strongly convex here: errors of coefficients are at most of the order of the root of those of values.
    np.testing.assert_allclose(b, case["coef"], atol=1e-4)


@pytest.mark.parametrize("name", quick(LOSSES))
def test_losses(name, x64):
    case, (loss, y) = FOUND["losses"][name], LOSSES[name]
    objective = jr.Objective(loss, jr.L1(case["lam"]), linear)
    b = agree(name, objective, (X, y), jnp.zeros(np.shape(case["coef"])), case)
    np.testing.assert_allclose(b, case["coef"], atol=1e-4)


def test_quantile(x64):
    """The loss without a solver here: its value and its conjugate bound the interior point's optimum on both sides."""
    case = FOUND["losses"]["quantile"]
    loss, penalty = jr.Quantile(q=0.3), jr.L1(case["lam"])
    b, u = jnp.array(case["coef"]), jnp.array(case["dual"])
    value = jr.Objective(loss, penalty, linear).value(b, (X, Y))
    np.testing.assert_allclose(value, case["objective"], rtol=1e-8)
    u = u * (1 - 1e-9)  # inside the dual ball by more than rounding
    bound = dual_value(loss, penalty, u, X.T @ u / len(Y), Y, jnp.ones(len(Y)))
    assert bound <= value
    np.testing.assert_allclose(bound, value, rtol=1e-8)
