"""What all pictures share: colours, the λ axis, the axis on top, and the marks of chosen strengths."""

import importlib
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Okabe & Ito (2008), "Color universal design": colour-blind readers can tell these apart. Yellow, which
# vanishes on white, is replaced by a brown.
INK, MUTED, FAINT = "#1f2328", "#6a737d", "#d0d7de"
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8c6d31")


def new_axes(ax: "Axes | None") -> "Axes":
    if ax is None:
        try:
            pyplot = importlib.import_module("matplotlib.pyplot")
        except ImportError as error:
            raise ImportError('plots need matplotlib: pip install "jaxreg[plot]"') from error
        ax = pyplot.subplots(figsize=(7.2, 4.3), layout="constrained")[1]
    ax.spines[["top", "right"]].set_visible(False)
    ax.spines[["left", "bottom"]].set_color(MUTED)
    ax.tick_params(colors=INK, which="both", labelsize=9)
    ax.xaxis.label.set_color(INK)
    ax.yaxis.label.set_color(INK)
    return ax


def drawable(lams: Any) -> np.ndarray:
    """Positions of the positive strengths, from strong to weak."""
    lams = np.asarray(lams, float)
    order = np.argsort(-lams, kind="stable")
    order = order[lams[order] > 0]
    if order.size == 0:
        raise ValueError("lams has no positive strength to draw on a log scale")
    return order


def lambda_axis(ax: "Axes", lams: np.ndarray) -> None:
    ticker = importlib.import_module("matplotlib.ticker")
    high, low = lams.max(), lams.min()
    if high == low:
        high, low = 2 * high, low / 2
    ax.set_xscale("log")
    ax.set_xlim(high * (high / low) ** 0.01, low)
    ax.xaxis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5) if high / low < 50 else (1,), numticks=20))
    ax.xaxis.set_minor_locator(ticker.NullLocator())
    ax.xaxis.set_major_formatter(ticker.FuncFormatter(lambda value, _: short(value)))
    ax.set_xlabel("← stronger penalty\u2003\u2003λ (log scale)\u2003\u2003weaker penalty →")


def short(value: float) -> str:
    """Write 0.01 as it is, and 0.00001 as 10⁻⁵."""
    exponent = int(np.floor(np.log10(value) + 1e-9))
    if -4 < exponent < 5:
        return f"{value:g}"
    digits = str(exponent).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
    lead = value / 10.0**exponent
    return f"10{digits}" if abs(lead - 1) < 1e-6 else f"{lead:g}·10{digits}"


def top_axis(ax: "Axes", lams: np.ndarray, counts: np.ndarray, label: str, form: str) -> None:
    """Write counts at eight places, evenly spaced in log λ."""
    where = np.linspace(np.log(lams[0]), np.log(lams[-1]), 8) if len(lams) > 1 else np.log(lams)
    nearest = np.unique([int(np.argmin(np.abs(np.log(lams) - at))) for at in where])
    top = ax.secondary_xaxis("top")
    ticker = importlib.import_module("matplotlib.ticker")
    top.xaxis.set_major_locator(ticker.FixedLocator(lams[nearest]))
    top.xaxis.set_minor_locator(ticker.NullLocator())
    top.xaxis.set_major_formatter(ticker.FixedFormatter([form.format(counts[i]) for i in nearest]))
    top.tick_params(length=0, labelsize=9, colors=MUTED, pad=1)
    top.spines["top"].set_visible(False)
    top.set_xlabel(label, color=MUTED, fontsize=9)


NAMES = ("λ min", "λ 1se", "λ min = λ 1se")
"""What chosen strengths are called, and both where they are one."""


def mark(ax: "Axes", lam_min: float | None, lam_1se: float | None, names: tuple[str, str, str] = NAMES) -> None:
    """Draw lines at the chosen strengths, named on their outer sides so that close ones do not collide."""
    chosen = [(lam_1se, names[1], "right", ":"), (lam_min, names[0], "left", "--")]
    if lam_min is not None and lam_min == lam_1se:
        chosen = [(lam_min, names[2], "left", "--")]
    mark_lines(ax, chosen)


def mark_lines(ax: "Axes", chosen: list[tuple[float | None, str, str, Any]]) -> None:
    """Draw a line at each of some strengths: where, its name, on which side that is, and how the line is dashed."""
    low, high = ax.get_ylim()
    ax.set_ylim(low, high + 0.09 * (high - low))  # room above the curves for the names
    for lam, name, side, dashes in chosen:
        if lam is None or lam <= 0:
            continue
        ax.axvline(lam, color=INK, linewidth=0.9, linestyle=dashes, zorder=2.5)
        # Near an end of the axis a name goes inside, and a line lower, where it meets no other.
        place = ax.transAxes.inverted().transform(ax.transData.transform((lam, ax.get_ylim()[0])))[0]
        inside = "left" if place < 0.15 else "right" if place > 0.85 else side
        ax.annotate(
            name,
            (lam, 1),
            (-4 if inside == "right" else 4, -2 if inside == side else -15),
            xycoords=ax.get_xaxis_transform(),
            textcoords="offset points",
            ha=inside,
            va="top",
            fontsize=9,
            color=INK,
        )


def darker(colour: str) -> str:
    """Mix a colour with black, so that it reads as text on white."""
    return _mix(colour, 0.0, 0.22)


def lighter(colour: str) -> str:
    """Mix a colour with white, so that it reads on a dark page."""
    return _mix(colour, 255.0, 0.3)


def _mix(colour: str, other: float, share: float) -> str:
    parts = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return "#" + "".join(f"{round((1 - share) * part + share * other):02x}" for part in parts)
