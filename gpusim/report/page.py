"""An HTML page of results: the answer first, then evidence, then what is needed to run it again.

A page is one file that loads nothing: styles, figures and the numbers as JSON are part of it. Names
from files are escaped wherever they stand. The same page makes the same bytes.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from gpusim.report.page_figure import Figure
from gpusim.report.page_inputs import Inputs
from gpusim.report.page_table import Table

#: Characters beside the printable ones that a page may have: no control or direction marks.
_SPACES = "\n\N{NO-BREAK SPACE}\N{NARROW NO-BREAK SPACE}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """A key figure: what it is, its value, its unit, and a few words on it."""

    label: str
    value: str
    unit: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A part of the evidence: words, then tables and figures in their order."""

    title: str
    words: tuple[str, ...] = ()
    blocks: tuple[Table | Figure, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """What a page says.

    Attributes:
        kind: what sort of page it is, in a few words.
        title: what was asked.
        answer: one sentence.
        because: sentences on why, and how sure it is.
        evidence: sections, the most telling first.
        assumptions: what the numbers take for granted.
        glossary: terms of the page and what they mean.
        results: the JSON form of the results, as the command prints it.
        more: numbers that stand on the page beside those.
    """

    kind: str
    title: str
    answer: str
    because: tuple[str, ...] = ()
    cards: tuple[Card, ...] = ()
    evidence: tuple[Section, ...] = ()
    inputs: Inputs
    assumptions: tuple[str, ...] = ()
    glossary: Mapping[str, str] = field(default_factory=dict)
    results: Any
    more: Mapping[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Every number of the page: results, the tables of its figures, inputs and profiles."""
        blocks = [block for section in self.evidence for block in section.blocks]
        figures = {b.name: b.rows for b in blocks if isinstance(b, Figure)}
        return {
            "results": self.results,
            **self.more,
            "figures": figures,
            "inputs": self.inputs.as_dict(),
        }


def render_page(page: Page) -> bytes:
    """The page as a file.

    Raises:
        ValueError: for a number that JSON does not have (NaN, infinity).
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from jinja2.utils import htmlsafe_json_dumps

    templates = Environment(
        loader=PackageLoader("gpusim.report"),
        autoescape=True,
        finalize=_shown,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.tests["figure"] = lambda block: isinstance(block, Figure)
    numbers = htmlsafe_json_dumps(page.as_dict(), dumps=_json)
    text = templates.get_template("page.html").render(page=page, numbers=numbers)
    return text.encode("utf-8", "backslashreplace")  # a file name need not be valid Unicode


def _json(value: Any, **_: Any) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def _shown(value: Any) -> Any:
    """Text without characters that cannot be seen; what is HTML already stays as it is.

    >>> _shown("a\\x07b\\N{RIGHT-TO-LEFT OVERRIDE}c")
    'a b c'
    """
    if type(value) is not str or value.isprintable():
        return value
    return "".join(c if c.isprintable() or c in _SPACES else " " for c in value)
