"""Losses by name, as the command line and model files write them."""

from jaxreg.io._table import InputError
from jaxreg.losses import Gamma, Huber, Logistic, Loss, NegativeBinomial, Poisson, Quantile, Squared, Tweedie

LOSSES: dict[str, tuple[type[Loss], str | None]] = {
    "squared": (Squared, None),
    "logistic": (Logistic, None),
    "huber": (Huber, "delta"),
    "quantile": (Quantile, "q"),
    "poisson": (Poisson, None),
    "gamma": (Gamma, None),
    "tweedie": (Tweedie, "power"),
    "negative_binomial": (NegativeBinomial, "dispersion"),
}
"""Name, class, and the number that may follow the name after a colon."""


def find_loss(words: str) -> Loss:
    """Make a loss from its name, or from its name and number, as in "quantile:0.9".

    Raises:
        InputError: if there is no such loss, it has no number, or that is out of range.

    >>> find_loss("quantile:0.9")
    Quantile(q=0.9)
    """
    name, colon, number = words.partition(":")
    if name not in LOSSES:
        raise InputError(f"unknown loss {words!r}: expected one of {', '.join(LOSSES)}")
    kind, parameter = LOSSES[name]
    if not colon:
        return kind()
    if parameter is None:
        raise InputError(f"loss {name} has no number, got {words!r}")
    try:
        return kind(**{parameter: float(number)})
    except ValueError as error:
        raise InputError(f"loss {words!r}: {error}") from error
