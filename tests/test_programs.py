"""Programs that are kept: found again by what determines them, and left alone where that cannot be told."""

import os
import time
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxreg import L1, _cache, _fingerprint, _programs, _tree
from jaxreg._programs import Program, program
from jaxreg.transforms import apply_prox


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Where programs go while the cache is on, without touching JAX's own."""
    monkeypatch.setattr(_cache, "_directory", tmp_path)
    return tmp_path / "programs"


def files(folder) -> list[str]:
    return sorted(path.name for path in folder.glob("*"))


def again(fn, **options) -> Program:
    """Program of a new process: it has nothing ready, and cannot trace or compile."""
    found = Program(fn, **options)
    found.jitted = None
    return found


def ours(fn):
    """Function that passes for one of jaxreg's."""
    fn.__module__, fn.__qualname__ = "jaxreg.somewhere", fn.__name__
    return fn


@ours
def power(x, *, exponent=2):
    return x**exponent


@ours
def spectrum(x):
    return jnp.linalg.eigh(x)[0]


@ours
def double(tree):
    return jax.tree.map(lambda leaf: 2 * leaf, tree)


TREE = {"a": np.arange(3.0, dtype="float32"), "b": [jnp.full((2, 2), -7.0), None]}


def test_a_kept_program_is_found_again_and_needs_no_tracing(folder):
    first = Program(_tree.max_abs)
    assert first(TREE) == 7
    assert len(files(folder)) == 1
    assert files(folder)[0].startswith("jaxreg._tree.max_abs-")
    second = again(_tree.max_abs)
    assert second(TREE) == 7
    assert second(jax.tree.map(lambda leaf: 2 * leaf, TREE)) == 14
    assert len(files(folder)) == 1


def test_trees_of_our_own_types_go_in_and_come_out(folder):
    params, penalty = {"w": jnp.array([3.0, -0.5])}, L1(1.0)
    updates = jax.tree.map(jnp.zeros_like, params)
    Program(apply_prox)(params, updates, penalty, 1.0)
    out = again(apply_prox)(params, updates, penalty, 1.0)
    np.testing.assert_array_equal(out["w"], [2.0, 0.0])
    with pytest.raises(AttributeError, match="lower"):  # the kept program is not that of another function
        again(_tree.add)(params, updates, 1.0)


def test_what_determines_a_program_tells_it_apart(folder, monkeypatch):
    x = np.arange(4.0, dtype="float32")
    compiled = Program(power, static=("exponent",))
    for argument, options in [(x, {}), (x, {"exponent": 3}), (x[:2], {}), (x.astype(int), {}), (2.0, {})]:
        np.testing.assert_allclose(compiled(argument, **options), power(argument, **options))
    assert len(files(folder)) == 5
    with jax.enable_x64(True):
        assert compiled(x.astype(float)).dtype == np.float64
    assert len(files(folder)) == 6
    monkeypatch.setattr(_fingerprint, "_source", lambda: "another release")
    Program(power, static=("exponent",))(x)
    assert len(files(folder)) == 7


class Mine(NamedTuple):
    x: jax.Array


def unknown(x):
    return x + 1


def test_what_cannot_be_told_is_compiled_as_ever(folder):
    plain = jnp.ones(3)
    assert Program(power, static=("exponent",))(plain, exponent=np.int64(3)).sum() == 3
    assert Program(double)(Mine(plain)).x.sum() == 6
    assert Program(ours(lambda x: x + 1))(plain).sum() == 6
    assert Program(unknown)(plain).sum() == 6
    np.testing.assert_allclose(Program(spectrum)(jnp.diag(plain)), 1, rtol=1e-6)  # LAPACK
    with pytest.raises(TypeError, match="class 'str'"):
        Program(power)("text")
    assert files(folder) == []


def test_transformed_and_moved_arguments_are_compiled_as_ever(folder):
    compiled = Program(power, static=("exponent",))
    assert jax.grad(compiled)(3.0) == 6
    np.testing.assert_array_equal(jax.vmap(compiled)(jnp.arange(3)), [0, 1, 4])
    assert jax.jit(lambda x: compiled(x, exponent=3))(2.0) == 8
    with jax.default_device(jax.devices()[0]):
        assert compiled(2.0) == 4
    with jax.disable_jit():
        assert compiled(2.0) == 4
    assert files(folder) == []


def test_a_damaged_program_is_made_anew(folder):
    x = jnp.arange(3.0)
    Program(power)(x)
    file = next(folder.iterdir())
    whole = file.read_bytes()
    for damaged in (whole[:-1], whole[:100] + b"?" + whole[101:], b""):
        file.write_bytes(damaged)
        np.testing.assert_array_equal(Program(power)(x), [0, 1, 4])
        np.testing.assert_array_equal(again(power)(x), [0, 1, 4])


def test_a_program_that_cannot_run_here_is_made_anew(folder, monkeypatch):
    def broken(*_):
        raise jax.errors.JaxRuntimeError("NOT_FOUND: function")

    with monkeypatch.context() as patch:
        patch.setattr(_programs, "_load", lambda _: broken)
        assert Program(power)(3.0) == 9
    assert again(power)(3.0) == 9


def test_programs_that_nobody_used_are_deleted(folder):
    Program(power)(jnp.ones(2))
    used, forgotten = next(folder.iterdir()), folder / "forgotten"
    forgotten.write_bytes(b"")
    for file in (used, forgotten):
        os.utime(file, (0, time.time() - _programs.KEPT - 60))
    again(power)(jnp.ones(2))
    Program(power)(jnp.ones(3))
    assert used.exists()
    assert not forgotten.exists()


def test_without_a_cache_it_is_jit(tmp_path, monkeypatch):
    monkeypatch.setattr(_cache, "_directory", None)
    compiled = program(static=("exponent",))(power)
    assert compiled(jnp.full(2, 2.0), exponent=3).sum() == 16
    assert compiled.__name__ == "power"
    with pytest.raises(TypeError, match="'x' of power must be keyword-only"):
        program(static=("x",))(power)


def test_where_nothing_can_be_written_nothing_is_kept(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(_cache, "_directory", tmp_path / "file")
    assert Program(power)(3.0) == 9


def test_only_the_last_few_stay_in_memory(folder, monkeypatch):
    monkeypatch.setattr(_programs, "READY", 2)
    doubled = Program(double)
    for size in (1, 2, 3, 1):
        np.testing.assert_array_equal(doubled(np.ones(size)), np.full(size, 2.0))
    assert len(doubled._ready) == 2
    assert len(files(folder)) == 3
