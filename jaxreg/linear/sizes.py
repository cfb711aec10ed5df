"""Sizes rounded up, so that data of a near size share compiled programs.

What fills up is harmless: a row has weight 0, as one that every training set holds out, and repeats the first of the
data, so that it is as legal for any loss as they are; a column is zero, and a column that is zero has coefficient 0.
Only the door knows: `as_design` fills X up, `Problem.make` all else, and `Problem.shape` is the shape of the data.

Rounding costs what is computed of the rows and columns that fill up, and a copy of X. Up to 64 sizes are powers of two,
since there a fit's time is not that of its arithmetic; then there are eight for each power of two, at most an eighth
above what was asked for. A dense matrix of more than `COPIED` bytes stays as it is: there a path took a
third more.
"""

import numpy as np

SMALL = 64
"""Sizes up to this are powers of two."""
LEAST = 8
"""The smallest size."""
COPIED = 2**24
"""Bytes of the largest dense matrix that is copied to round its size up: 16 MiB."""


def rounded(size: int, steps: int = 8) -> int:
    """Round up to one of so many sizes per power of two: eight make it at most an eighth more.

    Few steps are for sizes that differ much between data that are alike, such as the number of nonzero entries.

    >>> [rounded(size) for size in (3, 17, 100, 203, 1000, 1025)]
    [8, 32, 104, 208, 1024, 1152]
    >>> [rounded(size, steps=2) for size in (3, 17, 100, 203, 1000, 1025)]
    [8, 32, 128, 256, 1024, 1536]
    """
    if size <= SMALL:
        return max(LEAST, 1 << (size - 1).bit_length())
    step = (1 << size.bit_length() - 1) // steps
    return -(-size // step) * step


def fill_up(rows: np.ndarray, size: int, columns: int | None = None) -> np.ndarray:
    """Repeat the first row up to `size` rows, with zeros up to so many columns; no copy if nothing is missing."""
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
