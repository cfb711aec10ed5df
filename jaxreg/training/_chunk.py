"""Training of one chunk of lanes, epoch after epoch: the host's side of the loop."""

import dataclasses
from collections.abc import Callable
from typing import Any

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

    def step(self, lanes: Lanes, fixed: Fixed, batch: Any) -> Lanes:
        """One minibatch."""
        return step(lanes, fixed, batch, tx=self.tx, objects=self.objects, smooth=self.smooth)

    def lower_judge(self, params: Any, fixed: Any) -> Any:
        """Program of a judgement."""
        names = {"objects": self.objects, "measure": self.measure, "metrics": self.metrics}
        return judge.lower(params, fixed, self.penalty, self.validate, **names)

    def judge(self, params: PyTree, fixed: Fixed) -> Report:
        """What is seen of every lane."""
        names = {"objects": self.objects, "measure": self.measure, "metrics": self.metrics}
        return jax.device_get(judge(params, fixed, self.penalty, self.validate, **names))

    def curves(self, lanes: int, epochs: int) -> dict[str, np.ndarray]:
        """Empty curves."""
        held_out = ("validation", *(name for name, _ in self.metrics)) if self.validate is not None else ()
        return {name: np.full((lanes, epochs), np.nan) for name in ("train", *held_out, "zeros")}


@dataclasses.dataclass
class Progress:
    """Where a chunk stands after an epoch: all that a checkpoint holds."""

    lanes: Lanes
    kept: PyTree
    """Parameters that each lane leaves."""
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
            self.curves[name][:, :done] = curve[:, : self.curves[name].shape[1]]
        for name, value in tree.items():
            setattr(self, name, value)


def train_chunk(
    recipe: Recipe,
    arrays: PyTree,
    which: np.ndarray,
    lams: np.ndarray,
    fixed: Fixed,
    open_epoch: Callable[[int], Any],
    checkpoints: Checkpoints | None,
    report: Callable[[int], None],
) -> Progress:
    """Train lanes to their end, from the last checkpoint if there is one.

    Args:
        recipe: what is the same for all lanes.
        arrays: floating-point leaves at the start of every seed.
        which: seed of each lane.
        lams: strength of each lane.
        fixed: what does not train.
        open_epoch: function epoch → (first minibatch, the others).
        checkpoints: where to write them, if anywhere.
        report: is told the number of epochs done.
    """
    lanes = begin(arrays, jnp.asarray(which), jnp.asarray(lams, float), tx=recipe.tx)
    count, done = len(lams), 0
    progress = Progress(
        lanes,
        jax.tree.map(jnp.copy, lanes.params),  # steps donate theirs
        recipe.curves(count, recipe.epochs),
        np.full(count, -1),
        np.full(count, np.inf),
        np.full(count, RUNNING),
    )
    if checkpoints is not None and checkpoints.last is not None:
        done = checkpoints.last
        progress.load(checkpoints.restore(progress.tree(done)), done)
    while done < recipe.epochs and (progress.code == RUNNING).any():
        _epoch(recipe, progress, fixed, done, open_epoch)
        done += 1
        last = done == recipe.epochs or not (progress.code == RUNNING).any()
        if checkpoints is not None and (last or done % recipe.every == 0):
            checkpoints.save(done, progress.tree(done))
        report(done)
    progress.code = np.where(progress.code == RUNNING, Result.MAX_STEPS, progress.code)
    return progress


def _epoch(recipe: Recipe, progress: Progress, fixed: Fixed, epoch: int, open_epoch: Callable[[int], Any]) -> None:
    """Train through one epoch, and see what came of it."""
    batch, others = open_epoch(epoch)
    lanes = recipe.step(progress.lanes._replace(loss=jnp.zeros_like(progress.lanes.loss)), fixed, batch)
    count = 1
    for batch in others:
        lanes = recipe.step(lanes, fixed, batch)
        count += 1
    seen = recipe.judge(lanes.params, fixed)
    running = progress.code == RUNNING
    progress.code[running & ~seen.finite] = Result.DIVERGED
    running &= seen.finite
    figures = {"train": np.asarray(lanes.loss) / count, "zeros": seen.zeros, "validation": seen.validation}
    for name, curve in progress.curves.items():
        curve[running, epoch] = {**figures, **seen.metrics}[name][running]
    better = running
    if recipe.patience is not None:
        better = running & (seen.validation < progress.best)
        progress.best[better] = seen.validation[better]
    progress.epoch[better] = epoch
    progress.lanes, progress.kept = lanes, keep(progress.kept, lanes.params, better)
    if recipe.patience is not None:
        progress.code[running & (epoch - progress.epoch >= recipe.patience)] = Result.STALLED
