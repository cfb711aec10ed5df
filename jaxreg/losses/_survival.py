"""Survival: the Cox model."""

import dataclasses
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxreg import _check, _tree
from jaxreg.losses._base import Coupled
from jaxreg.losses._risk import NOTHING, RiskSets, gather, into_times, over_rows, risk_sets


class _Sums(NamedTuple):
    """What value and derivatives share. Event times and rows are both numbered 0 … n − 1; sums are logarithms.

    Of rows: `active`, events of positive weight; `total`, the risk set's sum in the row's own term; and `kept`, the
    share of the tied events that is still counted there. Of times: `events`, how many are active, and `weight`, the
    mean of their weights.
    """

    active: jax.Array
    events: jax.Array
    weight: jax.Array
    total: jax.Array
    kept: jax.Array


@_tree.register
@dataclasses.dataclass(frozen=True)
class Cox(Coupled):
    """Cox proportional hazards: −log partial likelihood, whose weighted mean over samples is minimized.

    An event i adds wᵢ(log Sᵢ − ηᵢ), Sᵢ = Σⱼ wⱼ exp(ηⱼ) over those at risk at its time (start < t ≤ time, in its
    stratum). Of d tied events, Breslow's rule gives all the same Sᵢ; Efron's gives them the d sums that leave out
    l/d of the tied events' part, l = 0 … d − 1, with the mean of their weights each, as R's `coxph` does. There is
    no intercept: a constant added to all predictions of a stratum changes nothing.

    Targets are (time, event), event being 1 or 0 for censored; then start, for delayed entry and time-dependent
    covariates, and strata, as numbers: an array with 2, 3 or 4 columns, or a tuple of such columns, where start may
    be None. In an array, a start of −inf is none. `risk_sets` sorts a target once, where it is used many times.

    Args:
        ties: "efron" or "breslow".
        sample_weight: set by `weighing`; None for all 1.

    Raises:
        ValueError: if ties is neither.

    Source: Cox (1972), "Regression models and life-tables", JRSS B 34; Efron (1977), "The efficiency of Cox's
    likelihood function for censored data", JASA 72; Therneau & Grambsch (2000), "Modeling survival data", chapter 3.

    >>> time, event = jnp.array([1.0, 2.0, 3.0]), jnp.array([1, 1, 0])
    >>> Cox().value(jnp.zeros(3), (time, event))  # log 3, log 2
    Array([1.0986123, 0.6931472, 0.       ], dtype=float32)
    """

    ties: Literal["efron", "breslow"] = dataclasses.field(default="efron", metadata={"static": True})
    sample_weight: Any = dataclasses.field(default=None, repr=False)

    def __post_init__(self) -> None:
        if self.ties not in ("efron", "breslow"):
            raise ValueError(f'ties must be "efron" or "breslow", got {self.ties!r}')

    def weighing(self, sample_weight: jax.Array | None) -> "Cox":
        """Return the loss under these sample weights, (n,)."""
        return dataclasses.replace(self, sample_weight=sample_weight)

    def outputs(self, target: Any) -> tuple[int, ...]:
        """(): one number per sample, whatever the columns of the target."""
        del target
        return ()

    def encode(self, target: Any, pred: Any) -> RiskSets:
        """Sort the target, unless that was done."""
        sets = target if isinstance(target, RiskSets) else risk_sets(*_columns(target))
        if pred.shape != sets.event.shape:
            raise ValueError(f"predict returned shape {pred.shape}, but y has {sets.event.shape} times")
        return sets

    def value(self, pred: jax.Array, target: Any) -> jax.Array:
        """For events, the mean of log S over those tied with it, less η; 0 for others."""
        sets = self.encode(target, pred)
        sums = self._sums(pred, sets)
        totals = jnp.zeros_like(pred).at[sets.own].add(jnp.where(sums.active, sums.total, 0))
        mean = (totals / jnp.maximum(sums.events, 1))[sets.own]
        return jnp.where(sums.active, mean - pred, 0)

    def derivative(self, pred: jax.Array, target: Any) -> jax.Array:
        """exp(η) times the cumulative hazard, less 1 for an event: the martingale residual, negated."""
        sets = self.encode(target, pred)
        sums = self._sums(pred, sets)
        return jnp.exp(self._present(pred + self._hazard(sums, sets, 1))) - sums.active

    def second_derivative(self, pred: jax.Array, target: Any) -> jax.Array:
        """Diagonal of the Hessian, over the weights: Σ q(1 − q)/w over the terms, q a sample's share of S."""
        sets = self.encode(target, pred)
        sums = self._sums(pred, sets)
        first = jnp.exp(self._present(pred + self._hazard(sums, sets, 1)))
        square = self._log_weight(pred) + 2 * pred + self._hazard(sums, sets, 2)
        return jnp.maximum(first - jnp.exp(self._present(square)), 0)

    def conjugate(self, dual: jax.Array, target: Any) -> jax.Array:
        """NaN: it has no closed form. `objective.ray_gap` bounds the gap without it."""
        del target
        return jnp.full_like(dual, jnp.nan)

    def deviance(self, pred: jax.Array, target: Any) -> jax.Array:
        """2(ℓ − the saturated model's), whose weighted mean is not negative, though a sample's part may be.

        In the saturated model every event happens to the samples of by far the highest hazard among those at risk.
        """
        sets = self.encode(target, pred)
        sums = self._sums(pred, sets)
        d = jnp.maximum(sums.events, 1)
        least = jnp.log(jnp.where(sums.events > 0, sums.weight * d, 1))
        if self.ties == "efron":
            least = least + jax.lax.lgamma(d + 1) / d - jnp.log(d)
        return 2 * (self.value(pred, sets) - jnp.where(sums.active, least[sets.own], 0))

    def mean(self, pred: jax.Array) -> jax.Array:
        """Relative hazard, exp(η)."""
        return jnp.exp(pred)

    @property
    def curvature(self) -> float:
        """Infinite: the more events a sample sees, the larger."""
        return float("inf")

    def check(self, target: Any) -> None:
        """Finite times, each after its start, events of 0 or 1, and at least one of these."""
        columns = _columns(target)
        time, event, start, strata = [None if part is None else np.asarray(part, float) for part in columns]
        assert time is not None
        assert event is not None
        _check.number("y (time)", time, low=-np.inf)
        _check.number("y (event)", event, high=1.0, what="0 or 1")
        if not np.isin(event, (0, 1)).all():
            raise ValueError(f"y (event) must be 0 or 1, got {event[~np.isin(event, (0, 1))][0]:g}")
        if not event.any():
            raise ValueError("y has no event: nothing to fit")
        if start is not None and not (start < time).all():
            row = int(np.flatnonzero(~(start < time))[0])
            raise ValueError(f"y (start) must be before time, got {start[row]:g} and {time[row]:g} in row {row}")
        if strata is not None:
            _check.number("y (strata)", strata, low=-np.inf)

    def _log_weight(self, pred: jax.Array) -> jax.Array:
        if self.sample_weight is None:
            return jnp.zeros_like(pred)
        w = jnp.asarray(self.sample_weight, pred.dtype)
        return jnp.where(w > 0, jnp.log(jnp.where(w > 0, w, 1)), NOTHING)

    def _present(self, logs: jax.Array) -> jax.Array:
        """Nothing, for samples that have no weight: their sums are without bound."""
        return logs if self.sample_weight is None else jnp.where(jnp.asarray(self.sample_weight) > 0, logs, NOTHING)

    def _sums(self, pred: jax.Array, sets: RiskSets) -> _Sums:
        log_weight = self._log_weight(pred)
        active = sets.event & (log_weight > NOTHING)
        parts = self._present(log_weight + pred)
        zeros = jnp.zeros_like(pred)
        count = zeros.at[sets.own].add(active)
        weight = zeros.at[sets.own].add(jnp.where(active, jnp.exp(log_weight), 0)) / jnp.maximum(count, 1)
        kept = zeros
        if self.ties == "efron":
            # Which of the tied events gets which l does not matter.
            before = jnp.cumsum(count) - count
            rank = zeros.at[sets.order].set(jnp.cumsum(active[sets.order]) - 1) - before[sets.own]
            kept = jnp.log1p(-jnp.where(active, rank / jnp.maximum(count, 1)[sets.own], 0))
        tied = gather(parts, jnp.where(active, sets.own, pred.size), pred.size)
        total = jnp.logaddexp(into_times(parts, sets)[sets.own], tied[sets.own] + kept)
        return _Sums(active, count, weight, jnp.where(active, total, 0), kept)

    def _hazard(self, sums: _Sums, sets: RiskSets, power: int) -> jax.Array:
        """Log of Σ w/S^power over the terms that a row is at risk in, its share of those to the same power."""
        size = sums.total.size
        place = jnp.where(sums.active, sets.own, size)
        weight = jnp.log(jnp.where(sums.events > 0, sums.weight, 1))[sets.own]
        terms = weight - power * sums.total
        whole, part = gather(terms, place, size), gather(terms + power * sums.kept, place, size)
        return jnp.logaddexp(over_rows(whole, sets), jnp.where(sums.active, part[sets.own], NOTHING))


def _columns(target: Any) -> tuple[Any, Any, Any, Any]:
    """Time, event, start and strata, None for what there is not.

    Raises:
        ValueError: if there are fewer than two columns, or more than four.
    """
    if isinstance(target, tuple):
        parts = list(target)
    else:
        array = target if isinstance(target, jax.Array) else np.asarray(target)
        if array.ndim != 2:
            raise ValueError(f"y must have columns time, event[, start, strata], got shape {array.shape}")
        parts = [array[:, k] for k in range(array.shape[1])]
    if not 2 <= len(parts) <= 4:
        raise ValueError(f"y must have 2 to 4 columns (time, event, start, strata), got {len(parts)}")
    time, event, start, strata = parts + [None] * (4 - len(parts))
    return time, event, start, strata
