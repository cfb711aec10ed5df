"""Laws that every loss of the catalogue obeys, and two that are written here as a user would write them."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.scipy.special import xlogy

import jaxreg as jr
from jaxreg import Loss
from jaxreg.losses import Joint, Nonsmooth
from tests.catalogue import LOSSES, LossCase, count, normal


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class LogCosh(Loss):
    """δ² log cosh((η − y)/δ): derivatives come from the base class."""

    delta: float = 1.5

    def value(self, pred, target):
        r = jnp.abs(pred - target) / self.delta
        return self.delta**2 * (r + jax.nn.softplus(-2 * r) - jnp.log(2.0))

    def conjugate(self, dual, target):
        t = jnp.clip(dual / self.delta, -1, 1)
        entropy = xlogy(1 + t, 1 + t) + xlogy(1 - t, 1 - t)
        inside = jnp.abs(dual) <= self.delta * (1 + 1e-6)
        return jnp.where(inside, self.delta**2 / 2 * entropy + dual * target, jnp.inf)

    def mean(self, pred):
        return pred

    @property
    def curvature(self):
        return 1.0

    def check(self, target):
        pass


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Counts(Loss):
    """exp(η) − yη, whose curvature has no bound."""

    def value(self, pred, target):
        return jnp.exp(pred) - target * pred

    def conjugate(self, dual, target):
        rate = jnp.maximum(dual + target, 0)
        return jnp.where(dual >= -target * (1 + 1e-6), xlogy(rate, rate) - rate, jnp.inf)

    def mean(self, pred):
        return jnp.exp(pred)

    @property
    def curvature(self):
        return np.inf

    def check(self, target):
        pass


CASES = [
    *LOSSES,
    LossCase("custom-log_cosh", LogCosh(), normal),
    LossCase("custom-counts", Counts(), count, reach=(-1e4, 80.0)),
]
every = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
N = 1000


def shape(case):
    return (N, case.outputs) if case.outputs else (N,)


def sample(case, *, seed=0, spread=3.0):
    rng = np.random.default_rng(seed)
    pred = rng.normal(size=shape(case)) * spread
    pred[:3] = 0.0
    return pred, case.targets(rng, N)


def call(case, method, *args):
    return np.asarray(jax.jit(getattr(type(case.loss), method))(case.loss, *args))


def inner(case, a, b):
    """Product, summed over the outputs that belong to one sample."""
    return np.sum(a * b, axis=-1) if case.outputs else a * b


def test_kinds_are_told_by_type():
    for case in CASES:
        assert isinstance(case.loss, Joint) == bool(case.outputs)
        assert isinstance(case.loss, Nonsmooth) <= np.isinf(case.loss.curvature)


@every
def test_fenchel_young(case: LossCase, x64):
    """ℓ(η) + ℓ*(u) ≥ uη, with equality where u is the derivative at η."""
    pred, target = sample(case)
    value = call(case, "value", pred, target)
    own, other = call(case, "derivative", pred, target), call(case, "derivative", pred[::-1].copy(), target)
    size = 1 + np.abs(value) + np.sqrt(inner(case, pred, pred)) * (1 + np.sqrt(inner(case, own, own)))
    equal = value + call(case, "conjugate", own, target) - inner(case, own, pred)
    np.testing.assert_allclose(equal / size, 0, atol=1e-13)
    for dual in (other, 0.3 * own, own + np.random.default_rng(1).normal(size=shape(case))):
        conjugate = call(case, "conjugate", dual, target)
        assert not np.isnan(conjugate).any()
        assert (value + conjugate - inner(case, dual, pred) >= -1e-13 * size).all()
    # Any mixture of derivatives is in the domain: the dual points of solvers are such.
    assert np.isfinite(call(case, "conjugate", 0.3 * own + 0.7 * other, target)).all()
    assert np.isfinite(call(case, "conjugate", 0.3 * own, target)).all()


@every
def test_derivatives_agree_with_finite_differences(case: LossCase, x64):
    """Along any direction; for losses that are elementwise that says all of it."""
    pred, target = sample(case, seed=2)
    move = np.random.default_rng(3).uniform(0.5, 1.5, size=shape(case))
    h = 1e-6 * move
    slope = inner(case, call(case, "derivative", pred, target), move)
    difference = (call(case, "value", pred + h, target) - call(case, "value", pred - h, target)) / 2e-6
    np.testing.assert_allclose(slope, difference, rtol=3e-7, atol=1e-8)
    bend = call(case, "hessian_product", pred, target, move)
    difference = (call(case, "derivative", pred + h, target) - call(case, "derivative", pred - h, target)) / 2e-6
    np.testing.assert_allclose(bend, difference, rtol=3e-7, atol=1e-8)


@every
def test_closed_forms_agree_with_automatic_differentiation(case: LossCase, x64):
    """What a loss overrides is what the base class would compute."""
    pred, target = sample(case, seed=3)
    kind = Joint if case.outputs else Loss
    for method, *more in (("derivative",), ("second_derivative",), ("hessian_product", pred[::-1].copy())):
        automatic = jax.jit(getattr(kind, method))(case.loss, pred, target, *more)
        np.testing.assert_allclose(call(case, method, pred, target, *more), automatic, rtol=1e-11, atol=1e-12)


def spectrum(case, pred, target):
    """Largest eigenvalue of each sample's Hessian."""
    if not case.outputs:
        return call(case, "second_derivative", pred, target)
    units = (np.broadcast_to(unit, pred.shape) for unit in np.eye(case.outputs))
    hessian = np.stack([call(case, "hessian_product", pred, target, unit) for unit in units], axis=-1)
    np.testing.assert_allclose(np.einsum("nkk->nk", hessian), call(case, "second_derivative", pred, target), atol=1e-15)
    return np.linalg.eigvalsh(hessian).max(axis=1)


@every
def test_curvature_is_the_least_bound_of_the_second_derivative(case: LossCase, x64):
    """Also seen as the Lipschitz constant of the derivative, which holds at kinks too."""
    rng = np.random.default_rng(4)
    low, high = max(case.reach[0], -50.0), min(case.reach[1], 50.0)
    target = case.targets(rng, N)
    if np.isinf(case.loss.curvature) and not isinstance(case.loss, Nonsmooth):
        target = 1e8 * target  # the bound is over targets too, and these losses take all that are not negative
    line = np.linspace(low, high, N // 2)
    if case.outputs:  # two outputs that are as likely, and the others hardly
        pred = np.full(shape(case), low)
        pred[: N // 2, 0], pred[N // 2 :, :2] = line, 0
    else:
        pred = np.concatenate([line, np.clip(target[N // 2 :], low, high)])
    gaps = [1e-7] if isinstance(case.loss, Nonsmooth) else [1e-3, 1e-2, 1.0]
    step = rng.choice(gaps, size=(N, *[1] * (pred.ndim - 1)))
    near = pred + step * (np.array([1.0, -1.0, 0.0, 0.0]) if case.outputs else 1.0)
    second = spectrum(case, pred, target)
    moved = near - pred
    jump = call(case, "derivative", near, target) - call(case, "derivative", pred, target)
    quotient = np.sqrt(inner(case, jump, jump) / inner(case, moved, moved))
    if np.isinf(case.loss.curvature):
        assert max(second.max(), quotient.max()) > 1e6
    else:
        bound = float(case.loss.curvature)
        assert second.max() <= bound * (1 + 1e-12)
        assert quotient.max() <= bound * (1 + 1e-9)
        assert max(second.max(), quotient.max()) >= 0.99 * bound


@every
def test_loss_is_convex(case: LossCase, x64):
    """By chords of the value, and by a derivative that never falls."""
    pred, target = sample(case, seed=5)
    other = np.random.default_rng(6).normal(size=shape(case)) * 8
    for share in (0.5, 0.1):
        chord = share * call(case, "value", pred, target) + (1 - share) * call(case, "value", other, target)
        middle = call(case, "value", share * pred + (1 - share) * other, target)
        assert (middle <= chord + 1e-13 * (1 + np.abs(chord))).all()
    rise = call(case, "derivative", other, target) - call(case, "derivative", pred, target)
    assert (inner(case, rise, other - pred) >= -1e-13).all()
    assert (call(case, "second_derivative", pred, target) >= 0).all()


@every
def test_deviance_is_twice_the_excess_over_the_best_prediction(case: LossCase, x64):
    """Not negative; zero where the mean is the target; a difference of deviances is twice that of losses."""
    pred, target = sample(case, seed=7)
    deviance = call(case, "deviance", pred, target)
    assert (deviance >= -1e-13 * (1 + np.abs(call(case, "value", pred, target)))).all()
    fitted = call(case, "mean", pred)
    size = 1 + (np.abs(fitted).max(axis=-1) if case.outputs else np.abs(fitted))
    np.testing.assert_allclose(call(case, "deviance", pred, fitted) / size, 0, atol=1e-12)
    other = pred + (np.arange(case.outputs) if case.outputs else 1.0)
    gain = 2 * (call(case, "value", other, target) - call(case, "value", pred, target))
    np.testing.assert_allclose(call(case, "deviance", other, target) - deviance, gain, rtol=1e-10, atol=1e-10)


@every
def test_mean_is_the_inverse_link(case: LossCase, x64):
    """The loss is stationary where the target is the mean, and the mean rises with the prediction."""
    pred, _ = sample(case, seed=8)
    mean = call(case, "mean", pred)
    np.testing.assert_allclose(call(case, "derivative", pred, mean) / (1 + np.abs(mean)), 0, atol=1e-14)
    if type(case.loss).link is not Loss.link:
        near = call(case, "mean", 0.3 * pred)
        np.testing.assert_allclose(call(case, "mean", call(case, "link", near)), near, rtol=1e-12)
    line = np.zeros(shape(case))
    (line[:, 0] if case.outputs else line)[:] = np.linspace(-20.0, 20.0, N)
    steps = np.diff(call(case, "mean", line), axis=0)
    steps = steps[:, 0] if case.outputs else steps
    assert (steps >= 0).all()
    assert (steps[np.abs(np.linspace(-20.0, 20.0, N)[1:]) < 0.9] > 0).all()  # some means have ends that are reached


@every
def test_float32_survives_extreme_predictions(case: LossCase, dtype):
    """No overflow and no NaN, in values, derivatives, and the conjugate at the ends of its domain."""
    rng = np.random.default_rng(9)
    size = np.prod(shape(case))
    far = np.geomspace(1.0, 1e4, size // 2)
    pred = rng.permutation(np.clip(np.concatenate([-far, far]), *case.reach)).reshape(shape(case)).astype(dtype)
    target = case.targets(rng, N).astype(dtype)
    for method in ("value", "derivative", "second_derivative", "deviance"):
        result = call(case, method, pred, target)
        assert result.dtype == dtype
        assert np.isfinite(result).all(), method
    assert np.isfinite(call(case, "mean", np.minimum(pred, dtype.type(80)))).all()  # beyond, exp(η) overflows
    dual = call(case, "derivative", pred, target)
    for share in (0.0, 0.1, 0.3, 0.45):  # the same again, but for rounding
        mixed = dual.dtype.type(share) * dual + dual.dtype.type(1 - share) * dual
        assert np.isfinite(call(case, "conjugate", mixed, target)).all()
    assert (call(case, "second_derivative", pred, target) >= 0).all()


@every
def test_float32_agrees_with_float64(case: LossCase, x64):
    single = [x.astype(np.float32) for x in sample(case, seed=10)]
    pred = single[0].astype(np.float64)
    double = [pred, np.asarray(case.loss.encode(single[1], pred))]
    for method in ("value", "derivative", "second_derivative", "deviance"):
        found = call(case, method, *single)
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, call(case, method, *double), rtol=1e-5, atol=3e-6)
    expected = call(case, "conjugate", (1 - 1e-6) * call(case, "derivative", *double), double[1])
    found = call(case, "conjugate", call(case, "derivative", *single), single[1])
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


@every
def test_losses_batch(case: LossCase, x64):
    """Samples do not see each other: several responses, and a batch of batches."""
    pred, target = sample(case, seed=11)
    whole = call(case, "value", pred, target)
    pred, target = (x.reshape(-1, 4, *x.shape[1:]) for x in (pred, target))
    np.testing.assert_allclose(call(case, "value", pred, target).ravel(), whole, rtol=1e-13, atol=1e-14)
    np.testing.assert_allclose(jax.vmap(case.loss.value)(pred, target).ravel(), whole, rtol=1e-13, atol=1e-14)


@every
def test_gradients_in_numbers_and_targets_are_finite(case: LossCase, x64):
    """Every number of a loss is a leaf: its derivative is there, at kinks and at the ends of the domain too."""
    pred, target = sample(case, seed=12, spread=1.0)
    far = np.where(np.arange(N) % 2 == 0, 40.0, -40.0).reshape(N, *[1] * (pred.ndim - 1)) + pred

    def total(loss, pred, far):
        values = jnp.sum(loss.value(pred, target)) + jnp.sum(loss.value(far, target))
        # The conjugate is steep at the ends of its domain, and 0.9 of a derivative is inside.
        return values + jnp.sum(loss.conjugate(0.9 * loss.derivative(pred, target), target))

    for slope in jax.tree.leaves(jax.jit(jax.grad(total, argnums=(0, 1, 2)))(case.loss, jnp.asarray(pred), far)):
        assert np.isfinite(slope).all()


def test_prox_of_a_loss_is_the_best_of_a_fine_grid(x64):
    """The pinball prox, against all of a grid, for steps from tiny to huge."""
    rng = np.random.default_rng(13)
    pred, target = rng.normal(size=60) * 2, rng.normal(size=60) * 2
    target[:5] = pred[:5]
    for q in (0.5, 0.9):
        loss = jr.Quantile(q)
        for step in (1e-3, 0.7, 50.0):
            found = np.asarray(loss.prox(jnp.asarray(pred), jnp.asarray(target), step))
            grid = np.concatenate([np.linspace(-10, 10, 4001), target])[:, None]
            objective = 0.5 * (grid - pred) ** 2 + step * np.asarray(
                loss.value(jnp.asarray(grid + 0 * pred), jnp.asarray(target))
            )
            own = 0.5 * (found - pred) ** 2 + step * np.asarray(loss.value(jnp.asarray(found), jnp.asarray(target)))
            assert (own <= objective.min(axis=0) + 1e-12).all()
            assert (np.abs(found - grid[objective.argmin(axis=0), 0]) <= 0.01).all()


# Targets


@pytest.mark.parametrize(
    ("loss", "target", "match"),
    [
        (jr.Squared(), [2.0, 2.0, 2.0], "y is constant .*2"),
        (jr.Squared(), [0.0, np.nan, 1.0], "y must be finite, got nan"),
        (jr.Squared(), [0.0, np.inf, 1.0], "y must be finite, got inf"),
        (jr.Huber(), [0.0, np.nan, 1.0], "y must be finite, got nan"),
        (jr.Quantile(), [1.0, 1.0], "y is constant"),
        (jr.Logistic(), [0.0, 1.0, 2.0], r"y must be 0 or 1 .*logistic loss, got 2"),
        (jr.Logistic(), [0.0, 1.0, -1.0], r"y must be 0 or 1 .*logistic loss, got -1"),
        (jr.Logistic(), [0.0, 1.0, np.nan], r"y must be 0 or 1 .*logistic loss, got nan"),
        (jr.Logistic(), [1.0, 1.0, 1.0], r"y has one class only \(every value is 1\)"),
        (jr.SquaredHinge(), [-1.0, 1.0, 1.0], r"y must be 0 or 1 .*hinge loss, got -1"),
        (jr.SquaredHinge(), [0.0, 0.0], r"y has one class only \(every value is 0\)"),
        (jr.Poisson(), [1.0, -1.0], "y must be finite and at least 0 for the Poisson loss, got -1"),
        (jr.Poisson(), [0.0, 0.0], "y is constant"),
        (jr.Gamma(), [1.0, 0.0], "y must be finite and positive for the gamma loss, got 0"),
        (jr.Tweedie(), [1.0, np.nan], "Tweedie loss, got nan"),
        (jr.NegativeBinomial(), [1.0, -0.5], "negative binomial loss, got -0.5"),
        (jr.Multinomial(), [0.0, 0.5, 1.0], "y must be class labels 0, 1, 2, …, got 0.5"),
        (jr.Multinomial(), [0.0, -1.0, 1.0], "y must be class labels .*got -1"),
        (jr.Multinomial(), [0, 2, 0], "y has no sample of class 1"),
        (jr.Multinomial(), [0, 0], "y has one class only"),
        (jr.Multinomial(), [[0.5, 0.6], [1.0, 0.0]], "shares in y must sum to 1, got 1.1 in row 0"),
        (jr.Multinomial(), [[1.0, 0.0], [1.0, 0.0]], "y has no sample of class 1"),
    ],
)
def test_bad_targets_are_refused(loss, target, match):
    with pytest.raises(ValueError, match=match):
        loss.check(np.array(target))


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: jr.Huber(delta=0.0), "delta must be positive and finite, got 0"),
        (lambda: jr.Huber(delta=np.inf), "delta must be positive and finite, got inf"),
        (lambda: jr.Quantile(q=1.0), "q must be strictly between 0 and 1, got 1"),
        (lambda: jr.Quantile(q=0.0), "q must be strictly between 0 and 1, got 0"),
        (
            lambda: jr.Tweedie(power=2),
            r"power must be strictly between 1 and 2 \(Gamma\(\) is the loss of that power\), got 2",
        ),
        (lambda: jr.Tweedie(power=1.0), r"\(Poisson\(\) is the loss"),
        (lambda: jr.Tweedie(power=0), r"\(Squared\(\) is the loss"),
        (lambda: jr.Tweedie(power=3), "power must be strictly between 1 and 2, got 3"),
        (
            lambda: jr.NegativeBinomial(dispersion=0),
            r"dispersion must be positive and finite \(0 would be Poisson\(\)\), got 0",
        ),
    ],
)
def test_bad_numbers_are_refused(make, match):
    with pytest.raises(ValueError, match=match):
        make()


@every
def test_good_targets_are_accepted(case: LossCase):
    target = case.targets(np.random.default_rng(0), N)
    case.loss.check(target)
    assert case.loss.outputs(target) == shape(case)[1:]
    pred = jnp.zeros(shape(case))
    encoded = case.loss.encode(target, pred)
    assert encoded.shape == pred.shape
    assert encoded.dtype == pred.dtype
    np.testing.assert_array_equal(case.loss.encode(encoded, pred), encoded)
    assert case.loss.weighing(jnp.ones(N)) is case.loss


def test_labels_become_one_hot_rows():
    loss, labels = jr.Multinomial(), np.array([2, 0, 1, 1])
    loss.check(labels)
    assert loss.outputs(labels) == (3,)
    pred = jnp.zeros((4, 3))
    np.testing.assert_array_equal(loss.encode(labels, pred), np.eye(3)[labels])
    np.testing.assert_array_equal(loss.encode(labels.astype(float), pred), np.eye(3)[labels])
    strange = np.asarray(loss.value(pred, loss.encode(np.array([0, 3, -1, 1]), pred)))
    np.testing.assert_array_equal(np.isnan(strange), [False, True, True, False])
    with pytest.raises(ValueError, match=r"predict returned shape \(4,\), but y has shape \(4,\): expected \(n, k\)"):
        loss.encode(labels, jnp.zeros(4))
