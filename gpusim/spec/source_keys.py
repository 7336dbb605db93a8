"""What the keys in the sources of a profile's numbers stand for: `[WP]` is a whitepaper."""

import re
from functools import cache

from gpusim.spec.gpu import Gpu
from gpusim.spec.load import shipped

_ROW = re.compile(r"^\| \[(\w+)\] \| (.+) \|$", re.MULTILINE)
_KEY = re.compile(r"\[(\w+)\]")


def source_keys(gpu: Gpu) -> dict[str, str]:
    """The keys that a profile's sources name, with what they stand for."""
    named = {key for origin in gpu.provenance.values() for key in _KEY.findall(origin.source)}
    return {key: text for key, text in _known().items() if key in named}


@cache
def _known() -> dict[str, str]:
    """All keys: the table of `hardware/README.md`."""
    text = shipped("hardware", ".md")["README"].read_text(encoding="utf-8")
    return dict(_ROW.findall(text))
