"""Which candidates of a grid differ in strength and mix only, so that one batch fits them."""

import dataclasses
import numbers
from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.base import clone
from sklearn.pipeline import Pipeline

from jaxreg.sklearn._classifier import LogisticRegression
from jaxreg.sklearn._columns import SLOPE, MCPRegression, SCADRegression
from jaxreg.sklearn._general import GeneralizedLinear
from jaxreg.sklearn._glm import GammaRegressor, PoissonRegressor, TweedieRegressor
from jaxreg.sklearn._groups import GroupLasso, SparseGroupLasso
from jaxreg.sklearn._linear import ElasticNet, Lasso
from jaxreg.sklearn._multitask import MultiTaskElasticNet, MultiTaskLasso
from jaxreg.sklearn._ridge import Ridge
from jaxreg.sklearn._ridge_classifier import RidgeClassifier
from jaxreg.sklearn._robust import QuantileRegressor
from jaxreg.sklearn._survival import CoxRegression

_BY_ALPHA: tuple[type, ...] = (
    CoxRegression,
    ElasticNet,
    GammaRegressor,
    GeneralizedLinear,
    GroupLasso,
    Lasso,
    MCPRegression,
    MultiTaskElasticNet,
    MultiTaskLasso,
    PoissonRegressor,
    QuantileRegressor,
    Ridge,
    RidgeClassifier,
    SCADRegression,
    SLOPE,
    SparseGroupLasso,
    TweedieRegressor,
)
STRENGTHS: dict[type, str] = dict.fromkeys(_BY_ALPHA, "alpha") | {LogisticRegression: "C"}
"""Estimators that ask once for each target, and the parameter that λ is proportional to (C: to its inverse)."""


@dataclasses.dataclass(frozen=True)
class Candidate:
    """One of a grid: its place there, its level (alpha, or 1 / C), its mix, and the parameters that set both."""

    place: int
    level: float
    mix: float | None
    own: dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Group:
    """Candidates that differ in strength and mix only.

    `estimator` has all other parameters set; `final` is the one that knows λ, the last of a pipeline's steps.
    """

    estimator: Any
    strength: str
    candidates: list[Candidate]

    @property
    def final(self) -> Any:
        """The estimator that knows λ."""
        return last_of(self.estimator)

    @property
    def mixes(self) -> list[float | None]:
        """All mixes, each once, in the order of the grid."""
        return list(dict.fromkeys(candidate.mix for candidate in self.candidates))

    def levels(self, mix: float | None) -> np.ndarray:
        """All levels of a mix, each once, in decreasing order."""
        return np.unique([c.level for c in self.candidates if c.mix == mix])[::-1]


def last_of(estimator: Any) -> Any:
    """The estimator at the end of a pipeline, or the estimator."""
    return estimator.steps[-1][1] if isinstance(estimator, Pipeline) else estimator


def groups_of(estimator: Any, candidates: Sequence[dict[str, Any]]) -> list[Group]:
    """Groups of the candidates that can be fitted in batches; others, wrong ones among them, are in none."""
    prefix = f"{estimator.steps[-1][0]}__" if isinstance(estimator, Pipeline) else ""
    spanned = {prefix + name for name in ("alpha", "C", "l1_ratio")}
    parts: dict[Any, list[tuple[int, dict[str, Any]]]] = {}
    for place, candidate in enumerate(candidates):
        rest = {name: value for name, value in candidate.items() if name not in spanned}
        own = {name.removeprefix(prefix): value for name, value in candidate.items() if name in spanned}
        if own:
            parts.setdefault(tuple((name, _key(value)) for name, value in sorted(rest.items())), []).append(
                (place, own)
            )
    found = []
    for members in parts.values():
        rest = {name: value for name, value in candidates[members[0][0]].items() if name not in spanned}
        shared = clone(estimator)
        try:
            shared.set_params(**clone(rest, safe=False))
        except ValueError:  # an unknown name, of which whoever fits these candidates will tell
            continue
        strength = STRENGTHS.get(type(last_of(shared)))
        if strength is None:
            continue
        defaults = last_of(shared).get_params(deep=False)
        read = [_candidate(place, own, defaults, strength) for place, own in members]
        legal = [candidate for candidate in read if candidate is not None]
        if legal:
            found.append(Group(shared, strength, legal))
    return found


def _key(value: Any) -> Any:
    """What tells values apart: numbers and words by what they are, all else by which object they are."""
    plain = isinstance(value, (str, numbers.Number, type(None)))
    return (type(value), value) if plain else id(value)


def _candidate(place: int, own: dict[str, Any], defaults: dict[str, Any], strength: str) -> Candidate | None:
    """Read a candidate; None if it has a name that its estimator has not, or a value that is no legal number."""
    if not own.keys() <= defaults.keys() or (own.keys() - {strength, "l1_ratio"}):
        return None
    values: dict[str, Any] = {name: (defaults | own).get(name) for name in (strength, "l1_ratio")}
    size, mix = values[strength], values["l1_ratio"]
    low, high = (0, np.finfo(float).max) if strength == "alpha" else (np.finfo(float).tiny, np.inf)
    if not _is_number(size, low, high) or not (mix is None or _is_number(mix, 0, 1)):
        return None
    level = float(size) if strength == "alpha" else 1 / float(size)
    return Candidate(place, level, None if mix is None else float(mix), own)


def _is_number(value: Any, low: float, high: float) -> bool:
    real = isinstance(value, numbers.Real) and not isinstance(value, (bool, np.bool_))
    return real and bool(low <= float(value) <= high)
