"""Where training comes to rest: which equation every variant of the proximal step solves, shown on a lasso."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxreg as jr
from tests.problems import gaussian

N, P, LAM = 64, 12, 0.1
KEY = jax.random.key(0)


def data():
    X, y = gaussian(N, P, 0.5)
    return jnp.asarray(X), jnp.asarray(y)


def loss(b, data):
    X, y = data
    return 0.5 * jnp.mean((X @ b - y) ** 2)


gradient = jax.grad(loss)


def train(tx, steps, size=N, b=None, **extra):
    """Minibatches drawn anew at every step; all rows if `size` is N."""
    X, y = data()
    b = jnp.zeros(P) if b is None else b

    def step(carry, key):
        b, state = carry
        rows = jax.random.permutation(key, N)[:size] if size < N else jnp.arange(N)
        batch = X[rows], y[rows]
        more = {"batch": batch, "data": (X, y)} if extra.get("anchored") else {}
        updates, state = tx.update(gradient(b, batch), state, b, **more)
        return (optax.apply_updates(b, updates), state), None

    return jax.jit(lambda b: jax.lax.scan(step, (b, tx.init(b)), jax.random.split(KEY, steps))[0])(b)


def off(b, penalty):
    """Largest violation of 0 ∈ ∇f + ∂g on all data: the certificate."""
    return float(jnp.max(jnp.abs(penalty.residual(b, gradient(b, data())))))


def decaying(rate, steps):
    return optax.cosine_decay_schedule(rate, steps)


@pytest.mark.parametrize(
    "tx",
    [
        jr.prox_sgd(0.1, jr.L1(LAM)),
        jr.prox_sgd(0.03, jr.L1(LAM), momentum=0.9),
        jr.prox_sgd(0.03, jr.L1(LAM), momentum=0.8, nesterov=True),
        jr.fista(0.1, jr.L1(LAM)),
    ],
    ids=["plain", "momentum", "nesterov", "fista"],
)
def test_on_all_data_the_sgd_family_rests_at_the_lasso(tx, x64):
    b, state = train(tx, 1500)
    b = getattr(state, "params", b)
    assert off(b, jr.L1(LAM)) < 1e-9
    assert 0 < int(jnp.sum(b == 0)) < P


def test_momentum_needs_the_longer_step(x64):
    """With the learning rate as it is, momentum β makes λ smaller by the factor 1 − β."""
    b, _ = train(jr.proximal(optax.sgd(0.03, momentum=0.9), jr.L1(LAM), 0.03), 1500)
    assert off(b, jr.L1(LAM)) > 0.05
    assert off(b, jr.L1(0.1 * LAM)) < 1e-9


@pytest.mark.parametrize(
    "penalty",
    [jr.L1(LAM), jr.GroupLasso(LAM, groups=np.arange(P) // 3, weight=1.0), jr.ElasticNet(LAM, 0.7)],
    ids=["l1", "groups", "net"],
)
def test_a_metric_decides_where_adam_rests(penalty, x64):
    """On minibatches, whose noise the scales D measure."""
    steps, rate = 6000, 0.02
    b, state = train(jr.prox_adamw(decaying(rate, steps), penalty), steps, 16)
    scales = jr.adam_metric()(state.inner)
    assert float(scales.max() / scales.min()) > 1.3
    assert off(b, penalty) < 0.01
    bare, state = train(jr.prox_adamw(decaying(rate, steps), penalty, metric=False), steps, 16)
    scales = jr.adam_metric()(state.inner)
    rescaled = penalty.residual(bare, gradient(bare, data()) / scales) * scales
    assert float(jnp.max(jnp.abs(rescaled))) < 0.01
    assert off(bare, penalty) > 0.03


@pytest.mark.parametrize(
    ("optimizer", "metric"),
    [
        (optax.rmsprop, jr.rms_metric()),
        (lambda rate: optax.rmsprop(rate, eps_in_sqrt=False), jr.rms_metric(eps_in_sqrt=False)),
        (lambda rate: optax.adagrad(10 * rate), jr.adagrad_metric()),
        (optax.nadam, jr.adam_metric()),
    ],
    ids=["rmsprop", "rmsprop-outside", "adagrad", "nadam"],
)
def test_metrics_of_other_optimizers_are_the_ones_they_divide_by(optimizer, metric, x64):
    """The first update is −rate·g/D; and the proximal step in D solves its own equation."""
    b, g = jnp.linspace(-2.0, 2.0, P), gradient(jnp.ones(P), data())
    rate = 0.01
    tx = optimizer(rate)
    updates, state = tx.update(g, tx.init(b), b)
    length = rate * (10 if isinstance(state[0], optax.ScaleByRssState) else 1)
    scales = metric(state)
    if not isinstance(state[0], optax.ScaleByAdamState):
        np.testing.assert_allclose(updates, -length * g / scales, rtol=1e-6)
    prox = jr.proximal(tx, jr.L1(0.5), length, metric=metric)
    new = optax.apply_updates(b, prox.update(g, prox.init(b), b)[0])
    equation = jr.L1(0.5).residual(new, scales * (new - (b + updates)) / length)
    assert float(jnp.max(jnp.abs(equation))) < 1e-6 * float(jnp.max(scales)) / length


def test_decoupled_decay_adds_the_scales_times_the_parameters(x64):
    steps, decay = 6000, 0.5
    b, state = train(jr.prox_adamw(decaying(0.02, steps), jr.L1(LAM), weight_decay=decay), steps, 16)
    scales = jr.adam_metric()(state.inner)
    grads = gradient(b, data()) + decay * scales * b
    assert float(jnp.max(jnp.abs(jr.L1(LAM).residual(b, grads)))) < 0.01
    assert off(b, jr.L1(LAM)) > 0.025


def test_svrg_reaches_on_minibatches_what_constant_steps_cannot(x64):
    penalty, rate, steps = jr.L1(LAM), 0.05, 4000
    noisy, _ = train(jr.prox_sgd(rate, penalty), steps, 8)
    reduced = jr.proximal(optax.chain(jr.svrg(gradient, every=40), optax.sgd(rate)), penalty, rate)
    b, _ = train(reduced, steps, 8, anchored=True)
    assert off(noisy, penalty) > 0.01
    assert off(b, penalty) < 1e-9


def test_svrg_needs_its_arguments():
    tx = jr.svrg(gradient, every=4)
    state = tx.init(jnp.zeros(2))
    with pytest.raises(ValueError, match="svrg needs batch: call update"):
        tx.update(jnp.zeros(2), state, jnp.zeros(2), data=data())
    with pytest.raises(ValueError, match="every must be"):
        jr.svrg(gradient, every=0)
    with pytest.raises(TypeError, match="every must be an integer"):
        jr.svrg(gradient, every=2.5)
    with pytest.raises(TypeError, match="gradient must be a function"):
        jr.svrg(None, every=2)


def test_the_relaxed_lasso(x64):
    """Least squares on the support that the lasso found, and nothing elsewhere."""
    sparse, _ = train(jr.prox_sgd(0.1, jr.L1(LAM)), 1500)
    support = np.asarray(sparse != 0)
    b, _ = train(jr.refit_support(optax.sgd(0.1, momentum=0.9)), 1500, b=sparse)
    X, y = data()
    expected = np.zeros(P)
    expected[support] = np.linalg.lstsq(np.asarray(X)[:, support], np.asarray(y), rcond=None)[0]
    np.testing.assert_allclose(b, expected, atol=1e-9)
    np.testing.assert_array_equal(np.asarray(b)[~support], 0.0)
