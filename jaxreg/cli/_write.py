"""What `--out` gets: model.json, coefficients.csv, scores.csv and report.html."""

import csv
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from jaxreg.io import InputError
from jaxreg.report import Summary, render


def write_sweep(summary: Summary, folder: Path) -> list[Path]:
    """Write the four files, replacing older ones.

    Raises:
        InputError: if the folder cannot be made or written to.
    """
    html = render(summary)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        files = [folder / name for name in ("report.html", "model.json", "coefficients.csv", "scores.csv")]
        report, model, coefficients, scores = files
        report.write_text(html, encoding="utf-8")
        summary.model().save(model)
        _write_csv(
            coefficients,
            ["feature", "coef_min", "coef_1se", "effect_min", "effect_1se"],
            _coefficients(summary),
        )
        ratio, folds = ["l1_ratio"] if summary.grid.l1_ratios is not None else [], len(summary.best.scores)
        header = [*ratio, "lam", "mean", "se", "nonzero", "gap", *(f"fold_{k + 1}" for k in range(folds))]
        _write_csv(scores, header, _scores(summary))
    except OSError as error:
        raise InputError(f"output folder {str(folder)!r} cannot be written: {error.strerror or error}") from error
    return files


def _coefficients(summary: Summary) -> Iterable[list[Any]]:
    """Coefficients on the scale of the table, and effects of one standard deviation, largest first."""
    yield ["(intercept)", summary.best.intercept("min"), summary.best.intercept("1se"), "", ""]
    for row in summary.effects():
        yield [row.feature, row.at_min, row.at_1se, row.effect, row.effect_1se]


def _scores(summary: Summary) -> Iterable[list[Any]]:
    """One line for every λ (and l1 ratio): score, size of the model, certificate, and scores of the folds."""
    grid = summary.grid
    ratios = [None] if grid.l1_ratios is None else grid.l1_ratios.tolist()
    for r, ratio in enumerate(ratios):
        one = grid if ratio is None else grid.at_ratio(r)
        lead = [] if ratio is None else [ratio]
        columns = (one.lams, one.mean, one.se, one.path.nonzero, one.path.gap, *one.scores)
        for figures in zip(*(column.tolist() for column in columns), strict=True):
            yield [*lead, *figures]


def _write_csv(path: Path, header: list[str], rows: Iterable[list[Any]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)
