"""Results as JSON: rows, entries of peers, and the runs that they come from."""

import datetime
import json
import shlex
import sys
from pathlib import Path
from typing import Any

from benchmarks import machine

FOLDER = Path(__file__).parent / "results"
SAME = ("cpu", "cores", "memory_gib")


def start(suite: str, settings: dict[str, Any], merge: Path | None) -> dict[str, Any]:
    """Begin a file of results, or go on with one of the same machine.

    Entries name the run that they come from: ratios between runs say less than ratios within one.

    Raises:
        SystemExit: if the file to merge into is of another suite or machine.
    """
    here = machine.describe()
    results: dict[str, Any] = {"suite": suite, "runs": {}, "rows": {}}
    if merge is not None and merge.exists():
        results = json.loads(merge.read_text())
        if results["suite"] != suite:
            raise SystemExit(f"{merge} is of the suite {results['suite']}")
        for run in results["runs"].values():
            if any(run["machine"][key] != here[key] for key in SAME):
                raise SystemExit(f"{merge} was measured on another machine: {run['machine']}")
    now = datetime.datetime.now(datetime.UTC)
    name = now.strftime("%Y-%m-%dT%H:%M:%SZ")
    # Where files lie on the machine is of no use to others.
    words = (word.rsplit("/", 1)[-1] if word.startswith("/") else word for word in sys.argv[1:])
    command = f"python -m benchmarks.run {shlex.join(words)}"
    results["runs"][name] = {"command": command, "machine": here, "settings": settings}
    results["last_run"] = name
    return results


def add(results: dict[str, Any], name: str, about: dict[str, Any], entries: dict[str, Any]) -> None:
    """Put a row's entries in, in place of older ones of the same peers."""
    row = results["rows"].setdefault(name, {"about": about, "entries": {}})
    row["about"] = about
    for peer, entry in entries.items():
        row["entries"][peer] = entry | {"run": results["last_run"]}


def save(results: dict[str, Any], path: Path) -> None:
    """Write, by way of a second file so that a break leaves the old one whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(".tmp")
    draft.write_text(json.dumps(results, indent=1) + "\n")
    draft.replace(path)


def default_path(suite: str) -> Path:
    """benchmarks/results/<date>-<suite>.json."""
    return FOLDER / f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d}-{suite}.json"


def latest(suite: str) -> Path | None:
    """The newest results of a suite."""
    found = sorted(FOLDER.glob(f"*-{suite}.json"))
    return found[-1] if found else None
