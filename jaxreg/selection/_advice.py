"""The figures of a comparison, and the rules that turn them into advice.

Rules read differences between penalties against the standard error of those differences, taken fold by fold
on the same folds: a penalty is *clearly worse* when it is so by more than two standard errors. Folds share
training rows, so that is a rule of thumb and no test. The first of these that holds decides:

1. a constant prediction is not clearly worse than the best penalty: there is nothing to choose between;
2. L1 and elastic net are both clearly worse than L2: L2;
3. the candidate is elastic net if L1 is clearly worse than it or than L2, or if its selection is more stable
   by at least `MORE_STABLE` and it is not clearly worse than either; otherwise the candidate is L1;
4. the candidate keeps at least `NEARLY_ALL` of the features: selection gains nothing, so L2 unless that is
   clearly worse;
5. the candidate's selection is less stable than `POOR`: L2 unless that is clearly worse, and a warning not to
   read the kept features as findings;
6. otherwise the candidate.

Remarks follow where they apply: that λ_1se keeps far fewer features (where L2 is advised: which penalty keeps
a short list there, with a stability of at least `EXCELLENT`); that contaminated targets move the predictions
of the advised penalty by more than `FRAGILE` of their spread, and which penalty moves half as much. The
bounds of poor and excellent agreement are those of Fleiss, Levin & Paik (2003), "Statistical methods for
rates and proportions", which Nogueira, Sechidis & Brown (2018) use as well.
"""

import dataclasses
import math
from typing import Self

import numpy as np

from jaxreg._format import count, plus_minus
from jaxreg.penalties import Elastic

CLEAR = 2.0
POOR, EXCELLENT = 0.4, 0.75
MORE_STABLE = 0.1
NEARLY_ALL = 0.9
FAR_FEWER = 0.75
FRAGILE = 0.5


@dataclasses.dataclass(frozen=True)
class Difference:
    """How much worse one thing is than another: mean over folds, and its standard error."""

    mean: float
    se: float

    @classmethod
    def of(cls, worse: np.ndarray, better: np.ndarray, sizes: np.ndarray) -> Self:
        """From errors of the two in the same folds, averaged as `Selection.mean` and `Selection.se` do."""
        paired = worse - better
        mean = np.average(paired, weights=sizes)
        spread = np.average((paired - mean) ** 2, weights=sizes)
        return cls(float(mean), math.sqrt(spread / (len(paired) - 1)))

    @property
    def clear(self) -> bool:
        """Whether it is worse by more than `CLEAR` standard errors."""
        return self.mean > CLEAR * self.se


@dataclasses.dataclass(frozen=True)
class Choice:
    """A penalty at one choice of λ.

    Attributes:
        lam: the strength.
        error: mean score over folds.
        se: its standard error.
        kept: number of nonzero coefficients on all data.
        df: effective degrees of freedom on all data.
        stability: of the kept features over folds, see `selection_stability`; NaN where every fold keeps all
            features, or none.
    """

    lam: float
    error: float
    se: float
    kept: int
    df: float
    stability: float


@dataclasses.dataclass(frozen=True)
class Row:
    """One penalty in a comparison.

    Attributes:
        name: "L1", "L2" or "elastic net".
        penalty: the penalty.
        at_min: at the λ of the best mean score.
        at_1se: at the largest λ within one standard error of it.
        moved_predictions: change of the predictions (link scale) at λ_min when a share of the targets is
            contaminated, relative to their spread: ‖η′ − η‖ / ‖η − η̄‖, averaged over replicates.
        moved_coef: the same for standardized coefficients, ‖b′ − b‖ / ‖b‖.
    """

    name: str
    penalty: Elastic
    at_min: Choice
    at_1se: Choice
    moved_predictions: float
    moved_coef: float


def advise(rows: list[Row], differences: dict[tuple[str, str], Difference], null: Difference, n_features: int) -> str:
    """Say in a few sentences what the figures advise, by the rules of this module.

    Args:
        rows: of L1, L2 and elastic net, by these names.
        differences: by pair of names, how much worse the first is than the second.
        null: how much worse a constant prediction is than the best row.
        n_features: number of features, without constant ones.
    """
    by_name = {row.name: row for row in rows}
    if not null.clear:
        return (
            "None of the three predicts clearly better than a constant "
            f"(by {plus_minus(null.mean, null.se)}, less than {CLEAR:g} standard errors): "
            "better features or more rows would help more than another penalty."
        )
    name, sentences = _decide(by_name, differences, n_features)
    return " ".join([*sentences, *_remarks(by_name[name], rows, differences)])


def _decide(rows: dict[str, Row], differences: dict[tuple[str, str], Difference], p: int) -> tuple[str, list[str]]:
    """Rules 2 to 6: the advised penalty, and why."""
    lasso, net = differences["L1", "L2"], differences["elastic net", "L2"]
    if lasso.clear and net.clear:
        margins = f"L1 (by {_signed(lasso)}) and elastic net (by {_signed(net)})"
        return "L2", [
            f"L2 predicts clearly better than {margins}: the signal is spread over many features, and "
            "dropping any costs accuracy."
        ]
    name, why = _candidate(rows, differences)
    row = rows[name].at_min
    kept = f"{row.kept} of {count(p, 'feature')}"
    ridge_ties = not differences["L2", name].clear
    if row.kept >= NEARLY_ALL * p:
        if not ridge_ties:
            return name, [f"{why}, although it keeps {kept}."]
        return "L2", [f"L2: no other is clearly better, and {name} keeps {kept}, so that selecting gains nothing."]
    stability = f"stability {row.stability:.2f} of 1".replace("-", "−")
    if row.stability < POOR:
        warning = f"What {name} keeps changes from fold to fold ({stability}): do not read it as a finding."
        if not ridge_ties:
            return name, [f"{why}.", warning]
        return "L2", ["L2: no other is clearly better.", warning]
    same = "much the same ones" if row.stability >= EXCELLENT else "not always the same ones"
    return name, [f"{why}. It keeps {kept}, {same} in every fold ({stability})."]


def _candidate(rows: dict[str, Row], differences: dict[tuple[str, str], Difference]) -> tuple[str, str]:
    """Rule 3: the penalty to select with, and why."""
    lasso, net = differences["L1", "elastic net"], differences["elastic net", "L1"]
    if lasso.clear:
        return "elastic net", f"Elastic net predicts clearly better than L1 (by {_signed(lasso)})"
    if differences["L1", "L2"].clear:
        return "elastic net", "Elastic net: L2 is not clearly better than it, as it is than L1"
    gain = rows["elastic net"].at_min.stability - rows["L1"].at_min.stability
    if gain >= MORE_STABLE and not net.clear and not differences["elastic net", "L2"].clear:
        return "elastic net", f"Elastic net: L1 predicts no better, and selects less stably (by {gain:.2f})"
    if differences["L2", "L1"].clear:
        margin = _signed(differences["L2", "L1"])
        return "L1", f"L1 predicts clearly better than L2 (by {margin}): most features are not needed"
    return "L1", "L1: no other is clearly better"


def _remarks(advised: Row, rows: list[Row], differences: dict[tuple[str, str], Difference]) -> list[str]:
    """Say what else is worth knowing about the advised penalty."""
    remarks = []
    fewer, kept = advised.at_1se.kept, advised.at_min.kept
    for row in rows if advised.name == "L2" else []:
        short, clear = row.at_1se, differences[row.name, "L2"].clear if row.name != "L2" else True
        if not clear and short.stability >= EXCELLENT and 0 < short.kept <= FAR_FEWER * kept:
            remarks.append(
                f"For a short list, {row.name} at λ 1se keeps {count(short.kept, 'feature')}, much the same "
                f"ones in every fold (stability {short.stability:.2f} of 1)."
            )
            break
    if advised.name != "L2" and 0 < fewer <= FAR_FEWER * kept:
        remarks.append(f"At λ 1se it keeps only {fewer}, within one standard error of the best.")
    if advised.moved_predictions > FRAGILE:
        remarks.append(
            f"A few wrong targets move its predictions by {advised.moved_predictions:.0%} of their spread: "
            "look for outliers and mistakes in the target."
        )
        calmer = [
            row
            for row in rows
            if row.moved_predictions <= 0.5 * advised.moved_predictions
            and not differences[row.name, advised.name].clear
        ]
        if calmer:
            best = min(calmer, key=lambda row: row.moved_predictions)
            remarks.append(f"{best.name} moves by only {best.moved_predictions:.0%}, and is not clearly worse.")
    return remarks


def _signed(difference: Difference) -> str:
    return plus_minus(difference.mean, difference.se)
