"""The penalty's side of certificates: what an elastic net says of many solutions at once, a few columns at a time.

Certificates are bound by memory once gradients are at hand: in blocks of columns that stay in a core's cache, the
dozen passes over them cost a third of what they do over whole arrays.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxreg.linear.null import Correlations

CACHED = 2**12
"""Entries of a block: 32 KiB in float64."""
NARROWEST = 256
"""Fewest columns of a block."""


class Sides(NamedTuple):
    """Of P solutions in each of F training sets; all but the last are (F, P)."""

    value: jax.Array
    """The penalty."""
    conjugate: jax.Array
    """Its conjugate at −v, v the dual point's correlations with the columns."""
    shrink: jax.Array
    """Largest share of v, up to 1, at which the conjugate is 0."""
    along: jax.Array
    """Inner product of v with the coefficients."""
    residual: jax.Array
    """Largest entry of the optimality condition's residual."""
    excess: jax.Array
    """(F, R, p) largest |gradient| − kink over the strengths, for each l1 ratio."""


def columns_at_once(problems: int, p: int, on_cpu: bool) -> int:
    """Width of a block: all columns on an accelerator, which has no such cache and many cores to feed."""
    if not on_cpu:
        return p
    # Blocks of one width: a last one that is not full would count columns twice.
    return -(-p // -(-p // min(p, max(NARROWEST, CACHED // problems))))


def sides(
    strengths: tuple[jax.Array, jax.Array],
    factor: jax.Array,
    gradient: Correlations,
    null: jax.Array,
    share: jax.Array,
    b: jax.Array,
    place: jax.Array,
    width: int,
) -> Sides:
    """What `ElasticNet` and its conjugate say, in closed form.

    Args:
        strengths: of absolute value and square, each (F, R, L).
        factor: penalty factors (p,).
        gradient: of the loss for P solutions, which run over strengths, then ratios.
        null: the null models', (F, p).
        share: of the null model in the dual points, (F, P): v is so much nearer to its gradient.
        b: coefficients after the intercept, (F, P, 1 + w).
        place: where in b each column stands, 0 if nowhere, (p,).
        width: columns worked on at a time.
    """
    (many, ratios, length), p = strengths[0].shape, gradient.raw.shape[2]
    one, two = (s.mT.reshape(many, -1, 1) for s in strengths)
    inverse = jnp.where(factor > 0, 1 / jnp.where(factor > 0, factor, 1), 0)

    def block(first: jax.Array | int, fresh: jax.Array | int) -> tuple[jax.Array, ...]:
        null_g, w, invert, where = (
            jax.lax.dynamic_slice_in_dim(a, first, width, axis=-1) for a in (null, factor, inverse, place)
        )
        g = gradient.look(first, width)
        # The last block begins among columns that were counted before.
        new = jnp.arange(width) + first >= fresh
        x = jnp.where(where > 0, b[..., where], 0)
        v = jnp.where((w > 0) & new, g + share[..., None] * (null_g[:, None] - g), 0)
        kink, ridge = one * w, two * w
        size = jnp.abs(v)
        at_zero = jnp.abs(g) - kink
        residual = jnp.where(x == 0, jnp.maximum(at_zero, 0), jnp.abs(g + kink * jnp.sign(x) + ridge * x))
        entries = jnp.where(new, kink * jnp.abs(x) + 0.5 * ridge * jnp.square(x), 0)
        return (
            jnp.sum(entries, axis=-1),
            0.5 * jnp.sum(invert * jnp.square(jnp.maximum(size - kink, 0)), axis=-1),
            jnp.max(size * invert, axis=-1),
            jnp.sum(v * x, axis=-1),
            jnp.max(residual, axis=-1),
            jnp.max(at_zero.reshape(many, length, ratios, width), axis=1),
        )

    if width >= p:
        value, beyond, most, along, residual, excess = block(0, 0)
    else:
        fresh = jnp.arange(0, p, width)
        *found, parts = jax.lax.map(lambda at: block(*at), (jnp.minimum(fresh, p - width), fresh))
        value, beyond, along = (jnp.sum(found[k], axis=0) for k in (0, 1, 3))
        most, residual = (jnp.max(found[k], axis=0) for k in (2, 4))
        head = jnp.moveaxis(parts[:-1], 0, 2).reshape(many, ratios, -1)
        excess = jnp.concatenate([head, parts[-1][..., head.shape[-1] - p :]], axis=-1)
    one, two = one[..., 0], two[..., 0]
    hard = jnp.where(most <= one * (1 + 8 * jnp.finfo(most.dtype).eps), 0, jnp.inf)
    conjugate = jnp.where(two > 0, beyond / jnp.where(two > 0, two, 1), hard)
    return Sides(value, conjugate, jnp.where(most <= one, 1, one / most), along, residual, excess)
