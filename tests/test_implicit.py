"""Derivatives of solutions equal central finite differences: each smooth loss with each penalty, in every argument."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxreg import (
    FISTA,
    L1,
    L2,
    MCP,
    SLOPE,
    Box,
    Cox,
    ElasticNet,
    FusedLasso,
    Gamma,
    GroupLasso,
    Huber,
    Logistic,
    Multinomial,
    NegativeBinomial,
    NonNegative,
    Objective,
    Poisson,
    SparseGroupLasso,
    Squared,
    SquaredHinge,
    TotalVariation,
    Tweedie,
    solve,
)
from jaxreg.objective import weighted_mean

N, P = 30, 9
GROUPS = [0, 0, 0, 1, 1, 1, 2, 2, 2]
EXACT = FISTA(1e-12, 1_000)
STEP = 1e-5
PENALTIES = {
    "l1": L1(weight=np.linspace(0.5, 1.5, P)),
    "elastic_net": ElasticNet(l1_ratio=0.6, weight=np.linspace(0.5, 1.5, P)),
    "group_lasso": GroupLasso(groups=GROUPS, weight=[1.0, 0.5, 2.0]),
    "sparse_group": SparseGroupLasso(l1_ratio=0.4, groups=GROUPS, weight=[1.0, 0.5, 2.0]),
    "slope": SLOPE(weights=np.linspace(2.0, 0.5, P)),
}
OTHERS = {
    "l2": L2(),
    "mcp": MCP(gamma=20.0),
    "total_variation": TotalVariation(),
    "fused": FusedLasso(l1_ratio=0.3),
    "l1+nonnegative": L1() + NonNegative(),
    "l1+box": L1() + Box(-0.3, np.full(P, 0.4)),
}
LOSSES = [
    Squared(),
    Huber(0.4),
    Logistic(),
    SquaredHinge(),
    Poisson(),
    Gamma(),
    Tweedie(power=1.5),
    NegativeBinomial(dispersion=0.5),
]
TARGETS = (
    lambda s: s,
    lambda s: s,
    lambda s: s > 0,
    lambda s: s > 0.2,
    lambda s: np.exp(0.5 * s),
    lambda s: np.exp(0.4 * s),
    lambda s: np.exp(s),
    lambda s: np.exp(0.5 * s),
)
SURVIVAL = np.stack([np.random.default_rng(2).integers(1, 20, size=N), np.arange(N) % 4 > 0], axis=1)


def elementwise(params, data):
    """The elementwise loss number `kind`, so that one program serves them all."""
    X, y, weight, offset, kind = data
    pred = X @ params + offset
    mine = [kind == k for k in range(len(LOSSES))]
    # The others see something harmless, lest an infinite derivative times zero be NaN.
    values = [loss.value(jnp.where(yes, pred, 0), jnp.where(yes, y, 1)) for loss, yes in zip(LOSSES, mine, strict=True)]
    return weighted_mean(sum(jnp.where(yes, value, 0) for yes, value in zip(mine, values, strict=True)), weight)


def together(params, data):
    """Losses whose outputs, or samples, belong together: 0 is multinomial, of three classes; 1 is Cox."""
    X, y, weight, offset, kind = data
    pred = X @ params + offset
    shares = jnp.stack([y, 0.3 * (1 - y), 0.7 * (1 - y)], axis=1)
    classes = Multinomial().value(X[:, :3] @ params.reshape(3, 3) + offset[:, None], shares)
    cox = Cox().weighing(weight)
    survival = cox.value(pred, cox.encode(SURVIVAL, pred))
    return weighted_mean(jnp.where(kind == 0, classes, survival), weight)


def table(targets):
    """Data for each loss, (losses, ...), with a target of its domain."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(N, P))
    signal = X @ np.r_[1.0, -0.8, 0.0, 0.6, 0.0, 0.0, -0.4, 0.0, 0.0] + 0.5 * rng.normal(size=N)
    y = [target(signal) for target in targets]
    shared = X, rng.uniform(0.5, 2.0, size=N), 0.1 * rng.normal(size=N)
    X, weight, offset = (np.broadcast_to(part, (len(y), *part.shape)) for part in shared)
    return X, np.stack(y), weight, offset


def directions(theta, rng):
    """One direction for each part of θ, (parts, ...), the numbers of a penalty being one part."""
    parts = jax.tree.leaves(theta, is_leaf=lambda part: part is not theta)
    moved = [jax.tree.map(lambda x: rng.normal(size=np.shape(x)), part) for part in parts]
    return tuple(
        jax.tree.map(lambda x, k=k: np.stack([x if j == k else 0 * x for j in range(len(parts))]), part)
        for k, part in enumerate(moved)
    )


@functools.partial(jax.jit, static_argnames="coef")
def study(coef, theta, dots, weights):
    """Solutions at θ and along each direction, both ways; derivatives forward, and reverse under `weights`.

    All in one batch of one program: of the derivatives at the shifted points nothing is used.
    """

    def one(theta):
        found, forward = jax.linearize(coef, theta)
        ahead = jax.vmap(forward)(dots)
        (back,) = jax.linear_transpose(forward, theta)(weights.reshape(found.shape))
        inner = jax.vmap(
            lambda dot: sum(jnp.vdot(a, b) for a, b in zip(*map(jax.tree.leaves, (back, dot)), strict=True))
        )
        return found.ravel(), ahead.reshape(ahead.shape[0], -1), inner(dots)

    shifted = [jax.tree.map(lambda x, d, sign=sign: x + sign * STEP * d, theta, dots) for sign in (1, -1)]
    every = jax.tree.map(lambda x, *more: jnp.concatenate([x[None], *more]), theta, *shifted)
    found, ahead, back = jax.vmap(one)(every)
    count = ahead.shape[1]
    return found[0], (found[1 : 1 + count] - found[1 + count :]) / (2 * STEP), ahead[0], back[0]


def agree(found, differences, ahead, back, weights):
    """Judge a batch of studies: forward, reverse, and differences, to 1e-5 of the largest entry of each."""
    found, differences, ahead, back = map(np.asarray, (found, differences, ahead, back))
    size = np.abs(differences).max(axis=-1)
    assert (size.max(axis=-1) > 1e-3).all()
    error = np.abs(ahead - differences).max(axis=-1)
    assert np.max(error / (size + 1e-3)) <= 1e-5, error / (size + 1e-3)
    np.testing.assert_allclose(back, ahead @ weights, rtol=1e-9, atol=1e-12)
    return found


def floats(tree):
    return jax.tree.map(lambda x: jnp.asarray(x, float), tree)


def at_fraction(penalty, risk, start, fraction):
    """The penalty at a share of the strength from which on all is zero."""
    top = penalty.lam_max(jax.grad(risk)(start))
    return penalty.at(fraction * jnp.where(jnp.isfinite(top), top, 1))


def every_loss(smooth, targets, penalty, fraction=0.25):
    """All losses that one function holds, with one penalty, as one batch."""
    rng = np.random.default_rng(1)
    data, kinds = floats(table(targets)), jnp.arange(len(targets))
    penalty, start = floats(penalty), jnp.zeros(P)

    def strength(data, kind):
        return at_fraction(penalty, lambda b: smooth(b, (*data, kind)), start, fraction)

    penalties = jax.vmap(strength)(data, kinds)
    dots = floats(directions((penalty, *(part[0] for part in data)), rng))
    weights = rng.normal(size=P)

    def each(theta, kind):
        def coef(theta):
            penalty, *data = theta
            return solve(Objective(smooth, penalty), start, (*data, kind), solver=EXACT).params

        return study.__wrapped__(coef, theta, dots, weights)

    return agree(*jax.jit(jax.vmap(each))((penalties, *data), kinds), weights)


def some(names, quick):
    """Test these, the others only when there is time."""
    return [pytest.param(name, marks=() if name in quick else pytest.mark.deep) for name in names]


@pytest.mark.slow
@pytest.mark.parametrize("name", some(PENALTIES, ("elastic_net",)))
def test_every_elementwise_loss(name, x64):
    found = every_loss(elementwise, TARGETS, PENALTIES[name])
    assert (found != 0).any(axis=1).all()
    assert (found == 0).any()


@pytest.mark.parametrize("name", some(PENALTIES, ()))
def test_losses_that_hold_together(name, x64):
    found = every_loss(together, (lambda s: 1 / (1 + np.exp(-s)), lambda s: s), PENALTIES[name])
    assert (found != 0).any(axis=1).all()
    assert (found == 0).any()


@pytest.mark.parametrize("name", some(OTHERS, ()))
def test_other_penalties(name, x64):
    every_loss(elementwise, TARGETS, OTHERS[name])
