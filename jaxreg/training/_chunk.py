"""Training of one chunk of lanes, epoch after epoch: the host's side of the loop."""

import dataclasses
import functools
import itertools
import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxreg._result import Result
from jaxreg._tree import PyTree
from jaxreg.penalties import Penalty
from jaxreg.training._checkpoint import Checkpoints
from jaxreg.training._lanes import Fixed, Lanes, Measure, Objects, Report, begin, judge, keep, step

RUNNING = -1
WINDOW = 16
"""Minibatches that a group goes through before the next has its turn, while its parameters are in the cache."""


@dataclasses.dataclass(frozen=True)
class Recipe:
    """What is the same for all lanes."""

    tx: optax.GradientTransformation
    objects: Objects
    penalty: Penalty
    smooth: bool
    validate: Any
    measure: Measure | None
    metrics: tuple[tuple[str, Measure], ...]
    epochs: int
    patience: int | None
    every: int

    def lower(self, lanes: Any, fixed: Any, batch: Any) -> Any:
        """Program of a step, for arrays or their shapes."""
        return step.lower(lanes, fixed, batch, tx=self.tx, objects=self.objects, smooth=self.smooth)

    def lower_judge(self, params: Any, fixed: Any) -> Any:
        """Program of a judgement."""
        names = {"objects": self.objects, "measure": self.measure, "metrics": self.metrics}
        return judge.lower(params, fixed, self.penalty, self.validate, **names)

    def judge(self, params: PyTree, fixed: Fixed) -> Report:
        """What is seen of every lane of a group."""
        names = {"objects": self.objects, "measure": self.measure, "metrics": self.metrics}
        return judge(params, fixed, self.penalty, self.validate, **names)

    def curves(self, lanes: int, epochs: int) -> dict[str, np.ndarray]:
        """Empty curves."""
        held_out = ("validation", *(name for name, _ in self.metrics)) if self.validate is not None else ()
        return {name: np.full((lanes, epochs), np.nan) for name in ("train", *held_out, "zeros")}


class Group(NamedTuple):
    """Lanes that are one batch: their seeds, strengths, and what does not train."""

    which: np.ndarray
    lams: np.ndarray
    fixed: Fixed


class Runner:
    """Runs compiled steps: groups side by side in threads, each through some minibatches while the next ones wait."""

    def __init__(self, recipe: Recipe, fixed: list[Fixed]) -> None:
        self.recipe, self.fixed = recipe, fixed
        self.programs: dict[Any, Any] = {}

    def train(self, lanes: list[Lanes], batches: Iterable[Any]) -> tuple[list[Lanes], int]:
        """Train all groups on all minibatches; return them, and how many minibatches there were."""
        count, source = 0, iter(batches)
        if len(lanes) == 1:
            for batch in source:
                lanes = [self._program(lanes[0], batch)(lanes[0], self.fixed[0], batch)]
                count += 1
            return lanes, count
        with ThreadPoolExecutor(min(cores(), len(lanes))) as pool:
            while window := [jax.tree.map(jnp.asarray, batch) for batch in itertools.islice(source, WINDOW)]:
                # Compiled here: settings of JAX, such as its precision, belong to this thread.
                programs = [self._program(lanes[0], batch) for batch in window]

                through = functools.partial(_through, programs, window)
                lanes = list(pool.map(through, lanes, self.fixed))
                count += len(window)
        return lanes, count

    def judge(self, params: list[PyTree]) -> Report:
        """What is seen of all lanes."""
        seen = [self.recipe.judge(group, fixed) for group, fixed in zip(params, self.fixed, strict=True)]
        return jax.tree.map(lambda *parts: np.concatenate([np.asarray(part) for part in parts]), *seen)

    def _program(self, lanes: Lanes, batch: Any) -> Any:
        kinds = tuple((jnp.shape(leaf), jnp.result_type(leaf)) for leaf in jax.tree.leaves(batch))
        key = (jax.tree.structure(batch), kinds)
        if key not in self.programs:
            self.programs[key] = self.recipe.lower(lanes, self.fixed[0], batch).compile()
        return self.programs[key]


def _through(programs: list[Any], window: list[Any], lanes: Lanes, fixed: Fixed) -> Lanes:
    """One group through some minibatches."""
    for program, batch in zip(programs, window, strict=True):
        lanes = program(lanes, fixed, batch)
    return jax.block_until_ready(lanes)


@dataclasses.dataclass
class Progress:
    """Where a chunk stands after an epoch: all that a checkpoint holds."""

    lanes: list[Lanes]
    """By group; other arrays are of all lanes."""
    kept: list[PyTree]
    """Parameters that each lane leaves, by group."""
    curves: dict[str, np.ndarray]
    epoch: np.ndarray
    """Epoch that they are of."""
    best: np.ndarray
    """Held-out loss there."""
    code: np.ndarray

    def tree(self, done: int) -> dict[str, Any]:
        """Arrays to write, or to read into, after some epochs."""
        tree = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return {**tree, "curves": {name: curve[:, :done] for name, curve in self.curves.items()}}

    def load(self, tree: dict[str, Any], done: int) -> None:
        """Take over what was read."""
        for name, curve in tree.pop("curves").items():
            self.curves[name][:, :done] = curve
        for name, value in tree.items():
            setattr(self, name, value)


def train_chunk(
    recipe: Recipe,
    arrays: PyTree,
    groups: list[Group],
    open_epoch: Callable[[int], Any],
    checkpoints: Checkpoints | None,
    report: Callable[[int], None],
) -> Progress:
    """Train lanes to their end, from the last checkpoint if there is one.

    Args:
        recipe: what is the same for all lanes.
        arrays: floating-point leaves at the start of every seed.
        groups: lanes that are one batch, groups being of one size.
        open_epoch: function epoch → (first minibatch, the others).
        checkpoints: where to write them, if anywhere.
        report: is told the number of epochs done.
    """
    lanes = [begin(arrays, jnp.asarray(g.which), jnp.asarray(g.lams, float), tx=recipe.tx) for g in groups]
    count, done = sum(len(group.lams) for group in groups), 0
    last = 0 if checkpoints is None or checkpoints.last is None else checkpoints.last
    progress = Progress(
        lanes,
        [jax.tree.map(jnp.copy, group.params) for group in lanes],  # steps donate theirs
        recipe.curves(count, max(recipe.epochs, last)),
        np.full(count, -1),
        np.full(count, np.inf),
        np.full(count, RUNNING),
    )
    if checkpoints is not None and last:
        done = last
        progress.load(checkpoints.restore(progress.tree(done)), done)
    runner = Runner(recipe, [group.fixed for group in groups])
    while done < recipe.epochs and (progress.code == RUNNING).any():
        _epoch(runner, progress, done, open_epoch)
        done += 1
        end = done == recipe.epochs or not (progress.code == RUNNING).any()
        if checkpoints is not None and (end or done % recipe.every == 0):
            checkpoints.save(done, progress.tree(done))
        report(done)
    progress.code = np.where(progress.code == RUNNING, Result.MAX_STEPS, progress.code)
    return progress


def _epoch(runner: Runner, progress: Progress, epoch: int, open_epoch: Callable[[int], Any]) -> None:
    """Train through one epoch, and see what came of it."""
    first, others = open_epoch(epoch)
    lanes = [group._replace(loss=jnp.zeros_like(group.loss)) for group in progress.lanes]
    lanes, count = runner.train(lanes, itertools.chain([first], others))
    seen = runner.judge([group.params for group in lanes])
    running = progress.code == RUNNING
    progress.code[running & ~seen.finite] = Result.DIVERGED
    running &= seen.finite
    train = np.concatenate([np.asarray(group.loss) for group in lanes]) / count
    figures: dict[str, Any] = {"train": train, "zeros": seen.zeros, "validation": seen.validation, **seen.metrics}
    for name, curve in progress.curves.items():
        curve[running, epoch] = figures[name][running]
    better, patience = running, runner.recipe.patience
    if patience is not None:
        better = running & (seen.validation < progress.best)
        progress.best[better] = seen.validation[better]
    progress.epoch[better] = epoch
    chosen = np.split(better, len(lanes))
    progress.lanes = lanes
    progress.kept = [keep(old, new.params, some) for old, new, some in zip(progress.kept, lanes, chosen, strict=True)]
    if patience is not None:
        progress.code[running & (epoch - progress.epoch >= patience)] = Result.STALLED


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
