"""Parameters of estimators: names with what they are unless given, kept as they are given."""

import dataclasses
from typing import Any, TypeVar, dataclass_transform

Estimator = TypeVar("Estimator")


@dataclass_transform(eq_default=False, kw_only_default=True, field_specifiers=(dataclasses.field,))
def parameters(cls: type[Estimator]) -> type[Estimator]:
    """Make names that a class and its bases annotate the keywords of `__init__`, in which scikit-learn looks for them.

    A field with `kw_only=False` may be given by position. Names annotated in classes without this mark are none.
    """
    return dataclasses.dataclass(eq=False, repr=False, kw_only=True)(cls)


@parameters
class Descent:
    """What scikit-learn's coordinate descents take.

    Args:
        fit_intercept: whether to fit an intercept.
        tol: duality gap, relative to the null model's objective, beyond which a `ConvergenceWarning` says so. Fits are
            usually far more exact.
        max_iter: without effect: the engine has a budget of its own.
        copy_X: without effect: X is never written to.
        random_state: without effect: nothing is random.
        selection: without effect: no coordinate descent is done.
    """

    fit_intercept: bool = True
    tol: float = 1e-4
    max_iter: int = 1000
    copy_X: bool = True
    random_state: Any = None
    selection: str = "cyclic"


@parameters
class DescentAt(Descent):
    """Those at one strength.

    Args:
        alpha: strength.
        warm_start: without effect: solutions do not depend on where one starts.
    """

    alpha: float = dataclasses.field(default=1.0, kw_only=False)
    warm_start: bool = False


@parameters
class DescentCV(Descent):
    """Those with a strength that folds choose.

    Args:
        alphas: number of strengths, or a list of them.
        eps: smallest alpha as a share of the largest.
        cv: number of folds (5 unless given), a splitter, or a list of (train, test).
        selection_rule: "min" for the best mean error, "1se" for the largest strength, of the best mix, within one
            standard error of it.
        verbose: without effect.
        n_jobs: without effect: all folds are one batch.
    """

    alphas: Any = 100
    eps: float = 1e-3
    cv: Any = None
    selection_rule: str = "min"
    verbose: Any = 0
    n_jobs: Any = None


@parameters
class Factors:
    """Penalties that may weigh columns differently.

    Args:
        penalty_factor: factors of the columns' penalties, (p,); 0 leaves one unpenalized.
    """

    penalty_factor: Any = None


@parameters
class SingleResponse(Factors):
    """What scikit-learn has for one response only, and what it does not have.

    Args:
        positive: whether coefficients must not be negative.
        lower: lower bounds of coefficients, at most 0: a number or (p,).
        upper: upper bounds, at least 0, likewise.
        precompute: without effect: the engine decides what to precompute.
    """

    positive: bool = False
    lower: Any = None
    upper: Any = None
    precompute: Any = False


@parameters
class Mix:
    """Elastic nets.

    Args:
        l1_ratio: share of the absolute value, in [0, 1].
    """

    l1_ratio: Any = 0.5
