"""`cross_validate`: every λ, l1 ratio and fold as one batch."""

from typing import Any

import jax
import numpy as np

from jaxreg._threads import one_lapack_thread
from jaxreg.linear.active.leave_one_out import leave_one_out
from jaxreg.linear.arguments import linear_data, tolerance
from jaxreg.losses import Loss, Squared
from jaxreg.losses._base import Coupled
from jaxreg.path import Progress, fit_all, make_paths, make_problem, original_scale, reporter, shares, warn
from jaxreg.penalties import L1, ElasticNet, Penalty
from jaxreg.selection._folds import check_folds, check_leave_one_out, make_folds, training_weights
from jaxreg.selection._measures import MEASURES, check_measure, find_measure
from jaxreg.selection._scores import score_coupled, score_folds
from jaxreg.selection._selection import Selection


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
        y: target, as for `fit_path`.
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
        folds: number of folds, dealt at random; by class where y has classes, and by event for `Cox`.
        fold_id: instead of that, the fold of every row, (n,) integers.
        measure: "mse" (default for squared loss), "deviance" (for others), "mae", "error" or "auc". Those of several
            outputs are summed over them. The deviance of a fold under `Cox` is what it adds: that of all rows less that
            of the training rows, by the same fit (Verweij & van Houwelingen 1993).
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
        data = linear_data(X, y, loss, penalty, sample_weight, offset, dtype, intercept=intercept)
        mix = shares(penalty, l1_ratios)
        n = len(data.target)
        labels = make_folds(data.target, folds, seed, loss) if fold_id is None else check_folds(fold_id, n)
        closed = data.target.ndim == 1 and _has_closed_form(loss, mix, lams, labels)
        if closed:
            check_leave_one_out(labels, data.sample_weight, data.target, loss, intercept)
            weights = data.sample_weight[None]
        else:
            weights = training_weights(labels, data.sample_weight, data.target, loss, intercept)
        check_measure(name, data.target, data.sample_weight, labels)
        problem = make_problem(data, loss, weights, intercept, standardize)
        grid, fits = fit_all(problem, data.penalty, mix, lams, lam_min_ratio, tol, reporter(progress))
        paths = make_paths(problem, fits, penalty, mix, grid)
        fitted: dict[str, np.ndarray] = {}
        if closed:
            rows = np.argsort(labels)
            with one_lapack_thread():
                eta = leave_one_out(problem, grid)[rows]
            scores = MEASURES[name].of_rows(loss, eta, data.target[rows])
        else:
            slopes, intercepts = original_scale(problem, fits)
            judge = score_coupled if isinstance(loss, Coupled) else score_folds
            scores = judge(name, problem, fits.working, slopes, intercepts, data.sample_weight, labels)
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
