"""Proximal steps of structured penalties by an interior-point solver: python tests/references/make_prox.py

Needs cvxpy with Clarabel (cvxpy 1.9.3, clarabel 0.11.1). Writes prox.json beside this file: inputs, and the least
½‖z − v‖² + g(z) with its minimizer.
"""

import json
from pathlib import Path

import cvxpy as cp
import numpy as np

LABELS = [2, 0, 2, 1, 0, 0, 1, 2]
GROUPS = [[k for k in range(8) if LABELS[k] == label] for label in range(3)]
NESTED = [[0, 1, 2, 3, 4, 5, 6, 7], [0, 1, 2, 3], [2, 3], [5, 6, 7], [6], [0]]
WEIGHTS = [3.0, 2.5, 2.5, 2.0, 1.0, 0.5, 0.5, 0.0]
DRAWS = 12


def slope(z):
    falls = -np.diff([*WEIGHTS, 0.0])
    return sum(fall * cp.sum_largest(cp.abs(z), k + 1) for k, fall in enumerate(falls) if fall > 0)


def k_support(z, k=3):
    share = cp.Variable(8)
    square = 0.5 * sum(cp.quad_over_lin(z[i], share[i]) for i in range(8))
    return square, [share >= 0, share <= 1, cp.sum(share) <= k]


PENALTIES = {
    "sparse_group": lambda z: 0.3 * cp.norm1(z) + 0.7 * sum(np.sqrt(len(g)) * cp.norm2(z[g]) for g in GROUPS),
    "tree": lambda z: sum(np.sqrt(len(g)) * cp.norm2(z[g]) for g in NESTED),
    "slope": slope,
    "linf": cp.norm_inf,
    "fused": lambda z: 0.4 * cp.norm1(z) + 0.6 * cp.norm1(cp.diff(z)),
    "nuclear": lambda z: cp.normNuc(cp.reshape(z, (4, 2), order="C")),
    "tv2d": lambda z: (
        cp.sum(cp.abs(cp.diff(cp.reshape(z, (4, 2), order="C"), axis=0)))
        + cp.sum(cp.abs(cp.diff(cp.reshape(z, (4, 2), order="C"), axis=1)))
    ),
    "k_support": k_support,
}


def main():
    rng = np.random.default_rng(0)
    tables = {}
    for name, penalty in PENALTIES.items():
        rows = []
        for k in range(DRAWS):
            v = 2 * rng.normal(size=8) if k % 2 else rng.integers(-4, 5, size=8).astype(float)
            lam = float(rng.choice([0.1, 0.3, 0.6, 1.0]))
            z = cp.Variable(8)
            value = penalty(z)
            value, limits = value if isinstance(value, tuple) else (value, [])
            problem = cp.Problem(cp.Minimize(0.5 * cp.sum_squares(z - v) + lam * value), limits)
            problem.solve(solver=cp.CLARABEL, tol_gap_abs=1e-10, tol_gap_rel=1e-10, tol_feas=1e-10)
            rows.append({"lam": lam, "v": v.tolist(), "z": z.value.tolist(), "cost": float(problem.value)})
        tables[name] = rows
    Path(__file__).with_name("prox.json").write_text(json.dumps(tables, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
