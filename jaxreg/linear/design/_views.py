"""The views of a design that folds and replicates have."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from jaxreg._programs import program
from jaxreg.linear.design._base import Design


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Views:
    """How each of F training sets (folds, replicates) sees the same X: lazily centred and scaled.

    Column j of view f is (x_j − mean_fj) / scale_fj under sample weights w_f. X itself is never copied.
    """

    weights: jax.Array
    """(F, n), each row summing to 1; 0 for a row that is held out."""
    mean: jax.Array
    """(F, p), zero where there is no intercept."""
    scale: jax.Array
    """(F, p), 1 where columns are not standardized or constant."""
    varies: jax.Array
    """(F, p), False for a column that is constant, or zero without an intercept: its coefficient is 0."""
    largest: jax.Array
    """(F,) largest root mean square of a column, centred and scaled; not finite if a column's squares overflow."""


@program()
def make_views(
    design: Design, sample_weight: jax.Array, intercept: Any, standardize: Any, response: jax.Array | None = None
) -> tuple[Views, jax.Array | None]:
    """Moments of every column under every training set's weights (F, n).

    With a response (n,) its covariance with the standardized columns, (F, p), too.
    """
    weights = sample_weight / jnp.sum(sample_weight, axis=1, keepdims=True)
    mean, variance, along = design.moments(weights, response)
    return _views_of(weights, mean, variance, along, intercept, standardize)


@program()
def views_of(
    sample_weight: jax.Array, mean: jax.Array, variance: jax.Array, along: jax.Array, intercept: Any, standardize: Any
) -> tuple[Views, jax.Array]:
    """The same of moments that are known already."""
    weights = sample_weight / jnp.sum(sample_weight, axis=1, keepdims=True)
    return _views_of(weights, mean, variance, along, intercept, standardize)


def _views_of(
    weights: jax.Array, mean: jax.Array, variance: jax.Array, along: Any, intercept: Any, standardize: Any
) -> tuple[Views, Any]:
    # Without an intercept a constant column is a feature like any other, unless it is zero; it just has no spread to
    # divide by.
    varies = (variance > 0) | (~intercept & (mean != 0))
    scale = jnp.where((variance > 0) & standardize, jnp.sqrt(variance), 1)
    size = jnp.sqrt(variance + jnp.where(intercept, 0, jnp.square(mean))) / scale
    size = jnp.where(jnp.isfinite(variance), size, jnp.inf)
    largest = jnp.max(jnp.where(varies | (size == jnp.inf), size, 0), axis=1)
    views = Views(weights, jnp.where(intercept, mean, 0), scale, varies, largest)
    return views, None if along is None else jnp.where(varies, along / scale, 0)
