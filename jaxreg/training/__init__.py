"""Training of any model at many strengths at once: one stream of minibatches, one program, one lane for each λ.

`train_sweep` trains, `TrainSweep` is what it returns, `minibatches` makes a stream that can be resumed.
"""

from jaxreg.training._batches import Minibatches, minibatches
from jaxreg.training._result import TrainSweep
from jaxreg.training._sweep import train_sweep

__all__ = ["Minibatches", "TrainSweep", "minibatches", "train_sweep"]
