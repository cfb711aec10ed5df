"""Certificates of group penalties, and what their working sets lack: from the data and the coefficients alone."""

import math
from collections.abc import Collection
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxreg._programs import program
from jaxreg.linear.active.judge import columns_of, into_domain, of_sets
from jaxreg.linear.assess import duals
from jaxreg.linear.columns import Columns, Data
from jaxreg.linear.design import Design, Views
from jaxreg.linear.null import Null
from jaxreg.linear.outputs import alike, correlate_problems, per_sample
from jaxreg.linear.problem import Problem
from jaxreg.linear.threads import in_threads
from jaxreg.losses import Loss
from jaxreg.objective import dual_value
from jaxreg.penalties import Penalty

BLOCK = 2**20
"""Entries of the largest temporary array."""


class Certificate(NamedTuple):
    """Relative gap and residual, and weighted mean deviance, (L, F).

    For screening, of each column: the largest residual over the strengths (F, p), and the gradients at the
    last of them and at the one before it, (F, p, …).
    """

    gap: np.ndarray
    kkt: np.ndarray
    deviance: np.ndarray
    excess: np.ndarray
    last: np.ndarray
    before: np.ndarray

    @classmethod
    def blank(cls, length: int, many: int, p: int, outputs: tuple[int, ...]) -> "Certificate":
        """Nothing certified yet."""
        each, wide, gradient = (length, many), (many, p), (many, p, *outputs)
        return cls(*(np.full(shape, np.nan) for shape in (each, each, each, wide, gradient, gradient)))


def certify(
    problem: Problem,
    penalty: Penalty,
    lams: np.ndarray,
    columns: Columns,
    b: np.ndarray,
    found: Certificate | None,
    sets: Collection[int],
) -> Certificate:
    """Certify solutions b (L, F, 1 + w, …), of `columns`, in the training sets that changed since `found`."""
    (n, p), (length, many, _, *outputs) = problem.design.shape, b.shape
    place = np.zeros(p, dtype=np.int64)
    used = np.flatnonzero(np.asarray(columns.free)[:, 1:].max(axis=0))
    place[np.asarray(columns.index)[used]] = 1 + used
    size = max(1, min(many, BLOCK // (length * max(n, p) * math.prod(outputs))))
    about = problem.design, problem.views, problem.loss, problem.data, problem.null, columns, place, penalty

    def part(first: int) -> list[np.ndarray]:
        which = first + np.arange(size)
        return [np.asarray(field) for field in _judge(*about, lams, problem.factor, b[:, which], which)]

    found = found or Certificate.blank(length, many, p, tuple(outputs))
    firsts = sorted({min(first, many - size) for first in range(0, many, size)})
    firsts = [first for first in firsts if any(first <= f < first + size for f in sets)]
    kind = ("groups", type(problem.loss), penalty.__class__, n, p, columns.index.size, many, length, size, *outputs)
    for first, answer in zip(firsts, in_threads(part, firsts, lambda _: kind), strict=True):
        lanes = slice(first, first + size)
        for k in range(3):
            found[k][:, lanes] = answer[k]
        for k in range(3, 6):
            found[k][lanes] = answer[k]
    return found


@program()
def _judge(
    design: Design,
    views: Views,
    loss: Loss,
    data: Data,
    null: Null,
    columns: Columns,
    place: jax.Array,
    penalty: Penalty,
    lams: jax.Array,
    factor: jax.Array,
    b: jax.Array,
    which: jax.Array,
) -> tuple[jax.Array, ...]:
    """The fields of a `Certificate` of the training sets `which` (G,), for b (L, G, 1 + w, …)."""
    views, null, weights = of_sets(which, views, null, data.weights)
    data, columns = data._replace(weights=weights), columns_of(columns, which)
    b = jnp.swapaxes(b, 0, 1)
    eta = columns.predict(b) + data.offset
    eta = jnp.where(alike(data.weights[:, None], eta) > 0, eta, 0)
    _, dual, astray = duals(loss, data, null, eta)
    gradient = correlate_problems(design, views, jnp.where(alike(data.weights[:, None], dual) > 0, dual, 0))
    full = jnp.where(alike(place, b[0, 0]) > 0, b[:, :, place], 0)

    def of_set(null: Null, w: Any, eta: Any, dual: Any, g: Any, x: Any) -> Any:
        u, v = into_domain(loss, data, null, w, factor, dual, g)
        fit, deviance = (
            jax.vmap(lambda eta, each=each: per_sample(w, each(eta, data.target)))(eta)
            for each in (loss.value, loss.deviance)
        )

        def one(lam: Any, fit: Any, u: Any, v: Any, g: Any, x: Any) -> Any:
            at = penalty.at(lam)

            def bound(s: jax.Array) -> jax.Array:
                return dual_value(loss, at, s * u, s * v, data.target, w, data.offset)

            best = jnp.max(jax.vmap(bound)(jnp.stack([jnp.ones(()), at.shrink(-v)])))
            gap = jnp.maximum(fit + at.value(x) - best, 0)
            return jnp.where((lam > 0) & jnp.isfinite(best), gap, jnp.nan), _largest(at.residual(x, g), 1)

        gap, residual = jax.vmap(one)(lams, fit, u, v, g, x)
        return gap, residual, deviance

    gap, residual, deviance = jax.vmap(of_set)(null, data.weights, eta, dual, gradient, full)
    size = _largest(null.gradient, 1)
    kkt = jnp.maximum(jnp.max(residual, axis=2), astray) / jnp.where(size > 0, size, 1)[:, None]
    back = max(len(lams) - 2, 0)
    return gap.T / null.primal, kkt.T, deviance.T, jnp.max(residual, axis=1), gradient[:, -1], gradient[:, back]


def _largest(x: jax.Array, axis: int) -> jax.Array:
    """Largest absolute value over all axes from one on."""
    return jnp.max(jnp.abs(x), axis=tuple(range(axis, x.ndim)))
