"""What any penalty of a coefficient vector leaves free, found by asking its proximal step."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxreg._programs import program
from jaxreg.penalties import L21, Blocks, Masked, Nuclear, Penalty, TotalVariation2D

HUGE = 1e20
"""A strength at which only what is free is left."""
SIZES = (1e-3, 1.0, 1e6)
"""Sizes of the vectors that are tried: what is free is so at all of them, and in both directions."""


def check_penalty(penalty: Penalty, shape: tuple[int, ...]) -> None:
    """Refuse a penalty that cannot be on coefficients (p,) or (p, k), or has no strength to make a path of.

    Raises:
        TypeError: if it is for parts of a model, or for matrices where there are none, or is a constraint alone.
        ValueError: if its groups or weights do not fit p columns.
    """
    name = type(penalty).__name__
    if isinstance(penalty, (Masked, Blocks)):
        raise TypeError(
            f"linear models have no parts that {name} could choose by path: give the penalty itself, with penalty "
            "factors as its weight (0 leaves a column unpenalized), or use Objective and solve"
        )
    if len(shape) == 1 and any(isinstance(atom, (L21, Nuclear, TotalVariation2D)) for atom in penalty.atoms):
        raise TypeError(
            f"{name} is for matrices of coefficients, and a linear model of one response has one for each column: "
            "it is for y of shape (n, k), or Multinomial()"
        )
    if penalty.lam is None:
        raise TypeError(
            f"{name} is a constraint without a strength, of which there is no path: add a penalty, as in "
            f"L1() + {name}(...), or use Objective and solve"
        )
    jax.eval_shape(lambda x: penalty.prox_part.prox(x, 1.0), jnp.zeros(shape))


def free_columns(penalty: Penalty, shape: tuple[int, ...]) -> tuple[np.ndarray, bool]:
    """Which columns are unpenalized, (p,) of bool, and whether other directions are free too.

    A column, all of its coefficients where there are several, is if the proximal step leaves it as it is even at a
    huge strength. Other directions are, if the step leaves anything else: the mean of a chain (`TotalVariation`), say.
    """
    signs = np.random.default_rng(1).choice([-1.0, 1.0], size=shape)
    once = np.random.default_rng(0).uniform(0.5, 2.0, size=shape) * signs
    tries = np.stack([size * side * once for side in (1, -1) for size in SIZES])
    moved = np.asarray(_steps(penalty.prox_part.at(HUGE), tries))
    same = (np.abs(moved - tries) <= 1e-9 * np.abs(tries)).all(axis=(0, *range(2, moved.ndim)))
    rest = np.abs(moved) > 1e-6 * np.abs(tries)
    return same, bool(rest[:, ~same].any())


@program()
def _steps(penalty: Penalty, tries: jax.Array) -> jax.Array:
    return jax.vmap(lambda x: penalty.prox(x, 1.0))(tries)
