"""What the device can do: products of matrices and copies, by JAX and, where it is installed, by torch.

    python -m benchmarks.roofline [--quick]

A process of its own, so that nothing else holds the device's memory. Printed as one line of JSON: FLOP/s of square
products at full precision in float64 and float32, and bytes/s of a copy, read and write together.
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

from benchmarks.envs import ROOT
from benchmarks.process import python_path


def best(run: Callable[[], Any], seconds: float) -> float:
    """Shortest time of repeats that take so many seconds in all."""
    run()
    times = []
    end = time.perf_counter() + seconds
    while not times or time.perf_counter() < end:
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return min(times)


def with_jax(size: int, seconds: float) -> dict[str, Any]:
    """Limits as XLA reaches them."""
    import jax
    import jax.numpy as jnp

    found: dict[str, Any] = {"backend": jax.default_backend(), "device": jax.devices()[0].device_kind}
    product = jax.jit(lambda a, b: jnp.matmul(a, b, precision="highest"))
    scale = jax.jit(lambda a: a * 1.5)
    with jax.enable_x64(True):
        for name in ("float64", "float32"):
            a = jnp.full((size, size), 0.5, name)
            found[f"gemm_{name}"] = 2 * size**3 / best(lambda a=a: product(a, a).block_until_ready(), seconds)
        a = jnp.ones(size * size * 4, "float64")
        found["copy"] = 2 * a.nbytes / best(lambda: scale(a).block_until_ready(), seconds)
    return found


def with_torch(size: int, seconds: float) -> dict[str, Any]:
    """Limits as torch reaches them; empty where it is not installed."""
    try:
        import torch
    except ImportError:
        return {}
    device = "cuda" if torch.cuda.is_available() else "cpu"
    found: dict[str, Any] = {"backend": device, "version": torch.__version__}
    torch.backends.cuda.matmul.allow_tf32 = False

    def waited(run: Callable[[], Any]) -> Callable[[], Any]:
        def both() -> None:
            run()
            if device == "cuda":
                torch.cuda.synchronize()

        return both

    for name in ("float64", "float32"):
        a = torch.full((size, size), 0.5, dtype=getattr(torch, name), device=device)
        found[f"gemm_{name}"] = 2 * size**3 / best(waited(lambda a=a: a @ a), seconds)
    a = torch.ones(size * size * 4, dtype=torch.float64, device=device)
    found["copy"] = 2 * a.numel() * 8 / best(waited(lambda: a * 1.5), seconds)
    return found


def probe(quick: bool, limit: float) -> dict[str, Any]:
    """Run this file in a process of its own and read what it found; an empty answer if it fails or takes too long."""
    import os

    command = [sys.executable, "-m", "benchmarks.roofline", *(["--quick"] if quick else [])]
    environment = {**os.environ, "PYTHONPATH": python_path(), "XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, cwd=ROOT, env=environment, timeout=max(limit, 1)
        )
    except subprocess.TimeoutExpired:
        return {"error": f"no answer in {limit:.0f} s"}
    if done.returncode != 0:
        return {"error": done.stderr[-500:]}
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    """Print the limits."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.roofline", description=__doc__)
    parser.add_argument("--quick", action="store_true")
    quick = parser.parse_args().quick
    size, seconds = (512, 0.1) if quick else (4096, 1.0)
    print(json.dumps({"jax": with_jax(size, seconds), "torch": with_torch(size, seconds)}))


if __name__ == "__main__":
    main()
