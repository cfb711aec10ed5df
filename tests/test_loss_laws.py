"""Laws that every loss of the catalogue obeys, and two that are written here as a user would write them."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.scipy.special import xlogy

from jaxreg import Logistic, Loss, Squared
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


def sample(case, *, seed=0, spread=3.0):
    rng = np.random.default_rng(seed)
    pred = rng.normal(size=N) * spread
    pred[:3] = 0.0
    return pred, case.targets(rng, N)


def call(case, method, *args):
    return np.asarray(jax.jit(getattr(type(case.loss), method))(case.loss, *args))


@every
def test_fenchel_young(case: LossCase, x64):
    """ℓ(η) + ℓ*(u) ≥ uη, with equality where u is the derivative at η."""
    pred, target = sample(case)
    value = call(case, "value", pred, target)
    own, other = call(case, "derivative", pred, target), call(case, "derivative", pred[::-1].copy(), target)
    size = 1 + np.abs(value) + np.abs(pred)
    np.testing.assert_allclose((value + call(case, "conjugate", own, target) - own * pred) / size, 0, atol=1e-13)
    for dual in (other, 0.3 * own, own + np.random.default_rng(1).normal(size=N)):
        conjugate = call(case, "conjugate", dual, target)
        assert not np.isnan(conjugate).any()
        assert (value + conjugate - dual * pred >= -1e-13 * size).all()
    # Any mixture of derivatives is in the domain: the dual points of solvers are such.
    assert np.isfinite(call(case, "conjugate", 0.3 * own + 0.7 * other, target)).all()


@every
def test_derivatives_agree_with_finite_differences(case: LossCase, x64):
    pred, target = sample(case, seed=2)
    for f, slope, h in (("value", "derivative", 1e-6), ("derivative", "second_derivative", 1e-6)):
        difference = (call(case, f, pred + h, target) - call(case, f, pred - h, target)) / (2 * h)
        np.testing.assert_allclose(call(case, slope, pred, target), difference, rtol=2e-7, atol=1e-8)


@every
def test_closed_forms_agree_with_automatic_differentiation(case: LossCase, x64):
    """What a loss overrides is what the base class would compute."""
    pred, target = sample(case, seed=3)
    for method in ("derivative", "second_derivative"):
        automatic = jax.jit(getattr(Loss, method))(case.loss, pred, target)
        np.testing.assert_allclose(call(case, method, pred, target), automatic, rtol=1e-12, atol=1e-13)


@every
def test_curvature_is_the_least_bound_of_the_second_derivative(case: LossCase, x64):
    """Also seen as the Lipschitz constant of the derivative, which holds at kinks too."""
    rng = np.random.default_rng(4)
    low, high = max(case.reach[0], -50.0), min(case.reach[1], 50.0)
    target = case.targets(rng, N)
    pred = np.concatenate([np.linspace(low, high, N // 2), target[N // 2 :]])
    near = pred + rng.choice([1e-3, 1e-2, 1.0], size=N)
    second = call(case, "second_derivative", pred, target)
    quotient = (call(case, "derivative", near, target) - call(case, "derivative", pred, target)) / (near - pred)
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
    other = np.random.default_rng(6).normal(size=N) * 8
    for share in (0.5, 0.1):
        chord = share * call(case, "value", pred, target) + (1 - share) * call(case, "value", other, target)
        middle = call(case, "value", share * pred + (1 - share) * other, target)
        assert (middle <= chord + 1e-13 * (1 + np.abs(chord))).all()
    rise = call(case, "derivative", other, target) - call(case, "derivative", pred, target)
    assert (rise * (other - pred) >= -1e-13).all()
    assert (call(case, "second_derivative", pred, target) >= 0).all()


@every
def test_deviance_is_twice_the_excess_over_the_best_prediction(case: LossCase, x64):
    """Not negative; zero where the mean is the target; a difference of deviances is twice that of losses."""
    pred, target = sample(case, seed=7)
    deviance = call(case, "deviance", pred, target)
    assert (deviance >= -1e-13).all()
    fitted = call(case, "mean", pred)
    np.testing.assert_allclose(call(case, "deviance", pred, fitted) / (1 + np.abs(fitted)), 0, atol=1e-12)
    other = pred + 1.0
    gain = 2 * (call(case, "value", other, target) - call(case, "value", pred, target))
    np.testing.assert_allclose(call(case, "deviance", other, target) - deviance, gain, rtol=1e-10, atol=1e-10)


@every
def test_mean_is_the_inverse_link(case: LossCase, x64):
    """The loss is stationary where the target is the mean, and the mean rises with the prediction."""
    pred, _ = sample(case, seed=8)
    mean = call(case, "mean", pred)
    np.testing.assert_allclose(call(case, "derivative", pred, mean) / (1 + np.abs(mean)), 0, atol=1e-14)
    assert (np.diff(call(case, "mean", np.linspace(-20.0, 20.0, N))) > 0).all()


@every
def test_float32_survives_extreme_predictions(case: LossCase, dtype):
    """No overflow and no NaN, in values, derivatives, and the conjugate at the ends of its domain."""
    rng = np.random.default_rng(9)
    far = np.geomspace(1.0, 1e4, N // 2)
    pred = np.clip(np.concatenate([-far, far]), *case.reach).astype(dtype)
    target = case.targets(rng, N).astype(dtype)
    for method in ("value", "derivative", "second_derivative", "deviance"):
        result = call(case, method, pred, target)
        assert result.dtype == dtype
        assert np.isfinite(result).all(), method
    assert np.isfinite(call(case, "mean", pred)).all()
    dual = call(case, "derivative", pred, target)
    for share in (0.0, 0.1, 0.3, 0.45):  # the same again, but for rounding
        mixed = dual.dtype.type(share) * dual + dual.dtype.type(1 - share) * dual
        assert np.isfinite(call(case, "conjugate", mixed, target)).all()
    assert (call(case, "second_derivative", pred, target) >= 0).all()


@every
def test_float32_agrees_with_float64(case: LossCase, x64):
    pred, target = (x.astype(np.float32) for x in sample(case, seed=10))
    for method in ("value", "derivative", "second_derivative", "deviance"):
        single = call(case, method, pred, target)
        double = call(case, method, pred.astype(np.float64), target.astype(np.float64))
        assert single.dtype == np.float32
        np.testing.assert_allclose(single, double, rtol=1e-5, atol=3e-6)
    dual = call(case, "derivative", pred, target)
    double = call(case, "conjugate", dual.astype(np.float64) * (1 - 1e-6), target.astype(np.float64))
    np.testing.assert_allclose(call(case, "conjugate", dual, target), double, rtol=1e-4, atol=1e-4)


@every
def test_losses_are_elementwise(case: LossCase, x64):
    """They take several responses, and batch."""
    pred, target = sample(case, seed=11)
    whole = call(case, "value", pred, target)
    pred, target = pred.reshape(-1, 4), target.reshape(-1, 4)
    np.testing.assert_allclose(call(case, "value", pred, target).ravel(), whole, rtol=1e-13, atol=1e-14)
    np.testing.assert_allclose(jax.vmap(case.loss.value)(pred, target).ravel(), whole, rtol=1e-13, atol=1e-14)


@pytest.mark.parametrize(
    ("loss", "target", "match"),
    [
        (Squared(), [2.0, 2.0, 2.0], "y is constant .*2"),
        (Squared(), [0.0, np.nan, 1.0], "y must be finite, got nan"),
        (Squared(), [0.0, np.inf, 1.0], "y must be finite, got inf"),
        (Logistic(), [0.0, 1.0, 2.0], r"y must be 0 or 1 .*logistic loss, got 2"),
        (Logistic(), [0.0, 1.0, -1.0], r"y must be 0 or 1 .*logistic loss, got -1"),
        (Logistic(), [0.0, 1.0, np.nan], r"y must be 0 or 1 .*logistic loss, got nan"),
        (Logistic(), [1.0, 1.0, 1.0], r"y has one class only \(every value is 1\)"),
    ],
)
def test_bad_targets_are_refused(loss, target, match):
    with pytest.raises(ValueError, match=match):
        loss.check(np.array(target))


@every
def test_good_targets_are_accepted(case: LossCase):
    case.loss.check(case.targets(np.random.default_rng(0), N))
