"""The words that several commands share, with their help."""

from typing import Annotated

import typer

from jaxreg.io import BUILTIN, LOSSES
from jaxreg.selection import MEASURES

Table = Annotated[
    str,
    typer.Argument(metavar="TABLE", help=f"csv, tsv or parquet file; '{BUILTIN}' is built in.", show_default=False),
]
Target = Annotated[
    str | None,
    typer.Option(
        "--target",
        "-t",
        metavar="COLUMN",
        help=f"Column to predict; y for '{BUILTIN}'.",
        show_default=False,
    ),
]
Loss = Annotated[
    str | None,
    typer.Option(
        metavar="LOSS",
        help=f"{', '.join(LOSSES)}; a number may follow, as in quantile:0.9. "
        "By default squared, or logistic where the target has two values.",
        show_default=False,
    ),
]
Drop = Annotated[
    list[str] | None,
    typer.Option(
        metavar="COLUMN",
        help="Column to leave out; repeat it, or separate several by commas.",
        show_default=False,
    ),
]
Folds = Annotated[int, typer.Option(metavar="K", help="Folds of the cross-validation.")]
Lams = Annotated[int, typer.Option(metavar="N", help="Number of strengths λ.")]
Measure = Annotated[
    str | None,
    typer.Option(
        metavar="MEASURE",
        help=f"What to judge by: {', '.join(MEASURES)}; by default mse, or deviance for logistic.",
        show_default=False,
    ),
]
Seed = Annotated[int, typer.Option(metavar="N", help="Seed of all that is random: the same gives the same.")]
Standardize = Annotated[
    bool,
    typer.Option(
        " /--no-standardize",
        help="Penalize the columns as they are, instead of at equal scale.",
        show_default=False,
    ),
]
