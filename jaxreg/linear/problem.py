"""What the engine solves, and what it returns."""

import dataclasses
import warnings
from typing import NamedTuple

import jax
import numpy as np

from jaxreg.linear.arguments import LinearData, is_plain
from jaxreg.linear.columns import Data, gather, no_columns
from jaxreg.linear.design import Design, Host, Views, make_views, views_of
from jaxreg.linear.joint import fit_null_joint
from jaxreg.linear.kinks.responses import fit_null_responses
from jaxreg.linear.null import Null, fit_null
from jaxreg.linear.sizes import fill_up
from jaxreg.losses import Loss, Squared
from jaxreg.losses._base import Coupled, Nonsmooth

LOST = 1e-6
"""Relative gradient above which a null model has not converged."""


@dataclasses.dataclass(frozen=True)
class Problem:
    """A linear model over F training sets of one design, standardized, ready for any strengths.

    Sizes may be rounded up (see `jaxreg.linear.sizes`): rows past `shape` have no weight, columns past it are zero.
    """

    shape: tuple[int, int]
    """Rows n and columns p of the data."""
    size: tuple[int, int]
    """The same of the design."""
    source: Design | Host
    views: Views
    loss: Loss
    data: Data
    factor: np.ndarray
    intercept: bool
    null: Null
    moments: jax.Array | None
    """(1, p, p) second moments of all columns about zero, proven to be the data's, where the design is not needed."""

    @classmethod
    def make(
        cls,
        given: LinearData,
        loss: Loss,
        weights: np.ndarray,
        intercept: bool,
        standardize: bool,
    ) -> "Problem":
        """Standardize for every training set, given by its sample weights (F, n), and fit the null models."""
        source, (n, p) = given.design, given.shape
        rows, columns = source.shape
        weights = np.pad(weights, ((0, 0), (0, rows - n)))
        factor = np.pad(given.factor, (0, columns - p), constant_values=1)
        # A target that is no array is never filled up.
        target = given.encoded if rows == n else fill_up(np.asarray(given.encoded), rows)
        target, offset = jax.device_put((target, fill_up(given.offset, rows)))
        mean_only = isinstance(loss, Squared) and offset.ndim == 1 and intercept and bool((factor > 0).all())
        response = target - offset if mean_only else None
        known = None
        if isinstance(source, Host) and response is not None and len(weights) == 1:
            known = source.moments(weights[0], np.asarray(response))
        along: jax.Array | None
        if known is not None:
            design = None
            views, along = views_of(weights, *(part[None] for part in known[:3]), intercept, standardize)
        else:
            source = design = source.dense if isinstance(source, Host) else source
            views, along = make_views(design, weights, intercept, standardize, response)
        # A constant changes nothing in a loss of coupled samples: columns may be centered all the same.
        intercept = intercept and not isinstance(loss, Coupled)
        data = Data(target, offset, views.weights)
        null = _fit_null(design, views, loss, data, factor, intercept, along)
        if not np.isfinite(np.asarray(views.largest)).all():
            raise ValueError("X has columns whose squares overflow: divide them by a constant")
        lost = int(np.sum(~(np.asarray(null.astray) <= LOST)))
        if lost:
            message = f"the null models of {lost} of {len(views.weights)} training sets did not converge"
            warnings.warn(f"{message}: unpenalized coefficients may be infinite", RuntimeWarning, stacklevel=2)
        moments = None if known is None else jax.device_put(known.second[None])
        return cls((n, p), (rows, columns), source, views, loss, data, factor, intercept, null, moments)

    @property
    def design(self) -> Design:
        """The feature matrix, with JAX: of one that the caller keeps, the first to ask makes a copy."""
        return self.source.dense if isinstance(self.source, Host) else self.source

    @property
    def plain(self) -> bool:
        """Whether a sample has one output, and its loss is smooth and depends on that alone."""
        return self.data.offset.ndim == 1 and is_plain(self.loss)

    def scale(self) -> np.ndarray:
        """Size of gradients, per training set (F,): that at the null model."""
        gradient = np.abs(np.asarray(self.null.gradient))
        size = gradient.max(axis=tuple(range(1, gradient.ndim)))
        return np.where(size > 0, size, 1.0)


def _fit_null(
    design: Design | None,
    views: Views,
    loss: Loss,
    data: Data,
    factor: np.ndarray,
    intercept: bool,
    along: jax.Array | None,
) -> Null:
    """Null models, of a kind that suits the loss; without a design if nothing but the mean is free."""
    if design is None:
        return fit_null(None, views, loss, data, no_columns(views, data.target.size, intercept), along)
    if isinstance(loss, Nonsmooth):
        return fit_null_responses(design, views, loss, data, factor, intercept)
    unpenalized = np.flatnonzero(factor == 0)
    free = gather(design, views, unpenalized, unpenalized.size, intercept)
    if is_plain(loss) and data.offset.ndim == 1:
        return fit_null(design, views, loss, data, free, along)
    return fit_null_joint(design, views, loss, data, free)


class Fits(NamedTuple):
    """Solutions in standardized units, for the columns that are ever active (a of them).

    The columns are `working` (a,); `intercept` is (L, F, R) and `slopes` (L, F, R, a), with a last axis where a sample
    has several outputs. Per problem (L, F, R): the
    relative gap, the relative residual, the weighted mean deviance, the `Result` code, inner steps, and effective
    degrees of freedom where known (else NaN).
    """

    working: np.ndarray
    intercept: np.ndarray
    slopes: np.ndarray
    gap: np.ndarray
    kkt: np.ndarray
    deviance: np.ndarray
    result: np.ndarray
    steps: np.ndarray
    df: np.ndarray


class Piece(NamedTuple):
    """A chunk of `Fits`: coefficients b (L, F, R, 1 + w) of the columns `working` (w,), and so on."""

    working: np.ndarray
    b: np.ndarray
    gap: np.ndarray
    kkt: np.ndarray
    deviance: np.ndarray
    steps: np.ndarray
    df: np.ndarray
