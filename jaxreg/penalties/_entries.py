"""Sums of separable penalties, entry by entry: what all members together are to the entries of one leaf."""

import dataclasses
from collections.abc import Callable, Iterable
from typing import Any

import jax
import jax.numpy as jnp

from jaxreg import _tree
from jaxreg._tree import PyTree
from jaxreg.penalties._base import Penalty, Separable
from jaxreg.penalties._elastic import L1, L2, Elastic
from jaxreg.penalties._intervals import Interval
from jaxreg.penalties._leafwise import as_type, soft


@dataclasses.dataclass(frozen=True)
class Entry:
    """Kinks κ, curvatures c, bounds and one more penalty φ: κ|b| + cb²/2 + φ(b) within the bounds; any may lack."""

    kink: jax.Array | None
    curvature: jax.Array | None
    bounds: jax.Array | None
    other: tuple[Separable, jax.Array] | None

    def prox(self, x: jax.Array, step: Any) -> jax.Array:
        """Soft threshold, shrinkage, the prox of φ, clipping."""
        x = x if self.kink is None else soft(x, as_type(step * self.kink, x))
        if self.curvature is not None:
            scale = 1 + step * self.curvature
            x, step = x / as_type(scale, x), step / scale
        if self.other is not None:
            penalty, w = self.other
            x = penalty.entry_prox(x, w, step)
        if self.bounds is None:
            return x
        low, high = self.bounds
        return jnp.where((x < low) | ((low == high) & (x == x)), low, jnp.where(x > high, high, x))

    def residual(self, x: jax.Array, y: jax.Array) -> jax.Array:
        """y without its projection onto the subdifferential; infinite out of bounds."""
        x = _tree.wide(x)
        low = high = jnp.zeros_like(y)
        if self.curvature is not None:
            low = high = self.curvature * x
        if self.kink is not None:
            low, high = low + jnp.where(x > 0, self.kink, -self.kink), high + jnp.where(x < 0, -self.kink, self.kink)
        for penalty, w in () if self.other is None else (self.other,):
            ends = penalty.entry_subdifferential(x, w)
            low, high = low + ends[0], high + ends[1]
        if self.bounds is None:
            return y - jnp.clip(y, low, high)
        within = (x >= self.bounds[0]) & (x <= self.bounds[1])
        low, high = jnp.where(x == self.bounds[0], -jnp.inf, low), jnp.where(x == self.bounds[1], jnp.inf, high)
        return jnp.where(within, y - jnp.clip(y, low, high), jnp.inf)

    def penalized(self, x: jax.Array) -> jax.Array:
        """1 where there is any penalty but for bounds, else 0."""
        sizes = [size for size in (self.kink, self.curvature) if size is not None]
        sizes += [] if self.other is None else [self.other[0].entry_value(jnp.ones_like(x), self.other[1])]
        return jnp.where(sum(sizes, jnp.zeros_like(x)) > 0, 1, 0).astype(x.dtype)

    def _pull(self, v: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        """How far |v| is beyond the kink, the curvature, and the bound on that side."""
        excess = jnp.maximum(jnp.abs(v) - (0 if self.kink is None else self.kink), 0)
        curvature = jnp.zeros_like(v) if self.curvature is None else jnp.broadcast_to(self.curvature, v.shape)
        low, high = (-jnp.inf, jnp.inf) if self.bounds is None else self.bounds
        return excess, curvature, jnp.where(v > 0, high, jnp.where(v < 0, low, jnp.inf))

    def conjugate(self, v: jax.Array) -> jax.Array:
        """v·b − κ|b| − cb²/2 at the best b within the bounds (there is no φ)."""
        excess, curvature, bound = self._pull(v)
        hard = jnp.isinf(bound) & (excess > 8 * jnp.finfo(v.dtype).eps * jnp.abs(v))
        flat = jnp.where(hard, jnp.inf, jnp.where(jnp.isinf(bound), 0, bound))
        best = jnp.where(curvature > 0, jnp.sign(v) * excess / jnp.where(curvature > 0, curvature, 1), flat)
        best = jnp.where((excess > 0) | (curvature > 0), best, 0)
        if self.bounds is not None:
            best = jnp.clip(best, *self.bounds)
        infinite = jnp.isinf(best) | jnp.isnan(v)
        best = jnp.where(infinite, 0, best)
        kink = 0 if self.kink is None else self.kink
        return jnp.where(infinite, jnp.inf, best * v - kink * jnp.abs(best) - 0.5 * curvature * best**2)

    def excess(self, v: jax.Array) -> jax.Array:
        """|v| / κ where only the kink bounds b: infinite where nothing does."""
        excess, curvature, bound = self._pull(v)
        hard = (excess > 0) & (curvature == 0) & jnp.isinf(bound)
        kink = jnp.zeros_like(v) if self.kink is None else jnp.broadcast_to(self.kink, v.shape)
        return jnp.where(hard, jnp.where(kink > 0, jnp.abs(v) / jnp.where(kink > 0, kink, 1), jnp.inf), 0)


def collect(members: Iterable[Penalty], params: PyTree, squares: bool = True) -> list[Entry | None]:
    """For every leaf, what all members together are to it; None if nothing. Without `squares`, those are left out."""
    lists = [member.terms(params) for member in members]
    leaves = jax.tree.leaves(params)
    return [_merge([term for terms in lists for term in terms[k]], squares) for k in range(len(leaves))]


def _merge(terms: list[tuple[Separable, jax.Array]], squares: bool) -> Entry | None:
    kink = curvature = bounds = other = None
    for penalty, w in terms:
        if isinstance(penalty, Elastic):
            bent, curved = penalty.kink_and_curvature(w)
            kink = kink if isinstance(penalty, L2) else bent if kink is None else kink + bent
            if not isinstance(penalty, L1):
                curvature = curved if curvature is None else curvature + curved
        elif isinstance(penalty, Interval):
            bounds = w
        else:
            other = (penalty, w)
    return Entry(kink, curvature if squares else None, bounds, other) if terms else None


def each(fn: Callable[..., jax.Array], entries: list[Entry | None], *trees: PyTree) -> PyTree:
    """Apply fn(entry, *leaves) to every leaf that something acts on; elsewhere the last tree passes through."""
    columns = [jax.tree.leaves(tree) for tree in trees]
    rows = zip(entries, *columns, strict=True)
    results = [leaves[-1] if entry is None else fn(entry, *leaves) for entry, *leaves in rows]
    return jax.tree.unflatten(jax.tree.structure(trees[-1]), results)
