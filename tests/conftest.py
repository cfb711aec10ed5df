"""Test weather: both precisions, warnings as errors (pyproject.toml), drawing without a screen, fast compiling."""

import os
from pathlib import Path

import jax
import jax.numpy as jnp
import jaxlib.version
import pytest

os.environ.setdefault("MPLBACKEND", "Agg")

collect_ignore_glob = ["references/*.py"]
"""Scripts that make reference values need packages that the tests do without."""

# Most of the time of these tests is XLA's: without its optimizations it compiles in a third of the time, and all
# at once in less than in parallel parts. Processes that
# the tests start inherit this. `XLA_FLAGS= pytest` tests the code as it runs elsewhere, optimized. These flags are no
# interface, and an unknown one ends the process: so only with the releases that are known to have them.
if jaxlib.version.__version_info__[:2] == (0, 10):
    os.environ.setdefault(
        "XLA_FLAGS",
        "--xla_backend_optimization_level=0 --xla_cpu_use_fusion_emitters=false "
        "--xla_cpu_parallel_codegen_split_count=1",
    )


MAPS = 30_000
"""Memory maps of a process, of which Linux allows 65,530: XLA takes some for every program, and crashes without."""


@pytest.fixture(scope="module", autouse=True)
def _room_for_programs():
    """Forget compiled programs between files once there are very many."""
    maps = Path("/proc/self/maps")
    if maps.exists() and len(maps.read_bytes().splitlines()) > MAPS:
        jax.clear_caches()


@pytest.fixture(params=["float32", "float64"])
def dtype(request):
    """Run a test in both precisions, without touching JAX's global switch."""
    with jax.enable_x64(request.param == "float64"):
        yield jnp.dtype(request.param)


@pytest.fixture
def x64():
    """Run a test in double precision."""
    with jax.enable_x64(True):
        yield


@pytest.fixture
def compiled():
    """Names of the programs that are compiled while a test runs."""
    names = []

    def listen(event, _, **details):
        if event.endswith("backend_compile_duration"):
            names.append(details.get("fun_name"))

    jax.monitoring.register_event_duration_secs_listener(listen)
    yield names
    jax.monitoring.unregister_event_duration_listener(listen)
