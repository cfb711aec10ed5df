"""Models and data for the tests of everything that works on any parameter pytree."""

import equinox as eqx
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from tests.problems import Problem, gaussian


def linear(params, X):
    return X @ params


def affine(params, X):
    """A linear model with an intercept."""
    return X @ params["coef"] + params["intercept"]


def classes(problem: Problem) -> Problem:
    """Make two classes of a quantitative target."""
    return Problem(problem.X, (problem.y > 0.2).astype(np.float64))


def arrays(problem: Problem, dtype) -> tuple[jax.Array, jax.Array]:
    return jnp.asarray(problem.X, dtype), jnp.asarray(problem.y, dtype)


def curved(n: int = 64, p: int = 6) -> Problem:
    """A target that is no linear function of the columns, and that half of them have no part in."""
    X = gaussian(n, p, 0.0).X
    return Problem(X, np.sin(2 * X[:, 0]) + X[:, 1] * X[:, 2])


class FlaxNetwork(nn.Module):
    """6 → 16 → 1, with tanh between."""

    @nn.compact
    def __call__(self, x):
        return nn.Dense(1)(nn.tanh(nn.Dense(16)(x)))


def flax_network(seed: int = 0):
    """Return parameters and predict(params, X)."""
    model = FlaxNetwork()
    return model.init(jax.random.key(seed), jnp.zeros((1, 6))), _flax_predict


def _flax_predict(params, X):
    return FlaxNetwork().apply(params, X)[:, 0]


def equinox_network(seed: int = 0):
    """Return a module, functions among its leaves, and predict(module, X)."""
    model = eqx.nn.MLP(6, "scalar", 16, 1, activation=jnp.tanh, key=jax.random.key(seed))
    return model, _equinox_predict


def _equinox_predict(model, X):
    return jax.vmap(model)(X)


def zeros_and_size(tree) -> tuple[int, int]:
    """How many entries of the floating-point arrays of a tree are exactly zero, and how many there are."""
    leaves = [np.asarray(leaf, np.float64) for leaf in jax.tree.leaves(tree) if eqx.is_inexact_array(leaf)]
    return sum(int((leaf == 0).sum()) for leaf in leaves), sum(leaf.size for leaf in leaves)
