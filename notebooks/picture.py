"""Draw the README's picture: `python notebooks/picture.py` writes notebooks/diabetes.png."""

from pathlib import Path

import matplotlib.pyplot as plt

import jaxreg as jr
from jaxreg.datasets import load_diabetes
from jaxreg.plots import CVDisplay, PathDisplay

X, y, names = load_diabetes()
cv = jr.cross_validate(X, y)
chosen = {"lam_min": cv.lam_min, "lam_1se": cv.lam_1se}

fig, (left, right) = plt.subplots(1, 2, figsize=(12, 4.6), layout="constrained")
PathDisplay.from_path(cv.path, feature_names=names, scale=X.std(axis=0), ax=left, **chosen)
CVDisplay.from_selection(cv, ax=right)
fig.savefig(Path(__file__).with_name("diabetes.png"), dpi=130)
