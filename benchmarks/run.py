"""Race jaxreg against its peers, every answer certified.

    python -m benchmarks.run --suite cpu                 all rows, all peers
    python -m benchmarks.run --suite cpu --rows '^cv' --peers jaxreg,glmnet --budget 20
    python -m benchmarks.run --suite cpu --peers jaxreg --merge benchmarks/results/2026-01-31-cpu.json
    python -m benchmarks.run --suite gpu --limit 480     jaxreg on an accelerator and on the CPU beside it

Results go to benchmarks/results/, row by row; `python -m benchmarks.report` makes the table and the plot.
"""

import argparse
import re
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks import results
from benchmarks.envs import chosen, default_envs
from benchmarks.problems import GRID, QUICK
from benchmarks.process import Worker
from benchmarks.race import Settings, race


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.run", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--suite", choices=("cpu", "gpu"), default="cpu")
    parser.add_argument("--rows", default="", metavar="REGEX", help="rows whose names match; default all")
    parser.add_argument("--peers", metavar="A,B", help="default all; see python -m benchmarks.envs")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--budget", type=float, default=60.0, help="seconds for each figure of a peer in a row")
    parser.add_argument("--quick", action="store_true", help="small rows, to see that everything works")
    parser.add_argument("--envs", type=Path, default=default_envs(), help="folder of the peers' environments")
    parser.add_argument("--out", type=Path, help="file of results; default benchmarks/results/<date>-<suite>.json")
    parser.add_argument("--merge", type=Path, help="results of the same machine to go on with")
    parser.add_argument("--list", action="store_true", help="list rows and peers, and end")
    parser.add_argument("--limit", type=float, default=480.0, help="of the suite gpu: seconds in all")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a suite."""
    options = parse(arguments)
    # As an exception, so that the workers are ended too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    if options.suite == "gpu":
        from benchmarks import gpu

        gpu.main(options)
        return
    rows = [row for row in (QUICK if options.quick else GRID) if re.search(options.rows, row.name)]
    peers = chosen(options.peers)
    if options.list or not rows:
        print("rows:", *(row.name for row in rows), sep="\n  ")
        print("peers:", *(peer.name for peer in peers), sep="\n  ")
        return
    out = options.out or options.merge or results.default_path("cpu-quick" if options.quick else "cpu")
    settings = {"budget": options.budget, "repeats": options.repeats, "target": 1e-6, "quick": options.quick}
    found = results.start("cpu", settings, options.merge)
    workers: dict[str, Worker] = {}
    with tempfile.NamedTemporaryFile(prefix="jaxreg-benchmarks-", suffix=".log", delete=False) as log:
        print(f"prints and errors of the peers: {log.name}; results: {out}")
    how = Settings(options.envs, Path(log.name), options.budget, options.repeats)
    try:
        for row in rows:
            print(row.name, flush=True)
            about, entries = race(row, peers, how, workers)
            results.add(found, row.name, about, entries)
            results.save(found, out)
    finally:
        for worker in workers.values():
            worker.kill()


if __name__ == "__main__":
    main()
