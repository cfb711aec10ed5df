"""Cross-validated error along λ."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from jaxreg.plots._axes import COLOURS, INK, NAMES, drawable, lambda_axis, mark, new_axes, top_axis

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure
    from matplotlib.lines import Line2D


class CVDisplay:
    """Cross-validated error along λ: mean over folds ± one standard error, with the two usual choices marked.

    Args:
        lams: λ, shape (L,), in any order.
        mean: mean score over folds, shape (L,).
        se: its standard error, shape (L,).
        lam_min: λ of the best mean score.
        lam_1se: largest λ whose mean score is within one standard error of the best.
        measure: what was measured, in words.
        nonzero: number of nonzero coefficients on all data, shape (L,), for the axis on top.
        folds: number of folds, written at the vertical axis if given.
        others: further curves, as (name, lams, mean): those of the l1 ratios that did not win.
        name: of the main curve, when there are others.
        marks: what the choices are called: the best, the one-standard-error rule's, and both where they are one.

    Attributes:
        ax_: axes of the last plot.
        figure_: their figure.
        lines_: the main curve, and then those of `others`.

    Raises:
        ValueError: if shapes disagree, or no λ is positive.

    >>> display = CVDisplay(lams=[1.0, 0.1], mean=[4.0, 2.0], se=[0.5, 0.5], lam_min=0.1, lam_1se=0.1)
    >>> display.plot().ax_.get_xscale()
    'log'
    """

    ax_: "Axes"
    figure_: "Figure | SubFigure"
    lines_: "list[Line2D]"

    def __init__(
        self,
        *,
        lams: Any,
        mean: Any,
        se: Any,
        lam_min: float,
        lam_1se: float,
        measure: str = "error",
        nonzero: Any = None,
        folds: int | None = None,
        others: Sequence[tuple[str, Any, Any]] = (),
        name: str = "",
        marks: tuple[str, str, str] = NAMES,
    ) -> None:
        self.lams, self.mean, self.se = (np.asarray(v, float) for v in (lams, mean, se))
        if self.lams.ndim != 1 or not self.lams.shape == self.mean.shape == self.se.shape:
            raise ValueError(
                f"lams, mean and se must have one shape (L,), got {self.lams.shape}, {self.mean.shape}, {self.se.shape}"
            )
        self.lam_min, self.lam_1se, self.measure, self.folds = lam_min, lam_1se, measure, folds
        self.nonzero = None if nonzero is None else np.asarray(nonzero)
        self.others, self.name, self.marks = others, name, marks
        self._order = drawable(self.lams)

    @classmethod
    def from_selection(cls, selection: Any, *, ax: "Axes | None" = None) -> Self:
        """Draw a `jaxreg.Selection`; with several l1 ratios the winner, and the others in grey."""
        best, others, name = selection, [], ""
        if selection.l1_ratios is not None:
            best, name = selection.best, f"l1 ratio {selection.l1_ratio_min:g} (best)"
            others = [
                (f"l1 ratio {ratio:g}", lams, mean)
                for ratio, lams, mean in zip(selection.l1_ratios, selection.lams, selection.mean, strict=True)
                if ratio != selection.l1_ratio_min
            ]
        return cls(
            lams=best.lams,
            mean=best.mean,
            se=best.se,
            lam_min=best.lam_min,
            lam_1se=best.lam_1se,
            measure=best.measure_title,
            nonzero=best.path.nonzero,
            folds=len(best.scores),
            others=others,
            name=name,
        ).plot(ax)

    def plot(self, ax: "Axes | None" = None) -> Self:
        """Draw, on new axes unless `ax` is given.

        Raises:
            ImportError: if matplotlib is not installed.
        """
        ax = new_axes(ax)
        lams, mean, se = (v[self._order] for v in (self.lams, self.mean, self.se))
        blue = COLOURS[0]
        ax.fill_between(lams, mean - se, mean + se, color=blue, alpha=0.16, linewidth=0, zorder=2)
        marker = "o" if len(lams) == 1 else ""
        self.lines_ = ax.plot(lams, mean, color=blue, linewidth=1.8, zorder=4, marker=marker, label=self.name)
        shown = [lams]
        for i, (other, other_lams, other_mean) in enumerate(self.others):
            order = drawable(other_lams)
            shown.append(np.asarray(other_lams)[order])
            scores, colour = np.asarray(other_mean)[order], COLOURS[1 + i % (len(COLOURS) - 1)]
            self.lines_ += ax.plot(shown[-1], scores, color=colour, linewidth=1.0, zorder=3, label=other)
        lambda_axis(ax, np.concatenate(shown))
        if self.others:
            ax.legend(handles=self.lines_, frameon=False, labelcolor=INK, fontsize=9)
        mark(ax, self.lam_min, self.lam_1se, self.marks)
        for lam, face in ((self.lam_1se, "none"), (self.lam_min, blue)):
            if lam > 0:
                score = self.mean[np.argmin(np.abs(self.lams - lam))]
                ax.plot([lam], [score], "o", color=blue, markerfacecolor=face, zorder=5, clip_on=False)
        folds = f" (mean ± 1 se, {self.folds} folds)" if self.folds else " (mean ± 1 se)"
        ax.set_ylabel("cross-validated\n" + self.measure + folds)
        if self.nonzero is not None:
            top_axis(ax, lams, self.nonzero[self._order], "features with a nonzero coefficient", "{:.0f}")
        self.ax_, self.figure_ = ax, ax.figure
        return self
