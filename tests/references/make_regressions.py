"""Whole regression problems by an interior-point solver, written to regressions.json beside this script.

    python -m tests.references.make_regressions

Needs cvxpy with Clarabel (cvxpy 1.9.3, clarabel 0.11.1). Every convex penalty with the squared loss, and every convex
loss with the absolute value, of `small()` in designs.py. Losses are summed over responses, averaged over samples, and
zero at the best prediction, as jaxreg has them. Tolerances shrink as far as the solver follows.
"""

import importlib.metadata
import json
import pathlib

import cvxpy as cp
import numpy as np

from tests.references.designs import COVER, LABELS, SLOPES, TREE, small

DATA = small()
X, Y, N = DATA["X"], DATA["y"], 40
GROUPS = [[k for k in range(12) if LABELS[k] == label] for label in range(5)]


def norms(b, groups):
    """Σ √size ‖b_g‖₂."""
    return sum(np.sqrt(len(g)) * cp.norm2(b[g]) for g in groups)


def slope(b):
    """Σ w_k |b|₍ₖ₎, as the last weight of all and what weights fall by of the largest."""
    falls = -np.diff(SLOPES)
    return SLOPES[-1] * cp.norm1(b) + sum(fall * cp.sum_largest(cp.abs(b), k + 1) for k, fall in enumerate(falls))


def variation(b):
    """Absolute differences of neighbours."""
    return cp.norm1(cp.diff(b))


def image(b):
    """Absolute differences of neighbours in four rows of three."""
    rows = cp.reshape(b, (4, 3), order="C")
    return cp.sum(cp.abs(cp.diff(rows, axis=0))) + cp.sum(cp.abs(cp.diff(rows, axis=1)))


def squared(eta):
    """½ mean squared residual."""
    return cp.sum_squares(eta - Y) / (2 * N)


# Strength, penalty, constraints.
PENALTIES = {
    "l1": (0.2, cp.norm1, None),
    "l2": (0.2, lambda b: cp.sum_squares(b) / 2, None),
    "elastic_net": (0.2, lambda b: 0.7 * cp.norm1(b) + 0.15 * cp.sum_squares(b), None),
    "group_lasso": (0.15, lambda b: norms(b, GROUPS), None),
    "sparse_group": (0.2, lambda b: 0.4 * cp.norm1(b) + 0.6 * norms(b, GROUPS), None),
    "tree_group": (0.1, lambda b: norms(b, TREE), None),
    "slope": (0.15, slope, None),
    "linf": (0.8, cp.norm_inf, None),
    "fused_lasso": (0.2, lambda b: 0.4 * cp.norm1(b) + 0.6 * variation(b), None),
    "total_variation": (0.2, variation, None),
    "total_variation_2d": (0.1, image, None),
    "huberized": (0.2, lambda b: cp.sum(cp.huber(b, 0.3)) / 0.6, None),
    "pseudo_huber": (0.2, lambda b: sum(cp.norm2(cp.hstack([b[k], 0.3])) - 0.3 for k in range(12)), None),
    "non_negative": (0.1, cp.norm1, lambda b: [b >= 0]),
    "box": (0.1, lambda b: 0.5 * cp.norm1(b) + 0.25 * cp.sum_squares(b), lambda b: [b >= -0.3, b <= 0.4]),
    "non_negative_groups": (0.1, lambda b: norms(b, GROUPS), lambda b: [b >= 0]),
    "simplex": (0.0, None, lambda b: [b >= 0, cp.sum(b) == 1]),
    "l1_ball": (0.0, None, lambda b: [cp.norm1(b) <= 2]),
    "l2_ball": (0.0, None, lambda b: [cp.norm2(b) <= 1]),
    "linf_ball": (0.0, None, lambda b: [cp.norm_inf(b) <= 0.4]),
    "monotone": (0.0, None, lambda b: [cp.diff(b) >= 0]),
}


def log_ratio(y):
    """Y log y, 0 at 0."""
    return y * np.log(np.where(y > 0, y, 1))


def cox(eta):
    """−log partial likelihood / n; no times are tied."""
    time, event = DATA["amount"], DATA["event"]
    return sum(cp.log_sum_exp(eta[time >= time[i]]) - eta[i] for i in range(N) if event[i]) / N


def multinomial(eta):
    """Of three classes."""
    return sum(cp.log_sum_exp(eta[i]) - eta[i, DATA["label"][i]] for i in range(N)) / N


count, amount, sign = DATA["count"], DATA["amount"], DATA["sign"]
SIGNED = 2 * sign - 1
LOSSES = {
    "huber": (0.1, lambda eta: cp.sum(cp.huber(eta - Y, 0.5)) / (2 * N)),
    "quantile": (0.1, lambda eta: cp.sum(cp.maximum(0.3 * (Y - eta), 0.7 * (eta - Y))) / N),
    "logistic": (0.04, lambda eta: cp.sum(cp.logistic(-cp.multiply(SIGNED, eta))) / N),
    "squared_hinge": (0.1, lambda eta: cp.sum_squares(cp.pos(1 - cp.multiply(SIGNED, eta))) / (2 * N)),
    "multinomial": (0.04, multinomial),
    "poisson": (0.1, lambda eta: cp.sum(cp.exp(eta) - cp.multiply(count, eta) - count + log_ratio(count)) / N),
    "gamma": (0.1, lambda eta: cp.sum(cp.multiply(amount, cp.exp(-eta)) + eta - 1 - np.log(amount)) / N),
    "tweedie": (
        0.1,
        lambda eta: cp.sum(2 * cp.exp(eta / 2) + cp.multiply(2 * count, cp.exp(-eta / 2)) - 4 * np.sqrt(count)) / N,
    ),
    "negative_binomial": (
        0.05,
        lambda eta: (
            cp.sum(
                cp.multiply(count + 2, cp.logistic(eta + np.log(0.5)) - np.log1p(0.5 * count))
                - cp.multiply(count, eta)
                + log_ratio(count)
            )
            / N
        ),
    ),
    "cox": (0.02, cox),
}


def minimize(objective, constraints, *variables):
    """Least value and the variables there, by ever smaller tolerances while the solver says optimal."""
    best = None
    for tol in (1e-9, 1e-11, 1e-13):
        problem = cp.Problem(cp.Minimize(objective), constraints or [])
        try:
            problem.solve(solver=cp.CLARABEL, tol_gap_abs=tol, tol_gap_rel=tol, tol_feas=tol, max_iter=500)
        except cp.SolverError:
            break
        if problem.status != "optimal":
            break
        best = float(problem.value), [v.value.tolist() for v in variables], tol
    assert best is not None
    return best


def main():
    """Solve everything and write it."""
    penalties, losses = {}, {}

    def keep(table, name, lam, found):
        value, (b, *_), tol = found
        table[name] = {"lam": lam, "objective": value, "coef": b}
        print(f"{name:22s}{value:20.15f}{tol:10.0e}", np.abs(b).min(axis=-1))

    for name, (lam, penalty, constraints) in PENALTIES.items():
        b = cp.Variable(12)
        objective = squared(X @ b) + (lam * penalty(b) if penalty else 0)
        keep(penalties, name, lam, minimize(objective, constraints and constraints(b), b))
    parts = [cp.Variable(len(g)) for g in COVER]
    places = [np.eye(12)[:, g] for g in COVER]
    b = cp.Variable(12)
    objective = squared(X @ b) + 0.15 * sum(np.sqrt(len(g)) * cp.norm2(v) for g, v in zip(COVER, parts, strict=True))
    total = sum(place @ v for place, v in zip(places, parts, strict=True))
    keep(penalties, "overlapping", 0.15, minimize(objective, [b == total], b))
    for name, lam, penalty in (
        ("l21", 0.3, lambda b: cp.sum(cp.norm(b, 2, axis=1))),
        ("nuclear", 0.5, cp.normNuc),
    ):
        b = cp.Variable((12, 3))
        objective = cp.sum_squares(X @ b - DATA["rows"]) / (2 * N) + lam * penalty(b)
        keep(penalties, name, lam, minimize(objective, None, b))
    for name, (lam, loss) in LOSSES.items():
        b = cp.Variable((12, 3) if name == "multinomial" else 12)
        keep(losses, name, lam, minimize(loss(X @ b) + lam * cp.sum(cp.abs(b)), None, b))
    # What certifies the loss with kinks, for which jaxreg has no solver of its own: dual variables, ours by scaling.
    b, eta = cp.Variable(12), cp.Variable(N)
    lam, loss = LOSSES["quantile"]
    equal = eta == X @ b
    minimize(loss(eta) + lam * cp.norm1(b), [equal], b)
    losses["quantile"]["dual"] = (-N * equal.dual_value).tolist()

    versions = {name: importlib.metadata.version(name) for name in ("cvxpy", "clarabel")}
    path = pathlib.Path(__file__).with_name("regressions.json")
    table = {"software": versions, "penalties": penalties, "losses": losses}
    path.write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
