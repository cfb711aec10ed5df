"""Non-convex fits by skglm, written to skglm.json beside this script.

    python -m tests.references.make_skglm

Needs skglm (0.5). Its problem is ours: ½ mean squared residual + penalty, here without intercept, of standardized
columns. Strengths are descended, each fit from that before it.
"""

import importlib.metadata
import json
import pathlib

import numpy as np
from skglm.datafits import Quadratic
from skglm.penalties import L0_5, SCAD, MCPenalty
from skglm.solvers import AndersonCD

from tests.references.designs import quadratic

PENALTIES = {
    "mcp": lambda lam: MCPenalty(lam, gamma=3.0),
    "scad": lambda lam: SCAD(lam, gamma=3.7),
    "lq": L0_5,
}


def main():
    """Fit all paths and write them."""
    X, y = quadratic()
    X, y = np.asfortranarray(X), np.ascontiguousarray(y)
    lams = 0.5 * np.geomspace(1, 0.05, 7)
    fits = {}
    for name, make in PENALTIES.items():
        coef, rows = np.zeros(X.shape[1]), []
        for lam in lams:
            strategy = "fixpoint" if name == "lq" else "subdiff"
            solver = AndersonCD(max_iter=1000, max_epochs=100_000, tol=1e-13, fit_intercept=False, ws_strategy=strategy)
            penalty, datafit = make(lam), Quadratic()
            datafit.initialize(X, y)
            coef, _, stop = solver.solve(X, y, datafit, penalty, w_init=coef, Xw_init=X @ coef)
            value = 0.5 * np.mean((X @ coef - y) ** 2) + penalty.value(coef)
            print(name, lam, stop, (coef != 0).sum(), value)
            rows.append({"coef": coef.tolist(), "objective": float(value), "violation": float(stop)})
        fits[name] = rows
    version = {"skglm": importlib.metadata.version("skglm")}
    path = pathlib.Path(__file__).with_name("skglm.json")
    path.write_text(json.dumps({"software": version, "lams": lams.tolist(), "fits": fits}, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
