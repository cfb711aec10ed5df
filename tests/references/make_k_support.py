"""Least squares with the k-support norm by an interior-point solver: python tests/references/make_k_support.py

Needs cvxpy with Clarabel (cvxpy 1.9.3, clarabel 0.11.1). Prints the optima that tests/test_k_support.py holds.
"""

import cvxpy as cp
import numpy as np

from tests.test_k_support import LAMS, problem


def main():
    X, y = problem()
    X, y = X - X.mean(axis=0), y - y.mean()
    for lam in LAMS:
        b, share = cp.Variable(X.shape[1]), cp.Variable(X.shape[1])
        square = sum(cp.quad_over_lin(b[i], share[i]) for i in range(X.shape[1]))
        cost = cp.sum_squares(y - X @ b) / (2 * len(y)) + lam / 2 * square
        found = cp.Problem(cp.Minimize(cost), [share >= 0, share <= 1, cp.sum(share) <= 3])
        found.solve(solver=cp.CLARABEL, tol_gap_abs=1e-11, tol_gap_rel=1e-11, tol_feas=1e-11)
        print(lam, repr(float(np.asarray(found.value))))


if __name__ == "__main__":
    main()
