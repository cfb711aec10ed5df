"""Every estimator passes scikit-learn's own checks. Few of them by default: each shape of data compiles anew."""

import pytest
from sklearn.utils.estimator_checks import estimator_checks_generator

import jaxreg.sklearn as face

ESTIMATORS = [name for name in face.__all__ if isinstance(getattr(face, name), type) and not name.endswith("Display")]


def checks(estimator):
    return [check for _, check in estimator_checks_generator(estimator, mark=None)]


if __name__ == "__main__":
    import sys, time, warnings
    warnings.simplefilter("error"); warnings.filterwarnings("ignore", category=DeprecationWarning)
    from sklearn.utils.estimator_checks import _check_name
    from sklearn.exceptions import SkipTestWarning
    from unittest import SkipTest
    warnings.simplefilter("ignore", SkipTestWarning)
    for name in sys.argv[1:]:
        total = time.process_time(); bad = 0; slow = []
        for est, check in estimator_checks_generator(dict(LogisticRegressionCV=lambda: face.LogisticRegressionCV(cv=3,Cs=3)).get(name, getattr(face,name))(), mark=None):
            t = time.process_time()
            try: check(est)
            except SkipTest: pass
            except BaseException as e:
                bad += 1; print("  FAIL", name, _check_name(check), type(e).__name__, str(e)[:600].replace("\n", " "))
            slow.append((round(time.process_time() - t, 1), _check_name(check)))
        print(name, "bad", bad, "of", len(slow), "cpu", round(time.process_time() - total, 1), sorted(slow)[-4:], flush=True)
