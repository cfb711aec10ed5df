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
