"""Every loss, penalty and kind of design there is. A new member is tested by being listed here: one line each.

Numbers are Python's or NumPy's, so that a member can be used in any precision.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse

from jaxreg import (
    L0,
    L1,
    L2,
    L21,
    MCP,
    SCAD,
    SLOPE,
    Blocks,
    Box,
    ElasticNet,
    FusedLasso,
    Gamma,
    GroupLasso,
    GroupMCP,
    GroupSCAD,
    Huber,
    HuberizedL1,
    KSupport,
    L1Ball,
    L2Ball,
    LInf,
    LInfBall,
    Logistic,
    LogSum,
    Loss,
    Lq,
    Masked,
    Monotone,
    Multinomial,
    NegativeBinomial,
    NonNegative,
    Nuclear,
    OverlappingGroupLasso,
    Penalty,
    Poisson,
    PseudoHuber,
    Quantile,
    Simplex,
    SparseGroupLasso,
    Squared,
    SquaredHinge,
    TotalVariation,
    TreeGroupLasso,
    Tweedie,
    Units,
    by_axis,
)
from jaxreg.linear import Dense, Design, Sparse

# --- losses -----------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class LossCase:
    """A loss, how to draw n targets of its domain, and how far predictions may go in float32.

    `outputs`: the numbers that one sample's prediction consists of, if they belong together; 0 if each stands alone.
    """

    name: str
    loss: Loss
    targets: Callable[[np.random.Generator, int], np.ndarray]
    reach: tuple[float, float] = (-1e4, 1e4)
    outputs: int = 0


def normal(rng: np.random.Generator, n: int) -> np.ndarray:
    return rng.normal(size=n) * 3


def binary(rng: np.random.Generator, n: int) -> np.ndarray:
    return rng.integers(0, 2, size=n).astype(float)


def proportion(rng: np.random.Generator, n: int) -> np.ndarray:
    return np.concatenate([[0.0, 1.0], rng.uniform(size=n - 2)])


def count(rng: np.random.Generator, n: int) -> np.ndarray:
    return rng.poisson(2.0, size=n).astype(float)


def amount(rng: np.random.Generator, n: int) -> np.ndarray:
    return rng.gamma(0.7, 3.0, size=n) + 1e-3


def one_hot(rng: np.random.Generator, n: int) -> np.ndarray:
    return np.eye(4)[np.concatenate([np.arange(4), rng.integers(0, 4, size=n - 4)])]


def shares(rng: np.random.Generator, n: int) -> np.ndarray:
    drawn = rng.dirichlet(np.full(4, 0.5), size=n) * rng.integers(0, 2, size=(n, 4)) + 0.01 * one_hot(rng, n)
    return drawn / drawn.sum(axis=1, keepdims=True)


# Cox, whose samples are coupled, has its own tests: test_cox.py.
LOSSES = [
    LossCase("squared", Squared(), normal),
    LossCase("huber", Huber(delta=1.35), normal),
    LossCase("quantile", Quantile(q=0.3), normal),
    LossCase("logistic", Logistic(), binary),
    LossCase("logistic-proportion", Logistic(), proportion),
    LossCase("squared_hinge", SquaredHinge(), binary),
    LossCase("squared_hinge-proportion", SquaredHinge(), proportion),
    LossCase("multinomial", Multinomial(), one_hot, outputs=4),
    LossCase("multinomial-shares", Multinomial(), shares, outputs=4),
    LossCase("poisson", Poisson(), count, reach=(-1e4, 80.0)),
    LossCase("gamma", Gamma(), amount, reach=(-80.0, 1e4)),
    LossCase("tweedie-1.5", Tweedie(power=1.5), count, reach=(-150.0, 80.0)),
    LossCase("tweedie-1.05", Tweedie(power=1.05), amount, reach=(-1500.0, 80.0)),
    LossCase("tweedie-1.95", Tweedie(power=1.95), count, reach=(-80.0, 80.0)),
    LossCase("negative_binomial", NegativeBinomial(dispersion=0.5), count, reach=(-1e4, 80.0)),
    LossCase("negative_binomial-near_poisson", NegativeBinomial(dispersion=1e-9), count, reach=(-1e4, 80.0)),
]

# --- penalties --------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class PenaltyCase:
    """A penalty, the parameters it is tested on, and what is claimed of it.

    `separable`: a sum over single entries. `dual`: the conjugate is known.
    `free`: orthonormal rows that span what costs nothing, if that is not made of single entries.
    `crossing`: kinks cross, those of ties between entries. `pooled`: what holds a zero grows with the other entries.
    `spectral`: a small entry is lost beside large ones.
    `strength`: λ does something; if not, it is a constraint. `bounded`: infinite where a constraint is violated.
    `zero`: what tells whether zero is a solution: the residual, the prox, or (if convex) both.
    """

    name: str
    penalty: Penalty
    params: Any
    convex: bool = True
    separable: bool = True
    dual: bool = True
    free: Any = None
    crossing: bool = False
    pooled: bool = False
    spectral: bool = False
    strength: bool = True
    bounded: bool = False
    zero: tuple[str, ...] = ("residual", "prox")

    def at(self, lam: Any) -> Penalty:
        return self.penalty.at(lam)

    @property
    def size(self) -> int:
        return sum(leaf.size for leaf in jax.tree.leaves(self.params))

    def tree(self, x: jax.Array) -> Any:
        """Parameters from one vector, so that a law need not speak of trees."""
        leaves, structure = jax.tree.flatten(self.params)
        parts = jnp.split(x, np.cumsum([leaf.size for leaf in leaves])[:-1])
        return jax.tree.unflatten(structure, [x.reshape(leaf.shape) for x, leaf in zip(parts, leaves, strict=True)])

    def call(self, method: str, lam: Any, *args: Any) -> jax.Array:
        """A method of the penalty at strength `lam`, on vectors: one item, to be batched by vmap."""
        args = tuple(self.tree(x) if jnp.ndim(x) else x for x in args)
        leaves = jax.tree.leaves(getattr(self.penalty.at(lam), method)(*args))
        return jnp.concatenate([leaf.ravel() for leaf in leaves]) if method in VECTOR_VALUED else leaves[0]

    def derivatives(self, lam: Any, step: Any, v: Any) -> Any:
        """Jacobians of the prox by λ, step and input, and gradients of the value by λ and input, for a batch."""
        return jax.tree.map(np.asarray, _derivatives(self.name)(lam, step, v))

    def batch(self, method: str, *args: Any) -> np.ndarray:
        """The same for a batch: strengths (n,) first, then vectors (n, size) or numbers (n,), as NumPy.

        It is computed `ROWS` at a time, so that there is one program for each method and precision.
        """
        call, parts, args = _batched(self.name, method), [], [np.asarray(x) for x in args]
        for begin in range(0, len(args[0]), ROWS):
            rows = [x[begin : begin + ROWS] for x in args]
            many = len(rows[0])
            parts.append(np.asarray(call(*(np.resize(x, (ROWS, *x.shape[1:])) for x in rows)))[:many])
        return np.concatenate(parts)


ROWS = 400
VECTOR_VALUED = ("prox", "residual")


@functools.cache
def _derivatives(name: str) -> Callable[..., Any]:
    case = next(case for case in PENALTIES if case.name == name)

    def one(lam: Any, step: Any, v: Any) -> Any:
        by_prox = jax.jacrev(lambda lam, step, v: case.call("prox", lam, v, step), argnums=(0, 1, 2))(lam, step, v)
        return by_prox, jax.grad(lambda lam, v: case.call("value", lam, v), argnums=(0, 1))(lam, v)

    return jax.jit(jax.vmap(one))


@functools.cache
def _batched(name: str, method: str) -> Callable[..., jax.Array]:
    """Compiled once for all laws."""
    case = next(case for case in PENALTIES if case.name == name)
    return jax.jit(jax.vmap(functools.partial(case.call, method)))


VECTOR = np.zeros(6)
WEIGHT = np.array([1.0, 0.0, 0.25, 3.0, 0.0, 1.0])
TREE = {"enc": {"bias": np.zeros(2), "kernel": np.zeros((2, 2))}, "head": {"kernel": np.zeros(2)}}
FACTORS = {"enc": {"bias": 1.0, "kernel": np.array([[1.0, 0.0], [2.0, 0.5]])}, "head": None}
LABELS = [4, 1, 4, 7, 1, 1]
MATRIX = np.zeros((3, 2))
CHAINED = [[0, 1, 2], [2, 3]]
BOUNDS = np.array([0.0, 1.0, np.inf, 0.25, 8.0, 0.0])
NESTED = [[0, 1, 2, 3], [4, 5], [2], [1, 2]]

# Total variation in two dimensions, whose prox iterates, has its own tests: test_structured_penalties.py.
PENALTIES = [
    PenaltyCase("l1", L1(), VECTOR),
    PenaltyCase("l1-weight", L1(weight=WEIGHT), VECTOR),
    PenaltyCase("l2", L2(), VECTOR),
    PenaltyCase("l2-weight", L2(weight=WEIGHT), VECTOR),
    PenaltyCase("elastic_net", ElasticNet(l1_ratio=0.3), VECTOR),
    PenaltyCase("elastic_net-weight", ElasticNet(l1_ratio=0.8, weight=WEIGHT), VECTOR),
    PenaltyCase("l1-tree", L1(weight=FACTORS), TREE),
    PenaltyCase("masked", Masked(ElasticNet(l1_ratio=0.5), include=("*/kernel",)), TREE, dual=False),
    PenaltyCase("blocks", Blocks({"enc/kernel": ElasticNet(2.0), "head/*": L1(0.5)}), TREE, dual=False),
    PenaltyCase("group_lasso", GroupLasso(groups=LABELS), VECTOR, separable=False),
    PenaltyCase(
        "group_lasso-weight", GroupLasso(groups=[[0, 2], [1], [3, 5, 4]], weight=[2, 0, 0.5]), VECTOR, separable=False
    ),
    PenaltyCase(
        "sparse_group",
        SparseGroupLasso(l1_ratio=0.6, groups=LABELS, weight=[1, 0, 3], entry_weight=[1.0, 0.5, 0.0, 3.0, 2.0, 1.0]),
        VECTOR,
        separable=False,
    ),
    PenaltyCase(
        "units",
        Units(SparseGroupLasso(groups=by_axis(0)), {"enc/bias": 0, "enc/kernel": -1}),
        TREE,
        separable=False,
        dual=False,
    ),
    PenaltyCase(
        "heads", GroupMCP(groups=by_axis(-1, width=2)), np.zeros((2, 4)), convex=False, separable=False, dual=False
    ),
    PenaltyCase("l21", L21(weight=[0.5, 1.0, 2.0]), MATRIX, separable=False),
    PenaltyCase("overlapping", OverlappingGroupLasso(groups=CHAINED), np.zeros(5), separable=False),
    PenaltyCase("tree_group", TreeGroupLasso(groups=NESTED), VECTOR, separable=False),
    PenaltyCase("group_mcp", GroupMCP(groups=LABELS, gamma=2.5), VECTOR, convex=False, separable=False, dual=False),
    PenaltyCase("group_scad", GroupSCAD(groups=LABELS, gamma=3.3), VECTOR, convex=False, separable=False, dual=False),
    PenaltyCase("slope", SLOPE(weights=[3.0, 2.0, 2.0, 1.0, 0.5, 0.0]), VECTOR, separable=False, crossing=True),
    PenaltyCase("linf", LInf(), VECTOR, separable=False, crossing=True),
    PenaltyCase("k_support", KSupport(k=2), VECTOR, separable=False, crossing=True, pooled=True),
    PenaltyCase("k_support-fraction", KSupport(k=3.5), MATRIX, separable=False, crossing=True, pooled=True),
    PenaltyCase(
        "total_variation",
        TotalVariation(weight=[1.0, 2.0, 0.0, 1.0, 0.5]),
        VECTOR,
        crossing=True,
        separable=False,
        dual=False,
        free=np.kron(np.eye(2), np.full(3, 3**-0.5)),
    ),
    PenaltyCase("nuclear", Nuclear(), MATRIX, separable=False, crossing=True, spectral=True),
    PenaltyCase("fused_lasso", FusedLasso(l1_ratio=0.3), VECTOR, separable=False, crossing=True),
    PenaltyCase(
        "fused_lasso-columns", FusedLasso(l1_ratio=0.7, weight=[2.0, 1.0]), MATRIX, separable=False, crossing=True
    ),
    *[
        PenaltyCase(f"{name}-weight", penalty, VECTOR, convex=False, dual=False, zero=zero)
        for name, penalty, zero in (
            ("mcp", MCP(gamma=3.0, weight=WEIGHT), ("residual", "prox")),
            ("scad", SCAD(gamma=3.7, weight=WEIGHT), ("residual", "prox")),
            ("log_sum", LogSum(eps=0.5, weight=WEIGHT), ("residual",)),
            ("l0", L0(weight=WEIGHT), ("prox",)),
            ("lq-half", Lq(q=1 / 2, weight=WEIGHT), ("prox",)),
            ("lq-two_thirds", Lq(q=2 / 3, weight=WEIGHT), ("prox",)),
        )
    ],
    PenaltyCase("huberized-weight", HuberizedL1(delta=0.5, weight=WEIGHT), VECTOR),
    PenaltyCase("pseudo_huber-weight", PseudoHuber(delta=0.5, weight=WEIGHT), VECTOR),
    PenaltyCase("box", Box(-BOUNDS, 2 * BOUNDS), VECTOR, strength=False, bounded=True),
    PenaltyCase("linf_ball", LInfBall(1.5), TREE, strength=False, bounded=True),
    *[
        PenaltyCase(name, penalty, params, separable=False, strength=False, bounded=True, crossing=True)
        for name, penalty, params in (
            ("simplex", Simplex(2.0), TREE),
            ("l1_ball", L1Ball(2.0), VECTOR),
            ("l2_ball", L2Ball(1.5), TREE),
            ("monotone", Monotone(), VECTOR),
        )
    ],
    PenaltyCase("sum-elastic-non_negative", ElasticNet(weight=WEIGHT) + L1(0.5) + NonNegative(), VECTOR, bounded=True),
    PenaltyCase(
        "sum-masks",
        Masked(L1(2.0), include=("enc/*",)) + Masked(Box(-1.0, 2.0), include=("*/kernel",)) + L2(weight=FACTORS),
        TREE,
        bounded=True,
    ),
    PenaltyCase(
        "sum-mcp",
        MCP(gamma=3.0, weight=WEIGHT) + L1(0.3, weight=WEIGHT) + L2(0.1) + NonNegative(),
        VECTOR,
        convex=False,
        dual=False,
        bounded=True,
    ),
    PenaltyCase(
        "sum-groups",
        L1(0.4, weight=WEIGHT) + GroupLasso(0.5, groups=LABELS) + L2(0.1) + NonNegative(),
        VECTOR,
        separable=False,
        bounded=True,
    ),
    PenaltyCase("sum-rows", L21(0.7, weight=[0.0, 1.0, 2.0]) + L2(0.3), MATRIX, separable=False),
    PenaltyCase(
        "sum-total_variation",
        ElasticNet(0.4) + TotalVariation(0.7) + Box(-1.0, 2.0),
        VECTOR,
        separable=False,
        dual=False,
        bounded=True,
        crossing=True,
    ),
]

# --- designs ----------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class DesignCase:
    """A way to give a matrix, the kind of design that it becomes, and the precision in which that is stored."""

    name: str
    give: Callable[[np.ndarray], Any]
    kind: type[Design]
    stored: type[np.floating] = np.float64


def crooked(array: np.ndarray) -> scipy.sparse.coo_array:
    """Every entry twice, as halves, and all zeros stored."""
    row, column = (index.ravel() for index in np.indices(array.shape))
    half = array.ravel() / 2
    return scipy.sparse.coo_array((np.r_[half, half], (np.r_[row, row], np.r_[column, column])), shape=array.shape)


DESIGNS = [
    DesignCase("dense", np.asarray, Dense),
    DesignCase("dense-float32", lambda X: X.astype(np.float32), Dense, np.float32),
    DesignCase("csc", scipy.sparse.csc_array, Sparse),
    DesignCase("csr", scipy.sparse.csr_matrix, Sparse),
    DesignCase("csr-float32", lambda X: scipy.sparse.csr_array(X.astype(np.float32)), Sparse, np.float32),
    DesignCase("coo-crooked", crooked, Sparse),
]
