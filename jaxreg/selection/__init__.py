"""Choosing a model: cross-validation over all λ, l1 ratios and folds at once."""

from jaxreg.selection._bootstrap import Bootstrap, bootstrap
from jaxreg.selection._compare import Comparison, compare, selection_stability
from jaxreg.selection._cross_validate import cross_validate
from jaxreg.selection._folds import make_folds
from jaxreg.selection._measures import MEASURES
from jaxreg.selection._selection import Selection

__all__ = [
    "MEASURES",
    "Bootstrap",
    "Comparison",
    "Selection",
    "bootstrap",
    "compare",
    "cross_validate",
    "make_folds",
    "selection_stability",
]
