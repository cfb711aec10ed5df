"""What a try, a figure, and the search for a tolerance are."""

import dataclasses
import math
import statistics
from typing import Any, Literal

State = Literal["done", "over budget", "stalled", "error"]


@dataclasses.dataclass
class Try:
    """One run of one solver at one tolerance."""

    tol: float
    generous: bool
    state: State
    seconds: float
    """Taken; for a run that was stopped, the limit."""
    gap: float = math.nan
    """The worst of the answer, NaN if it was not judged."""
    error: str = ""
    counts: dict[str, float] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass
class Figure:
    """A time and the gap that it bought."""

    origin: Try
    """The run that was judged."""
    certified: bool = False
    spent: float = math.nan
    """Seconds that the search took, its failures included."""
    best_gap: float = math.nan
    more_than: float = math.nan
    """Where no answer was certified: seconds that one takes at the least, for the last try took as long."""
    seconds: list[float] = dataclasses.field(default_factory=list)
    """Of the repeats."""
    counts: list[dict[str, float]] = dataclasses.field(default_factory=list)

    @property
    def median(self) -> float:
        """Median of the repeats; the first run where there are none."""
        return statistics.median(self.seconds) if self.seconds else self.origin.seconds

    def as_json(self) -> dict[str, Any]:
        """Everything that was found; without NaN, which JSON has not."""
        fields: dict[str, Any] = {
            "state": self.origin.state,
            "tol": self.origin.tol,
            "median": self.median if self.origin.state == "done" else None,
            "first": self.origin.seconds,
            "seconds": self.seconds,
            "gap": self.origin.gap,
            "certified": self.certified,
            "spent": self.spent,
            "best_gap": self.best_gap,
            "more_than": self.more_than,
            "error": self.origin.error or None,
            "programs": [int(c["programs"]) for c in self.counts if "programs" in c] or None,
        }
        return {
            k: v for k, v in fields.items() if v is not None and not (isinstance(v, float) and not math.isfinite(v))
        }

    def __str__(self) -> str:
        if self.origin.state == "done":
            return f"{self.median:.3g} s (gap {self.origin.gap:.0e})"
        if self.origin.state == "error":
            return f"error: {self.origin.error}"
        reached = "" if math.isnan(self.best_gap) else f" (gap {self.best_gap:.0e} reached)"
        return f"{self.origin.state} after {self.spent if self.spent > 0 else self.origin.seconds:.3g} s{reached}"


def next_power(tries: dict[int, Try], target: float) -> int:
    """The next tolerance to try, in powers of ten below the default.

    A gap falls at most in proportion to a tolerance, in every solver here: as many powers are skipped as that
    allows, because each try costs a run.
    """
    power = max(tries)
    gap = tries[power].gap
    missing = math.log10(gap / target) if 0 < gap < math.inf else 1
    return power + max(1, min(4, math.floor(missing)))


def worth_a_step_back(tries: dict[int, Try], target: float) -> int | None:
    """A looser tolerance that may do as well: halfway to the tightest that failed; None if they are neighbours."""
    good = min(power for power, one in tries.items() if one.state == "done" and one.gap <= target)
    bad = max(power for power, one in tries.items() if power < good)
    return (good + bad) // 2 if good - bad > 1 else None
