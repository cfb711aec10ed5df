"""What survival analysis needs beside a fit: targets, concordance, and the baseline hazard."""

import dataclasses
from typing import Any

import numpy as np
from sklearn.utils.validation import check_array

from jaxreg import _check
from jaxreg.sklearn._types import Array


def survival_columns(y: Any, n: int) -> Array:
    """Columns (time, event), (n, 2), of a survival target.

    Args:
        y: a structured array whose first field is the event and second the time, as scikit-survival has it; an array
            with columns time and event; or signed times, (n,), where a time below 0 is one of censoring.
        n: number of rows.

    Raises:
        ValueError: if it is none of these, or a value is NaN, infinite or negative.
    """
    array = np.asarray(y)
    if array.dtype.names:
        if len(array.dtype.names) != 2:
            raise ValueError(f"y must have 2 fields, event and time, got {array.dtype.names}")
        event, time = (array[name] for name in array.dtype.names)
        columns = np.stack([np.asarray(time, np.float64), np.asarray(event, np.float64)], axis=1)
    else:
        columns = check_array(array, ensure_2d=False, dtype=np.float64, input_name="y")
        if columns.ndim == 2 and columns.shape[1] == 1:
            columns = columns[:, 0]
        if columns.ndim == 1:
            columns = np.stack([np.abs(columns), (columns >= 0).astype(np.float64)], axis=1)
    if columns.shape != (n, 2):
        raise ValueError(f"y must have a time and an event for each of {n} rows of X, got shape {array.shape}")
    if not np.isin(columns[:, 1], (0, 1)).all():
        raise ValueError("y must have events that are True or False")
    _check.number("y (time)", columns[:, 0])
    return columns


def concordance(risk: Array, columns: Array, weights: Array) -> float:
    """Share of comparable pairs that are ordered right, ties of risk counting half; NaN without such pairs.

    Source: Harrell, Califf, Pryor, Lee & Rosati (1982), "Evaluating the yield of medical tests", JAMA 247.
    """
    time, event = columns.T
    right = total = 0.0
    for i in np.flatnonzero(event * weights > 0):
        later = (time > time[i]) | ((time == time[i]) & (event == 0))
        pairs = weights[i] * weights[later]
        total += pairs.sum()
        right += pairs @ np.where(risk[later] == risk[i], 0.5, risk[later] < risk[i])
    return float(right / total) if total else float("nan")


@dataclasses.dataclass(frozen=True, eq=False)
class StepFunction:
    """A function of time that is constant from each of its times up to the next, as scikit-survival has it.

    Args:
        x: times, rising, (T,).
        y: values from these on, (T,).
        before: value before the first.
    """

    x: Array
    y: Array
    before: float

    def __call__(self, times: Any) -> Array:
        """Value at times, of the shape of `times`.

        Raises:
            ValueError: if a time is negative, NaN, or beyond the last.
        """
        times = np.asarray(times, dtype=np.float64)
        if not ((times >= 0) & (times <= self.x[-1])).all():
            raise ValueError(f"times must be from 0 to {self.x[-1]:g}, the last that was seen, got {times}")
        place = np.searchsorted(self.x, times, side="right")
        return np.concatenate([[self.before], self.y])[place]


def baseline_hazard(risk: Array, columns: Array, weights: Array, ties: str) -> tuple[Array, Array]:
    """Times that were seen (T,), and the cumulative hazard at them of a row with risk score 0 (T,).

    An event time adds its weight over the sum of w exp(risk) of all who are at risk. Under Efron's rule, d tied events
    add 1/d of it d times, each time with 1/d less of their own part of that sum.

    Args:
        risk: risk scores, (n,).
        columns: time and event, (n, 2).
        weights: sample weights, (n,).
        ties: "breslow" or "efron".

    Source: Breslow (1974), "Covariance analysis of censored survival data", Biometrics 30; Therneau & Grambsch (2000),
    "Modeling survival data", chapter 10.
    """
    used = weights > 0
    risk, (time, event), weights = risk[used], columns[used].T, weights[used]
    times, place = np.unique(time, return_inverse=True)
    top = risk.max()
    relative = weights * np.exp(risk - top)

    def by_time(values: Array) -> Array:
        return np.bincount(place, weights=values, minlength=times.size)

    at_risk = np.cumsum(by_time(relative)[::-1])[::-1]
    dead, own, many = by_time(weights * event), by_time(relative * event), by_time(event).astype(int)
    steps = np.zeros(times.size)
    for t in np.flatnonzero(many):
        parts = many[t] if ties == "efron" else 1
        steps[t] = dead[t] / parts * np.sum(1 / (at_risk[t] - np.arange(parts) / parts * own[t]))
    return times, np.cumsum(steps) * np.exp(-top)
