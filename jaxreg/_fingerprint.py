"""What determines a compiled program, in words that mean the same in another process."""

import contextlib
import functools
import hashlib
import os
import platform
import sys
import types
from importlib import metadata
from pathlib import Path
from typing import Any

import jax


class UntellableError(Exception):
    """What determines the program cannot be told."""


def fingerprint(name: str, structure: Any, kinds: Any, static: Any) -> str:
    """Digest of a function's name, the kinds of its arguments, the source of jaxreg, versions, settings and machine.

    Args:
        name: of the function, with its module; one at the top of it, which closes over nothing.
        structure: tree structure of the arguments.
        kinds: shape and type of every leaf.
        static: arguments that are structure.

    Raises:
        UntellableError: if the function, a type or a value is none of jaxreg's: nothing says whether its code is
            the same.
    """
    if not name.startswith("jaxreg.") or "<" in name:
        raise UntellableError
    told = [name, _structure(structure), [str(kind) for kind in kinds], _value(static)]
    return hashlib.sha256(repr([*told, _settings(), _machine(), _source()]).encode()).hexdigest()


def _structure(structure: Any) -> Any:
    node = structure.node_data()
    if node is None:
        return "leaf"
    cls, static = node
    if cls not in (tuple, list, dict, types.NoneType) and not _is_ours(cls):
        raise UntellableError
    return f"{cls.__module__}.{cls.__qualname__}", _value(static), [_structure(part) for part in structure.children()]


def _value(value: Any) -> Any:
    """Tell a plain value, a tuple or list of such, or a function or class of jaxreg's."""
    if isinstance(value, (tuple, list)):
        return [_value(part) for part in value]
    if value is None or type(value) in (bool, int, float, str):
        return value
    if isinstance(value, (types.FunctionType, type)) and _is_ours(value):
        return f"{value.__module__}.{value.__qualname__}"
    raise UntellableError


def _is_ours(thing: Any) -> bool:
    """Whether jaxreg's source defines it at the top of a module, where its name is its own."""
    return thing.__module__.split(".")[0] == "jaxreg" and "<" not in thing.__qualname__


def _settings() -> Any:
    """All of JAX's settings as they are here and now, but for those of the cache."""
    settings = sorted(jax.config.values.items())
    return [(name, repr(getattr(jax.config, name, value))) for name, value in settings if "cache" not in name]


@functools.cache
def _machine() -> Any:
    """Versions, and what a compiler asks of the machine: its instructions, cores and devices."""
    device, cores = jax.devices()[0], os.cpu_count()
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    processor = platform.processor()
    with contextlib.suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        words = ("model name", "flags", "Features", "CPU implementer", "CPU part")
        processor = str(sorted({line for line in lines if line.startswith(words)}))
    flags = [os.environ.get(name) for name in ("XLA_FLAGS", "LIBTPU_INIT_ARGS")]
    versions = (sys.version, jax.__version__, metadata.version("jaxlib"), device.client.platform_version)
    return versions, flags, platform.machine(), processor, cores, device.device_kind, jax.device_count()


@functools.cache
def _source() -> str:
    """Digest of jaxreg's source: no program outlives the code that it was made from."""
    root, digest = Path(__file__).parent, hashlib.sha256()
    for file in sorted(root.rglob("*.py")):
        digest.update(str(file.relative_to(root)).encode() + b"\0" + file.read_bytes() + b"\0")
    return digest.hexdigest()
