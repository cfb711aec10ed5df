"""Ready chains: proximal gradient descent, proximal AdamW, and FISTA, as optax transformations."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxreg import _check, _tree
from jaxreg._tree import PyTree
from jaxreg.penalties import Penalty
from jaxreg.transforms._metric import adam_metric
from jaxreg.transforms._proximal import (
    ScalarOrSchedule,
    at_count,
    check_optimizer,
    check_penalty,
    moved_by,
    own_copy,
    proximal,
    split,
)


def prox_sgd(
    learning_rate: ScalarOrSchedule,
    penalty: Penalty,
    *,
    momentum: float | None = None,
    nesterov: bool = False,
    lam: ScalarOrSchedule | None = None,
) -> optax.GradientTransformationExtraArgs:
    """Stochastic gradient descent followed by the prox; on full gradients, proximal gradient descent (ISTA).

    On full gradients it rests where 0 ∈ ∇f + ∂g, also with momentum β, under which both steps are 1/(1 − β) times as
    long. On minibatches it settles in a neighbourhood of that point, unless the learning rate decays to zero or the
    noise is reduced (see `svrg`).

    Args:
        learning_rate: number or schedule; below 2 / curvature of the loss, without momentum.
        penalty: what to shrink by.
        momentum: β in [0, 1).
        nesterov: whether the gradient is added once more, as in `optax.sgd`.
        lam: strength, as a number or schedule, as in `proximal`.

    Raises:
        TypeError: as `proximal`.
        ValueError: as `proximal`, or if `momentum` is not in [0, 1).

    Source: Duchi & Singer (2009), JMLR 10; Polyak (1964), "Some methods of speeding up the convergence of iteration
    methods", for momentum.

    >>> from jaxreg import L1
    >>> tx = prox_sgd(0.5, L1(1.0))
    >>> params = jnp.array([0.25, -3.0])
    >>> optax.apply_updates(params, tx.update(jnp.zeros(2), tx.init(params), params)[0])
    Array([ 0. , -2.5], dtype=float32)
    """
    if momentum is None:
        return proximal(optax.sgd(learning_rate), penalty, learning_rate, lam=lam)
    _check.number("momentum", momentum, high=1.0)
    if not isinstance(momentum, jax.core.Tracer) and momentum >= 1:
        raise ValueError(f"momentum must be below 1, got {momentum}")
    check_optimizer(optax.identity(), learning_rate)
    longer = 1 / (1 - momentum)

    def length(count: jax.Array) -> Any:
        return longer * (learning_rate(count) if callable(learning_rate) else learning_rate)

    return proximal(optax.sgd(learning_rate, momentum, nesterov), penalty, length, lam=lam)


def prox_adamw(
    learning_rate: ScalarOrSchedule,
    penalty: Penalty,
    b1: float = 0.9,
    b2: float = 0.999,
    eps: float = 1e-8,
    eps_root: float = 0.0,
    weight_decay: float = 0.0,
    *,
    mask: Any = None,
    nesterov: bool = False,
    metric: bool = True,
    lam: ScalarOrSchedule | None = None,
) -> optax.GradientTransformationExtraArgs:
    """AdamW followed by the prox, by default in Adam's own metric.

    With D = √ν̂ + eps it rests, under a decaying learning rate, where

    - 0 ∈ ∇f + ∂g, if `metric` and without decay: stationary for loss + penalty. To shrink weights as well, add an
      `L2` to the penalty, or take `ElasticNet`;
    - 0 ∈ ∇f + D·∂g without `metric`: λ is counted in units of each entry's own gradients, by which a λ of about 1
      removes all;
    - with `weight_decay` w, wD·params is added to ∇f in either case, which no penalty describes. The default is 0.

    Args:
        learning_rate: number or schedule.
        penalty: what to shrink by; in a metric, a sum over entries or groups (see `Penalty.metric_prox`).
        b1: decay of the first moment.
        b2: decay of the second moment.
        eps: added to the root of the second moment.
        eps_root: added within the root.
        weight_decay: decoupled decay, as in `optax.adamw`.
        mask: which leaves decay, as in `optax.adamw`.
        nesterov: as in `optax.adamw`.
        metric: whether the proximal step is taken in the scales D.
        lam: strength, as a number or schedule, as in `proximal`.

    Raises:
        TypeError: as `proximal`.
        ValueError: as `proximal`.

    Source: Loshchilov & Hutter (2019), "Decoupled weight decay regularization", ICLR; Yun, Lozano & Yang (2021),
    "Adaptive proximal gradient methods for structured neural networks", NeurIPS.

    >>> from jaxreg import L1
    >>> tx = prox_adamw(0.1, L1(1.0))
    >>> params, grads = jnp.array([0.25, -3.0]), jnp.array([2.0, -0.5])
    >>> optax.apply_updates(params, tx.update(grads, tx.init(params), params)[0]).round(3)
    Array([ 0.1, -2.7], dtype=float32)
    """
    check_optimizer(optax.identity(), learning_rate)
    tx = optax.adamw(learning_rate, b1, b2, eps, eps_root, weight_decay=weight_decay, mask=mask, nesterov=nesterov)
    scales = adam_metric(b2, eps, eps_root) if metric else None
    return proximal(tx, penalty, learning_rate, lam=lam, metric=scales)


class FISTAState(NamedTuple):
    """State of `fista`: steps taken, the penalty, the last proximal point, momentum."""

    count: jax.Array  # type: ignore[assignment]
    penalty: Penalty
    params: PyTree
    momentum: jax.Array


def fista(
    learning_rate: ScalarOrSchedule, penalty: Penalty, *, lam: ScalarOrSchedule | None = None
) -> optax.GradientTransformation:
    """Accelerated proximal gradient with adaptive restart, for full gradients.

    x₊ = prox_{η·g}(y − η∇f(y)), y₊ = x₊ + β(x₊ − x).

    The parameters of the training loop are y, where gradients are taken, and zeros in them come and go. The sparse
    solution is x, which is `state.params`. The momentum restarts when it points uphill. For steps that find their own
    length, and a stop, take `jaxreg.solve`.

    Args:
        learning_rate: number or schedule; at most 1 / curvature of the loss.
        penalty: what to shrink by; it lives in the state, as in `proximal`.
        lam: strength, as a number or schedule, as in `proximal`.

    Raises:
        TypeError: as `proximal`.
        ValueError: as `proximal`.

    Source: Beck & Teboulle (2009), "A fast iterative shrinkage-thresholding algorithm for linear inverse problems",
    SIAM J. Imaging Sciences 2; O'Donoghue & Candès (2015), "Adaptive restart for accelerated gradient schemes", Found.
    Comput. Math. 15.

    >>> from jaxreg import L1
    >>> tx = fista(0.5, L1(1.0))
    >>> params = jnp.array([0.25, -3.0])
    >>> updates, state = tx.update(jnp.zeros(2), tx.init(params), params)
    >>> state.params
    Array([ 0. , -2.5], dtype=float32)
    """
    check_penalty(penalty)
    check_optimizer(optax.identity(), learning_rate)
    if lam is not None and not callable(lam):
        _check.number("lam", lam)

    def init(params: PyTree) -> FISTAState:
        penalty.value(params)
        copied = _tree.map_floats(jnp.array, params)
        return FISTAState(jnp.zeros((), jnp.int32), own_copy(penalty), copied, jnp.ones((), jnp.float32))

    def update(updates: PyTree, state: FISTAState, params: PyTree | None = None) -> tuple[PyTree, FISTAState]:
        if params is None:
            raise ValueError("fista needs the parameters: call update(grads, state, params)")
        part, grads = split(state.penalty, lam, state.count, updates, params)
        step = at_count(learning_rate, state.count)
        y = params
        x = part.prox(moved_by(y, _scaled(grads, -step)), step)
        advance, overshoot = _tree.add(x, state.params, -1.0), _tree.add(y, x, -1.0)
        uphill = _tree.vdot(overshoot, advance) > 0
        following = jnp.where(uphill, 1, 0.5 * (1 + jnp.sqrt(1 + 4 * state.momentum**2)))
        push = jnp.where(uphill, 0, (state.momentum - 1) / following)

        def change(grad: Any, y: Any, x: Any, last: Any) -> Any:
            if grad is None or not _tree.is_float(y):
                return grad
            return (x + push * (x - last) - y).astype(jnp.result_type(y))

        changed = jax.tree.map(change, updates, y, x, state.params, is_leaf=lambda leaf: leaf is None)
        momentum = following.astype(jnp.float32)
        return changed, FISTAState(optax.safe_increment(state.count), state.penalty, x, momentum)

    return optax.GradientTransformation(init, update)


def _scaled(updates: PyTree, factor: Any) -> PyTree:
    return _tree.map_floats(lambda update: factor * update, updates)
