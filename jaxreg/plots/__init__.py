"""Pictures of paths and cross-validation, as Display objects in the manner of scikit-learn.

A display holds the numbers; `plot` draws them, and can be called again on other axes. Every picture shows λ
on a log scale that runs from strong penalties on the left to weak ones on the right, so that models grow as
one reads. Drawing needs matplotlib: pip install "jaxreg[plot]".
"""

from jaxreg.plots._axes import COLOURS, FAINT, INK, MUTED, darker, lighter
from jaxreg.plots._cross_validation import CVDisplay
from jaxreg.plots._frontier import FrontierDisplay
from jaxreg.plots._path import PathDisplay

__all__ = ["COLOURS", "FAINT", "INK", "MUTED", "CVDisplay", "FrontierDisplay", "PathDisplay", "darker", "lighter"]
