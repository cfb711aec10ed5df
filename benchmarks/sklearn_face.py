"""scikit-learn's cross-validated estimators beside jaxreg's of the same names, on the engine's grid of problems.

    python -m benchmarks.sklearn_face                 # --rows REGEX, --budget SECONDS

Every house fits in a process of its own, with the same data, folds and arguments; scikit-learn with `n_jobs=2`, once,
within the budget; jaxreg cold (first call, compilation included) and warm (median of three more). Gaps are relative
duality gaps of the fit to all rows at what that house chose, judged by tests/certificates.py. Solvers of scikit-learn's
logistic regression: saga, and liblinear, which penalizes the intercept as well, so that its gap is not comparable.
"""

import argparse
import json
import re
import statistics
import subprocess
import sys
import time
import warnings
from typing import Any

import numpy as np
from sklearn.model_selection import PredefinedSplit

from benchmarks.problems import FIVE_RATIOS, FOLDS
from tests.certificates import linear_problem
from tests.problems import balanced_folds, gaussian

SIZES = ((1000, 100), (200, 5000), (10000, 500))
LOGISTIC = {"l1_ratios": [1.0], "use_legacy_attributes": False}
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "LassoCV": ("LassoCV", {}),
    "ElasticNetCV, 5 ratios": ("ElasticNetCV", {"l1_ratio": list(FIVE_RATIOS)}),
    "LogisticRegressionCV, 10 Cs": ("LogisticRegressionCV", LOGISTIC | {"Cs": 10}),
    "LogisticRegressionCV, 100 Cs": ("LogisticRegressionCV", LOGISTIC | {"Cs": 100}),
}
REPEATS = 3


def fit(case: str, n: int, p: int, house: str) -> dict[str, Any]:
    """Fit a case by a house ("jaxreg", or "scikit-learn" and a solver); times in seconds, and the gap."""
    warnings.simplefilter("ignore")
    name, options = CASES[case]
    logistic = name == "LogisticRegressionCV"
    X, y = gaussian(n, p, 0.5)
    y = (y > 0).astype(int) if logistic else y
    options = options | {"cv": PredefinedSplit(balanced_folds(n, FOLDS))}
    if logistic:
        options |= {"scoring": "neg_log_loss"}
    else:
        options |= {"eps": 1e-3 if n > p else 1e-2}
    if house == "jaxreg":
        import jaxreg.sklearn as room
    else:
        import sklearn.linear_model as room

        options |= {"n_jobs": 2}
        if logistic:
            options |= {"solver": house.split()[1], "max_iter": 10_000}
    times = []
    for _ in range(1 + REPEATS if house == "jaxreg" else 1):
        model = getattr(room, name)(**options)
        start = time.perf_counter()
        model.fit(X, y)
        times.append(time.perf_counter() - start)
    lam = float(1 / (model.C_ * n) if logistic else model.alpha_)
    ratio = 1.0 if name == "LassoCV" else float(model.l1_ratio_)
    judge = linear_problem(X, y.astype(float), loss="logistic" if logistic else "squared", l1_ratio=ratio)
    gap = judge.certify(np.ravel(model.coef_), float(np.ravel(model.intercept_)[0]), lam).gap
    return {"cold": times[0], "warm": statistics.median(times[1:] or times), "gap": float(gap)}


def ask(case: str, n: int, p: int, house: str, budget: float | None) -> dict[str, Any] | None:
    """`fit` in a process of its own; None if it ran out of time."""
    command = [sys.executable, "-m", "benchmarks.sklearn_face", "--one", case, f"{n}x{p}", house]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=budget, check=True)
    except subprocess.TimeoutExpired:
        return None
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def main() -> None:
    """Print a line for every case, size and house."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", default="", help='regular expression of "CASE NxP"')
    parser.add_argument("--budget", type=float, default=60.0, help="seconds for scikit-learn")
    parser.add_argument("--one", nargs=3, metavar=("CASE", "NxP", "HOUSE"), help="one fit, in this process")
    arguments = parser.parse_args()
    if arguments.one:
        case, size, house = arguments.one
        n, p = (int(number) for number in size.split("x"))
        print(json.dumps(fit(case, n, p, house)))
        return
    print(f"{'':38s} {'cold':>8s} {'warm':>8s} {'gap':>6s}   scikit-learn, n_jobs=2")
    for case in CASES:
        houses = ("saga", "liblinear") if "Logistic" in case else ("",)
        for n, p in SIZES:
            if not re.search(arguments.rows, f"{case} {n}x{p}"):
                continue
            ours = ask(case, n, p, "jaxreg", None)
            assert ours is not None
            line = f"{case:28s} {n:5d}×{p:<4d} {ours['cold']:6.2f} s {ours['warm']:6.2f} s {ours['gap']:6.0e}"
            for solver in houses:
                peer = ask(case, n, p, f"scikit-learn {solver}".strip(), arguments.budget)
                if peer is None:
                    line += f"   {solver} > {arguments.budget:.0f} s, {arguments.budget / ours['warm']:.0f}×"
                else:
                    line += f"   {solver} {peer['warm']:.2f} s, {peer['warm'] / ours['warm']:.1f}×, {peer['gap']:.0e}"
            print(line, flush=True)


if __name__ == "__main__":
    main()
