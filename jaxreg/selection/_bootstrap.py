"""`bootstrap`: the whole path refitted to resampled rows, many times over, as one batch."""

import dataclasses
from collections.abc import Callable
from functools import cached_property
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxreg import _check
from jaxreg.linear.arguments import linear_data, tolerance
from jaxreg.linear.targets import check_target
from jaxreg.losses import Loss, Squared
from jaxreg.path import Path, Progress, fit_all, make_paths, make_problem, original_scale, reporter, shares, warn
from jaxreg.penalties import L1, Penalty

BLOCK = 2**27
"""Bytes that the Grams and predictions of the replicates fitted at once may take; temporaries come on top."""
DRAWS = 1000
"""How often a replicate may be drawn again, where nothing can be learnt from it."""
Report = Callable[[int, int], None]


@dataclasses.dataclass(frozen=True, eq=False)
class Bootstrap:
    """Fits along λ to rows drawn with replacement: how much would change with another sample. Arrays are numpy's.

    Attributes:
        lams: strengths in decreasing order, (L,).
        path: the fit to all rows, whose strengths every replicate uses.
        index: columns that are ever active, (a,).
        slopes: coefficients of these in every replicate, on the scale of X, (B, L, a); (B, L, a, k) where a sample
            has k outputs, and so below.
        intercept: intercepts, (B, L), or (B, L, k).
        gap: relative duality gap of every fit, (B, L).
        kkt: relative residual of every fit's optimality condition, (B, L).
        result: how every fit ended, (B, L), see `Result`.
        counts: how often each replicate drew each row, (B, n).
    """

    lams: np.ndarray
    path: Path
    index: np.ndarray
    slopes: np.ndarray
    intercept: np.ndarray
    gap: np.ndarray
    kkt: np.ndarray
    result: np.ndarray
    counts: np.ndarray

    @property
    def coef(self) -> np.ndarray:
        """Coefficients of every replicate on the scale of X, (B, L, p): made anew from `slopes` each time."""
        return self._wide(self.slopes)

    @cached_property
    def selected(self) -> np.ndarray:
        """Share of replicates in which each coefficient is not zero, (L, p)."""
        return self._wide((self.slopes != 0).mean(axis=0))

    def coef_at(self, lam: float) -> tuple[np.ndarray, np.ndarray]:
        """Coefficients (B, p) and intercepts (B,) at a strength, linearly interpolated between grid points.

        Raises:
            ValueError: if `lam` is outside the grid.
        """
        slopes, intercept = self._at(lam)
        return self._wide(slopes), intercept

    def std(self, lam: float | None = None) -> np.ndarray:
        """Bootstrap standard errors, dividing by B − 1: (p,) at a strength, (L, p) at all of them.

        Raises:
            ValueError: if `lam` is outside the grid, or there is only one replicate.
        """
        self._refuse_one("a standard error")
        slopes = self.slopes if lam is None else self._at(lam)[0]
        return self._wide(slopes.std(axis=0, ddof=1))

    def interval(self, level: float = 0.95, lam: float | None = None) -> np.ndarray:
        """Percentile intervals: lower and upper ends, (2, p) at a strength, (2, L, p) at all of them.

        They tell how the penalized estimate varies from sample to sample. It is shrunken, and so are they: they
        do not cover the true coefficient at the stated level.

        Args:
            level: share of replicates inside, between 0 and 1.
            lam: a strength; None for all of them.

        Raises:
            ValueError: if `level` is not between 0 and 1, `lam` is outside the grid, or there is one replicate.

        Source: Efron & Tibshirani (1993), "An Introduction to the Bootstrap", chapter 13.
        """
        _check.number("level", level)
        if not 0 < level < 1:
            raise ValueError(f"level must be between 0 and 1, got {level:g}")
        self._refuse_one("an interval")
        slopes = self.slopes if lam is None else self._at(lam)[0]
        tail = round((1 - level) / 2, 12)  # 0.1, not 0.09999…: a draw that is exactly 0 stays so
        return self._wide(np.quantile(slopes, [tail, 1 - tail], axis=0))

    def _wide(self, values: np.ndarray) -> np.ndarray:
        """Values (…, a) or (…, a, k) of the ever-active columns among all, (…, p) or (…, p, k)."""
        p, *outputs = self.path.coef.shape[1:]
        lead = values.shape[: values.ndim - 1 - len(outputs)]
        full = np.zeros((*lead, p, *outputs))
        np.moveaxis(full, len(lead), 0)[self.index] = np.moveaxis(values, len(lead), 0)
        return full

    def _at(self, lam: float) -> tuple[np.ndarray, np.ndarray]:
        low, high = self.lams[-1], self.lams[0]
        if not low * (1 - 1e-9) <= lam <= high * (1 + 1e-9):
            raise ValueError(f"lam must be within the path, from {low:g} to {high:g}, got {lam:g}")
        place = np.interp(-lam, -self.lams, np.arange(self.lams.size))
        before, after = int(np.floor(place)), int(np.ceil(place))
        share = place - before
        slopes, intercept = (
            (1 - share) * part[:, before] + share * part[:, after] for part in (self.slopes, self.intercept)
        )
        return slopes, intercept

    def _refuse_one(self, what: str) -> None:
        if len(self.slopes) < 2:
            raise ValueError(f"{what} needs at least 2 replicates, got 1")

    def __repr__(self) -> str:
        """One line that says what was fitted."""
        loss, penalty = type(self.path.loss).__name__, type(self.path.penalty).__name__
        return (
            f"Bootstrap({loss} + {penalty}, {len(self.slopes)} replicates × {self.lams.size} λ from "
            f"{self.lams[0]:.4g} to {self.lams[-1]:.4g}, {self.index.size} of {self.path.coef.shape[1]} features "
            "ever selected)"
        )


def bootstrap(
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
    replicates: int = 1000,
    seed: int = 0,
) -> Bootstrap:
    """Refit the path to rows drawn with replacement: all replicates and strengths as one batch, each certified.

    A replicate draws as many rows as there are (of positive weight), each with the same chance. It is never
    copied out of X: rows count as often as they were drawn, times their sample weight. Each replicate is centered
    and standardized by its own moments; all use the strengths of the fit to all rows. A replicate from which
    nothing can be learnt, because it drew only one class or one value of y, is drawn again. Where the Grams of
    all replicates would fill the memory, blocks of replicates are fitted one after another.

    Args:
        X: as for `fit_path`, like everything down to `progress`.
        y: target.
        loss: `Squared()` unless given.
        penalty: `L1()` unless given; any that `fit_path` takes.
        lams: number of strengths, or the strengths.
        lam_min_ratio: smallest strength as a share of the largest.
        sample_weight: weights, (n,).
        offset: offsets, (n,).
        intercept: whether to fit an intercept.
        standardize: whether to penalize standardized columns.
        tol: bound on the relative duality gap, of every fit.
        dtype: storage of X.
        progress: True, or a function of (λ done, λ in all), over all blocks.
        replicates: number of replicates B.
        seed: of the draws: the same seed gives the same replicates.

    Returns:
        A `Bootstrap`. Problems that miss `tol` say so in `result`, and warn once with how many.

    Raises:
        TypeError: if something is not of its kind.
        ValueError: if shapes disagree or a value is NaN, infinite or outside its domain.

    Source: Efron (1979), "Bootstrap methods: another look at the jackknife", Annals of Statistics 7.

    >>> from jaxreg.datasets import load_diabetes
    >>> X, y, names = load_diabetes()
    >>> boot = bootstrap(X, y, replicates=20, lams=20)
    >>> boot
    Bootstrap(Squared + L1, 20 replicates × 20 λ from 45.16 to 0.04516, 10 of 10 features ever selected)
    >>> boot.interval(0.9, lam=5.0).shape
    (2, 10)
    """
    loss, penalty = loss or Squared(), penalty or L1()
    tol = tolerance(tol)
    if isinstance(replicates, (bool, str)) or int(replicates) != replicates:
        raise TypeError(f"replicates must be an integer, got {replicates!r}")
    if replicates < 1:
        raise ValueError(f"replicates must be at least 1, got {replicates}")
    with jax.enable_x64(True):
        data, mix = (
            linear_data(X, y, loss, penalty, sample_weight, offset, dtype, intercept=intercept),
            shares(penalty, None),
        )
        counts = _draw(int(replicates), data.sample_weight, data.target, loss, seed, intercept)
        blocks = _blocks(len(counts), *data.design.shape)
        report, parts = reporter(progress), []
        for place, block in enumerate(blocks):
            # All rows come first in every block, so that all are of one shape and one working precision.
            weights = np.concatenate([data.sample_weight[None], counts[block] * data.sample_weight])
            problem = make_problem(data, loss, weights, intercept, standardize)
            told = _in_all(report, place, len(blocks))
            grid, fits = fit_all(problem, data.penalty, mix, lams, lam_min_ratio, tol, told)
            if place == 0:
                path, lams = make_paths(problem, fits, penalty, mix, grid)[0], grid[0]
            slopes, intercepts = original_scale(problem, fits)
            each = (slopes, intercepts, fits.gap, fits.kkt, fits.result)
            parts.append(_Part(block, fits.working, *(np.swapaxes(values[:, 1:, 0], 0, 1) for values in each)))
    index, slopes, intercepts, gap, kkt, result = _join(parts)
    warn(np.concatenate([path.result, result.reshape(-1)]))
    return Bootstrap(grid[0], path, index, slopes, intercepts, gap, kkt, result, counts)


def _draw(
    replicates: int, sample_weight: np.ndarray, y: np.ndarray, loss: Loss, seed: int, intercept: bool = True
) -> np.ndarray:
    """How often each replicate draws each row, (B, n)."""
    rng = np.random.default_rng(seed)
    rows = np.flatnonzero(sample_weight > 0)
    counts = np.zeros((replicates, len(y)), dtype=np.int32)
    for b in range(replicates):
        # What most fits need (both classes, two values of y) is in a draw with chance ½ or more.
        for _ in range(DRAWS):
            counts[b] = np.bincount(rng.choice(rows, rows.size), minlength=len(y))
            drawn = y[counts[b] > 0]
            if _can_learn(drawn, loss, intercept) and loss.outputs(drawn) == loss.outputs(y[rows]):
                break
        else:
            raise ValueError(
                f"y has too few rows of some kind: of {DRAWS} draws with replacement none can be fitted by "
                f"{type(loss).__name__}"
            )
    return counts


def _can_learn(y: np.ndarray, loss: Loss, intercept: bool) -> bool:
    try:
        check_target(loss, y, intercept)
    except ValueError:
        return False
    return True


def _blocks(replicates: int, n: int, p: int) -> list[np.ndarray]:
    """Replicates to fit at once: blocks of one size, the last overlapping the one before where they must."""
    each = 8 * ((1 + min(n, p)) ** 2 + 8 * (n + p))
    many = -(-replicates // max(1, BLOCK // each))
    size = -(-replicates // many)
    return [np.arange(size) + min(start, replicates - size) for start in range(0, replicates, size)]


def _in_all(report: Report | None, place: int, blocks: int) -> Report | None:
    """Count the λ of all blocks."""
    if report is None:
        return None
    return lambda done, total: report(place * total + done, blocks * total)


class _Part(NamedTuple):
    """Which replicates, their ever-active columns (a,) and slopes (B, L, a), and per fit (B, L) the rest."""

    block: np.ndarray
    working: np.ndarray
    slopes: np.ndarray
    intercept: np.ndarray
    gap: np.ndarray
    kkt: np.ndarray
    result: np.ndarray


def _join(parts: list[_Part]) -> tuple[np.ndarray, ...]:
    """Columns that are active in any block, and what `_Part` holds for all replicates."""
    replicates = 1 + max(int(part.block[-1]) for part in parts)
    index = np.unique(np.concatenate([part.working for part in parts]))
    length, outputs = parts[0].gap.shape[1], parts[0].slopes.shape[3:]
    slopes = np.zeros((replicates, length, index.size, *outputs))
    rest = [np.empty((replicates, *values.shape[1:]), values.dtype) for values in parts[0][3:]]
    for part in parts:
        slopes[part.block[:, None], :, np.searchsorted(index, part.working)] = np.swapaxes(part.slopes, 1, 2)
        for whole, values in zip(rest, part[3:], strict=True):
            whole[part.block] = values
    return index, slopes, *rest
