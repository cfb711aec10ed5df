"""Every loss and penalty as users handle it: shown, stored, copied, vmapped, in a flax tree, and given nonsense."""

import copy
import inspect
import pickle

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxreg as jr
from jaxreg import reference

LOSSES, COMPOSED = reference._members(jr.Loss), {jr.Sum, jr.Masked, jr.Blocks, jr.Units}
PENALTIES = [member for member in reference._members(jr.Penalty) if member not in COMPOSED]
NUMBERS = ("lam", "l1_ratio", "gamma", "eps", "delta", "k", "radius", "tol", "power", "dispersion", "q")
NONSENSE = {"nan": np.nan, "negative": -1.0, "text": "a", "none": None, "complex": 1j, "dict": {"a": 1.0}}


def made(member, **changed):
    return member(**{**reference.NEEDED.get(member.__name__, {}), **changed})


@pytest.mark.parametrize("member", [*LOSSES, *PENALTIES], ids=lambda member: member.__name__)
def test_nonsense_for_a_number_is_one_clear_error_that_names_it(member):
    for name in set(NUMBERS) & set(inspect.signature(member).parameters):
        for kind, value in NONSENSE.items():
            with pytest.raises((ValueError, TypeError), match=rf"^{name} ") as caught:
                made(member, **{name: value})
            assert "\n" not in str(caught.value), (name, kind)
    if "weight" in inspect.signature(member).parameters:
        for value in (np.array([1.0, np.nan]), [-1.0, 1.0], "a"):
            with pytest.raises((ValueError, TypeError), match=r"^weight "):
                made(member, weight=value)


@pytest.mark.parametrize("member", [*LOSSES, *PENALTIES], ids=lambda member: member.__name__)
def test_shown_stored_and_copied(member):
    one = made(member)
    assert repr(one).startswith(member.__name__ + "(")
    assert "object at" not in repr(one)
    for again in (pickle.loads(pickle.dumps(one)), copy.deepcopy(one)):
        assert jax.tree.structure(again) == jax.tree.structure(one)
        jax.tree.map(np.testing.assert_array_equal, again, one)
        assert repr(again) == repr(one)


@pytest.mark.deep
def test_penalties_act_on_the_kernels_of_a_flax_model_alone():
    params = nn.Dense(2).init(jax.random.key(0), jnp.ones((1, 4)))
    for member in PENALTIES:
        one = jr.SLOPE(weights=np.arange(8.0)[::-1]) if member is jr.SLOPE else made(member)
        penalty = jr.Masked(one, include=("*/kernel",))
        moved = penalty.prox(params, 0.1)
        assert jax.tree.structure(moved) == jax.tree.structure(params), member
        np.testing.assert_array_equal(moved["params"]["bias"], params["params"]["bias"])


def test_what_is_not_one_strength_or_does_not_fit_is_refused():
    X, y = jnp.eye(2), jnp.array([3.0, 1.0])
    for penalty in (jr.L1([0.1, 0.2]), jr.Blocks({"*": jr.L1(jnp.ones(2))}), jr.L1(jnp.ones(2)) + jr.NonNegative()):
        objective = jr.Objective(jr.Squared(), penalty, lambda params, X: X @ params["w"])
        with pytest.raises(ValueError, match=r"lam of L1 must be one number, got shape \(2,\)"):
            jr.solve(objective, {"w": jnp.zeros(2)}, (X, y))
    with pytest.raises(ValueError, match=r"weight is a tree that does not fit the parameters 'a', 'c/d': it has 'b'$"):
        jr.L1(weight={"b": np.ones(3)}).value({"a": jnp.zeros(2), "c": {"d": jnp.zeros(1)}})
    with pytest.raises(TypeError, match="increasing must be True or False, got 'down'"):
        jr.Monotone(increasing="down")
    assert repr(jr.L1() + jr.NonNegative()) == "Sum(members=(L1(lam=1.0, weight=None), NonNegative()), lam=1.0)"
