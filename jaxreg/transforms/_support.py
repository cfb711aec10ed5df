"""Training on with the support frozen."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxreg import _tree
from jaxreg._tree import PyTree
from jaxreg.penalties import Penalty
from jaxreg.transforms._proximal import check_optimizer, check_penalty


class SupportState(NamedTuple):
    """State of `refit_support`: which entries may move, inner state."""

    support: PyTree
    inner: optax.OptState


def refit_support(
    tx: optax.GradientTransformation, penalty: Penalty | None = None
) -> optax.GradientTransformationExtraArgs:
    """Train on with `tx`, where entries that are zero when it is initialized stay zero.

    After a penalty has selected, this undoes its shrinkage (the relaxed lasso, fine-tuning after pruning). The state is
    made from the sparse parameters: `state = refit_support(optax.adam(1e-3)).init(params)`. Gradients of frozen entries
    are hidden from `tx`, so that they do not enter norms or moments either.

    Args:
        tx: any optax transformation.
        penalty: if given, zeros are frozen only in the leaves that it acts on; else in all, biases that happen to be
            zero included.

    Raises:
        TypeError: if `tx` is no transformation or `penalty` no penalty.
        ValueError: from `init`, if a path pattern of the penalty matches nothing.

    Source: Meinshausen (2007), "Relaxed lasso", CSDA 52.

    >>> tx = refit_support(optax.sgd(0.5))
    >>> params = jnp.array([0.0, 3.0])
    >>> updates, state = tx.update(jnp.array([1.0, 1.0]), tx.init(params), params)
    >>> optax.apply_updates(params, updates)
    Array([0. , 2.5], dtype=float32)
    """
    check_optimizer(tx, 0.0)
    if penalty is not None:
        check_penalty(penalty)
    tx = optax.with_extra_args_support(tx)

    def init(params: PyTree) -> SupportState:
        leaves, structure = jax.tree.flatten(params)
        acts = [True] * len(leaves) if penalty is None else [bool(parts) for parts in penalty.parts(params)]
        support = [
            jnp.asarray(leaf) != 0 if _tree.is_float(leaf) and act else jnp.ones((), bool)
            for leaf, act in zip(leaves, acts, strict=True)
        ]
        return SupportState(jax.tree.unflatten(structure, support), tx.init(params))

    def update(
        updates: PyTree, state: SupportState, params: PyTree | None = None, **extra: Any
    ) -> tuple[PyTree, SupportState]:
        updates, inner = tx.update(_within(updates, state.support), state.inner, params, **extra)
        return _within(updates, state.support), SupportState(state.support, inner)

    return optax.GradientTransformationExtraArgs(init, update)


def _within(updates: PyTree, support: PyTree) -> PyTree:
    """Updates on the support, zero elsewhere."""

    def one(update: Any, inside: Any) -> Any:
        return jnp.where(inside, update, 0).astype(update.dtype) if _tree.is_float(update) else update

    return jax.tree.map(one, updates, support, is_leaf=lambda leaf: leaf is None)
