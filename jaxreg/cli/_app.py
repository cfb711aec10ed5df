"""The commands and their options."""

import contextlib
import re
import shlex
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.text import Text

import jaxreg
from jaxreg import io
from jaxreg._format import count
from jaxreg.cli._options import Drop, Folds, Lams, Loss, Measure, Seed, Standardize, Table, Target
from jaxreg.cli._show import plain_console, show_comparison, show_notes, show_sweep, written
from jaxreg.cli._write import write_sweep
from jaxreg.io import InputError
from jaxreg.penalties import L1, L2, MCP, SCAD, ElasticNet, Penalty
from jaxreg.report import Summary
from jaxreg.selection import cross_validate
from jaxreg.selection._compare import compare as compare_penalties

PENALTIES: dict[str, type[Penalty]] = {"l1": L1, "l2": L2, "elastic_net": ElasticNet, "mcp": MCP, "scad": SCAD}

app = typer.Typer(
    name="jaxreg",
    help="Regularized linear models from tables: sweep strengths, compare penalties, predict.",
    epilog="Try: **jaxreg sweep diabetes**   (the table is built in)",
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback(invoke_without_command=True)
def _root(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Say the version and exit.", show_default=False)] = False,
) -> None:
    if version:
        typer.echo(f"jaxreg {jaxreg.__version__}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


@app.command(
    epilog="Examples:\n\n"
    "jaxreg sweep diabetes\n\n"
    "jaxreg sweep houses.csv --target price --drop id --out houses/\n\n"
    "jaxreg sweep cells.parquet -t type --l1-ratio 0.1,0.5,1 --measure auc"
)
def sweep(
    context: typer.Context,
    table: Table,
    target: Target = None,
    loss: Loss = None,
    penalty: Annotated[
        str | None,
        typer.Option(
            metavar="PENALTY",
            help="l1 (lasso), l2 (ridge), elastic_net, mcp or scad; l1 by default, elastic_net with --l1-ratio.",
            show_default=False,
        ),
    ] = None,
    l1_ratio: Annotated[
        str | None,
        typer.Option(
            metavar="R[,R…]",
            help="Mix of the elastic net, from 0 (l2) to 1 (l1); several, by commas, are compared.",
            show_default=False,
        ),
    ] = None,
    folds: Folds = 10,
    lams: Lams = 100,
    measure: Measure = None,
    drop: Drop = None,
    standardize: Standardize = True,
    seed: Seed = 0,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            metavar="FOLDER",
            help="Folder for model.json, coefficients.csv, scores.csv and report.html.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Fit a penalty at every strength, and choose the strength by cross-validation."""
    ratios = _ratios(l1_ratio)
    name = penalty or ("l1" if ratios is None else "elastic_net")
    if name not in PENALTIES:
        raise InputError(f"unknown penalty {name!r}: expected {', '.join(PENALTIES)}")
    if ratios is not None and name != "elastic_net":
        raise InputError(f"--l1-ratio belongs to --penalty elastic_net, not to {name}")
    prepared = _prepare(table, target, loss, drop)
    member = ElasticNet(l1_ratio=ratios[0]) if ratios is not None and len(ratios) == 1 else PENALTIES[name]()
    options: dict[str, Any] = {
        "penalty": member,
        "l1_ratios": ratios if ratios is not None and len(ratios) > 1 else None,
    }
    common = _options(prepared, folds, lams, measure, standardize, seed)
    if out is not None and out.exists() and not out.is_dir():
        raise InputError(f"--out must be a folder, and {str(out)!r} is a file")
    with _fitting("cross-validating") as (tell, warned):
        selection = cross_validate(prepared.X, prepared.y, **common, **options, progress=tell)
    constant = float(np.average(selection.null_scores, weights=selection.fold_size))
    command = "jaxreg " + shlex.join(context.obj)
    summary = Summary(Path(table).name, prepared, selection, name, standardize, command, constant, tuple(warned))
    console = plain_console()
    show_sweep(console, summary)
    if out is not None:
        with _working("writing the report"):
            files = write_sweep(summary, out)
        written(console, files)


@app.command(epilog="Example:\n\njaxreg compare diabetes")
def compare(
    table: Table,
    target: Target = None,
    loss: Loss = None,
    l1_ratio: Annotated[float, typer.Option(metavar="R", help="Mix of the elastic net, from 0 (l2) to 1 (l1).")] = 0.5,
    folds: Folds = 10,
    lams: Lams = 100,
    measure: Measure = None,
    drop: Drop = None,
    standardize: Standardize = True,
    seed: Seed = 0,
) -> None:
    """Put L1, L2 and elastic net side by side on your data: error, stability, robustness, and advice."""
    if not 0 <= l1_ratio <= 1:
        raise InputError(f"--l1-ratio must be in [0, 1], got {l1_ratio:g}")
    if loss is not None and loss not in ("squared", "logistic"):
        raise InputError(f"compare is for the squared and the logistic loss, got --loss {loss}: use sweep")
    prepared = _prepare(table, target, loss, drop)
    common = _options(prepared, folds, lams, measure, standardize, seed)
    with _fitting("comparing") as (tell, warned):
        found = compare_penalties(prepared.X, prepared.y, **common, l1_ratio=l1_ratio, progress=tell)
    show_comparison(plain_console(), Path(table).name, prepared.target, found, [*prepared.notes, *warned])


@app.command(epilog="Example:\n\njaxreg predict houses/model.json new.csv --out predictions.csv")
def predict(
    model: Annotated[
        Path,
        typer.Argument(metavar="MODEL", help="model.json, as written by sweep --out.", show_default=False),
    ],
    table: Table,
    out: Annotated[
        Path,
        typer.Option("--out", "-o", metavar="FILE", help="csv, tsv or parquet file to write.", show_default=False),
    ],
    at: Annotated[str, typer.Option(metavar="CHOICE", help="Which choice of λ: min (best) or 1se (simpler).")] = "min",
) -> None:
    """Predict for every row of a table with a saved model."""
    io.check_suffix(out)
    loaded = io.Model.load(model)
    predicted, notes = loaded.predict(io.read_table(table), at)
    io.write_table(predicted, out)
    console = plain_console()
    show_notes(console, notes)
    console.print(Text(f"Predicted {loaded.target} for {count(predicted.height, 'row')}: {out}"))


def run(words: list[str]) -> int:
    """Run the command line on these words, and return the exit code.

    Raises:
        InputError: if a word, a file or a table is not what was expected.
    """
    # Typer shows what it dislikes in a box. The base class of its errors, which it does not export, lets one
    # line do.
    refusal: Any = typer.BadParameter.__mro__[2]
    try:
        code = app(words, standalone_mode=False, prog_name="jaxreg", obj=words)
    except typer.Abort:
        return 130
    except refusal as error:
        message = re.sub(r"[.\s]+$", "", error.format_message())
        raise InputError(f"{message[:1].lower()}{message[1:]} (see jaxreg --help)") from error
    return code if isinstance(code, int) else 0


def _prepare(table: str, target: str | None, loss: str | None, drop: list[str] | None) -> io.Prepared:
    """Read and prepare a table, refusing what the options cannot mean."""
    if loss is not None:
        io.find_loss(loss)
    frame = io.read_table(table)
    if target is None:
        if table != io.BUILTIN:
            raise InputError(f"--target is needed: which column should be predicted? {io.suggest('', frame.columns)}")
        target = "y"
    names: list[str] = []
    for words in drop or []:
        names += [words] if words in frame.columns else [name.strip() for name in words.split(",")]
    return io.prepare(frame, target, loss=loss, drop=names)


def _options(
    prepared: io.Prepared, folds: int, lams: int, measure: str | None, standardize: bool, seed: int
) -> dict[str, Any]:
    if lams < 1:
        raise InputError(f"--lams must be at least 1, got {lams}")
    if seed < 0:
        raise InputError(f"--seed must not be negative, got {seed}")
    return {
        "loss": io.find_loss(prepared.loss), "folds": folds, "lams": lams, "measure": measure,
        "standardize": standardize, "seed": seed,
    }  # fmt: skip


def _ratios(words: str | None) -> list[float] | None:
    """Read "0.1,0.5,1"."""
    if words is None:
        return None
    try:
        ratios = [float(word) for word in words.split(",")]
    except ValueError:
        raise InputError(f"--l1-ratio must be numbers separated by commas, got {words!r}") from None
    for ratio in ratios:
        if not 0 <= ratio <= 1:
            raise InputError(f"--l1-ratio must be in [0, 1], got {ratio:g}")
    return ratios


@contextlib.contextmanager
def _fitting(words: str) -> Iterator[tuple[Callable[[int, int], None], list[str]]]:
    """Show progress, collect warnings, and hand on what the library refuses as a matter of the input.

    Its messages are written for that.
    """
    warned: list[str] = []
    with _working(words) as tell, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", RuntimeWarning)
        try:
            yield tell, warned
        except ValueError as error:
            raise InputError(str(error)) from error
        finally:
            warned += dict.fromkeys(str(warning.message) for warning in caught)


@contextlib.contextmanager
def _working(words: str) -> Iterator[Callable[[int, int], None]]:
    """Show a spinner and elapsed time on a terminal, and nothing elsewhere."""
    console = Console(stderr=True)
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(24), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(words, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)
