"""The diabetes table of Efron et al. (2004), on its raw scale."""

from importlib import resources
from typing import NamedTuple

import numpy as np


class Table(NamedTuple):
    """A feature matrix, its target, and the names of the columns."""

    X: np.ndarray
    y: np.ndarray
    feature_names: tuple[str, ...]


def load_diabetes() -> Table:
    """442 diabetes patients, 10 baseline measurements, and disease progression a year later.

    The columns are on their raw scale: `age` in years, `sex` coded 1 or 2, `bmi` in kg/m², `bp` mean
    arterial pressure in mmHg, and six blood serum measurements: total cholesterol `tc`, `ldl`, `hdl`,
    their ratio `tch`, log triglycerides `ltg`, and glucose `glu`. The target `y` is a quantitative
    measure of progression, from 25 to 346.

    Source: Efron, Hastie, Johnstone & Tibshirani (2004), "Least angle regression", Annals of Statistics 32.

    >>> X, y, names = load_diabetes()
    >>> X.shape, y.shape, names[2]
    ((442, 10), (442,), 'bmi')
    """
    text = resources.files("jaxreg.datasets").joinpath("diabetes.csv").read_text(encoding="utf-8")
    header, *rows = text.splitlines()
    values = np.array([row.split(",") for row in rows], dtype=np.float64)
    return Table(values[:, :-1], values[:, -1], tuple(header.split(",")[:-1]))
