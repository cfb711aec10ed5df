"""What the tests of `solve` and `sweep` share: objectives of one shape, their strengths, and who judges."""

import warnings

import numpy as np
import optax

from jaxreg import L1, Logistic, Objective, Squared
from tests.certificates import linear_problem
from tests.helpers_models import linear

N, P = 80, 20
FRACTIONS = np.array([0.9, 0.3, 0.1, 0.03, 0.01])
SGD = optax.sgd(0.1)

LASSO = Objective(Squared(), L1(), linear)
LOGISTIC = Objective(Logistic(), L1(), linear)


def quiet(fn, *args, **kwargs):
    """Call without the warning that some problems did not converge."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        return fn(*args, **kwargs)


def judge(problem, coef, lam, intercept=None, *, loss="squared", l1_ratio=1.0):
    """Certify one fit in float64, on the columns as they are."""
    judged = linear_problem(*problem, loss=loss, l1_ratio=l1_ratio, intercept=intercept is not None, standardize=False)
    return judged.certify(coef, 0.0 if intercept is None else intercept, lam)


def lam_grid(problem, loss="squared"):
    return FRACTIONS * linear_problem(*problem, loss=loss, intercept=False, standardize=False).lam_max()
