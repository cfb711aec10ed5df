"""Losses: per-sample functions of a prediction and a target, with their derivatives and conjugates."""

from jaxreg.losses._base import Coupled, Joint, Loss, Nonsmooth
from jaxreg.losses._binary import Logistic, SquaredHinge
from jaxreg.losses._counts import Gamma, NegativeBinomial, Poisson, Tweedie
from jaxreg.losses._gaussian import Squared
from jaxreg.losses._multiclass import Multinomial
from jaxreg.losses._risk import RiskSets, risk_sets
from jaxreg.losses._robust import Huber, Quantile
from jaxreg.losses._survival import Cox

__all__ = [
    "Coupled",
    "Cox",
    "Gamma",
    "Huber",
    "Joint",
    "Logistic",
    "Loss",
    "Multinomial",
    "NegativeBinomial",
    "Nonsmooth",
    "Poisson",
    "Quantile",
    "RiskSets",
    "Squared",
    "SquaredHinge",
    "Tweedie",
    "risk_sets",
]
