"""`cross_validate`: every λ, l1 ratio and fold as one batch."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxreg._programs import program
from jaxreg._threads import one_lapack_thread
from jaxreg.linear import Problem
from jaxreg.linear.arguments import linear_data, tolerance
from jaxreg.linear.design import Design
from jaxreg.linear.leave_one_out import leave_one_out
from jaxreg.losses import Loss, Squared
from jaxreg.path import Progress, fit_all, make_paths, make_problem, original_scale, reporter, shares, warn
from jaxreg.penalties import L1, ElasticNet, Penalty
from jaxreg.selection._folds import check_folds, check_leave_one_out, make_folds, training_weights
from jaxreg.selection._measures import MEASURES, check_measure, find_measure
from jaxreg.selection._selection import Selection

BLOCK = 256
"""Columns made dense at once."""


def cross_validate(
    X: Any,
    y: Any,
    *,
    loss: Loss | None = None,
    penalty: Penalty | None = None,
    lams: Any = 100,
    lam_min_ratio: float | None = None,
    sample_weight: Any = None,
    offset: Any = None,
    intercept: bool = True,
    standardize: bool = True,
    tol: float = 1e-6,
    dtype: Any = None,
    progress: Progress = False,
    folds: int = 10,
    fold_id: Any = None,
    measure: str | None = None,
    l1_ratios: Any = None,
    seed: int = 0,
) -> Selection:
    """Choose the strength by K-fold cross-validation: all λ, l1 ratios and folds, and the fit to all rows, at once.

    Each training set is centered and standardized by its own moments, so that nothing leaks from the rows
    that it holds out; all use the grid of the fit to all rows. Scores are averaged over folds by their total
    sample weight, as glmnet does.

    Leave-one-out (`folds=n`) of ridge with squared loss is done in closed form, from the fit to all rows: no fold is
    fitted, and none of `fold_coef`, `fold_gap` and their kin exist. There the columns keep the scale that they
    have over all rows, as in scikit-learn's RidgeCV, since only for a fixed penalty there is a closed form; with
    `standardize=False` this is the same. Every training set still has its own intercept, and its own total
    weight in the mean that λ stands beside (so that λ is RidgeCV's alpha / (n − 1)).

    Args:
        X: as for `fit_path`, like everything down to `progress`.
        y: target, (n,).
        loss: `Squared()` unless given.
        penalty: `L1()` unless given; `ElasticNet()` with `l1_ratios`; any other, as for `fit_path`.
        lams: number of strengths, or the strengths.
        lam_min_ratio: smallest strength as a share of the largest.
        sample_weight: weights, (n,).
        offset: offsets, (n,).
        intercept: whether to fit an intercept.
        standardize: whether to penalize standardized columns.
        tol: bound on the relative duality gap, of every fit in every fold.
        dtype: storage of X.
        progress: True, or a function of (λ done, λ in all).
        folds: number of folds, dealt at random; by class for the logistic loss.
        fold_id: instead of that, the fold of every row, (n,) integers.
        measure: "mse" (default for squared loss), "deviance" (for others), "mae", "error" or "auc".
        l1_ratios: mixes of the elastic net to compare, (R,).
        seed: of the deal.

    Returns:
        A `Selection`.

    Raises:
        TypeError: if something is not of its kind.
        ValueError: if shapes disagree, a value is outside its domain, or a training set has nothing to learn.

    >>> from jaxreg.datasets import load_diabetes
    >>> X, y, _ = load_diabetes()
    >>> cross_validate(X, y)
    Selection(10 folds, lam_min=... keeps ... of 10 features)
    """
    loss = loss or Squared()
    penalty = penalty or (L1() if l1_ratios is None else ElasticNet())
    tol, name = tolerance(tol), find_measure(measure, loss)

    def by_ratio(values: np.ndarray) -> np.ndarray:
        """(L, F, R) of all training sets to (R, K, L) of the folds, without R if no ratios were asked for."""
        moved = np.moveaxis(values[:, 1:], (0, 1, 2), (2, 1, 0))
        return moved[0] if l1_ratios is None else moved

    with jax.enable_x64(True):
        data = linear_data(X, y, loss, penalty, sample_weight, offset, dtype)
        mix = shares(penalty, l1_ratios)
        n = len(data.target)
        labels = make_folds(data.target, folds, seed, loss) if fold_id is None else check_folds(fold_id, n)
        closed = _has_closed_form(loss, mix, lams, labels)
        if closed:
            check_leave_one_out(labels, data.sample_weight, data.target, loss)
            weights = data.sample_weight[None]
        else:
            weights = training_weights(labels, data.sample_weight, data.target, loss)
        check_measure(name, data.target, data.sample_weight, labels)
        problem = make_problem(data, loss, weights, intercept, standardize)
        grid, fits = fit_all(problem, penalty, mix, lams, lam_min_ratio, tol, reporter(progress))
        paths = make_paths(problem, fits, penalty, mix, grid)
        fitted: dict[str, np.ndarray] = {}
        if closed:
            rows = np.argsort(labels)
            with one_lapack_thread():
                eta = leave_one_out(problem, grid)[rows]
            scores = MEASURES[name].of_rows(loss, eta, data.target[rows])
        else:
            slopes, intercepts = original_scale(problem, fits)
            eta = held_out_predictors(problem, fits.working, slopes, intercepts, data.offset, labels)
            scores = MEASURES[name].scores(loss, eta, data.target, data.sample_weight, labels)
            fitted = {
                "fold_index": fits.working,
                "fold_slopes": np.moveaxis(slopes[:, 1:], (0, 1, 2), (2, 1, 0)),
                "fold_intercept": by_ratio(intercepts),
                "fold_gap": by_ratio(fits.gap),
                "fold_result": by_ratio(fits.result),
            }
    warn(fits.result)

    # (K, L·R) without the null model, which stands last.
    score = scores[:, :-1].reshape(-1, *fits.gap.shape[::2]).transpose(2, 0, 1)
    return Selection(
        lams=grid[0] if l1_ratios is None else grid,
        scores=score[0] if l1_ratios is None else score,
        null_scores=scores[:, -1],
        measure=name,
        fold_id=labels,
        fold_size=np.bincount(labels, weights=data.sample_weight),
        paths=tuple(paths),
        l1_ratios=None if l1_ratios is None else mix,
        **fitted,
    )


def _has_closed_form(loss: Loss, mix: np.ndarray, lams: Any, fold_id: np.ndarray) -> bool:
    """Whether this is ridge with squared error, every row a fold of its own, and every strength positive."""
    leave_one_out = int(fold_id.max()) + 1 == fold_id.size
    return leave_one_out and isinstance(loss, Squared) and not mix.any() and bool(np.all(np.asarray(lams) > 0))


def held_out_predictors(
    problem: Problem,
    working: np.ndarray,
    slopes: np.ndarray,
    intercepts: np.ndarray,
    offset: np.ndarray,
    fold_id: np.ndarray,
) -> np.ndarray:
    """Linear predictor of each row by the fit that left it out, (n, L · R + 1); that of its null model last.

    K products of disjoint rows, which together cost as much as one with all rows. The ever-active columns are made
    dense for it: with tens of thousands of them this copy, (n, a), is the largest array of a cross-validation.

    Args:
        problem: data and null models.
        working: the ever-active columns, (a,).
        slopes: their slopes for X as it was given, (L, F, R, a).
        intercepts: (L, F, R).
        offset: (n,).
        fold_id: labels of the folds from 0 on, (n,).
    """
    length, many, ratios, _ = slopes.shape
    unpenalized = np.flatnonzero(problem.factor == 0)
    null = np.asarray(problem.null.coef)
    null_slopes = null[:, 1:] / np.asarray(problem.views.scale)[:, unpenalized]
    null_level = null[:, 0] - np.sum(null_slopes * np.asarray(problem.views.mean)[:, unpenalized], axis=1)

    def columns_of(index: np.ndarray) -> np.ndarray:
        # Blocks of one width, so that their number compiles nothing.
        x, width = np.empty((problem.shape[0], index.size)), min(BLOCK, problem.design.shape[1])
        for first in range(0, index.size, width):
            block = np.zeros(width, dtype=np.int64)
            block[: index.size - first] = index[first : first + width]
            found = np.asarray(_columns(problem.design, block))
            x[:, first : first + width] = found[: len(x), : index.size - first]
        return x

    eta = np.empty((fold_id.size, length * ratios + 1))
    x = columns_of(working)
    z = columns_of(unpenalized)
    for k in range(many - 1):
        rows = fold_id == k
        b = slopes[:, k + 1].reshape(length * ratios, -1) if working.size else np.zeros((length * ratios, 0))
        eta[rows, :-1] = x[rows] @ b.T + intercepts[:, k + 1].reshape(-1)
        eta[rows, -1] = z[rows] @ null_slopes[k + 1] + null_level[k + 1]
    return eta + offset[:, None]


@program()
def _columns(design: Design, index: jax.Array) -> jax.Array:
    return design.gather(index, jnp.zeros(index.size))
