"""What is read from the state of the wrapped optimizer: whether it took a step, its hyperparameters, its moments."""

from typing import Any

import jax
import jax.numpy as jnp
import optax

from jaxreg import _tree
from jaxreg._tree import PyTree

_PARTIAL = (optax.transforms.PartitionState, optax.MaskedState)
_WAITING = (optax.MultiStepsState, optax.ApplyIfFiniteState)
_INJECTED = (optax.schedules.InjectStatefulHyperparamsState, optax.schedules.InjectHyperparamsState)


def find(state: optax.OptState, kinds: Any) -> list[Any]:
    """All states of these kinds within a state, the outermost if one is in another."""
    leaves = jax.tree.leaves(state, is_leaf=lambda node: isinstance(node, kinds))
    return [node for node in leaves if isinstance(node, kinds)]


def hyperparameter(state: optax.OptState, name: str) -> jax.Array:
    """Value of a hyperparameter of `optax.inject_hyperparams`, as it was in the last update.

    Raises:
        ValueError: if there is none of that name, or more than one.
    """
    held = [node.hyperparams for node in find(state, _INJECTED)]
    values = [values[name] for values in held if name in values]
    if len(values) != 1:
        there_are = ", ".join(sorted(repr(key) for values in held for key in values)) or "none at all"
        raise ValueError(
            f"learning_rate={name!r} must name one hyperparameter of optax.inject_hyperparams within tx, "
            f"which holds {there_are}"
        )
    return values[0]


def advanced(before: optax.OptState, after: optax.OptState, updates: PyTree) -> jax.Array | None:
    """Whether the optimizer took a step between two states, or a wrapper within held it back; None if none can.

    Raises:
        ValueError: if there is such a wrapper for a part of the parameters only.
    """
    answers = []
    old, new = (find(state, _WAITING + _PARTIAL) for state in (before, after))
    for was, now in zip(old, new, strict=True):
        if isinstance(now, _PARTIAL):
            if find(tuple(now), _WAITING):
                raise ValueError(
                    "a wrapper that holds back the updates of some parameters (optax.MultiSteps or "
                    "optax.apply_if_finite within optax.partition or optax.masked) does not tell the prox of the "
                    "others what to do: put proximal inside, around the optimizer of each part"
                )
            continue
        if isinstance(now, optax.MultiStepsState):
            answers.append(jnp.asarray(now.gradient_step != was.gradient_step))
            inside = advanced(was.inner_opt_state, now.inner_opt_state, updates)
        else:
            # What was refused came back as zeros; after too many refusals, what is not finite is let through.
            answers.append(now.last_finite | ~_tree.all_finite(updates))
            inside = advanced(was.inner_state, now.inner_state, updates)
        answers += [] if inside is None else [inside]
    return jnp.all(jnp.stack(answers)) if answers else None
