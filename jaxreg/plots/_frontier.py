"""What models cost in accuracy as they get sparse."""

from typing import TYPE_CHECKING, Any, Self

import numpy as np

from jaxreg.plots._axes import COLOURS, FAINT, MUTED, new_axes, short

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure
    from matplotlib.lines import Line2D


class FrontierDisplay:
    """A figure of each model over its share of zeros: the frontier along λ, with λ written beside some points.

    Args:
        lams: λ, shape (L,), in any order.
        zeros: share of zeros of each model in [0, 1], shape (L,), or (L, S) for S seeds.
        score: its figure, of the same shape; what is not finite is left out.
        measure: what the figure is, in words.

    Attributes:
        ax_: axes of the last plot.
        figure_: their figure.
        lines_: the curve along λ; with several seeds, of the means over them.

    Raises:
        ValueError: if shapes disagree.

    >>> display = FrontierDisplay(lams=[0.1, 1.0], zeros=[0.2, 0.9], score=[0.98, 0.95], measure="accuracy")
    >>> display.plot().ax_.get_ylabel()
    'accuracy'
    """

    ax_: "Axes"
    figure_: "Figure | SubFigure"
    lines_: "list[Line2D]"

    def __init__(self, *, lams: Any, zeros: Any, score: Any, measure: str = "figure") -> None:
        self.lams, self.zeros, self.score = (np.asarray(v, float) for v in (lams, zeros, score))
        if (
            self.zeros.shape != self.score.shape
            or self.zeros.ndim not in (1, 2)
            or self.lams.shape != self.zeros.shape[:1]
        ):
            raise ValueError(
                f"zeros and score must have shape (L,) or (L, S) for lams of shape (L,), got {self.zeros.shape} and "
                f"{self.score.shape} for {self.lams.shape}"
            )
        self.measure = measure

    def plot(self, ax: "Axes | None" = None) -> Self:
        """Draw, on new axes unless `ax` is given.

        Raises:
            ImportError: if matplotlib is not installed.
        """
        ax = new_axes(ax)
        order = np.argsort(self.lams, kind="stable")
        lams = self.lams[order]
        zeros, score = (v[order].reshape(len(order), -1) for v in (100 * self.zeros, self.score))
        there = np.isfinite(zeros) & np.isfinite(score)
        if zeros.shape[1] > 1:
            ax.plot(zeros[there], score[there], "o", color=COLOURS[0], alpha=0.3, markersize=3, linewidth=0, zorder=2)
        some = there.any(axis=1)
        mean = [np.where(there, v, 0).sum(axis=1)[some] / there.sum(axis=1)[some] for v in (zeros, score)]
        self.lines_ = ax.plot(*mean, "o-", color=COLOURS[0], linewidth=1.4, markersize=4, zorder=3)
        ax.grid(axis="y", color=FAINT, linewidth=0.6)
        ax.set_axisbelow(True)
        ax.set_xlim(-2, 102)
        ax.margins(y=0.12)
        ax.set_xlabel("parameters that are exactly zero (%)" + (", mean and seeds" if zeros.shape[1] > 1 else ""))
        ax.set_ylabel(self.measure)
        self._name_points(ax, lams[some], *mean)
        self.ax_, self.figure_ = ax, ax.figure
        return self

    def _name_points(self, ax: "Axes", lams: np.ndarray, x: np.ndarray, y: np.ndarray) -> None:
        """Write λ above points, the outermost first, where no name is near yet."""
        places = ax.transData.transform(np.column_stack([x, y])) * 72 / ax.figure.dpi
        taken: list[np.ndarray] = []
        for i in sorted(range(len(lams)), key=lambda i: min(i, len(lams) - 1 - i)):
            apart = (np.abs(place - places[i]) for place in taken)
            if all(dx > 46 or dy > 16 for dx, dy in apart):
                taken.append(places[i])
                name = f"λ = {short(float(f'{lams[i]:.2g}'))}" if lams[i] > 0 else "λ = 0"
                beside: dict[str, Any] = {
                    "xytext": (0, 7),
                    "textcoords": "offset points",
                    "ha": "center",
                    "fontsize": 8,
                }
                ax.annotate(name, (x[i], y[i]), color=MUTED, **beside)
