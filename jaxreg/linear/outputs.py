"""Predictions and correlations where a sample may have several outputs: coefficients are (p,) or (p, k).

Arrays of one output lack the last axis; those of k have it last, whatever stands before.
"""

import jax
import jax.numpy as jnp

from jaxreg._programs import program
from jaxreg.linear.design import Design, Views
from jaxreg.linear.null import correlate_views


def alike(mask: jax.Array, like: jax.Array) -> jax.Array:
    """A mask, or weights, over the first axes of an array, with axes of length 1 for the others."""
    return mask.reshape(mask.shape + (1,) * (like.ndim - mask.ndim))


def per_sample(weights: jax.Array, values: jax.Array) -> jax.Array:
    """Weighted sum over samples, and over outputs where there are several; what has no weight does not count.

    Args:
        weights: (n,).
        values: (n,) or (n, k).
    """
    weights = alike(weights, values)
    return jnp.sum(jnp.where(weights > 0, weights * values, 0))


def inverse_scale(views: Views) -> jax.Array:
    """One over the scale, (F, p); 0 for a column that is constant, which takes no part."""
    return jnp.where(views.varies, 1 / views.scale, 0)


def apply(design: Design, raw: jax.Array) -> jax.Array:
    """X times coefficients (p,) or (p, k): (n,) or (n, k)."""
    every = jnp.arange(design.shape[1])
    return design.apply(every, raw[None])[0] if raw.ndim == 1 else design.apply(every, raw.T).T


def correlate(design: Design, rows: jax.Array) -> jax.Array:
    """Xᵀ times rows (n,) or (n, k): (p,) or (p, k)."""
    return design.correlate(rows[None])[0] if rows.ndim == 1 else design.correlate(rows.T).T


@program()
def predict(design: Design, views: Views, level: jax.Array, slopes: jax.Array) -> jax.Array:
    """Linear predictors (F, n, …) of intercepts (F, …) and standardized slopes (F, p, …)."""
    raw = slopes * alike(inverse_scale(views), slopes)
    level = level - jnp.sum(alike(views.mean, raw) * raw, axis=1)
    if raw.ndim == 2:
        return design.apply(jnp.arange(raw.shape[1]), raw) + level[:, None]
    many, p, k = raw.shape
    product = design.apply(jnp.arange(p), jnp.moveaxis(raw, 2, 1).reshape(many * k, p))
    return jnp.moveaxis(product.reshape(many, k, -1), 1, 2) + level[:, None]


def correlate_problems(design: Design, views: Views, rows: jax.Array) -> jax.Array:
    """Weighted inner products (F, C, p, …) of rows (F, C, n, …) with every training set's standardized columns."""
    if rows.ndim == 3:
        return correlate_views(design, views, rows)
    many, count, n, k = rows.shape
    flat = correlate_views(design, views, jnp.moveaxis(rows, 3, 2).reshape(many, count * k, n))
    return jnp.moveaxis(flat.reshape(many, count, k, -1), 2, 3)
