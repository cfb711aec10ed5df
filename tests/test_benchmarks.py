"""The benchmarks: their judge agrees with that of the tests, and a race runs from end to end."""

import dataclasses
import json
import math

import numpy as np
import pytest
from sklearn.linear_model import lasso_path

from benchmarks import report, results
from benchmarks.envs import PEERS
from benchmarks.judge import Answer, gaps, worst
from benchmarks.phases import Try, next_power, worth_a_step_back
from benchmarks.problems import GRID, QUICK, Row, build
from benchmarks.race import Settings, race
from tests import problems
from tests.certificates import linear_problem


def some_fits(seed: int, lams: np.ndarray, p: int) -> tuple[np.ndarray, np.ndarray]:
    """Coefficients that solve nothing, a few of them zero, and intercepts."""
    rng = np.random.default_rng(seed)
    coef = rng.normal(size=(len(lams), p)) * (rng.random((len(lams), p)) < 0.6) / (1 + np.arange(p))
    return 0.3 * coef, 0.1 * rng.normal(size=len(lams))


@pytest.mark.parametrize("loss", ["squared", "logistic"])
@pytest.mark.parametrize("l1_ratio", [1.0, 0.4, 0.0])
def test_judges_agree(loss, l1_ratio):
    X, y = problems.gaussian(80, 12, 0.5)
    y = (y > 0.2).astype(float) if loss == "logistic" else y + 0.5
    weights = np.arange(80) % 4 * 1.0  # a quarter of the rows left out
    lams = np.geomspace(0.5, 5e-3, 6)
    for coef, intercept in (some_fits(1, lams, 12), (np.zeros((6, 12)), np.zeros(6))):
        found = gaps(X, y, weights, loss, l1_ratio, lams, coef, intercept)
        judge = linear_problem(X, y, loss=loss, sample_weight=weights, l1_ratio=l1_ratio, standardize=False)
        expected = [judge.certify(*fit).gap for fit in zip(coef, intercept, lams, strict=True)]
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-13)


def test_judge_certifies_solutions_and_only_those():
    X, y = problems.gaussian(60, 100, 0.5)
    lams = np.abs(X.T @ y).max() / 60 * np.geomspace(1, 0.01, 10)
    coef = lasso_path(X, y, alphas=lams, tol=1e-10, max_iter=1_000_000)[1].T
    found = gaps(X, y, np.ones(60), "squared", 1.0, lams, coef, np.zeros(10))
    assert found.max() <= 1e-9
    spoiled = gaps(X, y, np.ones(60), "squared", 1.0, lams, coef * 1.001, np.zeros(10))
    assert spoiled[1:].min() > 1e-7


def test_judge_knows_the_target_that_glmnet_scales():
    """Scaled to unit variance, the L2 part of the problem is divided by the standard deviation."""
    X, y = problems.gaussian(50, 6, 0.5)
    y, lams = 3 * y, np.geomspace(1, 0.01, 4)
    coef, intercept = some_fits(2, lams, 6)
    weights = (np.arange(50) % 5 > 0).astype(float)
    deviation = y[weights > 0].std()
    there = gaps(X, y / deviation, weights, "squared", 0.3, lams / deviation, coef / deviation, intercept / deviation)
    here = gaps(X, y, weights, "squared", 0.3, lams, coef, intercept, l2_scale=1 / deviation)
    np.testing.assert_allclose(here, there, rtol=1e-9)
    task = dataclasses.replace(
        build(Row("path", 50, 6, ratios=(0.3,), lams=4)), X=X, y=y, weights=weights[None], lams=lams[None]
    )
    answer = Answer(coef[None, None], intercept[None, None], scaled_target=True)
    np.testing.assert_allclose(worst(task, answer), here.max())


def test_search_skips_no_tolerance_that_it_needs():
    def tried(*found: tuple[int, float]) -> dict[int, Try]:
        return {power: Try(10.0**-power, True, "done", 1.0, gap) for power, gap in found}

    assert next_power(tried((0, 5e-3)), 1e-6) == 3  # no less can do
    assert next_power(tried((0, 5e-3), (3, 3e-6)), 1e-6) == 4
    assert next_power(tried((0, math.inf)), 1e-6) == 1
    assert worth_a_step_back(tried((0, 5e-3), (3, 1e-8)), 1e-6) == 1
    assert worth_a_step_back(tried((0, 5e-3), (1, 1e-5), (3, 1e-8)), 1e-6) == 2
    assert worth_a_step_back(tried((0, 5e-3), (2, 1e-5), (3, 1e-8)), 1e-6) is None


def test_rows_have_names_of_their_own():
    names = [row.name for row in (*GRID, *QUICK)]
    assert len(set(names)) == len(names)


@pytest.mark.slow
def test_a_race_from_end_to_end(tmp_path):
    """Both in this interpreter, on a row of seconds; then the table and the picture of it."""
    known = {peer.name: peer for peer in PEERS}
    ours = dataclasses.replace(known["jaxreg"], variables=())
    peer = dataclasses.replace(known["sklearn"], requirements=())
    lost = dataclasses.replace(known["skglm"], module="no_such_module", requirements=())
    row = Row("path", 60, 8, lams=5)
    how = Settings(tmp_path, tmp_path / "log", budget=60, repeats=2, say=lambda line: None)
    workers = {}
    try:
        about, entries = race(row, [ours, peer, lost], how, workers)
    finally:
        for worker in workers.values():
            worker.kill()
    assert "no_such_module" in entries["skglm"]["missing"]
    assert entries["jaxreg"]["certified"]["gap"] <= 1e-6
    assert entries["jaxreg"]["cold"]["seconds"] > entries["jaxreg"]["default"]["median"]
    assert len(entries["jaxreg"]["default"]["seconds"]) == 2
    assert entries["sklearn"]["default"]["tol"] == 1e-4
    assert entries["sklearn"]["certified"]["gap"] <= 1e-6

    found = results.start("cpu", {}, None)
    results.add(found, row.name, about, entries)
    path, readme = tmp_path / "2026-01-01-cpu.json", tmp_path / "README.md"
    results.save(found, path)
    assert json.loads(path.read_text())["rows"][row.name]["entries"].keys() == {"jaxreg", "sklearn", "skglm"}
    readme.write_text("before\n<!-- cpu:begin -->\nformer\n<!-- cpu:end -->\nafter\n")
    report.main(["--results", str(path), "--readme", str(readme)])
    written = readme.read_text()
    assert "former" not in written
    assert written.startswith("before")
    assert written.endswith("after\n")
    assert f"| {row.name} |" in written
    assert path.with_suffix(".png").stat().st_size > 0
