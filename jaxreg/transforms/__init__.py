"""Penalties as optax transformations: any model that optax trains gets exact zeros.

`proximal` follows any optimizer by a proximal step; `prox_sgd`, `prox_adamw` and `fista` are ready chains, `svrg`
takes the noise from minibatches, `refit_support` trains on with the zeros frozen. λ is a number in the state, which
changes without compiling again.
"""

from jaxreg.transforms._metric import Metric, adagrad_metric, adam_metric, rms_metric
from jaxreg.transforms._proximal import ProximalState, ScalarOrSchedule, apply_prox, check_optimizer, proximal
from jaxreg.transforms._ready import FISTAState, fista, prox_adamw, prox_sgd
from jaxreg.transforms._support import SupportState, refit_support
from jaxreg.transforms._variance import SVRGState, svrg

__all__ = [
    "FISTAState",
    "Metric",
    "ProximalState",
    "SVRGState",
    "ScalarOrSchedule",
    "SupportState",
    "adagrad_metric",
    "adam_metric",
    "apply_prox",
    "check_optimizer",
    "fista",
    "prox_adamw",
    "prox_sgd",
    "proximal",
    "refit_support",
    "rms_metric",
    "svrg",
]
