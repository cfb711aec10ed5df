"""The structure that penalties leave in a model: what acts where, what is zero, and smaller models that do the same."""

from jaxreg.structure._compact import Compacted, compact
from jaxreg.structure._describe import describe
from jaxreg.structure._link import Link, sequential
from jaxreg.structure._report import LeafSparsity, Sparsity, sparsity

__all__ = ["Compacted", "LeafSparsity", "Link", "Sparsity", "compact", "describe", "sequential", "sparsity"]
