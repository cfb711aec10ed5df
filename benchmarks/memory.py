"""Peak memory of `fit_path` beside the size of X, each in a process of its own.

    python -m benchmarks.memory [--quick]

What counts is the growth of the peak over the process with its imports and a compiled toy path, in units of X: 1 is
the X that the caller holds, and whatever the fit copies comes on top. Linux counts the peak (VmHWM) for us. The
compiler takes about 100 MiB of its own, so that each process runs twice, and the second finds its programs in JAX's
persistent cache.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import machine, report, results
from benchmarks.envs import ROOT
from benchmarks.process import python_path

SIZES = ((50000, 500), (100, 200000))
QUICK_SIZES = ((2000, 50), (50, 2000))


def peak() -> int:
    """Peak resident bytes of this process."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError("this system does not count the peak of a process")


def child(n: int, p: int) -> None:
    """Fit one path and print what it took."""
    import time

    import numpy as np

    import jaxreg as jr

    rng = np.random.default_rng(0)
    small = rng.standard_normal((50, 10))
    jr.fit_path(small, small[:, 0] + rng.standard_normal(50), lams=5)
    base = peak()
    # Drawn in place, column by column, so that no second array of its size is ever there before the fit.
    X = np.empty((n, p))
    for start in range(0, p, 64):
        X[:, start : start + 64] = rng.standard_normal((n, min(64, p - start)))
    y = X[:, :5].sum(axis=1) + rng.standard_normal(n)
    drawn = peak()
    start_time = time.perf_counter()
    path = jr.fit_path(X, y)
    fields = {
        "base": base,
        "with_X": drawn,
        "peak": peak(),
        "bytes_of_X": X.nbytes,
        "seconds": time.perf_counter() - start_time,
        "gap": float(path.gap.max()),
        "most_nonzeros": int(path.nonzero.max()),
    }
    print(json.dumps(fields))


def measure(n: int, p: int) -> dict[str, Any]:
    """Run a child twice and read what it found, the second time with its programs compiled.

    Raises:
        RuntimeError: if it fails.
    """
    command = [sys.executable, "-m", "benchmarks.memory", "--child", f"{n}x{p}"]
    with tempfile.TemporaryDirectory(prefix="jaxreg-cache-") as cache:
        environment = {
            **os.environ,
            "PYTHONPATH": python_path(),
            "JAX_COMPILATION_CACHE_DIR": cache,
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
            "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
        }
        found = []
        for _ in range(2):
            done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT, env=environment)
            if done.returncode != 0:
                raise RuntimeError(f"{n}×{p} ended with status {done.returncode}: {done.stderr[-500:]}")
            fields = json.loads(done.stdout.splitlines()[-1])
            found.append({**fields, "times_X": (fields["peak"] - fields["base"]) / fields["bytes_of_X"]})
    return {"n": n, "p": p, **found[1], "cold": found[0]}


def table(found: dict[str, Any]) -> str:
    """In Markdown."""
    head = ["n × p", "X", "peak over the bare process", "in units of X", "the same, compiling", "seconds", "worst gap"]
    out = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for row in found["rows"]:
        mib = [f"{value / 2**20:.0f} MiB" for value in (row["bytes_of_X"], row["peak"] - row["base"])]
        cells = [f"{row['n']} × {row['p']}", *mib, f"{row['times_X']:.2f}", f"{row['cold']['times_X']:.2f}"]
        out.append("| " + " | ".join([*cells, f"{row['seconds']:.1f}", f"{row['gap']:.0e}"]) + " |")
    return "\n".join(out)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and write the section of benchmarks/README.md."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.memory", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="tiny, to see that it works")
    parser.add_argument("--out", type=Path, help="default benchmarks/results/<date>-memory.json")
    parser.add_argument("--readme", type=Path, default=report.README)
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.child:
        child(*map(int, options.child.split("x")))
        return
    sizes = QUICK_SIZES if options.quick else SIZES
    found = {"machine": machine.describe(), "rows": [measure(n, p) for n, p in sizes]}
    results.save(found, options.out or results.default_path("memory"))
    print(table(found))
    if not options.quick:
        head = (
            "Peak resident memory of `fit_path` (100 λ) in a process of its own, less that of the process after its "
            "imports and a toy path; the caller's X is 1 of the units; programs from JAX's persistent cache. "
            f"`python -m benchmarks.memory`, commit {found['machine']['commit']}."
        )
        report.put(options.readme, "memory", f"{head}\n\n{table(found)}")


if __name__ == "__main__":
    main()
