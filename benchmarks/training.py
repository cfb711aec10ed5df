"""What a training sweep costs against single runs: python -m benchmarks.training [widths] (a minute on two cores).

32 strengths at once, and each alone, by the same `train_sweep`, whose programs are compiled before the clock starts: a
network with hidden layers on scikit-learn's digits, minibatches of 32, 10 epochs. Both in one process, in turns.
"""

import sys
import time

import jax
import jax.numpy as jnp
import numpy as np
from sklearn.datasets import load_digits

import jaxreg as jr

EPOCHS, LANES = 10, 32


def predict(params: list, X: jax.Array) -> jax.Array:
    for layer in params[:-1]:
        X = jax.nn.relu(X @ layer["kernel"] + layer["bias"])
    return X @ params[-1]["kernel"] + params[-1]["bias"]


def start(widths: tuple[int, ...]) -> list:
    sizes = (64, *widths, 10)
    keys = jax.random.split(jax.random.key(0), len(sizes))
    pairs = zip(keys, sizes[:-1], sizes[1:], strict=False)
    return [{"kernel": jax.random.normal(k, (m, n)) * (2 / m) ** 0.5, "bias": jnp.zeros(n)} for k, m, n in pairs]


def measure(widths: tuple[int, ...]) -> dict[str, float]:
    images, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(labels))
    X, y = (images[order] / 16).astype(np.float32), labels[order]
    penalty = jr.Masked(jr.L1(), include="*/kernel")
    objective, tx = jr.Objective(jr.Multinomial(), penalty, predict), jr.prox_adamw(3e-3, penalty)
    batches, params = jr.minibatches((X[:1200], y[:1200]), 32), start(widths)
    lams = np.geomspace(1e-2, 1e-5, LANES)

    def seconds(lams: np.ndarray, epochs: int = EPOCHS) -> tuple[float, jr.TrainSweep]:
        begin = time.perf_counter()
        sweep = jr.train_sweep(params, objective, batches, tx, lams, epochs=epochs, validate=(X[1200:], y[1200:]))
        return time.perf_counter() - begin, sweep

    for some in (lams, lams[:1]):
        seconds(some, 1)
    together, alone, apart = [], [], 0.0
    for _ in range(3):
        time_together, sweep = seconds(lams)
        together.append(time_together)
        times, runs = zip(*(seconds(lams[k : k + 1]) for k in range(LANES)), strict=True)
        alone.append(sum(times))
        single = np.array([run.final("validation")[0] for run in runs])
        apart = max(apart, float(np.abs(sweep.final("validation") / single - 1).max()))
    return {
        "parameters": sum(leaf.size for leaf in jax.tree.leaves(params)),
        "together": min(together),
        "alone": min(alone),
        "ratio": min(together) / min(alone),
        "validation_apart": apart,
    }


if __name__ == "__main__":
    for widths in [tuple(map(int, sys.argv[1:]))] if sys.argv[1:] else [(100,), (100, 50), (300, 100)]:
        print(widths, *(f"{name}={value:.4g}" for name, value in measure(widths).items()), flush=True)
