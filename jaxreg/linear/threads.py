"""Independent tasks side by side, as many at a time as there are cores."""

import functools
import os
import threading
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import jax

Task = TypeVar("Task")

_ready: set[Hashable] = set()
_lock = threading.Lock()


def cores() -> int:
    """How many this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def alone() -> bool:
    """Whether XLA has a single thread, so that a program that calls back may not wait for another program.

    It has as many as there are cores, or as the environment variable NPROC says.
    """
    told = os.environ.get("NPROC", "")
    return jax.default_backend() == "cpu" and (int(told) if told.isdigit() else cores()) < 2


@functools.cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(cores())


def in_threads(
    function: Callable[[Task], Any],
    tasks: Sequence[Task],
    signature: Callable[[Task], Hashable],
    size: Callable[[Task], float] | None = None,
    report: Callable[[int, int], None] | None = None,
) -> list[Any]:
    """Run every task, in double precision; answers come in the tasks' order.

    The first task of each signature runs alone, so that no two threads compile the same program. Where tasks are of
    different size the largest are begun first, so that no thread is left with a large one at the end. In the caller's
    thread, `report` is told how many are done, and of how many.
    """

    def run(task: Task) -> Any:
        with jax.enable_x64(True):
            return function(task)

    done: dict[int, Any] = {}

    def keep(k: int, answer: Any) -> None:
        done[k] = answer
        if report is not None:
            report(len(done), len(tasks))

    for k, task in enumerate(tasks):
        key = signature(task)
        if key not in _ready:
            with _lock:
                keep(k, run(task))
                _ready.add(key)
    rest = [k for k in range(len(tasks)) if k not in done]
    if size is not None:
        rest.sort(key=lambda k: -size(tasks[k]))
    if len(rest) == 1:
        keep(rest[0], run(tasks[rest[0]]))
    else:
        for k, answer in zip(rest, _pool().map(run, [tasks[k] for k in rest]), strict=True):
            keep(k, answer)
    return [done[k] for k in range(len(tasks))]
