"""Test weather: both precisions, warnings as errors (pyproject.toml), drawing without a screen."""

import os

import jax
import jax.numpy as jnp
import pytest

os.environ.setdefault("MPLBACKEND", "Agg")


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
