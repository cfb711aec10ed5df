"""`fit_at`: a linear model at one strength, as a function that JAX differentiates."""

import dataclasses
import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxreg import _check
from jaxreg._result import Result
from jaxreg.implicit import FORMED, Fixpoint, Form, attach, highest_precision, is_traced, moving, no_change
from jaxreg.linear.arguments import linear_data, tolerance
from jaxreg.linear.design import is_sparse
from jaxreg.linear.free import free_columns
from jaxreg.linear.threads import alone
from jaxreg.losses import Loss, Squared
from jaxreg.losses._base import Coupled, Joint
from jaxreg.objective import weighted_mean
from jaxreg.path import fit_all, make_problem, original_scale, shares, warn
from jaxreg.penalties import L1, Penalty
from jaxreg.penalties._base import Absolute


def fit_at(
    X: Any,
    y: Any,
    lam: Any,
    *,
    loss: Loss | None = None,
    penalty: Penalty | None = None,
    sample_weight: Any = None,
    offset: Any = None,
    intercept: bool = True,
    standardize: bool = True,
    tol: float = 1e-10,
) -> tuple[jax.Array, jax.Array]:
    """Fit a linear model at one strength, as `fit_path` does, with derivatives.

    They are those of the solution (see `jaxreg.implicit`), forward and reverse, in every floating-point number that is
    given: X, y, λ, sample weights, offset, and the numbers of loss and penalty, such as penalty factors and l1 ratio.
    The means and standard deviations of the columns are differentiated too. Only columns with nonzero (or free)
    coefficients have a part in the linear system: they are gathered, so that a derivative costs as much as a model of
    these columns alone, however many there are in all. A derivative in X is as large as X, of course.

    The solution comes from the engine, in float64. Arrays that come back, and derivatives, have JAX's default
    precision: turn on x64 for exact ones. Under `jit` and `vmap` the engine is called back, one problem after the
    other, and derivatives take products with all of X; `solve` and `sweep` are made for these. Callbacks know x64 as
    JAX's global setting only, and not as a context. A process with one core must let XLA have two threads for that, by
    the environment variable `NPROC=2`, set before JAX starts.

    Where no derivative exists, because a coefficient is about to enter or leave, that of the support found is returned.
    A fit that diverged has NaN.

    Args:
        X: features, (n, p), as for `fit_path`; a sparse matrix has no derivative, and is not for `jit` and `vmap`.
        y: target, (n,). Several responses, classes, and survival are for `solve`.
        lam: strength λ ≥ 0, one number.
        loss: `Squared()` unless given.
        penalty: `L1()` unless given; its own strength is not used.
        sample_weight: weights w ≥ 0, (n,).
        offset: offsets o on the link scale, (n,).
        intercept: whether to fit b₀.
        standardize: whether to penalize standardized columns.
        tol: bound on the relative duality gap. Derivatives are as exact as the fit is.

    Returns:
        Coefficients on the scale of X, (p,), and the intercept. A fit that misses `tol` warns.

    Raises:
        TypeError: if something is not of its kind.
        ValueError: if shapes disagree or a value is NaN, infinite or outside its domain.
        RuntimeError: under a transformation, where XLA has one thread: the call would wait for itself.

    >>> from jaxreg.datasets import load_diabetes
    >>> X, y, _ = load_diabetes()
    >>> grad = jax.grad(lambda lam: fit_at(X, y, lam)[0][2])(10.0)
    >>> round(float(grad), 3)
    -0.086
    """
    loss, penalty = loss or Squared(), penalty or L1()
    if not isinstance(penalty, Penalty):
        raise TypeError(f"penalty must be a jaxreg penalty such as L1(), got {penalty!r}")
    if not isinstance(loss, Loss):
        raise TypeError(f"loss must be a jaxreg loss such as Squared(), got {loss!r}")
    if isinstance(loss, (Joint, Coupled)) or (np.ndim(y) > 1 and np.shape(y)[1] != 1):
        what = f"{type(loss).__name__} with y of shape {np.shape(y)}"
        raise TypeError(f"fit_at takes one target a row, got {what}: use Objective and solve, which are for any model")
    if np.ndim(lam):
        raise ValueError(f"lam must be one number, got shape {np.shape(lam)}; strengths per column are weights")
    _check.number("lam", lam)
    matrix = X if is_sparse(X) else None
    if matrix is None and not isinstance(X, jax.Array):
        X = np.asarray(X)
    how = _How(matrix, tuple(X.shape), bool(intercept), bool(standardize), tolerance(tol))
    numbers = _Numbers(None if matrix is not None else X, y, sample_weight, offset, loss, penalty.at(lam))
    numbers = numbers._replace(**{name: _as_array(getattr(numbers, name)) for name in _Numbers._fields[:4]})
    coef, level, *_ = attach(how.fit, numbers, (), how.respond)
    return coef, level


def _as_array(value: Any) -> Any:
    return value if value is None or isinstance(value, jax.Array) else np.asarray(value)


class _Numbers(NamedTuple):
    """What the solution depends on; X is None if it is sparse, weights and offset may be."""

    X: Any
    y: Any
    sample_weight: Any
    offset: Any
    loss: Loss
    penalty: Penalty


@dataclasses.dataclass(frozen=True)
class _How:
    """What a fit depends on beside numbers."""

    matrix: Any
    shape: tuple[int, ...]
    intercept: bool
    standardize: bool
    tol: float

    def fit(self, numbers: _Numbers, others: Any) -> Any:
        """Coefficients and intercept, the same in standardized units, and the `Result` code."""
        del others
        dtype = jnp.result_type(float)
        kinds = [(dtype, self.shape[1:]), (dtype, ()), (dtype, self.shape[1:]), (dtype, ()), (jnp.int32, ())]
        leaves, structure = jax.tree.flatten(numbers)

        def engine(leaves: Any) -> Any:
            found = self._solve(jax.tree.unflatten(structure, [np.asarray(leaf) for leaf in leaves]))
            return tuple(np.asarray(part, kind) for part, (kind, _) in zip(found, kinds, strict=True))

        if not is_traced(leaves):
            return tuple(map(jnp.asarray, engine(leaves)))
        if alone():
            raise RuntimeError(
                "fit_at under jit, vmap or another transformation runs programs within a program, for which XLA needs "
                "two threads, and this process has one core: set the environment variable NPROC=2 before JAX starts"
            )
        shapes = tuple(jax.ShapeDtypeStruct(shape, kind) for kind, shape in kinds)
        return jax.pure_callback(engine, shapes, leaves, vmap_method="sequential")

    def _solve(self, numbers: _Numbers) -> tuple[Any, ...]:
        X, y, sample_weight, offset, loss, penalty = numbers
        X = self.matrix if X is None else X
        with jax.enable_x64(True):
            data = linear_data(X, y, loss, penalty, sample_weight, offset, None, intercept=self.intercept)
            problem = make_problem(data, loss, data.sample_weight[None], self.intercept, self.standardize)
            mix = shares(penalty, None)
            fits = fit_all(problem, data.penalty, mix, [float(penalty.lam)], None, self.tol, None)[1]
            some, level = original_scale(problem, fits)
        coef, slopes = np.zeros((2, self.shape[1]))
        coef[fits.working], slopes[fits.working] = some[0, 0, 0], fits.slopes[0, 0, 0]
        warn(fits.result)
        return coef, level[0, 0, 0], slopes, fits.intercept[0, 0, 0], fits.result[0, 0, 0]

    def respond(self, form: Form, theta: Any, dots: Any, fixed: Any, found: Any, others: Any) -> Any:
        """Change of what was fitted, from the columns that have a part in it."""
        del others
        _, _, slopes, level, code = found
        numbers = form.join(theta, fixed)
        place, real = self._columns(numbers, slopes)
        columns = None if self.matrix is None else self.matrix[:, place].toarray()
        static = {"form": form, "intercept": self.intercept, "standardize": self.standardize}
        moved = _moved(theta, dots, fixed, columns, place, real, slopes, level, code, **static)
        return *moved, *map(no_change, found[2:])

    def _columns(self, numbers: _Numbers, slopes: Any) -> tuple[Any, Any]:
        """Columns that have a part in the derivative, padded to a power of two, and which of them are real."""
        p = self.shape[1]
        if is_traced((numbers, slopes)):
            if self.matrix is not None:
                raise TypeError("a sparse X has no derivatives under jit or vmap: there, give X as an array")
            return np.arange(p), np.ones(p, bool)
        # A penalty of magnitudes has a subgradient at this point that is 0 wherever the point is.
        apart = all(isinstance(atom, Absolute) for atom in numbers.penalty.atoms)
        with jax.enable_x64(True):
            free = free_columns(numbers.penalty, (p,))[0]
        index = np.flatnonzero((np.asarray(slopes) != 0) | free | (not apart))
        width = min(max(64, 1 << max(index.size - 1, 0).bit_length()), p)
        return np.pad(index, (0, width - index.size)), np.arange(width) < index.size


class _Reduced:
    """A linear model of some columns, as functions of x = (level, slopes) in standardized units and of the list θ."""

    def __init__(
        self,
        form: Form,
        fixed: Any,
        columns: Any,
        place: jax.Array,
        real: jax.Array,
        p: int,
        intercept: bool,
        standardize: bool,
    ) -> None:
        self.form, self.fixed, self.columns, self.place, self.p = form, fixed, columns, place, p
        self.real, self.intercept, self.standardize = real, intercept, standardize

    def view(self, theta: Any, dtype: Any) -> tuple[Any, ...]:
        """Centered and scaled columns, their mean and scale, and normalized sample weights."""
        numbers = self.form.join(theta, self.fixed)
        x = jnp.asarray(self.columns if numbers.X is None else numbers.X[:, self.place], dtype)
        n = x.shape[0]
        weight = jnp.ones(n, dtype) if numbers.sample_weight is None else numbers.sample_weight.reshape(n)
        weight = jnp.asarray(weight, dtype) / jnp.sum(weight)
        mean = weight @ x
        centered = x - mean
        variance = weight @ jnp.square(centered)
        varies = variance > jnp.square(jnp.finfo(dtype).eps * mean)
        scale = jnp.where(varies & self.standardize, jnp.sqrt(jnp.where(varies, variance, 1)), 1)
        x = jnp.where(varies | (not self.intercept), (centered if self.intercept else x) / scale, 0)
        return x * self.real, mean * self.intercept, scale, weight

    def full(self, slopes: jax.Array) -> jax.Array:
        """All p slopes."""
        return jnp.zeros(self.p, slopes.dtype).at[self.place].add(slopes * self.real)

    def some(self, slopes: jax.Array) -> jax.Array:
        """Slopes of the chosen columns."""
        return slopes[self.place] * self.real

    def smooth(self, x: jax.Array, theta: Any) -> jax.Array:
        """Mean loss, and what of the penalty is smooth."""
        numbers = self.form.join(theta, self.fixed)
        columns, _, _, weight = self.view(theta, x.dtype)
        pred = columns @ x[1:] + x[0] * self.intercept
        target = numbers.loss.encode(jnp.asarray(numbers.y).reshape(pred.shape), pred)
        if numbers.offset is not None:
            pred = pred + jnp.asarray(numbers.offset, x.dtype).reshape(pred.shape)
        risk = weighted_mean(numbers.loss.weighing(weight).value(pred, target), weight)
        return risk + numbers.penalty.smooth_value(self.full(x[1:]))

    def gradient(self, x: jax.Array, theta: Any) -> jax.Array:
        """Gradient of the smooth part."""
        return jax.grad(self.smooth)(x, theta)

    def prox(self, z: jax.Array, step: Any, theta: Any) -> jax.Array:
        """Proximal step; the level is free, or 0 if there is no intercept."""
        moved = self.form.join(theta, self.fixed).penalty.prox_part.prox(self.full(z[1:]), step)
        return jnp.concatenate([z[:1] * self.intercept, self.some(moved)])

    def residual(self, x: jax.Array, grad: jax.Array, theta: Any) -> jax.Array:
        """Smallest element of −gradient − ∂g."""
        penalty = self.form.join(theta, self.fixed).penalty.prox_part
        rest = penalty.residual(self.full(x[1:]), self.full(grad[1:]))
        return jnp.concatenate([-grad[:1], self.some(rest)])

    def longest(self, theta: Any) -> Any:
        """A step at which the prox is surely continuous."""
        return 0.5 * jnp.asarray(self.form.join(theta, self.fixed).penalty.prox_part.max_step)

    def given(self, x: jax.Array, theta: Any) -> tuple[jax.Array, jax.Array]:
        """All coefficients and the intercept, on the scale of X."""
        _, mean, scale, _ = self.view(theta, x.dtype)
        coef = x[1:] / scale
        return self.full(coef), x[0] - mean @ (coef * self.real)


@functools.partial(jax.jit, static_argnames=("form", "intercept", "standardize"))
def _moved(
    theta: list[Any],
    dots: list[Any],
    fixed: list[Any],
    columns: Any,
    place: jax.Array,
    real: jax.Array,
    slopes: jax.Array,
    level: jax.Array,
    code: jax.Array,
    **static: Any,
) -> tuple[jax.Array, jax.Array]:
    """Change of coefficients and intercept."""
    with highest_precision():
        form = static.pop("form")
        model = _Reduced(form, fixed, columns, place, real, slopes.size, **static)
        x = jnp.concatenate([level[None], model.some(slopes)])
        whole, some, change = moving(theta, dots)
        index = (np.arange(x.size), np.ones(x.size, bool)) if place.size <= FORMED else None
        moved = Fixpoint(model, x, theta).response(whole, some, change, index)
        moved = jnp.where(code == Result.DIVERGED, jnp.nan, moved)
        return jax.jvp(lambda x, some: model.given(x, whole(some)), (x, some), (moved, change))[1]
