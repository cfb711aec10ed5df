"""The reference page: every loss and penalty, from their docstrings and from what they say of themselves.

`python -m jaxreg.reference` writes REFERENCE.md beside this file. Formulas, costs and sources are those of the
docstrings. Whether a member is convex, what certifies its fits, and which door takes it is asked of the member itself.
"""

import inspect
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import jaxreg
from jaxreg.linear.free import check_penalty
from jaxreg.linear.groups.parts import in_groups, in_rows
from jaxreg.losses import Coupled, Joint, Loss, Nonsmooth
from jaxreg.penalties import Blocks, Elastic, Masked, Nonconvex, Penalty, Smooth, Sum, Units, is_sharp

PAGE = Path(__file__).with_name("REFERENCE.md")
PLACES, COLUMNS = 4, 2
"""Shape of the coefficients that members are tried on: a vector, or a matrix where they refuse one."""
LABELS = [0, 0, 1, 1]
NEEDED: dict[str, dict[str, Any]] = {
    "Box": {"lower": -1.0, "upper": 1.0},
    "KSupport": {"k": 2},
    "SLOPE": {"weights": [4.0, 3.0, 2.0, 1.0]},
    **{name: {"groups": LABELS} for name in ("GroupLasso", "SparseGroupLasso", "GroupMCP", "GroupSCAD")},
    **{name: {"groups": [[0, 1], [2, 3]]} for name in ("OverlappingGroupLasso", "TreeGroupLasso")},
}
"""Arguments without which a member cannot be made."""
FAMILIES = {
    "Single entries": ("_elastic", "_nonconvex", "_sharp", "_smooth"),
    "Groups and rows": ("_group", "_group_nonconvex", "_nested"),
    "Order, magnitude and neighbours": ("_sorted", "_k_support", "_fused", "_variation2d"),
    "Matrices": ("_spectral",),
    "Constraints": ("_intervals", "_constraints", "_isotonic"),
}
"""Penalties by the module that holds them."""

HEAD = """# Losses and penalties

Made from the docstrings by `python -m jaxreg.reference`; a test keeps it current.

What is minimized is (1/Σw) Σ w ℓ(η, y) + g(b): the weighted mean loss of predictions η, and a penalty of strength λ.
Below, p is the number of entries of a parameter. In the tables,

- **certificate** is what proves a solution: *gap*, a duality gap that bounds how far the objective is above its
  minimum, or *residual*, the distance of the gradient from the penalty's subdifferential, relative to the gradient of
  the null model. A fit has a gap if both its loss and its penalty have one; *by convexity*, the bound needs no
  conjugate. For a penalty that is not convex the residual proves a stationary point, which may be a local minimum;
  *step*: it is what a proximal step of fixed length would change, since every support is stationary.
- **linear models** is what `fit_path` and `cross_validate` do: *fast*, the batched active-set engine, for the elastic
  family with a loss of single predictions, response by response if there are several; *groups*, group working sets, for
  those losses and, where groups are of whole rows, for all of separate samples; *generic*, accelerated proximal
  gradients, for all else; *splitting*, alternating directions for losses with kinks; *…, y (n, k)*, those where
  coefficients are a matrix (several responses, or classes); *in a sum*, beside a penalty that has a strength, as in
  `L1() + NonNegative()`. `Objective` with `solve` and `sweep` takes all penalties, and all losses without kinks.
- **prox** is the cost of a proximal step, and how exact it is; **curvature** that of the loss in η.
"""


def page() -> str:
    """The whole page, in Markdown."""
    losses, penalties = _members(Loss), _members(Penalty)
    parts = [HEAD, "## Losses\n", _table(LOSS_COLUMNS, losses)]
    for family, modules in FAMILIES.items():
        inside = [one for one in penalties if one.__module__.rsplit(".", 1)[1] in modules]
        parts += [f"## Penalties: {family[0].lower()}{family[1:]}\n", _table(PENALTY_COLUMNS, inside)]
    composed = [Sum, Masked, Blocks, Units]
    parts += ["## Penalties: composed\n", _table(COMPOSED_COLUMNS, composed)]
    parts += ["# Each by itself\n"]
    names = {one.__name__ for one in [*losses, *penalties]}
    parts += [_section(one, names) for one in sorted([*losses, *penalties], key=lambda one: one.__name__.lower())]
    return "\n".join(parts)


def _members(kind: type) -> list[Any]:
    """Public classes of a kind that are not abstract, in the order of their modules."""
    public = [getattr(jaxreg, name) for name in jaxreg.__all__]
    found = [one for one in public if inspect.isclass(one) and issubclass(one, kind) and not inspect.isabstract(one)]
    return sorted(found, key=lambda one: (one.__module__, inspect.getsourcelines(one)[1]))


def example(member: Any) -> Any:
    """Make a member, with arguments only where it needs some."""
    return member(**NEEDED.get(member.__name__, {}))


# --- what members say of themselves -------------------------------------------------------------------------


def _home(penalty: Penalty) -> tuple[int, ...]:
    """Shape of coefficients that the penalty takes: a vector if it does."""
    for shape in ((PLACES,), (PLACES, COLUMNS)):
        try:
            jax.eval_shape(penalty.value, jnp.zeros(shape))
        except ValueError:
            continue
        return shape
    raise ValueError(f"{penalty!r} takes neither a vector nor a matrix")


def _convexity(member: Any) -> str:
    if issubclass(member, Nonconvex):
        return "no"
    return "yes, smooth" if issubclass(member, Smooth) else "yes"


def _penalty_certificate(member: Any) -> str:
    penalty = example(member)
    if is_sharp(penalty):
        return "residual (step)"
    return "residual" if np.isnan(jax.jit(penalty.conjugate)(jnp.zeros(_home(penalty)))) else "gap"


def _penalty_door(member: Any) -> str:
    penalty = example(member)
    if isinstance(penalty, Elastic):
        return "fast"
    if in_groups(penalty):
        return "groups"
    if in_rows(penalty):
        return "groups, y (n, k)"
    shape = _home(penalty)
    try:
        check_penalty(penalty, (PLACES,))
    except TypeError:
        if penalty.lam is None:
            return "in a sum"
        try:
            check_penalty(penalty, (PLACES, COLUMNS))
        except TypeError:
            return "solve"
        return "generic, y (n, k)"
    return "generic" if len(shape) == 1 else "generic, y (n, k)"


def _loss_certificate(member: Any) -> str:
    """A gap by the conjugate, or else by what `objective.ray_gap` makes of convexity."""
    known = jax.jit(example(member).conjugate)(jnp.zeros((1, 2)), jnp.full((1, 2), 0.5))
    return "gap, by convexity" if np.isnan(known).any() else "gap"


def _loss_door(member: Any) -> str:
    if issubclass(member, Nonsmooth):
        return "splitting"
    if issubclass(member, Joint):
        return "groups of rows, else generic"
    return "generic" if issubclass(member, Coupled) else "fast"


def _curvature(member: Any) -> str:
    bound = example(member).curvature
    return "unbounded" if np.isinf(bound) else {0.25: "¼", 0.5: "½"}.get(bound, f"{bound:g}")


# --- what docstrings say ------------------------------------------------------------------------------------


def _paragraphs(member: Any) -> list[str]:
    return (inspect.getdoc(member) or "").split("\n\n")


def _summary(member: Any) -> str:
    return _joined(_paragraphs(member)[0]).removesuffix(".")


def _joined(text: str) -> str:
    return " ".join(line.strip() for line in text.splitlines())


def _labelled(member: Any, label: str) -> str:
    found = [part for part in _paragraphs(member) if part.startswith(label + ":")]
    return _joined(found[0]).removeprefix(label + ":").strip() if found else ""


def _cost(member: Any) -> str:
    return _labelled(member, "Prox").removesuffix(".")


def _author(member: Any) -> str:
    """Authors and year of the first source."""
    found = re.match(r".*?\(\d{4}\)", _labelled(member, "Source"))
    return found.group(0) if found else ""


def _mean(member: Any) -> str:
    return _joined((inspect.getdoc(member.mean) or "").split("\n\n")[0]).removesuffix(".")


PENALTY_COLUMNS: dict[str, Callable[[Any], str]] = {
    "what it is": _summary,
    "convex": _convexity,
    "prox": _cost,
    "certificate": _penalty_certificate,
    "linear models": _penalty_door,
    "source": _author,
}
COMPOSED_COLUMNS: dict[str, Callable[[Any], str]] = {"what it is": _summary}
LOSS_COLUMNS: dict[str, Callable[[Any], str]] = {
    "what it is": _summary,
    "mean of η": _mean,
    "curvature at most": _curvature,
    "certificate": _loss_certificate,
    "linear models": _loss_door,
    "source": _author,
}


# --- Markdown -----------------------------------------------------------------------------------------------


def _table(columns: dict[str, Callable[[Any], str]], members: list[Any]) -> str:
    rows = [["name", *columns], ["---"] * (1 + len(columns))]
    for member in members:
        name = member.__name__
        cells = [_plain(cell(member)).replace("|", "\\|") for cell in columns.values()]
        rows.append([f"[`{name}`](#{name.lower()})", *cells])
    return "\n".join("| " + " | ".join(row) + " |" for row in rows) + "\n"


def _plain(text: str) -> str:
    """Escape what Markdown would take for markup, but for what is code already."""
    parts = re.split(r"(`[^`]*`)", text)
    return "".join(part if part.startswith("`") else re.sub(r"([*<])", r"\\\1", part) for part in parts)


def _section(member: Any, names: set[str]) -> str:
    """One member: how it is called, and its docstring."""
    bare = [one.replace(annotation=inspect.Parameter.empty) for one in inspect.signature(member).parameters.values()]
    call = str(inspect.Signature(bare))
    lines = [f"## {member.__name__}", "", f"`{member.__name__}{call}`", ""]
    for part in _paragraphs(member):
        lines += [*_paragraph(part, names - {member.__name__}), ""]
    return "\n".join(lines)


def _paragraph(part: str, names: set[str]) -> list[str]:
    label = part.split("\n", 1)[0]
    if part.startswith(">>>"):
        return ["```python", part, "```"]
    if label in ("Args:", "Raises:"):
        entries: list[str] = []
        for line in part.splitlines()[1:]:
            if line.startswith("    ") and not line.startswith("     "):
                entries.append(line.strip())
            else:
                entries[-1] += " " + line.strip()
        pairs = [entry.split(": ", 1) for entry in entries]
        return [f"**{label[:-1]}**", "", *(f"- `{name}`: {_linked(_plain(text), names)}" for name, text in pairs)]
    if label.startswith(("|", "-")):
        return [_linked(line, names) if label.startswith("|") else _plain(line) for line in part.splitlines()]
    text = _linked(_plain(_joined(part)), names)
    return [re.sub(r"^(Source|Prox):", r"**\1:**", text)]


def _linked(text: str, names: set[str]) -> str:
    """Names of other members in backticks become links."""

    def link(found: re.Match[str]) -> str:
        name = found.group(1)
        return f"[`{name}`](#{name.lower()})" if name in names else found.group(0)

    return re.sub(r"`(\w+)`", link, text)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
