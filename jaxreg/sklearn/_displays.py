"""Pictures of fitted estimators, as Display objects on scikit-learn's conventions.

`from_estimator` reads an estimator and draws; `plot` draws again, on other axes. Strengths are alpha or C as the
estimator has them, and every picture runs from strong penalties on the left to weak ones on the right.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxreg import plots
from jaxreg.plots._axes import mark_lines
from jaxreg.sklearn._display_axes import chosen_outputs, panels, strength_axis
from jaxreg.sklearn._display_data import Curves, Scores, as_lams, coefficients, curves_of, outputs_of, scores_of, seen

if TYPE_CHECKING:
    from matplotlib.axes import Axes


class PathDisplay:
    """Coefficients along alpha or C, a panel for each target or class, with the chosen strength marked.

    Args:
        curves: strengths and coefficients.
        feature_names: of the p features.
        titles: of the panels.

    Attributes:
        ax_: axes of the last plot, or the list of them if there are several.
        axes_: list of them.
        figure_: their figure.
        lines_: a list for each panel, of one line per feature that is nonzero somewhere.

    >>> from jaxreg.datasets import load_diabetes
    >>> from jaxreg.sklearn import LassoCV, PathDisplay
    >>> X, y, names = load_diabetes()
    >>> display = PathDisplay.from_estimator(LassoCV(cv=5).fit(X, y), X, y, feature_names=names)
    >>> len(display.lines_[0])
    10
    """

    ax_: Any
    axes_: "list[Axes]"
    figure_: Any
    lines_: list[list[Any]]

    def __init__(self, curves: Curves, *, feature_names: Sequence[str], titles: Sequence[str] = ("",)) -> None:
        self.curves, self.feature_names, self.titles = curves, list(feature_names), list(titles)

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any = None,
        y: Any = None,
        *,
        feature_names: Sequence[str] | None = None,
        outputs: Any = None,
        ax: "Axes | None" = None,
    ) -> "PathDisplay":
        """Draw the path of a fitted estimator of `jaxreg.sklearn`, of a pipeline that ends with one, or of a search.

        Args:
            estimator: fitted, with one strength, or with CV among those that it chose from.
            X: features, (n, p), and
            y: targets to fit the path to. Estimators with `selection_` keep theirs, and need neither.
            feature_names: p names; those that the estimator knows, unless given.
            outputs: places of the targets or classes to draw; all unless given.
            ax: axes to draw on; new ones unless given.

        Raises:
            ImportError: if matplotlib is not installed.
            TypeError: if the estimator has no path.
            ValueError: if X and y are needed, or names do not fit.
        """
        found = seen(estimator, X, feature_names)
        curves = curves_of(found, y)
        k = curves.coef.shape[2]
        places, titles = chosen_outputs(outputs, k), outputs_of(found.final, k)
        part = Curves(curves.name, curves.strengths, curves.coef[:, :, places], curves.chosen)
        return cls(part, feature_names=found.names, titles=[titles[place] for place in places]).plot(ax)

    def plot(self, ax: "Axes | None" = None) -> "PathDisplay":
        """Draw, on new axes unless `ax` is given.

        Raises:
            ImportError: if matplotlib is not installed.
        """
        curves, self.lines_ = self.curves, []
        lams = as_lams(curves.name, curves.strengths)
        self.axes_ = panels(ax, self.titles)
        ends = (lams.max(), curves.coef.min()), (lams.max(), curves.coef.max())
        for place, part in enumerate(self.axes_):
            # Names at the ends of curves are spread for one scale, so all panels have that from the first curve on.
            part.update_datalim(ends)
            picture = plots.PathDisplay(lams=lams, coef=curves.coef[:, :, place], feature_names=self.feature_names)
            self.lines_.append(picture.plot(part).lines_)
            strength_axis(part, curves.name)
            mark = float(as_lams(curves.name, curves.chosen))
            if lams.min() <= mark <= lams.max():
                mark_lines(part, [(mark, f"{curves.name} = {curves.chosen:.3g}", "left", "--")])
            if place > 0:
                part.set_ylabel("")
                part.tick_params(labelleft=False)
        self.ax_ = self.axes_[0] if len(self.axes_) == 1 else self.axes_
        self.figure_ = self.axes_[0].figure
        return self


class CVDisplay:
    r"""Cross-validated score along alpha or C: mean over folds ± one standard error, with the two usual choices marked.

    Args:
        scores: strengths, means and standard errors.
        nonzero: number of features with a nonzero coefficient at every strength, (L,), for the axis on top.

    Attributes:
        ax_: axes of the last plot.
        figure_: their figure.
        lines_: the curve of the chosen l1 ratio, and then those of others.

    >>> from jaxreg.datasets import load_diabetes
    >>> from jaxreg.sklearn import CVDisplay, LassoCV
    >>> X, y, _ = load_diabetes()
    >>> CVDisplay.from_estimator(LassoCV(cv=5).fit(X, y)).ax_.get_ylabel()
    'cross-validated\nmean squared error (mean ± 1 se, 5 folds)'
    """

    ax_: Any
    figure_: Any
    lines_: list[Any]

    def __init__(self, scores: Scores, *, nonzero: Any = None) -> None:
        self.scores, self.nonzero = scores, None if nonzero is None else np.asarray(nonzero)

    @classmethod
    def from_estimator(cls, estimator: Any, X: Any = None, y: Any = None, *, ax: "Axes | None" = None) -> "CVDisplay":
        """Draw the scores of an estimator of `jaxreg.sklearn` with CV, a pipeline that ends with one, or a search.

        Args:
            estimator: fitted; a search over alpha or C, and l1_ratio perhaps, is drawn for its best other parameters.
            X: features, (n, p), and
            y: targets, to count nonzero coefficients of the fits to all rows. Without them there is no axis on top,
                but where estimators have `selection_`, which knows.
            ax: axes to draw on; new ones unless given.

        Raises:
            ImportError: if matplotlib is not installed.
            TypeError: if the estimator keeps no scores along strengths.
        """
        scores = scores_of(estimator)
        found = None if X is None or y is None else seen(estimator, X, None)
        kept = getattr(found.final if found else estimator, "selection_", None)
        nonzero = None
        if kept is not None or (found is not None and not hasattr(estimator, "cv_results_")):
            curves = curves_of(found or seen(estimator, None, None), y)
            counts = (curves.coef != 0).any(axis=2).sum(axis=1)
            order, own = (np.argsort(values, kind="stable") for values in (curves.strengths, scores.strengths))
            nonzero = np.empty_like(counts)
            nonzero[own] = counts[order]
        return cls(scores, nonzero=nonzero).plot(ax)

    def plot(self, ax: "Axes | None" = None) -> "CVDisplay":
        """Draw, on new axes unless `ax` is given.

        Raises:
            ImportError: if matplotlib is not installed.
        """
        scores = self.scores
        best, sparse = scores.choices()
        picture = plots.CVDisplay(
            lams=scores.lams,
            mean=scores.mean,
            se=scores.se,
            lam_min=float(as_lams(scores.name, best)),
            lam_1se=float(as_lams(scores.name, sparse)),
            measure=scores.measure,
            nonzero=self.nonzero,
            folds=scores.folds,
            others=[(name, as_lams(scores.name, strengths), mean) for name, strengths, mean in scores.others],
            name=scores.own,
            marks=("best", "1 se", "best = 1 se"),
        ).plot(ax)
        self.ax_, self.figure_, self.lines_ = picture.ax_, picture.figure_, picture.lines_
        strength_axis(self.ax_, scores.name)
        return self


class CoefficientDisplay:
    """The largest coefficients as bars, a panel for each target or class.

    Args:
        coef: coefficients, (p, k).
        feature_names: of the p features.
        titles: of the k panels.
        most: how many features to show: those with the largest coefficient in any panel.

    Attributes:
        ax_: axes of the last plot, or the list of them if there are several.
        axes_: list of them.
        figure_: their figure.
        bars_: the bars of each panel.
        shown_: places of the features shown, the largest first.

    >>> from jaxreg.datasets import load_diabetes
    >>> from jaxreg.sklearn import CoefficientDisplay, Lasso
    >>> X, y, names = load_diabetes()
    >>> model = Lasso().fit((X - X.mean(axis=0)) / X.std(axis=0), y)
    >>> display = CoefficientDisplay.from_estimator(model, feature_names=names, most=3)
    >>> [names[j] for j in display.shown_]
    ['bmi', 'ltg', 'bp']
    """

    ax_: Any
    axes_: "list[Axes]"
    figure_: Any
    bars_: list[Any]
    shown_: list[int]

    def __init__(
        self, coef: Any, *, feature_names: Sequence[str], titles: Sequence[str] = ("",), most: int = 20
    ) -> None:
        self.coef = np.asarray(coef, dtype=np.float64)
        if self.coef.ndim != 2 or self.coef.shape != (len(feature_names), len(titles)):
            shape = (len(feature_names), len(titles))
            raise ValueError(
                f"coef must have a row for every name and a column for every title, {shape}, got {self.coef.shape}"
            )
        if most < 1:
            raise ValueError(f"most must be at least 1 feature, got {most}")
        self.feature_names, self.titles, self.most = list(feature_names), list(titles), most

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any = None,
        y: Any = None,
        *,
        feature_names: Sequence[str] | None = None,
        outputs: Any = None,
        most: int = 20,
        ax: "Axes | None" = None,
    ) -> "CoefficientDisplay":
        """Draw the coefficients of a fitted linear estimator, of a pipeline that ends with one, or of a search.

        Args:
            estimator: fitted, with `coef_`.
            X: without effect; there since all displays take data.
            y: likewise.
            feature_names: p names; those that the estimator knows, unless given.
            outputs: places of the targets or classes to draw; all unless given.
            most: how many features to show.
            ax: axes to draw on; new ones unless given.

        Raises:
            ImportError: if matplotlib is not installed.
            TypeError: if the estimator has no coefficients.
            ValueError: if names do not fit.
        """
        found = seen(estimator, None, feature_names)
        coef = coefficients(found.final)
        places, titles = chosen_outputs(outputs, coef.shape[1]), outputs_of(found.final, coef.shape[1])
        kept = [titles[place] for place in places]
        return cls(coef[:, places], feature_names=found.names, titles=kept, most=most).plot(ax)

    def plot(self, ax: "Axes | None" = None) -> "CoefficientDisplay":
        """Draw, on new axes unless `ax` is given.

        Raises:
            ImportError: if matplotlib is not installed.
        """
        size = np.abs(self.coef).max(axis=1)
        alive = np.flatnonzero(size)
        self.shown_ = alive[np.argsort(-size[alive], kind="stable")][: self.most].tolist()
        rows = np.arange(len(self.shown_))
        self.axes_ = panels(ax, self.titles, height=1.3 + 0.27 * max(3, len(rows)), sharex=True, sharey=True)
        self.bars_ = []
        zeros = len(size) - alive.size
        for place, part in enumerate(self.axes_):
            values = self.coef[self.shown_, place]
            colours = [plots.COLOURS[0] if value > 0 else plots.COLOURS[1] for value in values]
            self.bars_.append(part.barh(rows, values, height=0.7, color=colours, zorder=2))
            part.axvline(0, color=plots.MUTED, linewidth=0.8, zorder=3)
            part.grid(axis="x", color=plots.FAINT, linewidth=0.6)
            part.set_axisbelow(True)
            part.set_ylim(max(len(rows), 1) - 0.4, -0.6)
            part.spines["left"].set_visible(False)
            part.tick_params(axis="y", length=0)
            part.set_xlabel("coefficient")
        self.axes_[0].set_yticks(rows, [_short_name(self.feature_names[j]) for j in self.shown_])
        hidden = alive.size - len(rows)
        if zeros or hidden:
            told = [f"{hidden} smaller" if hidden else "", f"{zeros} zero" if zeros else ""]
            note = f"not shown: {' and '.join(part for part in told if part)}"
            self.axes_[-1].annotate(
                note, (1, 0), (0, 4), xycoords="axes fraction", textcoords="offset points", ha="right", va="bottom",
                fontsize=8, color=plots.MUTED,
            )  # fmt: skip
        self.ax_ = self.axes_[0] if len(self.axes_) == 1 else self.axes_
        self.figure_ = self.axes_[0].figure
        return self


def _short_name(name: str) -> str:
    return name if len(name) <= 28 else f"{name[:13]}…{name[-14:]}"
