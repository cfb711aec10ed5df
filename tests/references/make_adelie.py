"""Group lasso paths by adelie, written to adelie.json beside this script.

    python -m tests.references.make_adelie

Needs adelie (1.1.52). Its problem is ours, with penalty factors √size: (1/n) Σ loss + λ Σ √|g| ‖b_g‖₂ and an
intercept, of standardized columns. It wants the columns of a group side by side, so that they are sorted for it.
"""

import importlib.metadata
import json
import pathlib

import adelie as ad
import numpy as np

from tests.references.designs import families, quadratic


def main():
    """Fit both paths and write them."""
    X, y = quadratic()
    labels = families()
    order = np.argsort(labels, kind="stable")
    starts = np.flatnonzero(np.diff(labels[order], prepend=-1))
    high = (y > np.median(y)).astype(float)
    fits = {}
    for name, model, largest in (("squared", ad.glm.gaussian(y), 0.2), ("logistic", ad.glm.binomial(high), 0.1)):
        lams = largest * np.geomspace(1, 0.03, 6)
        state = ad.grpnet(
            np.asfortranarray(X[:, order]), model, groups=starts, lmda_path=lams, tol=1e-16, irls_tol=1e-16,
            early_exit=False, progress_bar=False, max_iters=10**7,
        )  # fmt: skip
        coef = np.empty((len(lams), X.shape[1]))
        coef[:, order] = state.betas.toarray()
        assert np.array_equal(state.lmdas, lams)
        fits[name] = {"lams": lams.tolist(), "coef": coef.tolist(), "intercept": np.ravel(state.intercepts).tolist()}
        print(name, [len(set(labels[b != 0])) for b in coef])
    version = {"adelie": importlib.metadata.version("adelie")}
    path = pathlib.Path(__file__).with_name("adelie.json")
    path.write_text(json.dumps({"software": version, "fits": fits}, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
