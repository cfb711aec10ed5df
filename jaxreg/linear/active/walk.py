"""The exact minimum of a kinked quadratic along a line."""

import jax
import jax.numpy as jnp


def slope(b: jax.Array, g: jax.Array, kink: jax.Array, direction: jax.Array) -> jax.Array:
    """Directional derivative of smooth part (gradient g) plus Σ kink|b| at b."""
    sign = jnp.where(b != 0, jnp.sign(b), jnp.sign(direction))
    return jnp.sum(direction * (g + kink * sign))


def walk(
    b: jax.Array, g: jax.Array, kink: jax.Array, direction: jax.Array, bend: jax.Array, least: jax.Array | float = 0.0
) -> tuple[jax.Array, jax.Array]:
    """Walk from b to the exact minimum along a descent direction.

    Between sign changes the slope grows linearly, at each it jumps up by 2·kink|direction|: the minimum is
    where it first reaches zero.

    Args:
        b: start.
        g: gradient of the smooth part there.
        kink: strength of the absolute values.
        direction: of descent.
        bend: the Hessian times the direction.
        least: what rounding can make of no curvature at all. Less than this is not believed, lest the walk go too far.

    Returns:
        The point, where an entry that stopped the walk is exactly zero, and the step length.
    """
    crosses = (b * direction < 0) & (kink > 0)
    when = jnp.where(crosses, -b / jnp.where(crosses, direction, 1), jnp.inf)
    start = slope(b, g, kink, direction)
    curvature = jnp.maximum(jnp.sum(direction * bend), least + jnp.finfo(b.dtype).tiny)
    straight = -start / curvature

    def past_kinks() -> tuple[jax.Array, jax.Array]:
        order = jnp.argsort(when)
        times = when[order]
        jump = jnp.where(crosses, 2 * kink * jnp.abs(direction), 0)[order]
        jumps = jnp.cumsum(jump)
        ends = start + curvature * times + jumps >= 0
        first = jnp.argmax(ends)
        smooth = -(start + jnp.where(jnp.any(ends), jumps[first] - jump[first], jumps[-1])) / curvature
        stopped = jnp.any(ends) & (smooth > times[first])
        return jnp.where(stopped, times[first], smooth), stopped

    # Most steps end before any sign changes, and need no sorting.
    step, stopped = jax.lax.cond(jnp.any(when < straight), past_kinks, lambda: (straight, jnp.asarray(False)))
    hit = stopped & crosses & (when <= step * (1 + 1e-12)) & (when >= step * (1 - 1e-12))
    return jnp.where(hit, 0, b + step * direction), step
