"""What a person reads in the terminal."""

from pathlib import Path

import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from jaxreg._format import number
from jaxreg.report import Summary
from jaxreg.selection._compare import Comparison

MOST_FEATURES = 12
WIDTH, HEIGHT = 56, 4
_EIGHTHS = " ▁▂▃▄▅▆▇█"


def plain_console() -> Console:
    """Return a console on standard output that takes names of columns as they are, brackets and colons included."""
    return Console(markup=False, emoji=False, highlight=False)


def show_sweep(console: Console, summary: Summary) -> None:
    """Print what a sweep found: setting, notes, the curve, the chosen models, and the strongest features."""
    best, ready = summary.best, summary.ready
    console.print()
    console.print(Text.assemble((ready.target, "bold"), " from ", (summary.table, "bold")))
    console.print(Text(summary.setting, "dim"))
    console.print()
    console.print(_curve(best.lams, best.mean, best.index("min"), best.index("1se"), best.measure_title))
    console.print(_chosen(summary))
    if best.coef("min").any() or best.coef("1se").any():
        console.print(_effects(summary))
        console.print()
    console.print(Text(summary.headline(), "bold"))
    show_notes(console, summary.notes())
    console.print()


def show_comparison(console: Console, table: str, target: str, found: Comparison, notes: list[str]) -> None:
    """Print a comparison: the figures side by side, and the advice."""
    console.print()
    console.print(Text.assemble((target, "bold"), " from ", (table, "bold")))
    console.print(Text(found.heading(), "dim"))
    grid = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    grid.add_column("")
    for row in found.rows:
        grid.add_column(row.name, justify="right")
    for title, lines in found.table():
        grid.add_row(Text(title, "dim"))
        for label, cells in lines:
            grid.add_row("  " + label, *cells)
    console.print(grid)
    if found.remark():
        console.print(Text(found.remark(), "dim"))
        console.print()
    console.print(Text(found.advice, "bold"))
    show_notes(console, notes)
    console.print()


def show_notes(console: Console, notes: list[str]) -> None:
    """Print notes as a list, after an empty line."""
    if notes:
        grid = Table.grid(padding=(0, 1))
        for note in notes:
            grid.add_row("•", note)
        console.print()
        console.print(grid, style="dim")


def written(console: Console, files: list[Path]) -> None:
    """Say which files were written."""
    console.print(Text.assemble("Wrote ", (str(files[0]), "bold"), ", ", ", ".join(file.name for file in files[1:])))


def _chosen(summary: Summary) -> Table:
    p = summary.ready.X.shape[1]
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("model")
    error = f"{summary.best.measure_title}\n± standard error"
    for name in ("λ", error, "features\nkept", "deviance\nexplained", "certified\ngap"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in summary.chosen():
        table.add_row(row.name, row.lam, row.error, f"{row.kept} of {p}", row.explained, row.gap)
    return table


def _effects(summary: Summary) -> Table:
    """List the features with the largest effects, and say how many more there are."""
    rows = [row for row in summary.effects() if row.at_min != 0 or row.at_1se != 0]
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, caption_justify="left")
    table.caption = f"what one sd (standard deviation) of a feature adds to {summary.unit}"
    table.add_column("feature", overflow="ellipsis", max_width=32)
    for name in ("coefficient\nat λ min", "coefficient\nat λ 1se", "one sd adds\nat λ min"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    widest = max(abs(row.effect) for row in rows) or 1.0
    for row in rows[:MOST_FEATURES]:
        values = [number(value) if value else "·" for value in (row.at_min, row.at_1se)]
        effect = f"{'+' if row.effect > 0 else ''}{number(row.effect, 3)}" if row.effect else "·"
        bar = Text(_bar(abs(row.effect) / widest), "blue" if row.effect > 0 else "red")
        table.add_row(row.feature, *values, effect, bar)
    if len(rows) > MOST_FEATURES:
        table.add_row(f"… and {len(rows) - MOST_FEATURES} more", style="dim")
    return table


def _bar(share: float, width: int = 12) -> str:
    """Draw a horizontal bar, to an eighth of a character."""
    full, rest = divmod(round(8 * width * share), 8)
    return "█" * full + " ▏▎▍▌▋▊▉"[rest].strip()


def _curve(lams: np.ndarray, mean: np.ndarray, at_min: int, at_1se: int, title: str) -> Text:
    """Sketch the cross-validated score along λ, with the two choices marked below."""
    low, high = float(np.nanmin(mean)), float(np.nanmax(mean))
    if len(lams) < 3 or not high > low:
        return Text("")
    width = min(WIDTH, len(lams))
    column = np.arange(len(lams)) * width // len(lams)
    level = np.array([mean[column == c].mean() for c in range(width)])
    eighths = 1 + np.round((level - low) / (high - low) * (8 * HEIGHT - 1)).astype(int)
    labels = [number(high), *[""] * (HEIGHT - 2), number(low)]
    margin = max(len(label) for label in labels)
    sketch = Text(f"{title} along λ\n", "dim")
    for row, label in zip(range(HEIGHT - 1, -1, -1), labels, strict=True):
        sketch.append(f"{label:>{margin}} ", "dim")
        sketch.append("".join(_EIGHTHS[min(max(e - 8 * row, 0), 8)] for e in eighths) + "\n", "blue")
    return sketch.append(_marks(width, margin, column[at_1se], column[at_min], lams), "dim")


def _marks(width: int, margin: int, at_1se: int, at_min: int, lams: np.ndarray) -> str:
    """Two lines: where the choices are, and where λ begins and ends."""
    line = [" "] * (width + 12)
    for at, name in ((at_min, "▲ min"), (at_1se, "▲ 1se")):
        line[at : at + len(name)] = name
    if 0 < at_min - at_1se < 6:
        line[at_1se:] = list("▲".ljust(at_min - at_1se) + "▲ 1se, min")
    if at_1se == at_min:
        line[at_min : at_min + 12] = "▲ min = 1se "
    start, end = f"λ = {number(lams[0], 3)} (strong)", f"(weak) {number(lams[-1], 3)}"
    gap = max(width - len(start) - len(end), 1)
    pad = " " * (margin + 1)
    return f"{pad}{''.join(line).rstrip()}\n{pad}{start}{' ' * gap}{end}\n"
