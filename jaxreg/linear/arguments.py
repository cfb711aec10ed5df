"""Checks of what the linear door is given; everything past here can rely on it."""

import dataclasses
from typing import Any

import jax
import numpy as np

from jaxreg import _check
from jaxreg.linear.design import Design, Host, as_design
from jaxreg.linear.free import check_penalty, free_columns
from jaxreg.linear.targets import check_target, offsets, responses, survival, vector
from jaxreg.losses import Loss, Squared
from jaxreg.losses._base import Coupled, Joint, Nonsmooth
from jaxreg.penalties import Elastic, ElasticNet, Penalty, Separable, Sum


@dataclasses.dataclass(frozen=True)
class LinearData:
    """Checked data of a linear model. Weights, offset and factors are float64 and full length.

    The target is there as rows that can be taken apart, (n,) or (n, columns), and as the loss encodes it. The penalty
    is the one given, with penalty factors that fit coefficients (p, k) where a sample has k outputs. Of X alone there
    may be more rows and columns than there are data, see `jaxreg.linear.sizes`.
    """

    design: Design | Host
    target: np.ndarray
    encoded: Any
    sample_weight: np.ndarray
    offset: np.ndarray
    penalty: Penalty
    factor: np.ndarray

    @property
    def shape(self) -> tuple[int, int]:
        """Rows n and columns p of the data."""
        return len(self.target), self.factor.size


def linear_data(
    X: Any, y: Any, loss: Any, penalty: Any, sample_weight: Any, offset: Any, dtype: Any, *, intercept: bool = True
) -> LinearData:
    """Check everything that a linear model is fitted to. Call it with x64 on.

    Raises:
        TypeError: if something is not of its kind.
        ValueError: if lengths disagree, or a value is NaN, infinite or outside its domain.
    """
    if not isinstance(loss, Loss):
        raise TypeError(f"loss must be a jaxreg loss such as Squared(), got {loss!r}")
    if not isinstance(penalty, Penalty):
        raise TypeError(f"penalty must be a jaxreg penalty such as L1(), got {penalty!r}")
    if isinstance(loss, Nonsmooth) and penalty.prox_part is not penalty:
        raise TypeError(
            f"{type(loss).__name__} has kinks and takes a penalty by its prox, of which {penalty!r} has none as a whole"
        )
    # Only the active-set engine is told to leave out what is there to fill up.
    engine = isinstance(penalty, Elastic) and is_plain(loss)
    waits = isinstance(penalty, Elastic) and isinstance(loss, Squared) and bool(np.any(np.asarray(penalty.mix) > 0))
    design = as_design(X, dtype, rounded=(engine, engine), may_wait=waits)
    n, p = np.shape(X)
    target = survival(y, n) if isinstance(loss, Coupled) else responses("y", y, n)
    weights = np.ones(n) if sample_weight is None else vector("sample_weight", sample_weight, n)
    if (weights < 0).any() or not (weights > 0).sum() >= 2:
        raise ValueError("sample_weight must not be negative, and must be positive for at least 2 rows")
    check_target(loss, target[weights > 0], intercept)
    outputs = loss.outputs(target[weights > 0])
    if outputs and isinstance(loss, Nonsmooth) and not all(isinstance(atom, Separable) for atom in penalty.atoms):
        raise ValueError(
            f"y must have shape ({n},) for {type(loss).__name__} with {type(penalty).__name__}, got {target.shape}: "
            "several responses are solved one by one, for penalties of single entries"
        )
    shift = np.zeros((n, *outputs)) if offset is None else offsets(offset, n, outputs)
    # What has no weight may be outside the loss's domain, or a class of its own, and losses are evaluated everywhere.
    rows = np.where(weights > 0, np.arange(n), np.argmax(weights > 0))
    encoded: Any = target if isinstance(loss, Coupled) else target[rows]
    if not engine:
        encoded = loss.encode(encoded, jax.ShapeDtypeStruct((n, *outputs), np.float64))
    penalty = _by_column(penalty, p) if outputs else penalty
    if isinstance(penalty, Elastic):
        factor = _factor(penalty, p, outputs)
    else:
        factor = _generic_factor(penalty, (p, *outputs))
    return LinearData(design, target, encoded, weights, shift, penalty, factor)


def is_plain(loss: Loss) -> bool:
    """Whether a loss is smooth, and of one prediction by itself."""
    return not isinstance(loss, (Joint, Coupled, Nonsmooth))


def _by_column(penalty: Penalty, p: int) -> Penalty:
    """Let penalty factors (p,) of separable penalties be those of the rows of coefficients (p, k)."""
    if isinstance(penalty, Sum):
        return Sum(*(_by_column(member, p) for member in penalty.members), lam=penalty.lam)
    weight = getattr(penalty, "weight", None)
    if weight is not None and isinstance(penalty, Separable) and np.shape(weight) == (p,):
        return dataclasses.replace(penalty, weight=np.asarray(weight)[:, None])  # type: ignore[type-var]
    return penalty


def _factor(penalty: Elastic, p: int, outputs: tuple[int, ...]) -> np.ndarray:
    weight = penalty.weight
    if weight is None:
        return np.ones(p)
    if not isinstance(weight, (int, float, list, tuple, np.ndarray, np.generic, jax.Array)):
        raise TypeError(f"weight must be a number or an array of penalty factors here, got {type(weight).__name__}")
    factor = np.asarray(weight, dtype=np.float64)
    if outputs and factor.shape == (p, 1):
        factor = factor[:, 0]
    if factor.shape not in ((), (p,)):
        raise ValueError(f"weight must have one factor per column of X, shape ({p},), got shape {factor.shape}")
    _check.number("weight", factor)
    if not (factor > 0).any():
        raise ValueError("weight leaves every column unpenalized: at least one factor must be positive")
    return np.broadcast_to(factor, (p,)).copy()


def _generic_factor(penalty: Penalty, shape: tuple[int, ...]) -> np.ndarray:
    """0 for columns that the penalty of coefficients of this shape leaves free, else 1."""
    check_penalty(penalty, shape)
    free, _ = free_columns(penalty, shape)
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
