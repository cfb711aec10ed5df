"""What a training sweep is given, checked and in the form that it works with."""

import inspect
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxreg import _check, _tree
from jaxreg._tree import PyTree
from jaxreg.training._batches import integer
from jaxreg.training._lanes import Measure, Objects

CURVES = ("train", "validation", "zeros")


def strengths(lams: Any) -> np.ndarray:
    """Strengths as numbers.

    Raises:
        TypeError: if they are no numbers.
        ValueError: if they are empty, negative, not finite or not one-dimensional.
    """
    if isinstance(lams, jax.core.Tracer):
        raise TypeError("lams must be known numbers: train_sweep is a loop on the host, which JAX cannot trace")
    if np.asarray(lams).dtype.kind not in "biuf":
        raise TypeError(f"lams must be a list of numbers, got {lams!r:.100}")
    _check.lams(lams)
    return np.asarray(lams, np.float64)


def measured(validate: Any, measure: Any, metrics: Any, patience: int | None) -> tuple[tuple[str, Measure], ...]:
    """Metrics by name.

    Raises:
        TypeError: if something is no function, or `metrics` no dict of them.
        ValueError: if there are no held-out data to measure on, or a name is taken.
    """
    if measure is not None and not callable(measure):
        raise TypeError(f"measure must be a function measure(params, validate), got {measure!r}")
    metrics = {} if metrics is None else metrics
    if not isinstance(metrics, dict) or not all(isinstance(k, str) and callable(f) for k, f in metrics.items()):
        raise TypeError(f"metrics must be a dict of functions metric(params, validate) by name, got {metrics!r}")
    taken = sorted(metrics.keys() & set(CURVES))
    if taken:
        raise ValueError(f"metrics has {taken[0]!r}, which is the name of another curve; those are {', '.join(CURVES)}")
    if validate is None:
        for name, asked in (("measure", measure), ("metrics", metrics), ("patience", patience)):
            if asked:
                raise ValueError(f"{name} needs held-out data: validate=(X, y)")
    return tuple(metrics.items())


def starts(init: Any, seeds: int | Sequence[int] | None) -> tuple[list[int] | None, PyTree, PyTree, Objects]:
    """Seeds, floating-point leaves at the start of each (a leading axis), the other arrays, and what is no array.

    Whether `init` is a function is said by `seeds`, since models can be callable too.

    Raises:
        TypeError: if `init` or `seeds` is not of its kind.
        ValueError: if there are no seeds, one is twice there, or there is nothing to train.
    """
    if seeds is None:
        if inspect.isroutine(init):
            raise TypeError(f"init is a function, which needs seeds=..., the number of starts: {init!r}")
        names, trees = None, [init]
    else:
        if isinstance(seeds, (int, np.integer)) and not isinstance(seeds, bool):
            integer("seeds", seeds, 1)
            seeds = range(seeds)
        if isinstance(seeds, str) or np.ndim(seeds) != 1:
            raise TypeError(f"seeds must be a number of seeds or a list of them, got {seeds!r}")
        for seed in list(seeds):  # type: ignore[arg-type]
            integer("seeds", seed, 0)
        names = [int(seed) for seed in seeds]  # type: ignore[union-attr]
        if not names or len(set(names)) < len(names):
            raise ValueError(f"seeds must be at least one, and different, got {names}")
        if not callable(init):
            raise TypeError(f"init must be a function of a jax.random.key where there are seeds, got {init!r:.100}")
        trees = [init(jax.random.key(seed)) for seed in names]
    leaves, structure = jax.tree.flatten(trees[0])
    array = [isinstance(leaf, (jax.Array, np.ndarray, np.generic, int, float, complex)) for leaf in leaves]
    objects = Objects(structure, tuple(None if yes else leaf for leaf, yes in zip(leaves, array, strict=True)))
    parts = [_tree.partition(_tree.keep(jax.tree.unflatten(structure, jax.tree.leaves(tree)), array)) for tree in trees]
    arrays, rest = (jax.tree.map(lambda *each: jnp.stack(each), *some) for some in zip(*parts, strict=True))
    if not jax.tree.leaves(arrays):
        raise ValueError("init has no floating-point arrays to train")
    return names, arrays, rest, objects
