"""Any loss with any penalty."""

import dataclasses
from typing import Any

from jaxreg.losses import Loss, Squared
from jaxreg.losses._base import Coupled, Joint
from jaxreg.penalties import L1, Penalty
from jaxreg.sklearn._parameters import parameters
from jaxreg.sklearn._penalized import AlongStrengths, AtStrength


@parameters
class _Any:
    """A loss and a penalty as they were given. Abstract."""

    loss: Any = dataclasses.field(default=None, kw_only=False)
    penalty: Any = dataclasses.field(default=None, kw_only=False)

    def _loss(self) -> Loss:
        loss = Squared() if self.loss is None else self.loss
        if not isinstance(loss, Loss):
            raise TypeError(f"loss must be a jaxreg loss such as Squared(), got {loss!r}")
        if isinstance(loss, (Coupled, Joint)):
            better = "CoxRegression" if isinstance(loss, Coupled) else "LogisticRegression"
            raise TypeError(f"loss must have one prediction for each sample, got {loss!r}; for that there is {better}")
        return loss

    def _penalty(self, p: int) -> Penalty:
        del p
        penalty = L1() if self.penalty is None else self.penalty
        if not isinstance(penalty, Penalty):
            raise TypeError(f"penalty must be a jaxreg penalty such as L1(), got {penalty!r}")
        return penalty


@parameters
class GeneralizedLinear(_Any, AtStrength):
    """Any loss with any penalty: min 1/W Σ w ℓ(x'b + b₀ + o, y) + alpha g(b).

    Predictions are means: probabilities of class 1 for `Logistic`, whose y is 0 or 1.

    Args:
        loss: a loss of jaxreg's with one prediction for each sample; `Squared()` unless given.
        penalty: a penalty g of jaxreg's, whose own strength does not count; `L1()` unless given.
        alpha: strength.
        fit_intercept: whether to fit b₀.
        standardize: whether to penalize columns over their standard deviation.
        tol: duality gap, relative to the null model's objective, beyond which a `ConvergenceWarning` says so.

    Attributes:
        coef_: (p,).
        intercept_: number.
        dual_gap_: duality gap relative to the null model's objective; NaN where none is known.
        kkt_: residual of the optimality condition, relative to the gradient at the null model.
        n_iter_: steps of the solver.

    >>> import jaxreg as jr
    >>> from jaxreg.sklearn import GeneralizedLinear
    >>> model = GeneralizedLinear(jr.Huber(delta=1.0), jr.L1(), alpha=0.1)
    >>> model.fit([[0.0], [1.0], [2.0], [3.0]], [0.0, 1.0, 2.0, 30.0]).coef_.round(2)
    array([2.2])
    """

    alpha: float = 1.0


@parameters
class GeneralizedLinearCV(_Any, AlongStrengths):
    """`GeneralizedLinear` with the strength chosen by cross-validation: every strength and fold in one batch.

    Args:
        loss: a loss of jaxreg's with one prediction for each sample; `Squared()` unless given.
        penalty: a penalty of jaxreg's, whose own strength does not count; `L1()` unless given.
        alphas: number of strengths, or a list of them.
        eps: smallest strength as a share of the largest; 1e-3 if n > p, else 1e-2, unless given.
        cv: number of folds (5 unless given), or a splitter or list of (train, test) that holds every row out once.
        selection_rule: "min" for the best mean score, "1se" for the largest strength within one standard error of it.
        measure: as for `jaxreg.cross_validate`.
        fit_intercept: whether to fit an intercept.
        standardize: whether to penalize columns over their standard deviation, of each training set.
        tol: duality gap, relative to the null model's objective, that fits are to reach.

    Attributes are those of `GeneralizedLinear`, and `alpha_`, `alphas_` (L,), `score_path_` (K, L) and `selection_`.
    """

    measure: Any = None

    def _more(self) -> dict[str, Any]:
        return {"measure": self.measure}
