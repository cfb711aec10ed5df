"""Training sweeps: every lane is what a loop of its own would be, and a sweep that was killed ends with the same bits."""

import subprocess
import sys
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax
import pytest

import jaxreg as jr
from jaxreg import Result
from jaxreg.training import _plan
from tests.killed_sweep import predict, start, table

X, Y = table()
LAMS = [0.3, 0.03, 0.003]
PENALTY = jr.Masked(jr.L1(), include="hidden")
OBJECTIVE = jr.Objective(jr.Squared(), PENALTY, predict)
TX = jr.prox_adamw(0.05, PENALTY)
BATCHES = jr.minibatches((X, Y), 8, seed=1)
HELD_OUT = (X[:6], Y[:6])
START = start(jax.random.key(0))


def near_miss(params, data):
    return jnp.mean(jnp.abs(predict(params, data[0]) - data[1]) < 0.5)


def sweep(init=START, objective=OBJECTIVE, batches=BATCHES, tx=TX, lams=LAMS, **rest):
    return jr.train_sweep(init, objective, batches, tx, lams, **{"epochs": 3, **rest})


def by_hand(init, loss, tx, lam, epochs, batches=BATCHES):
    """The loop that a user would write for one strength."""
    params, state = init, tx.init(init)
    curve = []

    @jax.jit
    def step(params, state, batch):
        value, grads = jax.value_and_grad(loss)(params, batch, lam)
        updates, state = tx.update(grads, state, params)
        return optax.apply_updates(params, updates), state, value

    for epoch in range(epochs):
        values = []
        for batch in batches(epoch):
            params, state, value = step(params, state, batch)
            values.append(value)
        curve.append(np.mean(values))
    return params, np.array(curve)


def close(one, other, tol=1e-10):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=tol, atol=tol), one, other)


@pytest.mark.slow
@pytest.mark.parametrize("grouped", [False, True], ids=["one batch", "groups in threads"])
def test_lanes_are_single_runs(grouped, x64, monkeypatch):
    if grouped:  # two lanes a group, the last filled up
        monkeypatch.setattr(_plan, "CACHE", 2 * 8 * 24)
    seeds = [0, 5]
    found = sweep(start, seeds=seeds, validate=HELD_OUT, metrics={"near": near_miss})
    assert found.zeros.shape == found.epoch.shape == found.result.shape == (3, 2)
    assert found.params["hidden"].shape == (3, 2, 5, 4)
    assert (found.epoch == 2).all()
    assert (found.result == Result.MAX_STEPS).all()
    for i, lam in enumerate(LAMS):
        for s, seed in enumerate(seeds):
            tx = jr.prox_adamw(0.05, PENALTY.at(lam))
            params, curve = by_hand(start(jax.random.key(seed)), lambda p, b, _: OBJECTIVE.risk(p, b), tx, lam, 3)
            mine = found.at(lam, seed)
            close(mine, params)
            close(found.history["train"][i, s], curve)
            assert found.zeros[i, s] == pytest.approx(
                np.mean(np.asarray(params["hidden"]) == 0)
            )  # the output layer is not penalized
            close(found.final("validation")[i, s], OBJECTIVE.risk(params, HELD_OUT))
            close(found.final("near")[i, s], near_miss(params, HELD_OUT))
    assert found.zeros[0].min() > 0.3 > found.zeros[-1].max()


@pytest.mark.slow
def test_functions_wrappers_smooth_penalties_and_models(x64):
    init = jax.tree.map(lambda leaf: jnp.asarray(leaf, float), START)
    # A function f(params, batch), whose penalty is that of tx, and a wrapper around the prox.
    tx = optax.MultiSteps(jr.prox_sgd(0.1, PENALTY), 2)
    found = sweep(init, OBJECTIVE.risk, tx=tx, lams=[0.1])
    inner = optax.MultiSteps(jr.prox_sgd(0.1, PENALTY.at(0.1)), 2).gradient_transformation()
    close(found.at(0.1), by_hand(init, lambda p, b, _: OBJECTIVE.risk(p, b), inner, 0.1, 3)[0])

    # A smooth penalty, in an optimizer without prox.
    ridge = jr.Objective(jr.Squared(), jr.L2(), predict)
    found = sweep(init, ridge, tx=optax.sgd(0.1), lams=[0.5, 2.0])
    for lam in (0.5, 2.0):
        params, _ = by_hand(init, lambda p, b, lam: ridge.at(lam).value(p, b), optax.sgd(0.1), lam, 3)
        close(found.at(lam), params)
    assert not found.zeros.any()

    # A model that is callable, has functions for leaves, and an integer; minibatches with weights.
    model = (eqx.nn.MLP(5, "scalar", 3, 1, key=jax.random.key(0)), jnp.arange(2))
    weighted = [(X[:9], Y[:9], np.ones(9)), (X[9:], Y[9:], np.ones(13))]
    penalty = jr.Masked(jr.L1(), include="0/layers/*/weight")
    objective = jr.Objective(jr.Squared(), penalty, lambda model, X: jax.vmap(model[0])(X))
    found = sweep(model, objective, weighted, jr.prox_sgd(0.1, penalty), [0.05, 1.0])
    assert found.at(1.0)[0].activation is model[0].activation
    assert found.at(1.0)[1].tolist() == [0, 1]
    assert not found.at(1.0)[0].layers[0].weight.any()
    assert np.isfinite(found.at(0.05)[0](X[0]))


def test_the_start_is_not_consumed_and_nothing_compiles_twice(compiled):
    sweep(validate=HELD_OUT)
    compiled.clear()
    again = sweep(lams=[0.2, 0.1, 0.01], validate=HELD_OUT)
    assert compiled == []
    assert again.lams.tolist() == [0.2, 0.1, 0.01]
    assert START["hidden"].sum() != 0


def test_patience_keeps_the_best_epoch_of_each_lane():
    # Held-out data of the opposite sign: what learns gets worse at once, what cannot learn stays.
    zero = jax.tree.map(jnp.zeros_like, START)
    objective = jr.Objective(jr.Squared(), jr.L1(), lambda params, X: X @ params)
    tx, stream = jr.prox_sgd(0.1, jr.L1()), [(X, X[:, 0])]
    done = []
    found = jr.train_sweep(
        zero["hidden"][:, 0], objective, stream, tx, [0.01, 5.0], epochs=30, validate=(X, -X[:, 0]), patience=2,
        progress=lambda *step: done.append(step),
    )  # fmt: skip
    assert (found.result == Result.STALLED).all()
    assert found.epoch.tolist() == [0, 0]
    assert found.history["train"].shape == (2, 3)
    assert done[-2:] == [(3, 30), (30, 30)]
    close(found.at(0.01), jr.train_sweep(zero["hidden"][:, 0], objective, stream, tx, [0.01], epochs=1).at(0.01), 1e-6)

    # One lane goes on where another stops: it has the epochs that it needs, and the other's curve ends.
    offset = jr.train_sweep(
        jnp.zeros(5), objective, stream, tx, [0.0, 5.0], epochs=12, validate=(X, X[:, 0]), patience=2
    )
    assert offset.epoch.tolist() == [11, 0]
    assert np.isnan(offset.history["validation"][1, 3:]).all()
    assert np.isfinite(offset.history["validation"][0]).all()


def test_a_lane_that_diverges_disturbs_no_other():
    objective = jr.Objective(jr.Squared(), jr.L2(), lambda params, X: X @ params)
    stream = [(X, X[:, 0])] * 40
    with pytest.warns(RuntimeWarning, match="1 of 2 lanes became NaN or infinite"):
        found = jr.train_sweep(jnp.zeros(5), objective, stream, optax.sgd(0.1), [0.1, 1e3], epochs=4)
    assert found.result.tolist() == [Result.MAX_STEPS, Result.DIVERGED]
    assert np.isfinite(found.params).all()
    alone = jr.train_sweep(jnp.zeros(5), objective, stream, optax.sgd(0.1), [0.1], epochs=4)
    close(found.at(0.1), alone.at(0.1), 1e-6)
    assert np.isnan(found.final("train")[1]) == (found.epoch[1] == -1)


@pytest.mark.slow
def test_chunks_fit_the_memory():
    whole = sweep(start, seeds=2, lams=np.geomspace(1, 1e-3, 5))
    told = []
    chunked = sweep(
        start, seeds=2, lams=np.geomspace(1, 1e-3, 5), memory=6_000, progress=lambda *step: told.append(step)
    )
    assert told[-1][1] > 3  # epochs, over all chunks
    assert told[-1][0] == told[-1][1]
    close(chunked.params, whole.params, 1e-5)
    close(chunked.history, whole.history, 1e-5)
    close(sweep(memory=1, lams=[0.1, 0.2]).params, sweep(lams=[0.1, 0.2]).params, 1e-5)  # one lane at a time


@pytest.mark.slow
def test_killed_and_resumed_ends_with_the_same_bits(tmp_path):
    script = Path(__file__).with_name("killed_sweep.py")

    def process(*arguments):
        return subprocess.run([sys.executable, script, *map(str, arguments)], capture_output=True, text=True)

    assert process(tmp_path / "whole.npz").returncode == 0
    killed = process(tmp_path / "never.npz", tmp_path / "here", 5)
    assert killed.returncode == -9, killed.stderr
    assert not (tmp_path / "never.npz").exists()
    resumed = process(tmp_path / "resumed.npz", tmp_path / "here")
    assert resumed.returncode == 0, resumed.stderr
    with np.load(tmp_path / "whole.npz") as one, np.load(tmp_path / "resumed.npz") as other:
        assert set(one) == set(other)
        for name in one:
            assert one[name].tobytes() == other[name].tobytes(), name


def test_a_checkpoint_knows_its_sweep(tmp_path):
    options = {"epochs": 2, "lams": [0.1, 0.2], "checkpoint": tmp_path}
    first, told = sweep(**options), []
    again = sweep(**options, progress=lambda *step: told.append(step))
    assert told == [(2, 2)]  # nothing is trained again
    np.testing.assert_array_equal(again.params["hidden"], first.params["hidden"])
    longer, fresh = sweep(**{**options, "epochs": 4}), sweep(lams=[0.1, 0.2], epochs=4)
    assert longer.params["hidden"].tobytes() == fresh.params["hidden"].tobytes()
    assert longer.history["train"].tobytes() == fresh.history["train"].tobytes()
    for change, words in (
        ({"lams": [0.1, 0.3]}, "other values of lams;"),
        ({"tx": jr.prox_adamw(0.06, PENALTY)}, "the objective, tx, "),
        ({"init": jax.tree.map(jnp.ones_like, START)}, "the parameters at the start;"),
        ({"validate": HELD_OUT}, "validate, measure or metrics;"),
    ):
        with pytest.raises(ValueError, match=f"checkpoint holds another sweep.*{words}"):
            sweep(**{**options, **change})


def test_the_result_is_read_and_drawn():
    found = sweep(start, seeds=2, validate=HELD_OUT, metrics={"near": near_miss})
    assert repr(found).startswith("TrainSweep(3 strengths × 2 seeds, 3 epochs, ")
    display = found.plot()
    assert display.ax_.get_ylabel() == "near"
    np.testing.assert_allclose(display.lines_[0].get_xdata(), 100 * found.zeros[::-1].mean(axis=1))
    assert found.plot("validation").ax_.get_ylabel() == "held-out loss"
    plt.close("all")
    with pytest.raises(ValueError, match=r"lam must be one of lams, got 0\.2; the nearest is 0\.3"):
        found.at(0.2)
    with pytest.raises(ValueError, match=r"seed must be one of \(0, 1\), got 7"):
        found.at(0.3, 7)
    with pytest.raises(
        ValueError, match="there is no curve 'accuracy'; those there are: near, train, validation, zeros"
    ):
        found.plot("accuracy")
    with pytest.raises(ValueError, match="zeros and score must have shape"):
        jr.plots.FrontierDisplay(lams=[1.0], zeros=[0.5, 0.6], score=[1.0, 2.0])


FISTA = jr.fista(0.1, PENALTY)
BAD = {
    "lams empty": ({"lams": []}, ValueError, "lams is empty"),
    "lams negative": ({"lams": [-1.0]}, ValueError, "lams must be finite and not negative, got -1"),
    "lams words": ({"lams": ["a"]}, TypeError, "lams must be a list of numbers"),
    "epochs": ({"epochs": 0}, ValueError, "epochs must be"),
    "epochs float": ({"epochs": 1.5}, TypeError, "epochs must be an integer, got 1.5"),
    "every": ({"every": 0}, ValueError, "every must be"),
    "memory": ({"memory": "2 GB"}, TypeError, "memory must be a real number"),
    "patience": ({"patience": 2}, ValueError, "patience needs held-out data"),
    "metrics": ({"metrics": [near_miss], "validate": HELD_OUT}, TypeError, "metrics must be a dict"),
    "metric name": ({"metrics": {"zeros": near_miss}, "validate": HELD_OUT}, ValueError, "the name of another curve"),
    "measure": ({"measure": "loss", "validate": HELD_OUT}, TypeError, "measure must be a function"),
    "vector": ({"measure": lambda p, d: d[1], "validate": HELD_OUT}, ValueError, "measure must return one number"),
    "batches": ({"batches": 3}, TypeError, "batches must be an iterable"),
    "once": ({"batches": iter([(X, Y)])}, ValueError, "batches can be read only once"),
    "none": ({"batches": []}, ValueError, "batches has no minibatch in epoch 0"),
    "epoch": ({"batches": lambda epoch: 3}, TypeError, r"batches\(0\) must return an iterable"),
    "not pairs": ({"batches": [X]}, TypeError, r"data must be \(X, y\)"),
    "tx": ({"tx": 0.1}, TypeError, "tx must be an optax GradientTransformation"),
    "objective": ({"objective": 0.1}, TypeError, "objective must be a jaxreg Objective or a function"),
    "no prox": ({"tx": optax.sgd(0.1)}, ValueError, "tx holds no penalty"),
    "no penalty": ({"objective": OBJECTIVE.risk, "tx": optax.sgd(0.1)}, ValueError, "tx holds no penalty"),
    "fista": ({"tx": FISTA}, ValueError, "tx is fista, which needs full gradients"),
    "two": ({"tx": optax.chain(TX, TX)}, ValueError, "tx holds 2 penalties"),
    "other": ({"tx": jr.prox_sgd(0.1, jr.L1())}, ValueError, "objective and tx must have the same penalty"),
    "own lam": ({"tx": jr.prox_sgd(0.1, PENALTY, lam=0.1)}, ValueError, "no update of tx depends on the strength"),
    "path": ({"tx": jr.prox_sgd(0.1, jr.Masked(jr.L1(), include="conv")), "objective": OBJECTIVE.risk}, ValueError, "conv"),
    "function": ({"init": start}, TypeError, "init is a function, which needs seeds"),
    "seeds": ({"seeds": 2}, TypeError, "init must be a function of a jax.random.key"),
    "no seeds": ({"init": start, "seeds": []}, ValueError, "seeds must be at least one"),
    "twice": ({"init": start, "seeds": [1, 1]}, ValueError, "seeds must be at least one, and different"),
    "nothing": ({"init": {"a": jnp.arange(3)}}, ValueError, "init has no floating-point arrays"),
    "file": ({"checkpoint": __file__}, ValueError, "checkpoint must be a directory"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_input(case):
    change, kind, words = BAD[case]
    with pytest.raises(kind, match=words):
        sweep(**change)


def test_bad_minibatches():
    with pytest.raises(ValueError, match="size must be"):
        jr.minibatches((X, Y), 0)
    with pytest.raises(ValueError, match=r"one number of rows, and at least one; they have \[5, 22\]"):
        jr.minibatches((X, Y[:5]), 4)
    with pytest.raises(ValueError, match="arrays with one row for each sample"):
        jr.minibatches(3.0, 4)
