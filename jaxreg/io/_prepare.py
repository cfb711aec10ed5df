"""From a table to features and a target, with notes on everything that was done."""

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxreg._format import count
from jaxreg.io._columns import (
    Categories,
    Numeric,
    as_floats,
    as_text,
    is_categorical,
    kind,
    learn,
    listed,
    refuse_missing,
)
from jaxreg.io._table import InputError, suggest

if TYPE_CHECKING:
    import polars


@dataclasses.dataclass(frozen=True)
class Encoding:
    """What every column of a table becomes."""

    columns: tuple[Numeric | Categories, ...]

    @property
    def feature_names(self) -> list[str]:
        """Names of the p features, in the order of the matrix."""
        return [feature for column in self.columns for feature in column.features]

    def encode(self, table: "polars.DataFrame") -> tuple[np.ndarray, list[str]]:
        """Return the feature matrix of a table, shape (n, p), and notes on what a reader should know.

        Raises:
            InputError: if a column is missing, has missing values, or is of another type than in training.
        """
        absent = [column.name for column in self.columns if column.name not in table.columns]
        if absent:
            hint = suggest(absent[0], table.columns)
            raise InputError(f"table has no column {absent[0]!r}, which the model needs; {hint}")
        refuse_missing(table.select([column.name for column in self.columns]))
        notes: list[str] = []
        blocks = [column.encode(table[column.name], notes) for column in self.columns]
        return np.concatenate(blocks, axis=1), notes


@dataclasses.dataclass(frozen=True)
class Prepared:
    """A table made ready to fit.

    Attributes:
        X: features, shape (n, p).
        y: target, shape (n,); 0 and 1 for the logistic loss.
        encoding: what each column became.
        target: name of the target column.
        classes: the two values of the target that became 0 and 1; None for numbers.
        loss: its name; "squared" or "logistic" unless another was asked for.
        notes: what was done to the table, one sentence each.
    """

    X: np.ndarray
    y: np.ndarray
    encoding: Encoding
    target: str
    classes: tuple[Any, Any] | None
    loss: str
    notes: list[str]

    @property
    def feature_names(self) -> list[str]:
        """Names of the p features."""
        return self.encoding.feature_names


def prepare(table: "polars.DataFrame", target: str, *, loss: str | None = None, drop: Sequence[str] = ()) -> Prepared:
    """Turn a table into features and a target, and say in notes what was done.

    Args:
        table: a polars table.
        target: name of the column to predict.
        loss: a name, see `LOSSES`; squared or logistic unless given, chosen by the target: two values mean logistic.
        drop: columns to leave out.

    Raises:
        InputError: if a column is unknown, has missing or infinite values, or holds dates, nested values or
            mostly different text; if the target does not suit the loss; if there are fewer than two rows.

    >>> import polars as pl
    >>> table = pl.DataFrame({"dose": [1.0, 2.0, 4.0], "arm": ["b", "a", "a"], "cured": ["no", "no", "yes"]})
    >>> ready = prepare(table, "cured")
    >>> ready.feature_names, ready.X.tolist(), ready.y.tolist()
    (['dose', 'arm=b'], [[1.0, 1.0], [2.0, 0.0], [4.0, 0.0]], [0.0, 0.0, 1.0])
    >>> ready.notes[0]
    'Loss: logistic, because cured has two values, no and yes.'
    """
    for name in (target, *drop):
        if name not in table.columns:
            role = "target" if name == target else "column to drop"
            raise InputError(f"{role} {name!r} is not in the table; {suggest(name, table.columns)}")
    if target in drop:
        raise InputError(f"target {target!r} cannot be dropped")
    if table.height < 2:
        raise InputError(f"table has {count(table.height, 'row')}: at least two are needed to learn anything")
    table = table.drop(drop)
    refuse_missing(table)
    notes: list[str] = [f"Left out as asked: {listed(list(drop))}."] if drop else []
    y, classes, chosen = _target(table[target], loss, notes)
    encoding = Encoding(tuple(learn(table[name]) for name in table.columns if name != target))
    if not encoding.columns:
        raise InputError(f"table has no column besides the target {target!r}")
    names = encoding.feature_names
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise InputError(f"two columns would both be called {twice!r} after encoding: rename one")
    X, _ = encoding.encode(table)
    notes += [column.describe() for column in encoding.columns if isinstance(column, Categories)]
    constant = [name for name, same in zip(names, np.ptp(X, axis=0) == 0, strict=True) if same]
    if constant:
        notes.append(f"Constant, so they keep a coefficient of zero: {listed(constant)}.")
    return Prepared(X, y, encoding, target, classes, chosen, notes)


def _target(
    column: "polars.Series", loss: str | None, notes: list[str]
) -> tuple[np.ndarray, tuple[Any, Any] | None, str]:
    """Target as numbers, its two classes if it is one of two, and the loss that suits it."""
    name, numeric = column.name, column.dtype.is_numeric()
    if not (numeric or is_categorical(column)):
        raise InputError(f"target {name!r} must hold numbers or two categories, got {kind(column)}")
    values = as_floats(column) if numeric else as_text(column)
    different = sorted(set(values.tolist()))
    if len(different) == 1:
        word = "has only one class" if loss == "logistic" or not numeric else "is constant"
        raise InputError(f"target {name!r} {word} (every value is {_show(different[0])}): there is nothing to fit")
    if loss not in (None, "logistic") and not numeric:
        raise InputError(f"target {name!r} must be numeric for the {loss} loss, got {kind(column)}")
    if loss == "logistic" and len(different) != 2:
        raise InputError(f"target {name!r} must have two values for the logistic loss, got {len(different)}")
    if not numeric and len(different) != 2:
        raise InputError(
            f"target {name!r} is {kind(column)} with {len(different)} different values: expected numbers, or two values"
        )
    if loss not in (None, "logistic") or len(different) != 2:
        if loss is None:
            notes.append(f"Loss: squared, because {name} is numeric.")
        return values.astype(np.float64), None, loss or "squared"
    zero, one = different
    if loss is None:
        notes.append(f"Loss: logistic, because {name} has two values, {_show(zero)} and {_show(one)}.")
    if (zero, one) != (0, 1):
        notes.append(f"{name} became 0 and 1: 1 where it is {_show(one)}, 0 where it is {_show(zero)}.")
    return (values == one).astype(np.float64), (_plain(zero), _plain(one)), "logistic"


def _show(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _plain(value: Any) -> Any:
    return int(value) if isinstance(value, float) and value.is_integer() else value
