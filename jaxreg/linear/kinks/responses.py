"""Several responses and a loss with kinks: both sums are over responses, which are solved one after another."""

import dataclasses
from typing import Any

import numpy as np

from jaxreg.linear.columns import Data
from jaxreg.linear.design import Design, Views
from jaxreg.linear.kinks.null import fit_null_split
from jaxreg.linear.null import Null
from jaxreg.losses._base import Nonsmooth
from jaxreg.penalties import Penalty, Sum


def response(data: Data, k: int) -> Data:
    """The k-th of several responses."""
    return data._replace(target=data.target[:, k], offset=data.offset[:, k])


def fit_null_responses(
    design: Design, views: Views, loss: Nonsmooth, data: Data, factor: np.ndarray, intercept: bool
) -> Null:
    """Fit the null models; with several responses, fields have a last axis of them, and costs are their sums."""
    if data.offset.ndim == 1:
        return fit_null_split(design, views, loss, data, factor, intercept)
    each = [
        fit_null_split(design, views, loss, response(data, k), factor, intercept) for k in range(data.offset.shape[1])
    ]
    along: dict[str, Any] = {
        name: np.stack([np.asarray(getattr(null, name)) for null in each], axis=-1)
        for name in ("primal", "derivative", "gradient", "coef", "deviance", "astray")
    }
    along |= {"primal": along["primal"].sum(axis=-1), "deviance": along["deviance"].sum(axis=-1)}
    return each[0]._replace(**along | {"astray": along["astray"].max(axis=-1)})


def penalty_of(penalty: Penalty, k: int) -> Penalty:
    """What a separable penalty of coefficients (p, responses) is for the k-th response."""
    if isinstance(penalty, Sum):
        return Sum(*(penalty_of(member, k) for member in penalty.members), lam=penalty.lam)
    changes = {}
    for field in dataclasses.fields(penalty):  # type: ignore[arg-type]
        value = getattr(penalty, field.name)
        if np.ndim(value) == 2:
            changes[field.name] = np.asarray(value)[:, min(k, np.shape(value)[1] - 1)]
    return dataclasses.replace(penalty, **changes) if changes else penalty  # type: ignore[type-var]
