"""The command line, as a person meets it: what it prints, what it writes, and how it refuses."""

import csv
import json
import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from html.parser import HTMLParser

import numpy as np
import polars as pl
import pytest
from matplotlib.figure import Figure

from jaxreg import L2, MCP, ElasticNet, Huber, Logistic, cross_validate
from jaxreg._format import number
from jaxreg.cli import main
from jaxreg.cli._show import _bar, _curve
from tests.tables import FEATURES, ROWS, SETTING, situation

NAMES = [f"f{j}" for j in range(FEATURES)]
FEW = ["--folds", "5", "--lams", "30"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cli")
    X, y = situation("sparse")
    pl.DataFrame({**dict(zip(NAMES, X.T, strict=True)), "y": y}).write_csv(folder / "sparse.csv")
    words = pl.Series("arm", np.array(["a", "b", "c"])[np.arange(ROWS) % 3])
    outcome = pl.Series("cured", np.where(X[:, 0] + 0.5 * X[:, 1] > 0.2 * y, "yes", "no"))
    columns = {name: X[:, j] for j, name in enumerate(NAMES[: FEATURES - 3])}
    pl.DataFrame({**columns, "arm": words, "cured": outcome}).write_parquet(folder / "trial.parquet")
    (folder / "one.csv").write_text("a,y\n1,2\n")
    (folder / "nan.csv").write_text("a,y\n1,2\n,3\n4,5\n")
    (folder / "flat.csv").write_text("a,y\n1,2\n2,2\n3,2\n")
    (folder / "words.csv").write_text("a,y\n1,u\n2,v\n3,w\n")
    return folder


@pytest.fixture
def jaxreg(capsys, folder, monkeypatch):
    """Run the command line in the folder of the tables; returns exit code, standard output and error."""
    monkeypatch.chdir(folder)
    monkeypatch.setenv("COLUMNS", "100")

    def run(*words: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            main(words)
        said = capsys.readouterr()
        return ended.value.code, said.out, said.err

    return run


def read(path) -> tuple[list[str], list[list[str]]]:
    header, *rows = csv.reader(path.read_text(encoding="utf-8").splitlines())
    return header, rows


@pytest.fixture(scope="module")
def lasso():
    return cross_validate(*situation("sparse"), **SETTING)


@pytest.mark.slow
def test_other_losses_and_penalties_by_name(jaxreg, folder):
    """A number after the loss's name is its own; where there is no gap, the residual is shown."""
    code, out, err = jaxreg(
        "sweep", "sparse.csv", "-t", "y", "--loss", "huber:0.5", "--penalty", "mcp", "--out", "concave", *FEW
    )
    assert (code, err) == (0, "")
    assert "huber:0.5 loss · MCP · 30 λ" in out
    assert "residual" in out
    code, out, err = jaxreg("predict", "concave/model.json", "sparse.csv", "--out", "concave.csv")
    assert (code, err) == (0, "")
    X, y = situation("sparse")
    cv = cross_validate(X, y, loss=Huber(0.5), penalty=MCP(), **SETTING)
    table = pl.read_csv(folder / "concave.csv")
    np.testing.assert_allclose(table["prediction"].to_numpy(), cv.predict(X), rtol=1e-6)


def test_sweep_tells_what_was_found(jaxreg, lasso):
    code, out, err = jaxreg("sweep", "sparse.csv", "--target", "y", *FEW)
    assert (code, err) == (0, "")
    assert f"{ROWS} rows, {FEATURES} features · squared loss · L1 (lasso) · 30 λ · 5 folds" in out
    kept = (lasso.coef("1se") != 0).sum()
    assert f"{kept} of {FEATURES} features kept at λ 1se" in " ".join(out.split())
    assert "Loss: squared, because y is numeric." in out
    for name, sign in (("f0", "+"), ("f1", "−")):
        coef = [number(lasso.coef(choice)[NAMES.index(name)]) for choice in ("min", "1se")]
        assert re.search(rf"{name} +{coef[0]} +{coef[1]} +{re.escape(sign)}", out)
    assert "▲ 1se, min" in out


def test_sweep_writes_what_the_library_finds(jaxreg, folder, lasso):
    X, _ = situation("sparse")
    code, out, _ = jaxreg("sweep", "sparse.csv", "-t", "y", *FEW, "--out", "found")
    assert code == 0
    assert "report.html" in out
    header, rows = read(folder / "found" / "coefficients.csv")
    assert header == ["feature", "coef_min", "coef_1se", "effect_min", "effect_1se"]
    assert float(rows[0][1]) == pytest.approx(lasso.intercept("min"))
    by_name = {row[0]: [float(cell) for cell in row[1:]] for row in rows[1:]}
    for j, name in enumerate(NAMES):
        a, b, sd = lasso.coef("min")[j], lasso.coef("1se")[j], X[:, j].std()
        np.testing.assert_allclose(by_name[name], [a, b, a * sd, b * sd], rtol=1e-9, atol=1e-12)
    effects = [abs(values[2]) for values in by_name.values()]
    assert effects == sorted(effects, reverse=True)

    header, rows = read(folder / "found" / "scores.csv")
    assert header == ["lam", "mean", "se", "nonzero", "gap", *(f"fold_{k}" for k in range(1, 6))]
    figures = np.array(rows, float)
    np.testing.assert_allclose(figures[:, 0], lasso.lams)
    np.testing.assert_allclose(figures[:, 1], lasso.mean)
    np.testing.assert_allclose(figures[:, 2], lasso.se)
    np.testing.assert_array_equal(figures[:, 3], lasso.path.nonzero)
    assert np.nanmax(figures[:, 4]) < 1e-6
    np.testing.assert_allclose(figures[:, 5:], lasso.scores.T)

    model = json.loads((folder / "found" / "model.json").read_text())
    assert (model["loss"], model["penalty"]["name"], model["target"]["name"]) == ("squared", "l1", "y")
    assert model["fits"]["min"]["lam"] == pytest.approx(lasso.lam_min)
    assert model["fits"]["1se"]["lam"] == pytest.approx(lasso.lam_1se)


@pytest.mark.parametrize("choice", ["min", "1se"])
def test_predict_repeats_the_fit_on_any_column_order(jaxreg, folder, lasso, choice):
    jaxreg("sweep", "sparse.csv", "-t", "y", *FEW, "--out", "found")
    table = pl.read_csv(folder / "sparse.csv").select([*reversed(NAMES)]).with_columns(id=pl.int_range(ROWS))
    table.write_parquet(folder / "new.parquet")
    code, out, _ = jaxreg("predict", "found/model.json", "new.parquet", "--out", "said.csv", "--at", choice)
    assert code == 0
    assert "Predicted y for 120 rows: said.csv" in out
    assert "Not used by the model, passed through: id." in out
    said = pl.read_csv(folder / "said.csv")
    np.testing.assert_allclose(said["prediction"], lasso.predict(situation("sparse")[0], choice), rtol=1e-9)
    assert said["id"].to_list() == list(range(ROWS))


class Page(HTMLParser):
    """Collects what a report consists of."""

    def __init__(self):
        super().__init__()
        self.tags, self.ids, self.links, self.words = [], [], [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.ids += [value for key, value in attrs if key == "id"]
        self.links += [value for key, value in attrs if key in ("src", "href", "xlink:href")]

    def handle_data(self, data):
        self.words.append(data)


def test_the_report_is_one_page_that_needs_nothing_else(jaxreg, folder):
    jaxreg("sweep", "sparse.csv", "-t", "y", *FEW, "--out", "found")
    html = (folder / "found" / "report.html").read_text(encoding="utf-8")
    page = Page()
    page.feed(html)
    assert page.tags.count("svg") == 2
    assert "script" not in page.tags
    assert "link" not in page.tags
    assert all(link.startswith(("#", "data:")) for link in page.links)
    assert len(page.ids) == len(set(page.ids))
    assert {link[1:] for link in page.links if link.startswith("#")} <= set(page.ids)
    for svg in re.findall(r"<svg.*?</svg>", html, flags=re.DOTALL):
        ET.fromstring(svg)
    text = " ".join(" ".join(page.words).split())
    assert "jaxreg sweep sparse.csv -t y --folds 5 --lams 30 --out found" in text
    assert "Loss: squared, because y is numeric." in text
    assert "λ (log scale)" in text
    assert "#1f2328" not in html.split("</style>")[1]  # ink follows the page, so that it can be dark


def test_two_values_mean_logistic_and_words_become_columns(jaxreg, folder):
    code, out, _ = jaxreg("sweep", "trial.parquet", "--target", "cured", *FEW, "--out", "trial", "--measure", "auc")
    assert code == 0
    assert "Loss: logistic, because cured has two values, no and yes." in out
    assert "arm became 3 columns of 0 and 1, one for each category: a, b, c." in out
    assert "0.5 for a constant prediction" in " ".join(out.split())
    assert "the log-odds of cured = yes" in " ".join(out.split())
    html = (folder / "trial" / "report.html").read_text(encoding="utf-8")
    assert "area under the ROC curve" in html
    code, out, _ = jaxreg("predict", "trial/model.json", "trial.parquet", "--out", "said.parquet")
    assert code == 0
    assert "probability is that of cured = yes." in out
    said = pl.read_parquet(folder / "said.parquet")
    table = pl.read_parquet(folder / "trial.parquet")
    arms = [table["arm"] == level for level in "abc"]
    X = np.column_stack([*(table[name] for name in NAMES[: FEATURES - 3]), *arms])
    y = (table["cured"] == "yes").cast(float).to_numpy()
    fitted = cross_validate(X, y, loss=Logistic(), measure="auc", **SETTING)
    np.testing.assert_allclose(said["probability"], fitted.predict(X), rtol=1e-7)
    assert ((said["probability"] >= 0.5) == (said["prediction"] == "yes")).all()


def test_several_ratios_are_compared(jaxreg, folder):
    code, out, _ = jaxreg("sweep", "sparse.csv", "-t", "y", *FEW, "--l1-ratio", "0.5,1", "--out", "grid")
    assert code == 0
    fitted = cross_validate(*situation("sparse"), l1_ratios=[0.5, 1.0], **SETTING)
    assert f"elastic net, l1 ratio {fitted.l1_ratio_min:g} (best of 0.5, 1)" in " ".join(out.split())
    header, rows = read(folder / "grid" / "scores.csv")
    assert header[:2] == ["l1_ratio", "lam"]
    figures = np.array(rows, float)
    np.testing.assert_array_equal(figures[:, 0], np.repeat([0.5, 1.0], 30))
    np.testing.assert_allclose(figures[:, 2], fitted.mean.ravel())
    model = json.loads((folder / "grid" / "model.json").read_text())
    assert model["penalty"] == {"name": "elastic_net", "l1_ratio": fitted.l1_ratio_min}
    assert "Mixes of L1 and L2" in (folder / "grid" / "report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("words", "penalty"),
    [(["--penalty", "l2"], L2()), (["--penalty", "elastic_net"], ElasticNet(l1_ratio=0.5))],
)
def test_penalties_by_name(jaxreg, folder, words, penalty):
    code, out, _ = jaxreg("sweep", "sparse.csv", "-t", "y", *FEW, *words, "--no-standardize", "--out", "named")
    assert code == 0
    fitted = cross_validate(*situation("sparse"), penalty=penalty, standardize=False, **SETTING)
    model = json.loads((folder / "named" / "model.json").read_text())
    np.testing.assert_allclose(list(model["fits"]["min"]["coef"].values()), fitted.coef("min"), atol=1e-9)
    assert model["standardize"] is False
    assert ("Ridge keeps all 12 features" in out) == (words[1] == "l2")


def test_a_target_that_nothing_explains(jaxreg, folder):
    X, y = situation("noise")
    pl.DataFrame({**dict(zip(NAMES, X.T, strict=True)), "y": y}).write_csv(folder / "noise.csv")
    code, out, _ = jaxreg("sweep", "noise.csv", "-t", "y", *FEW, "--out", "noise")
    assert code == 0
    assert re.search(r"No feature is (kept|needed)", out)
    assert (folder / "noise" / "report.html").exists()


def test_dropped_columns_are_left_out_and_said(jaxreg, folder):
    table = pl.read_csv(folder / "sparse.csv").with_columns(id=pl.int_range(ROWS).cast(pl.String) + "-x", k=1)
    table.rename({"f0": "f[red]0 :cat:"}).write_csv(folder / "extra.csv")
    code, _, err = jaxreg("sweep", "extra.csv", "-t", "y", *FEW)
    assert (code, err) == (
        2,
        "jaxreg: column 'id' is text with 120 different values in 120 rows: turn it into numbers, or leave "
        "it out with --drop id\n",
    )
    code, out, _ = jaxreg("sweep", "extra.csv", "-t", "y", *FEW, "--drop", "id,k")
    assert code == 0
    assert "Left out as asked: id, k." in out
    assert "f[red]0 :cat:" in out


def test_compare_prints_figures_and_advice(jaxreg):
    code, out, err = jaxreg("compare", "sparse.csv", "--target", "y", *FEW)
    assert (code, err) == (0, "")
    assert "the same 5 folds for each" in out
    assert "stability of the selection" in out
    assert "L1 predicts clearly better than L2" in out or "L1: no other is clearly better" in out


BAD = {
    "sweep": "missing argument 'TABLE'",
    "swep": "no such command 'swep'",
    "sweep sparse.csv": "--target is needed.*f0, f1",
    "sweep sparse.csv -t z": "target 'z' is not in the table",
    "sweep sparse.csv -t y --bogus": "no such option.*--bogus",
    "sweep sparse.csv -t y --folds x": "--folds",
    "sweep sparse.csv -t y --folds 1": "folds must be between 2",
    "sweep sparse.csv -t y --folds 121": "folds must be between 2",
    "sweep sparse.csv -t y --lams 0": "--lams must be at least 1",
    "sweep sparse.csv -t y --seed -1": "--seed must not be negative",
    "sweep sparse.csv -t y --loss hinge": "unknown loss 'hinge': expected one of squared, logistic, huber",
    "sweep sparse.csv -t y --loss quantile:2": r"loss 'quantile:2': q must be strictly between 0 and 1, got 2",
    "sweep sparse.csv -t y --loss poisson:2": "loss poisson has no number",
    "compare sparse.csv -t y --loss poisson": "compare is for the squared and the logistic loss",
    "sweep sparse.csv -t y --penalty l0": "unknown penalty 'l0': expected l1, l2, elastic_net",
    "sweep sparse.csv -t y --l1-ratio x": "--l1-ratio must be numbers",
    "sweep sparse.csv -t y --l1-ratio 0.5,1.5": r"--l1-ratio must be in \[0, 1\], got 1.5",
    "sweep sparse.csv -t y --l1-ratio 0.5 --penalty l1": "belongs to --penalty elastic_net",
    "sweep sparse.csv -t y --measure auc": "measure 'auc' is for two classes",
    "sweep sparse.csv -t y --measure r2": "measure must be one of deviance, mse",
    "sweep sparse.csv -t y --drop q": "column to drop 'q'",
    "sweep sparse.csv -t y --loss logistic": "two values for the logistic loss, got 120",
    "sweep sparse.csv -t y --out nan.csv": "--out must be a folder",
    "sweep none.csv -t y": "'none.csv' does not exist",
    "sweep one.csv -t y": "table has 1 row",
    "sweep nan.csv -t y": r"missing, NaN or infinite: a \(1 of 3 rows\)",
    "sweep flat.csv -t y": "'y' is constant",
    "sweep flat.csv -t y --loss logistic": "only one class",
    "sweep words.csv -t y": "text with 3 different values",
    "compare sparse.csv -t y --l1-ratio 2": r"--l1-ratio must be in \[0, 1\]",
    "compare nan.csv -t y": "missing, NaN or infinite",
    "predict none.json sparse.csv --out p.csv": "'none.json' cannot be read",
    "predict nan.csv sparse.csv --out p.csv": "not a JSON file",
    "predict nan.csv sparse.csv --out p.xls": "must end in",
    "predict nan.csv sparse.csv": "missing option '--out'",
}


@pytest.mark.parametrize("words", BAD)
def test_bad_input_ends_with_two_and_one_line(jaxreg, words):
    code, out, err = jaxreg(*words.split())
    assert code == 2
    assert out == ""
    assert err.startswith("jaxreg: ")
    assert err.count("\n") == 1
    assert re.search(BAD[words], err)


def test_help_and_version(jaxreg):
    assert jaxreg("--version")[:2] == (0, "jaxreg 0.1.0\n")
    code, out, _ = jaxreg()
    assert code == 0
    assert all(command in out for command in ("sweep", "compare", "predict"))
    for command in ("sweep", "compare", "predict"):
        code, out, _ = jaxreg(command, "--help")
        assert code == 0
        assert f"jaxreg {command}" in out


@pytest.mark.parametrize("module", ["typer", "rich.console", "polars"])
def test_a_missing_extra_is_named(jaxreg, monkeypatch, module):
    for name in [name for name in sys.modules if name.startswith("jaxreg.cli.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, module, None)
    code, _, err = jaxreg("sweep", "diabetes")
    assert code == 2
    assert 'pip install "jaxreg[cli]"' in err
    assert err.count("\n") == 1


def test_the_module_runs_in_a_process_of_its_own(tmp_path):
    settings = {"JAX_COMPILATION_CACHE_DIR": str(tmp_path / "cache"), "PYTHONIOENCODING": "utf-8"}
    done = subprocess.run(
        [sys.executable, "-m", "jaxreg", "sweep", "diabetes", "--out", str(tmp_path / "out")],
        capture_output=True, encoding="utf-8", env=os.environ | settings, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert "442 rows, 10 features" in done.stdout
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "coefficients.csv", "model.json", "report.html", "scores.csv",
    ]  # fmt: skip
    assert any((tmp_path / "cache").iterdir())


# the small drawings


def test_the_sketch_follows_the_curve():
    lams, mean = np.geomspace(1, 0.01, 100), np.concatenate([np.linspace(9, 1, 60), np.linspace(1, 3, 40)])
    lines = str(_curve(lams, mean, 59, 30, "error")).split("\n")
    top, bottom = lines[1], lines[4]
    assert top.startswith("9 █")
    assert bottom.startswith("1 ████")
    # Marks stand below the columns of their strengths: 56 columns for 100 strengths.
    assert lines[5].index("▲ 1se") == 2 + 30 * 56 // 100
    assert lines[5].index("▲ min") == 2 + 59 * 56 // 100
    assert str(_curve(lams[:2], mean[:2], 0, 0, "error")) == ""


def test_marks_that_touch_are_joined():
    lams, mean = np.geomspace(1, 0.01, 100), np.linspace(9, 1, 100)
    assert "▲ min = 1se" in str(_curve(lams, mean, 40, 40, "error"))
    assert "▲▲ 1se, min" in str(_curve(lams, mean, 42, 40, "error"))
    assert "▲    ▲ 1se, min" in str(_curve(lams, mean, 49, 40, "error"))


def test_bars_are_as_long_as_their_share():
    assert [_bar(share, 4) for share in (0, 0.25, 0.5 + 1 / 32, 1)] == ["", "█", "██▏", "████"]


def test_results_draw_themselves(lasso):
    curve = lasso.plot(ax=Figure().subplots())
    np.testing.assert_allclose(curve.lines_[0].get_ydata(), lasso.mean)
    marks = {"lam_min": lasso.lam_min, "lam_1se": lasso.lam_1se}
    scale = situation("sparse")[0].std(axis=0)
    picture = lasso.path.plot(feature_names=NAMES, scale=scale, ax=Figure().subplots(), **marks)
    drawn = {line.get_label(): line.get_ydata()[-1] for line in picture.lines_}
    for j, name in enumerate(NAMES):
        assert drawn.get(name, 0) == pytest.approx(lasso.path.coef[-1, j] * scale[j])
