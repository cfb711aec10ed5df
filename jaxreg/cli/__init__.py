"""The command line: `jaxreg sweep`, `jaxreg compare` and `jaxreg predict`. It needs the extra `cli`."""

import sys
from collections.abc import Sequence
from io import TextIOWrapper

from jaxreg._cache import enable_compilation_cache
from jaxreg.io import InputError

__all__ = ["main"]

_EXTRA = ("typer", "rich", "polars", "jinja2", "matplotlib")


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line and exit: 0 when all went well, 2 with one line on stderr when the input is bad.

    Args:
        argv: words after the program's name; those of the process unless given.
    """
    if argv is None:
        enable_compilation_cache()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")
    try:
        from jaxreg.cli._app import run

        code = run(list(sys.argv[1:] if argv is None else argv))
    except InputError as error:
        code = _fail(str(error))
    except ImportError as error:
        cause = error if error.name else error.__cause__
        missing = (getattr(cause, "name", None) or "").split(".")[0]
        if missing not in _EXTRA:
            raise
        code = _fail(f'the command line needs {missing}: pip install "jaxreg[cli]"')
    raise SystemExit(code)


def _fail(message: str) -> int:
    """Print one line on stderr, and return the exit code of bad input."""
    print("jaxreg: " + " ".join(message.split()), file=sys.stderr)
    return 2
