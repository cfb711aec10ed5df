"""Penalties that are infinitely steep at zero: counting, and powers below 1."""

import abc
import dataclasses
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxreg import _tree
from jaxreg._tree import PyTree
from jaxreg.penalties._nonconvex import Folded, check_fields


class Sharp(Folded):
    """A folded penalty that is infinitely steep at zero: zero is always stationary, and the prox jumps.

    On magnitudes, the prox is zero up to `jump` · (step · λw)^(1/(2 − power)), for a power in [0, 1).
    """

    @property
    @abc.abstractmethod
    def power(self) -> float:
        """p(a; t) is t times this power of a."""

    @property
    def jump(self) -> float:
        """Where the prox jumps, for step · λw = 1: there ½(z − a)² + z^q has two minimizers, one of them zero."""
        q = self.power
        return (2 - q) / (2 * (1 - q)) * (2 * (1 - q)) ** (1 / (2 - q))

    def threshold(self, t: jax.Array) -> jax.Array:
        """Magnitude up to which the prox is zero, at step · λw = t."""
        return self.jump * t ** (1 / (2 - self.power))

    def needed(self, a: jax.Array, w: jax.Array) -> jax.Array:
        """Where the threshold of a step of length 1 is a."""
        return (a / self.jump) ** (2 - self.power) / w


@_tree.register
@dataclasses.dataclass(frozen=True)
class L0(Sharp):
    """Counting penalty λ Σ w [b ≠ 0]: its prox is a hard threshold at √(2 step λw).

    Zero is stationary for every λ > 0; see `Penalty.lam_max` for what that means here.

    Args:
        lam: strength λ ≥ 0.
        weight: penalty factors w ≥ 0, as in `L1`.

    Raises:
        ValueError: if a number is negative, NaN or infinite.

    Prox: O(p), in closed form.

    Source: Blumensath & Davies (2008), "Iterative thresholding for sparse approximations", J. Fourier Anal.
    Appl. 14.

    >>> L0(2.0).prox(jnp.array([-3.0, 0.5, 1.5, 2.5]), 1.0)
    Array([-3. ,  0. ,  0. ,  2.5], dtype=float32)
    """

    lam: Any = 1.0
    weight: PyTree = None

    def __post_init__(self) -> None:
        check_fields(self)

    @property
    def power(self) -> float:
        """0."""
        return 0.0

    def rise(self, a: jax.Array, t: jax.Array) -> jax.Array:
        """t unless a = 0."""
        return jnp.where(a == 0, 0, t)

    def slope(self, a: jax.Array, t: jax.Array) -> jax.Array:
        """0, but infinite at zero."""
        return jnp.where((a == 0) & (t > 0), jnp.inf, 0)

    def cut(self, a: jax.Array, t: jax.Array, step: Any) -> jax.Array:
        """a above the threshold."""
        return jnp.where(a <= self.threshold(step * t), 0, a)


@_tree.register
@dataclasses.dataclass(frozen=True)
class Lq(Sharp):
    """λ Σ w|b|^q for q = ½ or ⅔, the two powers whose prox has a closed form (a cubic, a quartic equation).

    Zero is stationary for every λ > 0; see `Penalty.lam_max` for what that means here.

    Args:
        lam: strength λ ≥ 0.
        q: 1/2 or 2/3; structure, not a number to vary.
        weight: penalty factors w ≥ 0, as in `L1`.

    Raises:
        ValueError: if `q` is another number, or a number is negative, NaN or infinite.

    Prox: O(p), in closed form.

    Source: Xu, Chang, Xu & Zhang (2012), "L1/2 regularization: a thresholding representation theory and a fast
    solver", IEEE Trans. Neural Netw. Learn. Syst. 23; Cao, Sun & Xu (2013), "Fast image deconvolution using
    closed-form thresholding formulas of Lq (q = 1/2, 2/3) regularization", J. Vis. Commun. Image R. 24.

    >>> Lq(1.0, q=0.5).prox(jnp.array([-3.0, 0.5, 1.5]), 1.0)
    Array([-2.6954..., 0. ..., 0. ...], dtype=float32)
    """

    lam: Any = 1.0
    q: float = dataclasses.field(default=0.5, metadata={"static": True})
    weight: PyTree = None

    def __post_init__(self) -> None:
        check_fields(self)
        known = [q for q in (1 / 2, 2 / 3) if isinstance(self.q, (int, float)) and math.isclose(q, self.q)]
        if not known:
            raise ValueError(f"q must be 1/2 or 2/3, got {self.q!r}")
        object.__setattr__(self, "q", known[0])

    @property
    def power(self) -> float:
        """The q."""
        return self.q

    def rise(self, a: jax.Array, t: jax.Array) -> jax.Array:
        """ta^q; its derivative at zero is given as 0."""
        nonzero = a > 0
        return jnp.where(nonzero, t * jnp.where(nonzero, a, 1) ** self.q, 0)

    def slope(self, a: jax.Array, t: jax.Array) -> jax.Array:
        """qta^(q − 1), infinite at zero."""
        nonzero = a > 0
        steep = self.q * t * jnp.where(nonzero, a, 1) ** (self.q - 1)
        return jnp.where(nonzero, steep, jnp.where(t > 0, jnp.inf, 0))

    def cut(self, a: jax.Array, t: jax.Array, step: Any) -> jax.Array:
        """au above the threshold, u the larger root of u + qρu^(q − 1) = 1, ρ = step · t/a^(2 − q)."""
        t, q = step * t, self.q
        alive = a > self.threshold(t)
        a = jnp.where(alive, a, 1)
        rho = jnp.where(alive, t, 0) / a / a ** (1 - q)
        if q == 0.5:  # √u is the larger root of y³ − y + ρ/2, by cosines
            root = 2 / np.sqrt(3) * jnp.cos(jnp.arccos(-0.75 * np.sqrt(3) * rho) / 3)
            u = root**2
        else:  # ∛u is the larger root of y⁴ − y + 2ρ/3, by Ferrari's resolvent
            resolvent = jnp.cbrt(27 / 16 + jnp.sqrt((27 / 16) ** 2 - 8 * rho**3))
            half = jnp.sqrt((resolvent + 2 * rho / resolvent) * (2 / 3))
            u = ((half + jnp.sqrt(2 / half - half**2)) / 2) ** 3
        # One step of Newton's method takes away what the closed form lost by rounding.
        u = u - (u - 1 + q * rho * u ** (q - 1)) / (1 - q * (1 - q) * rho * u ** (q - 2))
        return jnp.where(alive, a * u, 0)
