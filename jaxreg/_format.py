"""How numbers are written for people: in tables, pictures, reports and on the command line."""

import math
from collections.abc import Sequence


def number(value: float, digits: int = 4) -> str:
    """Write a number with some significant digits, and a dash for NaN.

    >>> number(0.000123456), number(1234567.0), number(-2.5), number(float("nan"))
    ('0.0001235', '1234567', '−2.5', '–')
    """
    if math.isnan(value):
        return "–"
    if value == 0 or not math.isfinite(value):
        return f"{value:g}".replace("-", "−")
    exponent = math.floor(math.log10(abs(value)))
    if exponent < -4 or exponent > 8:
        return f"{value:.{digits - 1}e}".replace("-", "−")
    text = f"{value:.{max(digits - 1 - exponent, 0)}f}"
    return (text.rstrip("0").rstrip(".") if "." in text else text).replace("-", "−")


def plus_minus(value: float, se: float) -> str:
    """Write a mean and its standard error, both to the second digit of the standard error.

    >>> plus_minus(2995.123, 123.4), plus_minus(0.47123, 0.0123), plus_minus(1.0, float("nan"))
    ('2995 ± 123', '0.471 ± 0.012', '1')
    """
    if not math.isfinite(se) or se <= 0:
        return number(value)
    places = min(max(1 - math.floor(math.log10(se)), 0), 9)
    return f"{value:.{places}f} ± {se:.{places}f}".replace("-", "−")


def count(number: int, noun: str) -> str:
    """Write a number of things.

    >>> count(1, "row"), count(3, "row")
    ('1 row', '3 rows')
    """
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def columns(rows: Sequence[tuple[str, ...]], right: tuple[int, ...] = ()) -> str:
    """Write a table in plain text: cells flush left, those of the columns in `right` flush right.

    >>> print(columns([("name", "size"), ("a", "10"), ("bc", "2")], right=(1,)))
    name  size
    a       10
    bc       2
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]

    def line(row: tuple[str, ...]) -> str:
        cells = [c.rjust(w) if k in right else c.ljust(w) for k, (c, w) in enumerate(zip(row, widths, strict=True))]
        return "  ".join(cells).rstrip()

    return "\n".join(line(row) for row in rows)
