"""`train_sweep`: checks at the door, chunks of lanes, and their results put together."""

import contextlib
import functools
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxreg import _check
from jaxreg._result import Result
from jaxreg._tree import PyTree
from jaxreg.objective import Objective
from jaxreg.training._arguments import measured, starts, strengths
from jaxreg.training._batches import Opening, as_stream, integer
from jaxreg.training._checkpoint import Checkpoints, chunks_there, digest, load_orbax
from jaxreg.training._chunk import Progress, Recipe, train_chunk
from jaxreg.training._lanes import Measure, Objects, to_host
from jaxreg.training._optimizer import resolve
from jaxreg.training._plan import Plan
from jaxreg.training._result import TrainSweep

Model = PyTree | Callable[[jax.Array], PyTree]


def train_sweep(
    init: Model,
    objective: Objective | Callable[[PyTree, Any], jax.Array],
    batches: Any,
    tx: optax.GradientTransformation,
    lams: Any,
    *,
    epochs: int,
    seeds: int | Sequence[int] | None = None,
    validate: Any = None,
    measure: Measure | None = None,
    metrics: dict[str, Measure] | None = None,
    patience: int | None = None,
    progress: bool | Callable[[int, int], None] = False,
    checkpoint: str | Path | None = None,
    every: int = 1,
    memory: float | None = None,
) -> TrainSweep:
    """Train a model at many strengths at once: one stream of minibatches, one program, one lane for each λ and seed.

    Every lane is what a training loop of its own would be, to rounding: the same minibatches in the same order, an
    optimizer state and a strength of its own. A new λ compiles nothing, and nor does a second sweep with the same
    `objective`, `tx`, functions and shapes; a last minibatch of another size compiles once.

    λ acts where the penalty stands: in the prox of `tx` (`jr.prox_adamw(rate, penalty)`), where it leaves exact
    zeros; or, for smooth penalties such as `L2` and an optimizer without prox, in the gradient of the objective.

    Args:
        init: parameters to start from, any pytree; or, with `seeds`, a function from a `jax.random.key` to them.
        objective: an `Objective`, with the same penalty as `tx`; or a function f(params, batch) → mean loss, to which
            the penalty of `tx` belongs.
        batches: an iterable of minibatches that every epoch reads anew, such as a list; or a function from the number
            of the epoch to one, such as `jr.minibatches((X, y), 32)` makes. A minibatch is what the objective takes:
            `(X, y)` or `(X, y, sample_weight)` for a jaxreg loss.
        tx: the optimizer, with one `jr.proximal` in it. Schedules count steps.
        lams: strengths, (L,).
        epochs: how many, at most.
        seeds: a number S of seeds 0 … S − 1, or the seeds. Results then have axes (L, S) in place of (L,).
        validate: held-out data, as a minibatch.
        measure: measure(params, validate) → a number to make small; the mean loss of the objective unless given.
        metrics: further figures by name, functions like `measure`, for which neither large nor small is better.
        patience: a lane stops once its held-out measure has not improved for so many epochs, and leaves the
            parameters of its best epoch. Training ends when no lane is left. Without it, each lane leaves those of
            the last epoch.
        progress: True to print progress, or a function of (epochs done, epochs in all), over all chunks of lanes.
        checkpoint: directory to write checkpoints to; needs `pip install "jaxreg[train]"`. If there is one of this
            sweep in it, training goes on from there, and ends with the same bits as it would have without a break,
            provided that `batches` gives every epoch as it did. More epochs than before may be asked for.
        every: epochs from one checkpoint to the next; the last epoch always has one.
        memory: bytes that may be used; a share of what is free unless given. Where all lanes at once need more, by
            the compiler's own account, they train in chunks one after another, each reading `batches` anew.

    Returns:
        A `TrainSweep`. A lane that became NaN or infinite leaves the last parameters that were not, at the end of an
        epoch, says so in its `result`, and warns; the others are not disturbed.

    Raises:
        TypeError: if an argument is not of its kind.
        ValueError: if `lams` is empty, negative or not finite; it is not clear where λ acts; `batches` can be read
            only once, or is empty; what is measured has no held-out data; a path pattern matches nothing; the
            directory has the checkpoint of another sweep.
        ImportError: if checkpoints are asked for and orbax is not installed.

    >>> from jaxreg import L1, Objective, Squared, prox_sgd
    >>> X, y = 2 * np.eye(4), np.array([6.0, 2.0, 0.0, 0.0])
    >>> objective = Objective(Squared(), L1(), lambda params, X: X @ params)
    >>> sweep = train_sweep(jnp.zeros(4), objective, [(X, y)], prox_sgd(0.5, L1()), [0.0, 1.0], epochs=50)
    >>> sweep.at(1.0).round(2), sweep.zeros
    (Array([2., 0., 0., 0.], dtype=float32), array([0.5 , 0.75]))
    """
    lams = strengths(lams)
    for name, value in (("epochs", epochs), ("every", every)):
        integer(name, value, 1)
    if patience is not None:
        integer("patience", patience, 1)
    if memory is not None:
        _check.number("memory", memory, low=1, finite=False)
    figures = measured(validate, measure, metrics, patience)
    if validate is not None:
        validate = jax.tree.map(jnp.asarray, validate)
    stream = as_stream(batches)
    if checkpoint is not None:
        load_orbax()  # before anything takes time
    names, arrays, rest, objects = starts(init, seeds)
    objective, tx, penalty, smooth = resolve(objective, tx, jax.tree.map(lambda leaf: leaf[0], arrays))
    # Arrays by now: settings of JAX, such as its precision, do not reach other threads.
    arranged: Objective = jax.tree.map(jnp.asarray, objective)
    penalty = jax.tree.map(jnp.asarray, penalty)
    recipe = Recipe(tx, objects, penalty, smooth, validate, measure, figures, epochs, patience, every)
    lanes = Plan(recipe, arrays, rest, arranged, lams, len(names or (0,)))
    opening = Opening(stream)
    chunks = 0 if checkpoint is None else chunks_there(Path(checkpoint))
    size = -(-lanes.count // chunks) if chunks else lanes.fitting(opening.first, memory)
    chunks = -(-lanes.count // size)
    about = {}
    if checkpoint is not None:
        held_out = digest(lanes.lower_judge(size).as_text())
        about = {
            "program": digest(lanes.lower(size, opening.first).as_text()),
            "held_out": digest(held_out + digest(validate)),
            "start": digest(arrays),
            "lams": lams.tolist(),
            "seeds": names,
            "patience": patience,
        }
    tell = _reporter(progress, epochs * chunks)
    ended = []
    for k in range(chunks):
        folder = None if checkpoint is None else Path(checkpoint) / f"{k + 1}-of-{chunks}"
        with contextlib.ExitStack() as stack:
            checkpoints = None if folder is None else stack.enter_context(Checkpoints(folder, about))
            report = functools.partial(_tell, tell, k * epochs)
            groups = lanes.chunk(k, size)
            done = train_chunk(recipe, arrays, groups, opening, checkpoints, report)
        report(epochs)
        ended.append(_on_host(done, [group.fixed.rest for group in groups], min(size, lanes.count - k * size)))
    return _result(ended, lams, names, objects)


def _reporter(progress: bool | Callable[[int, int], None], total: int) -> Callable[[int], None]:
    """Turn the `progress` argument into a function of what is done."""
    if callable(progress):
        return lambda done: progress(done, total)
    if not progress:
        return lambda done: None
    return lambda done: print(f"\r{done}/{total} epochs", end="\n" if done == total else "", flush=True)


def _tell(tell: Callable[[int], None], before: int, done: int) -> None:
    tell(before + done)


def _joined(*parts: Any) -> Any:
    return (np if isinstance(parts[0], np.ndarray) else jnp).concatenate(parts)  # keys are no numpy arrays


def _on_host(done: Progress, rest: list[PyTree], count: int) -> dict[str, Any]:
    """What the lanes of a chunk leave, without those that filled it up."""
    curves = done.curves
    shares = np.where(done.epoch >= 0, curves["zeros"][np.arange(len(done.epoch)), done.epoch], np.nan)
    tree = {
        "params": jax.tree.map(_joined, *jax.tree.map(to_host, done.kept)),
        "rest": jax.tree.map(_joined, *jax.tree.map(to_host, rest)),
        "curves": curves,
        "epoch": done.epoch,
        "result": done.code,
        "zeros": shares,
    }
    return jax.tree.map(lambda leaf: leaf[:count], tree)


def _result(ended: list[dict[str, Any]], lams: np.ndarray, seeds: list[int] | None, objects: Objects) -> TrainSweep:
    """Put chunks together, give lanes the axes of strengths and seeds, and warn of those that failed."""
    axes = (len(lams),) if seeds is None else (len(lams), len(seeds))
    found = jax.tree.map(_joined, *ended)
    found = jax.tree.map(lambda leaf: leaf.reshape(*axes, *leaf.shape[1:]), found)
    reached = np.flatnonzero(
        np.isfinite(found["curves"]["zeros"]).reshape(-1, found["curves"]["zeros"].shape[-1]).any(0)
    )
    last = int(reached[-1]) + 1 if reached.size else 0
    diverged = int((found["result"] == Result.DIVERGED).sum())
    if diverged:
        warnings.warn(
            f"{diverged} of {found['result'].size} lanes became NaN or infinite; see .result, and try smaller steps",
            RuntimeWarning,
            stacklevel=3,
        )
    return TrainSweep(
        lams=lams,
        seeds=None if seeds is None else tuple(seeds),
        params=objects.whole(found["params"], found["rest"]),
        zeros=found["zeros"],
        history={name: curve[..., :last] for name, curve in found["curves"].items()},
        epoch=found["epoch"],
        result=found["result"],
    )
