"""What a training sweep found."""

import dataclasses
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxreg._result import describe_failures
from jaxreg._tree import PyTree

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from jaxreg.plots import FrontierDisplay


@dataclasses.dataclass(frozen=True, eq=False)
class TrainSweep:
    """Models at many strengths. Arrays are numpy's, with leading axes (L,), or (L, S) where there are S seeds.

    Attributes:
        lams: strengths, (L,).
        seeds: seeds, or None.
        params: parameters of all lanes; leaves that are no arrays are as they were.
        zeros: share of exact zeros among the parameters that the penalty acts on.
        history: curves by name, with epochs as last axis and NaN after a lane has stopped: "train", the mean loss over
            the minibatches of an epoch, without penalty; "zeros"; and with held-out data "validation" and the metrics.
        epoch: the epoch at whose end the parameters are those, as a place in the curves; −1 is the start.
        result: how each lane ended, as `Result` codes: `MAX_STEPS` after the last epoch, `STALLED` when patience ran
            out, `DIVERGED` when parameters became NaN or infinite.
    """

    lams: np.ndarray
    seeds: tuple[int, ...] | None
    params: PyTree
    zeros: np.ndarray
    history: dict[str, np.ndarray]
    epoch: np.ndarray
    result: np.ndarray

    def at(self, lam: float, seed: int | None = None) -> PyTree:
        """Parameters of one lane, as JAX's arrays.

        Args:
            lam: one of `lams`.
            seed: one of `seeds`; the first unless given.

        Raises:
            ValueError: if there is no such lane.
        """
        near = np.isclose(self.lams, lam, rtol=1e-6, atol=0)
        if not near.any():
            raise ValueError(f"lam must be one of lams, got {lam:g}; the nearest is {self._nearest(lam):.8g}")
        place: tuple[int, ...] = (int(np.argmax(near)),)
        if self.seeds is not None:
            if seed is not None and seed not in self.seeds:
                raise ValueError(f"seed must be one of {self.seeds}, got {seed}")
            place += (0 if seed is None else self.seeds.index(seed),)
        elif seed is not None:
            raise ValueError(f"seed must be left out, since the sweep has no seeds, got {seed}")

        def one(leaf: Any) -> Any:
            return jnp.asarray(leaf[place]) if isinstance(leaf, (np.ndarray, jax.Array)) else leaf

        return jax.tree.map(one, self.params)

    def final(self, name: str) -> np.ndarray:
        """Figure of a curve at the epoch that the parameters are of, (L,) or (L, S); NaN for the start.

        Raises:
            ValueError: if there is no such curve.
        """
        if name not in self.history:
            raise ValueError(f"there is no curve {name!r}; those there are: {', '.join(sorted(self.history))}")
        curve = self.history[name]
        padded = np.concatenate([curve, np.full((*curve.shape[:-1], 1), np.nan)], axis=-1)
        return np.take_along_axis(padded, self.epoch[..., None], axis=-1)[..., 0]

    def plot(self, name: str | None = None, ax: "Axes | None" = None) -> "FrontierDisplay":
        """Draw what is left of a figure as zeros increase: the frontier of accuracy and sparsity.

        Args:
            name: of a curve; unless given the first metric, or else "validation", or else "train".
            ax: axes to draw on; new ones unless given.

        Raises:
            ImportError: if matplotlib is not installed.
            ValueError: if there is no such curve.
        """
        from jaxreg.plots import FrontierDisplay

        own = [key for key in self.history if key not in ("train", "validation", "zeros")]
        name = name or next(iter([*own, *({"validation"} & self.history.keys())]), "train")
        titles = {"train": "training loss", "validation": "held-out loss"}
        score = self.final(name)
        return FrontierDisplay(lams=self.lams, zeros=self.zeros, score=score, measure=titles.get(name, name)).plot(ax)

    def __repr__(self) -> str:
        """One line that says what was trained."""
        lanes = f"{len(self.lams)} strengths" + ("" if self.seeds is None else f" × {len(self.seeds)} seeds")
        epochs = self.history["train"].shape[-1]
        low, high = np.nanmin(self.zeros, initial=1), np.nanmax(self.zeros, initial=0)
        zeros = f"{100 * low:.3g}–{100 * high:.3g} % zeros"
        return f"TrainSweep({lanes}, {epochs} epochs, {zeros}; {describe_failures(self.result)})"

    def _nearest(self, lam: float) -> float:
        return float(self.lams[np.argmin(np.abs(self.lams - lam))])
