"""Programs kept whole: one that is found on disk needs no tracing, no lowering and no compiling.

JAX's own cache saves the compiling alone, since it finds an entry by the lowered program. Here a program is found by
what determines it (`_fingerprint`). Whatever cannot be told so goes the way of `jax.jit`: types that are not
jaxreg's, and traced or sharded arguments. So do programs that call out of XLA, as to LAPACK: only lowering sets the
addresses of what they call, and without them the process would crash.
"""

import contextlib
import functools
import hashlib
import inspect
import os
import pickle
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Generic, TypeVar

import jax
import numpy as np
from jax.experimental import serialize_executable

from jaxreg import _cache
from jaxreg._fingerprint import UntellableError, fingerprint

Answer = TypeVar("Answer")

KEPT = 30 * 24 * 3600
"""Seconds after which a program that nobody used is deleted."""

READY = 32
"""Programs of one function kept in memory; others are read from disk again."""


class Program(Generic[Answer]):
    """A function compiled as by `jax.jit`, whose programs are kept on disk while the compilation cache is on.

    Args:
        fn: of pytrees of arrays. What it computes may depend on nothing but its arguments and jaxreg's source.
        static: names of arguments that are structure. They must be keyword-only.

    Raises:
        TypeError: if a static argument is not keyword-only.
    """

    def __init__(self, fn: Callable[..., Answer], static: tuple[str, ...] = ()) -> None:
        parameters = inspect.signature(fn).parameters
        for name in static:
            if parameters[name].kind is not inspect.Parameter.KEYWORD_ONLY:
                raise TypeError(f"static argument {name!r} of {fn.__name__} must be keyword-only")
        self.jitted = jax.jit(fn, static_argnames=static)
        self._name, self._static = f"{fn.__module__}.{fn.__qualname__}", static
        self._ready: dict[Any, Callable[..., Answer]] = {}
        functools.update_wrapper(self, fn)

    def __call__(self, *args: Any, **kwargs: Any) -> Answer:
        """Compute; where the cache is on, by a program that was found or kept when such arguments first came."""
        folder = _cache.cache_directory()
        if folder is None:
            return self.jitted(*args, **kwargs)
        fixed = {name: kwargs[name] for name in self._static if name in kwargs}
        moving = {name: value for name, value in kwargs.items() if name not in fixed}
        leaves, structure = jax.tree.flatten((args, moving))
        if not _is_plain(leaves):
            return self.jitted(*args, **kwargs)
        config: Any = jax.config
        kinds = tuple(map(jax.typeof, leaves))
        kind = (structure, kinds, *fixed.items(), config.jax_enable_x64, config.jax_default_matmul_precision)
        ready = self._ready.get(kind)
        if ready is not None:
            return ready(*args, **moving)
        try:
            key = fingerprint(self._name, structure, kinds, tuple(fixed.items()))
        except UntellableError:
            return self._remember(kind, functools.partial(self.jitted, **fixed))(*args, **moving)
        file = folder / "programs" / f"{self._name}-{key}"
        found = _load(file)
        if found is not None:
            # Whether it can run here shows when it first does.
            with contextlib.suppress(jax.errors.JaxRuntimeError):
                answer: Answer = jax.block_until_ready(found(*args, **moving))
                self._remember(kind, found)
                return answer
        return self._remember(kind, self._make(file, args, moving, fixed))(*args, **moving)

    def _remember(self, kind: Any, ready: Callable[..., Answer]) -> Callable[..., Answer]:
        """Keep the last few at hand: each holds a dozen of the memory maps that a process may have."""
        self._ready[kind] = ready
        for old in list(self._ready)[:-READY]:
            self._ready.pop(old, None)
        return ready

    def _make(self, file: Path, args: Any, moving: Any, fixed: Any) -> Callable[..., Answer]:
        """Compile and keep the program, if it is of the kind that can be kept."""
        lowered = self.jitted.lower(*args, **moving, **fixed)
        if "custom_call" in lowered.as_text():
            return functools.partial(self.jitted, **fixed)
        with _cache.compiling_afresh():
            made = lowered.compile()
        _save(file, made)
        return made


def program(*, static: tuple[str, ...] = ()) -> Callable[[Callable[..., Answer]], Program[Answer]]:
    """Make a function a `Program`: `@program()`, or `@program(static=("size",))`."""
    return functools.partial(Program, static=static)


def _is_plain(leaves: list[Any]) -> bool:
    """Whether all are arrays and numbers on the first device, which is where JAX computes, and none is traced."""
    config: Any = jax.config
    if config.jax_disable_jit or config.jax_default_device is not None or jax.process_count() > 1:
        return False
    if not jax.sharding.get_abstract_mesh().empty:
        return False
    home = {jax.devices()[0]}
    for leaf in leaves:
        if isinstance(leaf, jax.Array):
            if isinstance(leaf, jax.core.Tracer) or leaf.devices() != home:
                return False
        elif not isinstance(leaf, (np.ndarray, np.generic, int, float)):
            return False
    return True


def _load(file: Path) -> Callable[..., Any] | None:
    """Load a program; None if there is none, or it is damaged, or XLA refuses it."""
    try:
        content = file.read_bytes()
        os.utime(file)
    except OSError:
        return None
    if hashlib.sha256(content[32:]).digest() != content[:32]:
        return None
    machine_code, ins, outs = pickle.loads(content[32:])
    try:
        return serialize_executable.deserialize_and_load(machine_code, ins, outs, execution_devices=jax.devices()[:1])
    except (jax.errors.JaxRuntimeError, ValueError):
        return None


def _save(file: Path, made: Any) -> None:
    """Keep a program, all at once, and delete old ones; where that cannot be done, do without."""
    with contextlib.suppress(OSError, ValueError, NotImplementedError, jax.errors.JaxRuntimeError):
        content = pickle.dumps(serialize_executable.serialize(made))
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=file.parent, delete=False) as new:
            new.write(hashlib.sha256(content).digest() + content)
        Path(new.name).replace(file)
        for other in file.parent.iterdir():
            if other.stat().st_mtime < time.time() - KEPT:
                other.unlink(missing_ok=True)
