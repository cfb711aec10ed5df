"""The compilation cache: programs kept on disk, so that a new process need not make them again."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax

# The JAX module that holds this is a thin one; it is imported here for `reset_cache` alone.
from jax.experimental.compilation_cache import compilation_cache

VARIABLE = "JAXREG_CACHE_DIR"

_directory: Path | None = None


def enable_compilation_cache(directory: str | os.PathLike[str] | None = None) -> Path:
    """Keep compiled programs on disk, and take them from there: in this process, and in those that follow.

    This is JAX's persistent compilation cache, with its thresholds lowered so that the many small programs of a
    fit are kept too. jaxreg's own programs are kept whole beside it, so that a process that finds them does
    not even trace them. Setting the environment variable `JAXREG_CACHE_DIR` before jaxreg is imported does
    the same as this call; the command line always makes it. Unless one of these is done, nothing is written.

    Results do not depend on the cache: a program is used again only by the same versions of jaxreg and JAX, on
    the same kind of machine, for arrays of the same shapes. Whole programs that nobody used for 30 days are
    deleted; what JAX keeps stays, unless its setting `jax_compilation_cache_max_size` bounds it.

    Args:
        directory: where to keep them; unless given, the first of `$JAXREG_CACHE_DIR`, JAX's own
            `jax_compilation_cache_dir`, `$XDG_CACHE_HOME/jaxreg` and `~/.cache/jaxreg`. It holds machine code:
            whoever can write there can run code as you.

    Returns:
        The directory. It is made when the first program is kept.

    From a shell the same is `JAXREG_CACHE_DIR=~/.cache/jaxreg python fit.py`.
    """
    global _directory
    _directory = Path(directory or os.environ.get(VARIABLE) or _usual()).expanduser().absolute()
    jax.config.update("jax_compilation_cache_dir", str(_directory))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    # JAX asks only once, at the first compilation, whether there is a cache: have it ask again.
    compilation_cache.reset_cache()
    return _directory


def enable_if_asked() -> None:
    """Turn the cache on if the environment says so."""
    if os.environ.get(VARIABLE):
        enable_compilation_cache()


def cache_directory() -> Path | None:
    """Where programs are kept; None while the cache is off."""
    if _directory is None:
        return None
    config: Any = jax.config
    return _directory if config.jax_enable_compilation_cache else None


@contextlib.contextmanager
def compiling_afresh() -> Iterator[None]:
    """Compile without JAX's cache: XLA on CPU writes out in full only what it compiled itself, not what it read."""
    jax.config.update("jax_enable_compilation_cache", False)
    compilation_cache.reset_cache()
    try:
        yield
    finally:
        jax.config.update("jax_enable_compilation_cache", True)
        compilation_cache.reset_cache()


def _usual() -> str:
    config: Any = jax.config
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return config.jax_compilation_cache_dir or str(Path(home) / "jaxreg")
