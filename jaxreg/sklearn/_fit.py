"""From checked arrays to certified coefficients: any training sets of one table, at any strengths, in few batches."""

import collections.abc
import contextlib
import contextvars
import dataclasses
import warnings
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy import sparse
from sklearn.exceptions import ConvergenceWarning

from jaxreg.linear.arguments import linear_data
from jaxreg.losses import Loss, Squared
from jaxreg.losses._base import Coupled, Joint
from jaxreg.path import fit_all, make_problem, original_scale, shares
from jaxreg.penalties import Penalty
from jaxreg.sklearn._types import Array, Features

ASKED = 1e-10
"""Relative duality gap that the solver is asked for, whatever looser one the user would accept."""


@dataclasses.dataclass(frozen=True)
class Batch:
    """Fits of F training sets, R l1 ratios and L strengths, in decreasing order of strength.

    `lams` is (F, R, L); `coef` (F, R, L, p, …) and `intercept` (F, R, L, …), with a last axis where a sample has
    several outputs; `gap`, `kkt` and `steps` (F, R, L); `null` (F,) is the mean deviance of the null models.
    """

    lams: Array
    coef: Array
    intercept: Array
    gap: Array
    kkt: Array
    steps: Array
    null: Array

    @property
    def astray(self) -> Array:
        """How far each fit may be from optimal: the relative gap, or the relative residual where there is none."""
        return np.where(np.isnan(self.gap), self.kkt, self.gap)


class Request(NamedTuple):
    """What an estimator asks of `fit_sets`: features, target and the other arguments that it gives."""

    X: Features
    y: Array
    options: dict[str, Any]


_ASKED: contextvars.ContextVar[list[Request] | None] = contextvars.ContextVar("asked", default=None)


@contextlib.contextmanager
def asking() -> collections.abc.Iterator[list[Request]]:
    """Let estimators ask without an answer: `fit_sets` notes what it is asked for, and returns coefficients of zero.

    So a search learns what an estimator would fit, in λ and with its own checks, before it fits all candidates at once.
    """
    requests: list[Request] = []
    token = _ASKED.set(requests)
    try:
        yield requests
    finally:
        _ASKED.reset(token)


def _zeros(request: Request) -> Batch:
    """Coefficients of zero, in the shapes of an answer to a request at one strength."""
    X, y, options = request
    loss, sets = options["loss"], len(options["weights"])
    outputs = () if isinstance(loss, Coupled) else y.shape[1:]
    if isinstance(loss, Joint) and y.ndim == 1:
        outputs = (int(y.max()) + 1,)
    each = np.zeros((sets, 1, 1))
    coef, level = np.zeros((*each.shape, X.shape[1], *outputs)), np.zeros((*each.shape, *outputs))
    return Batch(each, coef, level, each, each, each, np.zeros(sets))


def fit_sets(
    X: Features,
    y: Array,
    *,
    loss: Loss,
    penalty: Penalty,
    lams: Any,
    weights: Array,
    sample_weight: Array | None = None,
    l1_ratios: Any = None,
    lam_min_ratio: float | None = None,
    offset: Array | None = None,
    intercept: bool = True,
    standardize: bool = False,
    tol: float = ASKED,
) -> Batch:
    """Fit every training set at every strength, as one batch.

    Args:
        X: features, (n, p), dense or sparse.
        y: target, as for `fit_path`.
        loss: which.
        penalty: which.
        lams: strengths, (L,), or their number; the same for all training sets, decreasing along the result.
        weights: sample weights of every training set, (F, n); 0 leaves a row out.
        sample_weight: those of all rows, (n,): where they are positive, targets must be legal. Unless given, the
            largest that a row has in any set.
        l1_ratios: of the elastic net, (R,).
        lam_min_ratio: smallest strength over the largest, for a number of strengths.
        offset: offsets, (n,).
        intercept: whether to fit one.
        standardize: whether to penalize standardized columns.
        tol: gap that is good enough; at least `ASKED` is asked for.
    """
    asked = _ASKED.get()
    if asked is not None:
        given = {"loss": loss, "penalty": penalty, "lams": lams, "weights": weights, "offset": offset}
        asked.append(Request(X, y, given | {"intercept": intercept, "standardize": standardize, "tol": tol}))
        return _zeros(asked[-1])
    every = weights.max(axis=0) if sample_weight is None else sample_weight
    if offset is None and not isinstance(loss, (Coupled, Joint)) and _is_constant(y, every, loss):
        return _constant(X, y, every, loss, penalty, lams, weights, l1_ratios, lam_min_ratio, intercept, tol)
    with jax.enable_x64(True):
        data = linear_data(X, y, loss, penalty, every, offset, None)
        problem = make_problem(data, loss, weights, intercept, standardize)
        mix = shares(penalty, l1_ratios)
        grid, fits = fit_all(problem, data.penalty, mix, lams, lam_min_ratio, min(tol, ASKED), None)
        slopes, intercepts = original_scale(problem, fits)
        null = np.asarray(problem.null.deviance)
    coef = np.zeros((*slopes.shape[:3], X.shape[1], *slopes.shape[4:]))
    coef[:, :, :, fits.working] = slopes

    def by_set(values: Array) -> Array:
        return np.moveaxis(values, 0, 2)

    return Batch(
        lams=np.broadcast_to(grid, (len(weights), *grid.shape)),
        coef=by_set(coef),
        intercept=by_set(np.asarray(intercepts)),
        gap=by_set(np.asarray(fits.gap)),
        kkt=by_set(np.asarray(fits.kkt)),
        steps=by_set(np.asarray(fits.steps)),
        null=null,
    )


def _is_constant(y: Array, weights: Array, loss: Loss) -> bool:
    """Whether a target has one value only, which an intercept can explain: not one class, nor counts of zero."""
    rows = np.asarray(y)[weights > 0]
    if rows.ndim != 1 or rows.size < 2 or np.ptp(rows) > 0:
        return False
    with jax.enable_x64(True):
        return bool(np.isfinite(loss.link(jnp.asarray(rows[0], dtype=np.float64))))


def _constant(
    X: Features,
    y: Array,
    every: Array,
    loss: Loss,
    penalty: Penalty,
    lams: Any,
    weights: Array,
    l1_ratios: Any,
    lam_min_ratio: float | None,
    intercept: bool,
    tol: float,
) -> Batch:
    """Fit a target that has one value only, which the engine refuses to learn from.

    An intercept explains all of it. Without one, a row of zeros is added, whose prediction is 0 whatever the
    coefficients are: it changes nothing but the total weight that λ stands beside, and then the target varies.
    """
    if not intercept:
        blank = np.zeros((1, X.shape[1]))
        wider = sparse.vstack([X, sparse.csr_matrix(blank)]) if sparse.issparse(X) else np.vstack([X, blank])
        total = weights.sum(axis=1, keepdims=True)
        more = np.append(every, 1.0)
        fits = fit_sets(
            wider,
            np.append(y, np.asarray(y)[every > 0][0] + 1),
            loss=loss,
            penalty=penalty,
            lams=lams if isinstance(lams, (int, np.integer)) else np.asarray(lams) / 2,
            weights=np.concatenate([weights, total], axis=1),
            sample_weight=more,
            l1_ratios=l1_ratios,
            lam_min_ratio=lam_min_ratio,
            intercept=False,
            tol=tol,
        )
        return dataclasses.replace(fits, lams=fits.lams * 2)
    with jax.enable_x64(True):
        level = float(loss.link(jnp.asarray(np.asarray(y, dtype=np.float64)[every > 0][0])))
    ratios = 1 if l1_ratios is None else len(l1_ratios)
    grid = (
        np.full(int(lams), np.finfo(float).resolution)
        if isinstance(lams, (int, np.integer))
        else np.sort(np.asarray(lams, float))[::-1]
    )
    shape = (len(weights), ratios, len(grid))
    zero = np.zeros(shape)
    coef = np.zeros((*shape, X.shape[1]))
    return Batch(np.broadcast_to(grid, shape), coef, zero + level, zero, zero, zero + 1, np.zeros(len(weights)))


class Fit(NamedTuple):
    """One fit: `coef` (p, …), `intercept` (…), its certificates, and the mean deviance of the null model."""

    coef: Array
    intercept: Array
    gap: float
    kkt: float
    steps: int
    null: float

    @property
    def astray(self) -> Array:
        """How far it may be from optimal: the relative gap, or the relative residual where there is none."""
        return np.array(self.kkt if np.isnan(self.gap) else self.gap)


def fit_one(X: Features, y: Array, lam: float, weights: Array, tol: float, **options: Any) -> Fit:
    """Fit all rows at one strength, without a look at the certificate. Options are those of `fit_sets`."""
    fits = fit_sets(X, y, lams=[lam], weights=weights[None], tol=tol, **options)
    numbers = fits.gap.item(), fits.kkt.item(), max(1, int(fits.steps.item())), fits.null.item()
    return Fit(fits.coef[0, 0, 0], fits.intercept[0, 0, 0], *numbers)


def fit_each(X: Features, y: Array, *, lams: Array, weights: Array, sample_weight: Array, **options: Any) -> Batch:
    """Fit training sets that each have strengths of their own, (F, L): those with the same ones as one batch.

    Folds of equal weight share strengths wherever λ depends on the total weight, so that the batches are few. Other
    arguments are those of `fit_sets`; strengths must be in decreasing order.
    """
    keys = [tuple(np.round(np.log(np.maximum(row, 1e-300)), 12)) for row in lams]
    batches: list[tuple[Array, Batch]] = []
    for key in dict.fromkeys(keys):
        members = np.array([place for place, other in enumerate(keys) if other == key])
        batch = fit_sets(X, y, lams=lams[members[0]], weights=weights[members], sample_weight=sample_weight, **options)
        batches.append((members, batch))
    order = np.argsort(np.concatenate([members for members, _ in batches]))
    joined = join_sets([batch for _, batch in batches])
    return Batch(*(values[order] for values in vars(joined).values()))


def join_sets(parts: list[Batch]) -> Batch:
    """One batch of the training sets of several."""
    return Batch(*(np.concatenate(values) for values in zip(*(vars(part).values() for part in parts), strict=True)))


def join_mixes(parts: list[Batch]) -> Batch:
    """One batch of R l1 ratios from R batches of one."""
    names = [field.name for field in dataclasses.fields(Batch) if field.name != "null"]
    joined = {name: np.concatenate([getattr(part, name) for part in parts], axis=1) for name in names}
    return dataclasses.replace(parts[0], **joined)


def best_of(errors: Array, strengths: Array, rule: str) -> tuple[int, int]:
    """Place (r, l) of the smallest mean error, or of the largest strength of its mix within one standard error of that.

    Args:
        errors: of folds, (R, L, K).
        strengths: (R, L).
        rule: "min" or "1se".
    """
    mean = errors.mean(axis=2)
    r, at = (int(place) for place in np.unravel_index(int(mean.argmin()), mean.shape))
    return r, at if rule == "min" else within_one_error(errors[r], strengths[r], at)


def within_one_error(errors: Array, strengths: Array, at: int) -> int:
    """Place of the largest strength (L,) whose mean error (L, K) is within one standard error of that at a place."""
    mean = errors.mean(axis=1)
    bar = mean[at] + errors[at].std() / np.sqrt(max(1, errors.shape[1] - 1))
    return int(np.argmax(np.where(mean <= bar, strengths, -np.inf)))


def warn_astray(astray: Array, tol: float, name: str) -> None:
    """Warn once if certificates miss the tolerance, with how many."""
    missed = int(np.sum(~(astray <= max(tol, ASKED))))
    if missed:
        warnings.warn(
            f"{name}: {missed} of {astray.size} fits missed tol={tol:g}; the worst certificate is "
            f"{np.max(astray):.2g}. Scaling the features helps, or a larger tol",
            ConvergenceWarning,
            stacklevel=3,
        )


def absolute_gap(batch: Batch) -> Array:
    """Duality gap (F, R, L) in units of the objective, as scikit-learn reports it, for squared error."""
    return batch.gap * (0.5 * batch.null[:, None, None])


SQUARED = Squared()
"""The loss of most estimators."""
