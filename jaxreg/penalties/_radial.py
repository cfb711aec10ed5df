"""Penalties of the norms of disjoint groups: the formulas that all of them share."""

import abc
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxreg import _tree
from jaxreg._tree import PyTree
from jaxreg.penalties._base import Grouped
from jaxreg.penalties._groups import Layout, group_norms
from jaxreg.penalties._leafwise import Leafwise, LeafwiseNorm, as_type, frozen, soft
from jaxreg.penalties._secular import shrink_in_metric


class Radial(Leafwise, Grouped):
    """Σ_g φ(‖b_g‖₂; w_g) + Σ κ|b|, for a function φ of the norm that rises from 0, and κ ≥ 0 (mostly none).

    The prox is that of φ on the norm of what the soft threshold leaves, in the same direction: among all points
    of one norm, the direction of soft(v, κ) has the least ½‖z − v‖² + κ‖z‖₁.
    """

    @abc.abstractmethod
    def layout(self) -> Layout:
        """Say which entries belong together."""

    @abc.abstractmethod
    def group_weight(self, x: jax.Array) -> jax.Array:
        """Penalty factor w of each group of a leaf, (m,)."""

    @abc.abstractmethod
    def entry_kink(self, x: jax.Array) -> jax.Array | None:
        """Strength κ of the absolute value of each entry, if there is one."""

    @abc.abstractmethod
    def group_value(self, norm: jax.Array, w: jax.Array) -> jax.Array:
        """Penalty φ of groups of these norms."""

    @abc.abstractmethod
    def group_prox(self, norm: jax.Array, w: jax.Array, step: jax.Array) -> jax.Array:
        """Proximal step of φ, which is never negative."""

    @abc.abstractmethod
    def group_slope(self, norm: jax.Array, w: jax.Array) -> jax.Array:
        """Derivative φ′; at zero that from the right."""

    def labels(self, shape: tuple[int, ...]) -> np.ndarray:
        """Group of each entry, by the layout."""
        return self.layout().labels(shape)

    def norms(self, x: jax.Array) -> jax.Array:
        """Euclidean norm of each group of a leaf, (m,)."""
        return group_norms(self.layout(), x)

    def leaf_value(self, x: jax.Array) -> jax.Array:
        """Σ_g φ(‖x_g‖; w_g) + Σ κ|x|."""
        total = jnp.sum(self.group_value(group_norms(self.layout(), x), self.group_weight(x)))
        kink = self.entry_kink(x)
        return total if kink is None else total + jnp.sum(kink * jnp.abs(x))

    def leaf_prox(self, x: jax.Array, step: jax.Array) -> jax.Array:
        """Soft threshold, then the prox of φ on the norm of each group."""
        layout, kink = self.layout(), self.entry_kink(x)
        rest = x if kink is None else soft(x, step * kink)
        norm, w = group_norms(layout, rest), self.group_weight(x)
        ratio = self.group_prox(norm, w, step) / jnp.where(norm == 0, 1, norm)
        # At zero the derivative is that of a constant, or of the identity where nothing is cut.
        still = jnp.where(step * self.group_slope(jnp.zeros_like(norm), w) > 0, 0, 1).astype(x.dtype)
        return rest * layout.spread(jnp.where(norm == 0, still, ratio), x.shape)

    def leaf_residual(self, x: jax.Array, grad: jax.Array) -> jax.Array:
        """−grad − φ′(‖x_g‖) x_g/‖x_g‖ − κ sign x; a zero entry may use up to κ, a zero group up to φ′(0) more."""
        layout, kink, w = self.layout(), self.entry_kink(x), self.group_weight(x)
        norm = layout.spread(group_norms(layout, x), x.shape)
        alive = norm > 0
        slope = layout.spread(self.group_slope(group_norms(layout, x), w), x.shape)
        rest = -grad - jnp.where(alive, x / jnp.where(alive, norm, 1) * slope, 0)
        if kink is not None:
            rest = jnp.where(x == 0, soft(rest, kink), rest - kink * jnp.sign(x))
        length = layout.spread(group_norms(layout, jnp.where(alive, 0, rest)), x.shape)
        outside = length > slope
        cut = jnp.where(outside, 1 - slope / jnp.where(outside, length, 1), 0)
        return jnp.where(alive, rest, rest * cut)

    def leaf_lam_max(self, grad: jax.Array) -> jax.Array:
        """Largest over the groups."""
        return jnp.max(self.group_lam_max(grad), initial=0)


class GroupNorm(Radial, LeafwiseNorm):
    """λ Σ_g w_g ‖b_g‖₂ + λ Σ u|b|: norms, whose strengths may be split between groups and entries."""

    @abc.abstractmethod
    def entry_factor(self, x: jax.Array) -> jax.Array | None:
        """Penalty factor u of each entry, if entries are penalized by themselves."""

    def entry_kink(self, x: jax.Array) -> jax.Array | None:
        """λu."""
        u = self.entry_factor(x)
        return None if u is None else as_type(self.lam, x) * u

    def group_value(self, norm: jax.Array, w: jax.Array) -> jax.Array:
        """λw‖b‖."""
        return as_type(self.lam, norm) * w * norm

    def group_prox(self, norm: jax.Array, w: jax.Array, step: jax.Array) -> jax.Array:
        """Threshold of the norm at step·λw."""
        t = step * as_type(self.lam, norm) * w
        return jnp.where((norm <= t) & (t > 0), 0, norm - t)

    def metric_prox(self, params: PyTree, step: Any, metric: PyTree) -> PyTree:
        """Soft threshold at step·κ/d, then the shrinkage of groups in the metric, leaf by leaf."""

        def one(x: jax.Array, d: jax.Array) -> jax.Array:
            full = _tree.wide(x)
            d, kink = jnp.broadcast_to(d, full.shape), self.entry_kink(full)
            rest = full if kink is None else soft(full, as_type(step, full) * kink / d)
            threshold = as_type(step, full) * as_type(self.lam, full) * self.group_weight(full)
            return shrink_in_metric(self.layout(), rest, d, threshold).astype(x.dtype)

        return _tree.map_floats(one, params, _tree.broadcast_weight(metric, params, "metric"))

    def group_slope(self, norm: jax.Array, w: jax.Array) -> jax.Array:
        """λw."""
        return jnp.broadcast_to(as_type(self.lam, norm) * w, norm.shape)

    def _seen(self, x: jax.Array) -> jax.Array:
        """Which entries are penalized at all."""
        seen = self.layout().spread(self.group_weight(x) > 0, x.shape)
        u = self.entry_factor(x)
        return seen if u is None else seen | (u > 0)

    def group_lam_max(self, grad: jax.Array) -> jax.Array:
        """Dual norm of each group: ‖g‖/w without an l1 part, else the λ at which ‖soft(g, λu)‖ = λw.

        That λ is climbed to by Newton's method, in all groups at once: soft(g, λu) is the direction in which
        ⟨g, b⟩ / (w‖b‖ + ‖ub‖₁) is the next λ, from below, and the last is exact to rounding.
        """
        layout, w, u = self.layout(), self.group_weight(grad), self.entry_factor(grad)
        v = jnp.where(self._seen(grad), grad, 0)
        if u is None:
            return group_norms(layout, v) / jnp.where(w > 0, w, 1)
        top = frozen(layout.largest(jnp.abs(v)))
        v = v / layout.spread(jnp.where(top == 0, 1, top), v.shape)

        def quotient(v: jax.Array, w: jax.Array, u: jax.Array, way: jax.Array) -> jax.Array:
            size = w * group_norms(layout, way) + layout.sum(u * jnp.abs(way))
            return jnp.where(size > 0, layout.sum(v * way) / jnp.where(size > 0, size, 1), 0)

        fixed_v, fixed_w, fixed_u = frozen((v, w, u))

        def climb(state: Any) -> Any:
            count, lam, way, _ = state
            ahead = soft(fixed_v, layout.spread(lam, v.shape) * fixed_u)
            lam_ahead = quotient(fixed_v, fixed_w, fixed_u, ahead)
            better = lam_ahead > lam * (1 + 2 * jnp.finfo(v.dtype).eps)
            way = jnp.where(layout.spread(better, v.shape), ahead, way)
            return count + 1, jnp.where(better, lam_ahead, lam), way, better.any()

        begin = (0, quotient(fixed_v, fixed_w, fixed_u, fixed_v), fixed_v, jnp.asarray(True))
        way = jax.lax.while_loop(lambda state: state[3] & (state[0] < 200), climb, begin)[2]
        return jnp.where(jnp.isnan(top), top, quotient(v, w, u, way) * top)

    def leaf_dual_norm(self, dual: jax.Array) -> jax.Array:
        """Largest over the groups; infinite where an entry that is not penalized is not 0."""
        hidden = jnp.any(~self._seen(dual) & (dual != 0))
        return jnp.where(hidden, jnp.inf, jnp.max(self.group_lam_max(dual), initial=0))
