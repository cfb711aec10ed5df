"""Proximal steps as optax transformations, so that any optax loop leaves exact zeros."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxreg import _check, _tree
from jaxreg._tree import PyTree
from jaxreg.penalties import Penalty
from jaxreg.transforms._inner import advanced, hyperparameter
from jaxreg.transforms._metric import Metric, check_metric

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
    check_penalty(penalty)
    return penalty.prox(moved_by(params, updates), step)


SMALLEST = 1e-30
"""Least scale of a metric: its inverse is still a number in float32."""


class ProximalState(NamedTuple):
    """State of `proximal`: steps taken, the penalty (replace its strength at any time), inner state."""

    count: jax.Array  # type: ignore[assignment]
    penalty: Penalty
    inner: optax.OptState


def proximal(
    tx: optax.GradientTransformation,
    penalty: Penalty,
    learning_rate: ScalarOrSchedule | str,
    *,
    lam: ScalarOrSchedule | None = None,
    metric: Metric | None = None,
) -> optax.GradientTransformationExtraArgs:
    """Follow every step of `tx` by the prox of `penalty`: train with the loss alone, get exact zeros.

    The new parameters are prox_{η_t·g}(params + updates), where η_t is the learning rate at the same count
    that `tx` sees. Where training comes to rest depends on `tx`, whose updates are −η_t m/D with an average m of
    gradients ∇f and scales D:

    | `tx` | `metric` | it rests where |
    |---|---|---|
    | `optax.sgd(η)` | | 0 ∈ ∇f + ∂g: stationary for loss + penalty |
    | `optax.sgd(η, momentum=β)` | | the same, if `learning_rate` is η/(1 − β): `prox_sgd` does that |
    | Adam, RMSProp, Adagrad | none | 0 ∈ ∇f + D·∂g: the strength of each entry is λD, which follows its gradients |
    | Adam, RMSProp, Adagrad | theirs | 0 ∈ ∇f + ∂g: stationary for loss + penalty |
    | with decoupled decay w (AdamW) | | as before, with wD·params added to ∇f |

    With a metric the proximal step minimizes ½ Σ D(z − x)² + η_t·g(z), in the scales by which the optimizer divides.

    It must stand last: nothing may change the updates after it. Leaves that the penalty does not touch
    receive the updates of `tx` bit for bit. Wrappers that at times hold an update back, `optax.MultiSteps` and
    `optax.apply_if_finite`, may be within `tx` or around it: the prox is held back along with the update.

    Args:
        tx: any optax transformation, learning rate included.
        penalty: its strength may be traced; the penalty lives in the state, so replacing
            `state.penalty` by `state.penalty.at(lam)` changes λ without recompiling. Smooth members of a sum that
            have no prox within it join the gradient that `tx` sees.
        learning_rate: number or schedule; the one given to `tx`. Or the name that it has among the hyperparameters of
            `optax.inject_hyperparams`, if `tx` contains that: then it is read from there at every step.
        lam: strength, as a number or a schedule of the same count, in place of that in the state: for warm-up, or as a
            hyperparameter of an `optax.inject_hyperparams` around `proximal`.
        metric: `adam_metric()`, `rms_metric()`, `adagrad_metric()`, or any function of the state of `tx` that returns
            the scales D: positive arrays in a tree like the parameters, or in a prefix of it.

    Raises:
        TypeError: if `penalty` is not a penalty, `tx` not a transformation, `learning_rate` or `lam` neither a
            number nor a schedule, `metric` no function, or if the penalty has no prox in a metric.
        ValueError: if a number is negative, NaN or infinite; from `init`, if a path pattern of the
            penalty matches nothing, or the state of `tx` does not hold what is asked of it; from `update`, if it is
            called without `params`.

    Source: Duchi & Singer (2009), "Efficient online and batch learning using forward backward splitting",
    JMLR 10; for the metric, Yun, Lozano & Yang (2021), "Adaptive proximal gradient methods for structured neural
    networks", NeurIPS.

    >>> from jaxreg import L1
    >>> tx = proximal(optax.sgd(0.5), L1(1.0), learning_rate=0.5)
    >>> params = jnp.array([0.25, -3.0])
    >>> updates, state = tx.update(jnp.zeros(2), tx.init(params), params)
    >>> optax.apply_updates(params, updates)
    Array([ 0. , -2.5], dtype=float32)
    """
    check_penalty(penalty)
    if isinstance(tx, optax.MultiSteps):
        tx = tx.gradient_transformation()
    check_optimizer(tx, learning_rate if not isinstance(learning_rate, str) else 0.0)
    if lam is not None and not callable(lam):
        _check.number("lam", lam)
    if metric is not None:
        check_metric(metric)
    tx = optax.with_extra_args_support(tx)

    def init(params: PyTree) -> ProximalState:
        inner = tx.init(params)
        if isinstance(learning_rate, str):
            hyperparameter(inner, learning_rate)
        if _tree.floats(params):  # optax maps states by initializing them with a placeholder that has no leaves
            penalty.value(params)  # an unknown path or a misfitting weight fails here, before training starts,
            if metric is not None:  # and so does a metric that is not to be had
                _prox(penalty.prox_part, params, 1.0, metric, inner)
        return ProximalState(jnp.zeros((), jnp.int32), own_copy(penalty), inner)

    def update(
        updates: PyTree, state: ProximalState, params: PyTree | None = None, **extra: Any
    ) -> tuple[PyTree, ProximalState]:
        if params is None:
            raise ValueError("proximal needs the parameters: call update(grads, state, params)")
        part, updates = split(state.penalty, lam, state.count, updates, params)
        updates, inner = tx.update(updates, state.inner, params, **extra)
        if isinstance(learning_rate, str):
            step = hyperparameter(inner, learning_rate)
        else:
            step = at_count(learning_rate, state.count)
        moved = moved_by(params, updates)
        target = _prox(part, moved, step, metric, inner)
        changed = jax.tree.map(_update_to, target, moved, params, updates)
        count = optax.safe_increment(state.count)
        go = advanced(state.inner, inner, updates)
        if go is not None:
            changed = jax.tree.map(lambda new, old: new if new is old else jnp.where(go, new, old), changed, updates)
            count = jnp.where(go, count, state.count)
        return changed, ProximalState(count, state.penalty, inner)

    return optax.GradientTransformationExtraArgs(init, update)


def at_count(value: ScalarOrSchedule, count: jax.Array) -> Any:
    return value(count) if callable(value) else value


def _prox(penalty: Penalty, params: PyTree, step: Any, metric: Metric | None, inner: optax.OptState) -> PyTree:
    """Proximal step, in the metric that the optimizer's state gives, if one is asked for."""
    if metric is None:
        return penalty.prox(params, step)
    scales = _tree.broadcast_weight(metric(inner), params, "metric")
    # A scale of 0 would mean an infinite step.
    scales = _tree.map_floats(lambda _, d: jnp.maximum(d, SMALLEST), params, scales)
    return penalty.metric_prox(params, step, scales)


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


def check_penalty(penalty: Any) -> None:
    if not isinstance(penalty, Penalty):
        raise TypeError(f"penalty must be a jaxreg penalty, got {penalty!r}")


def split(
    penalty: Penalty, lam: ScalarOrSchedule | None, count: jax.Array, grads: PyTree, params: PyTree
) -> tuple[Penalty, PyTree]:
    """Return what is taken by its prox, at the strength of this step, and the gradients with the rest in them."""
    whole = penalty if lam is None else penalty.at(at_count(lam, count))
    part = whole.prox_part
    return part, grads if part is whole else with_gradient(grads, whole, params)


def own_copy(penalty: Penalty) -> Penalty:
    """The penalty in arrays of its own: a state may be donated, and the penalty used again."""
    return jax.tree.map(lambda leaf: jnp.array(jnp.asarray(leaf)), penalty)


def with_gradient(updates: PyTree, penalty: Penalty, params: PyTree) -> PyTree:
    """Add the gradient of the penalty's smooth members to those of the loss."""
    floats, rest = _tree.partition(params)
    more = jax.grad(lambda p: penalty.smooth_value(_tree.overlay(p, rest)))(floats)
    return jax.tree.map(lambda u, m: u if u is None or m is None else u + m, updates, more, is_leaf=lambda x: x is None)


def moved_by(params: PyTree, updates: PyTree) -> PyTree:
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
