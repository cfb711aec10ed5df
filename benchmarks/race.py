"""One row of the grid: every peer on the same problem, at its own tolerance and at one certified gap.

Two figures for each peer:

- `default`: time and gap at the tolerance that its users get;
- `certified`: the time at the loosest power of ten below that whose answer the judge certifies to the target gap,
  with limits on iterations lifted.

Repeats go round: one of each peer, then the next of each, so that a disturbance of the machine hits them all.
"""

import dataclasses
import math
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.envs import Peer, PeerMissingError
from benchmarks.judge import Answer, worst
from benchmarks.phases import Figure, Try, next_power, worth_a_step_back
from benchmarks.problems import Row, Task, build
from benchmarks.process import OverBudgetError, Worker, WorkerError

COLD_SECONDS = 300.0
FAR_BEHIND = 5.0
"""A peer that takes so many times what the quickest certified one does is stopped, and shown as slower than that."""
LEAST_LIMIT = 3.0
PAUSE = 0.1
"""Seconds before a run: threads of the last one may still look for work, and have the cores meanwhile."""
SHORT, CALLS = 0.1, 7
"""Where an answer takes fewer seconds than this, a turn is so many calls one after the other, and their median counts:
after other processes were at work a first call finds its core asleep and its cache taken, which may cost half as much
again."""


@dataclasses.dataclass(frozen=True)
class Settings:
    """How a race is run."""

    envs: Path
    log: Path
    budget: float = 60.0
    repeats: int = 5
    target: float = 1e-6
    deadline: float = math.inf
    """Of `time.monotonic`: after it nothing is started, and what runs is stopped."""
    say: Callable[[str], None] = print


class Contender:
    """One peer in one row."""

    def __init__(self, peer: Peer, task: Task, folder: Path, settings: Settings, worker: Worker | None):
        self.peer, self.task, self.folder, self.settings, self.worker = peer, task, folder, settings, worker
        self.entry: dict[str, Any] = {}
        self.default: Figure | None = None
        self.certified: Figure | None = None
        self.default_tol = math.nan
        self.notes: set[str] = set()
        self.answer: Answer | None = None
        """The last that was judged."""

    def prepare(self) -> bool:
        """Start the worker if need be and hand it the problem; False if it cannot take part."""
        if time.monotonic() > self.settings.deadline:
            self.entry["error"] = "no time left"
            return False
        try:
            if self.worker is None or not self.worker.alive:
                self.worker = Worker(self.peer, self.settings.envs, self.settings.log)
            self.entry["version"] = self.worker.version
            reply = self.worker.load(self.task, self.folder)
        except PeerMissingError as missing:
            self.entry["missing"] = str(missing)
            return False
        except (OverBudgetError, WorkerError) as error:
            self.entry["error"] = f"while loading: {error}"
            return False
        if "unsupported" in reply:
            self.entry["unsupported"] = reply["unsupported"]
            return False
        self.default_tol = float(reply["tol"])
        return True

    def attempt(self, tol: float, generous: bool, seconds: float, judged: bool) -> Try:
        """Solve once, and have the answer judged; what goes wrong is part of the result."""
        if (self.worker is None or not self.worker.alive) and not self.prepare():
            return Try(tol, generous, "error", math.nan, error=self.entry.get("error", "could not be restarted"))
        assert self.worker is not None
        seconds = min(seconds, self.settings.deadline - time.monotonic())
        if seconds <= 0:
            return Try(tol, generous, "over budget", 0.0)
        try:
            reply = self.worker.run(seconds, tol, generous)
        except OverBudgetError:
            return Try(tol, generous, "over budget", seconds)
        except WorkerError as error:
            return Try(tol, generous, "error", math.nan, error=str(error))
        taken = float(reply.pop("seconds"))
        gap = math.nan
        if judged:
            try:
                answer, note = self.worker.answer(self.task, 5 * self.settings.budget + 60)
                self.notes |= {part.strip() for part in note.split(";") if part.strip()}
                gap = float(worst(self.task, answer).max())
                self.answer = answer
            except (OverBudgetError, WorkerError, OSError, ValueError) as error:
                return Try(tol, generous, "error", taken, error=f"while judging: {error}")
        return Try(tol, generous, "done", taken, gap, counts={key: float(value) for key, value in reply.items()})

    def first(self) -> None:
        """The first answer, at the default tolerance; a cold one where the process is fresh."""
        limit = self.settings.budget + (COLD_SECONDS if self.peer.fresh else 0)
        one = self.attempt(self.default_tol, False, limit, judged=True)
        self.default = Figure(one)
        if self.peer.fresh:
            self.entry["cold"] = {"seconds": one.seconds, **one.counts}

    def search(self, limit: float) -> None:
        """Tighten the tolerance until the judge certifies, or the budget is spent, or nothing gets better.

        Args:
            limit: seconds for one run: beyond it the figure is of no interest.
        """
        assert self.default is not None
        one, target, budget = self.default.origin, self.settings.target, self.settings.budget
        tries = {0: one}
        if one.state != "done" or one.gap <= target:
            self.certified = Figure(one, certified=one.state == "done")
            if one.state == "over budget":
                self.certified.more_than = one.seconds
            return
        power, spent = 0, one.seconds
        while True:
            power = next_power(tries, target)
            tol = self.default_tol * 10.0**-power
            if tol < 1e-20 or spent >= budget:
                break
            one = self.attempt(tol, True, min(limit, budget - spent), judged=True)
            tries[power] = one
            spent += one.seconds
            if one.state != "done" or one.gap <= target:
                break
            if len(tries) >= 4 and one.gap > 0.5 * min(t.gap for p, t in tries.items() if p < power):
                one.state = "stalled"
                break
        while one.state == "done" and one.gap <= target and spent + one.seconds < budget:
            middle = worth_a_step_back(tries, target)
            if middle is None:
                break
            tries[middle] = again = self.attempt(self.default_tol * 10.0**-middle, True, budget - spent, judged=True)
            spent += again.seconds
            if again.state == "done" and again.gap <= target:
                one = again
        if one.state == "done" and not one.gap <= target:
            one.state = "over budget"
        self.certified = Figure(one, certified=one.state == "done", spent=spent)
        if not self.certified.certified:
            self.certified.more_than = max(t.seconds for t in tries.values())
        self.certified.best_gap = min((t.gap for t in tries.values() if t.state != "over budget"), default=math.nan)

    @property
    def first_seconds(self) -> float:
        """Of the first answer; endless if there was none."""
        done = self.default is not None and self.default.origin.state == "done"
        return self.default.origin.seconds if done else math.inf

    def repeat(self, figure: Figure | None, quickest: float) -> None:
        """Time once more, if it is worth it and within the budget."""
        if figure is None or figure.origin.state != "done":
            return
        hopeless = not self.peer.fresh and figure.origin.seconds > max(1.0, 10 * quickest)
        if hopeless or (figure.seconds and sum(figure.seconds) + figure.seconds[-1] > self.settings.budget):
            return
        limit = 5 * self.settings.budget + (COLD_SECONDS if self.peer.fresh else 0)
        time.sleep(PAUSE)
        calls: list[Try] = []
        while len(calls) < (CALLS if calls and calls[0].seconds < SHORT else 1):
            calls.append(self.attempt(figure.origin.tol, figure.origin.generous, limit, judged=False))
            if calls[-1].state != "done":
                return
        figure.seconds.append(statistics.median(one.seconds for one in calls))
        figure.counts.append({key: sum(one.counts[key] for one in calls) for key in calls[0].counts})

    def finish(self) -> dict[str, Any]:
        """What goes into the results."""
        for name in ("default", "certified"):
            figure: Figure | None = getattr(self, name)
            if figure is not None:
                self.entry[name] = figure.as_json()
        if self.notes:
            self.entry["notes"] = sorted(self.notes)
        return self.entry


def race(
    row: Row,
    peers: list[Peer],
    settings: Settings,
    workers: dict[str, Worker],
    compare: Callable[[Task, dict[str, Answer]], dict[str, Any]] | None = None,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Run one row.

    Args:
        row: the row.
        peers: who takes part.
        settings: how.
        workers: running workers by peer, which are kept from row to row.
        compare: looks at the answers of all peers together; what it finds is noted with the row.

    Returns:
        What the row is, and for every peer what was found.
    """
    start = time.monotonic()
    task = build(row)
    with tempfile.TemporaryDirectory(prefix="jaxreg-row-") as name:
        folder = Path(name) / "row"
        task.write(folder)
        contenders = [Contender(peer, task, folder, settings, workers.get(peer.name)) for peer in peers]
        ready = []
        for one in contenders:
            if one.prepare():
                one.first()
                ready.append(one)
            else:
                settings.say(f"  {one.peer.title:22s} {describe(one)}")
        best = math.inf
        for one in sorted(ready, key=lambda one: one.first_seconds):
            one.search(max(LEAST_LIMIT, FAR_BEHIND * best))
            if one.certified.certified and not one.peer.fresh:
                best = min(best, one.certified.origin.seconds)
            settings.say(f"  {one.peer.title:22s} {describe(one)}")
        # Default and certified runs go round together: who runs twice in a row finds its data in the caches.
        rounds = []
        for which in ("default", "certified"):
            figures = {one: getattr(one, which) for one in ready}
            if which == "certified":  # the same run is not timed twice
                figures = {one: f for one, f in figures.items() if f.origin is not one.default.origin}
            done = [f.origin.seconds for o, f in figures.items() if f.origin.state == "done" and not o.peer.fresh]
            rounds += [(one, figure, min(done, default=math.inf)) for one, figure in figures.items()]
        for _ in range(settings.repeats):
            for one, figure, quickest in rounds:
                one.repeat(figure, quickest)
        for one in ready:
            if one.certified.origin is one.default.origin:
                one.certified.seconds = one.default.seconds
    for one in contenders:
        if one.worker is not None:
            workers[one.peer.name] = one.worker
            if one.peer.fresh and not one.peer.keep:
                workers.pop(one.peer.name).kill()
    about = dataclasses.asdict(row) | {"wall_seconds": round(time.monotonic() - start, 1)}
    if compare is not None:
        about |= compare(task, {one.peer.name: one.answer for one in ready if one.answer is not None})
    return about, {one.peer.name: one.finish() for one in contenders}


def describe(one: Contender) -> str:
    """One line on what was found so far."""
    for word in ("missing", "unsupported", "error"):
        if word in one.entry and one.default is None:
            return f"{word}: {one.entry[word]}"
    assert one.default is not None
    assert one.certified is not None
    return f"default {one.default}   certified {one.certified}"
