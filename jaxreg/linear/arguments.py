"""Checks of what the linear door is given; everything past here can rely on it."""

import dataclasses
from typing import Any

import jax
import numpy as np

from jaxreg import _check
from jaxreg.linear.design import Design, as_design
from jaxreg.linear.free import check_penalty, free_columns
from jaxreg.losses import Loss
from jaxreg.losses._base import Coupled, Joint, Nonsmooth
from jaxreg.penalties import Elastic, ElasticNet, Penalty

_REFUSED = {
    Nonsmooth: "has kinks, where steps along gradients do not settle: take Huber for outliers, or minimize it by its "
    "own prox and conjugate, which certify the result",
    Joint: "has several that belong together; use Objective and solve, with a penalty such as L21",
    Coupled: "couples the samples; use Objective and solve",
}


@dataclasses.dataclass(frozen=True)
class LinearData:
    """Checked data of a linear model. Weights, offset and factors are float64 and full length.

    Of X alone there may be more rows and columns than there are data, see `jaxreg.linear.sizes`.
    """

    design: Design
    target: np.ndarray
    sample_weight: np.ndarray
    offset: np.ndarray
    factor: np.ndarray

    @property
    def shape(self) -> tuple[int, int]:
        """Rows n and columns p of the data."""
        return self.target.size, self.factor.size


def linear_data(X: Any, y: Any, loss: Any, penalty: Any, sample_weight: Any, offset: Any, dtype: Any) -> LinearData:
    """Check everything that a linear model is fitted to. Call it with x64 on.

    Raises:
        TypeError: if something is not of its kind.
        ValueError: if lengths disagree, or a value is NaN, infinite or outside its domain.
    """
    if not isinstance(loss, Loss):
        raise TypeError(f"loss must be a jaxreg loss such as Squared(), got {loss!r}")
    if not isinstance(penalty, Penalty):
        raise TypeError(f"penalty must be a jaxreg penalty such as L1(), got {penalty!r}")
    if isinstance(loss, (Nonsmooth, Joint, Coupled)):
        name, why = type(loss).__name__, _REFUSED[next(kind for kind in _REFUSED if isinstance(loss, kind))]
        raise TypeError(f"linear models take losses of one smooth prediction, and {name} {why}")
    # Any other penalty may see a column that is only there to fill up, as a member of a group or of a chain.
    design = as_design(X, dtype, rounded=(True, isinstance(penalty, Elastic)))
    n, p = np.shape(X)
    target = vector("y", y, n)
    weights = np.ones(n) if sample_weight is None else vector("sample_weight", sample_weight, n)
    if (weights < 0).any() or not (weights > 0).sum() >= 2:
        raise ValueError("sample_weight must not be negative, and must be positive for at least 2 rows")
    loss.check(target[weights > 0])
    # What has no weight may be outside the loss's domain, but losses are evaluated everywhere.
    target = np.where(weights > 0, target, target[np.argmax(weights > 0)])
    shift = np.zeros(n) if offset is None else vector("offset", offset, n)
    factor = _factor(penalty, p) if isinstance(penalty, Elastic) else _generic_factor(penalty, p)
    return LinearData(design, target, weights, shift, factor)


def vector(name: str, value: Any, n: int) -> np.ndarray:
    """Check a finite numeric vector of length n, and return it in float64.

    Raises:
        TypeError: if it is not numeric.
        ValueError: if it has another shape, or NaN or infinite entries.
    """
    array = np.asarray(value)
    if array.dtype.kind not in "biuf":
        raise TypeError(f"{name} must be numeric, got dtype {array.dtype}")
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.shape != (n,):
        raise ValueError(f"{name} must have one value per row of X, shape ({n},), got shape {array.shape}")
    array = array.astype(np.float64)
    bad = np.flatnonzero(~np.isfinite(array))
    if bad.size:
        raise ValueError(f"{name} has {bad.size} NaN or infinite entries, the first at row {bad[0]}")
    return array


def _factor(penalty: Elastic, p: int) -> np.ndarray:
    weight = penalty.weight
    if weight is None:
        return np.ones(p)
    if not isinstance(weight, (int, float, list, tuple, np.ndarray, np.generic, jax.Array)):
        raise TypeError(f"weight must be a number or an array of penalty factors here, got {type(weight).__name__}")
    factor = np.asarray(weight, dtype=np.float64)
    if factor.shape not in ((), (p,)):
        raise ValueError(f"weight must have one factor per column of X, shape ({p},), got shape {factor.shape}")
    _check.number("weight", factor)
    if not (factor > 0).any():
        raise ValueError("weight leaves every column unpenalized: at least one factor must be positive")
    return np.broadcast_to(factor, (p,)).copy()


def _generic_factor(penalty: Penalty, p: int) -> np.ndarray:
    """0 for columns that the penalty leaves free, else 1."""
    check_penalty(penalty, p)
    free, _ = free_columns(penalty, p)
    if free.all():
        raise ValueError(f"{type(penalty).__name__} leaves every column unpenalized: at least one must be penalized")
    return np.where(free, 0.0, 1.0)


def mixes(penalty: Any, l1_ratios: Any) -> np.ndarray:
    """Shares of the absolute value, (R,): those asked for, or the penalty's own.

    Raises:
        TypeError: if the penalty is not elastic, or l1 ratios are asked of one that has no such mix.
        ValueError: if they are empty or outside [0, 1].
    """
    if l1_ratios is None:
        if not isinstance(penalty, Elastic):
            raise TypeError(f"penalty must be L1, L2 or ElasticNet here, got {penalty!r}")
        mix = np.asarray(penalty.mix, dtype=np.float64)
        if mix.ndim != 0:
            raise ValueError(f"l1_ratio must be one number, got shape {mix.shape}; give several as l1_ratios=")
        return mix[None]
    if not isinstance(penalty, ElasticNet):
        raise TypeError(f"l1_ratios needs penalty=ElasticNet(), got {type(penalty).__name__}")
    ratios = np.asarray(l1_ratios, dtype=np.float64)
    if ratios.ndim != 1 or ratios.size == 0:
        raise ValueError(f"l1_ratios must be a list of one or more mixes, got {l1_ratios!r}")
    _check.number("l1_ratios", ratios, high=1.0)
    return ratios


def tolerance(tol: Any) -> float:
    """Check a tolerance on the relative duality gap.

    Raises:
        ValueError: if it is not a positive finite number.
    """
    _check.number("tol", tol)
    if not float(tol) > 0:
        raise ValueError(f"tol must be positive, got {tol:g}")
    return float(tol)
