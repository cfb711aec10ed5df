"""The lasso's path from breakpoint to breakpoint: exact, and no dearer for more λ.

Between changes of its active set a lasso solution is linear in λ. The tableau says where the next entry reaches zero or
the next gradient its bound; one pivot there, and the next piece of the path is known. A path has about as many
breakpoints as columns that enter, each is a product of a few vectors, and the solution at a λ is read off its piece.

Who follows the path never looks back: what rounding or ties have done to it, the certificate tells.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxreg.linear.active.chunk import Chunk
from jaxreg.linear.active.inner import violation
from jaxreg.linear.active.tableau import Tableau, dot

GATHERED, SHARE = 32, 16
"""Pivots gathered before they are worked into the matrix, as one product: so many, or one for so many columns."""
DEPENDENT = 1e-10
"""Share of its square that a column must have beside the active ones in order to join them."""
OFTEN = 8
"""Breakpoints for each column, after which the path is given up."""
TIED = 1e-12
"""Distance in λ, as a share of it, below which a breakpoint is at that λ: there its entry is zero, exactly."""
WRONG = 1e-9
"""Violation at the start, as a share of the largest gradient, above which the path is followed from its beginning."""


class _Point(NamedTuple):
    """Where the path is: solution and gradient are linear in λ from here on to the next breakpoint.

    Of members b = fixed − λ·sloped. Of all others fixed − λ·sloped is the negative gradient.
    """

    fixed: jax.Array
    sloped: jax.Array
    sign: jax.Array
    """(d,) of the members, times their penalty factors."""
    members: jax.Array
    left: jax.Array
    """(d,) diagonal of the tableau: of others, what the members leave of their squares."""
    who: jax.Array
    when: jax.Array
    """The λ of the next breakpoint."""
    passed: jax.Array
    """Breakpoints so far."""


class _Pieces(NamedTuple):
    """The last piece that began above each λ, and room for one that no λ needs."""

    lines: jax.Array
    """(L + 1, 3, d) `fixed`, `sloped` and `sign`, zero off the members."""
    steps: jax.Array
    """(L + 1,) breakpoints since the λ before."""
    at: jax.Array
    """Where the last piece stands; one past the end if it began at the last λ, up to rounding."""


def follow(
    gram: jax.Array,
    linear: jax.Array,
    free: jax.Array,
    l1: jax.Array,
    factor: jax.Array,
    start: jax.Array,
    here: jax.Array,
    tableau: Tableau,
) -> tuple[Chunk, Tableau]:
    """Minimizers of ½bᵀGb − linearᵀb + λ Σ factor|b| over the free entries, for decreasing λ.

    Args:
        gram: G, (d, d), positive semidefinite.
        linear: (d,).
        free: (d,) which entries may be nonzero.
        l1: λ, (L,).
        factor: penalty factors, (d,); 0 for an entry without a kink.
        start: minimizer at `here`; where it is none, the path is followed from its beginning.
        here: a λ no smaller than any of `l1`.
        tableau: that of an earlier stretch with the same Gram, or an empty one.

    Source: Osborne, Presnell & Turlach (2000), "A new approach to variable selection in least squares problems", IMA
    Journal of Numerical Analysis 20; Efron, Hastie, Johnstone & Tibshirani (2004), "Least angle regression", Annals of
    Statistics 32. That pivots are gathered into products of matrices is ours.
    """
    d, last = linear.size, l1[-1]
    index, squares = jnp.arange(d), jnp.diagonal(gram)
    size = min(max(GATHERED, d // SHARE), d)

    b = jnp.where(free, start, 0)
    g = dot(gram, b) - linear
    astray = violation(b, g, here * factor, free) > WRONG * jnp.max(jnp.where(free, jnp.abs(linear), 0))
    b, here = jnp.where(astray, 0, b), jnp.where(astray, jnp.inf, here)
    # One that has a jitter, or is none yet, is of no use.
    tableau = tableau.begun(gram, jnp.zeros(d), jnp.any(tableau.extra != 0) | astray)
    tableau = tableau.with_members(b != 0)
    tableau = jax.lax.while_loop(lambda t: t.gathered > 0, lambda t: t.folded(), tableau)

    def ahead(point: _Point, now: jax.Array) -> _Point:
        """The next breakpoint below `now`."""
        fixed, sloped = point.fixed, point.sloped
        zero = jnp.where(sloped * point.sign < 0, fixed / sloped, -jnp.inf)
        may = free & (point.left > DEPENDENT * squares)
        above = jnp.where(may & (factor + sloped > 0), fixed / (factor + sloped), -jnp.inf)
        below = jnp.where(may & (factor - sloped > 0), fixed / (sloped - factor), -jnp.inf)
        bound = jnp.where(may & (factor == 0), jnp.inf, jnp.maximum(above, below))
        when = jnp.where(point.members, zero, bound)
        who = jnp.argmax(when)
        return point._replace(who=who, when=jnp.minimum(when[who], now))

    def goes_on(point: _Point) -> jax.Array:
        return (point.when > last) & (point.passed < OFTEN * d)

    def stretch(state: tuple[jax.Array, _Point, _Pieces]) -> tuple[jax.Array, _Point, _Pieces]:
        matrix, point, pieces = state

        def pivot(state: tuple) -> tuple:
            point, pieces, left, right, gathered = state
            k, leaves = point.who, point.members[point.who]
            row = matrix[k] - dot(left[:, k], right)
            mine, inverse = index == k, 1 / row[k]
            column = jnp.where(point.members == leaves, row, -row)
            rest = (row - mine) * inverse
            left = jax.lax.dynamic_update_index_in_dim(left, column + mine, gathered, 0)
            right = jax.lax.dynamic_update_index_in_dim(right, rest, gathered, 0)

            sign = jnp.where(
                leaves, point.sign[k], jnp.copysign(factor[k], point.fixed[k] - point.when * point.sloped[k])
            )
            slope = point.sloped[k] + jnp.where(leaves, 0, sign)
            sloped = jnp.where(mine, slope * inverse - jnp.where(leaves, sign, 0), point.sloped - rest * slope)
            after = point._replace(
                fixed=point.fixed - rest * point.fixed[k],
                sloped=sloped,
                sign=jnp.where(mine, jnp.where(leaves, 0, sign), point.sign),
                members=point.members ^ mine,
                left=point.left - (column + mine) * rest,
                passed=point.passed + 1,
            )
            after = ahead(after, point.when)
            begins = point.when * jnp.where(leaves | (factor[k] == 0), 1 + TIED, 1 - TIED)
            at = jnp.maximum(jnp.sum(l1 > begins), pieces.at)
            lines = jnp.where(after.members, jnp.stack([after.fixed, after.sloped, after.sign]), 0)
            lines = jax.lax.dynamic_update_index_in_dim(pieces.lines, lines, at, 0)
            pieces = _Pieces(lines, pieces.steps.at[at].add(1), at)
            return after, pieces, left, right, gathered + 1

        none = jnp.zeros((size, d))
        point, pieces, left, right, _ = jax.lax.while_loop(
            lambda s: goes_on(s[0]) & (s[4] < size), pivot, (point, pieces, none, none, jnp.asarray(0))
        )
        return matrix - dot(left.T, right), point, pieces

    sign = jnp.sign(b) * factor
    fixed, sloped = _line(tableau, linear), _line(tableau, sign)
    first = ahead(
        _Point(fixed, sloped, sign, tableau.members, tableau.diagonal(), jnp.asarray(0), here, jnp.asarray(0)), here
    )
    begun = jnp.where(first.members, jnp.stack([fixed, sloped, sign]), 0)
    room = 1 + l1.size
    pieces = _Pieces(jnp.zeros((room, 3, d)).at[0].set(begun), jnp.zeros(room, int), jnp.asarray(0))
    matrix, point, pieces = jax.lax.while_loop(lambda s: goes_on(s[1]), stretch, (tableau.matrix, first, pieces))

    steps = pieces.steps[:-1]
    piece = jax.lax.cummax(jnp.where(steps > 0, jnp.arange(l1.size), 0))
    fixed, sloped, sign = jnp.moveaxis(pieces.lines[piece], 1, 0)
    found = fixed - l1[:, None] * sloped
    # At a breakpoint rounding may leave an entry on the other side of zero.
    found = jnp.where((found * sign < 0) | ~free, 0, found)
    return Chunk(found, steps), tableau._replace(matrix=matrix, members=point.members)


def _line(tableau: Tableau, known: jax.Array) -> jax.Array:
    """M_AA⁻¹ times `known` of the members; of all others, what that leaves of `known`."""
    out = tableau.times(jnp.where(tableau.members, known, 0))
    return jnp.where(tableau.members, out, known - out)
