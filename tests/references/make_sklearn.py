"""Reference fits by scikit-learn, written to sklearn.json beside this script; run it as `python -m`.

    python -m tests.references.make_sklearn

How scikit-learn's arguments become the problem (1/Σw) Σ w ℓ + λ Σ (r|b| + (1 − r)b²/2), columns as given in the
fits and standardized by the rows that are trained on in the selections:
Lasso and ElasticNet have alpha = λ, Ridge has alpha = λΣw, LogisticRegression has C = 1/(λΣw).
"""

import json
import pathlib
import platform

import numpy as np
import sklearn
from sklearn.linear_model import ElasticNet, LogisticRegression, Ridge
from sklearn.preprocessing import StandardScaler

from tests import problems


def lasso(X, y, lam, l1_ratio, weight):
    """Coordinate descent until its own duality gap is at rounding error."""
    model = ElasticNet(alpha=lam, l1_ratio=l1_ratio, tol=1e-15, max_iter=10**7)
    return model.fit(X, y, sample_weight=weight)


def ridge(X, y, lam, l1_ratio, weight):
    """One linear system."""
    return Ridge(alpha=lam * weight.sum(), solver="cholesky").fit(X, y, sample_weight=weight)


def logistic(X, y, lam, l1_ratio, weight):
    """Newton's method."""
    model = LogisticRegression(C=1 / (lam * weight.sum()), solver="newton-cholesky", tol=1e-14, max_iter=1000)
    return model.fit(X, y, sample_weight=weight)


def fit(name, solve, loss, lams, l1_ratio=1.0, weighted=False):
    """One path, in the layout of glmnet.json."""
    X, y = getattr(problems, name)()
    weight = problems.uneven_weights(len(y)) if weighted else np.ones(len(y))
    models = [solve(X, y, lam, l1_ratio, weight) for lam in lams]
    return {
        "problem": name,
        "loss": loss,
        "l1_ratio": l1_ratio,
        "uneven_weights": weighted,
        "factors": None,
        "intercept_fitted": True,
        "standardize": False,
        "lams": lams.tolist(),
        "coef": [np.ravel(model.coef_).tolist() for model in models],
        "intercept": [float(np.ravel(model.intercept_)[0]) for model in models],
    }


def cross_validate(name, solve, loss, lams, l1_ratio, folds=10):
    """Scores of every fold, mean squared error or mean deviance on its held-out samples: shape (folds, L)."""
    X, y = getattr(problems, name)()
    fold_id = problems.balanced_folds(len(y), folds)
    scores = np.empty((folds, len(lams)))
    for k in range(folds):
        train, test = fold_id != k, fold_id == k
        scaler = StandardScaler().fit(X[train])
        X_train, X_test = scaler.transform(X[train]), scaler.transform(X[test])
        for i, lam in enumerate(lams):
            model = solve(X_train, y[train], lam, l1_ratio, np.ones(train.sum()))
            eta = X_test @ np.ravel(model.coef_) + np.ravel(model.intercept_)
            error = (y[test] - eta) ** 2 if loss == "squared" else 2 * (np.logaddexp(0, eta) - y[test] * eta)
            scores[k, i] = error.mean()
    return {
        "problem": name,
        "loss": loss,
        "l1_ratio": l1_ratio,
        "fold_id": fold_id.tolist(),
        "lams": lams.tolist(),
        "scores": [[float(f"{score:.13g}") for score in row] for row in scores],
    }


def main():
    """Fit everything and write it."""
    versions = {"scikit-learn": sklearn.__version__, "numpy": np.__version__}
    strong, weak = np.geomspace(400, 0.4, 10), np.geomspace(100, 0.1, 10)
    below_one = np.geomspace(1, 0.001, 10)
    fits = {
        "diabetes_lasso_as_given_weighted": fit("diabetes", lasso, "squared", strong, weighted=True),
        "diabetes_elastic_net_as_given": fit("diabetes", lasso, "squared", strong, 0.5),
        "diabetes_ridge_as_given": fit("diabetes", ridge, "squared", weak, 0.0, weighted=True),
        "iris_ridge_as_given": fit("iris_pair", logistic, "logistic", below_one, 0.0, weighted=True),
    }
    hundred = np.geomspace(1, 0.001, 100)
    selections = {
        "diabetes_elastic_net": cross_validate("diabetes", lasso, "squared", 80 * hundred, 0.5),
        "breast_cancer_ridge": cross_validate("breast_cancer", logistic, "logistic", hundred, 0.0),
    }
    content = {
        "software": {"python": platform.python_version(), **versions},
        "fits": fits,
        "selections": selections,
    }
    path = pathlib.Path(__file__).with_name("sklearn.json")
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
