"""How many lanes train at once: as many as memory has room for."""

import functools
import os
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxreg._tree import PyTree
from jaxreg.objective import Objective
from jaxreg.training._chunk import Group, Recipe
from jaxreg.training._lanes import Fixed, Lanes, begin

ROOM = 0.7
"""Share of the free memory that lanes may take."""
CACHE = 2**21
"""Bytes of parameters that are one batch on a CPU: with gradients and optimizer state they still fit its caches."""


def free_memory() -> float:
    """Bytes that are free on the device, or on the machine if the device gives no account; infinite if neither does."""
    device = jax.local_devices()[0]
    stats = device.memory_stats() or {}
    if "bytes_limit" in stats:
        return float(stats["bytes_limit"] - stats.get("bytes_in_use", 0))
    names = getattr(os, "sysconf_names", {})
    if device.platform == "cpu" and "SC_AVPHYS_PAGES" in names and "SC_PAGE_SIZE" in names:
        return float(os.sysconf("SC_AVPHYS_PAGES")) * os.sysconf("SC_PAGE_SIZE")
    return float("inf")


def tree_bytes(tree: PyTree) -> int:
    """Bytes of all arrays, or of their shapes."""
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))


def program_bytes(lowered: Any) -> int:
    """Bytes that a program takes while it runs, arguments and results included, as its compiler counts them.

    Compiling it here costs nothing extra: the call that follows finds the program.
    """
    stats = lowered.compile().memory_analysis()
    if stats is None:
        return 0
    return (
        stats.argument_size_in_bytes + stats.output_size_in_bytes - stats.alias_size_in_bytes + stats.temp_size_in_bytes
    )


class Plan:
    """All lanes, λ by λ and within it seed by seed, and the chunks that they train in.

    Args:
        recipe: what is the same for all.
        arrays: floating-point leaves at the start of every seed.
        rest: the other arrays, likewise.
        objective: what is minimized.
        lams: strengths.
        seeds: how many.
    """

    def __init__(
        self, recipe: Recipe, arrays: PyTree, rest: PyTree, objective: Objective, lams: np.ndarray, seeds: int
    ) -> None:
        self.recipe, self.arrays, self.rest, self.objective = recipe, arrays, rest, objective
        self.lams, self.seed = np.repeat(lams, seeds), np.tile(np.arange(seeds), len(lams))
        self.count = len(self.lams)

    def together(self, size: int) -> int:
        """How many lanes are one batch, in a chunk of so many."""
        if jax.local_devices()[0].platform != "cpu":
            return size
        return even(size, max(CACHE * size // max(tree_bytes(self.shapes(size).params), 1), 1))

    def chunk(self, k: int, size: int) -> list[Group]:
        """Groups of a chunk; where lanes do not suffice, the last one fills up, so that all have one program."""
        batch = self.together(size)
        groups = []
        for first in range(0, size, batch):
            lane = np.minimum(k * size + first + np.arange(batch), self.count - 1)
            which = self.seed[lane]
            rest = jax.tree.map(lambda leaf: leaf[which], self.rest)  # noqa: B023  mapped at once
            groups.append(Group(which, self.lams[lane], Fixed(rest, self.objective)))
        return groups

    def shapes(self, lanes: int) -> Lanes:
        """Shapes of some lanes, for which no memory is taken."""
        strengths = jnp.asarray(self.lams, float)
        which, lams = (jax.ShapeDtypeStruct((lanes,), jnp.asarray(each).dtype) for each in (self.seed, strengths))
        return jax.eval_shape(functools.partial(begin, tx=self.recipe.tx), self.arrays, which, lams)

    def lower(self, size: int, batch: Any) -> Any:
        """Program of a step of a group."""
        return self.recipe.lower(self.shapes(self.together(size)), self.chunk(0, size)[0].fixed, batch)

    def lower_judge(self, size: int) -> Any:
        """Program of a judgement of a group."""
        return self.recipe.lower_judge(self.shapes(self.together(size)).params, self.chunk(0, size)[0].fixed)

    def fitting(self, batch: Any, memory: float | None) -> int:
        """How many lanes train at once within so many bytes, in chunks of equal size; at least one."""
        budget = ROOM * free_memory() if memory is None else memory
        one = self.shapes(1)
        held = tree_bytes(one) + tree_bytes(one.params)  # parameters, state, and what is kept
        size = even(self.count, int(min(self.count, budget // held)))  # before anything is compiled
        groups = -(-size // self.together(size))
        both = program_bytes(self.lower(size, batch)), program_bytes(self.lower_judge(size))
        # A judgement has the states beside it.
        need = size * tree_bytes(one.params) + max(groups * both[0], size * tree_bytes(one) + both[1])
        return size if need <= budget else even(self.count, int(size * budget / need))


def even(lanes: int, most: int) -> int:
    """Size of chunks of equal size that cover all lanes, at most `most` in each.

    >>> even(32, 20), even(32, 32)
    (16, 32)
    """
    chunks = -(-lanes // max(most, 1))
    return -(-lanes // chunks)
