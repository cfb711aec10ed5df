"""`fit_path`: a linear model at every strength."""

import dataclasses
import functools
import warnings
from collections.abc import Callable
from typing import Any, Self

import jax
import jax.numpy as jnp
import numpy as np

from jaxreg._result import describe_failures
from jaxreg.linear import Fits, Problem, fit
from jaxreg.linear.arguments import LinearData, linear_data, mixes, tolerance
from jaxreg.linear.design import is_sparse
from jaxreg.linear.generic import fit_generic, generic_lam_max
from jaxreg.linear.grid import make_grid, spread
from jaxreg.linear.groups.fit import fit_groups
from jaxreg.linear.groups.fit import works as in_groups
from jaxreg.linear.kinks.fit import fit_kinks
from jaxreg.linear.responses import df_of_responses, falls_apart, fit_responses, response_penalty
from jaxreg.linear.targets import offsets
from jaxreg.losses import Loss, Squared
from jaxreg.losses._base import Coupled, Nonsmooth
from jaxreg.penalties import L1, Elastic, ElasticNet, Penalty
from jaxreg.plots import PathDisplay

Progress = bool | Callable[[int, int], None]


@dataclasses.dataclass(frozen=True, eq=False)
class Path:
    """Fits of a linear model along strengths λ, in decreasing order. Arrays are numpy's.

    Attributes:
        lams: strengths, (L,).
        coef: coefficients on the scale of the X that was given, (L, p); (L, p, k) where a sample has k outputs: several
            responses, or the classes of `Multinomial`.
        intercept: (L,) or (L, k), 0 if none was fitted.
        gap: duality gap relative to the null model's objective, (L,); NaN where no dual bound is known (λ = 0, and
            penalties that are not convex or have no conjugate).
        kkt: largest residual of the optimality condition, relative to the gradient at the null model, (L,).
        df: effective degrees of freedom without the intercept, (L,); for the lasso the number of nonzeros. NaN for
            penalties that are not elastic.
        deviance_ratio: share of the deviance of intercept and offset alone that is explained, (L,).
        result: how each problem ended, (L,), see `Result`.
        loss: the loss.
        penalty: the penalty, at the strength it was given with.
        stats: what the engine counted: inner steps (of a lasso's path, most often, the breakpoints since the λ before),
            and the number of columns that were ever active; and which solver it was: "active set", "group working set",
            "splitting" (losses with kinks) or "generic".
    """

    lams: np.ndarray
    coef: np.ndarray
    intercept: np.ndarray
    gap: np.ndarray
    kkt: np.ndarray
    df: np.ndarray
    deviance_ratio: np.ndarray
    result: np.ndarray
    loss: Loss
    penalty: Penalty
    stats: dict[str, Any]

    @property
    def nonzero(self) -> np.ndarray:
        """Number of features with a nonzero coefficient, (L,)."""
        return _used(self.coef).sum(axis=1)

    def coef_at(self, lam: float) -> tuple[np.ndarray, Any]:
        """Coefficients (p, …) and intercept at a strength, linearly interpolated between grid points.

        Raises:
            ValueError: if `lam` is outside the grid.
        """
        low, high = self.lams[-1], self.lams[0]
        if not low * (1 - 1e-9) <= lam <= high * (1 + 1e-9):
            raise ValueError(f"lam must be within the path, from {low:g} to {high:g}, got {lam:g}")
        lam = float(np.clip(lam, low, high))
        after = int(np.searchsorted(-self.lams, -lam))
        before = max(after - 1, 0)
        if self.lams[after] == lam or before == after:
            return self.coef[after].copy(), self.intercept[after]
        share = (self.lams[before] - lam) / (self.lams[before] - self.lams[after])
        coef = (1 - share) * self.coef[before] + share * self.coef[after]
        return coef, (1 - share) * self.intercept[before] + share * self.intercept[after]

    def predict(self, X: Any, lam: float | None = None, kind: str = "mean", offset: Any = None) -> np.ndarray:
        """Predict for new rows.

        Args:
            X: (n, p), dense or scipy.sparse.
            lam: a strength; None for all of them.
            kind: "mean" for the expected target (a probability for the logistic loss, those of all classes for the
                multinomial, a relative hazard for Cox), "link" for the linear predictor.
            offset: (n,) or (n, k), added to the linear predictor.

        Returns:
            (n,) for one strength, (n, L) for all; (n, k) and (n, L, k) where a sample has k outputs.

        Raises:
            ValueError: if shapes disagree, `lam` is outside the grid, or `kind` is unknown.
        """
        X = X if is_sparse(X) else np.asarray(X, dtype=np.float64)
        if X.ndim != 2 or X.shape[1] != self.coef.shape[1]:
            raise ValueError(f"X must have shape (rows, {self.coef.shape[1]}), got {X.shape}")
        coef, intercept = (self.coef, self.intercept) if lam is None else self.coef_at(lam)
        coef = np.moveaxis(np.asarray(coef), -1 if self.coef.ndim == 2 else -2, 0)
        link = (X @ coef.reshape(len(coef), -1)).reshape(-1, *coef.shape[1:]) + intercept
        if offset is not None:
            outputs = self.coef.shape[2:]
            shift = offsets(offset, X.shape[0], outputs)
            link = link + (shift if lam is not None else shift[:, None])
        return _as_kind(self.loss, link, kind)

    def plot(self, **options: Any) -> PathDisplay:
        """Draw the coefficients along λ (extra `plot`); options are those of `PathDisplay.from_path`."""
        return PathDisplay.from_path(self, **options)

    def __repr__(self) -> str:
        """One line that says what was fitted."""
        return (
            f"Path({type(self.loss).__name__} + {type(self.penalty).__name__}, {len(self.lams)} λ from "
            f"{self.lams[0]:.4g} to {self.lams[-1]:.4g}, up to {self.nonzero.max()} of {self.coef.shape[1]} features)"
        )

    def replace(self, **changes: Any) -> Self:
        """Return a copy with some fields changed."""
        return dataclasses.replace(self, **changes)


def fit_path(
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
) -> Path:
    """Fit a linear model at every strength: min (1/Σw) Σ wᵢ ℓ(xᵢᵀb + b₀ + oᵢ, yᵢ) + g_λ(b).

    With `standardize`, each column is divided by its weighted standard deviation (dividing by Σw, as glmnet
    does) before it is penalized; coefficients are returned on the original scale. A constant column has
    coefficient 0. Of duplicate columns any split of their common coefficient is a solution, and one is
    returned. All arithmetic is float64, whatever JAX's global setting, and every solution is certified.

    Args:
        X: features, (n, p): numpy or JAX array, data frame of numbers, or scipy.sparse array or matrix, which is
            centered and scaled without being filled.
        y: target, (n,); 0 or 1 for `Logistic`; (n, k) for k responses, over which the loss is summed; labels 0 … k − 1
            or shares (n, k) for `Multinomial`; columns time, event[, start, strata] for `Cox`, which has no intercept.
        loss: any smooth one, `Squared()` unless given.
        penalty: `L1()` unless given; any but `Masked` and `Blocks`. `L1`, `L2` and `ElasticNet`, with penalty factors
            as their `weight`, are solved by active sets; `GroupLasso`, `SparseGroupLasso`, `GroupMCP`, `GroupSCAD`,
            `MCP` and `SCAD` by working sets of groups; all else by accelerated proximal gradients, which is slower and
            certified alike. Where a sample has k outputs, coefficients are (p, k): `L21` keeps or drops features for
            all outputs together, by working sets, as `GroupLasso` does with groups of them (for squared error with an
            `L2` beside them, too), and a weight of p factors is that of the rows; penalties of single entries go the
            way of one output if the loss adds outputs up, and to the gradients if not (`Multinomial`). Its own
            strength is not used; those of the members of a sum are, as relative ones. A solution of one that is not
            convex is stationary: near that of the λ before, or (`MCP`, `SCAD` and their group forms) the lowest of
            those found from several starts.
        lams: number of strengths, or the strengths in any order; they come back in decreasing order.
        lam_min_ratio: smallest strength as a share of the largest, for a number of strengths.
        sample_weight: weights w ≥ 0, (n,).
        offset: offsets o on the link scale, (n,), or (n, k) for k outputs.
        intercept: whether to fit b₀, which is never penalized; without it, columns are not centered.
        standardize: whether to penalize standardized columns.
        tol: bound on the relative duality gap.
        dtype: storage of X, float32 or float64; that of X unless given. It halves the memory, not the precision
            of the arithmetic.
        progress: True to print progress, or a function of (λ done, λ in all).

    Returns:
        A `Path`. Problems that miss `tol` say so in `result`, and warn once with how many.

    Raises:
        TypeError: if something is not of its kind.
        ValueError: if shapes disagree or a value is NaN, infinite or outside its domain.

    >>> from jaxreg.datasets import load_diabetes
    >>> X, y, _ = load_diabetes()
    >>> fit_path(X, y)
    Path(Squared + L1, 100 λ from 45.16 to 0.04516, up to 10 of 10 features)
    """
    loss, penalty = loss or Squared(), penalty or L1()
    tol = tolerance(tol)
    with jax.enable_x64(True):
        data = linear_data(X, y, loss, penalty, sample_weight, offset, dtype, intercept=intercept)
        problem = make_problem(data, loss, data.sample_weight[None], intercept, standardize)
        mix = shares(penalty, None)
        grid, fits = fit_all(problem, data.penalty, mix, lams, lam_min_ratio, tol, reporter(progress))
        path = make_paths(problem, fits, penalty, mix, grid)[0]
    warn(path.result)
    return path


def shares(penalty: Penalty, l1_ratios: Any) -> np.ndarray:
    """L1 ratios to fit, (R,), as `mixes` gives them; one NaN for a penalty that is not elastic."""
    return mixes(penalty, l1_ratios) if isinstance(penalty, Elastic) or l1_ratios is not None else np.full(1, np.nan)


def fit_all(
    problem: Problem,
    penalty: Penalty,
    mix: np.ndarray,
    lams: Any,
    lam_min_ratio: float | None,
    tol: float,
    report: Callable[[int, int], None] | None,
) -> tuple[np.ndarray, Fits]:
    """Strengths (R, L), and the fits at them: by the solver that suits the penalty."""
    solver = _solver(problem, penalty)
    if solver == "active set":
        grid = np.stack([make_grid(problem, r, lams, lam_min_ratio) for r in mix])
        l1, l2 = grid * mix[:, None], grid * (1 - mix[:, None])
        return grid, fit_responses(problem, lambda one, report: fit(one, l1, l2, tol, report), tol, report)
    if solver == "group working set":
        lams = spread(problem, functools.partial(generic_lam_max, problem, penalty), lams, lam_min_ratio)
        if in_groups(problem, penalty):
            return lams[None], fit_groups(problem, penalty, lams, tol, report)
        alone = response_penalty(penalty)
        return lams[None], fit_responses(
            problem, lambda one, report: fit_groups(one, alone, lams, tol, report), tol, report
        )
    grids, fits = [], []
    for r in mix:
        one = _with_mix(penalty, r)
        grids.append(spread(problem, functools.partial(generic_lam_max, problem, one), lams, lam_min_ratio))
        solve = fit_kinks if isinstance(problem.loss, Nonsmooth) else fit_generic
        fits.append(solve(problem, one, grids[-1], tol, report))
    joined = (np.concatenate(parts, axis=2) for parts in list(zip(*fits, strict=True))[1:])
    return np.stack(grids), Fits(fits[0].working, *joined)


def _solver(problem: Problem, penalty: Penalty) -> str:
    if isinstance(penalty, Elastic) and falls_apart(problem, penalty):
        return "active set"
    if isinstance(problem.loss, Nonsmooth):
        return "splitting"
    return "group working set" if in_groups(problem, penalty) or falls_apart(problem, penalty) else "generic"


def make_problem(data: LinearData, loss: Loss, weights: np.ndarray, intercept: bool, standardize: bool) -> Problem:
    """Standardize for every training set, given by its sample weights (F, n), and fit the null models."""
    return Problem.make(data, loss, weights, bool(intercept), bool(standardize))


def original_scale(problem: Problem, fits: Fits, sets: slice = slice(None)) -> tuple[np.ndarray, np.ndarray]:
    """Slopes (L, F, R, a, …) of the ever-active columns and intercepts (L, F, R, …) for X as it was given."""
    scale, mean = (np.asarray(part)[sets, fits.working] for part in (problem.views.scale, problem.views.mean))
    slopes = fits.slopes[:, sets] / scale.reshape(1, scale.shape[0], 1, -1, *[1] * (fits.slopes.ndim - 4))
    if isinstance(problem.loss, Coupled):
        return slopes, np.zeros_like(fits.intercept[:, sets])
    return slopes, fits.intercept[:, sets] - np.einsum("lfra...,fa->lfr...", slopes, mean)


def make_paths(problem: Problem, fits: Fits, penalty: Penalty, mix: np.ndarray, grid: np.ndarray) -> list[Path]:
    """One `Path` per l1 ratio, of the first training set."""
    slopes, intercepts = original_scale(problem, fits, slice(1))
    p, null_deviance = problem.shape[1], float(np.asarray(problem.null.deviance)[0])
    deviance = fits.deviance[:, 0]
    paths = []
    for r in range(len(mix)):
        coef = np.zeros((len(fits.slopes), p, *slopes.shape[4:]))
        coef[:, fits.working] = slopes[:, 0, r]
        df = fits.df[:, 0, r]
        generic = _solver(problem, penalty) != "active set"
        if np.isnan(df).any() and not generic:
            b = np.concatenate([fits.intercept[:, 0, r, None], fits.slopes[:, 0, r]], axis=1)
            df = df_of_responses(problem, fits.working, b, grid[r] * (1 - mix[r]), grid[r] * mix[r])
        paths.append(
            Path(
                lams=grid[r],
                coef=coef,
                intercept=intercepts[:, 0, r],
                gap=fits.gap[:, 0, r],
                kkt=fits.kkt[:, 0, r],
                df=df,
                deviance_ratio=1 - deviance[:, r] / null_deviance if null_deviance > 0 else np.zeros(len(grid[r])),
                result=fits.result[:, 0, r],
                loss=problem.loss,
                penalty=_with_mix(penalty, mix[r]),
                stats={
                    "steps": fits.steps[:, 0, r],
                    "ever_active": int(_used(coef).any(axis=0).sum()) if generic else fits.working.size,
                    "solver": _solver(problem, penalty),
                },
            )
        )
    return paths


def _with_mix(penalty: Penalty, mix: float) -> Penalty:
    return dataclasses.replace(penalty, l1_ratio=float(mix)) if isinstance(penalty, ElasticNet) else penalty


def _used(coef: np.ndarray) -> np.ndarray:
    """Which features (L, p) have a nonzero coefficient, for any output."""
    return (coef != 0).reshape(*coef.shape[:2], -1).any(axis=2)


def _as_kind(loss: Loss, link: np.ndarray, kind: str) -> np.ndarray:
    if kind == "link":
        return link
    if kind != "mean":
        raise ValueError(f'kind must be "mean" or "link", got {kind!r}')
    with jax.enable_x64(True):
        return np.asarray(loss.mean(jnp.asarray(link)))


def reporter(progress: Progress) -> Callable[[int, int], None] | None:
    """Turn the `progress` argument into a function, or None."""
    if callable(progress):
        return progress
    if not progress:
        return None
    return lambda done, total: print(f"\r{done}/{total} strengths", end="\n" if done == total else "", flush=True)


def warn(result: np.ndarray) -> None:
    """Warn once, with how many problems ended how."""
    failures = describe_failures(result)
    if failures:
        message = f"of {result.size} problems: {failures}; see .result, .gap and .kkt"
        warnings.warn(message, RuntimeWarning, stacklevel=3)
