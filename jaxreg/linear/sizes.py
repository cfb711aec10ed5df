"""Sizes rounded up, so that data of a near size share compiled programs.

What fills up is harmless: a row has weight 0 and repeats the first one, so that it is as legal for any loss as data
are; a column is zero, and a column that is zero has coefficient 0.
"""

import numpy as np

LEAST = 8
"""Small sizes become multiples of this."""


def rounded(size: int, steps: int = 8) -> int:
    """Round up to one of so many sizes per power of two: eight make it at most an eighth more.

    Few steps are for sizes that differ much between data that are alike, such as the number of active columns.

    >>> [rounded(size) for size in (3, 17, 100, 1000, 1025)]
    [8, 24, 104, 1024, 1152]
    >>> [rounded(size, steps=2) for size in (3, 17, 100, 1000, 1025)]
    [8, 24, 128, 1024, 1536]
    """
    step = max(LEAST, (1 << max(size.bit_length() - 1, 0)) // steps)
    return -(-size // step) * step


def fill_up(rows: np.ndarray, size: int, columns: int | None = None) -> np.ndarray:
    """Repeat the first of the rows up to `size` rows, with zeros up to so many columns."""
    n, *rest = rows.shape
    if columns is not None:
        rest[0] = columns
    if (size, *rest) == rows.shape:
        return rows
    full = np.empty((size, *rest), rows.dtype)
    inside = full if columns is None else full[:, : rows.shape[1]]
    inside[:n], inside[n:] = rows, rows[0]
    if columns is not None:
        full[:, rows.shape[1] :] = 0
    return full
