"""The feature matrix: what the engine may ask of it, its kinds, and how training sets see it."""

from jaxreg.linear.design._base import LEVEL, Design, over_rows
from jaxreg.linear.design._blas import moments_by_blas, worth_blas
from jaxreg.linear.design._check import as_design, is_sparse
from jaxreg.linear.design._dense import Dense
from jaxreg.linear.design._host import EXACT, Host
from jaxreg.linear.design._sparse import Sparse
from jaxreg.linear.design._views import Views, make_views, views_of

__all__ = [
    "EXACT",
    "LEVEL",
    "Dense",
    "Design",
    "Host",
    "Sparse",
    "Views",
    "as_design",
    "is_sparse",
    "make_views",
    "moments_by_blas",
    "over_rows",
    "views_of",
    "worth_blas",
]
