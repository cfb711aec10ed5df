"""Checkpoints of a training sweep, written by orbax: all or nothing, bit for bit, the last two kept."""

import hashlib
import importlib
import re
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxreg._tree import PyTree
from jaxreg.training._lanes import is_key

ABOUT = {
    "program": "the objective, tx, shapes of a minibatch, or the version of JAX",
    "start": "the parameters at the start",
    "lams": "lams",
    "seeds": "seeds",
    "patience": "patience",
    "held_out": "validate, measure or metrics",
}
"""What two sweeps must share for one to go on where the other ended, in words."""


class Checkpoints:
    """The checkpoints of one chunk of lanes in a directory of their own. A context manager.

    Args:
        directory: made if need be.
        about: what the sweep is, in JSON: see `ABOUT`.

    Raises:
        ImportError: if orbax is not installed.
        ValueError: if the directory holds checkpoints of another sweep.
    """

    def __init__(self, directory: Path, about: dict[str, Any]) -> None:
        self.ocp = load_orbax()
        self.about = about
        options = self.ocp.CheckpointManagerOptions(max_to_keep=2, enable_async_checkpointing=False)
        self.manager = self.ocp.CheckpointManager(directory.absolute(), options=options)
        self.last = self.manager.latest_step()
        if self.last is None:
            return
        args = self.ocp.args.Composite(about=self.ocp.args.JsonRestore())
        found = self.manager.restore(self.last, args=args)["about"]
        other = [words for key, words in ABOUT.items() if found.get(key) != about[key]]
        if other:
            self.manager.close()
            raise ValueError(
                f"checkpoint holds another sweep: {directory} was written with other values of {' and '.join(other)}; "
                "give another directory, or remove this one"
            )

    def __enter__(self) -> "Checkpoints":
        """Return itself."""
        return self

    def __exit__(self, *_: Any) -> None:
        """Close what orbax has open."""
        self.manager.close()

    def restore(self, like: PyTree) -> PyTree:
        """Read the last checkpoint into a tree of arrays of the same structure, shapes and types."""
        leaves, structure = jax.tree.flatten(like)
        target = {name: np.zeros(data.shape, data.dtype) for name, data in _named(leaves).items()}
        args = self.ocp.args.Composite(arrays=self.ocp.args.StandardRestore(target))
        found = self.manager.restore(self.last, args=args)["arrays"]
        back = [found.get(_name(k), leaf) for k, leaf in enumerate(leaves)]
        return jax.tree.unflatten(structure, [_like(new, old) for new, old in zip(back, leaves, strict=True)])

    def save(self, step: int, tree: PyTree) -> None:
        """Write a checkpoint."""
        arrays = {name: np.asarray(data) for name, data in _named(jax.tree.leaves(tree)).items()}
        about = self.ocp.args.JsonSave(self.about)
        self.manager.save(step, args=self.ocp.args.Composite(arrays=self.ocp.args.StandardSave(arrays), about=about))


def load_orbax() -> Any:
    """Import it.

    Raises:
        ImportError: if it is not installed.
    """
    try:
        return importlib.import_module("orbax.checkpoint")
    except ImportError as error:
        raise ImportError('checkpoints need orbax: pip install "jaxreg[train]"') from error


def chunks_there(directory: Path) -> int:
    """Into how many chunks the sweep in a directory was cut; 0 if there is none.

    Raises:
        ValueError: if the directory is a file.
    """
    if directory.exists() and not directory.is_dir():
        raise ValueError(f"checkpoint must be a directory, and {directory} is a file")
    found = (re.fullmatch(r"1-of-(\d+)", path.name) for path in directory.glob("1-of-*"))
    return max((int(match.group(1)) for match in found if match), default=0)


def digest(thing: Any) -> str:
    """Digest of a program as text, but for addresses, or of a tree of arrays."""
    if isinstance(thing, str):
        return hashlib.sha256(re.sub(r"0x[0-9a-f]+", "", thing).encode()).hexdigest()
    sha = hashlib.sha256()
    for leaf in jax.tree.leaves(thing):
        data = np.asarray(_data(leaf))
        sha.update(f"{data.shape} {data.dtype}".encode() + data.tobytes())
    return sha.hexdigest()


def _named(leaves: list[Any]) -> dict[str, Any]:
    """Arrays by place; empty ones are left out, for which orbax has no format."""
    return {_name(k): _data(leaf) for k, leaf in enumerate(leaves) if np.size(_data(leaf))}


def _name(place: int) -> str:
    return f"{place:06d}"


def _data(leaf: Any) -> Any:
    return jax.random.key_data(leaf) if is_key(leaf) else leaf


def _like(new: Any, old: Any) -> Any:
    if is_key(old):
        return new if new is old else jax.random.wrap_key_data(jnp.asarray(new), impl=jax.random.key_impl(old))
    return np.array(new) if isinstance(old, np.ndarray) else jnp.asarray(new, old.dtype)
