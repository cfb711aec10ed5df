"""A training sweep in a process of its own, which kills itself when it is told to: for tests/test_train_sweep.py.

Usage: python killed_sweep.py RESULT [DIRECTORY [EPOCH]]. With a directory checkpoints are written there, every second
epoch, and after EPOCH epochs the process kills itself.
"""

import os
import signal
import sys

import jax
import jax.numpy as jnp
import numpy as np

import jaxreg as jr

WIDTH, LAMS, EPOCHS = 4, [0.003, 0.03, 0.3], 7


def predict(params, X):
    return jnp.tanh(X @ params["hidden"]) @ params["out"]


def table():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(22, 5)).astype(np.float32)
    return X, np.sin(X[:, 0]) + X[:, 1]


def start(key):
    one, two = jax.random.split(key)
    return {"hidden": jax.random.normal(one, (5, WIDTH)), "out": jax.random.normal(two, (WIDTH,))}


def run(progress, directory):
    X, y = table()
    penalty = jr.Masked(jr.L1(), include="hidden")
    return jr.train_sweep(
        start,
        jr.Objective(jr.Squared(), penalty, predict),
        jr.minibatches((X, y), 8, seed=3),
        jr.prox_adamw(0.05, penalty),
        LAMS,
        epochs=EPOCHS,
        seeds=2,
        validate=(X[:6], y[:6]),
        patience=3,
        checkpoint=directory,
        every=2,
        progress=progress,
    )


def main(result, directory=None, epoch="0"):
    def stop(done, total):
        if done == int(epoch):
            os.kill(os.getpid(), signal.SIGKILL)

    sweep = run(stop if directory and epoch != "0" else False, directory)
    arrays = {**sweep.params, **sweep.history, "zeros": sweep.zeros, "epoch": sweep.epoch, "code": sweep.result}
    np.savez(result, **arrays)


if __name__ == "__main__":
    main(*sys.argv[1:])
