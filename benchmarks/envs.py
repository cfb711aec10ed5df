"""The environments that peers run in, made on demand: their requirements contradict each other.

python -m benchmarks.envs [--envs DIR] [--peers a,b]
"""

import argparse
import dataclasses
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


class PeerMissingError(Exception):
    """A peer cannot take part; the message says why."""


@dataclasses.dataclass(frozen=True)
class Peer:
    """A solver that takes part: what to install for it, and how to start it."""

    name: str
    title: str
    module: str = ""
    """Of `benchmarks.peers`; empty for R."""
    requirements: tuple[str, ...] = ()
    """Empty for the interpreter that runs the benchmarks."""
    r_type: str = ""
    fresh: bool = False
    """Whether the first call in a row is a cold one, which is noted apart."""
    keep: bool = False
    """Whether its process lives on from row to row in spite of that."""
    variables: tuple[tuple[str, str], ...] = ()
    """Environment variables of its process."""

    @property
    def environment(self) -> str:
        """Name of its folder; peers with equal requirements share one."""
        return "-".join(r.split("<")[0].split("=")[0] for r in self.requirements)

    def command(self, envs: Path) -> list[str]:
        """The command that starts its worker.

        Raises:
            PeerMissingError: with the reason.
        """
        if self.r_type:
            rscript = shutil.which("Rscript")
            if rscript is None:
                raise PeerMissingError("no Rscript on the path")
            return [rscript, str(ROOT / "benchmarks/peers/glmnet.R"), str(len(os.sched_getaffinity(0))), self.r_type]
        python = sys.executable if not self.requirements else str(make(self, envs))
        return [python, "-m", "benchmarks.worker", self.module]


PEERS: tuple[Peer, ...] = (
    # Cold means cold: without JAX's persistent cache.
    Peer("jaxreg", "jaxreg", "jaxreg", fresh=True, variables=(("JAX_ENABLE_COMPILATION_CACHE", "false"),)),
    Peer("sklearn", "scikit-learn", "scikit_learn", ("scikit-learn",)),
    Peer("glmnet", "glmnet", r_type="own"),
    Peer("glmnet-cov", "glmnet (covariance)", r_type="covariance"),
    # The cross-validation of 0.7.4 fails on scikit-learn 1.7 and later.
    Peer("celer", "celer", "celer", ("celer", "scikit-learn<1.7")),
    Peer("skglm", "skglm", "skglm", ("skglm",)),
    # Pins numpy < 2.
    Peer("adelie", "adelie", "adelie", ("adelie",)),
    Peer("adelie-cov", "adelie (Gram)", "adelie_cov", ("adelie",)),
    Peer("skein-glm", "skein-glm", "skein_glm", ("skein-glm",)),
    Peer("statgpu", "statgpu", "statgpu", ("statgpu", "numba")),
)


def default_envs() -> Path:
    """In the user's cache folder."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "jaxreg-benchmarks" / "envs"


def make(peer: Peer, envs: Path) -> Path:
    """Return the interpreter of a peer's environment, made if it is not there.

    Raises:
        PeerMissingError: if it cannot be installed.
    """
    folder = envs / peer.environment
    python, complete = folder / "bin" / "python", folder / "complete"
    if complete.exists():
        return python
    for command in (
        [sys.executable, "-m", "venv", "--clear", str(folder)],
        [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *peer.requirements],
    ):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            lines = [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or ["failed"]
            raise PeerMissingError(f"{' '.join(command[-3:])}: {lines[-1]}")
    complete.touch()
    return python


def chosen(names: str | None) -> list[Peer]:
    """Peers by name, between commas; None for all.

    Raises:
        SystemExit: for an unknown name.
    """
    if names is None:
        return list(PEERS)
    known = {peer.name: peer for peer in PEERS}
    wanted = names.split(",")
    unknown = [name for name in wanted if name not in known]
    if unknown:
        raise SystemExit(f"unknown peers {unknown}; known are {list(known)}")
    return [known[name] for name in wanted]


def main(arguments: Sequence[str] | None = None) -> None:
    """Build them all."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.envs", description=__doc__)
    parser.add_argument("--envs", type=Path, default=default_envs())
    parser.add_argument("--peers", help="names between commas; default all")
    options = parser.parse_args(arguments)
    for peer in chosen(options.peers):
        try:
            print(f"{peer.title:20s} {' '.join(peer.command(options.envs))}", flush=True)
        except PeerMissingError as missing:
            print(f"{peer.title:20s} missing: {missing}", flush=True)


if __name__ == "__main__":
    main()
