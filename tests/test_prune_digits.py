"""Structured sparsity that pays, on real data: the script in notebooks/ that prunes two networks on digits."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "notebooks" / "prune_digits.py"


@pytest.mark.slow
def test_pruned_networks_are_as_accurate_smaller_and_faster():
    # In a process of its own: the flags under which the tests compile would make the training, and the timing, slow.
    done = subprocess.run([sys.executable, SCRIPT], env={**os.environ, "XLA_FLAGS": ""}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    lines = {
        name: dict(re.findall(r"(\w+)=(\S+)", text))
        for name, text in re.findall(r"^(\w+) (dense=.*)$", done.stdout, re.M)
    }
    for name, words in lines.items():
        figures = {key: float(value) for key, value in words.items()}
        assert figures["dense"] > 0.975, name
        assert figures["sparse"] >= figures["dense"] - 0.0051, name  # three of 597 images
        assert figures["weights_gone"] >= 0.7, name
        assert figures["difference"] < 1e-4, name
        assert figures["speedup"] > 1.2, name
    assert float(lines["CNN"]["channels_gone"]) >= 0.5
