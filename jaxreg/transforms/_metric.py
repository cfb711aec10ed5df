"""Diagonal metrics: the scales by which adaptive optimizers divide, read from their state."""

import inspect
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from jaxreg import _check, _tree
from jaxreg._tree import PyTree
from jaxreg.transforms._inner import find

Metric = Callable[[Any], PyTree]
"""A function of an optimizer's state after its update that returns the scales D by which it has divided."""


def check_metric(metric: Any) -> None:
    """Refuse what is no function; that something is callable is not enough, since models are.

    Raises:
        TypeError: as said.
    """
    if not inspect.isfunction(metric) and not inspect.ismethod(metric):
        raise TypeError(f"metric must be a function of the optimizer's state, such as adam_metric(), got {metric!r}")


def adam_metric(b2: Any = 0.999, eps: Any = 1e-8, eps_root: Any = 0.0) -> Metric:
    """D = √(ν̂ + eps_root) + eps, with the second moment ν̂ corrected for its start: that of Adam, AdamW and NAdam.

    Args:
        b2: decay of the second moment, the one given to the optimizer.
        eps: likewise.
        eps_root: likewise.

    Raises:
        ValueError: if a number is out of range; on use, if the state does not hold exactly one `ScaleByAdamState`.

    Source: Kingma & Ba (2015), "Adam: a method for stochastic optimization", ICLR.

    >>> tx = optax.adam(0.1)
    >>> _, state = tx.update(jnp.array([3.0]), tx.init(jnp.zeros(1)))
    >>> round(float(adam_metric()(state)[0]), 3)
    3.0
    """
    _check.number("b2", b2, high=1.0)
    _check.number("eps", eps)
    _check.number("eps_root", eps_root)

    def metric(state: Any) -> PyTree:
        adam = _only(state, "adam_metric", optax.ScaleByAdamState)
        return _tree.map_floats(lambda nu: jnp.sqrt(_corrected(nu, b2, adam.count) + eps_root) + eps, adam.nu)

    return metric


def rms_metric(eps: Any = 1e-8, eps_in_sqrt: bool = True) -> Metric:
    """D = √(ν + eps), or √ν + eps, with the second moment ν: that of `optax.rmsprop`, not centered.

    Args:
        eps: the one given to the optimizer.
        eps_in_sqrt: likewise.

    Raises:
        ValueError: if `eps` is negative, NaN or infinite; on use, if the state does not hold exactly one
            `ScaleByRmsState`. (With `bias_correction` it is another one, and `adam_metric` of Adam with b1 = 0 does.)

    Source: Tieleman & Hinton (2012), "Lecture 6.5: RMSProp", COURSERA.
    """
    _check.number("eps", eps)

    def scale(nu: jax.Array) -> jax.Array:
        return jnp.sqrt(_tree.wide(nu) + eps) if eps_in_sqrt else jnp.sqrt(_tree.wide(nu)) + eps

    return lambda state: _tree.map_floats(scale, _only(state, "rms_metric", optax.ScaleByRmsState).nu)


def adagrad_metric(eps: Any = 1e-7) -> Metric:
    """D = √(sum of all squared gradients + eps): that of `optax.adagrad`.

    Args:
        eps: the one given to the optimizer.

    Raises:
        ValueError: if it is negative, NaN or infinite; on use, if the state does not hold one `ScaleByRssState`.

    Source: Duchi, Hazan & Singer (2011), "Adaptive subgradient methods for online learning and stochastic
    optimization", JMLR 12, which takes the proximal step in this metric.
    """
    _check.number("eps", eps)

    def metric(state: Any) -> PyTree:
        rss = _only(state, "adagrad_metric", optax.ScaleByRssState)
        return _tree.map_floats(lambda total: jnp.sqrt(_tree.wide(total) + eps), rss.sum_of_squares)

    return metric


def _corrected(nu: jax.Array, decay: Any, count: jax.Array) -> jax.Array:
    """Second moment as it would be had it not started at zero."""
    nu = _tree.wide(nu)
    seen = 1 - jnp.asarray(decay, nu.dtype) ** count
    return jnp.where(seen > 0, nu / jnp.where(seen > 0, seen, 1), nu)


def _only(state: Any, name: str, kind: type) -> Any:
    """Return the one state of this kind.

    Raises:
        ValueError: if there is none, or more than one.
    """
    found = find(state, kind)
    if len(found) != 1:
        there_are = sorted({type(node).__name__ for node in _nodes(state)}) or ["nothing"]
        raise ValueError(
            f"{name} needs exactly one {kind.__name__} in the optimizer's state, found {len(found)}; "
            f"there are: {', '.join(there_are)}"
        )
    return found[0]


def _nodes(state: Any) -> list[Any]:
    """All named tuples within a state, but for those of the parameters."""
    nodes = []
    if isinstance(state, tuple):
        nodes += [state] if hasattr(state, "_fields") else []
        for child in state:
            nodes += _nodes(child)
    elif isinstance(state, dict):
        for child in state.values():
            nodes += _nodes(child)
    return nodes
