"""What a column of a table becomes: learned once, repeated exactly on new tables.

Numbers stay as they are. Text, booleans and categories become 0/1 columns: one for two categories (1 where it
is the second, in alphabetical order), and one for each of three or more. None is dropped then: with a penalty
no reference category is needed, and dropping one would make the fit depend on which. A category that was
never seen is given the training means of its 0/1 columns, which is the average effect of the categories seen.
"""

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from jaxreg._format import count
from jaxreg.io._table import InputError, import_polars

if TYPE_CHECKING:
    import polars


@dataclasses.dataclass(frozen=True)
class Numeric:
    """A column of numbers, used as it is."""

    name: str

    @property
    def features(self) -> list[str]:
        """The column's own name."""
        return [self.name]

    def encode(self, column: "polars.Series", notes: list[str]) -> np.ndarray:
        """Values, shape (n, 1)."""
        del notes
        if not column.dtype.is_numeric():
            raise InputError(f"column {self.name!r} must be numeric, as it was in training, got {kind(column)}")
        return as_floats(column)[:, None]


@dataclasses.dataclass(frozen=True)
class Categories:
    """A column of categories: their names, and the share of training rows that each has."""

    name: str
    levels: tuple[str, ...]
    shares: tuple[float, ...]

    @property
    def _shown(self) -> slice:
        return slice(1, 2) if len(self.levels) == 2 else slice(None)

    @property
    def features(self) -> list[str]:
        """`column=category` for each 0/1 column."""
        return [f"{self.name}={level}" for level in self.levels[self._shown]]

    def encode(self, column: "polars.Series", notes: list[str]) -> np.ndarray:
        """0/1 columns, shape (n, 1) for two categories and (n, number of them) otherwise."""
        values = as_text(column)
        ones = np.stack([values == level for level in self.levels], axis=1).astype(np.float64)
        unknown = ~ones.any(axis=1)
        ones[unknown] = self.shares
        if unknown.any():
            names = listed(sorted(set(values[unknown])))
            notes.append(
                f"{self.name}: {count(int(unknown.sum()), 'row')} in categories never seen in training "
                f"({names}), which get the average effect of those seen."
            )
        return ones[:, self._shown]

    def describe(self) -> str:
        """Say what the column became."""
        if len(self.levels) == 2:
            first, second = self.levels
            return f"{self.name} became {self.features[0]}: 1 where it is {second}, 0 where it is {first}."
        return (
            f"{self.name} became {len(self.levels)} columns of 0 and 1, one for each category: "
            f"{listed(list(self.levels))}."
        )


def learn(column: "polars.Series") -> Numeric | Categories:
    """Decide what a feature column becomes."""
    if column.dtype.is_numeric():
        return Numeric(column.name)
    cure = f"turn it into numbers, or leave it out with --drop {column.name}"
    if column.dtype.is_temporal():
        raise InputError(f"column {column.name!r} holds dates or times: {cure}")
    if not is_categorical(column):
        raise InputError(f"column {column.name!r} holds {kind(column)}: {cure}")
    values = as_text(column)
    # Text that is mostly numbers is a mistake in the file; declared categories may well be "1" and "2".
    is_text = column.dtype == import_polars().String
    odd = [value for value in values.tolist() if not (is_text and _number_like(value))]
    if 0 < len(odd) < 0.5 * len(values):
        raise InputError(
            f"column {column.name!r} is mostly numbers but has text in {count(len(odd), 'row')} "
            f"(such as {odd[0]!r}): mend it"
        )
    if not odd:
        example = str(values[0])
        raise InputError(f"column {column.name!r} holds numbers written as text (such as {example!r}): {cure}")
    levels, counts = np.unique(values, return_counts=True)
    if len(levels) > max(2, len(values) / 2):
        raise InputError(
            f"column {column.name!r} is text with {len(levels)} different values in {count(len(values), 'row')}: {cure}"
        )
    return Categories(column.name, tuple(levels.tolist()), tuple((counts / len(values)).tolist()))


def refuse_missing(table: "polars.DataFrame") -> None:
    """Refuse missing, NaN and infinite values, naming columns and counts.

    Raises:
        InputError: if there is any.
    """
    bad = []
    for column in table:
        missing = column.null_count()
        if column.dtype.is_float():
            missing += int((~column.drop_nulls().is_finite()).sum())
        if missing:
            bad.append(f"{column.name} ({missing} of {count(table.height, 'row')})")
    if bad:
        raise InputError(f"values are missing, NaN or infinite: {listed(bad)}; fill or remove them first")


def is_categorical(column: "polars.Series") -> bool:
    pl = import_polars()
    return column.dtype in (pl.String, pl.Boolean, pl.Categorical, pl.Enum)


def as_floats(column: "polars.Series") -> np.ndarray:
    return column.cast(import_polars().Float64).to_numpy()


def as_text(column: "polars.Series") -> np.ndarray:
    return column.cast(import_polars().String).to_numpy().astype(str)


def _number_like(value: str) -> bool:
    try:
        float(value.replace(",", "."))
    except ValueError:
        return False
    return True


def kind(column: "polars.Series") -> str:
    pl = import_polars()
    kinds = {pl.String: "text", pl.Boolean: "true/false", pl.Categorical: "categories", pl.Enum: "categories"}
    if column.dtype.is_temporal():
        return "dates or times"
    return kinds.get(column.dtype.base_type(), str(column.dtype))


def listed(names: Sequence[str], most: int = 8) -> str:
    return ", ".join(names[:most]) + (f", … ({len(names)} in all)" if len(names) > most else "")
