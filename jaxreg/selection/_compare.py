"""`compare`: L1, L2 and elastic net side by side on the same folds."""

import dataclasses
from typing import Any

import numpy as np

from jaxreg._format import count, measure_name, number, plus_minus
from jaxreg.losses import Logistic, Loss, Squared
from jaxreg.path import Path, fit_path
from jaxreg.penalties import L1, L2, ElasticNet
from jaxreg.selection._advice import Choice, Difference, Row, advise
from jaxreg.selection._cross_validate import Selection, cross_validate

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
        advice: what follows from the figures, by the rules of `jaxreg.selection._advice`.

    """

    rows: list[Row]
    differences: dict[tuple[str, str], Difference]
    null: Difference
    selections: dict[str, Selection]
    measure: str
    contamination: float
    shape: tuple[int, int]
    advice: str

    def table(self) -> list[tuple[str, list[str]]]:
        """Figures as text: for every line its label and one entry per row."""
        p = self.shape[1]
        better = "higher" if self.measure == "auc" else "lower"
        bad = f"{self.contamination:.0%} bad targets"

        def line(label: str, figure: Any) -> tuple[str, list[str]]:
            return label, [figure(row) for row in self.rows]

        def stability(choice: Choice) -> str:
            if np.isnan(choice.stability):
                return "keeps all" if choice.kept == p else "undefined"
            return f"{choice.stability:.2f}".replace("-", "−")

        return [
            line(f"{measure_name(self.measure)} at λ min", lambda r: plus_minus(r.at_min.error, r.at_min.se)),
            line(f"  at λ 1se ({better} is better)", lambda r: plus_minus(r.at_1se.error, r.at_1se.se)),
            line(f"features kept of {p} at λ min", lambda r: str(r.at_min.kept)),
            line("  at λ 1se", lambda r: str(r.at_1se.kept)),
            line("stability of the kept over folds", lambda r: stability(r.at_min)),
            line("  at λ 1se (1 is perfect)", lambda r: stability(r.at_1se)),
            line("effective degrees of freedom", lambda r: number(r.at_min.df, 3)),
            line(f"{bad} move predictions by", lambda r: _percent(r.moved_predictions)),
            line("  and coefficients by", lambda r: _percent(r.moved_coef)),
            line("λ min", lambda r: number(r.at_min.lam, 3)),
            line("λ 1se", lambda r: number(r.at_1se.lam, 3)),
        ]

    def __str__(self) -> str:
        """Write a plain table, and the advice."""
        n, p = self.shape
        folds = len(next(iter(self.selections.values())).scores)
        lines = self.table()
        label = max(len(text) for text, _ in lines)
        widths = [
            max(len(row.name), *(len(cells[i]) for _, cells in lines)) for i, row in enumerate(self.rows)
        ]

        def write(text: str, cells: list[str]) -> str:
            padded = [cell.rjust(width) for cell, width in zip(cells, widths, strict=True)]
            return "  ".join([text.ljust(label), *padded])

        head = f"{count(n, 'row')}, {count(p, 'feature')}, {folds} folds, the same for every penalty"
        body = [write(text, cells) for text, cells in lines]
        return "\n".join([head, "", write("", [row.name for row in self.rows]), *body, "", self.advice])


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
    targets = contaminated(np.asarray(y, float), loss, contamination, replicates, seed)
    X = np.asarray(X, float)
    rows = []
    for name, selection in selections.items():
        refits = [
            fit_path(X, bad, penalty=penalties[name], lams=[selection.lam_min], **common) for bad in targets
        ]
        moved = _moved(X, selection, refits)
        at_min, at_1se = (_choice(selection, which) for which in ("min", "1se"))
        rows.append(Row(name, penalties[name], at_min, at_1se, *moved))
    sign = -1.0 if selections["L1"].measure == "auc" else 1.0
    scores = {name: sign * s.scores[:, s.index("min")] for name, s in selections.items()}
    differences = {
        (a, b): Difference.of(scores[a], scores[b]) for a in penalties for b in penalties if a != b
    }
    best = min(rows, key=lambda row: sign * row.at_min.error).name
    null = Difference.of(sign * _null_scores(selections["L1"]), scores[best])
    advice = advise(rows, differences, null, X.shape[1])
    measure = selections["L1"].measure
    return Comparison(rows, differences, null, selections, measure, contamination, X.shape, advice)


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


def _choice(selection: Selection, which: str) -> Choice:
    i = selection.index(which)
    return Choice(
        lam=float(selection.lams[i]),
        error=float(selection.mean[i]),
        se=float(selection.se[i]),
        kept=int((selection.path.coef[i] != 0).sum()),
        df=float(selection.path.df[i]),
        stability=selection_stability(selection.fold_coef[:, i] != 0),
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


def _null_scores(lasso: Selection) -> np.ndarray:
    """Scores of a constant per fold: the lasso's at λ_max, where it keeps nothing; NaN if off the grid."""
    if (lasso.path.coef[0] != 0).any():
        return np.full(len(lasso.scores), np.nan)
    return lasso.scores[:, 0]


def _percent(share: float) -> str:
    return "–" if np.isnan(share) else f"{share:.0%}"
