"""Reading and writing tables, with one clear sentence where a file is not what it should be."""

import csv
import difflib
import importlib
import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jaxreg.datasets import load_diabetes

if TYPE_CHECKING:
    import polars

BUILTIN = "diabetes"
_MISSING = ["", "NA", "N/A", "NaN", "nan", "null", "NULL"]
_CSV, _PARQUET = (".csv", ".tsv", ".txt"), (".parquet", ".pq")


class InputError(ValueError):
    """Something in a file, a table or an option is not what was expected; the message is one sentence."""


def import_polars() -> Any:
    """Polars, or an error that says how to get it.

    Raises:
        ImportError: if it is not installed.
    """
    try:
        return importlib.import_module("polars")
    except ImportError as error:
        raise ImportError('tables need polars: pip install "jaxreg[cli]"') from error


def read_table(source: str | os.PathLike[str]) -> "polars.DataFrame":
    """Read a csv (or tsv) or parquet file, or the built-in table "diabetes".

    In text files, empty cells and NA, N/A, NaN and null are missing values; commas, semicolons or tabs
    separate columns, whichever the header uses; dates are recognized. Types are judged by all rows.

    Raises:
        InputError: if there is no such file, or it cannot be read as a table.
        ImportError: if polars is not installed.

    >>> read_table("diabetes").shape
    (442, 11)
    """
    pl = import_polars()
    if str(source) == BUILTIN:
        X, y, names = load_diabetes()
        return pl.DataFrame({**dict(zip(names, X.T, strict=True)), "y": y})
    path = Path(source)
    if not path.is_file():
        state = "is a directory, not a file" if path.is_dir() else f"does not exist (built in is: {BUILTIN})"
        raise InputError(f"table {str(source)!r} {state}")
    suffix = check_suffix(path, "table")
    try:
        if suffix in _PARQUET:
            return pl.read_parquet(path)
        return pl.read_csv(
            path,
            separator=_separator(path),
            null_values=_MISSING,
            infer_schema_length=None,
            try_parse_dates=True,
        )
    except UnicodeDecodeError as error:
        raise InputError(f"table {str(source)!r} cannot be read: it is not UTF-8 text") from error
    except (OSError, pl.exceptions.PolarsError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise InputError(f"table {str(source)!r} cannot be read: {reason}") from error


def check_suffix(path: str | os.PathLike[str], role: str = "output") -> str:
    """Return the suffix of a file that can be read or written as a table.

    Raises:
        InputError: if it is another one.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in _CSV + _PARQUET:
        raise InputError(f"{role} {str(path)!r} must end in {', '.join(_CSV + _PARQUET)}")
    return suffix


def write_table(table: "polars.DataFrame", target: str | os.PathLike[str]) -> None:
    """Write a csv (or tsv) or parquet file, as the suffix says.

    Raises:
        InputError: if the suffix is neither, or the file cannot be written.
    """
    suffix = check_suffix(target)
    try:
        if suffix in _PARQUET:
            table.write_parquet(Path(target))
        else:
            table.write_csv(Path(target), separator="\t" if suffix == ".tsv" else ",")
    except OSError as error:
        raise InputError(f"output {str(target)!r} cannot be written: {error.strerror or error}") from error


def suggest(name: str, names: Iterable[str]) -> str:
    """Return words that list the names there are, with the closest one first if any is close."""
    by_lower = {known.lower(): known for known in names}
    close = difflib.get_close_matches(name.lower(), by_lower, n=1, cutoff=0.6)
    hint = f"did you mean {by_lower[close[0]]!r}? " if close else ""
    known = list(by_lower.values())
    more = f", … ({len(known)} in all)" if len(known) > 20 else ""
    return f"{hint}columns are: {', '.join(known[:20])}{more}"


def _separator(path: Path) -> str:
    """Return the separator that the header uses most, after refusing an empty file and repeated names."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        header = file.readline()
    if not header.strip():
        raise InputError(f"table {str(path)!r} is empty, or its first line is: a header was expected there")
    separator = max(",;\t", key=lambda mark: len(next(csv.reader([header], delimiter=mark))))
    names = next(csv.reader([header], delimiter=separator))
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise InputError(f"table {str(path)!r} has more than one column named {repeated[0]!r}")
    return separator
