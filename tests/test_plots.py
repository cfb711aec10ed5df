"""Pictures: what is drawn is what was given, and can be read."""

import itertools
import subprocess
import sys

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from jaxreg.plots import COLOURS, CVDisplay, PathDisplay, darker, lighter
from jaxreg.plots._axes import short
from jaxreg.plots._path import _spread

LAMS = np.geomspace(10, 0.01, 40)


@pytest.fixture(autouse=True)
def _close():
    yield
    plt.close("all")


def lasso_like(p: int) -> np.ndarray:
    """Coefficients that soft-thresholding gives: they start at zero one after the other."""
    size = np.random.default_rng(p).normal(size=p) * 5
    return np.sign(size) * np.maximum(np.abs(size) - LAMS[:, None], 0)


def names_drawn(display: PathDisplay) -> list:
    return [text for text in display.ax_.texts if text.get_text() in display.feature_names]


def test_path_lines_are_the_coefficients():
    coef = lasso_like(6)
    coef[:, 2] = 0
    shown = np.random.default_rng(0).permutation(40)  # any order of λ will do
    display = PathDisplay(lams=LAMS[shown], coef=coef[shown], feature_names=list("abcdef")).plot()
    assert [line.get_label() for line in display.lines_] == list("abdef")
    for line, j in zip(display.lines_, (0, 1, 3, 4, 5), strict=True):
        np.testing.assert_allclose(line.get_xdata(), LAMS)
        drawn = line.get_ydata()
        np.testing.assert_allclose(np.where(np.isnan(drawn), 0, drawn), coef[:, j])
        assert np.isnan(drawn).sum() == max((coef[:, j] == 0).sum() - 1, 0)  # zeros are left out, but for the start


def test_path_runs_from_strong_to_weak_and_leaves_out_lambda_zero():
    display = PathDisplay(lams=[1.0, 0.1, 0.0], coef=[[0.0], [1.0], [2.0]]).plot()
    left, right = display.ax_.get_xlim()
    assert left > right == pytest.approx(0.1)
    assert display.ax_.get_xscale() == "log"
    assert list(display.lines_[0].get_xdata()) == [1.0, 0.1]


@pytest.mark.parametrize("p", [3, 14, 60])
def test_feature_names_do_not_overlap(p):
    display = PathDisplay(lams=LAMS, coef=lasso_like(p), feature_names=[f"feature {j}" for j in range(p)]).plot()
    display.figure_.canvas.draw()
    boxes = sorted((text.get_window_extent() for text in names_drawn(display)), key=lambda box: box.y0)
    assert len(boxes) >= min(p, 12)
    assert all(below.y1 <= above.y0 + 1.5 for below, above in itertools.pairwise(boxes))
    frame = display.ax_.get_window_extent()
    assert all(frame.y0 - 2 <= box.y0 and box.y1 <= frame.y1 + 2 for box in boxes)


def test_the_largest_features_are_named_and_long_names_are_cut_in_the_middle():
    coef = lasso_like(60)
    names = [f"an awfully long name, number {j}" for j in range(60)]
    display = PathDisplay(lams=LAMS, coef=coef, feature_names=names).plot()
    drawn = [text.get_text() for text in display.ax_.texts]
    largest = np.argsort(-np.abs(coef[-1]))[:5]
    assert all(f"an awfully …{names[j][-12:]}" in drawn for j in largest)


def test_top_axis_counts_nonzeros_and_shows_freedom_for_ridge():
    lasso = PathDisplay(lams=LAMS, coef=lasso_like(9)).plot()
    top = lasso.ax_.child_axes[0]
    lasso.figure_.canvas.draw()
    labels = [label.get_text() for label in top.get_xticklabels()]
    assert top.get_xlabel() == "features with a nonzero coefficient"
    assert labels[0] == str((lasso_like(9)[0] != 0).sum())
    assert labels[-1] == str((lasso_like(9)[-1] != 0).sum())
    ridge = PathDisplay(lams=LAMS, coef=np.ones((40, 3)), df=np.linspace(0, 3, 40)).plot()
    assert ridge.ax_.child_axes[0].get_xlabel() == "effective degrees of freedom"


def vertical_lines(ax) -> list[float]:
    return [line.get_xdata()[0] for line in ax.lines if list(line.get_ydata()) == [0, 1]]


def test_chosen_strengths_are_marked():
    display = PathDisplay(lams=LAMS, coef=lasso_like(3), lam_min=0.1, lam_1se=1.0).plot()
    assert vertical_lines(display.ax_) == [1.0, 0.1]
    assert {"λ min", "λ 1se"} <= {text.get_text() for text in display.ax_.texts}
    same = PathDisplay(lams=LAMS, coef=lasso_like(3), lam_min=0.1, lam_1se=0.1).plot()
    assert vertical_lines(same.ax_) == [0.1]


@pytest.mark.parametrize(("lam_min", "lam_1se"), [(10.0, 10.0), (0.01, 0.012), (9.0, 10.0), (0.01, 10.0)])
def test_marks_at_the_ends_stay_inside_and_apart(lam_min, lam_1se):
    display = PathDisplay(lams=LAMS, coef=lasso_like(3), lam_min=lam_min, lam_1se=lam_1se).plot()
    display.figure_.canvas.draw()
    frame = display.ax_.get_window_extent()
    boxes = [text.get_window_extent() for text in display.ax_.texts if text.get_text().startswith("λ")]
    assert all(frame.x0 - 1 <= box.x0 and box.x1 <= frame.x1 + 1 for box in boxes)
    assert len(boxes) == 1 or not boxes[0].overlaps(boxes[1])


def test_cv_draws_mean_and_band():
    mean, se = 2 + np.log10(LAMS) ** 2, np.linspace(0.1, 0.3, 40)
    display = CVDisplay(
        lams=LAMS, mean=mean, se=se, lam_min=1.0, lam_1se=5.0, measure="mean squared error", folds=7
    ).plot()
    np.testing.assert_allclose(display.lines_[0].get_ydata(), mean)
    corners = display.ax_.collections[0].get_paths()[0].vertices
    for x, m, s in zip(LAMS, mean, se, strict=True):
        ys = corners[np.isclose(corners[:, 0], x), 1]
        assert ys.min() == pytest.approx(m - s)
        assert ys.max() == pytest.approx(m + s)
    assert "mean squared error" in display.ax_.get_ylabel()
    assert "7 folds" in display.ax_.get_ylabel()


def test_cv_draws_other_ratios_with_their_own_grids():
    others = [("l1 ratio 0.5", 2 * LAMS, np.full(40, 3.0))]
    mean = np.linspace(1, 2, 40)
    display = CVDisplay(lams=LAMS, mean=mean, se=mean, lam_min=1, lam_1se=1, others=others, name="best").plot()
    assert [line.get_label() for line in display.lines_] == ["best", "l1 ratio 0.5"]
    assert display.ax_.get_xlim()[0] >= 20
    assert [text.get_text() for text in display.ax_.get_legend().get_texts()] == ["best", "l1 ratio 0.5"]


def test_given_axes_are_used_and_no_others_opened():
    ax = Figure().subplots()
    display = PathDisplay(lams=LAMS, coef=lasso_like(2)).plot(ax)
    assert display.ax_ is ax
    assert display.figure_ is ax.figure
    assert plt.get_fignums() == []


def test_one_strength_and_no_features_can_be_drawn():
    one = PathDisplay(lams=[0.3], coef=[[0.0, 0.0]], lam_min=0.3, lam_1se=0.3).plot()
    assert one.lines_ == []
    CVDisplay(lams=[0.3], mean=[1.0], se=[0.1], lam_min=0.3, lam_1se=0.3, nonzero=[0]).plot().figure_.canvas.draw()
    one.figure_.canvas.draw()


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: PathDisplay(lams=[1.0], coef=[1.0]), "coef must have shape"),
        (lambda: PathDisplay(lams=[1.0], coef=[[1.0, 2.0]], feature_names=["a"]), "1 names for 2 features"),
        (lambda: PathDisplay(lams=[0.0], coef=[[1.0]]), "no positive strength"),
        (lambda: CVDisplay(lams=[1.0], mean=[1.0, 2.0], se=[1.0], lam_min=1, lam_1se=1), "one shape"),
    ],
)
def test_bad_shapes_are_named(make, words):
    with pytest.raises(ValueError, match=words):
        make()


def test_without_matplotlib_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    with pytest.raises(ImportError, match=r"jaxreg\[plot\]"):
        PathDisplay(lams=LAMS, coef=lasso_like(2)).plot()


def test_optional_libraries_are_imported_only_when_needed():
    code = "import sys, jaxreg.io, jaxreg.report; print({'matplotlib', 'polars', 'jinja2'} & {*sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_spread_is_the_closest_arrangement():
    rng = np.random.default_rng(3)
    for _ in range(20):
        wanted = np.sort(rng.normal(size=6))
        places = _spread(wanted, 0.5, -2.0, 2.0)
        assert (np.diff(places) >= 0.5 - 1e-12).all()
        assert places[0] >= -2 - 1e-12
        assert places[-1] <= 2 + 1e-12
        best = np.sum((places - wanted) ** 2)
        for _ in range(200):  # no feasible arrangement nearby is closer
            other = places + rng.normal(size=6) * 0.05
            if (np.diff(other) >= 0.5).all() and other[0] >= -2 and other[-1] <= 2:
                assert np.sum((other - wanted) ** 2) >= best - 1e-9


def test_ticks_read_like_numbers():
    assert [short(value) for value in (0.001, 0.5, 20, 1e-5, 2e-6, 1e6)] == [
        "0.001", "0.5", "20", "10⁻⁵", "2·10⁻⁶", "10⁶",
    ]  # fmt: skip


def luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return float(np.dot(linear, (0.2126, 0.7152, 0.0722)))


def test_names_have_contrast_on_both_papers():
    for colour in COLOURS:
        assert to_hex(colour) == colour
        assert 1.05 / (luminance(darker(colour)) + 0.05) > 3  # on white, WCAG's bound for graphics
        assert (luminance(lighter(colour)) + 0.05) / (luminance("#14171b") + 0.05) > 4.5
