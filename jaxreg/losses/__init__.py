"""Losses: per-sample functions of a prediction and a target, with their derivatives and conjugates."""

from jaxreg.losses._base import Loss
from jaxreg.losses._binary import Logistic
from jaxreg.losses._gaussian import Squared

__all__ = ["Logistic", "Loss", "Squared"]
