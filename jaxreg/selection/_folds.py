"""Who is held out when."""

from typing import Any

import numpy as np

from jaxreg.linear.targets import check_target
from jaxreg.losses import Logistic, Loss, Multinomial
from jaxreg.losses._base import Coupled


def make_folds(y: np.ndarray, folds: int, seed: int = 0, loss: Loss | None = None) -> np.ndarray:
    """Deal rows to folds of equal size at random, (n,) of 0 … folds − 1; by class where there are classes.

    Args:
        y: target, (n,) or (n, columns).
        folds: number of folds, from 2 to n.
        seed: of the shuffle: the same seed gives the same folds.
        loss: `Logistic` and `Multinomial` keep the share of classes alike in all folds, `Cox` that of events.

    Raises:
        TypeError: if `folds` is not an integer.
        ValueError: if there are fewer than 2 folds, or more than rows.

    >>> np.bincount(make_folds(np.arange(10.0), folds=5)).tolist()
    [2, 2, 2, 2, 2]
    """
    n = len(y)
    if isinstance(folds, bool) or int(folds) != folds:
        raise TypeError(f"folds must be an integer, got {folds!r}")
    if not 2 <= folds <= n:
        raise ValueError(f"folds must be between 2 and the number of rows ({n}), got {folds}")
    order = np.random.default_rng(seed).permutation(n)
    kinds = _kinds(y, loss)
    if kinds is not None:
        order = order[np.argsort(kinds[order], kind="stable")]
    fold_id = np.empty(n, dtype=np.int64)
    fold_id[order] = np.arange(n) % folds
    return fold_id


def _kinds(y: np.ndarray, loss: Loss | None) -> np.ndarray | None:
    """What each row is one of, if the loss knows kinds."""
    if isinstance(loss, Coupled):
        return y[:, 1]  # event or not
    if isinstance(loss, (Logistic, Multinomial)) and (y.ndim == 1 or isinstance(loss, Multinomial)):
        return y if y.ndim == 1 else y.argmax(axis=1)
    return None


def check_folds(fold_id: Any, n: int) -> np.ndarray:
    """Take given fold labels, any integers, and renumber them 0 … K − 1 in order.

    Raises:
        TypeError: if labels are not integers.
        ValueError: if there is not one label per row, or fewer than two folds.
    """
    labels = np.asarray(fold_id)
    if labels.dtype.kind not in "iu" and not (labels.dtype.kind == "f" and np.all(labels == np.round(labels))):
        raise TypeError(f"fold_id must be integers, got dtype {labels.dtype}")
    if labels.shape != (n,):
        raise ValueError(f"fold_id must have one label per row of X, shape ({n},), got shape {labels.shape}")
    names, numbered = np.unique(labels, return_inverse=True)
    if names.size < 2:
        raise ValueError(f"fold_id must name at least 2 folds, got {names.size}")
    return numbered


def training_weights(
    fold_id: np.ndarray, sample_weight: np.ndarray, y: np.ndarray, loss: Loss, intercept: bool
) -> np.ndarray:
    """Sample weights of every training set, (K + 1, n): all rows first, then all but each fold.

    Raises:
        ValueError: if some training set could not be fitted (one class, constant target, too few rows).
    """
    folds = int(fold_id.max()) + 1
    held_out = fold_id == np.arange(folds)[:, None]
    for k in range(folds):
        _check_fold(k, held_out[k], sample_weight, y, loss, intercept)
    return np.concatenate([sample_weight[None], np.where(held_out, 0.0, sample_weight)])


def check_leave_one_out(
    fold_id: np.ndarray, sample_weight: np.ndarray, y: np.ndarray, loss: Loss, intercept: bool
) -> None:
    """Do the same checks where every row is a fold of its own, without one array for each.

    Only a row of zero weight, or with the smallest or largest target, can be one that nothing is left without.

    Raises:
        ValueError: as for `training_weights`.
    """
    for row in {int(sample_weight.argmin()), int(y.argmin()), int(y.argmax())}:
        _check_fold(int(fold_id[row]), np.arange(y.size) == row, sample_weight, y, loss, intercept)


def _check_fold(
    k: int, held_out: np.ndarray, sample_weight: np.ndarray, y: np.ndarray, loss: Loss, intercept: bool
) -> None:
    if not (sample_weight[held_out] > 0).any():
        raise ValueError(f"fold {k} holds out no row of positive weight")
    trained = ~held_out & (sample_weight > 0)
    try:
        if trained.sum() < 2:
            raise ValueError(f"only {trained.sum()} row of positive weight is left")
        check_target(loss, y[trained], intercept)
    except ValueError as error:
        raise ValueError(f"without fold {k} there is nothing to train on: {error}; use other folds") from error
