"""Leave-one-out of ridge with squared error, in closed form: the fit to all rows tells every fit to all but one.

For a smoother with fitted values ŷ = H y and a fixed quadratic penalty, row i is missed by the fit to the others by
(yᵢ − ŷᵢ)/(1 − hᵢᵢ). One eigendecomposition gives ŷᵢ and hᵢᵢ at every strength, and neither the n fits nor their
coefficients are ever made: memory is that of the predictions, n for each λ.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from jaxreg.linear.active.ridge import eigen
from jaxreg.linear.active.tableau import dot
from jaxreg.linear.design import Design, Views
from jaxreg.linear.problem import Problem


def leave_one_out(problem: Problem, l2: np.ndarray, *, fixed: bool = False) -> np.ndarray:
    """Linear predictor of each row by the fit to all others, (n, L · R + 1); that of their null model last.

    Exact, with an intercept, unpenalized columns, penalty factors and sample weights, for columns scaled as in the
    fit to all rows: the strength of the penalty on each coefficient is the same whichever row is left out.
    Only the average over samples changes: without row i the strength is λ(W − wᵢ)/W in units of all rows.

    Args:
        problem: squared error, one training set of all rows, each of positive weight.
        l2: positive strengths, (R, L).
        fixed: whether λ times the total weight of the rows stays the same without a row, as scikit-learn's alpha, and
            not λ itself.

    Raises:
        ValueError: if some row alone determines an unpenalized coefficient, so that the others do not.

    Source: Golub, Heath & Wahba (1979), "Generalized cross-validation as a method for choosing a good ridge
    parameter", Technometrics 21; Allen (1974) for the identity.
    """
    design, views, data, (n, _) = problem.design, problem.views, problem.data, problem.shape
    basis = problem.null.basis[0] * jnp.sqrt(data.weights[0])[:, None]
    slack = 1 - np.sum(np.asarray(basis) ** 2, axis=1)
    if slack.min() < 1e-10:
        raise ValueError(
            f"without row {int(slack.argmin())} an unpenalized column is constant, or depends on others: "
            "leave-one-out is not defined; give it a positive penalty factor"
        )
    target = data.target - data.offset
    strengths, even = jnp.asarray(l2.T.reshape(-1)), bool(np.ptp(np.asarray(data.weights)[0, :n]) == 0)
    if fixed:
        strengths, even = strengths / (1 - data.weights[0, 0]), True
    missed = _missed(design, views, target, basis, strengths, jnp.asarray(problem.factor), even=even)
    return (np.asarray(data.target)[:, None] - np.asarray(missed))[:n]


@functools.partial(jax.jit, static_argnames=("even",))
def _missed(
    design: Design,
    views: Views,
    target: jax.Array,
    basis: jax.Array,
    l2: jax.Array,
    factor: jax.Array,
    even: bool,
) -> jax.Array:
    """What each row is missed by without it, (n, L + 1), the null model last.

    `basis` (n, m) is orthonormal. `even` weights give all rows the same strengths, and sums become matrix products.
    """
    weight = views.weights[0]
    root = jnp.sqrt(weight)[:, None]
    rest = _off(basis, root * target[:, None])
    slack = 1 - jnp.sum(jnp.square(basis), axis=1)
    square, along, values, whole = (_by_samples if design.shape[1] > design.shape[0] else _by_columns)(
        design, views, basis, rest, factor
    )

    def shares(ridge: jax.Array) -> jax.Array:
        # Where the axes span all that is left over, residual and 1 − h are themselves sums of positive shares.
        return jnp.where(jnp.isfinite(values), ridge / (values + ridge), 0) if whole else 1 / (values + ridge)

    def at(strength: jax.Array) -> tuple[jax.Array, jax.Array]:
        share = shares(strength * (1 - weight)[:, None])
        return jnp.sum(along * share, axis=1), jnp.sum(square * share, axis=1)

    # Without row i the others' weights sum to 1 − wᵢ.
    if even:
        share = shares(l2[:, None] * (1 - weight[0]))
        fitted, leverage = dot(along, share.T), dot(square, share.T)
    else:
        fitted, leverage = (part.T for part in jax.lax.map(at, l2))
    missed = fitted / leverage if whole else (rest - fitted) / (slack[:, None] - leverage)
    # Rows that only fill up have no weight.
    return jnp.concatenate([missed, rest / slack[:, None]], axis=1) / jnp.where(root > 0, root, 1)


def _off(basis: jax.Array, x: jax.Array) -> jax.Array:
    """Take from x what it has along the basis."""
    return x - dot(basis, dot(basis.T, x))


def _by_columns(
    design: Design, views: Views, basis: jax.Array, rest: jax.Array, factor: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array, bool]:
    """Squared scores (n, p) on the principal axes, scores times the target's, and eigenvalues (p,)."""
    root = jnp.sqrt(views.weights[0])[:, None]
    x = design.gather(jnp.arange(design.shape[1]), views.mean[0]) * root * jnp.sqrt(_weighing(views, factor))
    x = _off(basis, x)
    values, vectors = eigen(dot(x.T, x))
    scores = dot(x, vectors)
    return jnp.square(scores), scores * dot(scores.T, rest)[:, 0], values, False


def _by_samples(
    design: Design, views: Views, basis: jax.Array, rest: jax.Array, factor: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array, bool]:
    """Do the same in n-space, with axes of length 1: infinite eigenvalues mark those that nothing penalizes."""
    root = jnp.sqrt(views.weights[0])[:, None]
    kernel = design.kernel(views.mean[0], _weighing(views, factor)) * root * root.T
    kernel = _off(basis, _off(basis, kernel).T)
    trace = jnp.trace(kernel)
    # Far above all others, the unpenalized directions keep apart from axes with eigenvalue 0.
    values, axes = eigen(kernel + 4 * trace * dot(basis, basis.T))
    values = jnp.where(values > 2 * trace, jnp.inf, values)
    return jnp.square(axes), axes * dot(axes.T, rest)[:, 0], values, True


def _weighing(views: Views, factor: jax.Array) -> jax.Array:
    """Inverse strength of the penalty on each column of X; 0 for those without a penalty, or constant."""
    penalized = (factor > 0) & views.varies[0]
    return jnp.where(penalized, 1 / (views.scale[0] ** 2 * jnp.where(penalized, factor, 1)), 0)
