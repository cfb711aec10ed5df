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

from jaxreg import L1, L2, Blocks, ElasticNet, Logistic, Loss, Masked, Penalty, Squared
from jaxreg.linear import Dense, Design, Sparse

# --- losses -----------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class LossCase:
    """A loss, how to draw n targets of its domain, and how far predictions may go in float32."""

    name: str
    loss: Loss
    targets: Callable[[np.random.Generator, int], np.ndarray]
    reach: tuple[float, float] = (-1e4, 1e4)


def normal(rng: np.random.Generator, n: int) -> np.ndarray:
    return rng.normal(size=n) * 3


def binary(rng: np.random.Generator, n: int) -> np.ndarray:
    return rng.integers(0, 2, size=n).astype(float)


def proportion(rng: np.random.Generator, n: int) -> np.ndarray:
    return np.concatenate([[0.0, 1.0], rng.uniform(size=n - 2)])


def count(rng: np.random.Generator, n: int) -> np.ndarray:
    return rng.poisson(2.0, size=n).astype(float)


LOSSES = [
    LossCase("squared", Squared(), normal),
    LossCase("logistic", Logistic(), binary),
    LossCase("logistic-proportion", Logistic(), proportion),
]

# --- penalties --------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class PenaltyCase:
    """A penalty, the parameters it is tested on, and what is claimed of it.

    `separable`: a sum over single entries. `dual`: the conjugate is known.
    """

    name: str
    penalty: Penalty
    params: Any
    convex: bool = True
    separable: bool = True
    dual: bool = True

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

    def batch(self, method: str, *args: Any) -> np.ndarray:
        """The same for a batch: strengths (n,) first, then vectors (n, size) or numbers (n,), as NumPy."""
        return np.asarray(_batched(self.name, method)(*args))


VECTOR_VALUED = ("prox", "residual")


@functools.cache
def _batched(name: str, method: str) -> Callable[..., jax.Array]:
    """Compiled once for all laws."""
    case = next(case for case in PENALTIES if case.name == name)
    return jax.jit(jax.vmap(functools.partial(case.call, method)))


VECTOR = np.zeros(6)
WEIGHT = np.array([1.0, 0.0, 0.25, 3.0, 0.0, 1.0])
TREE = {"enc": {"bias": np.zeros(2), "kernel": np.zeros((2, 2))}, "head": {"kernel": np.zeros(2)}}
FACTORS = {"enc": {"bias": 1.0, "kernel": np.array([[1.0, 0.0], [2.0, 0.5]])}, "head": None}

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
