"""Make the table and the plot of benchmarks/README.md from the newest results.

python -m benchmarks.report [--results FILE] [--readme FILE]
"""

import argparse
import dataclasses
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import results
from benchmarks.envs import PEERS

README = Path(__file__).parent / "README.md"
TITLES = {peer.name: peer.title for peer in PEERS}


@dataclasses.dataclass(frozen=True)
class Best:
    """The quickest peer of a row in one respect."""

    peer: str
    seconds: float
    gap: float
    bound: bool = False
    """Whether nobody got there, and `seconds` is what the quickest needs at the least."""
    doubtful: bool = False
    """Whether a peer whose budget ended might have been quicker."""
    same_run: bool = True


@dataclasses.dataclass(frozen=True)
class Line:
    """One row of the table."""

    name: str
    ours: dict[str, Any] | None
    cold: dict[str, Any] | None
    default: Best | None
    certified: Best | None

    def ratio(self, best: Best | None) -> float:
        """How many times jaxreg's time the peer takes; NaN where either has none."""
        if best is None or self.ours is None or "median" not in self.ours:
            return math.nan
        return best.seconds / self.ours["median"]


def quickest(entries: dict[str, Any], which: str, our_run: str | None) -> Best | None:
    """The quickest peer at its default tolerance, or at the certified gap."""
    figures = {name: e[which] for name, e in entries.items() if name != "jaxreg" and which in e}
    certified = which == "certified"
    done = {n: f for n, f in figures.items() if f["state"] == "done" and (f["certified"] or not certified)}
    bounds = {n: f["more_than"] for n, f in figures.items() if "more_than" in f and n not in done}
    if which == "default":
        bounds = {n: f["first"] for n, f in figures.items() if f["state"] == "over budget"}
    if done:
        name = min(done, key=lambda n: done[n]["median"])
        seconds, gap = done[name]["median"], done[name]["gap"]
        doubtful = certified and any(bound < seconds for bound in bounds.values())
        return Best(name, seconds, gap, False, doubtful, entries[name]["run"] == our_run)
    if bounds:
        name = min(bounds, key=bounds.__getitem__)
        return Best(name, bounds[name], figures[name].get("best_gap", math.nan), True)
    return None


def lines(found: dict[str, Any]) -> list[Line]:
    """Every row, in the order of the results."""
    out = []
    for name, row in found["rows"].items():
        entries = row["entries"]
        ours = entries.get("jaxreg", {})
        best = [quickest(entries, which, ours.get("run")) for which in ("default", "certified")]
        out.append(Line(name, ours.get("certified"), ours.get("cold"), *best))
    return out


def seconds(value: float) -> str:
    """Three digits, no exponent."""
    return f"{value:.3g}" if value < 100 else f"{value:.0f}"


def cell(line: Line, best: Best | None) -> tuple[str, str]:
    """The peer's figure, and the ratio."""
    if best is None:
        return "—", "—"
    gap = "" if math.isnan(best.gap) else f" ({best.gap:.0e})"
    figure = (
        f"{TITLES[best.peer]} {'> ' if best.bound else ''}{seconds(best.seconds)} s{gap}{' ?' if best.doubtful else ''}"
    )
    ratio = line.ratio(best)
    mark = "" if best.same_run or best.bound else " †"
    return figure, "—" if math.isnan(ratio) else f"{'> ' if best.bound else ''}{ratio:.2g}×{mark}"


def table(found: dict[str, Any]) -> str:
    """The table, in Markdown."""
    head = [
        "row",
        "jaxreg, certified (gap)",
        "cold (programs)",
        "quickest at its default (gap)",
        "ratio",
        "quickest at gap ≤ 1e-6",
        "ratio",
    ]
    out = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for line in lines(found):
        ours, cold = "—", "—"
        if line.ours is not None:
            done = line.ours["state"] == "done"
            ours = f"{seconds(line.ours['median'])} s ({line.ours['gap']:.0e})" if done else line.ours["state"]
            if done and not line.ours["certified"]:
                ours += " not certified"
        if line.cold is not None and "programs" in line.cold:
            cold = f"{seconds(line.cold['seconds'])} s ({line.cold['programs']:.0f})"
        out.append(
            "| " + " | ".join([line.name, ours, cold, *cell(line, line.default), *cell(line, line.certified)]) + " |"
        )
    return "\n".join(out)


def everyone(found: dict[str, Any]) -> str:
    """All peers' figures, in Markdown: default and certified."""
    names = [peer.name for peer in PEERS if any(peer.name in row["entries"] for row in found["rows"].values())]
    out = ["| row | " + " | ".join(TITLES[n] for n in names) + " |", "|" + "---|" * (len(names) + 1)]
    for row, content in found["rows"].items():
        cells = []
        for name in names:
            entry = content["entries"].get(name, {})
            if "default" not in entry:
                cells.append("missing" if "missing" in entry else "—")
                continue
            cells.append(f"{short(entry['default'], False)} · {short(entry['certified'], True)}")
        out.append(f"| {row} | " + " | ".join(cells) + " |")
    return "\n".join(out)


def short(figure: dict[str, Any], certified: bool) -> str:
    """A figure in a few letters."""
    if figure["state"] == "done":
        return seconds(figure["median"]) + ("" if certified else f" ({figure['gap']:.0e})")
    if figure["state"] == "error":
        return "error"
    if figure["state"] == "stalled":
        return f"stalls at {figure['best_gap']:.0e}"
    return f"> {seconds(figure.get('more_than', figure['first']))}"


def machines(found: dict[str, Any]) -> str:
    """What was run where."""
    out = []
    for name, run in found["runs"].items():
        here = run["machine"]
        versions = ", ".join(f"{key} {value}" for key, value in here["versions"].items())
        out.append(
            f"- {name}: `{run['command']}` on {here['cpu']} ({', '.join(here['vector'])}), {here['cores']} of "
            f"{here['cores_of_machine']} cores, {here['memory_gib']} GiB, load {here['load_at_start']} at the start; "
            f"commit {here['commit']}; {versions}"
        )
    peers = {n: e["version"] for row in found["rows"].values() for n, e in row["entries"].items() if "version" in e}
    out.append(
        "- peers: " + ", ".join(f"{TITLES[name]} {version}" for name, version in peers.items() if name in TITLES)
    )
    absent = {n: e["missing"] for row in found["rows"].values() for n, e in row["entries"].items() if "missing" in e}
    out += [f"- missing: {TITLES.get(name, name)}: {reason}" for name, reason in absent.items()]
    reasons: dict[tuple[str, str], list[str]] = {}
    for row, content in found["rows"].items():
        for name, entry in content["entries"].items():
            for word in ("unsupported", "error"):
                if word in entry:
                    reasons.setdefault((name, entry[word]), []).append(row)
    for (name, reason), rows in reasons.items():
        out.append(f"- {TITLES.get(name, name)} sits out {len(rows)} rows: {reason}")
    return "\n".join(out)


def plot(found: dict[str, Any], path: Path) -> None:
    """Speed ratios of every row on a logarithmic axis."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    shown = [line for line in lines(found) if line.ours is not None and "median" in line.ours]
    if not shown:
        return
    figure, axes = plt.subplots(figsize=(9, 1.6 + 0.27 * len(shown)), layout="constrained")
    y = list(range(len(shown)))
    styles = (
        ("default", "quickest peer at its own default tolerance", "C1", 0.16),
        ("certified", "quickest peer at gap ≤ 1e-6", "C0", -0.16),
    )
    for which, label, color, shift in styles:
        for bound, marker in ((False, "o"), (True, ">")):
            at = [(line.ratio(getattr(line, which)), k) for k, line in enumerate(shown)]
            at = [(r, k) for r, k in at if not math.isnan(r) and getattr(shown[k], which).bound == bound]
            if at:
                text = label + (": at least" if bound else "")
                axes.scatter(
                    [r for r, _ in at], [k + shift for _, k in at], c=color, marker=marker, s=36, label=text, zorder=3
                )
    axes.axvline(1, color="0.3", linewidth=1)
    axes.axvline(5, color="0.6", linewidth=1, linestyle=":")
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}×")
    axes.set_yticks(y, [line.name for line in shown], fontsize=8)
    axes.set_ylim(len(shown) - 0.4, -0.6)
    axes.set_xlabel("peer's time ÷ jaxreg's (certified to 1e-6, warm)")
    axes.grid(axis="both", color="0.92")
    axes.set_axisbelow(True)
    figure.legend(loc="outside upper center", ncols=2, fontsize=8, frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=130)
    plt.close(figure)


def put(readme: Path, name: str, text: str) -> None:
    """Replace what stands between the markers of a name.

    Raises:
        ValueError: if the markers are not there.
    """
    begin, end = f"<!-- {name}:begin -->", f"<!-- {name}:end -->"
    content = readme.read_text(encoding="utf-8")
    if begin not in content or end not in content:
        raise ValueError(f"{readme} has no markers {begin} and {end}")
    head, rest = content.split(begin, 1)
    tail = rest.split(end, 1)[1]
    readme.write_text(f"{head}{begin}\n{text}\n{end}{tail}", encoding="utf-8")


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the table and the plot."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.report", description=__doc__)
    parser.add_argument("--results", type=Path, help="default: the newest in benchmarks/results")
    parser.add_argument("--readme", type=Path, default=README)
    options = parser.parse_args(arguments)
    path = options.results or results.latest("cpu")
    if path is None:
        raise SystemExit("no results yet: python -m benchmarks.run --suite cpu")
    found = json.loads(path.read_text())
    picture = path.with_suffix(".png")
    plot(found, picture)
    parts = [machines(found), ""]
    if picture.exists():
        try:
            shown = picture.resolve().relative_to(options.readme.resolve().parent)
        except ValueError:
            shown = picture
        parts += [f"![For every row, how many times jaxreg's time the quickest peer takes.]({shown})", ""]
    parts += [
        table(found),
        "",
        "All peers: seconds (gap) at the default tolerance · seconds at gap ≤ 1e-6.",
        "",
        everyone(found),
    ]
    put(options.readme, "cpu", "\n".join(parts))
    print(table(found))


if __name__ == "__main__":
    main()
