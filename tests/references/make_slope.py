"""SLOPE by sortedl1, written to slope.json beside this script.

    python -m tests.references.make_slope

Needs sortedl1 (1.11.3), of the authors of Larsson, Klopfenstein, Massias & Wallin (2023), "Coordinate descent for
SLOPE". Its problem is ours: (1/2n)‖y − Xb‖² + λ Σ w_k|b|₍ₖ₎, here without intercept, of standardized columns.
"""

import importlib.metadata
import json
import pathlib

import numpy as np
from sortedl1 import Slope

from tests.references.designs import quadratic


def main():
    """Fit a path of falling weights and write it."""
    X, y = quadratic()
    weights = np.linspace(2, 0.5, X.shape[1])
    lams = 0.25 * np.geomspace(1, 0.05, 5)
    rows = []
    for lam in lams:
        model = Slope(lam=weights, alpha=lam, fit_intercept=False, tol=1e-14, max_iter=10**6).fit(X, y)
        rows.append(np.ravel(model.coef_).tolist())
        print(lam, model.n_iter_, np.count_nonzero(rows[-1]))
    version = {"sortedl1": importlib.metadata.version("sortedl1")}
    path = pathlib.Path(__file__).with_name("slope.json")
    table = {"software": version, "weights": weights.tolist(), "lams": lams.tolist(), "coef": rows}
    path.write_text(json.dumps(table, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
