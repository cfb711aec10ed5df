"""`compare`: its figures are right, and its advice follows from them."""

import itertools

import numpy as np
import pytest

from jaxreg import L1, L2, ElasticNet, Logistic, Squared, cross_validate, fit_path
from jaxreg.selection import _advice as rules
from jaxreg.selection._advice import Choice, Difference, Row, advise
from jaxreg.selection._compare import compare, contaminated, selection_stability
from tests.tables import FEATURES, ROWS, SETTING, situation

NAMES = ("L1", "L2", "elastic net")

# advice, on figures made by hand: p = 20 features, every difference has standard error 1


def row(name: str, kept=8, kept_1se=8, stability=0.9, stability_1se=0.5, moved=0.1) -> Row:
    kept, kept_1se = (20, 20) if name == "L2" else (kept, kept_1se)
    nan = float("nan")
    at_min = Choice(0.1, 1.0, 0.1, kept, kept, nan if name == "L2" else stability)
    at_1se = Choice(0.5, 1.0, 0.1, kept_1se, kept_1se, nan if name == "L2" else stability_1se)
    return Row(name, L1(), at_min, at_1se, moved, moved)


def advice(errors=(0, 0, 0), null=10.0, lasso=None, ridge=None, net=None) -> str:
    """Advice for errors of L1, L2 and elastic net, and what else is told of them."""
    level = dict(zip(NAMES, errors, strict=True))
    differences = {(a, b): Difference(level[a] - level[b], 1.0) for a, b in itertools.permutations(NAMES, 2)}
    rows = [row("L1", **lasso or {}), row("L2", **ridge or {}), row("elastic net", **net or {})]
    return advise(rows, differences, Difference(null, 1.0), 20)


def test_rule_1_nothing_to_choose():
    assert "None of the three predicts clearly better than a constant" in advice(null=1.9)
    assert "None of the three" not in advice(null=2.1)


def test_rule_2_dense_signals_want_ridge():
    assert advice(errors=(3, 0, 3)).startswith("L2 predicts clearly better than L1 (by 3.0 ± 1.0) and elastic net")
    assert not advice(errors=(3, 0, 1)).startswith("L2")
    assert not advice(errors=(1, 0, 3)).startswith("L2")


def test_rule_3_the_candidate():
    assert advice(errors=(3, 4, 0)).startswith("Elastic net predicts clearly better than L1 (by 3.0 ± 1.0).")
    assert advice(errors=(3, 0, 1.5)).startswith("Elastic net: L2 is not clearly better than it")
    steadier = {"lasso": {"stability": 0.5}, "net": {"stability": 0.7}}
    why = "Elastic net: L1 predicts no better, and selects less stably (by 0.20)."
    assert advice(**steadier).startswith(why)
    assert advice(errors=(0, 0, 3), **steadier).startswith("L1: no other is clearly better.")
    assert advice(lasso={"stability": 0.65}, net={"stability": 0.7}).startswith("L1:")
    assert advice(errors=(0, 3, 0)).startswith("L1 predicts clearly better than L2 (by 3.0 ± 1.0)")


def test_rule_4_keeping_nearly_all_gains_nothing():
    most = {"kept": 18, "kept_1se": 18}
    assert advice(lasso=most).startswith("L2: no other is clearly better, and L1 keeps 18 of 20 features")
    assert advice(errors=(0, 3, 0), lasso=most).endswith("although it keeps 18 of 20 features.")
    assert advice(lasso={"kept": 17}).startswith("L1:")


def test_rule_5_an_unstable_selection_is_no_finding():
    shaky = {"lasso": {"stability": 0.3}, "net": {"stability": 0.35}}
    assert advice(**shaky) == (
        "L2: no other is clearly better. What L1 keeps changes from fold to fold (stability 0.30 of 1): do "
        "not read it as a finding."
    )
    assert advice(errors=(0, 3, 0), **shaky).startswith("L1 predicts clearly better than L2")
    assert "do not read it as a finding" in advice(errors=(0, 3, 0), **shaky)


def test_rule_6_says_how_stable_the_selection_is():
    assert "keeps 8 of 20 features, much the same ones in every fold (stability 0.90 of 1)" in advice()
    middling = {"lasso": {"stability": 0.6}, "net": {"stability": 0.6}}
    assert "not always the same ones in every fold (stability 0.60 of 1)" in advice(**middling)


def test_remarks():
    assert "At λ 1se it keeps only 3" in advice(lasso={"kept_1se": 3})
    assert "At λ 1se" not in advice(lasso={"kept_1se": 7})
    short = {"kept": 19, "kept_1se": 4, "stability_1se": 0.8}
    assert "For a short list, L1 at λ 1se keeps 4 features" in advice(lasso=short)
    assert "short list" not in advice(lasso=short | {"stability_1se": 0.7})
    assert "short list" not in advice(errors=(3, 0, 3), lasso=short)
    fragile = advice(lasso={"moved": 0.6}, ridge={"moved": 0.2})
    assert "A few wrong targets move its predictions by 60% of their spread" in fragile
    assert fragile.endswith("elastic net moves by only 10%, and is not clearly worse.")
    assert "moves by only" not in advice(errors=(0, 3, 3), lasso={"moved": 0.6})
    assert "wrong targets" not in advice(lasso={"moved": 0.4})


def test_differences_are_paired_and_weighted():
    a, b, sizes = np.array([1.0, 2.0, 4.0]), np.array([0.5, 1.0, 2.0]), np.array([1.0, 1.0, 2.0])
    found = Difference.of(a, b, sizes)
    assert found.mean == pytest.approx((0.5 + 1 + 2 * 2) / 4)
    assert found.se == pytest.approx(np.sqrt(np.average((a - b - found.mean) ** 2, weights=sizes) / 2))
    assert Difference(2.1, 1.0).clear
    assert not Difference(1.9, 1.0).clear
    assert not Difference(0.0, 0.0).clear


# the measures


def test_stability_is_the_formula_of_nogueira():
    supports = np.random.default_rng(0).random((7, 12)) < 0.4
    p_f = supports.mean(axis=0)
    k = supports.sum(axis=1).mean() / 12
    expected = 1 - (7 / 6 * p_f * (1 - p_f)).mean() / (k * (1 - k))
    assert selection_stability(supports) == pytest.approx(expected)


def test_stability_is_one_for_equal_sets_and_zero_on_average_at_random():
    assert selection_stability(np.tile([True, False, False], (4, 1))) == 1
    rng = np.random.default_rng(1)
    chance = [selection_stability(rng.random((10, 30)) < 0.3) for _ in range(200)]
    assert np.mean(chance) == pytest.approx(0, abs=0.01)
    assert np.isnan(selection_stability(np.ones((3, 4))))
    assert np.isnan(selection_stability(np.zeros((3, 4))))
    with pytest.raises(ValueError, match="M at least 2"):
        selection_stability([[1, 0]])


def test_contamination_moves_the_share_it_says():
    y = np.random.default_rng(0).normal(size=100)
    copies = contaminated(y, Squared(), 0.05, 3, seed=0)
    for bad in copies:
        moved = np.abs(bad - y)
        assert (moved > 0).sum() == 5
        np.testing.assert_allclose(moved[moved > 0], 5 * y.std())
    assert not np.array_equal(copies[0], copies[1])
    np.testing.assert_array_equal(copies[0], contaminated(y, Squared(), 0.05, 1, seed=0)[0])
    labels = (y > 0).astype(float)
    for bad in contaminated(labels, Logistic(), 0.1, 3, seed=0):
        assert np.abs(bad - labels).sum() == 10
    rare = np.eye(30)[0]
    for bad in contaminated(rare, Logistic(), 0.5, 20, seed=0):
        assert 0 < bad.sum() < 30


# on data


@pytest.fixture(scope="module")
def found():
    return {kind: compare(*situation(kind), **SETTING) for kind in ("sparse", "dense", "noise")}


def test_all_penalties_see_the_same_folds_and_are_what_cross_validate_says(found):
    X, y = situation("sparse")
    sparse = found["sparse"]
    first = sparse.selections["L1"].fold_id
    for name, penalty in (("L1", L1()), ("L2", L2()), ("elastic net", ElasticNet(l1_ratio=0.5))):
        selection = sparse.selections[name]
        np.testing.assert_array_equal(selection.fold_id, first)
        alone = cross_validate(X, y, penalty=penalty, fold_id=first, lams=SETTING["lams"])
        np.testing.assert_allclose(selection.mean, alone.mean)
        figures = next(row for row in sparse.rows if row.name == name).at_min
        assert (figures.error, figures.lam) == pytest.approx((alone.mean.min(), alone.lam_min))
        assert figures.kept == (alone.coef("min") != 0).sum()
        assert figures.df == pytest.approx(alone.path.df[alone.index("min")])


def test_stability_and_change_are_those_of_the_chosen_fits(found):
    X, y = situation("sparse")
    lasso, selection = found["sparse"].rows[0], found["sparse"].selections["L1"]
    kept = selection.fold_coef[:, selection.index("min")] != 0
    assert lasso.at_min.stability == selection_stability(kept)
    clean = selection.predict(X, "min")
    changes = []
    for bad in contaminated(y, Squared(), 0.05, 5, seed=0):
        again = fit_path(X, bad, lams=[selection.lam_min]).predict(X)[:, 0]
        changes.append(np.linalg.norm(again - clean) / np.linalg.norm(clean - clean.mean()))
    assert lasso.moved_predictions == pytest.approx(np.mean(changes))
    assert 0 < lasso.moved_coef < 10


def test_advice_on_data_of_a_known_kind(found):
    assert found["sparse"].advice.startswith("L1")
    assert found["dense"].advice.startswith("L2: no other is clearly better, and L1 keeps 12 of 12 features")
    assert found["noise"].advice.startswith("None of the three")
    for comparison in found.values():
        assert np.isnan(comparison.rows[1].at_min.stability)
        assert comparison.rows[1].at_min.kept == FEATURES


def test_it_prints_as_a_table(found):
    text = str(found["sparse"])
    assert text.startswith(f"{ROWS} rows, {FEATURES} features · the same 5 folds for each · l1 ratio 0.5")
    assert found["sparse"].advice in text
    assert "stability is not defined where every fold keeps all features, or none: L2." in text
    body = text.split("\n")[2:16]
    assert len({len(line) for line in body if line.startswith("  at ")}) == 1
    assert max(map(len, body)) <= 80


def test_the_constant_is_scored_by_the_other_folds(found):
    _, y = situation("noise")
    selection = found["noise"].selections["L1"]
    scores = selection.null_scores
    for k in range(5):
        held_out = selection.fold_id == k
        assert scores[k] == pytest.approx(np.mean((y[held_out] - y[~held_out].mean()) ** 2))


def test_constant_columns_have_no_part_in_the_stability():
    X, y = situation("sparse")
    X = X.copy()
    X[:, 5] = 1
    comparison = compare(X, y, **SETTING)
    assert comparison.varying == FEATURES - 1
    assert np.isnan(comparison.rows[1].at_min.stability)
    assert f"features kept, of {FEATURES - 1}" in str(comparison)


@pytest.mark.slow
def test_leave_one_out_is_compared_too():
    x = np.random.default_rng(0).standard_normal((20, 3))
    found = compare(x, x[:, 0] + 0.1 * x[:, 1], folds=20, lams=10, replicates=1)
    assert {row.name: np.isnan(row.at_min.stability) for row in found.rows}["L2"]


def test_progress_is_told_to_the_end():
    told = []
    compare(*situation("sparse"), **SETTING, replicates=2, progress=lambda done, total: told.append((done, total)))
    assert told == [(1, 9), (2, 9), (3, 9), (5, 9), (7, 9), (9, 9)]


@pytest.mark.parametrize("options", [{"contamination": 0}, {"contamination": 0.6}, {"replicates": 0}])
def test_senseless_options_are_refused(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        compare(*situation("sparse"), **options)


def test_the_rules_are_documented():
    for name in ("MORE_STABLE", "NEARLY_ALL", "POOR", "EXCELLENT", "FRAGILE"):
        assert f"`{name}`" in rules.__doc__
