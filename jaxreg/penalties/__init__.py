"""Penalties: functions of a parameter pytree with a value, a proximal step, and an optimality residual."""

from jaxreg.penalties._base import Norm, Penalty, Separable
from jaxreg.penalties._compose import Blocks, Masked
from jaxreg.penalties._elastic import L1, L2, Elastic, ElasticNet

__all__ = ["L1", "L2", "Blocks", "Elastic", "ElasticNet", "Masked", "Norm", "Penalty", "Separable"]
