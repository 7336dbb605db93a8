"""What gpusim raises when the user got something wrong."""

import difflib
from collections.abc import Iterable


class SpecError(Exception):
    """A mistake in an input: one line that names the file, the field, what was expected and found.

    The command line prints it on stderr and exits with status 2.
    """


def nearest(name: str, valid: Iterable[str]) -> str:
    """Return `; did you mean 'x'?` for the closest valid name, or an empty string.

    >>> nearest("falsh2", ["flash1", "flash2", "lean"])
    "; did you mean 'flash2'?"
    >>> nearest("zzz", ["flash2"])
    ''
    """
    names = {known.lower(): known for known in valid}
    close = difflib.get_close_matches(str(name).lower(), names, n=1, cutoff=0.6)
    return f"; did you mean '{names[close[0]]}'?" if close else ""


def excerpt(value: object) -> str:
    """`value` as YAML has it, on one line, cut off where it is long.

    >>> excerpt("on"), excerpt(None), excerpt(True), len(excerpt("x" * 1000))
    ("'on'", 'null', 'true', 60)
    """
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return _cut(repr(value), 60)


def plain(name: str) -> str:
    """A name without quotes, on one line, cut off where it is long.

    >>> plain("a\\nb")
    'a\\\\nb'
    """
    return _cut(repr(name)[1:-1], 200)


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[: length - 3]}..."
