"""How jaxreg's time grows when the number of strengths, folds or l1 ratios doubles, the rest held fixed.

    python -m benchmarks.growth [--n 1000] [--p 200] [--repeats 5] [--quick]

Warm medians; the sizes take turns, so that a disturbance of the machine hits them all. Every answer's gap is noted.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import jaxreg as jr
from benchmarks import machine, report, results
from tests.problems import balanced_folds, gaussian

SIZES = {
    "number of λ": (25, 50, 100, 200, 400),
    "number of folds": (5, 10, 20, 40),
    "number of l1 ratios": (1, 2, 4, 8),
}
QUICK_SIZES = {"number of λ": (5, 10), "number of folds": (2, 4), "number of l1 ratios": (1, 2)}


def problem(X: np.ndarray, y: np.ndarray, what: str, size: int) -> Callable[[], Any]:
    """A cross-validation that has `size` of what grows, and 100 λ, 10 folds, one l1 ratio otherwise."""
    lams = size if what == "number of λ" else 100
    folds = size if what == "number of folds" else 10
    fold_id = balanced_folds(len(y), folds)
    # The same range of ratios for every number of them, so that the problems are alike.
    ratios = np.linspace(0.5, 1.0, size) if size > 1 else np.array([0.75])
    options: dict[str, Any] = {"lams": lams, "fold_id": fold_id, "standardize": False}
    if what == "number of l1 ratios":
        options |= {"penalty": jr.ElasticNet(), "l1_ratios": ratios}
    return lambda: jr.cross_validate(X, y, **options)


def measure(X: np.ndarray, y: np.ndarray, what: str, sizes: Sequence[int], repeats: int) -> dict[str, Any]:
    """Cold time, warm medians and gaps for every size."""
    runs = {size: problem(X, y, what, size) for size in sizes}
    cold, gap, warm = {}, {}, {size: [] for size in sizes}
    for size, run in runs.items():
        start = time.perf_counter()
        cv = run()
        cold[size] = time.perf_counter() - start
        gap[size] = float(max(cv.fold_gap.max(), *(path.gap.max() for path in cv.paths)))
    for _ in range(repeats):
        for size, run in runs.items():
            start = time.perf_counter()
            run()
            warm[size].append(time.perf_counter() - start)
    median = [statistics.median(warm[size]) for size in sizes]
    return {
        "what": what,
        "sizes": list(sizes),
        "cold": [cold[size] for size in sizes],
        "warm": median,
        "gap": [gap[size] for size in sizes],
        "per_doubling": [
            float((later / first) ** (1 / np.log2(b / a)))
            for first, later, a, b in zip(median, median[1:], sizes, sizes[1:], strict=False)
        ],
    }


def plot(found: dict[str, Any], path: Path) -> None:
    """Time against size, both logarithmic, with a line of slope one."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, panels = plt.subplots(1, len(found["curves"]), figsize=(10, 3.2), layout="constrained")
    for axes, curve in zip(panels, found["curves"], strict=True):
        sizes, warm = np.array(curve["sizes"]), np.array(curve["warm"])
        axes.loglog(sizes, warm, "o-", label="measured, warm")
        axes.loglog(sizes, warm[0] * sizes / sizes[0], ":", color="0.5", label="proportional")
        axes.set_xticks(sizes, [str(size) for size in sizes])
        axes.minorticks_off()
        axes.set_xlabel(curve["what"])
        ticks = [
            tick
            for tick in (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50)
            if 0.5 * warm[0] <= tick <= 2 * (warm[0] * sizes[-1] / sizes[0])
        ]
        axes.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
        axes.grid(color="0.92")
    panels[0].set_ylabel("seconds")
    panels[0].legend(frameon=False, fontsize=8)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=130)
    plt.close(figure)


def table(found: dict[str, Any]) -> str:
    """The curves, in Markdown."""
    out = ["| what grows | seconds, warm | each doubling costs | worst gap |", "|---|---|---|---|"]
    for curve in found["curves"]:
        warm = ", ".join(f"{size}: {time:.3g}" for size, time in zip(curve["sizes"], curve["warm"], strict=True))
        factors = ", ".join(f"{factor:.2f}×" for factor in curve["per_doubling"])
        out.append(f"| {curve['what']} | {warm} | {factors} | {max(curve['gap']):.0e} |")
    return "\n".join(out)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, draw, and write the section of benchmarks/README.md."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.growth", description=__doc__)
    parser.add_argument("--n", type=int, default=1000)
    parser.add_argument("--p", type=int, default=200)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="tiny, to see that it works")
    parser.add_argument("--out", type=Path, help="default benchmarks/results/<date>-growth.json")
    parser.add_argument("--readme", type=Path, default=report.README)
    options = parser.parse_args(arguments)
    n, p = (60, 8) if options.quick else (options.n, options.p)
    X, y = gaussian(n, p, 0.5)
    sizes = QUICK_SIZES if options.quick else SIZES
    found = {
        "command": f"python -m benchmarks.growth --n {n} --p {p}",
        "machine": machine.describe(),
        "curves": [measure(X, y, what, steps, options.repeats) for what, steps in sizes.items()],
    }
    out = options.out or results.default_path("growth")
    results.save(found, out)
    picture = out.with_suffix(".png")
    plot(found, picture)
    print(table(found))
    if not options.quick:
        head = (
            f"Warm time of a cross-validation of {n} × {p} (equicorrelation 0.5; 100 λ, 10 folds, one l1 ratio, "
            f"but for what grows); `{found['command']}`, {found['machine']['cores']} cores of "
            f"{found['machine']['cpu']}, commit {found['machine']['commit']}."
        )
        image = f"![Seconds against the number of λ, of folds and of l1 ratios.](results/{picture.name})"
        report.put(options.readme, "growth", f"{head}\n\n{image}\n\n{table(found)}")


if __name__ == "__main__":
    main()
