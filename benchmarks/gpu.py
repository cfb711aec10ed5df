"""The suite `gpu`: jaxreg on JAX's default device and on the CPU beside it, scikit-learn, and the device's limits.

    python -m benchmarks.run --suite gpu [--limit 480] [--quick] [--rows REGEX]

One call that checks and times: gaps in float64 for every answer, supports that agree between devices and between a
batch and single fits, and time against the bound that the dominant term of the work sets. Rows come in the order of
their importance; when the time is up, what is there has been written. Without an accelerator the default device is
the CPU too, and everything runs nevertheless.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import results, roofline
from benchmarks.envs import ROOT, Peer
from benchmarks.judge import Answer
from benchmarks.problems import FIVE_RATIOS, FOLDS, QUICK, Row, Task
from benchmarks.process import Worker, python_path
from benchmarks.race import Settings, race

SPARE_SECONDS = 10.0
COLD_CACHE = ("JAX_ENABLE_COMPILATION_CACHE", "false")
DEVICE = Peer(
    "jaxreg",
    "jaxreg on the device",
    "jaxreg",
    fresh=True,
    keep=True,
    variables=(COLD_CACHE, ("XLA_PYTHON_CLIENT_PREALLOCATE", "false")),
)
HOST = Peer(
    "jaxreg-cpu", "jaxreg on the CPU", "jaxreg", fresh=True, keep=True, variables=(COLD_CACHE, ("JAX_PLATFORMS", "cpu"))
)
# Of this interpreter: there may be no network to make an environment.
SKLEARN = Peer("sklearn", "scikit-learn", "scikit_learn")

GRID = [
    Row("cv", 10000, 500),
    Row("cv", 2000, 2000),
    Row("cv", 1000, 100),
    Row("cv", 200, 5000),
    Row("cv", 10000, 500, ratios=FIVE_RATIOS),
    Row("path", 10000, 1000),
    Row("path", 2000, 10000),
    Row("path", 50000, 500),
    Row("path", 10000, 500, loss="logistic"),
    Row("cv", 2000, 2000, ratios=FIVE_RATIOS),
]


def work(row: Row, active: int) -> dict[str, dict[str, float]]:
    """FLOP and bytes of the products that no engine of this kind can do without, in float64.

    Args:
        row: the row.
        active: number of columns that are active in any fit.

    Returns:
        For the Gram matrices of all training sets (one pass over the rows, folds by downdating), the certificates
        of all fits over all columns (through X or through the Gram, whichever is less), and the predictions.
    """
    n, p = row.n, row.p
    fits = row.lams * len(row.ratios) * (FOLDS + 1 if row.kind == "cv" else 1)
    width = p if p < n else active
    inner = min(n, width if p < n else n)
    word = 8.0
    return {
        "gram": {"flops": 2.0 * n * width**2, "bytes": word * (n * width + width**2)},
        "certificate": {"flops": 2.0 * p * inner * fits, "bytes": word * (p * inner + (p + inner) * fits)},
        "predictions": {"flops": 2.0 * n * active * fits, "bytes": word * (n * active + (n + active) * fits)},
    }


def bounds(row: Row, active: int, limits: dict[str, Any]) -> dict[str, Any]:
    """Seconds that each term takes at the least on the measured roofline, and the dominant one."""
    terms = work(row, active)
    times = {
        name: max(term["flops"] / limits["gemm_float64"], term["bytes"] / limits["copy"])
        for name, term in terms.items()
    }
    return {"terms": terms, "seconds": times, "dominant": max(times, key=times.__getitem__), "active": active}


def supports(task: Task, answers: dict[str, Answer]) -> dict[str, Any]:
    """Compare jaxreg's answers of both devices: supports below λ_max, and coefficients."""
    first, second = answers.get(DEVICE.name), answers.get(HOST.name)
    found: dict[str, Any] = {}
    if first is not None:
        found["active"] = int(np.count_nonzero(np.any(first.coef != 0, axis=(0, 1, 2))))
    if first is not None and second is not None:
        a, b = first.coef[:, :, 1:] != 0, second.coef[:, :, 1:] != 0
        found["fits_with_other_support"] = int(np.count_nonzero(np.any(a != b, axis=-1)))
        found["fits"] = int(np.prod(a.shape[:3]))
        found["largest_difference"] = float(np.abs(first.coef - second.coef).max())
        found["largest_coefficient"] = float(np.abs(second.coef).max())
    return found


def single_and_batched() -> None:
    """Print how the fits of a batch differ from the same fits one by one, on the default device."""
    import jax

    import jaxreg as jr
    from tests.problems import balanced_folds, gaussian

    X, y = gaussian(600, 80, 0.5)
    fold_id = balanced_folds(len(y), 5)
    batch = jr.cross_validate(X, y, fold_id=fold_id, lams=40, standardize=False)
    coef = batch.fold_coef
    other, largest, gap = 0, 0.0, 0.0
    for k in range(5):
        rows = fold_id != k
        one = jr.fit_path(X[rows], y[rows], lams=batch.lams, standardize=False)
        other += int(np.count_nonzero(np.any((one.coef != 0) != (coef[k] != 0), axis=1)[1:]))
        largest = max(largest, float(np.abs(one.coef - coef[k]).max()))
        gap = max(gap, float(one.gap.max()), float(batch.fold_gap.max()))
    found = {
        "backend": jax.default_backend(),
        "fits": 5 * 39,
        "fits_with_other_support": other,
        "largest_difference": largest,
        "worst_gap": gap,
    }
    print(json.dumps(found))


def check(limit: float) -> dict[str, Any]:
    """Run `single_and_batched` in a process of its own."""
    command = [sys.executable, "-c", "from benchmarks import gpu; gpu.single_and_batched()"]
    environment = {**os.environ, "PYTHONPATH": python_path(), "XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, cwd=ROOT, env=environment, timeout=max(limit, 1)
        )
    except subprocess.TimeoutExpired:
        return {"error": f"no answer in {limit:.0f} s"}
    return json.loads(done.stdout.splitlines()[-1]) if done.returncode == 0 else {"error": done.stderr[-500:]}


def table(found: dict[str, Any]) -> str:
    """The rows, in Markdown."""
    head = [
        "row",
        "device, warm (gap)",
        "cold (programs)",
        "CPU, warm",
        "scikit-learn at gap ≤ 1e-6",
        "CPU ÷ device",
        "scikit-learn ÷ device",
        "share of the bound",
        "other supports",
    ]
    out = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for name, row in found["rows"].items():
        entries, about = row["entries"], row["about"]
        ours, host, peer = (entries.get(n, {}).get("certified", {}) for n in (DEVICE.name, HOST.name, SKLEARN.name))
        cold = entries.get(DEVICE.name, {}).get("cold", {})
        time = ours.get("median")
        cells = [
            name,
            f"{time:.3g} s ({ours['gap']:.0e})" if time else ours.get("state", "—"),
            f"{cold['seconds']:.3g} s ({cold.get('programs', 0):.0f})" if cold else "—",
            f"{host['median']:.3g} s" if host.get("median") else "—",
            f"{peer['median']:.3g} s"
            if peer.get("certified")
            else f"> {peer.get('more_than', 0):.3g} s"
            if peer
            else "—",
            f"{host['median'] / time:.2g}×" if time and host.get("median") else "—",
            ("" if peer.get("certified") else "> ")
            + f"{(peer['median'] if peer.get('certified') else peer.get('more_than', 0)) / time:.2g}×"
            if time and peer
            else "—",
            f"{about['share']:.0%} ({about['bound']['dominant']})" if "share" in about else "—",
            f"{about['fits_with_other_support']} of {about['fits']}" if "fits" in about else "—",
        ]
        out.append("| " + " | ".join(cells) + " |")
    return "\n".join(out)


def section(found: dict[str, Any]) -> str:
    """What goes into benchmarks/README.md."""
    run = found["runs"][found["last_run"]]
    here, limits, single = run["machine"], found["roofline"], found["single_and_batched"]
    text = [f"`{run['command']}` on {here['cpu']}, {here['cores']} cores; commit {here['commit']}."]
    for name in ("jax", "torch"):
        if limits.get(name):
            one = limits[name]
            rates = f"float64 products {one['gemm_float64'] / 1e9:.0f} GFLOP/s, float32 {one['gemm_float32'] / 1e9:.0f}"
            text.append(
                f"Limits by {name} on {one.get('device', one['backend'])}: {rates}, copy {one['copy'] / 1e9:.0f} GB/s."
            )
    if "fits" in single:
        text.append(
            f"Single fits against the same in a batch: {single['fits_with_other_support']} of {single['fits']} "
            f"supports differ, coefficients by {single['largest_difference']:.0e} at most."
        )
    return " ".join(text) + "\n\n" + table(found)


def main(options: argparse.Namespace) -> None:
    """Run the suite within its limit of seconds."""
    deadline = time.monotonic() + options.limit - SPARE_SECONDS
    rows = [row for row in (QUICK if options.quick else GRID) if re.search(options.rows, row.name)]
    rows = [row for row in rows if row.kind != "bootstrap"]
    out = options.out or options.merge or results.default_path("gpu-quick" if options.quick else "gpu")
    settings = {"limit": options.limit, "repeats": options.repeats, "budget": options.budget, "target": 1e-6}
    found = results.start("gpu", settings, options.merge)
    found["roofline"] = roofline.probe(options.quick, min(90.0, options.limit / 4))
    print("roofline:", found["roofline"], flush=True)
    found["single_and_batched"] = check(min(120.0, deadline - time.monotonic()))
    print("single and batched:", found["single_and_batched"], flush=True)
    results.save(found, out)
    limits = found["roofline"].get("jax")
    workers: dict[str, Worker] = {}
    with tempfile.NamedTemporaryFile(prefix="jaxreg-benchmarks-", suffix=".log", delete=False) as log:
        print(f"prints and errors of the peers: {log.name}; results: {out}")
    # No row may eat up the time of all others.
    budget = min(options.budget, options.limit / 8)
    how = Settings(options.envs, Path(log.name), budget, options.repeats, deadline=deadline)
    try:
        for row in rows:
            if time.monotonic() > deadline:
                print(f"{row.name}: no time left")
                continue
            print(row.name, flush=True)
            about, entries = race(row, [DEVICE, HOST, SKLEARN], how, workers, compare=supports)
            taken = entries[DEVICE.name].get("certified", {}).get("median")
            if limits and taken and "active" in about and not row.is_ridge:
                about["bound"] = bounds(row, about["active"], limits)
                about["share"] = about["bound"]["seconds"][about["bound"]["dominant"]] / taken
            results.add(found, row.name, about, entries)
            results.save(found, out)
    finally:
        for worker in workers.values():
            worker.kill()
    print(section(found))
    if not options.quick and options.out is None:
        from benchmarks import report

        report.put(report.README, "gpu", section(found))


if __name__ == "__main__":
    raise SystemExit("python -m benchmarks.run --suite gpu")
