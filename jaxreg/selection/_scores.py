"""Scores of every fold's fits on the rows that it held out."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxreg._programs import program
from jaxreg.linear import Problem
from jaxreg.linear.design import Design
from jaxreg.linear.outputs import per_sample
from jaxreg.losses import Loss
from jaxreg.selection._measures import MEASURES

BLOCK = 256
"""Columns made dense at once."""


def score_folds(
    name: str,
    problem: Problem,
    working: np.ndarray,
    slopes: np.ndarray,
    intercepts: np.ndarray,
    sample_weight: np.ndarray,
    fold_id: np.ndarray,
) -> np.ndarray:
    """Scores (K, L · R + 1) on the rows held out; that of the null model is the last.

    Args:
        name: which measure.
        problem: data and null models, of all rows and of every training set.
        working: the ever-active columns, (a,).
        slopes: their slopes for X as it was given, (L, F, R, a, …).
        intercepts: (L, F, R, …).
        sample_weight: (n,).
        fold_id: labels of the folds from 0 on, (n,).
    """
    eta = held_out_predictors(problem, working, slopes, intercepts, fold_id)
    target = np.asarray(problem.data.target)[: fold_id.size]
    return MEASURES[name].scores(problem.loss, eta, target, sample_weight, fold_id)


def score_coupled(
    name: str,
    problem: Problem,
    working: np.ndarray,
    slopes: np.ndarray,
    intercepts: np.ndarray,
    sample_weight: np.ndarray,
    fold_id: np.ndarray,
) -> np.ndarray:
    """Score folds as `score_folds` does, for a loss whose samples cannot be judged one by one.

    What a fold adds to the deviance: that of all rows, less that of the training rows, by the fit to the latter.

    Source: Verweij & van Houwelingen (1993), "Cross-validation in survival analysis", Statistics in Medicine 12.
    """
    assert name == "deviance"
    del intercepts
    null_slopes, _ = _null_models(problem)
    x, z = (_columns_of(problem, index) for index in (working, _unpenalized(problem)))
    offset, scores = np.asarray(problem.data.offset), []
    for k in range(slopes.shape[1] - 1):
        b = slopes[:, k + 1].reshape(-1, working.size)
        eta = np.concatenate([b @ x.T, (z @ null_slopes[k + 1])[None]]) + offset
        trained = np.where(fold_id == k, 0.0, sample_weight)
        both = np.asarray(_deviances(problem.loss, problem.data.target, eta, np.stack([sample_weight, trained])))
        scores.append((both[0] - both[1]) / sample_weight[fold_id == k].sum())
    return np.stack(scores)


@program()
def _deviances(loss: Loss, target: object, eta: jax.Array, weights: jax.Array) -> jax.Array:
    """Total deviance (W, B) of predictions (B, n) under weights (W, n)."""

    def one(w: jax.Array, eta: jax.Array) -> jax.Array:
        return per_sample(w, loss.weighing(w).deviance(eta, target))

    return jax.lax.map(lambda w: jax.lax.map(lambda eta: one(w, eta), eta), weights)


def _unpenalized(problem: Problem) -> np.ndarray:
    return np.flatnonzero(problem.factor == 0)


def _null_models(problem: Problem) -> tuple[np.ndarray, np.ndarray]:
    """Slopes (F, u, …) and intercepts (F, …) of the null models, for X as it was given."""
    unpenalized = _unpenalized(problem)
    null = np.asarray(problem.null.coef)
    scale, mean = (np.asarray(part)[:, unpenalized] for part in (problem.views.scale, problem.views.mean))
    slopes = null[:, 1:] / scale.reshape(*scale.shape, *[1] * (null.ndim - 2))
    return slopes, null[:, 0] - np.einsum("fu...,fu->f...", slopes, mean)


def _columns_of(problem: Problem, index: np.ndarray) -> np.ndarray:
    """Columns of the data (n, a), made dense in blocks of one width, so that their number compiles nothing."""
    x, width = np.empty((problem.shape[0], index.size)), min(BLOCK, problem.design.shape[1])
    for first in range(0, index.size, width):
        block = np.zeros(width, dtype=np.int64)
        block[: index.size - first] = index[first : first + width]
        found = np.asarray(_columns(problem.design, block))
        x[:, first : first + width] = found[: len(x), : index.size - first]
    return x


@program()
def _columns(design: Design, index: jax.Array) -> jax.Array:
    return design.gather(index, jnp.zeros(index.size))


def held_out_predictors(
    problem: Problem,
    working: np.ndarray,
    slopes: np.ndarray,
    intercepts: np.ndarray,
    fold_id: np.ndarray,
) -> np.ndarray:
    """Linear predictor of each row by the fit that left it out, (n, L · R + 1, …); that of its null model last.

    K products of disjoint rows, which together cost as much as one with all rows. The ever-active columns are made
    dense for it: with tens of thousands of them this copy, (n, a), is the largest array of a cross-validation.

    Args:
        problem: data and null models.
        working: the ever-active columns, (a,).
        slopes: their slopes for X as it was given, (L, F, R, a, …).
        intercepts: (L, F, R, …).
        fold_id: labels of the folds from 0 on, (n,).
    """
    length, many, ratios = slopes.shape[:3]
    null_slopes, null_level = _null_models(problem)
    outputs = slopes.shape[4:]
    eta = np.empty((fold_id.size, length * ratios + 1, *outputs))
    x, z = (_columns_of(problem, index) for index in (working, _unpenalized(problem)))
    for k in range(many - 1):
        rows = fold_id == k
        b = np.moveaxis(slopes[:, k + 1].reshape(length * ratios, working.size, *outputs), 1, 0)
        product = np.tensordot(x[rows], b, axes=1)
        eta[rows, :-1] = product + intercepts[:, k + 1].reshape(length * ratios, *outputs)
        eta[rows, -1] = z[rows] @ null_slopes[k + 1] + null_level[k + 1]
    return eta + np.asarray(problem.data.offset)[: fold_id.size, None]
