"""What the engine solves, and what it returns."""

import dataclasses
import warnings
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxreg.linear.columns import Data, gather
from jaxreg.linear.design import Design, Views
from jaxreg.linear.joint import fit_null_joint
from jaxreg.linear.null import Null, fit_null
from jaxreg.linear.null_split import fit_null_split
from jaxreg.losses import Loss
from jaxreg.losses._base import Coupled, Nonsmooth

LOST = 1e-6
"""Relative gradient above which a null model has not converged."""


@dataclasses.dataclass(frozen=True)
class Problem:
    """A linear model over F training sets of one design, standardized, ready for any strengths."""

    design: Design
    views: Views
    loss: Loss
    data: Data
    factor: np.ndarray
    intercept: bool
    null: Null

    @classmethod
    def make(
        cls,
        design: Design,
        views: Views,
        loss: Loss,
        target: Any,
        offset: np.ndarray,
        factor: np.ndarray,
        intercept: bool,
    ) -> "Problem":
        """Fit the null models."""
        data = Data(jax.device_put(target), jax.device_put(offset), views.weights)
        unpenalized = np.flatnonzero(factor == 0)
        columns = gather(design, views, unpenalized, unpenalized.size, intercept)
        plain = offset.ndim == 1 and not isinstance(loss, Coupled)
        if isinstance(loss, Nonsmooth):
            null = fit_null_split(design, views, loss, data, factor, intercept)
        else:
            null = (fit_null if plain else fit_null_joint)(design, views, loss, data, columns)
        lost = int(np.sum(~(np.asarray(null.astray) <= LOST)))
        if lost:
            message = f"the null models of {lost} of {len(views.weights)} training sets did not converge"
            warnings.warn(f"{message}: unpenalized coefficients may be infinite", RuntimeWarning, stacklevel=2)
        return cls(design, views, loss, data, factor, intercept, null)

    @property
    def plain(self) -> bool:
        """Whether a sample has one output, and its loss is smooth and depends on that alone."""
        return self.data.offset.ndim == 1 and not isinstance(self.loss, (Coupled, Nonsmooth))

    def scale(self) -> np.ndarray:
        """Size of gradients, per training set (F,): that at the null model."""
        size = np.abs(np.asarray(self.null.gradient)).max(axis=1)
        return np.where(size > 0, size, 1.0)


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
