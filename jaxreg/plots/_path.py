"""Coefficients along λ."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from jaxreg.plots._axes import COLOURS, FAINT, darker, drawable, lambda_axis, mark, new_axes, top_axis

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure
    from matplotlib.lines import Line2D

_STYLES = ("-", (0, (5, 1.6)))
_MOST_LABELS = len(COLOURS) * len(_STYLES)


class PathDisplay:
    """Coefficients along λ, with the number of nonzero ones on top.

    The features whose coefficients matter most at the weakest penalty are coloured and named beside their
    curves, as many as fit without overlap; all others are grey. A λ of zero has no place on a log scale and
    is left out.

    Args:
        lams: λ, shape (L,), in any order.
        coef: coefficients, shape (L, p).
        feature_names: p names; x0, x1, … unless given.
        df: effective degrees of freedom, shape (L,), shown on top when no coefficient is ever zero (ridge).
        lam_min: λ of the lowest cross-validated error, drawn as a line if given.
        lam_1se: λ of the one-standard-error rule, likewise.
        effect: what a coefficient is, written at the vertical axis.
        counted: what the numbers on top count.

    Attributes:
        ax_: axes of the last plot.
        figure_: their figure.
        lines_: one line per feature that is nonzero somewhere, in the order of the features.

    Raises:
        ValueError: if shapes disagree, or no λ is positive.

    >>> display = PathDisplay(lams=[1.0, 0.1], coef=[[0.0, 0.0], [0.5, 0.0]], feature_names=["age", "bmi"])
    >>> len(display.plot().lines_)
    1
    """

    ax_: "Axes"
    figure_: "Figure | SubFigure"
    lines_: "list[Line2D]"

    def __init__(
        self,
        *,
        lams: Any,
        coef: Any,
        feature_names: Sequence[str] | None = None,
        df: Any = None,
        lam_min: float | None = None,
        lam_1se: float | None = None,
        effect: str = "coefficient",
        counted: str = "features with a nonzero coefficient",
    ) -> None:
        self.lams, self.coef = np.asarray(lams, float), np.asarray(coef, float)
        if self.coef.ndim != 2 or self.lams.shape != self.coef.shape[:1]:
            raise ValueError(f"coef must have shape (len(lams), p), got {self.coef.shape} for {self.lams.shape} lams")
        names = [f"x{j}" for j in range(self.coef.shape[1])] if feature_names is None else list(feature_names)
        if len(names) != self.coef.shape[1]:
            raise ValueError(f"feature_names has {len(names)} names for {self.coef.shape[1]} features")
        self.feature_names = names
        self.df = None if df is None else np.asarray(df, float)
        self.lam_min, self.lam_1se, self.effect, self.counted = lam_min, lam_1se, effect, counted
        self._order = drawable(self.lams)

    @classmethod
    def from_path(
        cls,
        path: Any,
        *,
        feature_names: Sequence[str] | None = None,
        scale: Any = None,
        lam_min: float | None = None,
        lam_1se: float | None = None,
        ax: "Axes | None" = None,
    ) -> Self:
        """Draw a `jaxreg.Path`.

        Args:
            path: what `fit_path` returned, or the `.path` of a `Selection`. Where a sample has k outputs, features have
                k curves, named by the output, as in "age [2]".
            feature_names: p names.
            scale: standard deviations of the p features; curves are then effects of one standard deviation,
                which can be compared with each other.
            lam_min: λ to mark, if any.
            lam_1se: λ to mark, if any.
            ax: axes to draw on; new ones unless given.
        """
        coef = np.moveaxis(np.asarray(path.coef), 1, -1) * (1.0 if scale is None else np.asarray(scale))
        coef = np.moveaxis(coef, -1, 1)
        if coef.ndim == 3:
            # A curve for every output of every feature.
            names = [f"x{j}" for j in range(coef.shape[1])] if feature_names is None else list(feature_names)
            if len(names) != coef.shape[1]:
                raise ValueError(f"feature_names has {len(names)} names for {coef.shape[1]} features")
            feature_names = [f"{name} [{k}]" for name in names for k in range(coef.shape[2])]
            coef = coef.reshape(len(coef), -1)
        return cls(
            lams=path.lams,
            coef=coef,
            feature_names=feature_names,
            df=path.df,
            lam_min=lam_min,
            lam_1se=lam_1se,
            effect="coefficient" if scale is None else "effect of one standard deviation",
            counted="features with a nonzero coefficient" if path.coef.ndim == 2 else "nonzero coefficients",
        ).plot(ax)

    def plot(self, ax: "Axes | None" = None) -> Self:
        """Draw, on new axes unless `ax` is given.

        Raises:
            ImportError: if matplotlib is not installed.
        """
        ax = new_axes(ax)
        lams, coef = self.lams[self._order], self.coef[self._order]
        alive = np.flatnonzero((coef != 0).any(axis=0)).tolist()
        # Rank by the end of the curve, where the label goes; ties (all zero there) by the largest value.
        rank = sorted(alive, key=lambda j: (-abs(coef[-1, j]), -np.abs(coef[:, j]).max()))
        named = [j for j in rank if coef[-1, j] != 0][:_MOST_LABELS]
        style = {j: (COLOURS[i % len(COLOURS)], _STYLES[i // len(COLOURS)]) for i, j in enumerate(named)}
        ax.axhline(0, color=FAINT, linewidth=1, zorder=1)
        self.lines_ = []
        for j in alive:
            colour, dashes = style.get(j, (FAINT, "-"))
            look: dict[str, Any] = {"color": colour, "linestyle": dashes, "label": self.feature_names[j]}
            look |= {"linewidth": 1.8, "zorder": 3} if j in style else {"linewidth": 0.9, "zorder": 2}
            # Hundreds of grey curves would make a heavy SVG; as one bitmap they weigh little.
            look |= {"rasterized": j not in style and len(alive) > 60}
            self.lines_ += ax.plot(lams, _visible(coef[:, j]), marker="o" if len(lams) == 1 else "", **look)
        lambda_axis(ax, lams)
        if coef.any():
            ax.margins(y=0.06)
        else:
            ax.set_ylim(-1, 1)
        ax.set_ylabel(self.effect)
        nonzero = (coef != 0).sum(axis=1)
        if self.df is not None and np.isfinite(self.df).all() and (nonzero == coef.shape[1]).all():
            top_axis(ax, lams, self.df[self._order], "effective degrees of freedom", "{:.1f}")
        else:
            top_axis(ax, lams, nonzero, self.counted, "{:.0f}")
        mark(ax, self.lam_min, self.lam_1se)
        self._name_curves(ax, named, coef[-1], style)
        self.ax_, self.figure_ = ax, ax.figure
        return self

    def _name_curves(self, ax: "Axes", named: list[int], ends: np.ndarray, style: dict[int, Any]) -> None:
        """Write names to the right of the curves' ends, spread just enough that they do not overlap."""
        low, high = ax.get_ylim()
        points = ax.get_window_extent().height / ax.figure.dpi * 72
        height = (high - low) * 11.5 / points
        kept = sorted(named[: max(int((high - low) / height) - 1, 0)], key=lambda j: ends[j])
        places = _spread(ends[kept], height, low + height / 2, high - height / 2)
        beside = ax.get_yaxis_transform()
        for j, place in zip(kept, places, strict=True):
            colour = style[j][0]
            ax.plot([1.0, 1.025], [ends[j], place], transform=beside, clip_on=False, color=colour, linewidth=0.8)
            name = self.feature_names[j]
            name = name if len(name) <= 24 else f"{name[:11]}…{name[-12:]}"  # ends tell more than beginnings
            ax.text(1.032, place, name, transform=beside, va="center", fontsize=9, color=darker(colour))
        ax.set_ylim(low, high)


def _visible(curve: np.ndarray) -> np.ndarray:
    """Leave out zeros, which lie on the zero line, except where a curve takes off or lands."""
    zero = np.pad(curve == 0, 1, constant_values=True)
    return np.where(zero[:-2] & zero[1:-1] & zero[2:], np.nan, curve)


def _spread(wanted: np.ndarray, gap: float, low: float, high: float) -> np.ndarray:
    """Move places (ascending) as little as possible, in least squares, to be `gap` apart and in [low, high].

    Isotonic regression of wantedᵢ − i·gap (pooling adjacent violators), then clipped, which stays optimal.
    """
    offsets = gap * np.arange(len(wanted))
    blocks: list[tuple[float, int]] = []
    for value in wanted - offsets:
        mean, size = float(value), 1
        while blocks and blocks[-1][0] > mean:
            before, count = blocks.pop()
            mean, size = (before * count + mean * size) / (count + size), count + size
        blocks.append((mean, size))
    places = np.repeat([mean for mean, _ in blocks], [size for _, size in blocks])
    return np.clip(places, low, max(low, high - offsets[-1] if len(wanted) else high)) + offsets
