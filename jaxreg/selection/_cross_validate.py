"""`cross_validate`: every λ, l1 ratio and fold as one batch."""

from typing import Any

import jax
import numpy as np

from jaxreg.linear import fit
from jaxreg.linear.arguments import linear_data, mixes, tolerance
from jaxreg.linear.grid import make_grid
from jaxreg.losses import Loss, Squared
from jaxreg.path import Progress, make_paths, make_problem, original_scale, reporter, warn
from jaxreg.penalties import L1, Elastic, ElasticNet
from jaxreg.selection._folds import check_folds, make_folds, training_weights
from jaxreg.selection._measures import MEASURES, find_measure
from jaxreg.selection._selection import Selection


def cross_validate(
    X: Any,
    y: Any,
    *,
    loss: Loss | None = None,
    penalty: Elastic | None = None,
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

    Args:
        X: as for `fit_path`, like everything down to `progress`.
        y: target, (n,).
        loss: `Squared()` unless given.
        penalty: `L1()` unless given; `ElasticNet()` with `l1_ratios`.
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
    tol, mix, name = tolerance(tol), mixes(penalty, l1_ratios), find_measure(measure, loss)
    with jax.enable_x64(True):
        data = linear_data(X, y, loss, penalty, sample_weight, offset, dtype)
        n = len(data.target)
        labels = make_folds(data.target, folds, seed, loss) if fold_id is None else check_folds(fold_id, n)
        weights = training_weights(labels, data.sample_weight, data.target, loss)
        problem = make_problem(data, loss, weights, intercept, standardize)
        grid = np.stack([make_grid(problem, r, lams, lam_min_ratio) for r in mix])
        fits = fit(problem, grid * mix[:, None], grid * (1 - mix[:, None]), tol, reporter(progress))
        paths = make_paths(problem, fits, penalty, mix, grid)
        slopes, intercepts = original_scale(problem, fits)
        x = np.asarray(data.design.X)[:, fits.working].astype(np.float64)
        sizes, scores = [], []
        # Each row is predicted by the one fit that left it out: K products that add up to a single one.
        for k in range(weights.shape[0] - 1):
            rows = labels == k
            b = slopes[:, k + 1].reshape(-1, fits.working.size)
            eta = x[rows] @ b.T + intercepts[:, k + 1].reshape(-1) + data.offset[rows, None]
            scores.append(MEASURES[name].score(loss, eta, data.target[rows], data.sample_weight[rows]))
            sizes.append(data.sample_weight[rows].sum())
    warn(fits.result)

    def by_ratio(values: np.ndarray) -> np.ndarray:
        """(L, F, R) of all training sets to (R, K, L) of the folds, without R if no ratios were asked for."""
        moved = np.moveaxis(values[:, 1:], (0, 1, 2), (2, 1, 0))
        return moved[0] if l1_ratios is None else moved

    score = np.stack(scores).reshape(len(sizes), *fits.gap.shape[::2]).transpose(2, 0, 1)
    return Selection(
        lams=grid[0] if l1_ratios is None else grid,
        scores=score[0] if l1_ratios is None else score,
        measure=name,
        fold_id=labels,
        fold_size=np.array(sizes),
        paths=tuple(paths),
        fold_index=fits.working,
        fold_slopes=np.moveaxis(slopes[:, 1:], (0, 1, 2), (2, 1, 0)),
        fold_intercept=by_ratio(intercepts),
        fold_gap=by_ratio(fits.gap),
        fold_result=by_ratio(fits.result),
        l1_ratios=None if l1_ratios is None else mix,
    )
