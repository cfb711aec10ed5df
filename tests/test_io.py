"""Tables and model files: what goes in comes out, and what cannot is said in one sentence."""

import dataclasses
import json
import sys

import jax
import jax.numpy as jnp
import numpy as np
import polars as pl
import pytest

from jaxreg import Logistic
from jaxreg.io import Categories, Encoding, Fit, InputError, Model, Numeric, prepare, read_table, write_table

MIXED = pl.DataFrame(
    {
        "age": [30, 40, 50, 60, 70, 80],
        "city": ["Rome", "Oslo", "Oslo", "Lima", "Oslo", "Rome"],
        "member": [True, False, True, True, False, False],
        "sex": ["m", "f", "f", "m", "m", "m"],
        "score": [1.5, 2.5, 0.5, 3.5, 4.5, 2.0],
    }
)


def write(folder, name, text):
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


# reading and writing


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.csv", "x,word\n1,a\n2.5,b\n"),
        ("a.csv", "x;word\n1;a\n2.5;b\n"),
        ("a.tsv", "x\tword\n1\ta\n2.5\tb\n"),
        ("a.txt", '\ufeffx,word\n1,"a"\n2.5,b\n'),
    ],
)
def test_text_tables_are_read_whatever_separates_them(tmp_path, name, text):
    table = read_table(write(tmp_path, name, text))
    assert table.to_dict(as_series=False) == {"x": [1.0, 2.5], "word": ["a", "b"]}


def test_types_are_judged_by_all_rows(tmp_path):
    rows = "\n".join(["1"] * 2000 + ["0.5"])
    assert read_table(write(tmp_path, "late.csv", f"x\n{rows}\n"))["x"].dtype == pl.Float64


@pytest.mark.parametrize("suffix", ["csv", "tsv", "parquet"])
def test_what_is_written_is_read_again(tmp_path, suffix):
    path = tmp_path / f"table.{suffix}"
    write_table(MIXED, path)
    assert read_table(path).equals(MIXED)


def test_diabetes_is_built_in():
    table = read_table("diabetes")
    assert table.shape == (442, 11)
    assert table.columns[-1] == "y"


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.csv", b"", "empty"),
        ("a.csv", b"\n1,2\n", "header"),
        ("a.csv", b"a,a\n1,2\n", "more than one column named 'a'"),
        ("a.csv", b"a,b\n1,2,3\n", "cannot be read"),
        ("a.csv", b"a,b\n\xff\xfe,1\n", "UTF-8"),
        ("a.parquet", b"not parquet", "cannot be read"),
        ("a.xls", b"a", "must end in"),
    ],
)
def test_unreadable_files_are_refused(tmp_path, name, content, words):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(InputError, match=words) as caught:
        read_table(path)
    assert "\n" not in str(caught.value)


def test_absent_files_and_folders_are_refused(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        read_table(tmp_path / "none.csv")
    with pytest.raises(InputError, match="directory"):
        read_table(tmp_path)
    with pytest.raises(InputError, match="cannot be written"):
        write_table(MIXED, tmp_path / "no" / "where.csv")
    with pytest.raises(InputError, match="cannot be written"):
        write_table(MIXED, tmp_path / "no" / "where.parquet")


def test_without_polars_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "polars", None)
    with pytest.raises(ImportError, match=r"jaxreg\[cli\]"):
        read_table("diabetes")


# preparing


def test_columns_become_what_the_notes_say():
    ready = prepare(MIXED, "score")
    assert ready.feature_names == ["age", "city=Lima", "city=Oslo", "city=Rome", "member=true", "sex=m"]
    rows = [[30, 0, 0, 1, 1, 1], [40, 0, 1, 0, 0, 0], [50, 0, 1, 0, 1, 0], [60, 1, 0, 0, 1, 1],
            [70, 0, 1, 0, 0, 1], [80, 0, 0, 1, 0, 1]]  # fmt: skip
    np.testing.assert_array_equal(ready.X, rows)
    np.testing.assert_array_equal(ready.y, MIXED["score"])
    assert (ready.loss, ready.classes, ready.target) == ("squared", None, "score")
    assert ready.notes == [
        "Loss: squared, because score is numeric.",
        "city became 3 columns of 0 and 1, one for each category: Lima, Oslo, Rome.",
        "member became member=true: 1 where it is true, 0 where it is false.",
        "sex became sex=m: 1 where it is m, 0 where it is f.",
    ]


def test_categorical_and_other_number_types_are_understood():
    table = MIXED.with_columns(
        pl.col("sex").cast(pl.Categorical), pl.col("city").cast(pl.Enum(["Rome", "Lima", "Oslo"])),
        pl.col("age").cast(pl.Decimal(10, 2)),
    )  # fmt: skip
    np.testing.assert_array_equal(prepare(table, "score").X, prepare(MIXED, "score").X)


@pytest.mark.parametrize(
    ("values", "y", "classes"),
    [
        (["yes", "no", "yes", "no"], [1, 0, 1, 0], ("no", "yes")),
        ([True, False, False, True], [1, 0, 0, 1], ("false", "true")),
        ([1, 2, 2, 1], [0, 1, 1, 0], (1, 2)),
        ([0.5, -0.5, 0.5, 0.5], [1, 0, 1, 1], (-0.5, 0.5)),
    ],
)
def test_a_target_with_two_values_is_logistic_and_says_so(values, y, classes):
    ready = prepare(pl.DataFrame({"x": [1, 2, 3, 4], "t": values}), "t")
    assert (ready.loss, ready.classes, ready.y.tolist()) == ("logistic", classes, y)
    assert ready.notes[0].startswith("Loss: logistic, because t has two values")
    assert ready.notes[1] == f"t became 0 and 1: 1 where it is {classes[1]}, 0 where it is {classes[0]}."


def test_the_loss_can_be_chosen():
    table = pl.DataFrame({"x": [1, 2, 3], "t": [0, 1, 1]})
    assert prepare(table, "t", loss="squared").loss == "squared"
    assert prepare(table, "t", loss="logistic").notes == []


def test_constant_and_dropped_columns_are_noted():
    table = MIXED.with_columns(one=pl.lit(1.0), same=pl.lit("x"))
    ready = prepare(table, "score", drop=["age", "city"])
    assert ready.feature_names == ["member=true", "sex=m", "one", "same=x"]
    assert "Left out as asked: age, city." in ready.notes
    assert "Constant, so they keep a coefficient of zero: one, same=x." in ready.notes


@pytest.mark.parametrize(
    ("columns", "options", "words"),
    [
        ({"a": [1, 2], "Target": [3, 4]}, {}, "'target' is not in the table; did you mean 'Target'"),
        ({"a": [1, 2], "b": [3, 4]}, {}, "columns are: a, b"),
        ({"a": [1, 2], "target": [3, 4]}, {"drop": ["c"]}, "column to drop 'c'"),
        ({"a": [1, 2], "target": [3, 4]}, {"drop": ["target"]}, "cannot be dropped"),
        ({"a": [1], "target": [3]}, {}, "1 row"),
        ({"target": [3, 4, 5]}, {}, "no column besides the target"),
        (
            {"a": [1.0, None], "b": [1.0, float("nan")], "target": [3, 4]},
            {},
            r"a \(1 of 2 rows\), b \(1 of 2",
        ),
        ({"a": [1.0, float("inf")], "target": [3, 4]}, {}, "infinite"),
        ({"a": [1, 2], "target": [3, None]}, {}, r"target \(1 of 2 rows\)"),
        ({"a": [1, 2], "target": [3, 3]}, {}, "'target' is constant"),
        ({"a": [1, 2], "target": ["u", "u"]}, {}, "only one class"),
        ({"a": [1, 2], "target": [1, 1]}, {"loss": "logistic"}, "only one class"),
        (
            {"a": [1, 2, 3], "target": [1, 2, 3]},
            {"loss": "logistic"},
            "two values for the logistic loss, got 3",
        ),
        ({"a": [1, 2], "target": ["u", "v"]}, {"loss": "squared"}, "must be numeric for the squared loss"),
        ({"a": [1, 2, 3], "target": ["u", "v", "w"]}, {}, "text with 3 different values"),
        ({"a": ["u", "v", "w", "x"], "target": [1, 2, 3, 4]}, {}, "4 different values in 4 rows"),
        ({"a": ["1", "2", "?", "4"], "target": [1, 2, 3, 4]}, {}, r"mostly numbers but has text in 1 row"),
        ({"a": ["1,5", "2,5", "2,5"], "target": [1, 2, 3]}, {}, "numbers written as text"),
        ({"a": [[1], [2]], "target": [1, 2]}, {}, "holds List"),
        ({"a": ["u", "v"], "a=v": [0, 1], "target": [1, 2]}, {}, "both be called 'a=v'"),
    ],
)
def test_unfit_tables_are_refused(columns, options, words):
    with pytest.raises(InputError, match=words) as caught:
        prepare(pl.DataFrame(columns, strict=False), "target", **options)
    assert "\n" not in str(caught.value)


def test_declared_categories_may_be_written_as_numbers():
    table = pl.DataFrame({"code": ["1", "2", "2", "3", "3", "1"], "y": [1, 2, 3, 4, 5, 6]})
    with pytest.raises(InputError, match="numbers written as text"):
        prepare(table, "y")
    declared = table.with_columns(pl.col("code").cast(pl.Categorical))
    assert prepare(declared, "y").feature_names == ["code=1", "code=2", "code=3"]


def test_dates_are_refused_as_features_and_targets(tmp_path):
    table = read_table(write(tmp_path, "d.csv", "day,y\n2024-01-01,1\n2024-01-02,2\n2024-01-05,4\n"))
    with pytest.raises(InputError, match=r"'day' holds dates or times.*--drop day"):
        prepare(table, "y")
    with pytest.raises(InputError, match="got dates"):
        prepare(table, "day")
    assert prepare(table.with_columns(x=pl.Series([1, 2, 3])), "y", drop=["day"]).feature_names == ["x"]


# encoding new tables


def test_new_tables_are_encoded_like_the_first():
    ready = prepare(MIXED, "score")
    shuffled = MIXED.select("sex", "member", "city", "age").with_columns(extra=pl.lit(1))
    X, notes = ready.encoding.encode(shuffled)
    np.testing.assert_array_equal(X, ready.X)
    assert notes == []


def test_an_unknown_category_gets_the_average_effect():
    ready = prepare(MIXED, "score")
    new = pl.DataFrame({"age": [1, 2], "city": ["Bern", "Oslo"], "member": [True, True], "sex": ["x", "m"]})
    X, notes = ready.encoding.encode(new)
    np.testing.assert_allclose(X[0], [1, *ready.X[:, 1:4].mean(axis=0), 1, ready.X[:, 5].mean()])
    np.testing.assert_allclose(X[1], [2, 0, 1, 0, 1, 1])
    assert [note.split(":")[0] for note in notes] == ["city", "sex"]
    assert "1 row in categories never seen in training (Bern)" in notes[0]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t: t.drop("sex"), "no column 'sex', which the model needs"),
        (lambda t: t.rename({"age": "Age"}), "did you mean 'Age'"),
        (lambda t: t.with_columns(age=pl.lit("old")), "'age' must be numeric"),
        (lambda t: t.with_columns(age=pl.lit(None, pl.Float64)), r"age \(6 of 6 rows\)"),
    ],
)
def test_new_tables_that_do_not_fit_are_refused(change, words):
    encoding = prepare(MIXED, "score").encoding
    with pytest.raises(InputError, match=words):
        encoding.encode(change(MIXED))


# model files


def make_model(**changes) -> Model:
    encoding = Encoding((Numeric("age"), Categories("city", ("Lima", "Oslo", "Rome"), (0.25, 0.5, 0.25))))
    rng = np.random.default_rng(0)
    fits = {key: Fit(0.1 * np.pi, rng.normal(size=4) / 30, rng.normal(), 2 / 3, 0.1) for key in ("min", "1se")}
    model = Model("squared", "l1", None, True, "mse", "score", None, encoding, fits, "0.0")
    return dataclasses.replace(model, **changes)


@pytest.mark.parametrize("changes", [{}, {"loss": "logistic", "classes": ("no", "yes")}, {"l1_ratio": 0.25}])
def test_a_saved_model_is_the_same_model(tmp_path, changes):
    model = make_model(**changes)
    model.save(tmp_path / "model.json")
    loaded = Model.load(tmp_path / "model.json")
    for field in dataclasses.fields(Model):
        if field.name != "fits":
            assert getattr(loaded, field.name) == getattr(model, field.name)
    for key, fit in model.fits.items():
        np.testing.assert_array_equal(loaded.fits[key].coef, fit.coef)
        assert dataclasses.replace(loaded.fits[key], coef=None) == dataclasses.replace(fit, coef=None)
    assert loaded.predict(MIXED)[0].equals(model.predict(MIXED)[0])


def test_predictions_are_the_linear_predictor_and_its_mean():
    model = make_model()
    X = np.column_stack([MIXED["age"], MIXED["city"] == "Lima", MIXED["city"] == "Oslo", MIXED["city"] == "Rome"])
    for at in ("min", "1se"):
        eta = X @ model.fits[at].coef + model.fits[at].intercept
        table, notes = model.predict(MIXED, at)
        np.testing.assert_allclose(table["prediction"], eta)
        assert table.drop("prediction").equals(MIXED)
        assert notes == ["Not used by the model, passed through: member, sex."]
    table, notes = make_model(loss="logistic", classes=("no", "yes")).predict(MIXED, "min")
    eta = X @ model.fits["min"].coef + model.fits["min"].intercept
    with jax.enable_x64(True):
        np.testing.assert_allclose(table["probability"], Logistic().mean(jnp.asarray(eta)), rtol=1e-12)
    assert table["prediction"].to_list() == ["yes" if value >= 0 else "no" for value in eta]
    assert notes[0] == "probability is that of score = yes."


def test_predictions_never_replace_a_column():
    with pytest.raises(InputError, match="already has a column 'prediction'"):
        make_model().predict(MIXED.with_columns(prediction=pl.lit(1)))


def test_an_unknown_choice_is_refused():
    with pytest.raises(InputError, match="expected one of min, 1se"):
        make_model().predict(MIXED, "best")


def damage(document: dict, *keys: str, value=None) -> str:
    inner = document
    for key in keys[:-1]:
        inner = inner[key]
    if value is None:
        del inner[keys[-1]]
    else:
        inner[keys[-1]] = value
    return json.dumps(document)


@pytest.mark.parametrize(
    ("keys", "value", "words"),
    [
        (("format",), None, "not a jaxreg model"),
        (("version",), 99, "version 99, expected 1"),
        (("fits", "min", "coef", "age"), None, "incomplete or damaged"),
        (("columns",), [{"name": "a", "kind": "dates"}], "unknown kind of column"),
        (("loss",), "mystery", "unknown loss"),
    ],
)
def test_damaged_models_are_refused(tmp_path, keys, value, words):
    path = tmp_path / "model.json"
    make_model().save(path)
    path.write_text(damage(json.loads(path.read_text()), *keys, value=value))
    with pytest.raises(InputError, match=words):
        Model.load(path)


def test_what_is_no_model_is_refused(tmp_path):
    for text, words in (("{", "not a JSON file"), ("[1]", "not a jaxreg model")):
        with pytest.raises(InputError, match=words):
            Model.load(write(tmp_path, "model.json", text))
    with pytest.raises(InputError, match="cannot be read"):
        Model.load(tmp_path / "none.json")
