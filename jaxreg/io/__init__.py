"""Tables in, models out: csv and parquet, the encoding of columns as numbers, and model.json."""

from jaxreg.io._columns import Categories, Numeric
from jaxreg.io._losses import LOSSES, find_loss
from jaxreg.io._model import Fit, Model
from jaxreg.io._prepare import Encoding, Prepared, prepare
from jaxreg.io._table import BUILTIN, InputError, check_suffix, read_table, suggest, write_table

__all__ = [
    "BUILTIN",
    "LOSSES",
    "Categories",
    "Encoding",
    "Fit",
    "InputError",
    "Model",
    "Numeric",
    "Prepared",
    "check_suffix",
    "find_loss",
    "prepare",
    "read_table",
    "suggest",
    "write_table",
]
