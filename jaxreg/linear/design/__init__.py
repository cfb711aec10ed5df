"""The feature matrix: what the engine may ask of it, its kinds, and how training sets see it."""

from jaxreg.linear.design._base import Design, over_rows
from jaxreg.linear.design._check import as_design, is_sparse
from jaxreg.linear.design._dense import Dense
from jaxreg.linear.design._sparse import Sparse
from jaxreg.linear.design._views import Views, make_views

__all__ = ["Dense", "Design", "Sparse", "Views", "as_design", "is_sparse", "make_views", "over_rows"]
