"""How well a constant predicts: the score that every penalty has to beat."""

from typing import Any

import jax
import numpy as np

from jaxreg.linear.arguments import linear_data
from jaxreg.losses import Loss
from jaxreg.path import make_problem
from jaxreg.penalties import L1
from jaxreg.selection._folds import training_weights
from jaxreg.selection._measures import MEASURES
from jaxreg.selection._selection import Selection


def null_scores(X: Any, y: Any, selection: Selection, loss: Loss, sample_weight: Any = None) -> np.ndarray:
    """Return the measure of `selection` in each of its folds, (K,), for the best constant of the other folds.

    The scores at the largest λ are not that: a fold may keep a feature there, as λ_max is that of all rows.

    Args:
        X: features, (n, p), as they were given to `cross_validate`.
        y: target, (n,).
        selection: gives the folds and the measure.
        loss: the loss.
        sample_weight: weights, (n,).
    """
    with jax.enable_x64(True):
        data = linear_data(X, y, loss, L1(), sample_weight, None, None)
        weights = training_weights(selection.fold_id, data.sample_weight, data.target, loss)
        problem = make_problem(data, loss, weights, True, True)
        constants = np.asarray(problem.null.coef)[1:, 0]
        score = MEASURES[selection.measure].score
        scores = []
        for k, constant in enumerate(constants):
            rows = selection.fold_id == k
            eta = np.full((rows.sum(), 1), constant)
            scores.append(score(loss, eta, data.target[rows], data.sample_weight[rows])[0])
    return np.array(scores)
