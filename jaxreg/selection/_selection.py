"""What cross-validation found."""

import dataclasses
from functools import cached_property
from typing import Any

import numpy as np

from jaxreg.path import Path
from jaxreg.plots import CVDisplay
from jaxreg.selection._measures import MEASURES


@dataclasses.dataclass(frozen=True, eq=False)
class Selection:
    """Held-out scores along λ, and the strengths that they choose. Arrays are numpy's.

    With several l1 ratios, `lams`, `scores`, `mean`, `se`, `lam_min` and `lam_1se` have a leading axis R, and
    `best` is the selection of the winning ratio alone, without that axis.

    Leave-one-out in closed form fits no fold: all that begins with `fold_` is None then, but for `fold_id` and
    `fold_size`, and `fold_coef` raises.

    Attributes:
        lams: strengths in decreasing order, (L,) or (R, L).
        scores: measure of every fold, (K, L) or (R, K, L).
        null_scores: measure of every fold for the null model of its training set (intercept, unpenalized columns
            and offset only), (K,): what every penalty has to beat.
        measure: name of the measure; see `MEASURES`.
        fold_id: fold of every row, (n,).
        fold_size: total sample weight of every fold, (K,), by which folds are averaged.
        paths: fits to all rows, one for every l1 ratio.
        fold_index: columns that are ever active, (a,).
        fold_slopes: coefficients of these in every fold's fit, on the scale of X, (R, K, L, a), with a last axis where
            a sample has several outputs.
        fold_intercept: intercepts of every fold's fit, (K, L) or (R, K, L), with that axis.
        fold_gap: relative duality gap of every fold's fit, (K, L) or (R, K, L).
        fold_result: how every fold's fit ended, (K, L) or (R, K, L).
        l1_ratios: the mixes asked for, (R,), or None.
    """

    lams: np.ndarray
    scores: np.ndarray
    null_scores: np.ndarray
    measure: str
    fold_id: np.ndarray
    fold_size: np.ndarray
    paths: tuple[Path, ...]
    fold_index: np.ndarray | None = None
    fold_slopes: np.ndarray | None = None
    fold_intercept: np.ndarray | None = None
    fold_gap: np.ndarray | None = None
    fold_result: np.ndarray | None = None
    l1_ratios: np.ndarray | None = None

    @property
    def mean(self) -> np.ndarray:
        """Mean score over folds, weighted by their size, (L,) or (R, L)."""
        return np.average(self.scores, axis=-2, weights=self.fold_size)

    @property
    def se(self) -> np.ndarray:
        """Standard error of that mean, √(weighted mean of (score − mean)² / (K − 1)), (L,) or (R, L)."""
        spread = (self.scores - self.mean[..., None, :]) ** 2
        folds = self.scores.shape[-2]
        return np.sqrt(np.average(spread, axis=-2, weights=self.fold_size) / (folds - 1))

    @property
    def measure_title(self) -> str:
        """What the measure is called, in words."""
        return MEASURES[self.measure].title

    @property
    def _loss(self) -> np.ndarray:
        """Mean score with the sign that makes smaller better."""
        return -self.mean if MEASURES[self.measure].larger_is_better else self.mean

    @property
    def _index_min(self) -> np.ndarray:
        # Of equal scores the first, which is the largest λ.
        return np.argmin(self._loss, axis=-1)

    @property
    def _index_1se(self) -> np.ndarray:
        at = self._index_min[..., None]
        bar = np.take_along_axis(self._loss + self.se, at, axis=-1)
        return np.argmax(self._loss <= bar, axis=-1)

    @property
    def lam_min(self) -> Any:
        """Strength with the best mean score; (R,) with several l1 ratios."""
        return self._pick(self._index_min)

    @property
    def lam_1se(self) -> Any:
        """Largest strength whose mean score is within one standard error of the best; (R,) with several ratios."""
        return self._pick(self._index_1se)

    def _pick(self, index: np.ndarray) -> Any:
        chosen = np.take_along_axis(self.lams, index[..., None], axis=-1)[..., 0]
        return float(chosen) if chosen.ndim == 0 else chosen

    @property
    def _winner(self) -> int:
        return 0 if self.l1_ratios is None else int(np.argmin(self._loss.min(axis=-1)))

    @property
    def l1_ratio_min(self) -> float | None:
        """L1 ratio with the best mean score; None if none were asked for."""
        return None if self.l1_ratios is None else float(self.l1_ratios[self._winner])

    @cached_property
    def best(self) -> "Selection":
        """Selection of the winning l1 ratio alone."""
        return self if self.l1_ratios is None else self.at_ratio(self._winner)

    def at_ratio(self, r: int) -> "Selection":
        """Selection of the r-th l1 ratio alone."""
        if self.l1_ratios is None:
            raise ValueError("this selection has no l1 ratios to choose from")
        changes: dict[str, Any] = {"paths": (self.paths[r],), "l1_ratios": None}
        for name in ("lams", "scores", "fold_intercept", "fold_gap", "fold_result"):
            array = getattr(self, name)
            changes[name] = None if array is None else array[r]
        if self.fold_slopes is not None:
            changes["fold_slopes"] = self.fold_slopes[r : r + 1]
        return dataclasses.replace(self, **changes)

    @property
    def path(self) -> Path:
        """Fits to all rows, of the winning l1 ratio."""
        return self.paths[self._winner]

    @property
    def fold_coef(self) -> np.ndarray:
        """Coefficients of every fold's fit, on the scale of X, (K, L, p, …), or (R, K, L, p, …) with several ratios.

        Raises:
            ValueError: after leave-one-out in closed form, which fits no fold.
        """
        if self.fold_slopes is None:
            raise ValueError(
                "leave-one-out of ridge is done in closed form, which fits no fold: there are no coefficients of "
                "folds; use fewer folds, or fit_path without the row"
            )
        full = np.zeros((*self.fold_slopes.shape[:3], *self.path.coef.shape[1:]))
        full[:, :, :, self.fold_index] = self.fold_slopes
        return full[0] if self.l1_ratios is None else full

    def index(self, which: str = "min") -> int:
        """Position of the chosen strength in the winner's `lams`: "min" or "1se".

        Raises:
            ValueError: for any other word.
        """
        if which not in ("min", "1se"):
            raise ValueError(f'which must be "min" or "1se", got {which!r}')
        return int(self.best._index_min if which == "min" else self.best._index_1se)

    def coef(self, which: str = "min") -> np.ndarray:
        """Coefficients of the fit to all rows at the chosen strength, (p,) or (p, k)."""
        return self.path.coef[self.index(which)]

    def intercept(self, which: str = "min") -> Any:
        """Intercept of the fit to all rows at the chosen strength: a number, or (k,) of several outputs."""
        return self.path.intercept[self.index(which)]

    def predict(self, X: Any, which: str = "min", kind: str = "mean", offset: Any = None) -> np.ndarray:
        """Predict for new rows, (n,), by the fit to all rows at the chosen strength; see `Path.predict`."""
        return self.path.predict(X, self.path.lams[self.index(which)], kind, offset)

    def plot(self, **options: Any) -> CVDisplay:
        """Draw the scores along λ (extra `plot`); options are those of `CVDisplay.from_selection`."""
        return CVDisplay.from_selection(self, **options)

    def __repr__(self) -> str:
        """One line that says what was chosen."""
        best = self.best
        ratio = "" if self.l1_ratios is None else f", l1_ratio={self.l1_ratio_min:g}"
        return (
            f"Selection({best.scores.shape[0]} folds{ratio}, lam_min={best.lam_min:.4g} keeps "
            f"{best.path.nonzero[best.index('min')]}, lam_1se={best.lam_1se:.4g} keeps "
            f"{best.path.nonzero[best.index('1se')]} of {best.path.coef.shape[1]} features)"
        )
