"""The linear engine: it knows that predictions are X @ B, and solves whole paths over all folds at once."""

from jaxreg.linear.active.engine import fit
from jaxreg.linear.design import Dense, Design, Sparse, Views, as_design, make_views
from jaxreg.linear.problem import Fits, Problem

__all__ = ["Dense", "Design", "Fits", "Problem", "Sparse", "Views", "as_design", "fit", "make_views"]
