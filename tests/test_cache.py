"""The compilation cache, as processes meet it: off unless asked for, filled by the first, used by the second."""

import json
import os
import subprocess
import sys

import pytest

SCRIPT = """
import collections, json, sys, time
import jax, jax.monitoring, numpy as np

counts = collections.Counter()
jax.monitoring.register_event_listener(lambda event, **_: counts.update([event]))
jax.monitoring.register_event_duration_secs_listener(lambda event, *_, **__: counts.update([event]))
import jaxreg

said = {}
if sys.argv[1] == "call":
    jax.numpy.arange(3.0).sum()  # the cache can be enabled after JAX has compiled something without it, too
    said["directory"] = str(jaxreg.enable_compilation_cache(*sys.argv[2:]))
    counts.clear()
start = time.process_time()
if sys.argv[1] == "small":
    jax.jit(jaxreg.L1(1.0).value)(np.ones(3))
else:
    rng = np.random.default_rng(0)
    y = rng.normal(size=30)
    said["coef"] = [jaxreg.fit_path(rng.normal(size=(30, p)), y, lams=5).coef.tolist() for p in (4, 400)]
said["seconds"] = time.process_time() - start
said["compiled"] = counts["/jax/core/compile/backend_compile_duration"] - counts["/jax/compilation_cache/cache_hits"]
print(json.dumps(said))
"""


@pytest.fixture
def run(tmp_path):
    """Run the script in a process of its own whose home is empty, with these words and this environment."""

    def run(*words: str, **environment: str) -> dict:
        mine = {"HOME": str(tmp_path / "home"), "XDG_CACHE_HOME": str(tmp_path / "home" / "cache")}
        theirs = {k: v for k, v in os.environ.items() if k not in ("JAXREG_CACHE_DIR", "JAX_COMPILATION_CACHE_DIR")}
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", SCRIPT, *words],
            capture_output=True, text=True, env=theirs | mine | environment, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert done.stderr == ""
        return json.loads(done.stdout)

    return run


def test_the_first_process_fills_it_and_the_second_compiles_nothing(run, tmp_path):
    assert run("small")["compiled"] > 0
    assert list(tmp_path.iterdir()) == []  # nothing is written unless it is asked for

    kept = tmp_path / "kept"
    first = run("fit", JAXREG_CACHE_DIR=str(kept))
    assert first["compiled"] > 0
    assert sum(path.is_file() for path in kept.rglob("*")) >= first["compiled"]
    assert list(tmp_path.iterdir()) == [kept]

    second = run("call", str(kept))
    assert second["directory"] == str(kept)
    assert second["compiled"] == 0
    assert second["seconds"] < 0.7 * first["seconds"]
    assert second["coef"] == first["coef"]


def test_where_it_is_unless_told(monkeypatch, tmp_path):
    """In this process, with JAX's own settings left alone."""
    import jax

    from jaxreg import _cache

    monkeypatch.setattr(jax.config, "update", lambda name, value: None)
    monkeypatch.setattr(_cache, "_directory", None)
    for name in ("JAXREG_CACHE_DIR", "JAX_COMPILATION_CACHE_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert _cache.cache_directory() is None
    assert _cache.enable_compilation_cache() == tmp_path / "xdg" / "jaxreg" == _cache.cache_directory()
    monkeypatch.setenv("XDG_CACHE_HOME", "")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert _cache.enable_compilation_cache() == tmp_path / ".cache" / "jaxreg"
    monkeypatch.setenv("JAXREG_CACHE_DIR", "~/mine")
    assert _cache.enable_compilation_cache() == tmp_path / "mine"
    assert _cache.enable_compilation_cache(tmp_path / "told") == tmp_path / "told"
    assert not list(tmp_path.iterdir())
