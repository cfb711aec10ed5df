"""Minimization and null models of losses with kinks: alternating directions and Newton's method, in turns."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxreg._programs import program
from jaxreg.linear.columns import Data
from jaxreg.linear.design import Design, Views
from jaxreg.linear.free import HUGE
from jaxreg.linear.kinks.admm import alternate, ridges
from jaxreg.linear.kinks.multipliers import explore, polish
from jaxreg.linear.kinks.saddle import Judged, Run, State, length
from jaxreg.linear.null import Null
from jaxreg.linear.outputs import per_sample
from jaxreg.losses._base import Nonsmooth
from jaxreg.penalties import L1, Penalty

CYCLES = 40
"""How often both may take turns."""

PATIENCE, WALKED = 2, 256
"""Turns after which semismooth steps of all coefficients help, and the most columns with which they do."""


def minimize(
    design: Design,
    views: Views,
    loss: Nonsmooth,
    data: Data,
    inverses: jax.Array,
    penalty: Penalty,
    lams: np.ndarray,
    factor: np.ndarray,
    intercept: bool,
    size: np.ndarray | jax.Array,
    goal: float,
    state: State,
    walks: bool = True,
) -> Run:
    """Solve for strengths (C,) in every training set, from states (F, …), until they measure `goal`, or `CYCLES`.

    `size` (F, 2) is what gaps and residuals are relative to. `walks` tells whether it may be hard to find what is zero,
    or fused.
    """
    about = (design, views, loss, data, inverses, penalty, lams, factor, np.float64(intercept), size, np.float64(goal))
    many, (n, p) = len(data.weights), design.shape
    shape = (len(lams), many)
    nothing = Judged(*(jnp.full((*shape, *rest), jnp.inf) for rest in ((), (p,), (), (), (), (), (), (n,), (p,))))
    # Of a penalty that is not convex a proximal step must not be too long.
    rho = jnp.maximum(state.rho, 2 / jnp.asarray(penalty.max_step))
    share = (state.rho / rho)[:, None]
    state = state._replace(rho=rho, u=state.u * share, v=state.v * share)
    state = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (len(lams), *leaf.shape)), state)
    run = Run(nothing, state, jnp.zeros(shape, int))
    for turn in range(CYCLES):
        if bool(jnp.all(run.best.measure <= goal)):
            break
        run = polish(*about, alternate(*about, run))
        if walks and turn >= PATIENCE - 1 and p <= WALKED and not bool(jnp.all(run.best.measure <= goal)):
            run = explore(*about, run)
    return run


@program()
def begin(design: Design, views: Views, loss: Nonsmooth, data: Data) -> tuple[State, jax.Array]:
    """States (F, …) at the mean of the target, and the weighted mean loss there (F,)."""
    n, p = design.shape

    def of_set(w: jax.Array) -> tuple[State, jax.Array]:
        middle = jnp.sum(w * (data.target - data.offset))
        eta = data.offset + middle
        none = jnp.zeros(p)
        state = State(eta, none, jnp.zeros(n), none, middle, none, eta, length(loss, data, w, eta))
        return state, per_sample(w, loss.value(eta, data.target))

    return jax.vmap(of_set)(data.weights)


def fit_null_split(
    design: Design, views: Views, loss: Nonsmooth, data: Data, factor: np.ndarray, intercept: bool
) -> Null:
    """Fit the null models as what an L1 penalty of a huge strength leaves."""
    inverses = ridges(design, views)
    state, size = begin(design, views, loss, data)
    size = jnp.stack([size, jnp.ones_like(size)], axis=1)

    def left(factor: np.ndarray) -> Judged:
        penalty, lams = L1(weight=jnp.asarray(factor)), np.full(1, HUGE)
        about = (design, views, loss, data, inverses, penalty, lams, factor, intercept, size, 1e-12, state)
        run = minimize(*about, walks=False)
        return jax.tree.map(lambda leaf: leaf[0], run.best)

    best = left(factor)
    plain = left(np.ones_like(factor)) if (factor == 0).any() else best
    many, n = data.weights.shape
    return Null(
        primal=best.fit,
        derivative=best.dual,
        gradient=best.correlation,
        basis=jnp.zeros((many, n, 1)),
        coef=jnp.concatenate([best.intercept[:, None], best.slopes[:, factor == 0]], axis=1),
        deviance=plain.deviance,
        astray=best.gap,
    )
