"""Variance reduction for finite sums."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxreg import _check, _tree
from jaxreg._tree import PyTree


class SVRGState(NamedTuple):
    """State of `svrg`: steps taken, the anchor, the gradient on all data there."""

    count: jax.Array  # type: ignore[assignment]
    anchor: PyTree
    full: PyTree


def svrg(gradient: Callable[[PyTree, Any], PyTree], every: int) -> optax.GradientTransformationExtraArgs:
    """Take from minibatch gradients the noise that they have at an anchor: ∇f_B(x) − ∇f_B(a) + ∇f(a).

    The anchor a moves to the parameters every so many steps, when the gradient on all data is computed; at a solution
    no noise is left, so that constant steps reach it. It stands before an optimizer:
    `proximal(optax.chain(svrg(gradient, 200), optax.sgd(η)), penalty, η)`. A step costs one more gradient on the batch.

    The update takes both data as arguments: `tx.update(grads, state, params, batch=batch, data=data)`, with `grads` the
    gradient on `batch`. All data must be such that the mean over random batches is the mean over them.

    Args:
        gradient: gradient(params, data) of the mean loss, deterministic; the same function for batches and all data,
            such as `jax.grad(loss)`.
        every: steps between anchors; one or two passes over the data are usual.

    Raises:
        TypeError: if `gradient` is not callable or `every` no integer.
        ValueError: if `every` is below 1; from `update`, without `params`, `batch` or `data`.

    Source: Johnson & Zhang (2013), "Accelerating stochastic gradient descent using predictive variance reduction",
    NIPS; Xiao & Zhang (2014), "A proximal stochastic gradient method with progressive variance reduction", SIAM J.
    Optim. 24.

    >>> gradient = jax.grad(lambda b, data: 0.5 * jnp.mean((data - b) ** 2))
    >>> tx, data, b = svrg(gradient, every=10), jnp.array([0.0, 4.0]), jnp.array(1.0)
    >>> updates, _ = tx.update(gradient(b, data[:1]), tx.init(b), b, batch=data[:1], data=data)
    >>> float(updates)  # the gradient on all data, from a batch of one
    -1.0
    """
    if not callable(gradient):
        raise TypeError(f"gradient must be a function gradient(params, data), got {gradient!r}")
    if not isinstance(every, int) or isinstance(every, bool):
        raise TypeError(f"every must be an integer, got {every!r}")
    _check.number("every", every, low=1)

    def init(params: PyTree) -> SVRGState:
        floats, _ = _tree.partition(params)
        # Copies, so that parameters and state can both be donated.
        anchor = jax.tree.map(jnp.array, floats)
        return SVRGState(jnp.zeros((), jnp.int32), anchor, jax.tree.map(jnp.zeros_like, anchor))

    def update(
        updates: PyTree,
        state: SVRGState,
        params: PyTree | None = None,
        *,
        batch: Any = None,
        data: Any = None,
        **_: Any,
    ) -> tuple[PyTree, SVRGState]:
        for name, value in (("params", params), ("batch", batch), ("data", data)):
            if value is None:
                raise ValueError(f"svrg needs {name}: call update(grads, state, params, batch=batch, data=data)")
        floats, rest = _tree.partition(params)

        def of_floats(at: PyTree, on: Any) -> PyTree:
            """Gradient in the floating-point leaves, in the types of the parameters."""

            def one(leaf: Any, grad: Any) -> Any:
                if not _tree.is_float(leaf):
                    return None
                return jnp.zeros_like(leaf) if grad is None else jnp.asarray(grad, leaf.dtype)

            return jax.tree.map(one, params, gradient(_tree.overlay(at, rest), on))

        renew = state.count % every == 0
        anchor, full = jax.lax.cond(
            renew, lambda: (floats, of_floats(floats, data)), lambda: (state.anchor, state.full)
        )
        there = of_floats(anchor, batch)

        def reduce(grad: Any, mean: Any, noise: Any) -> Any:
            return grad if grad is None or noise is None else grad - noise + mean

        reduced = jax.tree.map(reduce, updates, full, there, is_leaf=lambda leaf: leaf is None)
        return reduced, SVRGState(optax.safe_increment(state.count), anchor, full)

    return optax.GradientTransformationExtraArgs(init, update)
