"""The compiled programs of a training sweep: start, step, judgement, and what is kept; a lane is one λ and seed.

A step never looks at whether a lane has stopped. What a lane leaves is in `kept`, which no longer changes then, so that
masks cost nothing in the step.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxreg import _tree
from jaxreg._tree import PyTree
from jaxreg.objective import Objective
from jaxreg.penalties import Penalty
from jaxreg.transforms import ProximalState

Measure = Callable[[PyTree, Any], Any]


class Lanes(NamedTuple):
    """What trains. Every array has a leading axis of lanes."""

    params: PyTree
    """Floating-point leaves, with None for all others."""
    state: optax.OptState
    lam: jax.Array
    loss: jax.Array
    """Sum over the minibatches of this epoch."""


class Fixed(NamedTuple):
    """What does not: leaves that are arrays but not floating-point, by lane, and the objective."""

    rest: PyTree
    objective: Objective


class Objects(NamedTuple):
    """Leaves that are no arrays (functions, strings), in the structure that the parameters had: static."""

    structure: Any
    leaves: tuple[Any, ...]

    def whole(self, floats: PyTree, rest: PyTree) -> PyTree:
        """Parameters as the model knows them."""
        return _tree.overlay(_tree.overlay(floats, rest), jax.tree.unflatten(self.structure, self.leaves))


def is_proximal(node: Any) -> bool:
    """Whether this is the state that holds the penalty."""
    return isinstance(node, ProximalState)


def with_strength(state: optax.OptState, lam: Any) -> optax.OptState:
    """The same state with its penalty at another strength."""

    def one(node: Any) -> Any:
        if not is_proximal(node):
            return node
        moved = jax.tree.map(lambda new, old: jnp.asarray(new, old.dtype), node.penalty.at(lam), node.penalty)
        return node._replace(penalty=moved)

    return jax.tree.map(one, state, is_leaf=is_proximal)


@functools.partial(jax.jit, static_argnames="tx")
def begin(arrays: PyTree, which: jax.Array, lams: jax.Array, *, tx: optax.GradientTransformation) -> Lanes:
    """Lanes at their start.

    Args:
        arrays: floating-point leaves at the start of every seed, with a leading axis.
        which: seed of every lane, as a place on that axis.
        lams: strength of every lane.
        tx: the optimizer.
    """

    def one(seed: jax.Array, lam: jax.Array) -> Lanes:
        params = jax.tree.map(lambda leaf: leaf[seed], arrays)
        return Lanes(params, with_strength(tx.init(params), lam), lam, jnp.zeros_like(lam))

    return jax.vmap(one)(which, lams)


@functools.partial(jax.jit, static_argnames=("tx", "objects", "smooth"), donate_argnames="lanes")
def step(
    lanes: Lanes,
    fixed: Fixed,
    batch: Any,
    *,
    tx: optax.GradientTransformation,
    objects: Objects,
    smooth: bool,
) -> Lanes:
    """One minibatch, for all lanes.

    Args:
        lanes: donated.
        fixed: what does not train.
        batch: the same for all.
        tx: the optimizer.
        objects: see there.
        smooth: whether the penalty is smooth and in no prox: then its gradient joins that of the loss.
    """
    update = optax.with_extra_args_support(tx).update

    def one(lane: Lanes, rest: PyTree) -> Lanes:
        def loss(floats: PyTree) -> tuple[Any, Any]:
            risk = fixed.objective.risk(objects.whole(floats, rest), batch)
            added = fixed.objective.whole.at(lane.lam).value(floats) if smooth else 0.0
            return risk + added, risk

        (value, risk), grads = jax.value_and_grad(loss, has_aux=True)(lane.params)
        updates, state = update(grads, lane.state, lane.params, value=value)
        params = optax.apply_updates(lane.params, updates)
        return Lanes(params, state, lane.lam, (lane.loss + risk).astype(lane.loss.dtype))

    return jax.vmap(one)(lanes, fixed.rest)


class Report(NamedTuple):
    """What is seen of every lane after an epoch."""

    finite: jax.Array
    zeros: jax.Array
    validation: jax.Array
    metrics: dict[str, jax.Array]


@functools.partial(jax.jit, static_argnames=("objects", "measure", "metrics"))
def judge(
    params: PyTree,
    fixed: Fixed,
    penalty: Penalty,
    validate: Any,
    *,
    objects: Objects,
    measure: Measure | None,
    metrics: tuple[tuple[str, Measure], ...],
) -> Report:
    """Whether parameters are finite, the share of zeros where the penalty acts, and figures on held-out data."""

    def one(floats: PyTree, rest: PyTree) -> Report:
        whole = objects.whole(floats, rest)
        nothing = jnp.full((), jnp.nan, jnp.float32)
        held_out, figures = nothing, dict.fromkeys((name for name, _ in metrics), nothing)
        if validate is not None:
            held_out = fixed.objective.risk(whole, validate) if measure is None else measure(whole, validate)
            figures = {name: scalar(name, metric(whole, validate)) for name, metric in metrics}
        acted = [leaf for leaf, parts in zip(jax.tree.leaves(floats), penalty.parts(floats), strict=True) if parts]
        zeros = sum((jnp.sum(leaf == 0) for leaf in acted), start=jnp.zeros((), jnp.int32))
        share = zeros / max(_tree.size(acted), 1)
        return Report(_tree.all_finite(floats), share, scalar("measure", held_out), figures)

    return jax.vmap(one)(params, fixed.rest)


def scalar(name: str, value: Any) -> jax.Array:
    """One number.

    Raises:
        ValueError: if it is not.
    """
    if jnp.ndim(value):
        raise ValueError(f"{name} must return one number for (params, data), got shape {jnp.shape(value)}")
    return jnp.asarray(value, jnp.promote_types(jnp.result_type(value), jnp.float32))


@functools.partial(jax.jit, donate_argnames="kept")
def keep(kept: PyTree, params: PyTree, better: jax.Array) -> PyTree:
    """Take over the parameters of the lanes that are better."""

    def one(old: jax.Array, new: jax.Array) -> jax.Array:
        return jnp.where(better.reshape(-1, *[1] * (new.ndim - 1)), new, old)

    return jax.tree.map(one, kept, params)


def is_key(leaf: Any) -> bool:
    """Whether a leaf holds keys of JAX's random numbers, which numpy does not know."""
    return jnp.issubdtype(jnp.result_type(leaf), jax.dtypes.prng_key)


def to_host(leaf: Any) -> Any:
    """A numpy array; keys stay what they are."""
    return leaf if is_key(leaf) else np.asarray(leaf)
