"""When is a fit with an infinitely steep penalty done: zero holds every gradient there, and so does any support."""

import dataclasses
from typing import Any, Self

import jax

from jaxreg import _tree
from jaxreg._tree import PyTree
from jaxreg.penalties._base import Penalty
from jaxreg.penalties._sharp import Sharp


@_tree.register
@dataclasses.dataclass(frozen=True)
class Settled(Penalty):
    """A penalty whose residual is what a proximal gradient step of a given length would change, over that length.

    For `L0` and `Lq` all points of a kind are stationary in the sense of subgradients: any coefficients fitted to their
    own support, zero among them. Fewer are left alone by a proximal step, and so by all shorter ones: those where no
    entry is worth adding or dropping at this length.

    Source: Beck & Eldar (2013), "Sparsity constrained nonlinear optimization", SIAM J. Optimization 23, section 2.3.
    """

    penalty: Penalty
    step: Any

    @property
    def lam(self) -> Any:
        """That of the penalty."""
        return self.penalty.lam

    @property
    def max_step(self) -> Any:
        """That of the penalty."""
        return self.penalty.max_step

    def value(self, params: PyTree) -> jax.Array:
        """That of the penalty."""
        return self.penalty.value(params)

    def prox(self, params: PyTree, step: Any) -> PyTree:
        """That of the penalty."""
        return self.penalty.prox(params, step)

    def residual(self, params: PyTree, grads: PyTree) -> PyTree:
        """What a proximal gradient step changes, over its length."""
        moved = self.penalty.prox(_tree.add(params, grads, -self.step), self.step)
        return _tree.map_floats(lambda a, b: (a - b) / self.step, moved, params)

    def lam_max(self, grads: PyTree) -> jax.Array:
        """That of the penalty."""
        return self.penalty.lam_max(grads)

    def at(self, lam: Any) -> Self:
        """Return the same at another strength."""
        return dataclasses.replace(self, penalty=self.penalty.at(lam))


def is_sharp(penalty: Penalty) -> bool:
    """Whether a penalty, or a part of it, is infinitely steep at zero."""
    return any(isinstance(atom, Sharp) for atom in penalty.atoms)


def settled(penalty: Penalty, step: Any) -> Penalty:
    """Judge a sharp penalty by its proximal step; any other stays as it is."""
    return Settled(penalty, step) if is_sharp(penalty) else penalty
