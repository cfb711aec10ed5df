"""Axes of displays: a panel for each output, and strengths as their estimators have them."""

import importlib
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxreg.plots._axes import new_axes, short

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST = 8
"""Most outputs that get a panel each."""


def panels(ax: "Axes | None", titles: list[str], *, height: float = 4.3, **share: Any) -> "list[Axes]":
    """Axes side by side, one for each title; in the place of `ax` if it is given. They share what `subplots` is told.

    Raises:
        ImportError: if matplotlib is not installed.
        ValueError: if there are too many.
    """
    k = len(titles)
    if k > MOST:
        raise ValueError(f"outputs must be at most {MOST}, to have a panel each, got {k}: choose some with outputs=")
    if k == 1:
        axes = [new_axes(ax)]
        if ax is None:
            figure: Any = axes[0].figure
            figure.set_figheight(height)
    elif ax is None:
        pyplot = importlib.import_module("matplotlib.pyplot")
        figure = pyplot.figure(figsize=(2.2 + 4.2 * k, height), layout="constrained")
        axes = [new_axes(part) for part in np.ravel(figure.subplots(1, k, **share))]
    else:
        ax.set_axis_off()
        place = ax.get_subplotspec()
        if place is None:
            raise ValueError("ax must be one of a grid of subplots to hold several panels, got free axes")
        grid = place.subgridspec(1, k)
        axes = [new_axes(part) for part in np.ravel(grid.subplots(**share))]
    for part, title in zip(axes, titles, strict=True):
        part.set_title(title, fontsize=10)
    return axes


def strength_axis(ax: "Axes", name: str) -> None:
    """Name an axis that was drawn for λ as alpha, or as C, which is its inverse."""
    ax.set_xlabel(f"← stronger penalty\u2003\u2003{name} (log scale)\u2003\u2003weaker penalty →")
    if name == "C":
        ticker = importlib.import_module("matplotlib.ticker")
        ax.xaxis.set_major_formatter(ticker.FuncFormatter(lambda value, _: short(float(f"{1 / value:.6g}"))))


def chosen_outputs(outputs: Any, k: int) -> list[int]:
    """Places of the outputs to draw.

    Raises:
        ValueError: if one is no place of an output.
    """
    if outputs is None:
        return list(range(k))
    places = [int(place) for place in np.atleast_1d(outputs)]
    if not places or not all(0 <= place < k for place in places):
        raise ValueError(f"outputs must be places from 0 to {k - 1}, got {outputs!r}")
    return places
