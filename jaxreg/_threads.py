"""Keep LAPACK to one thread while it matters."""

import contextlib
from collections.abc import Iterator


@contextlib.contextmanager
def one_lapack_thread() -> Iterator[None]:
    """Bound the threads of BLAS and LAPACK, where threadpoolctl is installed to do so.

    On a machine that does something else too, LAPACK's threads wait for each other far longer than they
    compute: an eigendecomposition of size 256 was seen to take a thousand times its normal time. What the
    compiler of JAX runs itself is not affected, neither by the trouble nor by the bound. scikit-learn, and the
    extra `cli`, bring threadpoolctl along.
    """
    try:
        from threadpoolctl import threadpool_limits
    except ImportError:
        yield
        return
    with threadpool_limits(limits=1, user_api="blas"):
        yield
