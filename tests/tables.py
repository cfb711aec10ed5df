"""Made-up data for the tests of tables, comparisons and the command line: one shape, so that it compiles once."""

import numpy as np

ROWS, FEATURES, FOLDS, LAMS = 120, 12, 5, 30
SETTING = {"folds": FOLDS, "lams": LAMS}


def situation(kind: str, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Features and a target of a known kind: sparse, dense or noise."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(ROWS, FEATURES))
    noise = rng.normal(size=ROWS)
    if kind == "sparse":
        return X, 3 * X[:, 0] - 2 * X[:, 1] + 0.5 * noise
    if kind == "dense":
        return X, 0.3 * X.sum(axis=1) + noise
    if kind == "noise":
        return X, noise
    raise ValueError(kind)
