"""Where the strength of a training sweep acts: in the prox of the optimizer, or in a smooth penalty."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.extend.core import Literal

from jaxreg._tree import PyTree
from jaxreg.objective import Objective
from jaxreg.penalties import Penalty, Smooth
from jaxreg.training._lanes import is_proximal, with_strength
from jaxreg.transforms import FISTAState

NO_PROX = (
    "tx holds no penalty: make it with jr.proximal(tx, penalty, learning_rate), jr.prox_adamw or jr.prox_sgd. "
    "An optimizer without prox will do where objective has a smooth penalty, such as L2"
)


def resolve(objective: Any, tx: Any, params: PyTree) -> tuple[Objective, optax.GradientTransformation, Penalty, bool]:
    """Objective, optimizer, the penalty whose strength is swept, and whether it joins the gradient of the loss.

    Args:
        objective: an `Objective`, or a function f(params, batch), whose penalty is then that of `tx`.
        tx: the optimizer.
        params: floating-point leaves at the start, with None for all others.

    Raises:
        TypeError: if one is not of its kind.
        ValueError: if it is not clear where λ acts, or it acts nowhere.
    """
    if isinstance(tx, optax.MultiSteps):
        tx = tx.gradient_transformation()
    if not isinstance(tx, optax.GradientTransformation):
        raise TypeError(f"tx must be an optax GradientTransformation, got {tx!r}")
    if not isinstance(objective, Objective) and not callable(objective):
        raise TypeError(f"objective must be a jaxreg Objective or a function f(params, batch), got {objective!r}")
    given = objective.whole if isinstance(objective, Objective) else None
    state = tx.init(params)
    nodes = jax.tree.leaves(state, is_leaf=lambda node: is_proximal(node) or isinstance(node, FISTAState))
    if any(isinstance(node, FISTAState) for node in nodes):
        raise ValueError("tx is fista, which needs full gradients: take jr.sweep, or jr.prox_sgd for minibatches")
    held = [node.penalty for node in nodes if is_proximal(node)]
    if len(held) > 1:
        raise ValueError(
            f"tx holds {len(held)} penalties, of which lams would set each to the same strength: put them into one "
            "jr.Blocks or a sum, in one jr.proximal"
        )
    if not held:
        if given is None or not all(isinstance(atom, Smooth) for atom in given.atoms):
            raise ValueError(NO_PROX)
        given.value(params)  # an unknown path fails here
        return objective, tx, given, True
    penalty = held[0]
    if given is not None and not _same(given, penalty):
        raise ValueError(
            f"objective and tx must have the same penalty, but for its strength, got {given!r} and "
            f"{jax.tree.map(_plain, penalty)!r}; a function f(params, batch) for the objective needs none"
        )
    if not _follows(tx, state, params, penalty):
        raise ValueError(
            f"no update of tx depends on the strength of its penalty, {type(penalty).__name__}: a constraint has none, "
            "and with proximal(..., lam=...) or inject_hyperparams the strength is theirs; leave that to lams"
        )
    return (objective if given is not None else Objective(objective, penalty)), tx, penalty, False


def _same(one: Penalty, other: Penalty) -> bool:
    """Whether two penalties are equal at equal strength."""
    one, other = one.at(1.0), other.at(1.0)
    leaves, others = jax.tree.leaves(one), jax.tree.leaves(other)
    structures: list[Any] = [jax.tree.structure(one), jax.tree.structure(other)]
    return bool(structures[0] == structures[1]) and all(
        jnp.shape(a) == jnp.shape(b) and bool(jnp.allclose(a, b)) for a, b in zip(leaves, others, strict=True)
    )


def _plain(leaf: Any) -> Any:
    return leaf.tolist() if jnp.ndim(leaf) == 0 else leaf


def _follows(tx: optax.GradientTransformation, state: Any, params: PyTree, penalty: Penalty) -> bool:
    """Whether an update uses the strength at all, read from its program."""
    update = optax.with_extra_args_support(tx).update

    def updates(lam: Any) -> PyTree:
        grads = jax.tree.map(jnp.zeros_like, params)
        return update(grads, with_strength(state, lam), params, value=jnp.zeros(()))[0]

    return _depends(updates, jnp.asarray(1.0))


def _depends(function: Callable[[Any], Any], value: Any) -> bool:
    program = jax.make_jaxpr(function)(value).jaxpr
    reached = set(program.invars)
    for equation in program.eqns:
        if any(not isinstance(entry, Literal) and entry in reached for entry in equation.invars):
            reached.update(equation.outvars)
    return any(not isinstance(out, Literal) and out in reached for out in program.outvars)
