"""What is kept of an exception that ends a part of a run, and not the run."""

import sys
import traceback


def reason(error: Exception) -> str:
    """Type, first and last line of an exception, on one line; the whole trace goes to stderr.

    A compiler says at the end what was wrong, CUDA at the beginning.

    >>> reason(ValueError("at 3:4:\\n  x = y\\n\\ny is not defined\\n"))
    'ValueError: at 3:4: ... y is not defined'
    """
    print("".join(traceback.format_exception(error)), end="", file=sys.stderr, flush=True)
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    said = " ... ".join(dict.fromkeys((*lines[:1], *lines[-1:])))
    name = type(error).__name__
    return f"{name}: {said}" if said else name
