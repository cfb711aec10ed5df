"""What a penalty makes of the norm of a group; and a norm with a square beside it: an elastic net of groups."""

import dataclasses
from typing import Any, Self

import jax

from jaxreg import _tree
from jaxreg.penalties._radial import Radial


@_tree.register
@dataclasses.dataclass(frozen=True)
class Ridged:
    """φ(t; w) + λc/2 t², for φ that `base` makes of a norm t at its strength λ."""

    base: Radial
    ridge: Any
    """c: the curvature of the square at a strength of 1."""

    @property
    def lam(self) -> Any:
        """λ."""
        return self.base.lam

    def at(self, lam: Any) -> Self:
        """Return the same at strength λ."""
        return dataclasses.replace(self, base=self.base.at(lam))

    def group_value(self, norm: jax.Array, w: jax.Array) -> jax.Array:
        """φ(t) + λc/2 t²."""
        return self.base.group_value(norm, w) + 0.5 * self.lam * self.ridge * norm**2

    def group_prox(self, norm: jax.Array, w: jax.Array, step: jax.Array) -> jax.Array:
        """Prox of φ at t/(1 + s) and step/(1 + s), with s = step · λc."""
        more = 1 + step * self.lam * self.ridge
        return self.base.group_prox(norm / more, w, step / more)

    def group_slope(self, norm: jax.Array, w: jax.Array) -> jax.Array:
        """φ′(t) + λct."""
        return self.base.group_slope(norm, w) + self.lam * self.ridge * norm


Kind = Radial | Ridged
"""What φ is: its value, slope and prox, at a strength that `at` sets."""
