"""The other end of a worker: a process that is asked, waited for, and killed when its time is up."""

import os
import select
import signal
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.envs import ROOT, Peer, PeerMissingError
from benchmarks.judge import Answer
from benchmarks.problems import Task

START_SECONDS = 180.0
LOAD_SECONDS = 300.0


class OverBudgetError(Exception):
    """The worker did not answer in time, and was killed."""


class WorkerError(Exception):
    """The worker answered that something went wrong, or died."""


def python_path() -> str:
    """Where child processes find the benchmarks and jaxreg: as this one did."""
    return os.environ.get("PYTHONPATH") or str(ROOT)


class Worker:
    """A running solver. Errors and prints of it go to `log`."""

    def __init__(self, peer: Peer, envs: Path, log: Path):
        cores = str(len(os.sched_getaffinity(0)))
        threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"), cores)
        self.peer = peer
        self.log = log
        self.pending = b""
        with log.open("ab") as errors:
            self.process = subprocess.Popen(
                peer.command(envs),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                env={**os.environ, **threads, "PYTHONPATH": python_path(), **dict(peer.variables)},
                cwd=ROOT,
                start_new_session=True,
            )
        try:
            self.version = self.ask(START_SECONDS, cmd="hello")["version"]
        except (WorkerError, OverBudgetError) as error:
            self.kill()
            lines = log.read_text(errors="replace").strip().splitlines()
            raise PeerMissingError(f"{error} {lines[-1] if lines else ''}".strip()) from error

    def ask(self, seconds: float, **request: object) -> dict[str, str]:
        """Send a request and wait for its reply.

        Raises:
            OverBudgetError: after so many seconds; the process is gone then.
            WorkerError: with what the worker says.
        """
        line = "\t".join(f"{key}={value}" for key, value in request.items()) + "\n"
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        try:
            self.process.stdin.write(line.encode())
            self.process.stdin.flush()
        except BrokenPipeError as error:
            self.kill()
            raise WorkerError("the process has ended") from error
        deadline = time.monotonic() + seconds
        while b"\n" not in self.pending:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self.process.stdout], [], [], left)[0]:
                self.kill()
                raise OverBudgetError(f"no answer in {seconds:g} s")
            piece = os.read(self.process.stdout.fileno(), 65536)
            if not piece:
                code = self.process.wait()
                raise WorkerError(f"the process ended with status {code}")
            self.pending += piece
        reply, _, self.pending = self.pending.partition(b"\n")
        fields = dict(pair.split("=", 1) for pair in reply.decode().split("\t"))
        if "error" in fields:
            raise WorkerError(fields["error"])
        return fields

    def load(self, task: Task, folder: Path) -> dict[str, str]:
        """Have the worker read the problem that was written to a folder."""
        row = task.row
        return self.ask(
            LOAD_SECONDS,
            cmd="load",
            folder=folder,
            kind=row.kind,
            loss=row.loss,
            n=row.n,
            p=row.p,
            ratios=len(row.ratios),
            lams=row.lams,
            fits=len(task.weights),
            lam_min_ratio=row.lam_min_ratio,
        )

    def run(self, seconds: float, tol: float, generous: bool) -> dict[str, str]:
        """Solve once."""
        return self.ask(seconds, cmd="run", tol=repr(tol), generous=int(generous))

    def answer(self, task: Task, seconds: float) -> tuple[Answer, str]:
        """Fetch the answer of the last run, and the worker's note on it."""
        with tempfile.TemporaryDirectory(prefix="jaxreg-answer-") as name:
            folder = Path(name)
            reply = self.ask(seconds, cmd="save", folder=folder)
            shape = (len(task.row.ratios), -1, task.row.lams)
            own = reply["own_weights"] == "1"
            answer = Answer(
                np.fromfile(folder / "coef.f64").reshape(*shape, task.row.p),
                np.fromfile(folder / "intercept.f64").reshape(shape),
                first=int(reply["first"]),
                weights=np.fromfile(folder / "weights.f64").reshape(-1, task.row.n) if own else None,
                scaled_target=reply["scaled_target"] == "1",
            )
        return answer, reply["note"]

    @property
    def alive(self) -> bool:
        """Whether it can be asked again."""
        return self.process.poll() is None

    def kill(self) -> None:
        """End the process and whatever it started."""
        if self.alive:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None:
                stream.close()
