"""How well held-out rows are predicted."""

import dataclasses
import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from jaxreg.linear import sizes
from jaxreg.losses import Logistic, Loss, Multinomial, Squared
from jaxreg.losses._base import Coupled

PerSample = Callable[[Loss, jax.Array, jax.Array], jax.Array]
PerFold = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]


@dataclasses.dataclass(frozen=True)
class Measure:
    """How held-out rows are judged: by a mean over samples, or by a score of whole folds.

    `per_sample` takes (loss, eta, target), elementwise; `per_fold` takes linear predictors (n, B), targets
    (n,) and weights (n,) of one fold, and gives one number per problem, (B,).
    """

    title: str
    per_sample: PerSample | None = None
    per_fold: PerFold | None = None
    larger_is_better: bool = False

    def scores(
        self, loss: Loss, eta: np.ndarray, target: np.ndarray, weight: np.ndarray, fold_id: np.ndarray
    ) -> np.ndarray:
        """Score of every fold (K, B), for linear predictors (n, B, …) of each row by the fit that left it out."""
        folds = range(int(fold_id.max()) + 1)
        if self.per_fold is not None:
            held_out = [fold_id == k for k in folds]
            return np.stack([self.per_fold(eta[rows], target[rows], weight[rows]) for rows in held_out])
        values = self.of_rows(loss, eta, target)
        values = np.where(weight[:, None] > 0, values.reshape(*values.shape[:2], -1).sum(axis=2), 0)
        share = np.stack([np.where(fold_id == k, weight, 0.0) for k in folds])
        return share @ values / share.sum(axis=1, keepdims=True)

    def of_rows(self, loss: Loss, eta: np.ndarray, target: np.ndarray) -> np.ndarray:
        """Score (n, B) of every row.

        Raises:
            TypeError: for a measure of whole folds.
        """
        if self.per_sample is None:
            raise TypeError(f"the {self.title} needs more than one row in a fold")
        size = sizes.rounded(len(eta)) if eta.nbytes <= sizes.COPIED else len(eta)
        eta_filled, target_filled = sizes.fill_up(eta, size), sizes.fill_up(target, size)
        return np.asarray(_evaluate(self.per_sample, loss, eta_filled, target_filled))[: len(eta)]


@functools.partial(jax.jit, static_argnums=0)
def _evaluate(per_sample: PerSample, loss: Loss, eta: jax.Array, target: jax.Array) -> jax.Array:
    return per_sample(loss, eta, jnp.broadcast_to(target[:, None], eta.shape))


def _deviance(loss: Loss, eta: jax.Array, target: jax.Array) -> jax.Array:
    return loss.deviance(eta, target)


def _mse(loss: Loss, eta: jax.Array, target: jax.Array) -> jax.Array:
    return jnp.square(loss.mean(eta) - target)


def _mae(loss: Loss, eta: jax.Array, target: jax.Array) -> jax.Array:
    return jnp.abs(loss.mean(eta) - target)


def _error(loss: Loss, eta: jax.Array, target: jax.Array) -> jax.Array:
    if isinstance(loss, Multinomial):
        return 1 - jnp.take_along_axis(target, jnp.argmax(eta, axis=-1)[..., None], axis=-1)[..., 0]
    return ((eta > 0) != (target > 0.5)).astype(eta.dtype)


def _auc(eta: np.ndarray, target: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Weighted chance that a case ranks above a control, ties counting half (Mann & Whitney 1947)."""
    case = weight * target
    control = weight * (1 - target)
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
    "auc": Measure("area under the ROC curve", per_fold=_auc, larger_is_better=True),
}
"""Names that `cross_validate(measure=)` takes."""


def check_measure(name: str, target: np.ndarray, weight: np.ndarray, fold_id: np.ndarray) -> None:
    """Refuse folds in which the measure is not defined, before anything is fitted.

    Raises:
        ValueError: as said.
    """
    if name == "auc":
        case, control = (np.bincount(fold_id, weights=weight * part) for part in (target, 1 - target))
        if not ((case > 0) & (control > 0)).all():
            raise ValueError("auc needs both classes in every held-out fold; use fewer folds, or another measure")


def find_measure(name: str | None, loss: Loss) -> str:
    """Return the measure's name: mean squared error for squared loss, deviance for others, unless given.

    Raises:
        ValueError: if there is no such measure, or it makes no sense for the loss.
    """
    if name is None:
        return "mse" if isinstance(loss, Squared) else "deviance"
    if name not in MEASURES:
        raise ValueError(f"measure must be one of {', '.join(MEASURES)}, got {name!r}")
    if isinstance(loss, Coupled) and name != "deviance":
        raise ValueError(f'measure {name!r} judges samples one by one: with {type(loss).__name__} it is "deviance"')
    if name == "auc" and not isinstance(loss, Logistic):
        raise ValueError(f"measure 'auc' is for two classes, with loss=Logistic(); got {type(loss).__name__}")
    if name == "error" and not isinstance(loss, (Logistic, Multinomial)):
        raise ValueError(f"measure 'error' is for classes, with Logistic() or Multinomial(); got {type(loss).__name__}")
    return name
