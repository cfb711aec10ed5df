"""What a sweep found, in words and figures, and as one self-contained HTML page."""

import dataclasses
import importlib
import io as text_io
import math
import re
from typing import Any

import numpy as np

import jaxreg
from jaxreg._format import count, number, plus_minus
from jaxreg._result import describe_failures
from jaxreg.io import Fit, Model, Prepared
from jaxreg.penalties import ElasticNet
from jaxreg.plots import COLOURS, FAINT, INK, MUTED, CVDisplay, PathDisplay, darker, lighter
from jaxreg.selection import Selection

PENALTIES = {"l1": "L1 (lasso)", "l2": "L2 (ridge)", "elastic_net": "elastic net", "mcp": "MCP", "scad": "SCAD"}


@dataclasses.dataclass(frozen=True)
class Chosen:
    """One of the two chosen models, as figures and as text."""

    key: str
    name: str
    lam: str
    error: str
    kept: int
    explained: str
    gap: str


@dataclasses.dataclass(frozen=True)
class Effect:
    """One feature in the chosen models.

    Attributes:
        feature: its name.
        at_min: coefficient at λ_min, on the scale of the table.
        at_1se: coefficient at λ_1se.
        effect: coefficient at λ_min times the standard deviation of the feature.
        effect_1se: coefficient at λ_1se times the same.
    """

    feature: str
    at_min: float
    at_1se: float
    effect: float
    effect_1se: float


@dataclasses.dataclass(frozen=True, eq=False)
class Summary:
    """A finished sweep, ready to be told.

    Attributes:
        table: name of the table.
        ready: the prepared table.
        grid: the `Selection`, with its axis of l1 ratios if there were several.
        penalty: its name, see `PENALTIES`.
        standardize: whether λ refers to standardized features.
        command: what was typed.
        constant: score of a constant prediction in the same folds.
        extra: notes beside those on the table.
    """

    table: str
    ready: Prepared
    grid: Selection
    penalty: str
    standardize: bool
    command: str
    constant: float
    extra: tuple[str, ...] = ()

    @property
    def best(self) -> Selection:
        """The selection of the winning l1 ratio, or the only one."""
        return self.grid if self.grid.l1_ratios is None else self.grid.best

    @property
    def scale(self) -> np.ndarray:
        """Standard deviations of the features, (p,)."""
        return self.ready.X.std(axis=0)

    @property
    def setting(self) -> str:
        """What was fitted, in one line."""
        best = self.best
        name = PENALTIES[self.penalty]
        if self.l1_ratio is not None:
            name += f", l1 ratio {self.l1_ratio:g}"
            if self.grid.l1_ratios is not None:
                name += f" (best of {', '.join(f'{ratio:g}' for ratio in self.grid.l1_ratios)})"
        n, p = self.ready.X.shape
        data = f"{count(n, 'row')}, {count(p, 'feature')}"
        return f"{data} · {self.ready.loss} loss · {name} · {len(best.lams)} λ · {len(best.scores)} folds"

    @property
    def l1_ratio(self) -> float | None:
        """Mix of the winning elastic net, None for other penalties."""
        penalty = self.best.path.penalty
        return float(penalty.l1_ratio) if isinstance(penalty, ElasticNet) else None

    @property
    def unit(self) -> str:
        """What effects add to."""
        ready = self.ready
        return f"the log-odds of {ready.target} = {ready.classes[1]}" if ready.classes else ready.target

    def chosen(self) -> list[Chosen]:
        """Return the models at λ_min and λ_1se."""
        best, rows = self.best, []
        for key, name in (("min", "λ min"), ("1se", "λ 1se")):
            i = best.index(key)
            gap = best.path.gap[i]
            rows.append(
                Chosen(
                    key=key,
                    name=name,
                    lam=number(best.lams[i], 3),
                    error=plus_minus(best.mean[i], best.se[i]),
                    kept=int((best.path.coef[i] != 0).sum()),
                    explained=f"{best.path.deviance_ratio[i]:.1%}",
                    # Without a bound on the objective, the residual of the optimality condition judges.
                    gap=f"residual {best.path.kkt[i]:.0e}" if math.isnan(gap) else f"{max(gap, 1e-15):.0e}",
                )
            )
        return rows

    def effects(self) -> list[Effect]:
        """All features, the largest absolute effect at λ_min first."""
        at_min, at_1se, scale = self.best.coef("min"), self.best.coef("1se"), self.scale
        rows = [
            Effect(name, float(a), float(b), float(a * s), float(b * s))
            for name, a, b, s in zip(self.ready.feature_names, at_min, at_1se, scale, strict=True)
        ]
        return sorted(rows, key=lambda row: (-abs(row.effect), -abs(row.effect_1se)))

    def headline(self) -> str:
        """Say what the sweep found, in a sentence or two."""
        at_min, at_1se = self.chosen()
        best, p = self.best, self.ready.X.shape[1]
        name = best.measure_title
        kept = [row.feature for row in sorted(self.effects(), key=lambda r: -abs(r.effect_1se)) if row.at_1se != 0]
        names = f": {', '.join(kept)}" if 0 < len(kept) <= min(8, p - 1) else ""
        if self.penalty == "l2":
            text = f"Ridge keeps all {count(p, 'feature')} and shrinks them."
        elif at_min.kept == at_1se.kept == 0:
            text = f"No feature is kept: none of them helps to predict {self.ready.target}."
        elif at_1se.kept == 0:
            text = f"No feature is needed at λ 1se, and {at_min.kept} of {p} are kept at λ min."
        else:
            text = f"{at_1se.kept} of {count(p, 'feature')} kept at λ 1se{names}."
        text += f" Cross-validated {name}: {at_min.error} at λ min"
        return f"{text}, {number(self.constant)} for a constant prediction."

    def notes(self) -> list[str]:
        """Say what a reader should know about the table and the fit."""
        best = self.best
        notes = [*self.ready.notes, *self.extra]
        index, last = best.index("min"), len(best.lams) - 1
        if index == last > 0:
            notes.append("The best λ is the weakest tried: the penalty hardly helps, or the grid ends too early.")
        failures = describe_failures(best.path.result)
        if failures:
            fits = count(last + 1, "fit")
            notes.append(f"Of {fits} on all rows: {failures}; their gaps say how far off they may be.")
        return notes

    def model(self) -> Model:
        """Make what model.json holds."""
        best = self.best
        fits = {
            key: Fit(
                lam=float(best.lams[best.index(key)]),
                coef=best.coef(key),
                intercept=float(best.intercept(key)),
                score=float(best.mean[best.index(key)]),
                se=float(best.se[best.index(key)]),
            )
            for key in ("min", "1se")
        }
        return Model(
            loss=self.ready.loss,
            penalty=self.penalty,
            l1_ratio=self.l1_ratio,
            standardize=self.standardize,
            measure=best.measure,
            target=self.ready.target,
            classes=self.ready.classes,
            encoding=self.ready.encoding,
            fits=fits,
            version=jaxreg.__version__,
        )


def render(summary: Summary) -> str:
    """One self-contained HTML page: pictures, chosen models, coefficients, notes and the command.

    Raises:
        ImportError: if jinja2 or matplotlib is not installed.
    """
    try:
        jinja2 = importlib.import_module("jinja2")
        figure = importlib.import_module("matplotlib.figure").Figure
    except ImportError as error:
        raise ImportError('reports need jinja2 and matplotlib: pip install "jaxreg[cli]"') from error
    best, ready = summary.best, summary.ready
    marks = {"lam_min": best.lam_min, "lam_1se": best.lam_1se}
    drawings = {}
    for name in ("errors", "path"):
        canvas = figure(figsize=(5.6, 3.9), layout="constrained")
        ax = canvas.subplots()
        if name == "errors":
            CVDisplay.from_selection(summary.grid, ax=ax)
        else:
            names, scale = ready.feature_names, summary.scale
            PathDisplay.from_path(best.path, feature_names=names, scale=scale, ax=ax, **marks)
        drawings[name] = _svg(canvas, name)
    effects = summary.effects()
    kept = [row for row in effects if row.at_min != 0 or row.at_1se != 0]
    widest = max((max(abs(row.effect), abs(row.effect_1se)) for row in kept), default=1.0)
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("jaxreg", "templates"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["number"] = number
    return environment.get_template("report.html.j2").render(
        summary=summary,
        ready=ready,
        best=best,
        measure=best.measure_title,
        drawings=drawings,
        kept=kept,
        dropped=[row.feature for row in effects if row.at_min == 0 and row.at_1se == 0],
        widest=widest,
        colours=[(colour, darker(colour), lighter(colour)) for colour in COLOURS],
        ratios=_ratios(summary.grid),
        version=jaxreg.__version__,
    )


def _ratios(grid: Selection) -> list[dict[str, Any]]:
    """One line for every l1 ratio that was tried; none if there was only one."""
    if grid.l1_ratios is None:
        return []
    rows = []
    for ratio, lams, mean, se, lam in zip(grid.l1_ratios, grid.lams, grid.mean, grid.se, grid.lam_min, strict=True):
        i = int(np.argmin(np.abs(lams - lam)))
        rows.append({"ratio": f"{ratio:g}", "lam": number(lam, 3), "error": plus_minus(mean[i], se[i])})
    return rows


def _svg(figure: Any, name: str) -> str:
    """Turn a figure into inline SVG that follows the page: its text is text, its ink is the page's."""
    matplotlib = importlib.import_module("matplotlib")
    buffer = text_io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": name}):
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'<svg ([^>]*?)width="[^"]*"', r"<svg \1", svg, count=1)
    svg = re.sub(r'<svg ([^>]*?)height="[^"]*"', r"<svg \1", svg, count=1)
    # Two drawings on one page must not share ids.
    svg = re.sub(r'\bid="', f'id="{name}-', svg)
    svg = re.sub(r'(url\(|href=")#', rf"\1#{name}-", svg)
    names = {INK: "ink", MUTED: "muted", FAINT: "faint"}
    names |= {colour: f"line-{i}" for i, colour in enumerate(COLOURS)}
    names |= {darker(colour): f"text-{i}" for i, colour in enumerate(COLOURS)}
    return re.sub("|".join(names), lambda found: f"var(--{names[found[0]]})", svg)
