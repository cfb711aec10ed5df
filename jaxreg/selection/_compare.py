"""`compare`: L1, L2 and elastic net side by side on the same folds."""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from jaxreg._format import count, number, plus_minus
from jaxreg.losses import Logistic, Loss, Squared
from jaxreg.path import Path, fit_path
from jaxreg.penalties import L1, L2, ElasticNet
from jaxreg.selection._advice import Choice, Difference, Row, advise
from jaxreg.selection._cross_validate import cross_validate
from jaxreg.selection._measures import MEASURES
from jaxreg.selection._selection import Selection

OUTLIER = 5.0
"""How far, in standard deviations of the target, a contaminated number is moved."""


@dataclasses.dataclass(frozen=True, eq=False)
class Comparison:
    """L1, L2 and elastic net on the same folds.

    Attributes:
        rows: one `Row` per penalty, in the order L1, L2, elastic net.
        differences: by pair of names, how much worse the first is than the second at their λ_min: mean and
            standard error of the differences fold by fold.
        null: how much worse a constant prediction is than the best row, likewise.
        selections: by name, the `Selection` that a row was made from.
        measure: what errors measure.
        contamination: share of targets that was contaminated.
        shape: (n, p) of X.
        varying: number of features that are not constant.
        advice: what follows from the figures, by the rules of `jaxreg.selection._advice`.
    """

    rows: list[Row]
    differences: dict[tuple[str, str], Difference]
    null: Difference
    selections: dict[str, Selection]
    measure: str
    contamination: float
    shape: tuple[int, int]
    varying: int
    advice: str

    def heading(self) -> str:
        """Say in a line what was compared on what."""
        n, p = self.shape
        folds = len(self.selections["L1"].scores)
        penalty = self.selections["elastic net"].path.penalty
        ratio = penalty.l1_ratio if isinstance(penalty, ElasticNet) else 1.0
        return f"{count(n, 'row')}, {count(p, 'feature')} · the same {folds} folds for each · l1 ratio {ratio:g}"

    def table(self) -> list[tuple[str, list[tuple[str, list[str]]]]]:
        """Figures as text, in groups: a title, and lines of a label with one entry per row."""
        measure = MEASURES[self.measure]
        better = "higher" if measure.larger_is_better else "lower"

        def line(label: str, show: Callable[[Row], str]) -> tuple[str, list[str]]:
            return label, [show(row) for row in self.rows]

        def both(show: Callable[[Choice], str], remark: str = "") -> list[tuple[str, list[str]]]:
            at_min = line("at λ min" + remark, lambda row: show(row.at_min))
            return [at_min, line("at λ 1se", lambda row: show(row.at_1se))]

        moves = [
            line("predictions by", lambda row: _percent(row.moved_predictions)),
            line("coefficients by", lambda row: _percent(row.moved_coef)),
        ]
        return [
            (measure.title, both(lambda at: plus_minus(at.error, at.se), f" ({better} is better)")),
            (f"features kept, of {self.varying}", both(lambda at: str(at.kept))),
            ("stability of the selection", both(lambda at: number(at.stability, 2), " (1 is perfect)")),
            ("effective degrees of freedom", both(lambda at: number(at.df, 3))),
            (f"{self.contamination:.0%} wrong targets move", moves),
            ("strength λ", both(lambda at: number(at.lam, 3))),
        ]

    def remark(self) -> str:
        """Explain the dashes in the table; empty if there are none."""
        undefined = [row.name for row in self.rows if np.isnan(row.at_min.stability + row.at_1se.stability)]
        if not undefined:
            return ""
        names = ", ".join(undefined)
        return f"– stability is not defined where every fold keeps all features, or none: {names}."

    def __str__(self) -> str:
        """Write a plain table, and the advice."""
        names = [row.name for row in self.rows]
        groups = self.table()
        entries = [line for _, lines in groups for line in lines]
        label = max(2 + len(text) for text, _ in entries)
        widths = [max(len(name), *(len(cells[i]) for _, cells in entries)) for i, name in enumerate(names)]

        def write(text: str, cells: list[str]) -> str:
            padded = [cell.rjust(width) for cell, width in zip(cells, widths, strict=True)]
            return "  ".join([text.ljust(label), *padded])

        body = [write("", names)]
        for title, lines in groups:
            body += [title, *(write("  " + text, cells) for text, cells in lines)]
        return "\n".join([self.heading(), "", *body, *filter(None, [self.remark()]), "", self.advice])


def compare(
    X: Any,
    y: Any,
    *,
    loss: Loss | None = None,
    l1_ratio: float = 0.5,
    lams: Any = 100,
    folds: int = 10,
    fold_id: Any = None,
    measure: str | None = None,
    sample_weight: Any = None,
    standardize: bool = True,
    contamination: float = 0.05,
    replicates: int = 5,
    seed: int = 0,
    tol: float = 1e-6,
    progress: Callable[[int, int], None] | None = None,
) -> Comparison:
    """Cross-validate L1, L2 and elastic net on the same folds, and say what the figures advise.

    Beside the error it measures how stable the kept features are over folds, and how far predictions and
    coefficients move, at the same λ, when a few targets are wrong: numbers moved by 5 standard deviations up
    or down, labels flipped.

    Args:
        X: features, (n, p).
        y: target, (n,); 0 or 1 for `Logistic`.
        loss: `Squared()` unless given.
        l1_ratio: mix of the elastic net.
        lams: number of strengths, or the strengths.
        folds: number of folds.
        fold_id: fold of each row, (n,); drawn unless given.
        measure: as in `cross_validate`.
        sample_weight: weights w ≥ 0, (n,).
        standardize: whether to penalize standardized columns.
        contamination: share of the targets to contaminate, in (0, 0.5]; at least one row is.
        replicates: how many times, with different rows.
        seed: of folds and contaminated rows.
        tol: bound on the relative duality gap.
        progress: a function of (fits done, fits in all), called now and then.

    Raises:
        ValueError: if `contamination` or `replicates` is out of range, and as `cross_validate`.

    Source: the stability is that of Nogueira, Sechidis & Brown (2018), "On the stability of feature selection
    algorithms", JMLR 18, equation 4.
    """
    if not 0 < contamination <= 0.5:
        raise ValueError(f"contamination must be in (0, 0.5], got {contamination:g}")
    if replicates < 1:
        raise ValueError(f"replicates must be at least 1, got {replicates}")
    loss = loss or Squared()
    common: dict[str, Any] = {
        "loss": loss, "sample_weight": sample_weight, "standardize": standardize, "tol": tol,
    }  # fmt: skip
    penalties = {"L1": L1(), "L2": L2(), "elastic net": ElasticNet(l1_ratio=l1_ratio)}
    selections: dict[str, Selection] = {}
    total = len(penalties) * (1 + replicates)
    report = (lambda done: progress(done, total)) if progress else (lambda done: None)
    for name, penalty in penalties.items():
        selections[name] = cross_validate(
            X,
            y,
            penalty=penalty,
            lams=lams,
            folds=folds,
            fold_id=fold_id,
            measure=measure,
            seed=seed,
            **common,
        )
        fold_id = selections[name].fold_id
        report(len(selections))
    targets = contaminated(np.asarray(y, float), loss, contamination, replicates, seed)
    X = np.asarray(X, float)
    varying = np.ptp(X, axis=0) > 0
    rows: list[Row] = []
    for name, selection in selections.items():
        refits = [fit_path(X, bad, penalty=penalties[name], lams=[selection.lam_min], **common) for bad in targets]
        moved = _moved(X, selection, refits)
        report(len(selections) + (len(rows) + 1) * replicates)
        at_min, at_1se = (_choice(selection, which, varying) for which in ("min", "1se"))
        rows.append(Row(name, penalties[name], at_min, at_1se, *moved))
    measure, sizes = selections["L1"].measure, selections["L1"].fold_size
    sign = -1.0 if MEASURES[measure].larger_is_better else 1.0
    scores = {name: sign * s.scores[:, s.index("min")] for name, s in selections.items()}
    differences = {(a, b): Difference.of(scores[a], scores[b], sizes) for a in penalties for b in penalties if a != b}
    best = min(rows, key=lambda row: sign * row.at_min.error).name
    constant = sign * selections["L1"].null_scores
    null = Difference.of(constant, scores[best], sizes)
    advice = advise(rows, differences, null, int(varying.sum()))
    return Comparison(rows, differences, null, selections, measure, contamination, X.shape, int(varying.sum()), advice)


def selection_stability(supports: Any) -> float:
    """Agreement between feature sets, at most 1, and 0 on average for sets drawn at random.

    1 − mean_f s_f² / (k̄/p (1 − k̄/p)), with s_f² the unbiased variance of the indicator of feature f over the
    M sets, and k̄ their mean size. It is undefined, and NaN, when all sets are empty or all are full (as for
    ridge): then nothing was selected. Folds share most of their rows, so figures from folds are flattering.

    Args:
        supports: (M, p), true where a set has a feature.

    Source: Nogueira, Sechidis & Brown (2018), JMLR 18, definition 4.

    >>> selection_stability([[1, 1, 0, 0], [1, 1, 0, 0]]), selection_stability([[1, 1], [1, 1]])
    (1.0, nan)
    """
    supports = np.asarray(supports, bool).astype(float)
    if supports.ndim != 2 or len(supports) < 2:
        raise ValueError(f"supports must have shape (M, p) with M at least 2, got {supports.shape}")
    share = supports.mean()
    if share in (0.0, 1.0):
        return float("nan")
    return float(1 - supports.var(axis=0, ddof=1).mean() / (share * (1 - share)))


def contaminated(y: np.ndarray, loss: Loss, share: float, replicates: int, seed: int) -> list[np.ndarray]:
    """Copy y, and make a random share of the targets wrong, several times over.

    Labels are flipped, unless that would leave only one class; numbers are moved by `OUTLIER` standard
    deviations, up or down.
    """
    rng = np.random.default_rng(seed)
    targets = []
    for _ in range(replicates):
        bad = y.copy()
        for i in rng.permutation(len(y))[: max(1, round(share * len(y)))]:
            if not isinstance(loss, Logistic):
                bad[i] += rng.choice((-OUTLIER, OUTLIER)) * y.std()
            elif np.sum(bad == bad[i]) > 1:
                bad[i] = 1 - bad[i]
        targets.append(bad)
    return targets


def _choice(selection: Selection, which: str, varying: np.ndarray) -> Choice:
    """Figures at one choice; constant features, which no penalty keeps, have no part in the stability."""
    i = selection.index(which)
    # Leave-one-out for ridge is found in closed form, without coefficients of its folds: it selects nothing.
    closed = selection.fold_slopes is None
    return Choice(
        lam=float(selection.lams[i]),
        error=float(selection.mean[i]),
        se=float(selection.se[i]),
        kept=int((selection.path.coef[i] != 0).sum()),
        df=float(selection.path.df[i]),
        stability=np.nan if closed else selection_stability(selection.fold_coef[:, i, varying] != 0),
    )


def _moved(X: np.ndarray, selection: Selection, refits: list[Path]) -> tuple[float, float]:
    """Relative change of predictions and of standardized coefficients, averaged over refits."""
    scale = X.std(axis=0)
    coef = selection.coef("min")
    eta = X @ coef + selection.intercept("min")
    spread, size = np.linalg.norm(eta - eta.mean()), np.linalg.norm(scale * coef)
    if spread == 0 or size == 0:
        return float("nan"), float("nan")
    etas = np.stack([X @ refit.coef[0] + refit.intercept[0] for refit in refits])
    coefs = np.stack([refit.coef[0] for refit in refits])
    return (
        float(np.mean(np.linalg.norm(etas - eta, axis=1)) / spread),
        float(np.mean(np.linalg.norm(scale * (coefs - coef), axis=1)) / size),
    )


def _percent(share: float) -> str:
    """Write a share; where there is next to nothing to move, relative to it any move is huge."""
    return "–" if np.isnan(share) else "> 1000%" if share > 10 else f"{share:.0%}"
