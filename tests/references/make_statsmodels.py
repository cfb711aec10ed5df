"""Generalized linear models by statsmodels, written to statsmodels.json beside this script; run it as `python -m`.

    python -m tests.references.make_statsmodels

Unpenalized fits with the log link to the diabetes table: its target, an integer between 25 and 346, as a count or an
amount, with every third target set to 0 where zeros are allowed and wanted. Columns are standardized; weights and
offsets are uneven. The deviance is summed with the weights, as statsmodels does.
"""

import json
import pathlib
import platform

import numpy as np
import statsmodels
import statsmodels.api as sm

from tests import problems


def fit(family, zeros=False):
    """Newton's method to rounding."""
    X, y = problems.diabetes()
    y = np.where(np.arange(len(y)) % 3 == 0, 0.0, y) if zeros else y
    Z = sm.add_constant((X - X.mean(axis=0)) / X.std(axis=0))
    weight = problems.uneven_weights(len(y))
    model = sm.GLM(y, Z, family=family, offset=problems.uneven_offset(len(y)), var_weights=weight)
    result = model.fit(method="newton", maxiter=200, tol=1e-13)
    return {
        "zeros": zeros,
        "coef": result.params[1:].tolist(),
        "intercept": float(result.params[0]),
        "deviance": float(result.deviance),
        "null_deviance": float(result.null_deviance),
    }


def main():
    """Fit everything and write it."""
    log = sm.families.links.Log()
    families = {
        "poisson": (sm.families.Poisson(log), True),
        "gamma": (sm.families.Gamma(log), False),
        "tweedie-1.2": (sm.families.Tweedie(log, var_power=1.2), True),
        "tweedie-1.5": (sm.families.Tweedie(log, var_power=1.5), True),
        "tweedie-1.8": (sm.families.Tweedie(log, var_power=1.8), True),
        "negative_binomial-0.1": (sm.families.NegativeBinomial(log, alpha=0.1), True),
        "negative_binomial-2": (sm.families.NegativeBinomial(log, alpha=2.0), False),
    }
    software = {"python": platform.python_version(), "statsmodels": statsmodels.__version__, "numpy": np.__version__}
    fits = {name: fit(*arguments) for name, arguments in families.items()}
    path = pathlib.Path(__file__).with_name("statsmodels.json")
    path.write_text(json.dumps({"software": software, "fits": fits}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
