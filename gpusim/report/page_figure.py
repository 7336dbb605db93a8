"""Figures of a page: an SVG becomes a part of it, with names of its own and nothing to load."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_SVG = re.compile(r"<svg\b.*</svg>", re.DOTALL)
_METADATA = re.compile(r"<metadata>.*?</metadata>\s*", re.DOTALL)
_NAMESPACES = re.compile(r"\sxmlns(:\w+)?=\"[^\"]*\"")
_SIZE = re.compile(r"<svg\b[^>]*?\bwidth=\"([0-9.]+)pt\"")
_OWN_SIZE = re.compile(r"(<svg\b[^>]*?)\s(?:width|height)=\"[0-9.]+pt\"")
_ID = re.compile(r"(\bid=\"|href=\"#|url\(#)([^\")]+)")
_EVERYTHING = '<style type="text/css">*{'


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A figure.

    Attributes:
        name: a word that no other figure of the page has.
        svg: a file of matplotlib.
        caption: what it shows, and how to read it.
        alt: what it shows, for who cannot see it.
        rows: the table that it is drawn from.
        folded: closed under its title until the reader opens it; empty: open.
    """

    name: str
    svg: bytes
    caption: str
    alt: str
    rows: Sequence[Mapping[str, Any]] = ()
    folded: str = ""

    @property
    def width_pt(self) -> float:
        """How wide it was drawn."""
        found = _SIZE.search(self.svg.decode())
        if found is None:
            raise ValueError(f"figure {self.name}: expected an SVG with a width in pt")
        return float(found[1])

    @property
    def markup(self) -> str:
        """The `svg` element, to stand in HTML."""
        return inline(self.svg.decode(), self.name)


def inline(svg: str, name: str) -> str:
    """An SVG file as an element of HTML: its size is the page's, its ids are `name` and a number.

    Numbers follow the order of the drawing, so that the same drawing has the same ids whatever it
    called them.

    >>> inline('<?xml version="1.0"?><svg width="9pt" id="a"><use href="#a"/></svg>', "f")
    '<svg aria-hidden="true" id="f-1"><use href="#f-1"/></svg>'
    """
    found = _SVG.search(svg)
    if found is None:
        raise ValueError(f"figure {name}: expected an SVG")
    text = _NAMESPACES.sub("", _METADATA.sub("", found[0]))
    while _OWN_SIZE.search(text):
        text = _OWN_SIZE.sub(r"\1", text)
    numbers: dict[str, int] = {}

    def numbered(match: re.Match[str]) -> str:
        return f"{match[1]}{name}-{numbers.setdefault(match[2], len(numbers) + 1)}"

    text = _ID.sub(numbered, text)
    text = text.replace(_EVERYTHING, f"<style>#{name}-1 *{{")  # not the rest of the page
    return text.replace("<svg", '<svg aria-hidden="true"', 1)
