"""Sums of penalties: every theorem against a search that does not know it, refusals, what goes to the gradient side."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.optimize
from sklearn.linear_model import Lasso

from jaxreg import (
    FISTA,
    L0,
    L1,
    L2,
    MCP,
    SCAD,
    Blocks,
    Box,
    ElasticNet,
    FusedLasso,
    GroupLasso,
    HuberizedL1,
    L1Ball,
    L2Ball,
    LInf,
    LInfBall,
    LogSum,
    Lq,
    Masked,
    Monotone,
    NonNegative,
    Objective,
    OptaxSolver,
    PseudoHuber,
    Result,
    Simplex,
    SparseGroupLasso,
    Squared,
    Sum,
    TotalVariation,
    TreeGroupLasso,
    proximal,
    solve,
    sweep,
)
from tests.helpers_models import arrays, linear
from tests.problems import gaussian

SGD = optax.sgd(0.1)
GROUPS = [0, 0, 1, 1, 1, 2]
WEIGHT = np.array([1.0, 0.5, 0.0, 2.0, 1.0, 3.0])
CONVEX = [
    L1(0.5, WEIGHT) + GroupLasso(0.7, GROUPS),
    L1(0.5) + L2(0.3) + NonNegative() + SparseGroupLasso(0.6, 0.5, GROUPS),
    NonNegative() + TreeGroupLasso(0.4, [[0, 1, 2], [1, 2]]) + ElasticNet(0.4, 0.5),
    L1(0.3, WEIGHT) + LInf(0.8),
    L1(0.4) + L1Ball(2.0) + L2(0.5),
    NonNegative() + L2Ball(1.0) + L1(0.1, WEIGHT),
    L1(0.4) + TotalVariation(0.7),
    Box(-0.5, 1.5) + ElasticNet(0.4, 0.5) + TotalVariation(0.7),
    Monotone() + L1(0.5) + LInfBall(1.0),
    L2(0.5) + Simplex(2.0),
    L2(0.4) + FusedLasso(0.6, 0.3),
    L1(0.2, WEIGHT) + HuberizedL1(0.7, 0.3) + Box(-1.0, 0.5),
    PseudoHuber(0.5, 0.2, WEIGHT) + L1(0.3) + L2(0.4, WEIGHT) + NonNegative(),
]


def names(penalty):
    return "+".join(type(atom).__name__ for atom in penalty.atoms)


def draws(n, size=6, seed=0):
    """Inputs with ties, zeros, and numbers of several sizes."""
    rng = np.random.default_rng(seed)
    v = rng.normal(size=(n, size)) * rng.choice([0.3, 1.0, 3.0], size=(n, 1))
    kinds = [v, v, np.round(v), np.zeros_like(v), np.sign(v)]
    return np.choose(rng.integers(0, len(kinds), size=v.shape), kinds)


@pytest.mark.parametrize("penalty", CONVEX, ids=names)
def test_prox_of_a_convex_sum_is_what_splitting_converges_to(penalty: Sum, x64):
    """Dykstra's method for sums needs the prox of each member alone, and knows no theorem.

    Source: Bauschke & Combettes (2008), "A Dykstra-like algorithm for two monotone operators"; in the product space,
    as here, for any number of members.
    """
    members, step = penalty.members, 0.8
    m = len(members)

    @jax.jit
    @jax.vmap
    def split(v):
        def turn(_, state):
            z, offsets = state
            inputs = [z + offset for offset in offsets]
            points = [member.prox(x, m * step) for member, x in zip(members, inputs, strict=True)]
            return sum(points) / m, [x - point for x, point in zip(inputs, points, strict=True)]

        return jax.lax.fori_loop(0, 2500, turn, (v, [jnp.zeros_like(v)] * m))[0]

    v = draws(60)
    x = np.asarray(jax.jit(jax.vmap(lambda v: penalty.prox(v, step)))(v))
    np.testing.assert_allclose(x, split(v), atol=2e-6)
    residual = jax.jit(jax.vmap(lambda x, g: penalty.residual(x, g)))(x, (x - v) / step)
    np.testing.assert_allclose(residual, 0, atol=1e-13)


NONCONVEX = [
    L0(0.4, WEIGHT) + L2(0.5) + L1(0.1),
    MCP(0.7, 3.0, WEIGHT) + L1(0.2, WEIGHT) + L2(0.1, WEIGHT),
    SCAD(0.7, 3.7) + ElasticNet(0.4, 0.5) + NonNegative(),
    NonNegative() + Lq(0.6, 1 / 2, WEIGHT),
    Lq(0.6, 2 / 3) + L1(0.2),
    LogSum(0.8, 0.2) + NonNegative() + L2(0.7),
]


@pytest.mark.parametrize("penalty", NONCONVEX, ids=names)
def test_prox_of_a_separable_sum_is_the_global_minimum(penalty: Sum, x64):
    """Against a fine grid over all that could be best; with short and long steps."""
    v = 2 * draws(60, seed=1)
    grid = np.concatenate([np.linspace(-20, 20, 8001), [0.0]])

    @jax.jit
    @jax.vmap
    def search(v, step):
        x = penalty.prox(v, step)

        def cost(z):  # of every entry: the penalty of all, less that of all others at zero
            alone = jax.vmap(lambda k: penalty.value(jnp.zeros(6).at[k].set(z[k])))(jnp.arange(6))
            return 0.5 * (z - v) ** 2 + step * alone

        return x, cost(x), jnp.min(jax.vmap(lambda t: cost(jnp.full(6, t)))(grid), axis=0)

    step = np.random.default_rng(2).choice([0.1, 1.0, 2.9, 4.0, 9.0], size=60)
    x, found, best = map(np.asarray, search(v, step))
    assert (found <= best + 1e-12).all()
    assert (best - found < 1e-3).all()
    assert 0.1 < (x == 0).mean() < 0.95
    residual = np.asarray(jax.jit(jax.vmap(penalty.residual))(x, (x - v) / step[:, None]))
    np.testing.assert_allclose(residual, 0, atol=1e-12)


REFUSED = [
    (lambda: GroupLasso(1.0, GROUPS) + TotalVariation(1.0), r"GroupLasso \+ TotalVariation .* only one"),
    (lambda: L1() + L0() + MCP(), r"L0 \+ MCP has no known prox"),
    (lambda: Simplex() + L1(), r"L1 \+ Simplex .* Simplex keeps neither signs nor the order"),
    (lambda: L1Ball() + L2Ball(), r"L1Ball \+ L2Ball"),
    (lambda: Box(-1.0, 2.0) + MCP(), r"Box \+ MCP .* convex penalty only"),
    (lambda: Box(-1.0, 2.0) + GroupLasso(1.0, GROUPS), r"Box \+ GroupLasso .* NonNegative"),
    (lambda: NonNegative() + Box(0.0, 1.0), r"NonNegative \+ Box .* one Box"),
    (lambda: L1(1.0, WEIGHT) + TotalVariation(1.0), r"L1 \+ TotalVariation .* alike"),
    (lambda: Masked(L1(), "a") + TotalVariation(1.0), r"Masked\(L1\) \+ TotalVariation .* alike"),
    (lambda: Box(np.zeros(6), 1.0) + TotalVariation(1.0), r"Box \+ TotalVariation .* alike"),
    (lambda: ElasticNet(1.0, 0.5, WEIGHT) + GroupLasso(1.0, GROUPS), r"ElasticNet \+ GroupLasso .* L2 by itself"),
    (lambda: L1() + 1.0, "unsupported operand"),
    (lambda: Sum(L1()), "two or more penalties, got 1"),
    (lambda: Sum(L1(), "l2"), "members must be jaxreg penalties, got 'l2'"),
]


@pytest.mark.parametrize(("make", "match"), REFUSED, ids=lambda value: value if isinstance(value, str) else "")
def test_what_no_theorem_covers_is_refused_with_its_reason(make, match):
    with pytest.raises(TypeError, match=match):
        make()


def test_the_factor_must_be_a_strength():
    for make in (lambda: (L1() + L2()).at(-1.0), lambda: Sum(L1(), L2(), lam=np.nan)):
        with pytest.raises(ValueError, match="lam must be"):
            make()


# --- the gradient side --------------------------------------------------------------------------------------

MOVED = [
    pytest.param(PseudoHuber(0.3, 0.5) + Monotone(), "PseudoHuber", marks=pytest.mark.slow),
    (L2(0.4, WEIGHT) + GroupLasso(0.2, GROUPS) + L1(0.1), "L2"),
    (Simplex(2.0) + HuberizedL1(0.3, 0.5, WEIGHT) + L2(0.1), "HuberizedL1"),
    (PseudoHuber(0.3, 0.5) + HuberizedL1(0.2, 0.1) + L1(0.1), "HuberizedL1"),
    pytest.param(
        Masked(Masked(L2(0.4), "*") + TotalVariation(0.3), "*") + L2(0.1), "a part of a member", marks=pytest.mark.slow
    ),
]


@pytest.mark.slow
@pytest.mark.parametrize(("penalty", "name"), MOVED, ids=lambda value: value if isinstance(value, str) else "")
def test_a_smooth_member_without_a_place_goes_to_the_gradient_side(penalty, name, x64):
    X, y = arrays(gaussian(40, 6, 0.3), np.float64)
    objective = Objective(Squared(), penalty, linear)
    coef = jnp.linspace(0.1, 0.6, 6)
    coef = 2.0 * coef / coef.sum()  # in every set above
    total = penalty.smooth_value(coef) + penalty.prox_part.value(coef)
    np.testing.assert_allclose(total, penalty.value(coef), rtol=1e-14)
    assert penalty.smooth_value(coef) > 0
    risk = 0.5 * jnp.mean((X @ coef - y) ** 2)
    np.testing.assert_allclose(objective.value(coef, (X, y)), risk + penalty.value(coef), rtol=1e-14)
    with pytest.raises(TypeError, match=f"{name} has no prox within this sum"):
        penalty.prox(coef, 1.0)

    # In an optax loop it joins the gradient: what `solve` ends at is a fixed point of its steps.
    best = solve(objective, jnp.zeros(6), (X, y), solver=FISTA(1e-12)).params
    tx = proximal(SGD, penalty, 0.1)
    grads = X.T @ (X @ best - y) / 40
    updates, _ = tx.update(grads, tx.init(best), best)
    np.testing.assert_allclose(updates, 0, atol=1e-9)
    updates, _ = tx.update(grads + jnp.linspace(-1, 1, 6), tx.init(best), best)
    assert np.abs(updates).max() > 1e-4

    # A new λ reaches both parts.
    batch = sweep(objective, jnp.zeros(6), (X, y), [1.0, 0.5], solver=FISTA(1e-10))
    scale = np.abs(X.T @ y / 40).max()
    for lam, coef, value in zip([1.0, 0.5], batch.params, batch.stats.objective, strict=True):
        grads = X.T @ (X @ coef - y) / 40
        assert penalty.at(lam).distance(coef, grads) <= 1e-8 * scale
        risk = 0.5 * jnp.mean((X @ coef - y) ** 2)
        np.testing.assert_allclose(value, risk + penalty.at(lam).value(coef), rtol=1e-12)
    assert (batch.result == Result.CONVERGED).all()


def test_where_everything_has_a_prox_nothing_moves():
    for penalty in (*CONVEX, *NONCONVEX, L1(), Masked(L1() + L2(), "*"), Blocks({"*": L1() + NonNegative()})):
        assert penalty.prox_part is penalty
        if isinstance(penalty, Sum):
            assert penalty.smooth_part == ()
        assert penalty.smooth_value(jnp.ones(6)) == 0


# --- solutions ----------------------------------------------------------------------------------------------


def test_nonnegative_least_squares_and_the_positive_lasso(x64):
    problem = gaussian(40, 6, 0.5)
    X, y = arrays(problem, np.float64)
    expected = scipy.optimize.nnls(problem.X, problem.y)[0]
    found = solve(Objective(Squared(), NonNegative(), linear), jnp.zeros(6), (X, y), solver=FISTA(1e-10))
    np.testing.assert_allclose(found.params, expected, atol=1e-8)
    assert (np.asarray(found.params)[expected == 0] == 0).all()

    penalty = L1() + NonNegative()
    top = penalty.lam_max(-X.T @ y / 40)
    np.testing.assert_allclose(top, np.max(X.T @ y / 40), rtol=1e-14)
    lams = np.array([1.01, 0.5, 0.1]) * float(top)
    paths = sweep(Objective(Squared(), penalty, linear), jnp.zeros(6), (X, y), lams, solver=FISTA(1e-10)).params
    for lam, coef in zip(lams, paths, strict=True):
        lasso = Lasso(lam, positive=True, fit_intercept=False, tol=1e-14, max_iter=10**6).fit(problem.X, problem.y)
        np.testing.assert_allclose(coef, lasso.coef_, atol=1e-8)
    assert (paths[0] == 0).all()


def test_sums_serve_any_solver(x64):
    X, y = arrays(gaussian(40, 6, 0.5), np.float64)
    penalty = ElasticNet(0.1, 0.5) + GroupLasso(0.2, GROUPS) + NonNegative()
    objective = Objective(Squared(), penalty, linear)
    found = solve(objective, jnp.zeros(6), (X, y), solver=FISTA(1e-10)).params
    again = solve(objective, jnp.ones(6), (X, y), solver=OptaxSolver(SGD, 0.1, tol=1e-10)).params
    np.testing.assert_allclose(found, again, atol=1e-8)
    np.testing.assert_array_equal(found == 0, again == 0)
