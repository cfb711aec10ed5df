"""How well held-out rows are predicted."""

import dataclasses
from collections.abc import Callable

import jax.numpy as jnp
import numpy as np

from jaxreg.losses import Logistic, Loss, Squared

Score = Callable[[Loss, np.ndarray, np.ndarray, np.ndarray], np.ndarray]


@dataclasses.dataclass(frozen=True)
class Measure:
    """A score of linear predictors eta (n, B) for targets (n,) under weights (n,): one number per problem (B,)."""

    title: str
    score: Score
    larger_is_better: bool = False


def _average(values: np.ndarray, weight: np.ndarray) -> np.ndarray:
    return weight @ values / weight.sum()


def _deviance(loss: Loss, eta: np.ndarray, target: np.ndarray, weight: np.ndarray) -> np.ndarray:
    return _average(np.asarray(loss.deviance(jnp.asarray(eta), jnp.asarray(target[:, None]))), weight)


def _mse(loss: Loss, eta: np.ndarray, target: np.ndarray, weight: np.ndarray) -> np.ndarray:
    return _average((np.asarray(loss.mean(jnp.asarray(eta))) - target[:, None]) ** 2, weight)


def _mae(loss: Loss, eta: np.ndarray, target: np.ndarray, weight: np.ndarray) -> np.ndarray:
    return _average(np.abs(np.asarray(loss.mean(jnp.asarray(eta))) - target[:, None]), weight)


def _error(loss: Loss, eta: np.ndarray, target: np.ndarray, weight: np.ndarray) -> np.ndarray:
    del loss
    return _average(((eta > 0) != (target[:, None] > 0.5)).astype(np.float64), weight)


def _auc(loss: Loss, eta: np.ndarray, target: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Weighted chance that a case ranks above a control, ties counting half (Mann & Whitney 1947)."""
    del loss
    case = weight * target
    control = weight * (1 - target)
    if not (case.sum() > 0 and control.sum() > 0):
        raise ValueError("auc needs both classes in every held-out fold; use fewer folds, or another measure")
    order = np.argsort(eta, axis=0, kind="stable")
    ranked = np.take_along_axis(eta, order, axis=0)
    below = np.cumsum(control[order], axis=0)
    # Ties share: everyone in a tied block sees half of the block's controls.
    first = np.ones(ranked.shape, dtype=bool)
    first[1:] = ranked[1:] != ranked[:-1]
    last = np.ones(ranked.shape, dtype=bool)
    last[:-1] = first[1:]
    index = np.arange(len(eta))[:, None]
    start = np.maximum.accumulate(np.where(first, index, 0), axis=0)
    end = np.minimum.accumulate(np.where(last, index, len(eta) - 1)[::-1], axis=0)[::-1]
    before = np.take_along_axis(np.concatenate([np.zeros((1, eta.shape[1])), below]), start, axis=0)
    upto = np.take_along_axis(below, end, axis=0)
    return (case[order] * 0.5 * (before + upto)).sum(axis=0) / (case.sum() * control.sum())


MEASURES: dict[str, Measure] = {
    "deviance": Measure("deviance", _deviance),
    "mse": Measure("mean squared error", _mse),
    "mae": Measure("mean absolute error", _mae),
    "error": Measure("misclassification rate", _error),
    "auc": Measure("area under the ROC curve", _auc, larger_is_better=True),
}
"""Names that `cross_validate(measure=)` takes."""


def find_measure(name: str | None, loss: Loss) -> str:
    """Return the measure's name: mean squared error for squared loss, deviance for others, unless given.

    Raises:
        ValueError: if there is no such measure, or it makes no sense for the loss.
    """
    if name is None:
        return "mse" if isinstance(loss, Squared) else "deviance"
    if name not in MEASURES:
        raise ValueError(f"measure must be one of {', '.join(MEASURES)}, got {name!r}")
    if name in ("error", "auc") and not isinstance(loss, Logistic):
        raise ValueError(f"measure {name!r} is for two classes, with loss=Logistic(); got {type(loss).__name__}")
    return name
