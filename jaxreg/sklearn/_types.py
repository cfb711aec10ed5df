"""Names of types. Arrays are numpy's; features may be a scipy.sparse matrix as well."""

from typing import Any

import numpy as np

Array = np.ndarray
Features = Any
