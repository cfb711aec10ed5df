"""Neurons and channels that a penalty takes out of two networks on scikit-learn's digits, and what is left of them.

Run: python notebooks/prune_digits.py (about a minute on two cores). A network is trained without penalty, and once with
a group lasso on whole units (their weights and bias together); then on with the zeros frozen; then dead units are cut.
"""

import time

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from sklearn.datasets import load_digits

import jaxreg as jr

BATCH = 32


class MLP(nn.Module):
    widths: tuple = (300, 100)

    @nn.compact
    def __call__(self, x):
        x = x.reshape(len(x), -1)
        for width in self.widths:
            x = nn.relu(nn.Dense(width)(x))
        return nn.Dense(10)(x)


class CNN(nn.Module):
    channels: tuple = (16, 32)
    widths: tuple = (64,)

    @nn.compact
    def __call__(self, x):
        for channels in self.channels:
            x = nn.max_pool(nn.relu(nn.Conv(channels, (5, 5))(x)), (2, 2), (2, 2))
        x = x.reshape(len(x), -1)
        for width in self.widths:
            x = nn.relu(nn.Dense(width)(x))
        return nn.Dense(10)(x)


def digits():
    """1200 images to train on and 597 to test on, (n, 8, 8, 1)."""
    table = load_digits()
    order = np.random.default_rng(0).permutation(len(table.target))
    images, labels = (table.images[order, :, :, None] / 16).astype(np.float32), table.target[order]
    return (jnp.asarray(images[:1200]), jnp.asarray(labels[:1200])), (images[1200:], labels[1200:])


def train(model, params, tx, steps, data):
    images, labels = data

    def loss(params, key):
        rows = jax.random.randint(key, (BATCH,), 0, len(images))
        pred = model.apply(params, images[rows])
        return optax.softmax_cross_entropy_with_integer_labels(pred, labels[rows]).mean()

    def step(carry, key):
        params, state = carry
        updates, state = tx.update(jax.grad(loss)(params, key), state, params)
        return (optax.apply_updates(params, updates), state), None

    run = jax.jit(
        lambda params: jax.lax.scan(step, (params, tx.init(params)), jax.random.split(jax.random.key(1), steps))[0][0]
    )
    return run(params)


def accuracy(model, params, data):
    return float((model.apply(params, data[0]).argmax(axis=1) == data[1]).mean())


def seconds(models, images):
    """Shortest of many forward passes for each (model, parameters), taken in turns."""
    passes = [jax.jit(model.apply) for model, _ in models]
    best = [np.inf] * len(models)
    for _ in range(10):
        for k, (_, params) in enumerate(models):
            start = time.perf_counter()
            passes[k](params, images).block_until_ready()
            best[k] = min(best[k], time.perf_counter() - start)
    return best


def prune(name, model, strengths, rate, steps, refit):
    learn, test = digits()
    start = model.init(jax.random.key(0), test[0][:1])
    dense = train(model, start, optax.adam(optax.cosine_decay_schedule(rate, steps)), steps, learn)

    def units(lam):
        return jr.Units(jr.GroupLasso(lam, groups=jr.by_axis(0)), {"*/kernel": -1, "*/bias": 0})

    penalty = jr.Blocks({f"params/{layer}/*": units(lam) for layer, lam in strengths.items()})
    tx = jr.prox_adamw(optax.cosine_decay_schedule(rate, steps), penalty)
    sparse = train(model, start, tx, steps, learn)
    again = jr.refit_support(optax.adam(optax.cosine_decay_schedule(rate / 10, refit)), penalty)
    sparse = train(model, sparse, again, refit, learn)

    small, kept = jr.compact(sparse, jr.sequential(sparse))
    widths = [len(units) for units in kept.values()]
    cut = MLP(tuple(widths)) if isinstance(model, MLP) else CNN(tuple(widths[:2]), tuple(widths[2:]))
    difference = float(jnp.max(jnp.abs(cut.apply(small, test[0]) - model.apply(sparse, test[0]))))
    report = jr.sparsity(sparse, penalty)
    before, after = (sum(leaf.size for leaf in jax.tree.leaves(tree)) for tree in (start, small))
    channels = [leaf for leaf in report.leaves if "Conv" in leaf.path and leaf.path.endswith("kernel")]
    slow, fast = seconds([(model, sparse), (cut, small)], test[0])
    print(f"\n{name}\n{report}")
    figures = {
        "dense": accuracy(model, dense, test),
        "sparse": accuracy(model, sparse, test),
        "weights_gone": 1 - after / before,
        "channels_gone": sum(c.zero_groups for c in channels) / max(sum(c.groups for c in channels), 1),
        "difference": difference,
        "speedup": slow / fast,
    }
    print(name, *(f"{key}={value:.4g}" for key, value in figures.items()))
    return figures


if __name__ == "__main__":
    prune("MLP", MLP(), {"Dense_0": 4e-4, "Dense_1": 4e-4}, rate=5e-3, steps=1500, refit=300)
    prune("CNN", CNN(), {"Conv_0": 1.5e-3, "Conv_1": 1e-3, "Dense_0": 1e-4}, rate=1e-2, steps=700, refit=200)
