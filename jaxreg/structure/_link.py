"""How layers follow each other: what leads out of a layer's units, and into what."""

import dataclasses
import itertools
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from jaxreg import _tree
from jaxreg._tree import PyTree

INPUTS_FIRST = ("kernel", "w")
"""Names of kernels (..., in, out): flax and haiku."""
OUTPUTS_FIRST = ("weight",)
"""Names of kernels (out, in, ...): equinox."""
BIASES = ("bias", "b")


@dataclasses.dataclass(frozen=True)
class Link:
    """Units of one layer, and the one layer that they lead to.

    Between the two there may be what maps each unit by itself and a constant map to a constant one: an activation, max
    pooling, average pooling that does not count its padding, dropout (which is off at evaluation), flattening.

    Args:
        kernel: path of the layer's kernel.
        into: path of the next layer's kernel.
        bias: path of the layer's bias, if it has one; its units lie along its longest axis.
        into_bias: path of the next layer's bias, if it has one.
        axis: axis of `kernel` along which its units lie: −1 in flax and haiku, 0 in equinox.
        into_axis: axis of `into` along which it takes them: −2 in flax and haiku, 1 in equinox.
        into_units: axis of `into` along which its own units lie.
        activation: function of one unit's value; what a unit whose kernel is zero gives is activation(bias).
        channels_last: how places and channels are laid out where a convolution's output is flattened for a dense
            layer: channels vary fastest (flax, haiku), or places do (equinox).
        padded: whether `into`, if it is a convolution, pads its input with zeros. Then a unit that gives a constant
            other than zero acts differently at the edges, and no bias makes up for it.
        also: paths of other parameters of the units, each with its axis, that are cut along.
    """

    kernel: str
    into: str
    bias: str | None = None
    into_bias: str | None = None
    axis: int = -1
    into_axis: int = -2
    into_units: int = -1
    activation: Callable[[jax.Array], jax.Array] = jax.nn.relu
    channels_last: bool = True
    padded: bool = True
    also: Mapping[str, int] = dataclasses.field(default_factory=dict)


def sequential(
    params: PyTree,
    layers: Sequence[str] | None = None,
    *,
    activation: Callable[[jax.Array], jax.Array] = jax.nn.relu,
    padded: bool = True,
) -> list[Link]:
    """Links of a chain of dense and convolution layers, each of which feeds the next and nothing else.

    Kernels are told by their names: `kernel` or `w` with axes (..., in, out), as in flax and haiku; `weight` with
    axes (out, in, ...), as in equinox. Biases are called `bias` or `b`.

    Args:
        params: parameter pytree.
        layers: paths of the layers in the order of the chain, such as `["params/Conv_0", "params/Dense_0"]`; by default
            all layers that have a kernel, in the order of their paths, in which Dense_10 comes after Dense_9.
        activation: between the layers, the same for all.
        padded: whether convolutions pad their input with zeros (see `Link`).

    Raises:
        ValueError: if there are less than two layers, or one has no kernel. Whether sizes fit is checked by `compact`;
            that nothing else reads a layer's output (a skip connection, a parallel branch) is for you to know.

    >>> params = {"a": {"kernel": np.ones((2, 3)), "bias": np.ones(3)}, "b": {"kernel": np.ones((3, 1))}}
    >>> [(link.kernel, link.bias, link.into, link.into_bias) for link in sequential(params)]
    [('a/kernel', 'a/bias', 'b/kernel', None)]
    """
    shapes = {path: np.shape(leaf) for path, leaf in arrays(params).items()}
    kernels, biases = {}, {}
    for path in shapes:
        layer, _, name = path.removesuffix("/value").rpartition("/")
        if name in INPUTS_FIRST + OUTPUTS_FIRST and len(shapes[path]) >= 2:
            kernels[layer] = path
        elif name in BIASES:
            biases[layer] = path
    chain = sorted(kernels, key=_natural) if layers is None else [layer.strip("/") for layer in layers]
    for layer in chain:
        if layer not in kernels:
            raise ValueError(f"layers names {layer!r}, but the layers with a kernel are: {sorted(kernels)}")
    if len(chain) < 2:
        raise ValueError(f"a chain needs two or more layers, got {chain}")
    return [
        Link(
            kernel=kernels[layer],
            into=kernels[following],
            bias=biases.get(layer),
            into_bias=biases.get(following),
            axis=0 if _outputs_first(kernels[layer]) else -1,
            into_axis=1 if _outputs_first(kernels[following]) else -2,
            into_units=0 if _outputs_first(kernels[following]) else -1,
            activation=activation,
            channels_last=not _outputs_first(kernels[layer]),
            padded=padded,
        )
        for layer, following in itertools.pairwise(chain)
    ]


def arrays(params: PyTree) -> dict[str, Any]:
    """Floating-point leaves by path."""
    leaves = jax.tree_util.tree_leaves_with_path(params)
    return {_tree.path_string(path): leaf for path, leaf in leaves if _tree.is_float(leaf)}


def _outputs_first(path: str) -> bool:
    return path.removesuffix("/value").rpartition("/")[2] in OUTPUTS_FIRST


def _natural(path: str) -> list[Any]:
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", path)]
