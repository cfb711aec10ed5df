"""Shrinkage of groups in a diagonal metric, by one equation in one unknown for each group."""

from typing import Any

import jax
import jax.numpy as jnp

from jaxreg.penalties._groups import Layout, group_norms
from jaxreg.penalties._leafwise import frozen

MOST = 100
"""Newton steps at the most; a handful is the rule, since the function is nearly straight."""


def shrink_in_metric(layout: Layout, v: jax.Array, d: jax.Array, threshold: jax.Array) -> jax.Array:
    """argmin_z ½ Σ dᵢ(zᵢ − vᵢ)² + Σ_g t_g‖z_g‖₂, exactly zero in a group where ‖d·v‖ ≤ t.

    Elsewhere z = v·r/(r + t/d), where r = ‖z_g‖ solves ψ(r) = 1/‖q(r)‖ = 1 with q = v/(r + t/d). As in trust regions, ψ
    is concave and increasing, so that Newton's method climbs from the left without ever passing the solution: it needs
    no other safeguard than to start there, at r = max(‖v‖ − t/min d, 0).

    Args:
        layout: which entries belong together.
        v: a leaf.
        d: its metric, of the same shape, positive.
        threshold: t ≥ 0 of each group, (m,).

    Source: Moré & Sorensen (1983), "Computing a trust region step", SIAM J. Sci. Stat. Comput. 4; Yun, Lozano & Yang
    (2021), "Adaptive proximal gradient methods for structured neural networks", NeurIPS, for its use.
    """
    # In units of the largest entry and weight of each group nothing under- or overflows.
    size = frozen(layout.largest(jnp.abs(v)))
    unit = jnp.where((size > 0) & jnp.isfinite(size), size, 1)
    heavy = frozen(layout.largest(d))
    heavy = jnp.where(heavy > 0, heavy, 1)
    v_unit, d_unit = v / layout.spread(unit, v.shape), d / layout.spread(heavy, v.shape)
    t = threshold / (unit * heavy)
    alive = group_norms(layout, d_unit * v_unit) > t
    pull = layout.spread(t, v.shape) / d_unit

    def climb(v: jax.Array, pull: jax.Array, r: jax.Array) -> jax.Array:
        """One Newton step: ψ = (Σq²)^−½, ψ′ = (Σq²)^−³ᐟ² Σ q²/(r + t/d)."""
        below = layout.spread(r, v.shape) + pull
        below = jnp.where(below > 0, below, 1)
        square = jnp.square(v / below)
        total, slope = layout.sum(square), layout.sum(square / below)
        safe = jnp.where(slope > 0, slope, 1)
        return r + jnp.where(slope > 0, total * (jnp.sqrt(total) - 1) / safe, 0)

    fixed_v, fixed_pull = frozen((v_unit, pull))
    steepest = layout.largest(fixed_pull)
    start = jnp.where(alive, jnp.maximum(group_norms(layout, fixed_v) - steepest, 0), 0)
    eps = jnp.finfo(v.dtype).eps

    def step(state: Any) -> Any:
        count, r, _ = state
        ahead = climb(fixed_v, fixed_pull, r)
        going = alive & (ahead > r * (1 + 2 * eps))
        return count + 1, jnp.where(going, ahead, r), going.any()

    r = jax.lax.while_loop(
        lambda state: state[2] & (state[0] < MOST), step, (jnp.asarray(0), frozen(start), jnp.asarray(True))
    )[1]
    # The last step carries the derivatives, which at a solution do not depend on how it was reached.
    r = jnp.where(alive & (t > 0), climb(v_unit, pull, r), 0)
    r_spread = layout.spread(r, v.shape)
    shrunk = v * (r_spread / jnp.where(r_spread > 0, r_spread + pull, 1))
    return jnp.where(layout.spread(t > 0, v.shape), jnp.where(layout.spread(alive, v.shape), shrunk, 0), v)
