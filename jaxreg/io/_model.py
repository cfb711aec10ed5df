"""Fitted models as files: everything that is needed to predict on a new table, in readable JSON."""

import dataclasses
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import jax
import jax.numpy as jnp
import numpy as np

from jaxreg.io._columns import Categories, Numeric
from jaxreg.io._losses import find_loss
from jaxreg.io._prepare import Encoding
from jaxreg.io._table import InputError, import_polars

if TYPE_CHECKING:
    import polars

FORMAT, VERSION = "jaxreg-model", 1


@dataclasses.dataclass(frozen=True)
class Fit:
    """One chosen strength: its coefficients, on the scale of the encoded columns, and its score.

    `lam` is the strength on standardized features if the model was standardized; `coef` and `intercept` need
    no further scaling either way.
    """

    lam: float
    coef: np.ndarray
    intercept: float
    score: float
    se: float


@dataclasses.dataclass(frozen=True)
class Model:
    """A fitted linear model with the encoding of its table.

    Attributes:
        loss: its name, with its number after a colon if it has one, as in "quantile:0.9".
        penalty: name of the penalty, such as "l1".
        l1_ratio: mix of the elastic net, None for other penalties.
        standardize: whether λ refers to standardized features.
        measure: what `score` measures.
        target: name of the target column.
        classes: the two values of the target that became 0 and 1, None for numbers.
        encoding: what each column became.
        fits: by the name of the choice, "min" and "1se".
        version: of jaxreg, when it was made.
    """

    loss: str
    penalty: str
    l1_ratio: float | None
    standardize: bool
    measure: str
    target: str
    classes: tuple[Any, Any] | None
    encoding: Encoding
    fits: dict[str, Fit]
    version: str

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write model.json."""
        names = self.encoding.feature_names
        fits = {
            choice: {
                "lam": fit.lam,
                "score": fit.score,
                "se": fit.se,
                "intercept": fit.intercept,
                "coef": dict(zip(names, np.asarray(fit.coef, float).tolist(), strict=True)),
            }
            for choice, fit in self.fits.items()
        }
        document = {
            "format": FORMAT,
            "version": VERSION,
            "jaxreg": self.version,
            "loss": self.loss,
            "penalty": {"name": self.penalty, "l1_ratio": self.l1_ratio},
            "standardize": self.standardize,
            "measure": self.measure,
            "target": {"name": self.target, "classes": self.classes},
            "columns": [_column_to_json(column) for column in self.encoding.columns],
            "fits": fits,
        }
        Path(path).write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Read model.json.

        Raises:
            InputError: if the file cannot be read, or is not a model of a version that is known.
        """
        try:
            document = json.loads(Path(path).read_text(encoding="utf-8"))
        except OSError as error:
            raise InputError(f"model {str(path)!r} cannot be read: {error.strerror or error}") from error
        except ValueError as error:
            raise InputError(f"model {str(path)!r} is not a JSON file: {error}") from error
        if not isinstance(document, dict) or document.get("format") != FORMAT:
            raise InputError(f"model {str(path)!r} is not a jaxreg model: no format {FORMAT!r} in it")
        if document.get("version") != VERSION:
            raise InputError(f"model {str(path)!r} has version {document.get('version')!r}, expected {VERSION}")
        try:
            return cls._from_json(document)
        except (KeyError, TypeError, ValueError) as error:
            reason = f"{type(error).__name__}: {error}"
            raise InputError(f"model {str(path)!r} is incomplete or damaged ({reason})") from error

    @classmethod
    def _from_json(cls, document: dict[str, Any]) -> Self:
        encoding = Encoding(tuple(_column_from_json(column) for column in document["columns"]))
        names = encoding.feature_names
        fits = {
            choice: Fit(
                lam=float(fit["lam"]),
                coef=np.array([fit["coef"][name] for name in names], float),
                intercept=float(fit["intercept"]),
                score=float(fit["score"]),
                se=float(fit["se"]),
            )
            for choice, fit in document["fits"].items()
        }
        classes = document["target"]["classes"]
        find_loss(document["loss"])
        return cls(
            loss=document["loss"],
            penalty=document["penalty"]["name"],
            l1_ratio=document["penalty"]["l1_ratio"],
            standardize=document["standardize"],
            measure=document["measure"],
            target=document["target"]["name"],
            classes=None if classes is None else tuple(classes),
            encoding=encoding,
            fits=fits,
            version=document["jaxreg"],
        )

    def predict(self, table: "polars.DataFrame", at: str = "min") -> tuple["polars.DataFrame", list[str]]:
        """Return the table with columns added, and notes.

        Added are `prediction`, and for the logistic loss `probability` of the class that counted as 1;
        `prediction` is then that class where the probability is at least one half, and the other elsewhere.

        Args:
            table: with every column that the model was trained on, in any order; others are passed through.
            at: which choice of λ, "min" or "1se".

        Raises:
            InputError: if a column is missing or unfit, or already bears a name that is to be added.
        """
        if at not in self.fits:
            raise InputError(f"the model has no choice {at!r}: expected one of {', '.join(self.fits)}")
        pl = import_polars()
        X, notes = self.encoding.encode(table)
        fit = self.fits[at]
        with jax.enable_x64(True):
            mean = np.asarray(find_loss(self.loss).mean(jnp.asarray(X @ fit.coef + fit.intercept)))
        added: dict[str, Any] = {"prediction": mean}
        if self.classes is not None:
            zero, one = self.classes
            added = {"probability": mean, "prediction": [one if yes else zero for yes in mean >= 0.5]}
            notes.append(f"probability is that of {self.target} = {one}.")
        taken = [name for name in added if name in table.columns]
        if taken:
            raise InputError(f"table already has a column {taken[0]!r}: rename it first")
        used = {self.target, *(column.name for column in self.encoding.columns)}
        extra = [name for name in table.columns if name not in used]
        if extra:
            notes.append(f"Not used by the model, passed through: {', '.join(extra)}.")
        return table.with_columns([pl.Series(name, values) for name, values in added.items()]), notes


def _column_to_json(column: Numeric | Categories) -> dict[str, Any]:
    if isinstance(column, Numeric):
        return {"name": column.name, "kind": "numeric"}
    levels = dict(zip(column.levels, column.shares, strict=True))
    return {"name": column.name, "kind": "categories", "shares": levels}


def _column_from_json(column: dict[str, Any]) -> Numeric | Categories:
    if column["kind"] == "numeric":
        return Numeric(column["name"])
    if column["kind"] == "categories":
        return Categories(column["name"], tuple(column["shares"]), tuple(column["shares"].values()))
    raise ValueError(f"unknown kind of column {column['kind']!r}")
