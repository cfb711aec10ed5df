"""Proximal steps as optax transformations, so that any optax loop leaves exact zeros."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxreg import _check, _tree
from jaxreg._tree import PyTree
from jaxreg.penalties import Penalty

ScalarOrSchedule = float | jax.Array | Callable[[Any], Any]


def apply_prox(params: PyTree, updates: PyTree, penalty: Penalty, step: Any) -> PyTree:
    """Apply updates and then the proximal step: prox_{step·g}(params + updates).

    Takes the place of `optax.apply_updates`; floating-point leaves keep their dtype.

    Args:
        params: parameter pytree.
        updates: tree of the same structure, as an optax transformation returns it.
        penalty: what to shrink by.
        step: the learning rate of the updates.

    Raises:
        TypeError: if `penalty` is not a penalty.
        ValueError: if a path pattern of the penalty matches nothing.

    >>> from jaxreg import L1
    >>> apply_prox(jnp.array([1.0, -2.0]), jnp.array([-0.9, 0.0]), L1(1.0), step=0.5)
    Array([ 0. , -1.5], dtype=float32)
    """
    _check_penalty(penalty)
    return penalty.prox(_moved(params, updates), step)


class ProximalState(NamedTuple):
    """State of `proximal`: steps taken, the penalty (replace its strength at any time), inner state."""

    count: jax.Array  # type: ignore[assignment]
    penalty: Penalty
    inner: optax.OptState


def proximal(
    tx: optax.GradientTransformation, penalty: Penalty, learning_rate: ScalarOrSchedule
) -> optax.GradientTransformationExtraArgs:
    """Follow every step of `tx` by the prox of `penalty`: train with the loss alone, get exact zeros.

    The new parameters are prox_{η_t·g}(params + updates), where η_t is the learning rate at the same count
    that `tx` sees. With `optax.sgd` this is proximal gradient descent, whose fixed points are exactly the
    stationary points of loss + penalty. With an adaptive optimizer such as Adam the gradient is rescaled and
    the prox is not, so that its fixed points are stationary for the loss in that rescaled metric: the
    effective strength then differs from entry to entry.

    It must stand last: nothing may change the updates after it. Leaves that the penalty does not touch
    receive the updates of `tx` bit for bit.

    Args:
        tx: any optax transformation, learning rate included.
        penalty: its strength may be traced; the penalty lives in the state, so replacing
            `state.penalty` by `state.penalty.at(lam)` changes λ without recompiling. Smooth members of a sum that
            have no prox within it join the gradient that `tx` sees.
        learning_rate: number or schedule; the one given to `tx`.

    Raises:
        TypeError: if `penalty` is not a penalty, `tx` not a transformation, or `learning_rate` neither a
            number nor a schedule.
        ValueError: if the learning rate is negative, NaN or infinite; from `init`, if a path pattern of the
            penalty matches nothing; from `update`, if it is called without `params`.

    Source: Duchi & Singer (2009), "Efficient online and batch learning using forward backward splitting",
    JMLR 10.

    >>> from jaxreg import L1
    >>> tx = proximal(optax.sgd(0.5), L1(1.0), learning_rate=0.5)
    >>> params = jnp.array([0.25, -3.0])
    >>> updates, state = tx.update(jnp.zeros(2), tx.init(params), params)
    >>> optax.apply_updates(params, updates)
    Array([ 0. , -2.5], dtype=float32)
    """
    _check_penalty(penalty)
    check_optimizer(tx, learning_rate)
    tx = optax.with_extra_args_support(tx)

    def init(params: PyTree) -> ProximalState:
        penalty.value(params)  # an unknown path or a misfitting weight fails here, before training starts
        return ProximalState(jnp.zeros((), jnp.int32), jax.tree.map(jnp.asarray, penalty), tx.init(params))

    def update(
        updates: PyTree, state: ProximalState, params: PyTree | None = None, **extra: Any
    ) -> tuple[PyTree, ProximalState]:
        if params is None:
            raise ValueError("proximal needs the parameters: call update(grads, state, params)")
        part = state.penalty.prox_part
        if part is not state.penalty:
            updates = _with_gradient(updates, state.penalty, params)
        updates, inner = tx.update(updates, state.inner, params, **extra)
        step = learning_rate(state.count) if callable(learning_rate) else learning_rate
        moved = _moved(params, updates)
        target = part.prox(moved, step)
        updates = jax.tree.map(_update_to, target, moved, params, updates)
        return updates, ProximalState(optax.safe_increment(state.count), state.penalty, inner)

    return optax.GradientTransformationExtraArgs(init, update)


def check_optimizer(tx: Any, learning_rate: Any) -> None:
    """Refuse what is no optax transformation, and a learning rate that is neither a schedule nor a step size.

    Raises:
        TypeError: as said.
        ValueError: if the learning rate is a negative, NaN or infinite number.
    """
    if not isinstance(tx, optax.GradientTransformation):
        raise TypeError(f"tx must be an optax GradientTransformation, got {tx!r}")
    if not callable(learning_rate):
        _check.number("learning_rate", learning_rate)


def _check_penalty(penalty: Any) -> None:
    if not isinstance(penalty, Penalty):
        raise TypeError(f"penalty must be a jaxreg penalty, got {penalty!r}")


def _with_gradient(updates: PyTree, penalty: Penalty, params: PyTree) -> PyTree:
    """Add the gradient of the penalty's smooth members to those of the loss."""
    floats, rest = _tree.partition(params)
    more = jax.grad(lambda p: penalty.smooth_value(_tree.overlay(p, rest)))(floats)
    return jax.tree.map(lambda u, m: u if u is None or m is None else u + m, updates, more, is_leaf=lambda x: x is None)


def _moved(params: PyTree, updates: PyTree) -> PyTree:
    """Apply updates as optax does; where there is none (a frozen leaf), the parameter stays."""

    def one(param: Any, update: Any) -> Any:
        if update is None or not _tree.is_float(param):
            return param
        return (param + update).astype(jnp.result_type(param))

    return jax.tree.map(one, params, updates)


def _update_to(target: Any, moved: Any, param: Any, update: Any) -> Any:
    """Return the update that takes `param` to `target`; where the prox did nothing, `update` unchanged."""
    if target is moved or update is None or not _tree.is_float(param):
        return update
    # param + (0 − param) is exactly 0 in floating point, so zeros survive optax.apply_updates.
    return jnp.where(target == moved, update, (target - param).astype(jnp.result_type(param)))
